//! The contract between the engine and a kind of resource.
//!
//! A kind is a table of fields ([`Schema`]), a few pure functions ([`Kind`]), and its operations: five on a service of the
//! cloud ([`CloudKind`]), or two inside a server ([`GuestKind`]) or on this machine ([`super::local::LocalKind`]). The
//! engine decodes, diffs, orders, journals, retries and waits; a kind only says what its service calls things.
//!
//! Invariants for every implementation:
//! - The pure functions do no IO and read no clock.
//! - The operations neither sleep nor retry nor wait: `create` returns when the service has accepted the request,
//!   and the engine then polls `read` or `list` and asks [`Kind::readiness`].
//! - `create` writes the stamp in the creating request itself, where the service has a place for one.
//! - `update` and `delete` may be called again after a crash: doing what is done already is success. `delete` of
//!   what is gone is success.
//! - Live objects are told in the spec's own words: `Seen::attrs` has the schema's field names with canonical
//!   values, and leaves out what the service does not give back.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::guest::GuestKind;
use super::local::LocalKind;
use super::look::Looker;
use super::schema::{OnChange, RefChange, Schema};
use crate::cloud::{CloudError, Service, Session};
use crate::model::{Address, Fields, RemoteId, SiteIdentity, Stamp, Value};

/// A live object, as a list or a read of its service showed it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Its id.
    pub id: RemoteId,
    /// Its name.
    pub name: String,
    /// Schema fields and attributes, canonical; user descriptions without the stamp.
    pub attrs: Fields,
    /// The service's own word for its state (`ACTIVE`, `in-use`); empty where it has none.
    pub status: String,
    /// What the service says went wrong: a server's fault.
    pub fault: Option<String>,
    /// Who made it, where it carries a stamp.
    pub stamp: Option<Stamp>,
    /// The user who made it, where the service says.
    pub user_id: Option<String>,
    /// When it was made, where the service says.
    pub created_at: Option<Timestamp>,
}

/// What came of asking for an object that no list shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// It is there.
    Here(Box<Seen>),
    /// It is not there.
    Nowhere,
    /// It cannot be told from here, and why: its keys are not known yet, or are refused.
    Hidden(String),
}

/// Whether an object can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It can.
    Ready,
    /// It is on its way; the text is the service's word for where.
    Pending(String),
    /// It becomes ready at a time its owner chose: a lease that starts later.
    Scheduled(Timestamp),
    /// It will never be, and why.
    Failed(String),
    /// It is over: deleted, terminated. The text says when or how.
    Ended(String),
}

/// What a field's difference takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The state remembers it; nothing is asked of a service.
    Record,
    /// The service changes it on the object.
    Update,
    /// The object must be made again.
    Replace,
}

/// A difference between what is wanted and what is there.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FieldChange {
    /// The field.
    pub field: String,
    /// What is there (or was applied, where the service does not say).
    pub before: Value,
    /// What is wanted.
    pub after: Value,
    /// What it takes.
    pub effect: Effect,
    /// A word more where the field alone does not say why ("erases the root disk").
    pub note: Option<String>,
}

/// The three sides of a diff. All are canonical; `want` may hold unknowns.
#[derive(Debug, Clone, Copy)]
pub struct Sides<'a> {
    /// What the spec asks for.
    pub want: &'a Fields,
    /// What the last apply set, from the state.
    pub applied: &'a Fields,
    /// What is there.
    pub live: &'a Fields,
    /// Now, for what is relative to it.
    pub now: Timestamp,
}

/// A mistake in a block that its field types do not show.
#[derive(Debug, Clone, PartialEq)]
pub struct Mistake {
    /// The field it is about, to underline.
    pub field: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Mistake {
    /// A mistake, and what to do about it.
    pub fn new(field: &'static str, message: impl Into<String>, help: &str) -> Self {
        Self { field, message: message.into(), help: Some(help.to_owned()) }
    }
}

/// A change that cannot be made at all, in place or by replacement (shrinking a volume).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// The field.
    pub field: &'static str,
    /// Why, and what to do.
    pub message: String,
}

/// A secret that anole makes for an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The attribute that it becomes.
    pub attribute: &'static str,
    /// How many characters it has.
    pub length: usize,
    /// The characters that it is made of.
    pub alphabet: String,
}

/// A place outside that one object only can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// Where, for people: `s3://food11/raw`.
    pub place: String,
    /// Whether each site has a place of that name.
    pub of_site: bool,
    /// What is said of two that have it: `are both at`.
    pub both: &'static str,
    /// What to do about that.
    pub help: &'static str,
}

/// What tells a block of a kind from others of the same section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It has this field: an attachment of a bucket names one.
    Field(&'static str),
    /// This field holds this word: `type: ec2`.
    Word(&'static str, &'static str),
}

/// A resource that a declared one brings with it: a server's port, a network's subnet.
#[derive(Debug, Clone)]
pub struct DerivedPart {
    /// Its part of the address: `port[sharednet1]`.
    pub part: String,
    /// Its kind.
    pub kind: &'static str,
    /// Its fields.
    pub fields: Fields,
    /// Whether it is made before its owner, which needs it (a port), or after, because it needs its owner (a subnet).
    pub before_owner: bool,
}

/// An object that is taken over in place of being made: a floating IP by its address, a shared group by its name.
///
/// What is claimed is treated as adopted ([`crate::state::Origin::Adopted`]): it is never replaced and never deleted.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The field or attribute of [`Seen::attrs`] that tells the object.
    pub field: &'static str,
    /// What it holds in the object that is meant.
    pub value: Value,
    /// What to do when no object of the project matches: make one, which is then never deleted either, or report an
    /// error. Several that match are an error in any case.
    pub or_create: bool,
}

/// What an operation may use: the site's session, who we are, and the stamp to write.
pub struct OpCx<'a> {
    /// The signed-in site.
    pub session: &'a Session,
    /// Which project and user that is.
    pub identity: &'a SiteIdentity,
    /// The resource.
    pub address: &'a Address,
    /// What to write on what is created.
    pub stamp: &'a Stamp,
    /// The secrets that anole made for what is created, by [`Kind::makes`].
    pub secrets: &'a Fields,
    /// Ids of the parts of resources that this one names, by address: a floating IP asks for its server's ports.
    pub ids: &'a BTreeMap<Address, RemoteId>,
    /// What the last apply set; nothing at a creation.
    pub recorded: &'a Fields,
    /// Told how far a long operation is, in a word or two: `12000 objects deleted`.
    pub tell: &'a (dyn Fn(String) + Sync),
}

/// What an operation on a live object changes.
pub struct Update<'a> {
    /// The object.
    pub id: &'a RemoteId,
    /// All fields, bound.
    pub want: &'a Fields,
    /// What the last apply set.
    pub applied: &'a Fields,
    /// The object as the plan saw it.
    pub live: &'a Fields,
    /// The fields to change.
    pub changes: &'a [FieldChange],
}

/// Where a kind's objects are, and how they are worked on there.
#[derive(Clone, Copy)]
pub enum Place {
    /// In a service of the cloud.
    Cloud(&'static dyn CloudKind),
    /// Inside a server.
    Guest(&'static dyn GuestKind),
    /// On this machine, or nowhere but in the state.
    Local(&'static dyn LocalKind),
}

/// A kind of resource: its table, and what is pure about it. See the module's invariants.
pub trait Kind: Send + Sync + 'static {
    /// The table of its fields.
    fn schema(&self) -> &'static Schema;

    /// Where its objects are.
    fn place(&self) -> Place;

    /// The half of it that works on a service, if that is where its objects are.
    fn cloud(&self) -> Option<&'static dyn CloudKind> {
        if let Place::Cloud(kind) = self.place() { Some(kind) } else { None }
    }

    /// The half of it that works inside servers, if that is where its objects are.
    fn guest(&self) -> Option<&'static dyn GuestKind> {
        if let Place::Guest(kind) = self.place() { Some(kind) } else { None }
    }

    /// The half of it that works on this machine, if that is where its objects are.
    fn local(&self) -> Option<&'static dyn LocalKind> {
        if let Place::Local(kind) = self.place() { Some(kind) } else { None }
    }

    /// Who looks at its objects, where no service lists them and still they can be looked at.
    fn looker(&self) -> Option<&'static dyn Looker> {
        None
    }

    /// What tells a block of this kind from others of the same section.
    fn told_by(&self) -> Option<Mark> {
        None
    }

    /// Whether what is recorded as of that kind is one of this kind too, made elsewhere. Of a section with several kinds, the
    /// object of another one is another object.
    fn takes_over(&self, recorded: &str) -> bool {
        recorded == self.schema().kind
    }

    /// Whether its objects are on a site, so that a block must say on which where there are several.
    fn is_on_a_site(&self) -> bool {
        true
    }

    /// The field that names what it stands with: it is on that one's site, where its block says none.
    fn stands_with(&self) -> Option<&'static str> {
        None
    }

    /// The places outside that an object with these fields has for itself: two of them in one would undo each other's work.
    /// None while they are not known.
    fn occupies(&self, fields: &Fields) -> Vec<Spot> {
        let _ = fields;
        Vec::new()
    }

    /// The secrets that anole makes for an object with these (bound) fields. They are in the state, sealed, before
    /// anything is asked of a service.
    fn makes(&self, fields: &Fields) -> Vec<Recipe> {
        let _ = fields;
        Vec::new()
    }

    /// Whether objects of this kind can be made and unmade; others are only looked up.
    fn manageable(&self) -> bool {
        true
    }

    /// Brings decoded fields to canonical form and reports what the types cannot: rules that exclude each other, a
    /// value out of line with another. Unknown values must be left alone.
    fn check(&self, fields: &mut Fields, mistakes: &mut Vec<Mistake>) {
        let _ = (fields, mistakes);
    }

    /// The resources that this one brings with it. May take fields over from `fields`, or leave in them references
    /// to the parts by [`crate::model::Target::Resource`].
    fn derive(&self, address: &Address, fields: &mut Fields) -> Vec<DerivedPart> {
        let _ = (address, fields);
        Vec::new()
    }

    /// The name of an object that is not the stack's alone: a shared group goes by its key. `None` for all others.
    fn own_name(&self, key: &str, fields: &Fields) -> Option<String> {
        let _ = (key, fields);
        None
    }

    /// The object that these fields claim, where they claim one. Unknown fields claim nothing yet.
    fn claim(&self, fields: &Fields) -> Option<Claim> {
        let _ = fields;
        None
    }

    /// For kinds whose objects carry no stamp: whether `seen` may be what a create with these (bound) fields made.
    /// `None` for kinds that are stamped.
    fn unstamped_match(&self, fields: &Fields, seen: &Seen) -> Option<bool> {
        let _ = (fields, seen);
        None
    }

    /// Of kinds without a stamp: whether another object may look like what a create made, so that it matters which were
    /// there before.
    fn has_twins(&self) -> bool {
        false
    }

    /// Kinds whose declared resources of the same site come before this kind's, though no field names them: an
    /// address can be bound only once a router connects its server's network, and that router deleted only after. One
    /// that goes through such a resource, by its live attribute, lets go of its target while that is made anew.
    fn follows(&self) -> &'static [&'static str] {
        &[]
    }

    /// The field that names a server to which an object of this kind opens the way: work inside that server comes after.
    fn opens_way_to(&self) -> Option<&'static str> {
        None
    }

    /// The differences, field by field. `ignore_changes` is applied by the caller.
    ///
    /// # Errors
    /// A change that can be made neither in place nor by replacement.
    fn diff(&self, sides: &Sides<'_>) -> Result<Vec<FieldChange>, Refused> {
        Ok(diff_fields(self.schema(), sides))
    }

    /// When an object ends by itself, where by now it is to be replaced ahead of that. Such an object goes last: its successor is
    /// made first, and whatever uses it is switched over.
    fn renewal(&self, sides: &Sides<'_>) -> Option<Timestamp> {
        let _ = sides;
        None
    }

    /// Adds to what an object showed what its service cannot tell and the applied fields can: the names of a lease's
    /// reservations. Called with the record's fields whenever an object's attributes are compared, bound or recorded.
    /// Doing it twice changes nothing.
    fn complete(&self, applied: &Fields, attrs: &mut Fields) {
        let _ = (applied, attrs);
    }

    /// What deleting the object would lose, if it holds data.
    fn data_loss(&self, live: &Seen) -> Option<String> {
        let _ = live;
        None
    }

    /// Whether a live object cannot do without a live part of what it names: a port's address lies in one of its
    /// network's subnets, and goes with it.
    fn stands_on(&self, live: &Fields, part: &Fields) -> bool {
        let _ = (live, part);
        false
    }

    /// Whether an object whose field names another is to be updated for a part that this one gets: a router has an
    /// interface in each subnet, with a gateway, of the networks that it names.
    fn joins(&self, field: &str, part: &Fields) -> bool {
        let _ = (field, part);
        false
    }

    /// What changing the object in place would lose: a rebuild erases the root disk.
    fn update_loss(&self, live: &Seen, changes: &[FieldChange]) -> Option<String> {
        let _ = (live, changes);
        None
    }

    /// Whether the object can be used.
    fn readiness(&self, seen: &Seen) -> Readiness {
        let _ = seen;
        Readiness::Ready
    }

    /// By which fields a recorded object that no list shows is asked for: those it was made with, and what opens the way to
    /// it by now, if the wanted fields (bound as far as they are known) lead to the same place.
    fn way_to(&self, recorded: &Fields, wanted: &Fields) -> Fields {
        let _ = wanted;
        recorded.clone()
    }

    /// Whether it failed and does not say why. Nova's list is like that about a server that found no host; asked for that
    /// server alone, Nova says why.
    fn is_unexplained(&self, seen: &Seen) -> bool {
        seen.fault.is_none() && matches!(self.readiness(seen), Readiness::Failed(_))
    }
}

/// The half of a kind whose objects a service of the cloud keeps.
#[async_trait]
pub trait CloudKind: Kind {
    /// The service whose API it is.
    fn service(&self) -> Service;

    /// How long an object may take to become ready, or to go.
    fn patience(&self) -> Duration {
        Duration::from_secs(600)
    }

    /// How long an object takes to become ready, or to go, at the very least: nobody looks before that.
    fn least_wait(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether an object is gone as soon as its deletion is answered, so that nothing is waited for.
    fn gone_when_deleted(&self) -> bool {
        false
    }

    /// Whether no list shows its objects: each is in a place of its own, which its fields say, and is asked for there by
    /// [`CloudKind::find`]. Its `list` is empty, and its `read` is not called.
    fn is_unlisted(&self) -> bool {
        false
    }

    /// The object that these bound fields name. Kinds whose objects no list shows only.
    ///
    /// # Errors
    /// When its place does not answer.
    async fn find(&self, session: &Session, fields: &Fields) -> Result<Found, CloudError> {
        let _ = (session, fields);
        Ok(Found::Hidden("objects of this kind are listed".to_owned()))
    }

    /// All objects of this kind in the project, in as few requests as the service allows.
    async fn list(&self, session: &Session) -> Result<Vec<Seen>, CloudError>;

    /// One object; `None` when it is gone.
    async fn read(&self, session: &Session, id: &RemoteId) -> Result<Option<Seen>, CloudError>;

    /// Asks for a new object and returns its id.
    async fn create(&self, cx: &OpCx<'_>, want: &Fields) -> Result<RemoteId, CloudError>;

    /// Changes an object in place.
    async fn update(&self, cx: &OpCx<'_>, update: &Update<'_>) -> Result<(), CloudError>;

    /// Asks for an object's deletion.
    async fn delete(&self, cx: &OpCx<'_>, id: &RemoteId) -> Result<(), CloudError>;

    /// Objects that an undeclared name or id may mean. Kinds with [`Schema::lookup`] only; by default from `list`.
    async fn lookup(&self, session: &Session, name_or_id: &str) -> Result<Vec<Seen>, CloudError> {
        let all = self.list(session).await?;
        Ok(all.into_iter().filter(|seen| seen.id.0 == name_or_id || seen.name == name_or_id).collect())
    }
}

/// A field's text, a secret's too; empty where there is none.
#[must_use]
pub fn text<'a>(fields: &'a Fields, key: &str) -> &'a str {
    fields.get(key).and_then(Value::expose).unwrap_or_default()
}

/// Whether a field says yes.
#[must_use]
pub fn is_set(fields: &Fields, key: &str) -> bool {
    fields.get(key).and_then(Value::as_bool).unwrap_or(false)
}

/// The generic three-way diff.
///
/// A field that is absent from `want` is not managed. One that the service gives back is compared with what is live;
/// one that it does not, with what was applied, and is never a difference by being unreadable.
#[must_use]
pub fn diff_fields(schema: &Schema, sides: &Sides<'_>) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    for field in schema.fields {
        let Some(want) = sides.want.get(field.name).filter(|want| !want.is_null()) else { continue };
        let effect = match field_effect(field) {
            Some(effect) => effect,
            None => continue,
        };
        let Some(before) = sides.live.get(field.name).or_else(|| sides.applied.get(field.name)) else { continue };
        if !want.same(before) {
            changes.push(FieldChange {
                field: field.name.to_owned(),
                before: before.clone(),
                after: want.clone(),
                effect,
                note: None,
            });
        }
    }
    changes
}

/// What a change of this field takes; `None` when it is not acted on.
#[must_use]
pub fn field_effect(field: &super::schema::Field) -> Option<Effect> {
    match (field.ty.reference(), field.change) {
        (_, OnChange::Ignore) | (Some(RefChange::Order), _) => None,
        (Some(RefChange::Replace), _) | (None, OnChange::Replace) => Some(Effect::Replace),
        (None, OnChange::Record) => Some(Effect::Record),
        _ => Some(Effect::Update),
    }
}
