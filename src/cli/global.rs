//! The flags that every command takes, each with its `ANOLE_…` variable.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{FalseyValueParser, PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, ValueHint};

use crate::embedded::Guests;
use crate::model::SiteAlias;

const HEADING: &str = "Global options";

/// Flags of every command.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = HEADING)]
pub struct GlobalArgs {
    /// Work as if started in DIR
    #[arg(short = 'C', long = "directory", value_name = "DIR", global = true, env = "ANOLE_DIRECTORY", hide_env = true,
          value_hint = ValueHint::DirPath)]
    pub directory: Option<PathBuf>,

    /// Where the state is kept: a file, or a folder of states [default: state/<stack>.json beside the spec]
    #[arg(long, value_name = "URL", global = true, env = "ANOLE_STATE", hide_env = true)]
    pub state: Option<String>,

    /// Use another cloud of clouds.yaml for a site of the spec (repeatable)
    #[arg(
        long = "site",
        value_name = "ALIAS=CLOUD",
        global = true,
        env = "ANOLE_SITE",
        hide_env = true,
        value_delimiter = ','
    )]
    pub sites: Vec<SiteOverride>,

    /// Give a variable of the spec a value (repeatable; ANOLE_VAR_<name> does the same)
    #[arg(long = "var", value_name = "NAME=VALUE", global = true)]
    pub variables: Vec<Assignment>,

    /// Read variables' values from a YAML file (repeatable)
    #[arg(long = "var-file", value_name = "FILE", global = true, env = "ANOLE_VARS_FILE", hide_env = true,
          value_hint = ValueHint::FilePath)]
    pub variable_files: Vec<PathBuf>,

    /// Print JSON instead of text (see docs/json.md)
    #[arg(long, global = true, env = "ANOLE_JSON", hide_env = true, value_parser = FalseyValueParser::new(),
          action = ArgAction::SetTrue)]
    pub json: bool,

    /// No colours; NO_COLOR does the same
    #[arg(long, global = true, env = "ANOLE_NO_COLOR", hide_env = true, value_parser = FalseyValueParser::new(),
          action = ArgAction::SetTrue)]
    pub no_color: bool,

    /// Say more of what goes on: -v requests, -vv retries and decisions, -vvv everything
    #[arg(short, long, global = true, action = ArgAction::Count, env = "ANOLE_VERBOSE", hide_env = true)]
    pub verbose: u8,

    /// Append a log of everything to FILE, one JSON object a line
    #[arg(long, value_name = "FILE", global = true, env = "ANOLE_LOG", hide_env = true, value_hint = ValueHint::FilePath)]
    pub log: Option<PathBuf>,

    /// Use the embedded cloud for every site: nothing leaves this machine
    #[arg(long, global = true, env = "ANOLE_EMBEDDED", hide_env = true, value_parser = FalseyValueParser::new(),
          action = ArgAction::SetTrue)]
    pub embedded: bool,

    /// Whether servers are logged in to: never (none), or those of embedded clouds as virtual machines (qemu)
    #[arg(long, value_name = "none|qemu", global = true, env = "ANOLE_GUESTS", hide_env = true,
          hide_possible_values = true, value_parser = guests_parser())]
    pub guests: Option<Guests>,
}

fn guests_parser() -> impl TypedValueParser<Value = Guests> {
    PossibleValuesParser::new(Guests::ALL.map(Guests::name))
        .try_map(|name| Guests::by_name(&name).ok_or("write none or qemu"))
}

impl GlobalArgs {
    /// Where relative paths of the command line start.
    #[must_use]
    pub fn base(&self) -> PathBuf {
        self.directory.clone().unwrap_or_else(|| PathBuf::from("."))
    }

    /// The clouds that stand in for the spec's own, by site; the last one said wins.
    #[must_use]
    pub fn site_overrides(&self) -> BTreeMap<SiteAlias, String> {
        self.sites.iter().map(|site| (site.alias.clone(), site.cloud.clone())).collect()
    }
}

/// `ALIAS=CLOUD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteOverride {
    /// The site, as the spec names it.
    pub alias: SiteAlias,
    /// The entry of clouds.yaml.
    pub cloud: String,
}

impl FromStr for SiteOverride {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((alias, cloud)) if !alias.is_empty() && !cloud.is_empty() => {
                Ok(Self { alias: SiteAlias::from(alias), cloud: cloud.to_owned() })
            }
            _ => Err("write ALIAS=CLOUD: a site of the spec, then an entry of clouds.yaml".to_owned()),
        }
    }
}

/// `NAME=VALUE`; the value may be a secret, so `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The variable.
    pub name: String,
    /// Its value, as written.
    pub value: String,
}

impl std::fmt::Debug for Assignment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assignment").field("name", &self.name).finish_non_exhaustive()
    }
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Self { name: name.to_owned(), value: value.to_owned() }),
            _ => Err("write NAME=VALUE".to_owned()),
        }
    }
}
