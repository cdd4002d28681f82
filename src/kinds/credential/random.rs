//! Random secrets: a password of one's own, for a script's environment.
//!
//! It is made once and stays, whatever is applied, until its length, its alphabet or one of its triggers changes.

use async_trait::async_trait;

use crate::kinds::kind::{DerivedPart, Effect, FieldChange, Kind, Mark, Mistake, Place, Recipe, Refused, Sides};
use crate::kinds::local::{LocalCx, LocalError, LocalKind};
use crate::kinds::schema::{Literal, NameRule, Schema, Type, attribute, field};
use crate::model::{Address, Fields, Value};

use super::write::{self, VALUE, WRITE};

/// A random secret.
pub struct RandomSecret;

const LENGTH: u16 = 32;
const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

static SCHEMA: Schema = Schema {
    kind: "random_secret",
    section: "credentials",
    doc: "A secret of your own: made once, kept sealed in the state.",
    fields: &[
        field("type", Type::Enum(&["random"]), "`random`.").required().ignore(),
        field("length", Type::Int(4, 1024), "How many characters it has.")
            .default(Literal::Int(LENGTH as i64))
            .replace(),
        field("alphabet", Type::Text, "The characters that it is made of; letters and digits where absent.")
            .default(Literal::Str(ALPHABET))
            .replace(),
        field("triggers", Type::List(&Type::Text), "Values; another secret is made when one of them changes.")
            .replace(),
        WRITE,
    ],
    attributes: &[attribute("id", "Its id in the state."), attribute("value", "The secret.").secret()],
    protect: false,
    lookup: false,
    name: NameRule::None,
};

impl Kind for RandomSecret {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn place(&self) -> Place {
        Place::Local(&RandomSecret)
    }

    fn told_by(&self) -> Option<Mark> {
        Some(Mark::Word("type", "random"))
    }

    fn is_on_a_site(&self) -> bool {
        false
    }

    fn check(&self, fields: &mut Fields, mistakes: &mut Vec<Mistake>) {
        write::check(fields, &VALUE, mistakes);
        let Some(alphabet) = super::text(fields, "alphabet") else { return };
        let mut chars: Vec<char> = alphabet.chars().collect();
        chars.sort_unstable();
        chars.dedup();
        if chars.len() < 2 || chars.len() != alphabet.chars().count() || chars.len() > 256 {
            mistakes.push(Mistake::new(
                "alphabet",
                "an alphabet has 2 to 256 characters, each once",
                "such as `0123456789abcdef`",
            ));
        } else if chars.iter().any(|char| char.is_control()) {
            mistakes.push(Mistake::new(
                "alphabet",
                "there is a control character in it",
                "use characters that can be printed",
            ));
        }
    }

    fn makes(&self, fields: &Fields) -> Vec<Recipe> {
        let length = fields.get("length").and_then(Value::as_int).and_then(|length| usize::try_from(length).ok());
        let alphabet = super::text(fields, "alphabet").unwrap_or(ALPHABET).to_owned();
        vec![Recipe { attribute: "value", length: length.unwrap_or(usize::from(LENGTH)), alphabet }]
    }

    fn derive(&self, address: &Address, fields: &mut Fields) -> Vec<DerivedPart> {
        write::derive(address, fields, &VALUE)
    }

    /// What it was made of is all there is to compare, a field that came or went too.
    fn diff(&self, sides: &Sides<'_>) -> Result<Vec<FieldChange>, Refused> {
        let of = |side: &Fields, name: &str| side.get(name).cloned().unwrap_or(Value::Null);
        let changes = ["length", "alphabet", "triggers"].map(|name| FieldChange {
            field: name.to_owned(),
            before: of(sides.applied, name),
            after: of(sides.want, name),
            effect: Effect::Replace,
            note: None,
        });
        Ok(changes.into_iter().filter(|change| !change.after.same(&change.before)).collect())
    }
}

#[async_trait]
impl LocalKind for RandomSecret {
    async fn put(&self, _: &LocalCx<'_>, _: &Fields) -> Result<Fields, LocalError> {
        Ok(Fields::new())
    }

    async fn remove(&self, _: &LocalCx<'_>, _: &Fields) -> Result<(), LocalError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(alphabet: &str) -> usize {
        let mut mistakes = Vec::new();
        RandomSecret.check(&mut Fields::from([("alphabet".to_owned(), alphabet.into())]), &mut mistakes);
        mistakes.len()
    }

    #[test]
    fn an_alphabet_has_each_character_once() {
        assert_eq!((mistakes("01"), mistakes(ALPHABET)), (0, 0));
        assert_eq!((mistakes("0"), mistakes("010"), mistakes("0\n")), (1, 1, 1));
    }

    #[test]
    fn only_what_it_is_made_of_makes_another() {
        let of = |pairs: &[(&str, Value)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect::<Fields>()
        };
        let applied = of(&[("length", 32.into()), ("alphabet", "ab".into())]);
        let count = |want: &Fields| {
            let now = jiff::Timestamp::UNIX_EPOCH;
            RandomSecret.diff(&Sides { want, applied: &applied, live: &Fields::new(), now }).unwrap().len()
        };
        assert_eq!(count(&applied), 0);
        assert_eq!(count(&of(&[("length", 16.into()), ("alphabet", "ab".into())])), 1);
        let triggers = Value::List(vec!["1".into()]);
        assert_eq!(count(&of(&[("length", 32.into()), ("alphabet", "ab".into()), ("triggers", triggers)])), 1);
    }
}
