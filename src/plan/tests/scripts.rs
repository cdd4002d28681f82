//! What runs inside servers: when it runs again, and what comes before what. The cloud of these tests refuses to unmount
//! what a script uses, and to detach what is mounted.

use super::cloud::World;
use super::kit::{self, steps, summary};
use crate::model::Value;
use crate::plan::PlanOptions;
use crate::state::Status;

/// A server with a volume, a script that uses its mount, and one that does not.
const LAB: &str = "
servers: { node: { flavor: m1.medium, image: CC-Ubuntu22.04, networks: [sharednet1] } }
floating_ips: { node: { network: public, server: node } }
volumes: { data: { size: 2GiB } }
attachments: { data: { volume: data, server: node, filesystem: ext4, mount: { path: /mnt/block } } }
scripts:
  docker: { server: node, run: 'curl -sSL https://get.docker.com/ | sudo sh', creates: /usr/bin/docker }
  jupyter:
    server: node
    depends_on: [scripts.docker]
    uses: [attachments.data]
    run_file: jupyter.sh
    stop: docker stop jupyter
    env: { HOST: '${floating_ips.node.address}' }
";

/// The lab without its scripts.
fn bare() -> String {
    LAB.split("scripts:").next().unwrap().to_owned()
}

fn without(text: &str, line: &str) -> String {
    let (before, after) = text.split_once(line).unwrap();
    format!("{before}{after}")
}

#[test]
fn scripts_run_after_what_they_use() {
    let plan = World::new().plan(LAB);
    insta::assert_snapshot!(steps(&plan), @r#"
    Create volumes.data
    Create servers.node/port[sharednet1]
    Create servers.node
    Create floating_ips.node
    Create scripts.docker
    Create attachments.data
    Create attachments.data/mount
    Create scripts.jupyter
    "#);
    let jupyter = &plan.actions[&"scripts.jupyter".parse().unwrap()];
    insta::assert_snapshot!(jupyter.in_guest.join("\n"), @"run `docker start jupyter`");
    let mut world = World::new();
    world.carry_out(&plan, |_| 0);
    assert!(world.plan(LAB).is_empty(), "{}", summary(&world.plan(LAB)));
    let id = world.state.resources[&"scripts.jupyter".parse().unwrap()].id.to_string();
    assert!(id.starts_with("script-"), "{id}");
}

#[test]
fn another_image_stops_unmounts_and_detaches_first() {
    let mut world = World::with(LAB);
    let plan = world.plan(&LAB.replace("22.04", "24.04"));
    insta::assert_snapshot!(summary(&plan), @r#"
    Replace attachments.data: server `node` is replaced
    Replace attachments.data/mount: attachment `data` is replaced; server `node` is replaced
    Update floating_ips.node: server `node` is replaced
    Replace scripts.docker: server `node` is replaced
    Replace scripts.jupyter: mount `data` is replaced; server `node` is replaced
    Replace servers.node: image changed
    Replace servers.node/port[sharednet1]: its server `node` is replaced
    "#);
    insta::assert_snapshot!(steps(&plan), @r#"
    Delete scripts.jupyter
    Delete scripts.docker
    Delete attachments.data/mount
    Delete attachments.data
    Delete servers.node
    Delete servers.node/port[sharednet1]
    Create servers.node/port[sharednet1]
    Create servers.node
    Update floating_ips.node
    Create scripts.docker
    Create attachments.data
    Create attachments.data/mount
    Create scripts.jupyter
    "#);
    // Whichever of the steps that are free comes first.
    for seed in 0..20 {
        let mut at = seed;
        World::with(LAB).carry_out(&plan, |free| {
            at = at * 5 + 3;
            at % free
        });
    }
    world.carry_out(&plan, |_| 0);
    assert!(world.plan(&LAB.replace("22.04", "24.04")).is_empty());
}

#[test]
fn another_mount_path_stops_the_script_and_runs_it_again() {
    let world = World::with(LAB);
    let plan = world.plan(&LAB.replace("/mnt/block", "/mnt/data"));
    insta::assert_snapshot!(summary(&plan), @r#"
    Replace attachments.data/mount: path changed
    Replace scripts.jupyter: mount `data` is replaced
    "#);
    insta::assert_snapshot!(steps(&plan), @r#"
    Delete scripts.jupyter
    Delete attachments.data/mount
    Create attachments.data/mount
    Create scripts.jupyter
    "#);
    let jupyter = &plan.actions[&"scripts.jupyter".parse().unwrap()];
    insta::assert_snapshot!(jupyter.in_guest.join("\n"), @r#"
    stop it by `docker stop jupyter`
    run `docker start jupyter`
    "#);
}

#[test]
fn a_script_that_is_removed_is_stopped_and_nothing_else() {
    let world = World::with(LAB);
    let jupyter = LAB.split_once("  jupyter:").unwrap().1;
    let plan = world.plan(&without(LAB, &format!("  jupyter:{jupyter}")));
    insta::assert_snapshot!(summary(&plan), @"Delete scripts.jupyter: no longer in the spec");
    insta::assert_snapshot!(plan.actions[&"scripts.jupyter".parse().unwrap()].in_guest.join("\n"), @"stop it by `docker stop jupyter`");
    // Without a `stop` there is nothing to be done in the server.
    let plan = world.plan(&bare());
    assert_eq!(plan.actions[&"scripts.docker".parse().unwrap()].in_guest, [""; 0]);
}

#[test]
fn a_script_and_what_it_uses_go_in_this_order() {
    let world = World::with(LAB);
    let attachments =
        "attachments: { data: { volume: data, server: node, filesystem: ext4, mount: { path: /mnt/block } } }";
    let plan = world.plan(&without(&bare(), attachments));
    insta::assert_snapshot!(steps(&plan), @r#"
    Delete scripts.jupyter
    Delete scripts.docker
    Delete attachments.data/mount
    Delete attachments.data
    "#);
    let plan = world.plan_with(&kit::desired(LAB), &PlanOptions { destroy: true, ..PlanOptions::default() }).unwrap().0;
    insta::assert_snapshot!(steps(&plan), @r#"
    Delete scripts.jupyter
    Delete scripts.docker
    Delete attachments.data/mount
    Delete floating_ips.node
    Delete attachments.data
    Delete servers.node
    Delete servers.node/port[sharednet1]
    "#);
}

#[test]
fn what_makes_it_run_again_and_what_is_only_remembered() {
    let world = World::with(LAB);
    let mut said = Vec::new();
    for (from, to) in [
        ("run_file: jupyter.sh", "run: docker start jupyter"),
        ("{ HOST: '${floating_ips.node.address}' }", "{ HOST: other }"),
        ("    env: { HOST: '${floating_ips.node.address}' }\n", ""),
        ("    stop: docker", "    triggers: ['${volumes.data.id}']\n    stop: docker"),
        ("    stop: docker", "    files: [{ source: conf, path: ~/conf }]\n    stop: docker"),
        ("uses: [attachments.data]", "uses: []"),
        ("stop: docker stop jupyter", "stop: docker kill jupyter"),
        ("    stop: docker stop jupyter\n", ""),
        ("    stop: docker", "    timeout: 1h\n    stop: docker"),
        ("    stop: docker", "    creates: /x\n    wait_for: { port: 8888 }\n    stop: docker"),
    ] {
        let plan = world.plan(&LAB.replace(from, to));
        said.push(summary(&plan));
        let mut world = world.clone();
        world.carry_out(&plan, |_| 0);
    }
    insta::assert_snapshot!(said.join("\n"), @r#"
    Replace scripts.jupyter: run changed; run_file changed
    Replace scripts.jupyter: env changed
    Replace scripts.jupyter: env changed
    Replace scripts.jupyter: triggers changed
    Replace scripts.jupyter: files changed
    Replace scripts.jupyter: uses changed
    Record scripts.jupyter: stop changed
    Record scripts.jupyter: stop changed
    Record scripts.jupyter: timeout changed
    Record scripts.jupyter: creates changed; wait_for changed
    "#);
}

#[test]
fn what_failed_runs_again_and_a_change_meanwhile_stops_it_first() {
    let mut world = World::with(LAB);
    let record = world.state.resources.get_mut(&"scripts.jupyter".parse().unwrap()).unwrap();
    record.status = Status::Failed("ended with status 1".to_owned());
    insta::assert_snapshot!(summary(&world.plan(LAB)), @"Await scripts.jupyter: it failed: ended with status 1");
    insta::assert_snapshot!(summary(&world.plan(&LAB.replace("{ HOST: '${floating_ips.node.address}' }", "{ A: b }"))), @"Replace scripts.jupyter: env changed");
}

#[test]
fn where_a_copied_file_lies_does_not_count() {
    let text = LAB.replace("    stop: docker", "    files: [{ source: conf, path: ~/conf }]\n    stop: docker");
    let mut world = World::with(&text);
    let record = world.state.resources.get_mut(&"scripts.jupyter".parse().unwrap()).unwrap();
    let Some(Value::List(files)) = record.applied.get_mut("files") else { panic!("a list") };
    let Some(Value::Map(file)) = files.first_mut() else { panic!("a map") };
    let Some(Value::Map(source)) = file.get_mut("source") else { panic!("a map") };
    source.insert("path".to_owned(), "/elsewhere/conf".into());
    assert!(world.plan(&text).is_empty());
    let Some(Value::List(files)) =
        world.state.resources.get_mut(&"scripts.jupyter".parse().unwrap()).unwrap().applied.get_mut("files")
    else {
        panic!("a list")
    };
    let Some(Value::Map(file)) = files.first_mut() else { panic!("a map") };
    file.insert("source".to_owned(), Value::Map([("digest".to_owned(), "another".into())].into()));
    insta::assert_snapshot!(summary(&world.plan(&text)), @"Replace scripts.jupyter: files changed");
}

#[test]
fn only_what_is_mounted_is_used() {
    let unmounted = LAB.replace(", filesystem: ext4, mount: { path: /mnt/block }", "");
    insta::assert_snapshot!(kit::resolved(&unmounted).unwrap_err(), @r#"
    error[no-such-part]: attachments.data has no mount to be used
      --> a.yaml:15:11
       |
     9 | attachments: { data: { volume: data, server: node } }
       |                ---- declared here
    ...
    15 |     uses: [attachments.data]
       |           ^^^^^^^^^^^^^^^^^^
       |
       = help: give it a `mount`; or name it in `depends_on`, if only the order matters
    "#);
}

#[test]
fn a_rebuild_unmounts_first_and_detaches_nothing() {
    let lab = LAB.replace("networks:", "on_image_change: rebuild, networks:");
    let mut world = World::new();
    world.carry_out(&world.plan(&lab), |_| 0);
    let plan = world.plan(&lab.replace("CC-Ubuntu22.04", "CC-Ubuntu24.04"));
    let steps = steps(&plan);
    let at = |step: &str| steps.lines().position(|line| line == step).unwrap_or_else(|| panic!("{step}: {steps}"));
    let order = [
        "Delete scripts.jupyter",
        "Delete attachments.data/mount",
        "Update servers.node",
        "Create attachments.data/mount",
        "Create scripts.jupyter",
    ];
    assert!(order.map(at).is_sorted(), "{steps}");
    assert!(at("Update servers.node") < at("Create scripts.docker"), "{steps}");
    assert!(!steps.contains("attachments.data\n"), "{steps}");
    let mount = &plan.actions[&"attachments.data/mount".parse().unwrap()];
    assert_eq!(mount.reasons.iter().map(ToString::to_string).collect::<Vec<_>>(), ["server `node` is rebuilt"]);
}
