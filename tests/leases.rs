//! Leases end by themselves and take their servers with them; data is never part of that.

use crate::environment::TestEnvironment;

const DAY: i64 = 86_400;

#[test]
fn a_lease_that_ended_is_planned_anew_with_its_server_and_the_volume_stays() {
    let env = TestEnvironment::with_example("block.yaml");
    env.apply("block.yaml");
    let volume = env.id("block.yaml", "volumes.data");
    env.site().advance(DAY);
    let plan = env.anole("plan block.yaml --detailed-exitcode").exits(2).says("leases.block  create: lease ended 20");
    plan.says("servers.node-block  create: lease `block` ended 20").says("Untouched: volumes.data");
    env.anole("drift block.yaml --detailed-exitcode").exits(0);
    env.apply("block.yaml");
    env.has_no_changes("block.yaml");
    let held = env.site().only("volumes");
    assert_eq!(held["id"], volume);
    assert_eq!(held["attachments"][0]["server_id"], env.site().only("servers")["id"]);
}

#[test]
fn an_extended_lease_is_neither_drift_nor_shortened() {
    let env = TestEnvironment::with_example("block.yaml");
    env.apply("block.yaml");
    env.anole("lease extend block 2d -f block.yaml").exits(0);
    env.site().advance(DAY);
    env.anole("plan block.yaml --detailed-exitcode").exits(0).says("leases.block: ends in 1 d");
    env.anole("drift block.yaml --detailed-exitcode").exits(0);
}

#[test]
fn a_lease_that_starts_later_leaves_the_rest_done() {
    let env = TestEnvironment::with_example("block.yaml");
    env.edit("block.yaml", "duration: 4h", "duration: 4h\n    start: 2199-01-01T00:00Z");
    env.anole("apply block.yaml --yes").exits(0).says("leases.block: pending until 2199-01-01");
    assert_eq!((env.site().all("servers").len(), env.site().all("volumes").len()), (0, 1));
}
