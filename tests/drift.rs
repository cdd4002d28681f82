//! What somebody changes behind anole's back is told as such, and put right.

use serde_json::{Value as Json, json};

use crate::environment::TestEnvironment;

#[test]
fn what_was_changed_outside_is_told_and_repaired() {
    let env = TestEnvironment::with_example("quickstart.yaml");
    env.apply("quickstart.yaml");
    env.anole("drift quickstart.yaml --detailed-exitcode").exits(0).says("No drift");
    let (site, id) = (env.site(), |address: &str| env.id("quickstart.yaml", address));
    let address = site.only("floatingips");
    site.call("PUT", &format!("/volume/v3/volumes/{}", id("volumes.data")), json!({"volume": {"name": "theirs"}}));
    let target = format!("/network/v2.0/floatingips/{}", id("floating_ips.node"));
    site.call("PUT", &target, json!({"floatingip": {"port_id": null}}));
    let rule =
        site.all("security_group_rules").into_iter().find(|rule| rule["direction"] == "ingress").expect("a rule");
    site.call("DELETE", &format!("/network/v2.0/security-group-rules/{}", text(&rule["id"])), Json::Null);
    let open = json!({"security_group_rule": {"security_group_id": id("security_groups.ssh"), "direction": "ingress",
        "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 23, "port_range_max": 23}});
    site.call("POST", "/network/v2.0/security-group-rules", open);

    let drift = env.anole("drift quickstart.yaml --detailed-exitcode --json").exits(2);
    let wanted = ["update floating_ips.node", "update security_groups.ssh", "update volumes.data"];
    assert_eq!(sorted(drift.actions()), wanted);
    let plan = env.anole("plan quickstart.yaml").exits(0).says("name was changed outside anole");
    plan.says("server was changed outside anole").says("rules was changed outside anole");
    env.apply("quickstart.yaml").says("3 changed");
    env.anole("drift quickstart.yaml --detailed-exitcode").exits(0);

    assert_eq!(site.only("volumes")["name"], "quickstart-data");
    assert_eq!(site.only("floatingips")["floating_ip_address"], address["floating_ip_address"]);
    assert_eq!(site.only("floatingips")["port_id"], site.only("ports")["id"]);
    let rules = site.all("security_group_rules");
    let ports: Vec<_> =
        rules.iter().filter(|rule| rule["direction"] == "ingress").map(|rule| &rule["port_range_min"]).collect();
    assert_eq!(ports, [22]);
}

#[test]
fn what_was_deleted_outside_is_made_again_and_the_data_stays() {
    let env = TestEnvironment::with_example("quickstart.yaml");
    env.apply("quickstart.yaml");
    let volume = env.id("quickstart.yaml", "volumes.data");
    let server = env.id("quickstart.yaml", "servers.node");
    env.site().call("DELETE", &format!("/compute/v2.1/servers/{server}"), Json::Null);
    let plan = env.anole("plan quickstart.yaml").exits(0).says("servers.node  create: was deleted outside anole");
    plan.says("Untouched: volumes.data");
    env.apply("quickstart.yaml");
    env.has_no_changes("quickstart.yaml");
    let held = env.site().only("volumes");
    assert_eq!(held["id"], volume);
    assert_eq!(held["attachments"][0]["server_id"], env.site().only("servers")["id"]);
}

#[test]
fn everything_gone_at_once_is_no_reason_to_make_the_world_again() {
    let env = TestEnvironment::with_example("quickstart.yaml");
    env.apply("quickstart.yaml");
    std::fs::remove_dir_all(env.path("state/embedded/clouds")).expect("a folder");
    env.anole("plan quickstart.yaml").exits(1).says("--accept-missing");
    env.anole("plan quickstart.yaml --accept-missing --detailed-exitcode").exits(2).says("6 to create");
}

fn text(value: &Json) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn sorted(mut words: Vec<String>) -> Vec<String> {
    words.sort();
    words
}
