//! What the fields of a kind are: one table per kind, from which the decoder, the JSON Schema, the differ and the
//! plan's text are all derived.
//!
//! Plain constant data. Invariants:
//! - A field that may change says how ([`Field::change`]); a reference says what its target's replacement means.
//! - Values are canonical after decoding (sizes in GiB, durations in seconds, sets sorted), so that the differ
//!   compares values and knows no kind.

/// A kind's description.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// The kind, singular: `server`.
    pub kind: &'static str,
    /// The section of the spec it is declared in, `servers`; empty for kinds that are only derived or looked up.
    pub section: &'static str,
    /// One sentence for the JSON Schema and the docs.
    pub doc: &'static str,
    /// The fields of a block.
    pub fields: &'static [Field],
    /// What `${section.name.attribute}` may name, besides the fields.
    pub attributes: &'static [Attribute],
    /// `protect` where the spec says nothing.
    pub protect: bool,
    /// Whether an undeclared name is looked up in the site.
    pub lookup: bool,
    /// Whether the name in the site is the user's alone and required.
    pub name: NameRule,
}

/// What `name` is where the spec gives none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// `defaults.name`, else `${stack}-${key}`.
    Default,
    /// It must be given: the name is the site's, not the stack's.
    Required,
    /// The kind has no name.
    None,
}

/// A field of a block.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The key.
    pub name: &'static str,
    /// What it may hold.
    pub ty: Type,
    /// One sentence for the JSON Schema and the docs.
    pub doc: &'static str,
    /// Whether a block without it is an error.
    pub required: bool,
    /// What an absent field means; without a default it is not managed.
    pub default: Option<Literal>,
    /// What a change of it takes. For references see [`RefType::change`].
    pub change: OnChange,
    /// Whether it is shown nowhere.
    pub sensitive: bool,
    /// Whether the service never shows it again: a sensitive variable may stand in it.
    pub write_only: bool,
    /// Who fills it.
    pub writer: Writer,
    /// What is said where it is not as it was applied, if that need not be somebody's change outside anole.
    pub differs: Option<&'static str>,
}

/// Who fills a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// Whoever writes the spec.
    Spec,
    /// The kind, from other fields. No spec names it; plans show it.
    Kind,
    /// The engine or the kind, for their own use. No spec names it, and nobody sees it.
    Engine,
}

/// A constant default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Literal {
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Int(i64),
    /// Text.
    Str(&'static str),
    /// `[]`.
    EmptyList,
    /// `{}`.
    EmptyMap,
}

/// What a change of a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnChange {
    /// The service changes it on the object.
    Update,
    /// The object is deleted and made again.
    Replace,
    /// The state remembers it from now on; no request.
    Record,
    /// Nothing: it steers anole, or counts at creation only.
    Ignore,
}

/// What a field may hold.
#[derive(Debug, Clone, Copy)]
pub enum Type {
    /// `true` or `false`.
    Bool,
    /// A whole number in a range.
    Int(i64, i64),
    /// Text.
    Text,
    /// One of these words.
    Enum(&'static [&'static str]),
    /// A size: `60GiB`, `1 TiB` or a number of GiB. Canonical: GiB, `Value::Int`.
    Size,
    /// A number of bytes: `100MiB`, `1.5GB` or the number itself. Canonical: bytes, `Value::Int`.
    Bytes,
    /// A span of time: `4h`, `7d`, `1h30m`. Canonical: seconds, `Value::Int`.
    Duration,
    /// A point in time: RFC 3339, seconds and offset optional (UTC). Canonical: `2026-12-01T18:00:00Z`.
    Time,
    /// A point in time, or a span of it from when the object is made. Canonical: as [`Type::Time`] or [`Type::Duration`].
    TimeOrSpan,
    /// `192.168.1.0/24`. Canonical: network address.
    Cidr,
    /// An IPv4 or IPv6 address.
    Ip,
    /// A port or a range of ports, `22` or `9000-9001`. Canonical: text, `22` or `9000-9001`.
    Ports,
    /// A path to a file of text, or the text itself where it cannot be a path; `~` and the spec's folder are
    /// understood. Canonical: the content.
    TextOrFile,
    /// A path on this machine; a relative one starts at the spec's folder. Canonical: from that folder, or from `~`.
    LocalPath,
    /// Text that is taken as it stands, `${…}` and all: a program. Canonical: the text.
    Verbatim,
    /// A path to a file of text; `~` and the spec's folder are understood. Canonical: the content.
    File,
    /// The name of a variable of the environment. Canonical: what it holds, as a secret.
    EnvVar,
    /// The name of a profile of the AWS tools' file of keys. Canonical: a map of `access_key`, `secret_key` and, where the
    /// keys are lent for a time, `session_token`: secrets.
    Profile,
    /// A path to a file or a folder, whatever it holds. Canonical: a map of its absolute `path` and its `digest`.
    Tree,
    /// Another object.
    Ref(RefType),
    /// A list.
    List(&'static Type),
    /// A list whose order means nothing. Canonical: sorted, no value twice.
    Set(&'static Type),
    /// A list, or a map that names its items; the key becomes the item's `name`. Items are structs.
    NamedList(&'static Type),
    /// A map with keys of the user's choosing.
    Map(&'static Type),
    /// A mapping with these fields.
    Struct(&'static [Field]),
    /// A mapping with these fields, or a scalar that stands for the one named here.
    Short(&'static str, &'static [Field]),
    /// Either a word, or else the type: `gateway: none` or an address.
    WordOr(&'static str, &'static Type),
}

/// A reference to another object.
#[derive(Debug, Clone, Copy)]
pub struct RefType {
    /// The kind it names.
    pub kind: &'static str,
    /// Whether an undeclared name is looked up in the site.
    pub lookup: bool,
    /// What it means for this object when the target is another one, or is replaced.
    pub change: RefChange,
    /// What of the target must be there first.
    pub until: Until,
}

/// What a reference's change takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefChange {
    /// This object is replaced.
    Replace,
    /// This object is updated in place.
    Update,
    /// As [`RefChange::Update`]; and where the target is to be deleted or replaced, this object first lets go of it,
    /// because the service refuses to delete what is in use.
    Release,
    /// As [`RefChange::Update`]; and a target has one such holder at a time, so where holders swap their targets, one of
    /// them first lets go.
    Sole,
    /// Nothing but the order of steps.
    Order,
}

/// How far a target must be before what names it may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Until {
    /// Its service accepted it: its id is known.
    Accepted,
    /// It is ready for use.
    Ready,
}

/// An attribute that references may name.
#[derive(Debug, Clone, Copy)]
pub struct Attribute {
    /// The name.
    pub name: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// Whether it survives a replacement.
    pub stable: bool,
    /// Whether it is a secret.
    pub secret: bool,
}

/// A field with the common settings: optional, updated in place.
#[must_use]
pub const fn field(name: &'static str, ty: Type, doc: &'static str) -> Field {
    Field {
        name,
        ty,
        doc,
        required: false,
        default: None,
        change: OnChange::Update,
        sensitive: false,
        write_only: false,
        writer: Writer::Spec,
        differs: None,
    }
}

impl Field {
    /// A block must have it.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// What an absent field means.
    #[must_use]
    pub const fn default(mut self, literal: Literal) -> Self {
        self.default = Some(literal);
        self
    }

    /// The kind derives it from other fields; people see it in plans.
    #[must_use]
    pub const fn derived(mut self) -> Self {
        self.writer = Writer::Kind;
        self
    }

    /// The engine fills it for its own use; people never see it.
    #[must_use]
    pub const fn internal(mut self) -> Self {
        self.writer = Writer::Engine;
        self
    }

    /// A change of it replaces the object.
    #[must_use]
    pub const fn replace(mut self) -> Self {
        self.change = OnChange::Replace;
        self
    }

    /// The service never shows it again.
    #[must_use]
    pub const fn write_only(mut self) -> Self {
        self.write_only = true;
        self
    }

    /// It is a secret: shown nowhere, and remembered only by its digest.
    #[must_use]
    pub const fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self.write_only = true;
        self
    }

    /// A change of it is remembered, and no more.
    #[must_use]
    pub const fn record(mut self) -> Self {
        self.change = OnChange::Record;
        self
    }

    /// What is said where it is not as it was applied.
    #[must_use]
    pub const fn differs(mut self, why: &'static str) -> Self {
        self.differs = Some(why);
        self
    }

    /// A change of it is not acted on.
    #[must_use]
    pub const fn ignore(mut self) -> Self {
        self.change = OnChange::Ignore;
        self
    }
}

/// An attribute that a replacement changes.
#[must_use]
pub const fn attribute(name: &'static str, doc: &'static str) -> Attribute {
    Attribute { name, doc, stable: false, secret: false }
}

impl Attribute {
    /// A replacement of the object keeps it.
    #[must_use]
    pub const fn stable(mut self) -> Self {
        self.stable = true;
        self
    }

    /// It is shown nowhere.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

impl Type {
    /// What a change of the reference takes, where the value is one, or a list or map of them.
    #[must_use]
    pub fn reference(&self) -> Option<RefChange> {
        match self {
            Self::Ref(reference) => Some(reference.change),
            Self::List(inner) | Self::Set(inner) | Self::WordOr(_, inner) | Self::Map(inner) => inner.reference(),
            _ => None,
        }
    }
}

impl RefType {
    /// A reference to a declared object, ready before this one starts.
    #[must_use]
    pub const fn new(kind: &'static str, change: RefChange) -> Self {
        Self { kind, lookup: false, change, until: Until::Ready }
    }

    /// An undeclared name is looked up in the site.
    #[must_use]
    pub const fn or_lookup(mut self) -> Self {
        self.lookup = true;
        self
    }

    /// The target's id is enough to start.
    #[must_use]
    pub const fn accepted(mut self) -> Self {
        self.until = Until::Accepted;
        self
    }
}

impl Schema {
    /// The field of that name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// What one of the kind is called in a sentence: `an application credential`.
    #[must_use]
    pub fn named(&self) -> String {
        let article = if self.kind.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
        format!("{article} {}", self.kind.replace('_', " "))
    }

    /// The field by which an object holds a target that has one such holder at a time.
    #[must_use]
    pub fn sole(&self) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.ty.reference() == Some(RefChange::Sole))
    }

    /// The attribute of that name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&'static Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }
}
