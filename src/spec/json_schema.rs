//! The whole language as JSON Schema (2020-12), for editors and for checking specs elsewhere.
//!
//! In: the kinds' tables of fields. Out: one document, the same for the same tables. It accepts what `parse` and the
//! decoder of fields accept, as far as a schema can tell: it knows no names, references or rules between fields.
//!
//! Every value may be a text with `${…}` in place of what its type says; the common settings that steer anole itself
//! may not (`protect`, `was`, `depends_on`, `ignore_changes`).

use serde_json::{Map, json};

use super::names::MAX_NAME;
use super::parse::MAX_INSTANCES;
use super::{Node, Yaml};
use crate::kinds::kind::Mark;
use crate::kinds::schema::{Field, Literal, NameRule, Schema, Type, Writer};
use crate::kinds::server::SSH;
use crate::kinds::{self, Kind};
use crate::model::Json;

/// A span of time, and a point in it.
const SPAN: &str = r"^\s*([0-9]+(s|m|min|h|d|w)\s*)+$";
const TIME: &str = r"^\s*[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}.*)?$";

/// The schema's name: it stays while the language only grows.
pub const ID: &str = "urn:anole:spec:1";

/// The schema of a spec's file, with the sections of these kinds. Kinds without a section are left out.
#[must_use]
pub fn json_schema(kinds: &[&'static Schema]) -> Json {
    let mut definitions = definitions();
    let mut sections = own_sections();
    for kind in kinds.iter().filter(|kind| !kind.section.is_empty()) {
        let item = json!({ "$ref": format!("#/$defs/{}", kind.kind) });
        let told_by = kinds::by_name(kind.kind).and_then(Kind::told_by);
        match (sections.get_mut(kind.section), told_by) {
            // Another kind of the section, told by a mark.
            (Some(section), Some(mark)) => {
                let others = section["additionalProperties"].take();
                let bears = match mark {
                    Mark::Field(field) => json!({ "required": [field] }),
                    Mark::Word(field, word) => {
                        json!({ "required": [field], "properties": { field: { "const": word } } })
                    }
                };
                section["additionalProperties"] = json!({ "if": bears, "then": item, "else": others });
            }
            _ => drop(sections.insert(kind.section.to_owned(), section(kind.doc, item))),
        }
        definitions.insert(kind.kind.to_owned(), block(kind));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ID,
        "title": "anole spec",
        "description": "Leases, servers, networks and volumes on OpenStack and Chameleon, as anole plans and applies them.",
        "type": "object",
        "required": ["stack"],
        "additionalProperties": false,
        "properties": sections,
        "$defs": definitions,
    })
}

/// A file as the schema sees it. Numbers that JSON has not (`.inf`, `.nan`) become text.
#[must_use]
pub fn instance(node: &Node) -> Json {
    match &node.value {
        Yaml::Null => Json::Null,
        Yaml::Bool(flag) => json!(flag),
        Yaml::Int(number) => json!(number),
        Yaml::Float(number) if number.is_finite() => json!(number),
        Yaml::Float(number) => json!(number.to_string()),
        Yaml::String(text) => json!(text),
        Yaml::List(items) => items.iter().map(instance).collect(),
        Yaml::Map(entries) => entries.iter().map(|(key, value)| (key.text.clone(), instance(value))).collect(),
    }
}

/// What several places share.
fn definitions() -> Map<String, Json> {
    let address = r"^[a-z_]+\.[A-Za-z0-9][A-Za-z0-9_-]*(\[[^\]]+\])?$";
    let definitions = json!({
        "reference": {
            "description": "Text with `${…}`: var.x, env.X, SECTION.NAME.ATTRIBUTE, stack, site, key, user, project, index, each.key, each.value.",
            "type": "string",
            "pattern": r"\$\{",
        },
        "name": {
            "description": "A name: letters, digits, `-` and `_`.",
            "type": "string",
            "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]*$",
            "maxLength": MAX_NAME,
        },
        "address": { "description": "SECTION.NAME, or SECTION.NAME[KEY].", "type": "string", "pattern": address },
        "variable": {
            "description": "A value that is given from outside.",
            "type": ["object", "null"],
            "additionalProperties": false,
            "properties": {
                "required": { "description": "Whether it must be given; so it must where there is no default.", "type": "boolean" },
                "default": { "description": "What it is where none is given." },
                "type": { "description": "What it may hold.", "enum": ["string", "int", "bool", "list", "map"] },
                "pattern": { "description": "A regular expression that the whole text matches.", "type": "string", "format": "regex" },
                "description": { "description": "For people.", "type": "string", "minLength": 1 },
                "sensitive": { "description": "Whether it is shown nowhere and not remembered.", "type": "boolean" },
            },
        },
        "site": {
            "description": "A cloud to sign in to: exactly one of cloud, chameleon and embedded.",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "cloud": { "description": "An entry of clouds.yaml, or `env` for OS_*.", "type": "string", "minLength": 1 },
                "chameleon": { "description": "A Chameleon site, with the sign-in at hand.", "type": "string", "examples": ["CHI@TACC"] },
                "embedded": { "description": "The embedded cloud, by profile.", "type": "string", "examples": ["chameleon-kvm"] },
                "region": { "description": "A region other than the cloud's own.", "type": "string", "minLength": 1 },
                "guests": { "description": "How the insides of its servers are reached: `ssh`; `none`; `qemu` makes those of an embedded cloud virtual machines on this computer.", "enum": ["ssh", "none", "qemu"] },
            },
            "oneOf": [{ "required": ["cloud"] }, { "required": ["chameleon"] }, { "required": ["embedded"] }],
        },
    });
    match definitions {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}

/// The sections that are no kind's.
fn own_sections() -> Map<String, Json> {
    let sections = json!({
        "stack": { "description": "The stack's name, and its state's: state/NAME.json.", "$ref": "#/$defs/name" },
        "variables": {
            "description": "Values given by --var, --var-file, ANOLE_VAR_x or anole.vars.yaml.",
            "type": ["object", "null"],
            "propertyNames": { "pattern": "^[A-Za-z_][A-Za-z0-9_-]*$", "maxLength": MAX_NAME },
            "additionalProperties": { "$ref": "#/$defs/variable" },
        },
        "sites": section("The clouds that this spec is about.", json!({ "$ref": "#/$defs/site" })),
        "defaults": {
            "description": "What blocks are where they say nothing.",
            "type": ["object", "null"],
            "additionalProperties": false,
            "properties": {
                "site": { "description": "The site.", "$ref": "#/$defs/name" },
                "name": { "description": "The name in the site; `${stack}-${key}` where absent.", "type": "string", "minLength": 1 },
                "ssh": with("How servers are logged in to, where they do not say it themselves.", vec![structure(SSH)]),
            },
        },
        "outputs": {
            "description": "Values to print after an apply, and by `anole output`.",
            "type": ["object", "null"],
            "propertyNames": { "$ref": "#/$defs/name" },
        },
    });
    match sections {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}

/// A mapping of names to blocks.
fn section(doc: &str, item: Json) -> Json {
    json!({
        "description": doc,
        "type": ["object", "null"],
        "propertyNames": { "$ref": "#/$defs/name" },
        "additionalProperties": item,
    })
}

/// A block of a kind: the common settings, then its fields.
fn block(kind: &Schema) -> Json {
    let mut properties = common(kind);
    // A field called like a common setting is that setting: the engine fills it.
    for field in spec_fields(kind.fields) {
        properties.entry(field.name).or_insert_with(|| of_field(field));
    }
    let mut required: Vec<_> = required(kind.fields).filter(|name| !super::parse::COMMON.contains(name)).collect();
    if kind.name == NameRule::Required {
        required.push("name");
    }
    let mut block = json!({
        "description": described(kind),
        // A block of which nothing is required may be left empty.
        "type": if required.is_empty() { json!(["object", "null"]) } else { json!("object") },
        "additionalProperties": false,
        "properties": properties,
        "not": { "required": ["count", "for_each"] },
    });
    if !required.is_empty() {
        block["required"] = json!(required);
    }
    block
}

/// What a kind is, and what references may name of it.
fn described(kind: &Schema) -> String {
    let attributes: Vec<_> = kind.attributes.iter().map(|attribute| attribute.name).collect();
    match attributes.as_slice() {
        [] => kind.doc.to_owned(),
        names => format!("{} Attributes for ${{{}.NAME.…}}: {}.", kind.doc, kind.section, names.join(", ")),
    }
}

fn common(kind: &Schema) -> Map<String, Json> {
    let text = |doc: &str| json!({ "description": doc, "type": "string", "minLength": 1 });
    let mut common = Map::new();
    common.insert("site".into(), text("The site it is in; `defaults.site` where absent."));
    if kind.name != NameRule::None {
        common.insert("name".into(), text("Its name in the site; `defaults.name` where absent."));
    }
    let count = json!({ "type": "integer", "minimum": 0, "maximum": MAX_INSTANCES });
    common.insert(
        "count".into(),
        with("How many instances: NAME[0], NAME[1], …, each with `${index}`.", vec![count, reference()]),
    );
    let keys = vec![
        json!({ "type": "object", "maxProperties": MAX_INSTANCES }),
        json!({ "type": "array", "items": { "type": "string", "minLength": 1 }, "uniqueItems": true, "maxItems": MAX_INSTANCES }),
        reference(),
    ];
    common.insert(
        "for_each".into(),
        with("One instance a key: NAME[KEY], with `${each.key}` and `${each.value}`.", keys),
    );
    common.insert(
        "protect".into(),
        json!({ "description": "Whether destroy and removal from the spec keep it.", "type": "boolean", "default": kind.protect }),
    );
    common.insert("adopt".into(), text("The name or id of an object made elsewhere, to be managed but never deleted."));
    common.insert(
        "was".into(),
        json!({ "description": "Its address before it was renamed.", "$ref": "#/$defs/address" }),
    );
    common.insert(
        "ignore_changes".into(),
        json!({ "description": "Fields whose differences are left alone.", "type": "array", "items": { "type": "string", "minLength": 1 } }),
    );
    common.insert(
        "depends_on".into(),
        json!({ "description": "What must be there first.", "type": "array", "items": { "$ref": "#/$defs/address" } }),
    );
    common
}

fn reference() -> Json {
    json!({ "$ref": "#/$defs/reference" })
}

/// One of these, described.
fn with(doc: &str, any: Vec<Json>) -> Json {
    json!({ "description": doc, "anyOf": any })
}

/// The fields that a spec may name; the others are filled by the engine.
fn spec_fields(fields: &'static [Field]) -> impl Iterator<Item = &'static Field> {
    fields.iter().filter(|field| field.writer == Writer::Spec)
}

fn required(fields: &'static [Field]) -> impl Iterator<Item = &'static str> {
    spec_fields(fields).filter(|field| field.required).map(|field| field.name)
}

fn of_field(field: &Field) -> Json {
    let mut schema = with(field.doc, alternatives(&field.ty));
    if let Some(default) = field.default {
        schema["default"] = match default {
            Literal::Bool(flag) => json!(flag),
            Literal::Int(number) => json!(number),
            Literal::Str(text) => json!(text),
            Literal::EmptyList => json!([]),
            Literal::EmptyMap => json!({}),
        };
    }
    if field.sensitive {
        schema["writeOnly"] = json!(true);
    }
    schema
}

/// A type's alternatives, with references.
fn alternatives(ty: &Type) -> Vec<Json> {
    let mut any = plain(ty);
    any.push(reference());
    any
}

fn any_of(ty: &Type) -> Json {
    json!({ "anyOf": alternatives(ty) })
}

/// A type's alternatives without references.
fn plain(ty: &Type) -> Vec<Json> {
    let pattern = |pattern: &str, example: &str| json!({ "type": "string", "pattern": pattern, "examples": [example] });
    match ty {
        Type::Bool => vec![json!({ "type": "boolean" })],
        Type::Int(low, high) => vec![integer(*low, *high)],
        // A number is taken for its digits.
        Type::Text => vec![json!({ "type": ["string", "integer"] })],
        Type::Enum(words) => vec![json!({ "enum": words })],
        Type::Size => vec![integer(1, i64::MAX), pattern(r"^\s*[0-9]+ *([GT](iB?)?)?\s*$", "60GiB")],
        Type::Bytes => vec![integer(1, i64::MAX), pattern(r"^\s*[0-9]+(\.[0-9]+)? *([KMGT]i?B?|B)?\s*$", "100MiB")],
        Type::Duration => vec![pattern(SPAN, "4h")],
        Type::Time => vec![pattern(TIME, "2026-12-01T18:00Z")],
        Type::TimeOrSpan => vec![pattern(TIME, "2026-12-01T18:00Z"), pattern(SPAN, "90d")],
        Type::Cidr => vec![pattern(r"^\s*[0-9A-Fa-f:.]+/[0-9]{1,3}\s*$", "192.168.1.0/24")],
        Type::Ip => vec![pattern(r"^\s*[0-9A-Fa-f:.]+\s*$", "192.168.1.11")],
        Type::Ports => vec![integer(1, 65_535), pattern(r"^\s*[0-9]{1,5}\s*(-\s*[0-9]{1,5}\s*)?$", "9000-9001")],
        Type::Verbatim | Type::File | Type::Tree | Type::EnvVar | Type::Profile => {
            vec![json!({ "type": "string", "minLength": 1 })]
        }
        Type::TextOrFile | Type::LocalPath => vec![json!({ "type": "string" })],
        Type::Ref(_) => vec![json!({ "type": "string", "minLength": 1 }), json!({ "type": "integer" })],
        Type::List(item) | Type::Set(item) => vec![json!({ "type": "array", "items": any_of(item) })],
        Type::NamedList(item) => vec![
            json!({ "type": "array", "items": any_of(item) }),
            json!({ "type": "object", "additionalProperties": any_of(item) }),
        ],
        Type::Map(item) => vec![json!({ "type": "object", "additionalProperties": any_of(item) })],
        Type::Struct(fields) => vec![structure(fields)],
        Type::Short(name, fields) => {
            let mut any = vec![structure(fields)];
            any.extend(
                fields.iter().find(|field| field.name == *name).map(|field| plain(&field.ty)).unwrap_or_default(),
            );
            any
        }
        Type::WordOr(word, other) => {
            let mut any = vec![json!({ "const": word })];
            any.extend(plain(other));
            any
        }
    }
}

fn integer(low: i64, high: i64) -> Json {
    let mut schema = json!({ "type": "integer" });
    if low > i64::MIN {
        schema["minimum"] = json!(low);
    }
    if high < i64::MAX {
        schema["maximum"] = json!(high);
    }
    schema
}

fn structure(fields: &'static [Field]) -> Json {
    let properties: Map<_, _> = spec_fields(fields).map(|field| (field.name.to_owned(), of_field(field))).collect();
    let mut schema = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    let required: Vec<_> = required(fields).collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::{Diagnostics, FileId};
    use crate::kinds::schema::{RefChange, RefType, attribute, field};
    use crate::spec::yaml;

    const NIC: &[Field] =
        &[field("network", Type::Text, "The network.").required(), field("ip", Type::Ip, "The address.")];

    static THING: Schema = Schema {
        kind: "thing",
        section: "things",
        doc: "A thing.",
        fields: &[
            field("name", Type::Text, "Filled by the engine.").internal(),
            field("on", Type::Bool, "A flag.").default(Literal::Bool(true)),
            field("n", Type::Int(1, 9), "A number."),
            field("word", Type::Enum(&["a", "b"]), "A word."),
            field("size", Type::Size, "A size.").required(),
            field("for", Type::Duration, "A duration."),
            field("end", Type::Time, "A time."),
            field("cidr", Type::Cidr, "A network."),
            field("ports", Type::List(&Type::Ports), "Ports."),
            field("key", Type::TextOrFile, "A key."),
            field("server", Type::Ref(RefType::new("server", RefChange::Order)), "A server."),
            field("nics", Type::Set(&Type::Short("network", NIC)), "Ports."),
            field("parts", Type::NamedList(&Type::Struct(NIC)), "Parts."),
            field("labels", Type::Map(&Type::Text), "Labels."),
            field("gateway", Type::WordOr("none", &Type::Ip), "A gateway."),
            field("pinned", Type::Text, "Filled by the engine.").internal(),
        ],
        attributes: &[attribute("id", "Its id.")],
        protect: true,
        lookup: false,
        name: NameRule::Default,
    };

    fn accepts(validator: &jsonschema::Validator, text: &str) -> bool {
        let mut diagnostics = Diagnostics::default();
        let node = yaml::parse(FileId(0), text, &mut diagnostics).expect(text);
        assert!(!diagnostics.has_errors(), "{text}");
        validator.is_valid(&instance(&node))
    }

    fn validator() -> jsonschema::Validator {
        let schema = json_schema(&[&THING]);
        assert!(jsonschema::meta::is_valid(&schema), "the schema is a schema");
        assert_eq!(schema["$defs"]["thing"]["properties"]["on"]["default"], json!(true));
        assert_eq!(schema["$defs"]["thing"]["properties"]["protect"]["default"], json!(true));
        jsonschema::validator_for(&schema).expect("a validator")
    }

    #[test]
    fn what_the_language_takes_is_accepted() {
        let validator = validator();
        for fields in [
            "size: 2GiB",
            "size: 2, on: '${var.on}', n: '${var.n}', word: a, for: 1h30m, end: 2026-12-01T18:00Z, cidr: 10.0.0.0/8",
            "size: 1 TiB, ports: [22, 9000-9001], key: ~/.ssh/id.pub, server: 'a[*]', gateway: none",
            "size: 1, nics: [net, { network: n, ip: 10.0.0.1 }, '${var.x}'], parts: { a: { network: 1 } }, labels: { a: 1 }",
            "size: 1, parts: [{ network: n }], gateway: 10.0.0.1, name: x, count: 3, site: kvm, protect: false",
            "size: 1, for_each: { a: 1 }, was: things.b, depends_on: ['things.c[0]'], ignore_changes: [size], adopt: x",
        ] {
            assert!(accepts(&validator, &format!("stack: s\nthings:\n  a: {{ {fields} }}\n")), "{fields}");
        }
        assert!(accepts(
            &validator,
            "stack: s
variables: { a: { required: true, pattern: '^x$' }, b: }
sites: { k: { cloud: env, region: R } }
defaults: { site: k, name: '${key}', ssh: { user: cc } }
things:
outputs: { a: '${things.x.id}', b: [1] }
"
        ));
    }

    #[test]
    fn what_it_does_not_is_refused() {
        let validator = validator();
        for fields in [
            "on: true",
            "size: 2GB",
            "size: 1, on: yes",
            "size: 1, n: 10",
            "size: 1, n: '3'",
            "size: 1, word: c",
            "size: 1, for: 4 hours",
            "size: 1, cidr: 10.0.0.0",
            "size: 1, ports: 22",
            "size: 1, nics: [{ ip: 10.0.0.1 }]",
            "size: 1, nics: [{ network: n, netwrk: n }]",
            "size: 1, labels: [a]",
            "size: 1, gateway: nothing",
            "size: 1, pinned: x",
            "size: 1, sise: 2",
            "size: 1, count: 1, for_each: [a]",
            "size: 1, count: -1",
            "size: 1, protect: '${var.p}'",
            "size: 1, was: b",
        ] {
            assert!(!accepts(&validator, &format!("stack: s\nthings:\n  a: {{ {fields} }}\n")), "{fields}");
        }
        for text in [
            "things: {}",
            "stack: 1",
            "stack: a b",
            "stack: s\nthngs: {}",
            "stack: s\nbuckets: {}",
            "stack: s\nthings: { a.b: { size: 1 } }",
            "stack: s\nthings: { a: }",
            "stack: s\nsites: { k: { cloud: a, embedded: b } }",
            "stack: s\nsites: { k: { region: a } }",
            "stack: s\nsites: { k: { embedded: chameleon-kvm, guests: xen } }",
            "stack: s\nvariables: { a: { typ: x } }",
        ] {
            assert!(!accepts(&validator, text), "{text}");
        }
    }
}
