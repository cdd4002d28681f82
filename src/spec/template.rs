//! Text with `${…}` → its parts, and what may stand in a field that names another resource.
//!
//! ```text
//! "http://${servers.node[${each.key}].address}:8888"  ──parse_text──▶  literal · attribute · literal
//! "node[${index}]"                                    ──parse_reference──▶  name, instance
//! ```
//!
//! There are no expressions and no functions: a `${…}` names one value. What it names is looked up in `resolve`.
//!
//! Invariants:
//! - `$${` is a literal `${`, and a `$` without `{` is a `$`.
//! - What is not known here is an error, never text: a misspelt reference must not reach a service.
//! - An instance is told by what is known before anything is made, so attributes may not stand inside `[…]`.

use super::Spanned;
use crate::diagnostic::{Diagnostic, Span};
use crate::model::InstanceKey;
use crate::suggest;

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextPart {
    /// Text as it is.
    Literal(String),
    /// What a `${…}` names.
    Expr(Expr),
}

/// What a `${…}` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expr {
    /// `var.x`
    Var(String),
    /// `env.X`
    Env(String),
    /// `stack`
    Stack,
    /// `site`
    Site,
    /// `key`: the block's name.
    Key,
    /// `user`
    User,
    /// `project`
    Project,
    /// `index`
    Index,
    /// `each.key`
    EachKey,
    /// `each.value`, or steps into it: `each.value.address`.
    EachValue(Vec<String>),
    /// `section.name.attribute`, `section.name[instance].attribute.step`.
    Attribute {
        /// `servers`
        section: String,
        /// `node`
        name: String,
        /// Which instance, where brackets say so.
        instance: Option<InstanceExpr>,
        /// The attribute, then steps into it; never empty.
        path: Vec<String>,
    },
}

/// What stands in the brackets after a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceExpr {
    /// `[0]`, `[node1]`
    Literal(InstanceKey),
    /// `[*]`: a list of all.
    All,
    /// `[${index}]`, `[rack-${each.key}]`: known once variables and instances are.
    Text(Vec<TextPart>),
}

/// What a field that names another resource says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceText {
    /// The name of a declared resource, or what is looked up in the site.
    pub name: String,
    /// Which instance, where brackets say so.
    pub instance: Option<InstanceExpr>,
}

/// Cuts a text at its `${…}`.
///
/// # Errors
/// A `${` that does not close, is empty, or names nothing that exists in any spec.
pub fn parse_text(text: &str, span: Span) -> Result<Vec<TextPart>, Diagnostic> {
    let parts = parse_spanned(text, span)?;
    Ok(parts.into_iter().map(|part| part.value).collect())
}

/// As [`parse_text`], with the place of each part: its own where the text stands in the file as it is, that of the
/// whole text where escapes or line breaks were folded.
///
/// # Errors
/// As [`parse_text`].
pub fn parse_spanned(text: &str, span: Span) -> Result<Vec<Spanned<TextPart>>, Diagnostic> {
    let place = Place::new(text, span);
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut literal_from = 0;
    let mut at = 0;
    while let Some(dollar) = text[at..].find('$').map(|found| at + found) {
        literal.push_str(&text[at..dollar]);
        let rest = &text[dollar..];
        if rest.starts_with("$${") {
            literal.push_str("${");
            at = dollar + 3;
        } else if rest.starts_with("${") {
            let end = closing(text, dollar).ok_or_else(|| unclosed(&place, dollar))?;
            if !literal.is_empty() {
                let value = TextPart::Literal(std::mem::take(&mut literal));
                parts.push(Spanned { value, span: place.range(literal_from, dollar) });
            }
            let here = place.range(dollar, end + 1);
            let value = TextPart::Expr(expression(&text[dollar + 2..end], here)?);
            parts.push(Spanned { value, span: here });
            at = end + 1;
            literal_from = at;
        } else {
            literal.push('$');
            at = dollar + 1;
        }
    }
    literal.push_str(&text[at..]);
    if !literal.is_empty() || parts.is_empty() {
        parts.push(Spanned { value: TextPart::Literal(literal), span: place.range(literal_from, text.len()) });
    }
    Ok(parts)
}

/// Reads what a reference field says: `name`, `name[0]`, `name[key]`, `name[${index}]`, `name[*]`.
///
/// A text that is no name with brackets is a name as a whole: images are called anything. A `${…}` outside of
/// brackets is not looked at; interpolate first.
///
/// # Errors
/// Brackets that are empty, or hold a `${…}` that names nothing.
pub fn parse_reference(text: &str, span: Span) -> Result<ReferenceText, Diagnostic> {
    let whole = || ReferenceText { name: text.to_owned(), instance: None };
    let Some(inner) = text.strip_suffix(']') else { return Ok(whole()) };
    let Some((name, inner)) = inner.split_once('[') else { return Ok(whole()) };
    if !super::names::is_name(name) {
        return Ok(whole());
    }
    let instance = instance(inner, Place::new(text, span).range(name.len(), text.len()))?;
    Ok(ReferenceText { name: name.to_owned(), instance: Some(instance) })
}

/// Where parts of a text are in its file.
struct Place {
    span: Span,
    /// How far the text starts behind its span; `None` where they do not run in step.
    offset: Option<u32>,
}

impl Place {
    fn new(text: &str, span: Span) -> Self {
        // A plain scalar is as long as its text and a quoted one two bytes longer, unless something was folded.
        let offset = match (span.end.saturating_sub(span.start) as usize).checked_sub(text.len()) {
            Some(0) => Some(0),
            Some(2) => Some(1),
            _ => None,
        };
        Self { span, offset }
    }

    fn range(&self, start: usize, end: usize) -> Span {
        let Some(offset) = self.offset else { return self.span };
        let byte = |at: usize| self.span.start.saturating_add(offset).saturating_add(u32::try_from(at).unwrap_or(0));
        Span { start: byte(start), end: byte(end), ..self.span }
    }
}

/// The `}` that closes the `${` at a place; one nested `${…}` may stand in between.
fn closing(text: &str, dollar: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let bytes = text.as_bytes();
    let mut at = dollar;
    while at < bytes.len() {
        match bytes[at] {
            b'$' if bytes.get(at + 1) == Some(&b'{') => {
                depth += 1;
                at += 1;
            }
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            // An expression stands on one line: do not search the rest of a long text for its end.
            b'\n' => return None,
            _ => {}
        }
        at += 1;
    }
    None
}

fn unclosed(place: &Place, dollar: usize) -> Diagnostic {
    Diagnostic::error("unclosed-reference", place.range(dollar, dollar + 2), "this `${` is never closed")
        .help("close it with `}` on the same line; write `$${` for a literal `${`")
}

/// The words that stand alone.
const WORDS: &[(&str, Expr)] = &[
    ("stack", Expr::Stack),
    ("site", Expr::Site),
    ("key", Expr::Key),
    ("user", Expr::User),
    ("project", Expr::Project),
    ("index", Expr::Index),
];

/// What the inside of a `${…}` names.
fn expression(inside: &str, span: Span) -> Result<Expr, Diagnostic> {
    let text = inside.trim();
    if text.is_empty() {
        return Err(Diagnostic::error("unknown-reference", span, "`${}` names nothing")
            .help("name a value, such as `${var.x}`; write `$${` for a literal `${`"));
    }
    if let Some((_, word)) = WORDS.iter().find(|(word, _)| *word == text) {
        return Ok(word.clone());
    }
    let (head, rest) = text.split_once('.').unwrap_or((text, ""));
    match head {
        "var" if super::names::is_variable(rest) => Ok(Expr::Var(rest.to_owned())),
        "env" if is_environment(rest) => Ok(Expr::Env(rest.to_owned())),
        "each" => each(rest, span),
        "var" | "env" => Err(Diagnostic::error("unknown-reference", span, format!("`${{{text}}}` names no variable"))
            .help(format!("write `${{{head}.NAME}}` with one name of letters, digits and `_`"))),
        _ if rest.is_empty() => Err(unknown(text, span)),
        _ => attribute(text, span),
    }
}

fn each(rest: &str, span: Span) -> Result<Expr, Diagnostic> {
    let mut steps = rest.split('.').map(str::to_owned);
    match (steps.next().as_deref(), steps.collect::<Vec<_>>()) {
        (Some("key"), path) if path.is_empty() => Ok(Expr::EachKey),
        (Some("value"), path) if path.iter().all(|step| !step.is_empty()) => Ok(Expr::EachValue(path)),
        _ => Err(Diagnostic::error("unknown-reference", span, format!("`${{each.{rest}}}` does not exist"))
            .help("`for_each` gives `${each.key}` and `${each.value}`, and `${each.value.x}` where values are maps")),
    }
}

/// A word that is nothing in a spec, most often a shell's variable.
fn unknown(text: &str, span: Span) -> Diagnostic {
    let literal = format!("write `$${{{text}}}` if the text is meant as it is");
    let words = WORDS.iter().map(|(word, _)| *word);
    let help = match suggest::closest(text, words) {
        Some(word) => format!("did you mean `${{{word}}}`? Or {literal}"),
        None if is_environment(text) => format!("{literal}; an environment variable is `${{env.{text}}}`"),
        None => literal,
    };
    Diagnostic::error("unknown-reference", span, format!("`${{{text}}}` is nothing a spec knows")).help(help)
}

/// `section.name.attribute`, with or without an instance.
fn attribute(text: &str, span: Span) -> Result<Expr, Diagnostic> {
    let Some((section, rest)) = text.split_once('.') else { return Err(unknown(text, span)) };
    let name_end = rest.find(['.', '[']).unwrap_or(rest.len());
    let (name, mut rest) = rest.split_at(name_end);
    if !is_section(section) || !super::names::is_name(name) {
        return Err(unknown(text, span));
    }
    let mut found = None;
    if let Some(inner) = rest.strip_prefix('[') {
        // A nested `${…}` has a bracket only if it is no instance, so the first one closes.
        let Some((inner, after)) = inner.split_once(']') else {
            return Err(Diagnostic::error("unclosed-reference", span, "the `[` is never closed"));
        };
        found = Some(instance(inner, span)?);
        rest = after;
    }
    let path: Vec<_> = rest.strip_prefix('.').unwrap_or("").split('.').map(str::to_owned).collect();
    if (!rest.is_empty() && !rest.starts_with('.')) || path.iter().any(String::is_empty) {
        let message = format!("`${{{text}}}` names a resource but no attribute of it");
        return Err(Diagnostic::error("unknown-reference", span, message)
            .help(format!("write `${{{section}.{name}.ATTRIBUTE}}`, for example `.id`")));
    }
    Ok(Expr::Attribute { section: section.to_owned(), name: name.to_owned(), instance: found, path })
}

/// What stands between brackets.
fn instance(inner: &str, span: Span) -> Result<InstanceExpr, Diagnostic> {
    match inner.trim() {
        "" => Err(Diagnostic::error("unknown-reference", span, "the brackets name no instance")
            .help("write `[0]`, `[key]`, `[${index}]`, `[${each.key}]`, or `[*]` for all")),
        "*" => Ok(InstanceExpr::All),
        text if text.contains("${") => {
            let parts = parse_text(text, span)?;
            if parts.iter().any(|part| matches!(part, TextPart::Expr(Expr::Attribute { .. }))) {
                return Err(Diagnostic::error("unknown-reference", span, "an attribute may not choose an instance")
                    .help("which instance is meant must be known before anything is made: use `${index}`, `${each.key}` or a variable"));
            }
            Ok(InstanceExpr::Text(parts))
        }
        text => Ok(InstanceExpr::Literal(super::names::instance_key(text))),
    }
}

/// Sections are lower case words, so that `${Foo.bar.baz}` is taken for what it is.
fn is_section(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// A name that POSIX gives an environment variable.
fn is_environment(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::diagnostic::FileId;

    fn span(start: u32, end: u32) -> Span {
        Span { file: FileId(0), start, end }
    }

    fn parse(text: &str) -> Result<Vec<TextPart>, Diagnostic> {
        parse_text(text, span(0, u32::try_from(text.len()).expect("short")))
    }

    fn only(text: &str) -> Expr {
        match parse(text).expect(text).as_slice() {
            [TextPart::Expr(expr)] => expr.clone(),
            other => panic!("{text}: {other:?}"),
        }
    }

    fn attribute(instance: Option<InstanceExpr>, path: &[&str]) -> Expr {
        let path = path.iter().map(|&step| step.to_owned()).collect();
        Expr::Attribute { section: "servers".into(), name: "n-1".into(), instance, path }
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(only("${ stack }"), Expr::Stack);
        assert_eq!(only("${var.net_id}"), Expr::Var("net_id".into()));
        assert_eq!(only("${env.HOME}"), Expr::Env("HOME".into()));
        assert_eq!(only("${each.value.a.b}"), Expr::EachValue(vec!["a".into(), "b".into()]));
        assert_eq!(only("${servers.n-1.id}"), attribute(None, &["id"]));
        assert_eq!(only("${servers.n-1[*].a.0}"), attribute(Some(InstanceExpr::All), &["a", "0"]));
        let index = |index| Some(InstanceExpr::Literal(InstanceKey::Index(index)));
        assert_eq!(only("${servers.n-1[2].id}"), attribute(index(2), &["id"]));
        let key = InstanceExpr::Literal(InstanceKey::Key("a.b/c".into()));
        assert_eq!(only("${servers.n-1[a.b/c].id}"), attribute(Some(key), &["id"]));
        let nested = InstanceExpr::Text(vec![TextPart::Expr(Expr::EachKey)]);
        assert_eq!(only("${servers.n-1[${each.key}].id}"), attribute(Some(nested), &["id"]));
    }

    #[test]
    fn dollars_are_literal_unless_a_brace_follows() {
        let literal = |text: &str| vec![TextPart::Literal(text.to_owned())];
        assert_eq!(parse("").expect("text"), literal(""));
        assert_eq!(parse("$HOME costs $5 $").expect("text"), literal("$HOME costs $5 $"));
        assert_eq!(parse("$${HOME} $$${x}").expect("text"), literal("${HOME} $${x}"));
        assert_eq!(
            parse("a-${index}-$${b").expect("text"),
            [TextPart::Literal("a-".into()), TextPart::Expr(Expr::Index), TextPart::Literal("-${b".into())]
        );
    }

    #[test]
    fn mistakes_say_what_to_do() {
        for (text, code, place, help) in [
            ("x ${HOME}", "unknown-reference", (2, 9), "$${HOME}"),
            ("${stak}", "unknown-reference", (0, 7), "did you mean `${stack}`?"),
            ("${HOME:-x}", "unknown-reference", (0, 10), "$${HOME:-x}"),
            ("${}", "unknown-reference", (0, 3), "$${"),
            ("a ${var.x", "unclosed-reference", (2, 4), "close it"),
            ("${each.foo}", "unknown-reference", (0, 11), "each.key"),
            ("${servers.node}", "unknown-reference", (0, 15), "ATTRIBUTE"),
            ("${servers.node[].id}", "unknown-reference", (0, 20), "[*]"),
            ("${servers.a[${servers.b.id}].id}", "unknown-reference", (0, 32), "known before"),
            ("${var.a b}", "unknown-reference", (0, 10), "NAME"),
        ] {
            let found = parse(text).expect_err(text);
            assert_eq!((found.code, found.labels[0].0), (code, span(place.0, place.1)), "{text}");
            assert!(found.help.as_deref().is_some_and(|text| text.contains(help)), "{text}: {:?}", found.help);
        }
    }

    #[test]
    fn places_follow_quotes_and_give_up_on_escapes() {
        let part = |text: &str, span: Span| parse_spanned(text, span).expect("text")[1].span;
        assert_eq!(part("a${stack}", span(10, 19)), span(11, 19));
        assert_eq!(part("a${stack}", span(10, 21)), span(12, 20));
        assert_eq!(part("a${stack}", span(10, 40)), span(10, 40));
    }

    #[test]
    fn references_are_names_with_or_without_an_instance() {
        let read = |text: &str| parse_reference(text, span(0, 0)).expect(text);
        let named = |name: &str, instance| ReferenceText { name: name.to_owned(), instance };
        assert_eq!(read("node"), named("node", None));
        assert_eq!(read("node[*]"), named("node", Some(InstanceExpr::All)));
        assert_eq!(read("node[1]"), named("node", Some(InstanceExpr::Literal(InstanceKey::Index(1)))));
        let nested = InstanceExpr::Text(vec![TextPart::Expr(Expr::Index)]);
        assert_eq!(read("node[${index}]"), named("node", Some(nested)));
        assert_eq!(read("Ubuntu 24.04 [beta]"), named("Ubuntu 24.04 [beta]", None));
        assert_eq!(parse_reference("node[]", span(0, 0)).expect_err("empty").code, "unknown-reference");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_is_cut_or_refused(parts in prop::collection::vec(prop::sample::select(vec![
            "$", "{", "}", "[", "]", ".", "var", "each", "key", "servers", "é", "*", "0", " ", "\n", "${", "$${",
        ]), 0..20)) {
            let text = parts.concat();
            let _ = parse(&text);
            let _ = parse_reference(&text, span(0, 3));
        }
    }
}
