//! The part of an attachment that is inside the server: its filesystem, and where that is mounted.

use crate::kinds::kind::DerivedPart;
use crate::model::{Address, Fields, Part, Reference, Target, Template, Value};

/// The part's name: `attachments.data/mount`.
pub const PART: &str = "mount";

/// The mount that the fields ask for, taken out of them.
pub fn mount(address: &Address, fields: &mut Fields) -> Option<DerivedPart> {
    let filesystem = fields.remove("filesystem");
    let partition = fields.remove("partition");
    let mount = fields.remove("mount");
    if filesystem.is_none() && mount.is_none() {
        return None;
    }
    let mut inside = match mount {
        Some(Value::Map(mount)) => mount,
        _ => Fields::new(),
    };
    inside.extend(filesystem.map(|filesystem| ("filesystem".to_owned(), filesystem)));
    inside.extend(partition.map(|partition| ("partition".to_owned(), partition)));
    for field in ["server", "volume"] {
        inside.extend(fields.get(field).map(|value| (field.to_owned(), value.clone())));
    }
    let attachment = Reference { kind: "attachment".to_owned(), target: Target::Resource(address.clone()), id: None };
    inside.insert("attachment".to_owned(), Value::Ref(attachment));
    inside.extend(fields.get("volume").and_then(size_of).map(|size| ("size".to_owned(), size)));
    Some(DerivedPart { part: PART.to_owned(), kind: "mount", fields: inside, before_owner: false })
}

/// The size of the volume that is named, to be known when it is.
fn size_of(volume: &Value) -> Option<Value> {
    let Value::Ref(Reference { target: Target::Resource(address), .. }) = volume else { return None };
    let part = Part::Attribute { address: address.clone(), path: vec!["size".to_owned()], all: false };
    Some(Value::Template(Template(vec![part])))
}
