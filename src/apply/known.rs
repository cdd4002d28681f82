//! What is known of other resources while a plan is carried out: what their records say.

use std::collections::BTreeMap;

use crate::kinds;
use crate::model::{Address, PathSegment, RemoteId, Value};
use crate::plan::bind::{Known, step_into};
use crate::state::State;

/// A state's records as knowledge.
pub struct Recorded<'a>(pub &'a State);

impl Known for Recorded<'_> {
    fn id(&self, address: &Address) -> Option<RemoteId> {
        self.0.resources.get(address).map(|record| record.id.clone())
    }

    fn lookup(&self, _kind: &str, _name: &str) -> Option<RemoteId> {
        // The plan has bound every look-up; an id that stands in the reference is used.
        None
    }

    fn attribute(&self, address: &Address, path: &[PathSegment]) -> Value {
        let found = (|| {
            let record = self.0.resources.get(address)?;
            let (name, rest) = path.split_first()?;
            if name == "id" {
                return Some(Value::String(record.id.0.clone()));
            }
            let is_field = kinds::by_name(&record.kind)?.schema().field(name).is_some();
            let applied = record.applied.get(name).filter(|value| is_field && !value.is_null());
            let led = applied.and_then(|value| step_into(value, rest));
            // What a field holds may be less than what the object shows under the same name: a lease's reservations.
            led.or_else(|| step_into(record.attributes.get(name)?, rest))
        })();
        found.unwrap_or_else(|| Value::Unknown(address.clone()))
    }

    fn instances(&self, block: &Address) -> Vec<Address> {
        let of_block = |address: &&Address| address.part.is_none() && address.block() == block.block();
        self.0.resources.keys().filter(of_block).cloned().collect()
    }
}

/// The ids of all records, by address, for operations that look at the parts of what they name.
#[must_use]
pub fn ids(state: &State) -> BTreeMap<Address, RemoteId> {
    state.resources.iter().map(|(address, record)| (address.clone(), record.id.clone())).collect()
}
