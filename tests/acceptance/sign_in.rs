//! The ways to sign in, each used for an apply, and what is said when they are refused.

use serde_json::{Value as Json, json};

use super::client::{Account, text};
use super::cloud::TestCloud;

const KEPT: &str =
    "security_groups: { web: { rules: [{ port: 80 }] } }\nvolumes: { data: { size: 1, protect: false } }";

/// The client's user makes an application credential; its entry of clouds.yaml.
pub fn application_credential(cloud: &TestCloud, unrestricted: bool) -> Json {
    let path = format!("/users/{}/application_credentials", cloud.user_id);
    let wanted = json!({"application_credential": {"name": "for anole", "unrestricted": unrestricted}});
    let made = &cloud.call("POST", "identity", &path, wanted)["application_credential"];
    let Account { auth_url, region, .. } = cloud.account();
    json!({
        "auth_type": "v3applicationcredential", "region_name": region,
        "auth": {"auth_url": auth_url, "application_credential_id": made["id"],
                 "application_credential_secret": made["secret"]},
    })
}

/// Applies and destroys by the entry `test` as it now is.
fn works(cloud: &TestCloud) {
    cloud.converge().says("2 created");
    assert_eq!(cloud.census(), "security_group 1, volume 1");
    cloud.env.anole("destroy spec.yaml --yes").exits(0);
    assert_eq!(cloud.census(), "");
}

#[test]
fn a_password_says_whose_it_is() {
    let cloud = TestCloud::with(KEPT);
    let who = format!("project {}, user {}", cloud.account().project, cloud.account().user);
    cloud.env.anole("plan spec.yaml").exits(0).says(&who);
    works(&cloud);
}

#[test]
fn a_restricted_application_credential_manages_all_but_leases() {
    let mut cloud = TestCloud::with(KEPT);
    let entry = application_credential(&cloud, false);
    cloud.set_cloud("test", entry);
    works(&cloud);
}

#[test]
fn a_token_is_taken_as_it_is() {
    let mut cloud = TestCloud::with(KEPT);
    let Account { auth_url, region, project, .. } = cloud.account().clone();
    let auth = json!({"auth_url": auth_url, "token": cloud.token(), "project_name": project,
                      "project_domain_name": "Default"});
    cloud.set_cloud("test", json!({"auth_type": "v3token", "auth": auth, "region_name": region}));
    works(&cloud);
    let mut stale = cloud.entry("test");
    stale["auth"]["token"] = json!("gAAAAABunknown");
    cloud.set_cloud("test", stale);
    cloud.env.anole("plan spec.yaml").exits(1).says("token").says("kvm").omits("gAAAAABunknown");
}

#[test]
fn a_wrong_password_is_told_without_it() {
    let mut cloud = TestCloud::with(KEPT);
    let mut entry = cloud.entry("test");
    entry["auth"]["password"] = json!("hunter2-hunter2");
    cloud.set_cloud("test", entry);
    let ran = cloud.env.anole("apply spec.yaml --yes").exits(1).omits("hunter2");
    let user = cloud.account().user.clone();
    ran.says("clouds.yaml").says(&user).says("requires authentication");
    assert_eq!(cloud.census(), "");
}

#[test]
fn a_wrong_secret_is_told_without_it() {
    let mut cloud = TestCloud::with(KEPT);
    let mut entry = application_credential(&cloud, true);
    let id = text(&entry["auth"]["application_credential_id"]);
    entry["auth"]["application_credential_secret"] = json!("hunter2-hunter2");
    cloud.set_cloud("test", entry);
    cloud.env.anole("plan spec.yaml").exits(1).omits("hunter2").says(&id).says("(req-");
}

#[test]
fn a_project_that_one_is_not_in_is_told() {
    let mut cloud = TestCloud::with(KEPT);
    let mut entry = cloud.entry("test");
    entry["auth"]["project_name"] = json!("CHI-999999");
    cloud.set_cloud("test", entry);
    cloud.env.anole("plan spec.yaml").exits(1).says("CHI-999999");
}

#[test]
fn a_region_that_is_not_there_is_told_with_those_that_are() {
    let mut cloud = TestCloud::with(KEPT);
    let mut entry = cloud.entry("test");
    let region = text(&entry["region_name"]);
    entry["region_name"] = json!("KVM@NOWHERE");
    cloud.set_cloud("test", entry);
    cloud.env.anole("plan spec.yaml").exits(1).says("KVM@NOWHERE").says(&region);
}
