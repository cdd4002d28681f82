//! The services, asked as a client asks them. One life after another; the refusals are those measured on OpenStack 2025.1.

use axum::body::{Body, to_bytes};
use http::{HeaderMap, Request};
use serde_json::json;
use tower::ServiceExt;

use super::catalogue::{fixed_id, public_network, shared_network, user_id};
use super::{ClockMode, Cloud, Guests, Options, Profile};
use crate::model::Json;

/// A client, signed in.
struct Client {
    cloud: Cloud,
    folder: tempfile::TempDir,
    token: String,
}

#[derive(Debug)]
struct Got {
    status: u16,
    headers: HeaderMap,
    body: Json,
}

impl Got {
    fn id(&self, key: &str) -> String {
        self.body[key]["id"].as_str().unwrap_or_else(|| panic!("no {key}.id in {}", self.body)).to_owned()
    }

    /// The message of the refusal, whatever the service calls it.
    fn message(&self) -> String {
        let inner = self.body.as_object().and_then(|map| map.values().find(|value| value["message"].is_string()));
        let text = self.body["error_message"].as_str().or_else(|| inner?["message"].as_str());
        format!("{} {}", self.status, text.unwrap_or_else(|| panic!("no message in {}", self.body)))
    }
}

impl Client {
    async fn new(profile: Profile, scale: f64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cloud =
            Cloud::open(folder.path(), Options { profile, clock: ClockMode::Real { scale }, guests: Guests::None })
                .unwrap();
        let mut client = Self { cloud, folder, token: String::new() };
        client.token = client.sign_in("demo", "demo", "CHI-embedded").await.unwrap();
        client
    }

    async fn kvm() -> Self {
        Self::new(Profile::ChameleonKvm, 0.0).await
    }

    async fn sign_in(&self, user: &str, password: &str, project: &str) -> Result<String, Got> {
        let domain = json!({"name": "Default"});
        let body = json!({"auth": {
            "identity": {"methods": ["password"],
                         "password": {"user": {"name": user, "password": password, "domain": domain}}},
            "scope": {"project": {"name": project, "domain": domain}}}});
        let got = self.call("POST", "/identity/v3/auth/tokens", body).await;
        match got.headers.get("x-subject-token") {
            Some(token) => Ok(token.to_str().unwrap().to_owned()),
            None => Err(got),
        }
    }

    async fn call(&self, method: &str, target: &str, body: Json) -> Got {
        self.with(method, target, body, &[]).await
    }

    async fn get(&self, target: &str) -> Json {
        let got = self.call("GET", target, Json::Null).await;
        assert_eq!(got.status, 200, "{target}: {}", got.body);
        got.body
    }

    async fn with(&self, method: &str, target: &str, body: Json, headers: &[(&str, &str)]) -> Got {
        let mut request = Request::builder().method(method).uri(target).header("host", "cloud.test");
        if !headers.iter().any(|(name, _)| *name == "x-auth-token") {
            request = request.header("x-auth-token", &self.token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let bytes = match body {
            Json::Null => Vec::new(),
            Json::String(text) => text.into_bytes(),
            body => body.to_string().into_bytes(),
        };
        let response = self.cloud.router().oneshot(request.body(Body::from(bytes)).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        Got { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    async fn server(&self, name: &str, extra: Json) -> Got {
        let mut server = json!({
            "name": name, "imageRef": fixed_id("image", "CC-Ubuntu24.04"), "flavorRef": fixed_id("flavor", "m1.small"),
            "networks": [{"uuid": shared_network()}]});
        for (key, value) in extra.as_object().unwrap() {
            server[key] = value.clone();
        }
        self.call("POST", "/compute/v2.1/servers", json!({"server": server})).await
    }

    async fn lease(&self, reservation: Json, start: &str, end: &str) -> Got {
        let body = json!({"name": "lease", "start_date": start, "end_date": end, "events": [],
                          "reservations": [reservation]});
        self.call("POST", "/reservation/v1/leases", body).await
    }

    /// So many hours from now as Blazar reads it.
    fn hours(&self, hours: i64) -> String {
        let now = self.cloud.now().unwrap() + hours * 3_600_000;
        super::clock::spaced(now)[..16].to_owned()
    }
}

fn flavor_reservation(amount: i64) -> Json {
    json!({"resource_type": "flavor:instance", "flavor_id": fixed_id("flavor", "m1.medium"), "amount": amount,
           "affinity": null})
}

#[tokio::test]
async fn keystone_signs_in_and_refuses() {
    let client = Client::kvm().await;
    let refused = client.sign_in("demo", "wrong", "CHI-embedded").await.err().unwrap();
    assert_eq!(refused.message(), "401 The request you have made requires authentication.");
    assert_eq!(refused.headers["www-authenticate"], "Keystone uri=\"http://cloud.test/identity/v3\"");
    assert_eq!(client.sign_in("other", "other", "CHI-embedded").await.err().unwrap().status, 401);
    let token = client.with("GET", "/identity/v3/auth/tokens", Json::Null, &[("x-subject-token", &client.token)]).await;
    let catalog = token.body["token"]["catalog"].as_array().unwrap();
    let compute = catalog.iter().find(|service| service["type"] == "compute").unwrap();
    assert_eq!(compute["endpoints"][0]["url"], "http://cloud.test/compute/v2.1");
    assert_eq!(compute["endpoints"][0]["region"], "KVM@TACC");
    let log = std::fs::read_to_string(client.folder.path().join("log.0.jsonl")).unwrap();
    assert!(!log.contains(&client.token));
    client.cloud.advance(4 * 3600 + 1).unwrap();
    assert_eq!(client.call("GET", "/compute/v2.1/servers", Json::Null).await.status, 401);
}

#[tokio::test]
async fn application_credentials_sign_in_but_a_restricted_one_makes_nothing() {
    let mut client = Client::kvm().await;
    let path = format!("/identity/v3/users/{}/application_credentials", user_id("demo"));
    let made = client.call("POST", &path, json!({"application_credential": {"name": "a", "secret": "s"}})).await;
    assert_eq!(made.status, 201);
    let again = client.call("POST", &path, json!({"application_credential": {"name": "a"}})).await;
    assert_eq!(again.status, 409);
    let credential = json!({"id": made.id("application_credential"), "secret": "s"});
    let identity = json!({"methods": ["application_credential"], "application_credential": credential});
    let got = client.call("POST", "/identity/v3/auth/tokens", json!({"auth": {"identity": identity}})).await;
    client.token = got.headers["x-subject-token"].to_str().unwrap().to_owned();
    client.get("/compute/v2.1/servers").await;
    let refused = client.call("POST", &path, json!({"application_credential": {"name": "b"}})).await;
    assert_eq!(refused.status, 403);
    let refused = client.lease(flavor_reservation(1), "now", &client.hours(4)).await;
    assert_eq!(refused.message(), "500 Internal Server Error");
}

#[tokio::test]
async fn federated_sign_in_goes_by_the_identity_provider() {
    let client = Client::kvm().await;
    let form = "grant_type=password&username=mate&password=mate&client_id=x&scope=openid";
    let token = client.call("POST", "/oidc/token", json!(form)).await;
    let bearer = format!("Bearer {}", token.body["access_token"].as_str().unwrap());
    let path = "/identity/v3/OS-FEDERATION/identity_providers/chameleon/protocols/openid/auth";
    let unscoped = client.with("POST", path, Json::Null, &[("authorization", &bearer)]).await;
    assert_eq!((unscoped.status, unscoped.body["token"]["user"]["name"].as_str()), (201, Some("mate")));
    let unscoped = unscoped.headers["x-subject-token"].to_str().unwrap().to_owned();
    let body = json!({"auth": {"identity": {"methods": ["token"], "token": {"id": unscoped}},
                               "scope": {"project": {"name": "CHI-embedded", "domain": {"id": "default"}}}}});
    let scoped = client.call("POST", "/identity/v3/auth/tokens", body).await;
    assert_eq!(scoped.body["token"]["project"]["name"], "CHI-embedded");
    let wrong = client.with("POST", path, Json::Null, &[("authorization", "Bearer nobody")]).await;
    assert_eq!(wrong.status, 401);
}

#[tokio::test]
async fn a_server_lives_with_its_port_volume_and_address() {
    let client = Client::kvm().await;
    let port = json!({"port": {"network_id": shared_network(), "description": "[anole 1]"}});
    let port = client.call("POST", "/network/v2.0/ports", port).await.id("port");
    let server = client.server("one", json!({"networks": [{"port": port}], "metadata": {"a": "b"}})).await;
    assert_eq!(server.status, 202);
    let server = server.id("server");
    let path = format!("/compute/v2.1/servers/{server}");
    let shown = client.get(&path).await;
    assert_eq!(shown["server"]["status"], "ACTIVE");
    assert_eq!(client.get(&format!("/network/v2.0/ports/{port}")).await["port"]["device_id"], json!(server));

    let volume = client.call("POST", "/volume/v3/volumes", json!({"volume": {"size": 2, "name": "data"}})).await;
    assert_eq!(volume.body["volume"]["status"], "creating");
    let volume = volume.id("volume");
    let attach = json!({"volumeAttachment": {"volumeId": volume}});
    let attached = client.call("POST", &format!("{path}/os-volume_attachments"), attach.clone()).await;
    assert_eq!((attached.status, attached.body["volumeAttachment"]["device"].as_str()), (200, Some("/dev/vdb")));
    let again = client.call("POST", &format!("{path}/os-volume_attachments"), attach).await;
    let text = format!("400 Invalid volume: volume {volume} is already attached to instances: {server}");
    assert_eq!(again.message(), text);
    assert_eq!(client.get(&format!("/volume/v3/volumes/{volume}")).await["volume"]["status"], "in-use");
    let refused = client.call("DELETE", &format!("/volume/v3/volumes/{volume}"), Json::Null).await;
    assert!(refused.message().starts_with("400 Invalid volume: Volume status must be available or error"));

    let address = json!({"floatingip": {"floating_network_id": public_network(), "port_id": port}});
    let address = client.call("POST", "/network/v2.0/floatingips", address).await;
    assert_eq!((address.status, address.body["floatingip"]["status"].as_str()), (201, Some("DOWN")));
    let address = format!("/network/v2.0/floatingips/{}", address.id("floatingip"));
    assert_eq!(client.get(&address).await["floatingip"]["status"], "ACTIVE");

    assert_eq!(client.call("DELETE", &path, Json::Null).await.status, 204);
    assert_eq!(client.call("GET", &path, Json::Null).await.status, 404);
    assert_eq!(client.get(&format!("/network/v2.0/ports/{port}")).await["port"]["device_id"], "");
    let volume = client.get(&format!("/volume/v3/volumes/{volume}")).await;
    assert_eq!((&volume["volume"]["status"], &volume["volume"]["attachments"]), (&json!("available"), &json!([])));
    assert_eq!(client.get(&address).await["floatingip"]["port_id"], json!(port));
}

#[tokio::test]
async fn a_server_that_is_built_is_not_ready_for_a_volume() {
    let client = Client::new(Profile::ChameleonKvm, 1000.0).await;
    let server = client.server("one", json!({})).await.id("server");
    let path = format!("/compute/v2.1/servers/{server}");
    let volume = client.call("POST", "/volume/v3/volumes", json!({"volume": {"size": 1}})).await.id("volume");
    client.cloud.advance(400).unwrap();
    let attach = json!({"volumeAttachment": {"volumeId": volume}});
    let refused = client.call("POST", &format!("{path}/os-volume_attachments"), attach).await;
    let text = format!("409 Cannot 'attach_volume' instance {server} while it is in vm_state building");
    assert_eq!(refused.message(), text);
    assert_eq!(client.get(&path).await["server"]["status"], "BUILD");
    client.cloud.advance(1101).unwrap();
    assert_eq!(client.get(&path).await["server"]["status"], "ACTIVE");
}

#[tokio::test]
async fn a_boot_volume_goes_with_its_server() {
    let client = Client::kvm().await;
    let mapping = json!([{"boot_index": 0, "source_type": "image", "destination_type": "volume", "volume_size": 20,
                          "uuid": fixed_id("image", "CC-Ubuntu24.04"), "delete_on_termination": true}]);
    let server = client.server("one", json!({"imageRef": "", "block_device_mapping_v2": mapping})).await.id("server");
    let shown = client.get(&format!("/compute/v2.1/servers/{server}")).await;
    assert_eq!(shown["server"]["image"], "");
    let volumes = client.get("/volume/v3/volumes/detail").await;
    assert_eq!((&volumes["volumes"][0]["bootable"], &volumes["volumes"][0]["size"]), (&json!("true"), &json!(20)));
    client.call("DELETE", &format!("/compute/v2.1/servers/{server}"), Json::Null).await;
    assert_eq!(client.get("/volume/v3/volumes").await["volumes"], json!([]));
}

#[tokio::test]
async fn nova_answers_by_microversion() {
    let client = Client::kvm().await;
    let server = client.server("one", json!({})).await.id("server");
    let path = format!("/compute/v2.1/servers/{server}");
    let old = client.get(&path).await;
    assert_eq!(old["server"]["flavor"]["id"], json!(fixed_id("flavor", "m1.small")));
    let new = client.with("GET", &path, Json::Null, &[("openstack-api-version", "compute 2.96")]).await;
    assert_eq!(new.body["server"]["flavor"]["original_name"], "m1.small");
    assert_eq!(new.body["server"]["flavor"].get("id"), None);
    assert_eq!(new.headers["openstack-api-version"], "compute 2.96");
    let far = client.with("GET", &path, Json::Null, &[("openstack-api-version", "compute 2.999")]).await;
    assert_eq!(far.message(), "406 Version 2.999 is not supported by the API. Minimum is 2.1 and maximum is 2.100.");
}

#[tokio::test]
async fn keypairs_are_checked() {
    let client = Client::kvm().await;
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMQAp+RrWrxxnt+TxWkWj4TAxoWptUC0WFwvPoIoaWSU me@host";
    let body = json!({"keypair": {"name": "k", "public_key": key}});
    let made = client.call("POST", "/compute/v2.1/os-keypairs", body.clone()).await;
    assert_eq!(made.body["keypair"]["fingerprint"], "3a:a0:00:bf:ca:7e:76:e0:84:9a:05:7e:1a:a1:64:87");
    let again = client.call("POST", "/compute/v2.1/os-keypairs", body).await;
    assert_eq!(again.message(), "409 Key pair 'k' already exists.");
    let bad = json!({"keypair": {"name": "b", "public_key": "ssh-rsa bad"}});
    let bad = client.call("POST", "/compute/v2.1/os-keypairs", bad).await;
    assert_eq!(bad.message(), "400 Keypair data is invalid: failed to generate fingerprint");
    assert_eq!(client.call("DELETE", "/compute/v2.1/os-keypairs/k", Json::Null).await.status, 202);
}

#[tokio::test]
async fn rules_that_are_the_same_are_refused_with_the_id_of_the_first() {
    let client = Client::kvm().await;
    let group = json!({"security_group": {"name": "g", "description": "[anole 1]"}});
    let group = client.call("POST", "/network/v2.0/security-groups", group).await;
    assert_eq!(group.body["security_group"]["security_group_rules"].as_array().unwrap().len(), 2);
    let group = group.id("security_group");
    let rule = |extra: Json| {
        let mut rule = json!({"security_group_id": group, "direction": "ingress", "port_range_min": 22,
                              "port_range_max": 22, "protocol": "tcp"});
        for (key, value) in extra.as_object().unwrap() {
            rule[key] = value.clone();
        }
        client.call("POST", "/network/v2.0/security-group-rules", json!({"security_group_rule": rule}))
    };
    let first = rule(json!({"remote_ip_prefix": "0.0.0.0/0"})).await;
    assert_eq!(first.status, 201, "{}", first.body);
    let exists = format!("409 Security group rule already exists. Rule id is {}.", first.id("security_group_rule"));
    for same in [json!({}), json!({"protocol": "6"}), json!({"protocol": "TCP", "ethertype": "ipv4"})] {
        assert_eq!(rule(same).await.message(), exists);
    }
    assert_eq!(rule(json!({"ethertype": "IPv6"})).await.status, 201);
    let all_ports = rule(json!({"port_range_min": 1, "port_range_max": 65535})).await;
    assert_eq!(all_ports.body["security_group_rule"]["port_range_min"], Json::Null);
    let listed = client.get("/network/v2.0/security-groups?name=g").await;
    assert_eq!(listed["security_groups"][0]["security_group_rules"].as_array().unwrap().len(), 5);

    let port = json!({"port": {"network_id": shared_network(), "security_groups": [group]}});
    client.call("POST", "/network/v2.0/ports", port).await;
    let path = format!("/network/v2.0/security-groups/{group}");
    let refused = client.call("DELETE", &path, Json::Null).await;
    assert_eq!(refused.message(), format!("409 Security Group {group} in use."));
    assert_eq!(refused.body["NeutronError"]["type"], "SecurityGroupInUse");
}

#[tokio::test]
async fn a_private_network_has_chosen_addresses_and_no_way_out() {
    let client = Client::kvm().await;
    let network = json!({"network": {"name": "private", "port_security_enabled": false}});
    let network = client.call("POST", "/network/v2.0/networks", network).await.id("network");
    let subnet =
        json!({"subnet": {"network_id": network, "ip_version": 4, "cidr": "192.168.1.0/24", "gateway_ip": null}});
    let subnet = client.call("POST", "/network/v2.0/subnets", subnet).await.id("subnet");
    let port = json!({"port": {"network_id": network, "fixed_ips": [{"ip_address": "192.168.1.11"}]}});
    let made = client.call("POST", "/network/v2.0/ports", port.clone()).await;
    assert_eq!(made.body["port"]["security_groups"], json!([]));
    let again = client.call("POST", "/network/v2.0/ports", port).await;
    let text = format!("409 IP address 192.168.1.11 already allocated in subnet {subnet}");
    assert_eq!(again.message(), text);
    let shared = json!({"port": {"network_id": shared_network(), "fixed_ips": [{"ip_address": "10.56.2.7"}]}});
    assert_eq!(
        client.call("POST", "/network/v2.0/ports", shared).await.body["NeutronError"]["type"],
        "PolicyNotAuthorized"
    );
    let port = made.id("port");
    let address = json!({"floatingip": {"floating_network_id": public_network(), "port_id": port}});
    let refused = client.call("POST", "/network/v2.0/floatingips", address).await;
    assert_eq!(
        (refused.status, &refused.body["NeutronError"]["type"]),
        (404, &json!("ExternalGatewayForFloatingIPNotFound"))
    );
    let busy = client.call("DELETE", &format!("/network/v2.0/networks/{network}"), Json::Null).await;
    assert_eq!(busy.body["NeutronError"]["type"], "NetworkInUse");
    client.call("DELETE", &format!("/network/v2.0/ports/{port}"), Json::Null).await;
    let gone = client.call("DELETE", &format!("/network/v2.0/networks/{network}"), Json::Null).await;
    assert_eq!(gone.status, 204);
}

#[tokio::test]
async fn an_address_goes_through_a_router_and_holds_it() {
    let client = Client::kvm().await;
    let network = client.call("POST", "/network/v2.0/networks", json!({"network": {"name": "n"}})).await.id("network");
    let subnet = json!({"subnet": {"network_id": network, "ip_version": 4, "cidr": "192.168.2.0/24"}});
    let subnet = client.call("POST", "/network/v2.0/subnets", subnet).await.id("subnet");
    let router = json!({"router": {"name": "r", "external_gateway_info": {"network_id": public_network()}}});
    let router =
        format!("/network/v2.0/routers/{}", client.call("POST", "/network/v2.0/routers", router).await.id("router"));
    let through = json!({"subnet_id": subnet});
    let added = client.call("PUT", &format!("{router}/add_router_interface"), through.clone()).await;
    assert_eq!((added.status, &added.body["subnet_id"]), (200, &json!(subnet)));
    let busy = client.call("DELETE", &router, Json::Null).await;
    assert_eq!(busy.body["NeutronError"]["type"], "RouterInUse");
    let port = client.call("POST", "/network/v2.0/ports", json!({"port": {"network_id": network}})).await.id("port");
    let address = json!({"floatingip": {"floating_network_id": public_network(), "port_id": port}});
    let first = client.call("POST", "/network/v2.0/floatingips", address.clone()).await;
    assert_eq!(first.status, 201);
    let second = client.call("POST", "/network/v2.0/floatingips", address).await;
    assert_eq!(second.body["NeutronError"]["type"], "FloatingIPPortAlreadyAssociated");
    let held = client.call("PUT", &format!("{router}/remove_router_interface"), through.clone()).await;
    assert_eq!(held.body["NeutronError"]["type"], "RouterInterfaceInUseByFloatingIP");
    client.call("DELETE", &format!("/network/v2.0/floatingips/{}", first.id("floatingip")), Json::Null).await;
    let removed = client.call("PUT", &format!("{router}/remove_router_interface"), through).await;
    assert_eq!(removed.status, 200);
    assert_eq!(client.call("DELETE", &router, Json::Null).await.status, 204);
}

#[tokio::test]
async fn volumes_grow_retype_and_stop_at_the_quota() {
    let client = Client::kvm().await;
    let volume = client.call("POST", "/volume/v3/volumes", json!({"volume": {"size": 2}})).await.id("volume");
    let path = format!("/volume/v3/volumes/{volume}");
    let action = |body: Json| {
        let path = format!("{path}/action");
        let client = &client;
        async move { client.call("POST", &path, body).await }
    };
    assert_eq!(action(json!({"os-extend": {"new_size": 3}})).await.status, 202);
    assert_eq!(
        action(json!({"os-extend": {"new_size": 1}})).await.message(),
        "400 Invalid input received: New size for extend must be greater than current size. (current: 3, extended: 1)."
    );
    assert_eq!(action(json!({"os-retype": {"new_type": "ceph-hdd", "migration_policy": "never"}})).await.status, 202);
    let shown = client.get(&path).await;
    assert_eq!((&shown["volume"]["size"], &shown["volume"]["volume_type"]), (&json!(3), &json!("ceph-hdd")));
    let over = client.call("POST", "/volume/v3/volumes", json!({"volume": {"size": 30_000}})).await;
    assert_eq!((over.status, &over.body["overLimit"]["retryAfter"]), (413, &json!("0")));
    let project = super::catalogue::project_id("CHI-embedded");
    let quota = format!("/volume/v3/os-quota-sets/{project}");
    let wanted = json!({"quota_set": {"volumes": 1}});
    assert_eq!(client.call("PUT", &quota, wanted.clone()).await.status, 403);
    let operator = client.sign_in("admin", "admin", "openstack").await.unwrap();
    assert_eq!(client.with("PUT", &quota, wanted, &[("x-auth-token", &operator)]).await.status, 200);
    let over = client.call("POST", "/volume/v3/volumes", json!({"volume": {"size": 1}})).await;
    assert!(over.message().contains("Maximum number of volumes allowed (1) exceeded"), "{}", over.message());
    let limits = client.get(&format!("/volume/v3/{project}/limits")).await;
    assert_eq!(limits["limits"]["absolute"]["maxTotalVolumes"], 1);
}

#[tokio::test]
async fn a_lease_brings_its_flavor_and_takes_its_servers_along() {
    let client = Client::kvm().await;
    let lease = client.lease(flavor_reservation(1), "now", &client.hours(4)).await;
    assert_eq!((lease.status, &lease.body["lease"]["status"]), (201, &json!("PENDING")));
    let flavor = lease.body["lease"]["reservations"][0]["flavor_id"].as_str().unwrap().to_owned();
    let path = format!("/reservation/v1/leases/{}", lease.id("lease"));
    assert_eq!(client.get(&path).await["lease"]["status"], "ACTIVE");
    client.get(&format!("/compute/v2.1/flavors/{flavor}")).await;
    let one = client.server("one", json!({"flavorRef": flavor})).await.id("server");
    let two = client.server("two", json!({"flavorRef": flavor})).await.id("server");
    let two = client.get(&format!("/compute/v2.1/servers/{two}")).await;
    assert_eq!(
        (&two["server"]["status"], &two["server"]["fault"]["message"]),
        (&json!("ERROR"), &json!("No valid host was found. "))
    );
    let longer = client.call("PUT", &path, json!({"end_date": client.hours(6)})).await;
    assert_eq!((longer.status, &longer.body["lease"]["status"]), (200, &json!("UPDATING")));
    client.cloud.advance(5 * 3600).unwrap();
    let client = Client { token: client.sign_in("demo", "demo", "CHI-embedded").await.unwrap(), ..client };
    assert_eq!(client.get(&format!("/compute/v2.1/servers/{one}")).await["server"]["status"], "ACTIVE");
    client.cloud.advance(3600).unwrap();
    assert_eq!(client.get(&path).await["lease"]["status"], "TERMINATED");
    assert_eq!(client.get("/compute/v2.1/servers").await["servers"], json!([]));
    assert_eq!(client.call("GET", &format!("/compute/v2.1/flavors/{flavor}"), Json::Null).await.status, 404);
}

#[tokio::test]
async fn blazar_refuses_as_the_real_one() {
    let client = Client::new(Profile::ChameleonChi, 0.0).await;
    let host = |min: i64, node_type: &str| {
        json!({"resource_type": "physical:host", "min": min, "max": min, "hypervisor_properties": "",
               "resource_properties": format!("[\"=\", \"$node_type\", \"{node_type}\"]")})
    };
    let (soon, end) = (client.hours(-1), client.hours(4));
    let past = client.lease(host(1, "gpu_p100"), &soon, &end).await;
    assert_eq!(past.message(), "400 Start date must be later than current date");
    let many = client.lease(host(3, "gpu_p100"), "now", &end).await;
    assert_eq!(many.message(), "500 Not enough hosts available");
    let long = client.lease(host(1, "gpu_p100"), "now", &client.hours(8 * 24)).await;
    assert_eq!(long.status, 403);
    let bare =
        client.lease(json!({"resource_type": "flavor:instance", "flavor_id": "x", "amount": 1}), "now", &end).await;
    assert_eq!(bare.message(), "400 Missing parameter affinity");
    let lease = client.lease(host(2, "gpu_p100"), "now", &end).await;
    assert_eq!(lease.status, 201);
    assert_eq!(client.lease(host(1, "gpu_p100"), "now", &end).await.status, 500);
    let reservation = lease.body["lease"]["reservations"][0]["id"].clone();
    let server = json!({"server": {"name": "node", "imageRef": fixed_id("image", "CC-Ubuntu24.04"),
                                   "flavorRef": fixed_id("flavor", "baremetal"), "networks": [{"uuid": shared_network()}]},
                        "os:scheduler_hints": {"reservation": reservation}});
    let server = client.call("POST", "/compute/v2.1/servers", server).await.id("server");
    assert_eq!(client.get(&format!("/compute/v2.1/servers/{server}")).await["server"]["status"], "ACTIVE");
    let unreserved = client.server("no", json!({"flavorRef": fixed_id("flavor", "baremetal")})).await.id("server");
    assert_eq!(client.get(&format!("/compute/v2.1/servers/{unreserved}")).await["server"]["status"], "ERROR");
}

#[tokio::test]
async fn projects_do_not_see_each_other_and_mates_do() {
    let client = Client::kvm().await;
    let volume = client.call("POST", "/volume/v3/volumes", json!({"volume": {"size": 1}})).await.id("volume");
    for (user, project, status) in [("mate", "CHI-embedded", 200), ("other", "CHI-other", 404)] {
        let token = client.sign_in(user, user, project).await.unwrap();
        let got =
            client.with("GET", &format!("/volume/v3/volumes/{volume}"), Json::Null, &[("x-auth-token", &token)]).await;
        assert_eq!(got.status, status, "{user}");
    }
}

#[tokio::test]
async fn faults_come_in_their_order_and_are_used_up() {
    let client = Client::kvm().await;
    let rules = json!([
        {"method": "POST", "path": "/volume/v3/volumes", "status": 503, "retry_after": 1},
        {"method": "POST", "path": "^/volume/.*", "drop_after": true}]);
    std::fs::write(client.folder.path().join("faults.json"), rules.to_string()).unwrap();
    let before = client.cloud.requests().unwrap();
    let statuses = [503, 504, 202];
    for status in statuses {
        let got = client.call("POST", "/volume/v3/volumes", json!({"volume": {"size": 1}})).await;
        assert_eq!(got.status, status);
        assert_eq!(got.headers.contains_key("retry-after"), status == 503);
    }
    assert_eq!(client.get("/volume/v3/volumes").await["volumes"].as_array().unwrap().len(), 2);
    assert_eq!(client.cloud.requests().unwrap() - before, 4);
    let log = std::fs::read_to_string(client.folder.path().join("requests.log")).unwrap();
    assert!(log.ends_with("POST /volume/v3/volumes 202\nGET /volume/v3/volumes 200\n"), "{log}");
}

#[tokio::test]
async fn a_network_can_be_reserved_on_bare_metal() {
    let client = Client::new(Profile::ChameleonChi, 0.0).await;
    let network = json!({"resource_type": "network", "network_name": "mine", "network_properties": "",
                         "resource_properties": "[\"==\", \"$physical_network\", \"physnet1\"]"});
    let lease = client.lease(network, "now", &client.hours(4)).await;
    let path = format!("/reservation/v1/leases/{}", lease.id("lease"));
    let active = client.get(&path).await;
    let id = active["lease"]["reservations"][0]["network_id"].as_str().unwrap().to_owned();
    let subnet = json!({"subnet": {"network_id": id, "ip_version": 4, "cidr": "10.20.30.0/24"}});
    assert_eq!(client.call("POST", "/network/v2.0/subnets", subnet).await.status, 201);
    assert_eq!(client.call("DELETE", &path, Json::Null).await.status, 204);
    assert_eq!(client.get("/network/v2.0/networks?name=mine").await["networks"], json!([]));
}

#[tokio::test]
async fn lists_come_in_pages() {
    let client = Client::kvm().await;
    for name in ["a", "b", "c"] {
        client.call("POST", "/volume/v3/volumes", json!({"volume": {"size": 1, "name": name}})).await;
    }
    let mut next = Some("/volume/v3/volumes/detail?limit=2".to_owned());
    let mut names = Vec::new();
    while let Some(target) = next {
        let page = client.get(&target).await;
        names.extend(page["volumes"].as_array().unwrap().iter().map(|volume| volume["name"].clone()));
        let href = page["volumes_links"][0]["href"].as_str();
        next = href.map(|href| href.trim_start_matches("http://cloud.test").to_owned());
    }
    assert_eq!(names, [json!("c"), json!("b"), json!("a")]);
    let page = client.get("/network/v2.0/networks?limit=1").await;
    assert!(
        page["networks_links"][0]["href"].as_str().unwrap().starts_with("http://cloud.test/network/v2.0/networks?")
    );
    let images = client.get("/image/v2/images?limit=1").await;
    assert!(images["next"].as_str().unwrap().starts_with("/v2/images?limit=1&marker="));
}
