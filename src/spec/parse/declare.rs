//! The declarations that are no resources: variables and sites.

use super::{Diagnostic, Key, Node, Parser, Span, Spanned, Yaml};
use crate::model::SiteAlias;
use crate::spec::{CloudRef, Guests, Site, Variable, VariableType, variables};
use crate::suggest;

const VARIABLE: &[&str] = &["required", "default", "type", "pattern", "description", "sensitive"];

/// The words for types: ours first, then what people from elsewhere write.
const TYPES: &[(&str, VariableType)] = &[
    ("string", VariableType::String),
    ("int", VariableType::Int),
    ("bool", VariableType::Bool),
    ("list", VariableType::List),
    ("map", VariableType::Map),
];

const SITE: &[&str] = &["cloud", "chameleon", "embedded", "region", "guests"];

impl Parser<'_> {
    /// An entry of `variables`.
    pub(super) fn variable(&mut self, key: &Key, node: &Node) {
        let (mut required, mut ty) = (None, None);
        let mut variable = Variable {
            span: key.span,
            required: false,
            default: None,
            ty: VariableType::String,
            pattern: None,
            description: String::new(),
            sensitive: false,
        };
        let entries = match &node.value {
            Yaml::Map(entries) => entries.as_slice(),
            Yaml::Null => &[],
            _ => {
                let help = format!("write `{}: {{ default: … }}`", key.text);
                return self.reader.wrong_type(&format!("the variable `{}`", key.text), "a mapping", node, &help);
            }
        };
        for (field, value) in entries {
            match field.text.as_str() {
                "required" => required = self.reader.boolean("`required`", value).map(|flag| (flag, value.span)),
                "default" => variable.default = Some(value.clone()),
                "type" => ty = self.variable_type(value),
                "pattern" => variable.pattern = self.reader.text("`pattern`", value),
                "description" => {
                    variable.description =
                        self.reader.text("`description`", value).map_or_else(String::new, |text| text.value);
                }
                "sensitive" => variable.sensitive = self.reader.boolean("`sensitive`", value).unwrap_or(true),
                _ => self.reader.unknown_field("a variable", field, VARIABLE),
            }
        }
        if let (Some((true, span)), Some(_)) = (required, &variable.default) {
            let found = Diagnostic::error("bad-value", span, "a variable with a `default` is never required");
            self.reader.push(found.help("remove one of the two"));
        }
        variable.ty = ty.unwrap_or_else(|| type_of(variable.default.as_ref()));
        variable.required = required.map_or(variable.default.is_none(), |(flag, _)| flag) && variable.default.is_none();
        self.check_pattern(&mut variable);
        self.spec.variables.insert(key.text.clone(), variable);
    }

    fn variable_type(&mut self, node: &Node) -> Option<VariableType> {
        let text = self.reader.text("`type`", node)?;
        if let Some((_, ty)) = TYPES.iter().find(|(word, _)| *word == text.value) {
            return Some(*ty);
        }
        let meant = match text.value.as_str() {
            "text" | "str" => Some("string"),
            "number" | "integer" => Some("int"),
            "boolean" => Some("bool"),
            "array" | "set" => Some("list"),
            "object" | "dict" => Some("map"),
            other => suggest::closest(other, TYPES.iter().map(|(word, _)| *word)),
        };
        let help = match meant {
            Some(word) => format!("did you mean `{word}`?"),
            None => "the types are string, int, bool, list and map".to_owned(),
        };
        let message = format!("`{}` is no type of a variable", text.value);
        self.reader.push(Diagnostic::error("bad-value", text.span, message).help(help));
        None
    }

    fn check_pattern(&mut self, variable: &mut Variable) {
        let Some(pattern) = &variable.pattern else { return };
        let found = match variables::whole(&pattern.value) {
            _ if variable.ty != VariableType::String => {
                Diagnostic::error("bad-pattern", pattern.span, "a pattern is for text, and this variable is none")
            }
            Ok(_) => return,
            // The library draws its own picture of the pattern; the last line says what is wrong.
            Err(error) => {
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or("").trim_start_matches("error: ").to_owned();
                Diagnostic::error("bad-pattern", pattern.span, "the pattern is no regular expression").label(reason)
            }
        };
        self.reader.push(found);
        variable.pattern = None;
    }

    /// An entry of `sites`.
    pub(super) fn site(&mut self, key: &Key, node: &Node) {
        let what = format!("the site `{}`", key.text);
        let Yaml::Map(entries) = &node.value else {
            let help = format!("write `{}: {{ cloud: NAME }}`, with a name of your clouds.yaml", key.text);
            return self.reader.wrong_type(&what, "a mapping", node, &help);
        };
        let mut clouds: Vec<(&str, Span, CloudRef)> = Vec::new();
        let (mut region, mut guests, mut wrong) = (None, None, false);
        for (field, value) in entries {
            let name = field.text.as_str();
            if !SITE.contains(&name) {
                self.reader.unknown_field(&what, field, SITE);
                wrong = true;
                continue;
            }
            let Some(Spanned { value: text, span }) = self.reader.text(&format!("`{name}`"), value) else {
                wrong = true;
                continue;
            };
            match name {
                "cloud" if text == "env" => clouds.push(("cloud", field.span, CloudRef::Env)),
                "cloud" => clouds.push(("cloud", field.span, CloudRef::Named(text))),
                "chameleon" => clouds.push(("chameleon", field.span, CloudRef::Chameleon(text))),
                "embedded" => clouds.push(("embedded", field.span, CloudRef::Embedded(text))),
                "guests" => guests = self.guests(&text, span).map(|guests| Spanned { value: guests, span }),
                _ => region = Some(text),
            }
        }
        let several = clouds.get(1).map(|(second, span, _)| (*second, *span));
        match (clouds.into_iter().next(), several) {
            (Some((first, earlier, _)), Some((second, span))) => {
                let message = format!("{what} is either `{first}` or `{second}`, not both");
                let found = Diagnostic::error("bad-site", span, message).also(earlier, "and here");
                self.reader.push(found.help("declare a second site"));
            }
            (Some((_, _, cloud)), None) => {
                self.check_guests(&what, &cloud, guests.as_ref());
                let guests = guests.map(|guests| guests.value);
                let site = Site { span: key.span, cloud, region, guests };
                self.spec.sites.insert(SiteAlias(key.text.clone()), site);
            }
            (None, _) if wrong => {}
            (None, _) => {
                let found = Diagnostic::error("bad-site", key.span, format!("{what} does not say which cloud it is"));
                self.reader.push(found.help(
                    "write `cloud: NAME` for an entry of clouds.yaml, `cloud: env` for OS_*, `chameleon: CHI@TACC`, \
                     or `embedded: chameleon-kvm`",
                ));
            }
        }
    }

    fn guests(&mut self, text: &str, span: Span) -> Option<Guests> {
        let found = Guests::by_name(text);
        if found.is_none() {
            let help = match suggest::closest(text, Guests::ALL.map(Guests::name)) {
                Some(word) => format!("did you mean `{word}`?"),
                None => "write `ssh`, `none`, or for an embedded cloud `qemu`".to_owned(),
            };
            let message = format!("`{text}` is no way to reach a server's inside");
            self.reader.push(Diagnostic::error("bad-value", span, message).help(help));
        }
        found
    }

    /// Virtual machines of our own are the embedded cloud's, and nothing else of it is reached by SSH.
    fn check_guests(&mut self, what: &str, cloud: &CloudRef, guests: Option<&Spanned<Guests>>) {
        let embedded = matches!(cloud, CloudRef::Embedded(_));
        let Some(guests) = guests else { return };
        let (message, help) = match (guests.value, embedded) {
            (Guests::Qemu, false) => (
                format!("{what} is a real cloud, whose servers run there and not in QEMU on this computer"),
                "write `guests: ssh`, or make the site an `embedded` one",
            ),
            (Guests::Ssh, true) => (
                format!("the servers of {what} exist only on paper, unless QEMU runs them"),
                "write `guests: qemu`, or `guests: none`",
            ),
            _ => return,
        };
        self.reader.push(Diagnostic::error("bad-site", guests.span, message).help(help));
    }
}

/// The type that a default implies.
fn type_of(default: Option<&Node>) -> VariableType {
    match default.map(|node| &node.value) {
        Some(Yaml::Int(_)) => VariableType::Int,
        Some(Yaml::Bool(_)) => VariableType::Bool,
        Some(Yaml::List(_)) => VariableType::List,
        Some(Yaml::Map(_)) => VariableType::Map,
        Some(Yaml::Null | Yaml::Float(_) | Yaml::String(_)) | None => VariableType::String,
    }
}
