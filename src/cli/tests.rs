use std::time::Duration;

use clap::CommandFactory;

use super::lease::LeaseCommand;
use super::state::StateCommand;
use super::*;
use crate::plan::IncludeProtected;

fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
    Cli::read(std::iter::once(&"anole").chain(args).map(Into::into))
}

#[test]
fn the_arguments_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_and_flag_is_explained() {
    fn visit(command: &clap::Command) {
        assert!(command.get_about().is_some(), "`{}` says nothing of itself", command.get_name());
        for arg in command.get_arguments() {
            assert!(arg.get_help().is_some(), "`{}` of `{}` says nothing of itself", arg.get_id(), command.get_name());
        }
        command.get_subcommands().for_each(visit);
    }
    let mut command = Cli::command();
    command.build();
    visit(&command);
}

#[test]
fn every_global_flag_has_a_variable_but_var() {
    let command = Cli::command();
    for arg in command.get_arguments().filter(|arg| arg.is_global_set()) {
        let variable = arg.get_env().map(|name| name.to_string_lossy().into_owned());
        match arg.get_id().as_str() {
            "variables" => assert_eq!(variable, None, "ANOLE_VAR_<name> gives variables their values"),
            id => assert!(variable.is_some_and(|name| name.starts_with("ANOLE_")), "`{id}`"),
        }
    }
}

#[test]
fn global_flags_stand_before_and_after_the_command() {
    let cli = parse(&["--var", "a=1", "plan", "x.yaml", "--var", "b=2=3", "--site", "kvm=lab", "-vv"]).unwrap();
    let names: Vec<_> = cli.global.variables.iter().map(|var| (var.name.as_str(), var.value.as_str())).collect();
    assert_eq!(names, [("a", "1"), ("b", "2=3")]);
    assert_eq!(cli.global.site_overrides()[&"kvm".into()], "lab");
    assert_eq!(cli.global.verbose, 2);
    let once = parse(&["--var", "a=1", "plan"]).unwrap();
    assert_eq!(once.global.variables.len(), 1);
    assert!(!format!("{cli:?}").contains("2=3"), "a variable's value may be a secret");
}

#[test]
fn guests_are_none_or_qemu() {
    use crate::embedded::Guests;

    let guests = |args: &[&str]| parse(args).map(|cli| cli.global.guests);
    assert_eq!(guests(&["plan", "--guests", "qemu"]).unwrap(), Some(Guests::Qemu));
    assert_eq!(guests(&["--guests", "none", "cloud", "serve"]).unwrap(), Some(Guests::None));
    assert_eq!(guests(&["plan"]).unwrap(), None);
    assert!(guests(&["plan", "--guests", "ssh"]).is_err(), "that is for real clouds, which say so in the spec");
}

#[test]
fn include_protected_takes_all_or_some() {
    let selection = |args: &[&str]| match parse(args).unwrap().command {
        Some(Command::Destroy(args)) => (args.protected.selection(), args.spec.specs.len()),
        other => panic!("{other:?}"),
    };
    assert_eq!(selection(&["destroy"]), (IncludeProtected::None, 0));
    assert_eq!(selection(&["destroy", "--include-protected", "x.yaml"]), (IncludeProtected::All, 1));
    let only = IncludeProtected::Only(vec!["volumes.data".parse().unwrap()]);
    assert_eq!(selection(&["destroy", "--include-protected=volumes.data"]), (only, 0));
}

#[test]
fn plan_and_apply_refuse_what_makes_no_sense() {
    let Some(Command::Plan(plan)) = parse(&["plan", "--refresh=false"]).unwrap().command else { panic!("a plan") };
    assert!(!plan.refresh && plan.spec.specs.is_empty());
    assert!(parse(&["apply", "--plan", "p", "spec.yaml"]).is_err());
    assert!(parse(&["apply", "--plan", "p", "--target", "servers.a"]).is_err());
    assert!(parse(&["apply", "--parallelism", "0"]).is_err());
    assert!(parse(&["plan", "--target", "nonsense"]).is_err());
    assert!(parse(&["apply", "--plan", "p", "--yes", "--wait"]).is_ok());
}

#[test]
fn lease_and_state_take_their_own_arguments() {
    let Some(Command::Lease(lease)) = parse(&["lease", "extend", "block", "2d", "-f", "x.yaml"]).unwrap().command
    else {
        panic!("a lease")
    };
    let LeaseCommand::Extend(extend) = lease.command;
    assert_eq!((extend.name.as_str(), extend.by), ("block", Duration::from_secs(172_800)));
    let Some(Command::State(state)) =
        parse(&["state", "-f", "x.yaml", "mv", "servers.a", "servers.b[0]"]).unwrap().command
    else {
        panic!("a state")
    };
    assert!(matches!(state.command, StateCommand::Mv { .. }));
    assert_eq!(state.specs.len(), 1);
    let Some(Command::State(state)) = parse(&["state", "list", "-f", "x.yaml"]).unwrap().command else {
        panic!("a state")
    };
    assert_eq!(state.specs.len(), 1);
}

#[test]
fn without_a_command_there_is_none() {
    assert!(parse(&[]).unwrap().command.is_none());
}
