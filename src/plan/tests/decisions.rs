//! Decisions with their reasons, one story each: what was applied, what is different now, what the plan says.

use super::cloud::{World, bare, stamp};
use super::kit::{self, KEY, notes, refusals, steps, summary};
use crate::model::{Fields, RemoteId, SiteAlias, Value};
use crate::plan::{IncludeProtected, Plan, PlanOptions, Report, Verb};
use crate::state::{Origin, Status};

/// The block-storage lab.
fn block() -> String {
    format!(
        "
leases: {{ block: {{ duration: 4h, reservations: {{ node: {{ flavor: m1.medium }} }} }} }}
keypairs: {{ laptop: {{ public_key: {KEY} }} }}
security_groups: {{ ssh: {{ rules: [{{ port: 22 }}] }} }}
servers:
  node:
    lease: block
    image: CC-Ubuntu22.04
    keypair: laptop
    networks: [sharednet1]
    security_groups: [ssh]
floating_ips: {{ node: {{ network: public, server: node }} }}
volumes: {{ data: {{ size: 2GiB }} }}
attachments: {{ data: {{ volume: data, server: node }} }}
"
    )
}

fn options() -> PlanOptions {
    PlanOptions::default()
}

fn replace(address: &str) -> PlanOptions {
    PlanOptions { replace: vec![address.parse().unwrap()], ..options() }
}

fn target(address: &str) -> PlanOptions {
    PlanOptions { targets: vec![address.parse().unwrap()], ..options() }
}

fn planned(world: &World, text: &str, options: &PlanOptions) -> (Plan, Report) {
    let planned = world.plan_with(&kit::desired(text), options);
    planned.unwrap_or_else(|errors| panic!("{}", refusals(&errors)))
}

#[test]
fn another_image_makes_the_server_anew_and_leaves_the_volume() {
    let world = World::with(&block());
    let plan = world.plan(&block().replace("22.04", "24.04"));
    insta::assert_snapshot!(summary(&plan), @r"
    Replace attachments.data: server `node` is replaced
    Update floating_ips.node: server `node` is replaced
    Replace servers.node: image changed
    Replace servers.node/port[sharednet1]: its server `node` is replaced
    ");
    insta::assert_snapshot!(steps(&plan), @r"
    Delete attachments.data
    Delete servers.node
    Delete servers.node/port[sharednet1]
    Create servers.node/port[sharednet1]
    Create servers.node
    Update floating_ips.node
    Create attachments.data
    ");
}

#[test]
fn a_lease_that_ended_took_its_servers_along() {
    let mut world = World::with(&block());
    world.clouds.at = "2026-11-20T21:00:00Z".parse().unwrap();
    world.object("leases.block").status = "TERMINATED".to_owned();
    world.settle();
    insta::assert_snapshot!(summary(&world.plan(&block())), @r"
    Create attachments.data: lease `block` ended 2026-11-20T20:00Z
    Update floating_ips.node: server `node` is made anew
    Create leases.block: lease ended 2026-11-20T20:00Z
    Create servers.node: lease `block` ended 2026-11-20T20:00Z
    ");
}

#[test]
fn a_lease_that_starts_later_is_waited_for() {
    let mut world = World::with(&block());
    let lease = world.object("leases.block");
    lease.status = "PENDING".to_owned();
    lease.attrs.insert("start".to_owned(), "2026-12-01T18:00:00Z".into());
    lease.attrs.insert("end".to_owned(), "2026-12-01T22:00:00Z".into());
    insta::assert_snapshot!(summary(&world.plan(&block())), @"Await leases.block: starts 2026-12-01T18:00Z");
}

/// The image's name stands for another image from now on.
fn republish(world: &mut World) {
    let view = world.clouds.sites.get_mut(&SiteAlias::from("kvm")).unwrap();
    let key = ("image".to_owned(), "CC-Ubuntu22.04".to_owned());
    view.lookups.insert(key, vec![bare(RemoteId::from("republished"), "CC-Ubuntu22.04", Fields::new())]);
}

#[test]
fn a_republished_image_is_a_note_until_the_server_is_made_anew() {
    let mut world = World::with(&block());
    republish(&mut world);
    let (plan, report) = planned(&world, &block(), &options());
    assert!(plan.is_empty());
    insta::assert_snapshot!(notes(&report), @r"
    leases.block: ends in 4 h 0 min
    servers.node: image `CC-Ubuntu22.04` is another one by now (republished); `--replace servers.node` takes it
    ");

    let image = |plan: &Plan| plan.actions[&"servers.node".parse().unwrap()].wanted["image"].as_id().cloned();
    assert_eq!(image(&plan), Some(RemoteId::from("kvm-CC-Ubuntu22.04")));
    let (marked, _) = planned(&world, &block(), &replace("servers.node"));
    assert_eq!(image(&marked), Some(RemoteId::from("republished")));
    // The old image may be gone: a server that is made anew for another reason is not made of it.
    let edited = block().replace("keypair: laptop", "user_data: echo");
    let plan = world.plan(&edited);
    assert_eq!(image(&plan), Some(RemoteId::from("republished")));
    insta::assert_snapshot!(summary(&plan).lines().find(|line| line.contains(" servers.node:")).unwrap(), @"Replace servers.node: image changed; user_data changed");
}

#[test]
fn a_name_that_is_not_there_or_means_several_is_told_once() {
    let world = World::with(&block());
    let edited = block().replace("CC-Ubuntu22.04", "CC-Ubuntu20.04").replace("sharednet1", "sharednet2");
    insta::assert_snapshot!(world.refused(&edited, &options()), @r"
    not-found (image): site `kvm` has no image named `CC-Ubuntu20.04`, and the spec declares none
    not-found (network): site `kvm` has no network named `sharednet2`, and the spec declares none
    ");
    // What is not meant is not held up by it.
    assert!(planned(&world, &edited, &target("volumes.data")).0.is_empty());
}

#[test]
fn an_adopted_object_is_managed_in_place_and_let_go() {
    let adopting = "volumes: { old: { adopt: lab-disk, size: 3GiB, availability_zone: nova } }";
    let mut world = World::new();
    insta::assert_snapshot!(world.refused(adopting, &options()), @"nothing-to-adopt: site `kvm` has no volume with name `lab-disk`");
    let attrs = [("size", Value::Int(2)), ("name", "lab-disk".into()), ("availability_zone", "nova".into())];
    let attrs: Fields = attrs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let mut disk = bare(RemoteId::from("disk"), "lab-disk", attrs);
    world.objects(&"kvm".into(), "volume").insert(disk.id.clone(), disk.clone());
    let plan = world.plan(adopting);
    insta::assert_snapshot!(summary(&plan), @"Adopt volumes.old: adopted");
    world.carry_out(&plan, |_| 0);
    assert_eq!(world.state.resources[&"volumes.old".parse().unwrap()].origin, Origin::Adopted);

    let moved = adopting.replace("nova", "other");
    insta::assert_snapshot!(world.refused(&moved, &options()), @"adopted-replace: volumes.old is adopted and is never replaced: availability_zone changed");
    insta::assert_snapshot!(summary(&world.plan("")), @"Release volumes.old: no longer in the spec");
    world.vanish("volumes.old");
    insta::assert_snapshot!(world.refused(adopting, &options()), @"adopted-gone: the adopted volume disk is gone");

    disk.stamp = Some(stamp("fedcba9876543210", "theirs", "volumes.x"));
    let mut other = World::new();
    other.objects(&"kvm".into(), "volume").insert(disk.id.clone(), disk);
    insta::assert_snapshot!(other.refused(adopting, &options()), @"adopt-foreign: volume disk is managed by stack `theirs` as volumes.x");
}

#[test]
fn a_shared_group_that_a_classmate_made_again_is_taken_again() {
    let spec = "security_groups: { allow-ssh: { shared: true, rules: [{ port: 22 }] } }";
    let mut world = World::with(spec);
    assert_eq!(world.state.resources[&"security_groups.allow-ssh".parse().unwrap()].origin, Origin::Adopted);
    let mut again = world.object("security_groups.allow-ssh").clone();
    world.vanish("security_groups.allow-ssh");
    again.id = RemoteId::from("theirs");
    world.objects(&"kvm".into(), "security_group").insert(again.id.clone(), again);
    let plan = world.plan(spec);
    insta::assert_snapshot!(summary(&plan), @"Adopt security_groups.allow-ssh: adopted");
    assert_eq!(plan.actions[&"security_groups.allow-ssh".parse().unwrap()].id, Some(RemoteId::from("theirs")));
}

#[test]
fn what_is_protected_is_not_replaced() {
    let spec = "volumes: { data: { size: 2GiB, availability_zone: a } }";
    let mut world = World::with(spec);
    let moved = spec.replace("zone: a", "zone: b");
    insta::assert_snapshot!(world.refused(&moved, &options()), @"protected-replace: volumes.data is protected and would be replaced: availability_zone changed");
    insta::assert_snapshot!(world.refused(&spec.replace("2GiB", "1GiB"), &options()), @"refused-change (size): a volume cannot shrink, and this one has 2 GiB: write `size: 2GiB`, or make a smaller volume under another name and copy the data");
    // The block's word counts, whatever the state remembers.
    let open = moved.replace("size:", "protect: false, size:");
    insta::assert_snapshot!(summary(&world.plan(&open)), @"Replace volumes.data: availability_zone changed");
    world.apply(&spec.replace("size:", "protect: false, size:"));
    let protecting = moved.replace("size:", "protect: true, size:");
    assert!(world.refused(&protecting, &options()).starts_with("protected-replace"));
}

#[test]
fn what_is_protected_is_kept_with_what_it_needs() {
    let kept = block().replace("lease: block", "protect: true\n    lease: block");
    let mut world = World::with(&kept);
    let (plan, report) = planned(&world, "volumes: { new: { size: 1GiB } }", &options());
    insta::assert_snapshot!(summary(&plan), @r"
    Delete attachments.data: no longer in the spec
    Delete floating_ips.node: no longer in the spec
    Hold keypairs.laptop: needed by servers.node
    Hold leases.block: needed by servers.node
    Hold security_groups.ssh: needed by servers.node/port[sharednet1]
    Hold servers.node: protected
    Hold servers.node/port[sharednet1]: needed by servers.node
    Hold volumes.data: protected
    Create volumes.new: new
    ");
    insta::assert_snapshot!(notes(&report), @r"
    ! volumes.new: volumes.new is new while volumes.data is kept: a rename? add `was: volumes.data` to the block
    leases.block: ends in 4 h 0 min
    ");
    world.carry_out(&plan, |_| 0);

    // Making its lease anew would take the server that is kept along.
    let other = "leases: { block: { duration: 4h, reservations: { node: { flavor: m1.large } } } }";
    insta::assert_snapshot!(world.refused(other, &options()), @"held-replace: leases.block would be replaced, but servers.node, which is kept because it is protected, needs it");

    let destroy = PlanOptions { destroy: true, ..options() };
    let only = IncludeProtected::Only(vec!["servers.node".parse().unwrap()]);
    let (plan, _) = planned(&world, "", &PlanOptions { include_protected: only, ..destroy });
    insta::assert_snapshot!(summary(&plan), @r"
    Delete keypairs.laptop: destroy
    Delete leases.block: destroy
    Delete security_groups.ssh: destroy
    Delete servers.node: destroy
    Delete servers.node/port[sharednet1]: destroy
    Hold volumes.data: protected
    Hold volumes.new: protected
    ");
}

#[test]
fn a_rename_is_no_change() {
    let spec = "volumes: { a: { name: a, size: 1GiB }, b: { name: b, size: 2GiB } }";
    let mut world = World::with(spec);
    let along = "volumes: { b: { name: a, size: 1GiB, was: volumes.a }, c: { name: b, size: 2GiB, was: volumes.b } }";
    let plan = world.plan(along);
    insta::assert_snapshot!(summary(&plan), @r"
    Record volumes.b: was volumes.a
    Record volumes.c: was volumes.b
    ");
    world.carry_out(&plan, |_| 0);
    assert!(world.plan(along).is_empty(), "a `was` that was done says nothing");
    let both = along.replace("c: {", "d: {");
    insta::assert_snapshot!(world.refused(&both, &options()), @"rename-taken: `volumes.d` was `volumes.b`, but the spec still declares `volumes.b`");
    let taken = along.replace("b: { name: a, size: 1GiB, was: volumes.a }, ", "");
    insta::assert_snapshot!(world.refused(&taken, &options()), @"rename-taken: `volumes.c` was `volumes.b`, but the state has both");
}

#[test]
fn count_comes_and_goes_without_a_change() {
    let one = "servers: { s: { name: s, flavor: m1.small, image: CC-Ubuntu22.04, networks: [sharednet1] } }";
    let world = World::with(one);
    let plan = world.plan(&one.replace("name: s,", "name: s, count: 1,"));
    insta::assert_snapshot!(summary(&plan), @r"
    Record servers.s[0]: was servers.s
    Record servers.s[0]/port[sharednet1]: was servers.s/port[sharednet1]
    ");
    assert!(plan.steps.iter().all(|step| step.operation == crate::plan::StepOperation::Record));
}

#[test]
fn a_group_made_anew_is_let_go_of_first() {
    let world = World::with(&block());
    let (plan, _) = planned(&world, &block(), &replace("security_groups.ssh"));
    insta::assert_snapshot!(summary(&plan), @r"
    Replace security_groups.ssh: marked by --replace
    Update servers.node/port[sharednet1]: security group `ssh` is replaced
    ");
    insta::assert_snapshot!(steps(&plan), @r"
    LetGo servers.node/port[sharednet1]
    Delete security_groups.ssh
    Create security_groups.ssh
    Update servers.node/port[sharednet1]
    ");
}

#[test]
fn of_addresses_that_swap_their_servers_one_lets_go_first() {
    let spec = |servers: [&str; 3]| {
        let server =
            |name: &str| format!("{name}: {{ flavor: m1.small, image: CC-Ubuntu22.04, networks: [sharednet1] }}");
        let address = |(name, server): (&str, &str)| format!("{name}: {{ network: public, server: {server} }}");
        let servers = ["x", "y", "z"].into_iter().zip(servers).map(address).collect::<Vec<_>>().join(", ");
        let all = ["a", "b", "c"].map(server).join(", ");
        format!("servers: {{ {all} }}\nfloating_ips: {{ {servers} }}")
    };
    let world = World::with(&spec(["a", "b", "c"]));
    insta::assert_snapshot!(steps(&world.plan(&spec(["b", "a", "c"]))), @r"
    LetGo floating_ips.x
    Update floating_ips.y
    Update floating_ips.x
    ");
    insta::assert_snapshot!(steps(&world.plan(&spec(["b", "c", "a"]))), @r"
    LetGo floating_ips.x
    Update floating_ips.z
    Update floating_ips.y
    Update floating_ips.x
    ");
}

/// A server with an address behind a router.
const ROUTED: &str = "networks: { inner: { subnets: [10.1.0.0/24] } }
routers: { edge: { external: public, networks: [inner] } }
servers: { node: { flavor: m1.small, image: CC-Ubuntu22.04, networks: [inner] } }
floating_ips: { node: { network: public, server: node } }
";

#[test]
fn a_router_is_connected_to_each_new_subnet() {
    let world = World::with(ROUTED);
    let plan =
        world.plan(&ROUTED.replace("10.1.0.0/24", "10.1.0.0/24, 10.2.0.0/24, { cidr: 10.3.0.0/24, gateway: none }"));
    insta::assert_snapshot!(summary(&plan), @r"
    Create networks.inner/subnet[10.2.0.0/24]: new
    Create networks.inner/subnet[10.3.0.0/24]: new
    Update routers.edge: subnet `inner/subnet[10.2.0.0/24]` is made anew
    ");
    let plan = world.plan(&ROUTED.replace("10.1.0.0/24", "10.1.0.0/24, { cidr: 10.3.0.0/24, gateway: none }"));
    insta::assert_snapshot!(summary(&plan), @"Create networks.inner/subnet[10.3.0.0/24]: new");
}

#[test]
fn another_site_is_another_object() {
    let spec = "volumes: { v: { protect: false, size: 1GiB, image: CC-Ubuntu22.04 } }";
    let world = World::with(spec);
    let plan = world.plan(&spec.replace("size:", "site: chi, size:"));
    insta::assert_snapshot!(summary(&plan), @"Replace volumes.v: moves from site `kvm`");
    let image = plan.actions[&"volumes.v".parse().unwrap()].wanted["image"].as_id().cloned();
    assert_eq!(image, Some(RemoteId::from("chi-CC-Ubuntu22.04")), "an id of the old site means nothing on the new one");
}

#[test]
fn one_missing_object_is_made_anew_and_all_missing_are_not() {
    let mut world = World::with(&block());
    world.vanish("servers.node");
    insta::assert_snapshot!(summary(&world.plan(&block())), @r"
    Create attachments.data: server `node` is made anew
    Update floating_ips.node: server `node` is made anew
    Create servers.node: was deleted outside anole
    ");
    for view in world.clouds.sites.values_mut() {
        view.objects.clear();
    }
    insta::assert_snapshot!(world.refused(&block(), &options()), @"all-missing: all 6 objects that the state knows in site `kvm` are gone");
    let (plan, _) = planned(&world, &block(), &PlanOptions { accept_missing: true, ..options() });
    assert_eq!(plan.summary().create, 7);
}

#[test]
fn another_project_and_a_lost_state_are_refused() {
    let mut world = World::with(&block());
    let mut lost = world.clone();
    world.clouds.sites.get_mut(&SiteAlias::from("kvm")).unwrap().identity.project_id = "p2".to_owned();
    insta::assert_snapshot!(world.refused(&block(), &options()), @"other-project: site `kvm` is project CHI-000001 in KVM at https://kvm.example:5000, but the state was made in project CHI-000001 in KVM at https://kvm.example:5000");

    lost.object("volumes.data").stamp = Some(stamp(&lost.state.lineage.clone(), "t", "volumes.data"));
    lost.state = World::new().state;
    lost.state.lineage = "fedcba9876543210".to_owned();
    insta::assert_snapshot!(lost.refused(&block(), &options()), @"state-lost: there is no state, but 1 object of yours carries the stamp of a stack `t`: volumes.data");
    let mut mates = lost.clone();
    let mates_stamp = stamp("0123456789abcdef", "t", "volumes.data");
    for seen in mates.objects(&"kvm".into(), "volume").values_mut() {
        seen.stamp = Some(crate::model::Stamp { owner: "12345678".to_owned(), ..mates_stamp.clone() });
    }
    assert_eq!(planned(&mates, &block(), &options()).0.summary().create, 7, "what a classmate made is theirs");
}

#[test]
fn what_is_not_known_yet_counts_as_changed() {
    let spec = "
floating_ips: { in: { network: public, count: 2 } }
servers:
  a: { flavor: m1.small, image: CC-Ubuntu22.04, networks: [sharednet1], metadata: { to: '${floating_ips.in[0].address}' } }
  b: { flavor: m1.small, image: CC-Ubuntu22.04, networks: [sharednet1], user_data: 'to ${floating_ips.in[1].address}' }
outputs: { all: '${floating_ips.in[*].address}' }
";
    let mut world = World::with(spec);
    world.vanish("floating_ips.in[0]");
    world.vanish("floating_ips.in[1]");
    let plan = world.plan(spec);
    insta::assert_snapshot!(summary(&plan), @r"
    Create floating_ips.in[0]: was deleted outside anole
    Create floating_ips.in[1]: was deleted outside anole
    Update servers.a: floating ip `in[0]` is made anew
    Replace servers.b: floating ip `in[1]` is made anew
    Replace servers.b/port[sharednet1]: its server `b` is replaced
    ");
    world.carry_out(&plan, |_| 0);
    let metadata = world.object("servers.a").attrs["metadata"].as_map().unwrap()["to"].clone();
    assert_eq!(metadata, world.object("floating_ips.in[0]").attrs["address"]);

    // An address made anew is another address.
    let (plan, _) = planned(&world, spec, &replace("floating_ips.in[0]"));
    insta::assert_snapshot!(summary(&plan), @r"
    Replace floating_ips.in[0]: marked by --replace
    Update servers.a: floating ip `in[0]` is replaced
    ");
    world.carry_out(&plan, |_| 0);

    let known = crate::apply::known::Recorded(&world.state);
    let all = crate::plan::bind::bind(&plan.outputs["all"], &known);
    assert_eq!(all.as_list().map(<[Value]>::len), Some(2), "{all:?}");
}

#[test]
fn what_a_service_does_not_tell_forces_nothing() {
    let spec = "
servers:
  s: { flavor: m1.small, image: CC-Ubuntu22.04, networks: [sharednet1], user_data: echo, config_drive: true }
";
    let mut world = World::with(spec);
    assert!(!world.object("servers.s").attrs.contains_key("user_data"));
    assert!(world.plan(spec).is_empty());
    insta::assert_snapshot!(summary(&world.plan(&spec.replace("echo", "date"))), @r"
    Replace servers.s: user_data changed
    Replace servers.s/port[sharednet1]: its server `s` is replaced
    ");
    let ignoring = spec.replace("user_data: echo", "ignore_changes: [user_data], user_data: date");
    assert!(world.plan(&ignoring).is_empty());
    // What it does tell is drift, where the spec says what it said.
    world.object("servers.s").attrs.insert("name".to_owned(), "theirs".into());
    insta::assert_snapshot!(summary(&world.plan(spec)), @"Update servers.s: name was changed outside anole");
}

#[test]
fn a_target_takes_along_what_holds_on_to_it() {
    let world = World::with(&block());
    let edited = block().replace("22.04", "24.04").replace("2GiB", "3GiB").replace("port: 22", "port: 23");
    let (plan, _) = planned(&world, &edited, &target("servers.node"));
    insta::assert_snapshot!(summary(&plan), @r"
    Replace attachments.data: server `node` is replaced
    Update floating_ips.node: server `node` is replaced
    Update security_groups.ssh: rules changed
    Replace servers.node: image changed
    Replace servers.node/port[sharednet1]: its server `node` is replaced
    Update volumes.data: size changed
    ");
    let (plan, _) = planned(&world, &edited, &target("keypairs.laptop"));
    assert!(plan.is_empty(), "{}", summary(&plan));
    let unknown = world.refused(&edited, &target("servers.nodee"));
    insta::assert_snapshot!(unknown, @"no-such-resource: `servers.nodee` is neither in the spec nor in the state");
}

#[test]
fn what_changes_hands_is_let_go_before_it_is_taken() {
    let server = "flavor: m1.small, image: CC-Ubuntu22.04, networks: [sharednet1]";
    let spec = format!(
        "
servers: {{ a: {{ {server} }}, b: {{ {server} }} }}
volumes: {{ v: {{ size: 1GiB }} }}
attachments: {{ x: {{ volume: v, server: a }} }}
floating_ips: {{ f: {{ network: public, server: a }}, g: {{ network: public }} }}
"
    );
    let world = World::with(&spec);
    let moved = spec.replace("x: { volume: v, server: a }", "y: { volume: v, server: b }").replace(
        "f: { network: public, server: a }, g: { network: public }",
        "f: { network: public }, g: { network: public, server: a }",
    );
    insta::assert_snapshot!(steps(&world.plan(&moved)), @r"
    Update floating_ips.f
    Update floating_ips.g
    Delete attachments.x
    Create attachments.y
    ");
}

#[test]
fn what_failed_is_made_anew_and_what_was_mended_is_looked_at() {
    let mut world = World::with(&block());
    world.object("servers.node").status = "ERROR".to_owned();
    world.object("servers.node").fault = Some("No valid host was found".to_owned());
    insta::assert_snapshot!(summary(&world.plan(&block())), @r"
    Replace attachments.data: server `node` is replaced
    Update floating_ips.node: server `node` is replaced
    Replace servers.node: it failed: No valid host was found
    Replace servers.node/port[sharednet1]: its server `node` is replaced
    ");
    let server = world.object("servers.node");
    (server.status, server.fault) = ("ACTIVE".to_owned(), None);
    let record = world.state.resources.get_mut(&"servers.node".parse().unwrap()).unwrap();
    record.status = Status::Failed("No valid host was found".to_owned());
    let plan = world.plan(&block());
    assert_eq!(plan.actions[&"servers.node".parse().unwrap()].verb, Verb::Await);
    world.carry_out(&plan, |_| 0);
    assert!(world.plan(&block()).is_empty());
}
