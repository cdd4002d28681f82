//! What goes wrong in the site, or is somebody else's.

use serde_json::{Value as Json, json};

use super::client::text;
use super::cloud::TestCloud;

#[test]
fn a_server_that_fails_shows_why_and_is_replaced_by_the_next_apply() {
    let lease = "leases: { lab: { duration: 4h, reservations: { node: { flavor: m1.tiny } } } }\n";
    let cloud = TestCloud::with(lease);
    cloud.converge();
    // Somebody takes the one place that the lease has.
    let flavors = cloud.get("compute", "/flavors");
    let reserved = text(&cloud.only("lease")["reservations"][0]["id"]);
    let flavor = flavors["flavors"].as_array().into_iter().flatten().find(|one| text(&one["name"]).contains(&reserved));
    let flavor = flavor.expect("the flavor that the lease made");
    let thief = cloud.foreign_server("thief", &json!({"flavorRef": flavor["id"]}));

    cloud.write_spec(&format!(
        "{lease}servers: {{ node: {{ lease: lab, image: CC-Ubuntu24.04, networks: [sharednet1] }} }}\n\
         volumes: {{ data: {{ size: 1, protect: false }} }}\n\
         attachments: {{ data: {{ volume: data, server: node }} }}"
    ));
    let ran = cloud.env.anole("apply spec.yaml --yes").exits(1).says("servers.node").says("No valid host was found");
    ran.says("the next apply replaces it").says("attachments.data: servers.node failed");
    let failed = cloud.id("servers.node");
    assert_eq!(cloud.get("compute", &format!("/servers/{failed}"))["server"]["status"], "ERROR");
    cloud.env.anole("plan spec.yaml --detailed-exitcode").exits(2).says("-/+ servers.node").says("No valid host");

    cloud.call("DELETE", "compute", &format!("/servers/{thief}"), Json::Null);
    cloud.eventually("its end", || cloud.all("server").len() == 1);
    cloud.converge();
    assert_ne!(cloud.only("server")["id"], Json::from(failed));
    assert_eq!(cloud.only("server")["status"], "ACTIVE");
    cloud.env.anole("destroy spec.yaml --yes").exits(0);
    assert_eq!(cloud.census(), "");
}

#[test]
fn of_several_servers_that_fail_each_says_why() {
    let cloud = TestCloud::with(
        "leases: { lab: { duration: 4h, reservations: { node: { flavor: m1.tiny, amount: 1 } } } }
servers: { node: { count: 5, lease: lab, image: CC-Ubuntu24.04, networks: [sharednet1] } }",
    );
    let ran = cloud.env.anole("apply spec.yaml --yes").exits(1).omits("not why");
    assert_eq!(ran.stderr.matches("]: it failed: No valid host was found").count(), 4, "{ran:?}");
    let failed = cloud.all("server").into_iter().filter(|server| server["status"] == "ERROR").count();
    assert_eq!(failed, 4);
}

const ATTACHED: &str = "servers: { node: { flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [sharednet1] } }
volumes: { data: { size: 1 } }
attachments: { data: { volume: data, server: node } }
";

#[test]
fn a_volume_at_a_foreign_server_is_not_taken_from_it() {
    let cloud = TestCloud::with("");
    let (volume, server) = (cloud.foreign_volume("theirs", 1), cloud.foreign_server("theirs", &json!({})));
    let held = json!({"volumeAttachment": {"volumeId": volume}});
    cloud.call("POST", "compute", &format!("/servers/{server}/os-volume_attachments"), held);
    let path = format!("/volumes/{volume}");
    cloud.eventually("the attachment", || cloud.get("block-storage", &path)["volume"]["status"] == "in-use");

    cloud.write_spec(&ATTACHED.replace("{ size: 1 }", "{ size: 1, adopt: theirs }"));
    let ran = cloud.env.anole("apply spec.yaml --yes").exits(1).says("attachments.data").says(&server);
    ran.says("detach");
    let volume = cloud.get("block-storage", &path);
    assert_eq!(volume["volume"]["attachments"][0]["server_id"], Json::from(server));
    cloud.env.anole("destroy spec.yaml --yes").exits(0);
    assert_eq!(cloud.census(), "port 1, server 1, volume 1");
}

#[test]
fn a_name_that_several_have_is_not_guessed() {
    let cloud = TestCloud::with(
        "servers: { node: { flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [sharednet1], security_groups: [web] } }",
    );
    let group = || text(&cloud.call("POST", "network", "/v2.0/security-groups", named("web"))["security_group"]["id"]);
    let (one, two) = (group(), group());
    cloud.env.anole("plan spec.yaml").exits(1).says("`web`").says(&one).says(&two).says("spec.yaml:3");
    cloud.env.edit("spec.yaml", "[web]", &format!("[{one}]"));
    cloud.converge();
    let port = cloud.only("port");
    assert_eq!(port["security_groups"], json!([one]));
}

fn named(name: &str) -> Json {
    json!({"security_group": {"name": name}})
}

#[test]
fn objects_of_the_same_name_are_told_apart() {
    let cloud = TestCloud::with("");
    let theirs = cloud.foreign_volume("acceptance-data", 1);
    cloud.call("POST", "network", "/v2.0/security-groups", named("acceptance-web"));
    cloud.write_spec("volumes: { data: { size: 1 } }\nsecurity_groups: { web: { rules: [{ port: 80 }] } }");
    cloud.converge().says("2 created");
    assert_eq!((cloud.all("volume").len(), cloud.all("security_group").len()), (2, 2));
    assert_ne!(cloud.id("volumes.data"), theirs);
    cloud.env.anole("destroy spec.yaml --yes --include-protected").exits(0);
    assert_eq!(cloud.only("volume")["id"], Json::from(theirs));
    assert_eq!(cloud.census(), "security_group 1, volume 1");
}

#[test]
fn a_keypairs_name_that_is_taken_is_told() {
    let cloud = TestCloud::with("keypairs: { laptop: { name: taken, public_key: ./key.pub } }");
    let body = json!({"keypair": {"name": "taken", "type": "ssh", "public_key": cloud.env.read("key.pub")}});
    cloud.call("POST", "compute", "/os-keypairs", body);
    let before = cloud.only("keypair");
    let ran = cloud.env.anole("apply spec.yaml --yes").exits(1).says("keypairs.laptop").says("already exists");
    ran.says("adopt: taken");
    assert_eq!(cloud.only("keypair"), before);
}

/// Two hundred objects of somebody in the same project, a quarter of them named as the spec's own are.
#[test]
fn two_hundred_foreign_objects_are_as_they_were() {
    let cloud = TestCloud::with("");
    let name = |number: usize| {
        if number.is_multiple_of(4) { "acceptance-data".to_owned() } else { format!("foreign-{number}") }
    };
    let network = &cloud.get("network", "/v2.0/networks?name=sharednet1")["networks"][0]["id"];
    for number in 0..100 {
        let group = json!({"security_group": {"name": name(number), "description": "theirs"}});
        cloud.call("POST", "network", "/v2.0/security-groups", group);
    }
    for number in 0..60 {
        let port = json!({"port": {"name": name(number), "network_id": network}});
        cloud.call("POST", "network", "/v2.0/ports", port);
    }
    for number in 0..40 {
        let volume = json!({"volume": {"name": name(number), "size": 1, "metadata": {"anole": "theirs"}}});
        cloud.call("POST", "block-storage", "/volumes", volume);
    }
    let ready = |volume: &Json| volume["status"] == "available";
    cloud.eventually("the volumes", || cloud.all("volume").iter().all(ready));
    let all = || ["security_group", "port", "volume"].map(|kind| cloud.all(kind));
    let before = all();
    assert_eq!(before.iter().map(Vec::len).sum::<usize>(), 200);

    cloud.write_spec(&format!("{ATTACHED}security_groups: {{ data: {{ rules: [{{ port: 22 }}] }} }}\n"));
    cloud.converge().says("4 created");
    cloud.env.edit("spec.yaml", "CC-Ubuntu24.04", "CC-Ubuntu24.04-CUDA");
    cloud.converge();
    cloud.env.anole("destroy spec.yaml --yes --include-protected").exits(0);
    for (before, after) in before.into_iter().zip(all()) {
        let (before, after) = (in_order(before.into()), in_order(after.into()));
        assert!(before == after, "before: {before}\nafter: {after}");
    }
}

/// The same with every list in an order of its own: services list as they like.
fn in_order(value: Json) -> Json {
    match value {
        Json::Array(items) => {
            let mut items: Vec<_> = items.into_iter().map(in_order).collect();
            items.sort_by_key(Json::to_string);
            items.into()
        }
        Json::Object(map) => Json::Object(map.into_iter().map(|(key, value)| (key, in_order(value))).collect()),
        other => other,
    }
}
