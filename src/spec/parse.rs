//! Trees of all files → one [`Spec`]: sections, declarations, and blocks with their common settings taken out.
//!
//! In: the files' trees, and the names of the kinds' sections. Out: a [`Spec`] of all that could be read, and
//! diagnostics for the rest; with errors among them it is fit for finding more mistakes, not for planning.
//!
//! Invariants:
//! - Pure, and total: whatever the trees, there is a [`Spec`].
//! - A key that means nothing is an error, everywhere; a name declared twice shows both places.
//! - Blocks keep the order of the files and of the lines in them.

use std::collections::{BTreeMap, HashMap};

use super::load::Loaded;
use super::{Key, Node, Spanned, Spec, Yaml, names};
use crate::diagnostic::{Diagnostic, Diagnostics, FileId, Span};
use crate::kinds::server::SSH;
use crate::model::SiteAlias;
use crate::suggest;

mod block;
mod declare;
mod read;

#[cfg(test)]
mod tests;

pub use block::{COMMON, MAX_INSTANCES};
use read::{Reader, first_line};

/// The sections that are no kind's.
pub const SECTIONS: &[&str] = &["stack", "variables", "sites", "defaults", "outputs"];

/// Merges the files into one spec. `kinds` are the names of the kinds' sections.
#[must_use]
pub fn parse(loaded: &Loaded, kinds: &[&str], diagnostics: &mut Diagnostics) -> Spec {
    let nowhere = Span { file: FileId(0), start: 0, end: 0 };
    let spec = Spec {
        stack: Spanned { value: String::new(), span: nowhere },
        folder: loaded.folder.clone(),
        variables: BTreeMap::new(),
        sites: BTreeMap::new(),
        default_site: None,
        default_name: None,
        default_ssh: None,
        blocks: Vec::new(),
        outputs: BTreeMap::new(),
    };
    let mut parser = Parser { spec, kinds, declared: HashMap::new(), reader: Reader { diagnostics } };
    let all_empty = loaded.files.iter().all(|(_, node)| node.value == Yaml::Null);
    for (_, node) in &loaded.files {
        parser.file(node, all_empty);
    }
    if !all_empty && loaded.complete {
        parser.stack_is_there(loaded);
    }
    parser.default_site_is_there();
    parser.spec
}

struct Parser<'a> {
    spec: Spec,
    kinds: &'a [&'a str],
    /// Where each `section.name` was declared.
    declared: HashMap<(String, String), Span>,
    reader: Reader<'a>,
}

impl Parser<'_> {
    fn file(&mut self, node: &Node, all_empty: bool) {
        match &node.value {
            Yaml::Map(entries) => entries.iter().for_each(|(key, value)| self.section(key, value)),
            Yaml::Null => {
                let help = "a spec starts with `stack: NAME`, which names its state";
                let found = if all_empty {
                    Diagnostic::error("empty-file", node.span, "the file is empty, and a spec needs at least `stack:`")
                } else {
                    Diagnostic::warning("empty-file", node.span, "the file is empty")
                };
                self.reader.push(if all_empty { found.help(help) } else { found });
            }
            _ => self.reader.wrong_type("a spec", "a mapping of sections", node, "write `stack: NAME`, then sections"),
        }
    }

    fn section(&mut self, key: &Key, node: &Node) {
        match key.text.as_str() {
            "stack" => self.stack(key, node),
            "variables" => self.each("variables", node, Self::variable),
            "sites" => self.each("sites", node, Self::site),
            "defaults" => self.defaults(node),
            "outputs" => self.each("outputs", node, |parser, key, node| {
                parser.spec.outputs.insert(key.text.clone(), node.clone());
            }),
            section if self.kinds.contains(&section) => {
                self.each(section, node, |parser, key, node| parser.block(section, key, node));
            }
            section => {
                let known = SECTIONS.iter().chain(self.kinds).copied();
                let help = suggest::did_you_mean(section, known).unwrap_or_else(|| {
                    format!(
                        "the sections are {}",
                        SECTIONS.iter().chain(self.kinds).copied().collect::<Vec<_>>().join(", ")
                    )
                });
                let message = format!("`{section}` is no section of a spec");
                self.reader.push(Diagnostic::error("unknown-section", key.span, message).help(help));
            }
        }
    }

    /// Every entry of a section whose name is one and is not taken.
    fn each(&mut self, section: &str, node: &Node, mut take: impl FnMut(&mut Self, &Key, &Node)) {
        let entries = match &node.value {
            Yaml::Map(entries) => entries,
            Yaml::Null => return,
            _ => {
                let help = format!("write `{section}: {{ NAME: … }}`, or the names on lines of their own");
                return self.reader.wrong_type(&format!("`{section}`"), "a mapping of names", node, &help);
            }
        };
        for (key, value) in entries {
            if self.name_is_free(section, key) {
                take(self, key, value);
            }
        }
    }

    fn name_is_free(&mut self, section: &str, key: &Key) -> bool {
        let why = match section {
            "variables" if !names::is_variable(&key.text) => {
                Some("a variable's name is letters, digits, `_` and `-`, and starts with a letter or `_`".to_owned())
            }
            "variables" => None,
            _ => names::why_no_name(&key.text),
        };
        if let Some(why) = why {
            self.reader.push(Diagnostic::error("bad-name", key.span, why));
            return false;
        }
        let id = (section.to_owned(), key.text.clone());
        if let Some(&earlier) = self.declared.get(&id) {
            let message = format!("`{section}.{}` is declared twice", key.text);
            let found = Diagnostic::error("declared-twice", key.span, message).label("again here");
            self.reader.push(found.also(earlier, "first here").help("rename one, or remove it"));
            return false;
        }
        self.declared.insert(id, key.span);
        true
    }

    fn stack(&mut self, key: &Key, node: &Node) {
        let Some(name) = self.reader.text("`stack`", node) else {
            // It is there, if wrong: say so only once.
            self.declared.insert(("stack".to_owned(), String::new()), key.span);
            return;
        };
        if let Some(&earlier) = self.declared.get(&("stack".to_owned(), String::new())) {
            if self.spec.stack.value != name.value && !self.spec.stack.value.is_empty() {
                let message =
                    format!("these files are of two stacks, `{}` and `{}`", self.spec.stack.value, name.value);
                let found = Diagnostic::error("stack-mismatch", name.span, message).label("another name here");
                self.reader.push(found.also(earlier, "the first name").help("plan them one at a time"));
            }
            return;
        }
        self.declared.insert(("stack".to_owned(), String::new()), name.span);
        if let Some(why) = names::why_no_name(&name.value) {
            self.reader
                .push(Diagnostic::error("bad-name", name.span, why).help("the stack's name is also its state's"));
        }
        self.spec.stack = name;
    }

    fn stack_is_there(&mut self, loaded: &Loaded) {
        if self.declared.contains_key(&("stack".to_owned(), String::new())) {
            return;
        }
        if let Some((_, node)) = loaded.files.iter().find(|(_, node)| matches!(node.value, Yaml::Map(_))) {
            let found = Diagnostic::error("missing-stack", first_line(node), "the spec does not say which stack it is");
            self.reader.push(found.help("add `stack: NAME`; it names the state, `state/NAME.json`"));
        }
    }

    fn defaults(&mut self, node: &Node) {
        let Some(entries) = self.reader.map("`defaults`", node) else { return };
        for (key, value) in entries {
            let known = ["site", "name", "ssh"];
            if known.contains(&key.text.as_str()) && !self.name_is_free("defaults", key) {
                continue;
            }
            match key.text.as_str() {
                "site" => {
                    let text = self.reader.text("`site`", value);
                    self.spec.default_site = text.map(|text| Spanned { value: SiteAlias(text.value), span: text.span });
                }
                "name" => self.spec.default_name = self.reader.text("`name`", value),
                "ssh" => self.ssh(value),
                _ => self.reader.unknown_field("`defaults`", key, &known),
            }
        }
    }

    fn ssh(&mut self, node: &Node) {
        let Some(entries) = self.reader.map("`ssh`", node) else { return };
        // What each of them may hold is told where a server takes them over.
        let known: Vec<&str> = SSH.iter().map(|field| field.name).collect();
        for (key, _) in entries {
            if !known.contains(&key.text.as_str()) {
                self.reader.unknown_field("`ssh`", key, &known);
            }
        }
        self.spec.default_ssh = Some(node.clone());
    }

    fn default_site_is_there(&mut self) {
        let Some(site) = &self.spec.default_site else { return };
        // Without any site, one named `default` stands for the only cloud.
        if self.spec.sites.contains_key(&site.value) || (self.spec.sites.is_empty() && site.value.0 == "default") {
            return;
        }
        // A site that is declared but wrong has been reported.
        if self.declared.contains_key(&("sites".to_owned(), site.value.0.clone())) {
            return;
        }
        let message = format!("no site `{}` is declared", site.value);
        let aliases = self.spec.sites.keys().map(|alias| alias.0.as_str());
        let help = suggest::did_you_mean(&site.value.0, aliases)
            .unwrap_or_else(|| format!("declare it: `sites: {{ {}: {{ cloud: … }} }}`", site.value));
        self.reader.push(Diagnostic::error("unknown-site", site.span, message).help(help));
    }
}
