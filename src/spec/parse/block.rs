//! A block of a kind's section: its common settings, and its own fields as they are.

use std::collections::HashMap;

use super::{Diagnostic, Key, Node, Parser, Span, Spanned, Yaml, names};
use crate::model::Address;
use crate::spec::{Block, Repeat};
use crate::suggest;

/// The settings that every kind's blocks have.
pub const COMMON: &[&str] =
    &["site", "name", "count", "for_each", "protect", "adopt", "was", "ignore_changes", "depends_on"];

/// How many instances a block may have: more is a slip of the finger.
pub const MAX_INSTANCES: usize = 10_000;

impl Parser<'_> {
    /// An entry of a kind's section.
    pub(super) fn block(&mut self, section: &str, key: &Key, node: &Node) {
        let address = Address::new(section, key.text.as_str());
        let Some(entries) = self.reader.map(&format!("`{address}`"), node) else { return };
        let mut block = Block {
            address,
            name_span: key.span,
            site: None,
            name: None,
            repeat: Repeat::Once,
            protect: None,
            adopt: None,
            was: None,
            ignore_changes: Vec::new(),
            depends_on: Vec::new(),
            fields: Vec::new(),
            span: Span { end: node.span.end.max(key.span.end), ..key.span },
        };
        let mut repeated = None;
        for (field, value) in entries {
            match field.text.as_str() {
                "count" | "for_each" => self.repeat(&mut block, &mut repeated, field, value),
                name if COMMON.contains(&name) => self.common(&mut block, field, value),
                _ => block.fields.push((field.clone(), value.clone())),
            }
        }
        self.spec.blocks.push(block);
    }

    fn common(&mut self, block: &mut Block, field: &Key, value: &Node) {
        let what = format!("`{}`", field.text);
        match field.text.as_str() {
            "site" => block.site = self.reader.text(&what, value),
            "name" => block.name = self.reader.text(&what, value),
            "protect" => block.protect = self.reader.boolean(&what, value),
            "adopt" => block.adopt = self.reader.text(&what, value),
            "was" => block.was = self.was(block, value),
            "ignore_changes" => {
                block.ignore_changes = self.reader.texts(&what, value, "write [FIELD, …], with fields of this block");
            }
            _ => {
                let texts = self.reader.texts(&what, value, "write [SECTION.NAME, …]");
                block.depends_on = texts.into_iter().filter_map(|text| self.address(text, None)).collect();
            }
        }
    }

    fn was(&mut self, block: &Block, node: &Node) -> Option<Spanned<Address>> {
        let text = self.reader.text("`was`", node)?;
        let found = self.address(text, Some(&block.address.section))?;
        if found.value.section != block.address.section {
            let message = format!("`{}` was never one of `{}`", found.value, block.address.section);
            let error = Diagnostic::error("bad-address", found.span, message);
            self.reader.push(error.help("a rename stays in its section; another kind is another object"));
            return None;
        }
        Some(found)
    }

    /// An address of a declared resource. A bare name is offered with the section it would be of.
    fn address(&mut self, text: Spanned<String>, section: Option<&str>) -> Option<Spanned<Address>> {
        let Spanned { value: text, span } = text;
        let (message, help) = match text.parse::<Address>() {
            Ok(address) if address.part.is_some() => {
                (format!("`{text}` is a part of another resource"), format!("name `{}`", address.block()))
            }
            Ok(address) if !self.kinds.contains(&address.section.as_str()) => {
                let help = suggest::did_you_mean(&address.section, self.kinds.iter().copied());
                let help = help.unwrap_or_else(|| format!("the sections are {}", self.kinds.join(", ")));
                (format!("`{text}` names no section: there is no `{}`", address.section), help)
            }
            Ok(address) if names::is_name(&address.name) => return Some(Spanned { value: address, span }),
            _ if names::is_name(&text) => {
                let section = section.unwrap_or("servers");
                (
                    format!("`{text}` is a name, not an address"),
                    format!("write the section too, as in `{section}.{text}`"),
                )
            }
            _ => (format!("`{text}` is not an address"), "write SECTION.NAME, or SECTION.NAME[KEY]".to_owned()),
        };
        self.reader.push(Diagnostic::error("bad-address", span, message).help(help));
        None
    }

    fn repeat(&mut self, block: &mut Block, earlier: &mut Option<Span>, field: &Key, value: &Node) {
        if let Some(first) = earlier.replace(field.span) {
            let found =
                Diagnostic::error("count-and-for-each", field.span, "a block has `count` or `for_each`, not both");
            self.reader.push(found.also(first, "and here"));
            return;
        }
        match field.text.as_str() {
            "count" if self.count(value) => block.repeat = Repeat::Count(value.clone()),
            "count" => {}
            _ => block.repeat = self.for_each(value).map_or(Repeat::Once, Repeat::ForEach),
        }
    }

    fn count(&mut self, node: &Node) -> bool {
        match &node.value {
            Yaml::Int(number) if usize::try_from(*number).is_ok_and(|number| number <= MAX_INSTANCES) => true,
            Yaml::Int(_) => {
                let message = format!("`count` is between 0 and {MAX_INSTANCES}");
                self.reader.push(Diagnostic::error("bad-value", node.span, message));
                false
            }
            Yaml::String(text) if text.contains("${") => true,
            _ => {
                self.reader.wrong_type("`count`", "a whole number", node, "write digits, or `${var.NAME}`");
                false
            }
        }
    }

    /// The node without the keys that cannot be ones: they are reported here, and only here.
    fn for_each(&mut self, node: &Node) -> Option<Node> {
        let value = match &node.value {
            Yaml::Map(entries) => {
                let keys = entries.iter().map(|(key, _)| Some((key.text.as_str(), key.span)));
                let good = self.keys(node, keys.collect())?;
                Yaml::Map(entries.iter().zip(good).filter(|(_, good)| *good).map(|(entry, _)| entry.clone()).collect())
            }
            Yaml::List(items) => {
                let texts: Vec<_> = items.iter().map(|item| self.reader.text("an entry of `for_each`", item)).collect();
                let keys = texts.iter().map(|text| text.as_ref().map(|text| (text.value.as_str(), text.span)));
                let good = self.keys(node, keys.collect())?;
                Yaml::List(items.iter().zip(good).filter(|(_, good)| *good).map(|(item, _)| item.clone()).collect())
            }
            Yaml::String(text) if text.contains("${") => node.value.clone(),
            _ => {
                let help = "write { KEY: VALUE, … }, [KEY, …], or `${var.NAME}`";
                self.reader.wrong_type("`for_each`", "a mapping or a list of texts", node, help);
                return None;
            }
        };
        Some(Node { value, span: node.span })
    }

    /// Which of these can be the keys of instances; none where they are too many.
    fn keys<'n>(&mut self, node: &Node, keys: Vec<Option<(&'n str, Span)>>) -> Option<Vec<bool>> {
        if keys.len() > MAX_INSTANCES {
            let message = format!("`for_each` has at most {MAX_INSTANCES} keys");
            self.reader.push(Diagnostic::error("bad-value", super::first_line(node), message));
            return None;
        }
        let mut first: HashMap<&'n str, Span> = HashMap::new();
        let check = |key: Option<(&'n str, Span)>| {
            let Some((key, span)) = key else { return false };
            // What a key with a reference becomes is known, and checked, later.
            if key.contains("${") {
                return true;
            }
            if let Some(why) = names::why_no_key(key) {
                self.reader.push(Diagnostic::error("bad-name", span, why));
                return false;
            }
            if let Some(&earlier) = first.get(key) {
                let found = Diagnostic::error("duplicate-key", span, format!("the key `{key}` stands twice"));
                self.reader.push(found.label("again here").also(earlier, "first here"));
                return false;
            }
            first.insert(key, span);
            true
        };
        Some(keys.into_iter().map(check).collect())
    }
}
