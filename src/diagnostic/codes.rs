//! The stable codes of diagnostics, each with what it means. A test finds every code in the sources and looks here.

/// Code and meaning, by code.
pub const CODES: &[(&str, &str)] = &[
    ("alias-bomb", "YAML aliases stand for too many values: more than a hundred times the file's own, or a million."),
    ("bad-address", "Text that should name a resource of the spec, as SECTION.NAME, does not."),
    ("bad-key", "A mapping's key is a collection or empty; keys are text."),
    ("bad-merge", "The merge key `<<` takes a mapping or a list of mappings."),
    ("bad-name", "A name or key holds what separates the parts of addresses, or is too long."),
    ("bad-pattern", "A variable's pattern is not a regular expression, or its variable is not text."),
    ("bad-site", "A site says which cloud it is exactly once: `cloud`, `chameleon` or `embedded`."),
    ("bad-value", "A value has the right type but may not be this."),
    ("control-character", "YAML text may not hold control characters, NUL among them."),
    ("count-and-for-each", "A block has `count` or `for_each`, not both."),
    ("declared-twice", "A name is declared twice, here or in another file of the spec."),
    ("duplicate-key", "A mapping has the same key twice; which one counts would be a guess."),
    ("empty-file", "A file of the spec holds nothing."),
    ("known-too-late", "A name, site, count or key must be known before the plan, and is known only after an apply."),
    ("misplaced-secret", "A sensitive variable or a secret attribute stands where its value would be shown."),
    ("missing-field", "A block lacks a field that its kind needs."),
    ("missing-stack", "A spec says which stack it is; the name is its state's too."),
    ("missing-variable", "A variable that must be given was given nowhere and has no default."),
    ("near-miss", "A name that is looked up in the site is close to one that the spec declares."),
    ("no-such-instance", "A reference names an instance that `count` or `for_each` does not make."),
    ("no-such-part", "A field means a part of what it names, such as an attachment's mount, and there is none."),
    (
        "no-such-profile",
        "A profile that a bucket's keys are to come from is in no file of credentials, or has no keys.",
    ),
    ("not-utf8", "A file of the spec is not UTF-8 text."),
    ("other-site", "A reference names a resource of another site."),
    ("pattern-mismatch", "A variable's value does not match the pattern it is declared with."),
    ("recursive-alias", "A YAML alias stands inside of the value that it repeats."),
    ("reference-cycle", "Resources need each other in a circle, so none can be first."),
    ("several-documents", "A file holds one YAML document."),
    ("stack-mismatch", "Files of different stacks were given together."),
    ("tab-indentation", "YAML is indented with spaces; a tab has no width there."),
    ("too-deep", "Values are nested deeper than any spec needs."),
    ("too-large", "A file holds more values than any spec needs."),
    ("too-long", "An address and the stack's name are too long together for the stamp on the object."),
    ("unclosed-reference", "A `${` or `[` of a reference is not closed on its line."),
    ("unindexed-reference", "A reference names a whole set where one instance is meant."),
    ("unknown-anchor", "A YAML alias names no anchor before it."),
    ("unknown-attribute", "A reference names an attribute that the kind does not have."),
    ("unknown-field", "A field that does not exist there."),
    ("unknown-reference", "A `${…}` that names nothing; `$${` is a literal `${`."),
    ("unknown-section", "A section that does not exist."),
    ("unknown-site", "A site that is not declared under `sites`."),
    ("unknown-tag", "A YAML tag that means nothing in a spec, or does not fit its value."),
    ("unknown-variable", "A value was given for a variable that the spec does not declare."),
    ("unreadable-file", "A file that a field names cannot be read."),
    ("unset-environment", "`${env.X}` or `from_env` names a variable that the environment does not have."),
    ("which-site", "Several sites are declared and the block does not say which one is meant."),
    ("wrong-type", "A value is of another type than its place takes."),
    ("yaml-syntax", "The text is not YAML."),
];

/// What a code means.
#[must_use]
pub fn explanation(code: &str) -> Option<&'static str> {
    CODES.iter().find(|(known, _)| *known == code).map(|(_, text)| *text)
}
