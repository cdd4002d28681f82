//! Arguments that several commands share: which spec, which resources.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::model::Address;
use crate::resolve::units;

/// The spec, as the command's own arguments.
#[derive(Debug, Clone, Default, Args)]
pub struct SpecArgs {
    /// Spec files, or folders of them, merged [default: anole.yaml, else the only spec in specs/]
    #[arg(value_name = "SPEC", value_hint = ValueHint::AnyPath)]
    pub specs: Vec<PathBuf>,
}

/// The spec, where the command's own arguments are something else.
#[derive(Debug, Clone, Default, Args)]
pub struct SpecFlag {
    /// Spec file, or folder of them (repeatable) [default: anole.yaml, else the only spec in specs/]
    #[arg(short = 'f', long = "file", value_name = "SPEC", env = "ANOLE_FILE", hide_env = true, value_hint = ValueHint::AnyPath)]
    pub specs: Vec<PathBuf>,
}

/// What a plan is limited to, and what it does beyond the spec.
#[derive(Debug, Clone, Default, Args)]
pub struct SelectArgs {
    /// Only this resource and what it needs (repeatable): servers.node, servers.node[0]
    #[arg(long = "target", value_name = "ADDRESS")]
    pub targets: Vec<Address>,

    /// Carry on though all of a site's objects are gone: plan them anew
    #[arg(long)]
    pub accept_missing: bool,
}

/// How an apply goes about its work.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Carry it out without asking
    #[arg(short, long, env = "ANOLE_YES", hide_env = true, value_parser = clap::builder::FalseyValueParser::new(),
          action = clap::ArgAction::SetTrue)]
    pub yes: bool,

    /// How many operations may be under way at once; waiting does not count
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub parallelism: u16,

    /// How long to wait for another anole that holds the state's lock: 30s, 5m
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub lock_timeout: std::time::Duration,
}

/// Which protected resources a plan may delete.
#[derive(Debug, Clone, Default, Args)]
pub struct ProtectedArgs {
    /// Delete protected resources too, with their data: all of them, or only this one (repeatable)
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = true, default_missing_value = "*",
          value_parser = included)]
    pub include_protected: Vec<Included>,
}

/// What `--include-protected` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Included {
    /// All protected resources.
    All,
    /// This one.
    One(Address),
}

fn included(text: &str) -> Result<Included, crate::model::AddressError> {
    if text == "*" { Ok(Included::All) } else { text.parse().map(Included::One) }
}

impl ProtectedArgs {
    /// The same, as a plan takes it.
    #[must_use]
    pub fn selection(&self) -> crate::plan::IncludeProtected {
        use crate::plan::IncludeProtected;
        let mut only = Vec::new();
        for included in &self.include_protected {
            match included {
                Included::All => return IncludeProtected::All,
                Included::One(address) => only.push(address.clone()),
            }
        }
        if only.is_empty() { IncludeProtected::None } else { IncludeProtected::Only(only) }
    }
}

/// A span of time as a spec writes it, or nothing at all: `30s`, `1h30m`, `2d`, `0s`.
///
/// # Errors
/// When it is not one, or too long to count in seconds.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    let seconds = match text {
        "0" | "0s" => 0,
        other => units::duration(other).map_err(|expected| format!("`{text}` is not {expected}"))?,
    };
    u64::try_from(seconds).map(std::time::Duration::from_secs).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_a_spec() {
        let seconds = |text| duration(text).map(|duration| duration.as_secs());
        assert_eq!(seconds("1h30m"), Ok(5_400));
        assert_eq!(seconds("2d"), Ok(172_800));
        for bad in ["", "5", "h", "4x", "-1h", "99999999999999999999d"] {
            assert!(seconds(bad).is_err(), "{bad:?}");
        }
    }
}
