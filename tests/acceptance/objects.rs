//! Buckets and credentials: made, changed, filled by somebody else, kept, emptied; and what they open.

use serde_json::{Value as Json, json};

use super::client::{Client, text};
use super::cloud::TestCloud;

/// A name of nobody else's.
pub fn unique(name: &str) -> String {
    format!("{name}-{}", &uuid::Uuid::new_v4().simple().to_string()[..12])
}

/// The names of the project's buckets, those for versions apart.
fn buckets(store: &Client) -> Vec<String> {
    let all = store.get("object-store", "?format=json");
    let names = all.as_array().expect("a list").iter().map(|bucket| text(&bucket["name"]));
    names.filter(|name| !name.ends_with("_versions")).collect()
}

fn head(blocks: &str) -> String {
    format!("stack: acceptance\nsites: {{ chi: {{ cloud: chi }} }}\n{blocks}")
}

#[test]
fn a_bucket_is_made_changed_kept_and_emptied() {
    let mut cloud = TestCloud::with("");
    let (_served, store) = cloud.object_store();
    let name = unique("data");
    let spec = |more: &str| head(&format!("buckets:\n  data: {{ name: {name}{more} }}\n"));
    cloud.write_spec(&spec(""));
    cloud.converge();
    assert_eq!(buckets(&store), [name.as_str()]);
    cloud.converges_keeping(["buckets.data"], &spec(", metadata: { course: mlops }, acl: public-read"));
    let ran = cloud.env.anole("plan spec.yaml --detailed-exitcode").exits(0);
    assert!(ran.stdout.contains("No changes"), "{}", ran.stdout);
    // Somebody else changes it, and fills it.
    store.call("PUT", "object-store", &format!("/{name}/folder/file"), json!("data"));
    store.call("POST", "object-store", &format!("/{name}"), Json::Null);
    cloud.env.has_no_changes("spec.yaml");

    cloud.env.anole("destroy spec.yaml --yes").exits(0).says("buckets.data: kept (protected)");
    cloud.env.apply("spec.yaml");
    let said = cloud.env.anole("destroy spec.yaml --yes --include-protected").exits(1);
    assert!(said.stderr.contains("force_destroy: true"), "{}", said.stderr);
    assert_eq!(store.get("object-store", &format!("/{name}?format=json"))[0]["name"], "folder/file");

    cloud.converges_keeping(["buckets.data"], &spec(", force_destroy: true"));
    let lost = format!("DATA LOSS: bucket `{name}` with 1 object, 6 bytes in all");
    cloud.env.anole("plan spec.yaml --destroy").exits(0).omits("DATA LOSS");
    cloud.env.anole("destroy spec.yaml --yes --include-protected").exits(0).says(&lost);
    assert_eq!(buckets(&store), [""; 0]);
}

#[test]
fn a_bucket_that_is_there_is_not_taken_silently() {
    let mut cloud = TestCloud::with("");
    let (_served, store) = cloud.object_store();
    let name = unique("there");
    store.call("PUT", "object-store", &format!("/{name}"), Json::Null);
    store.call("PUT", "object-store", &format!("/{name}/file"), json!("data"));
    let spec = |more: &str| head(&format!("buckets:\n  data: {{ name: {name}{more} }}\n"));
    cloud.write_spec(&spec(""));
    let said = cloud.env.anole("apply spec.yaml --yes").exits(1);
    assert!(said.stderr.contains(&name) && said.stderr.contains("adopt"), "{}", said.stderr);

    cloud.write_spec(&spec(", auto_create: false"));
    cloud.converge();
    cloud.env.anole("destroy spec.yaml --yes --include-protected").exits(0).says("released");
    assert_eq!(store.get("object-store", &format!("/{name}?format=json"))[0]["name"], "file");
    cloud.write_spec(&spec(", auto_create: false").replace(&name, &unique("absent")));
    cloud.env.anole("apply spec.yaml --yes").exits(1).says("absent");
    store.call("DELETE", "object-store", &format!("/{name}/file"), Json::Null);
    store.call("DELETE", "object-store", &format!("/{name}"), Json::Null);
}

#[test]
fn credentials_open_what_they_say_and_are_in_clear_nowhere() {
    let mut cloud = TestCloud::with("");
    let (_served, store) = cloud.object_store();
    let name = unique("opened");
    cloud.write_spec(&head(
        "credentials:\n  app: { type: application, roles: [member], expires: 2099-01-31 }\n  s3: { type: ec2 }\noutputs:\n  \
         app: { id: \"${credentials.app.id}\", secret: \"${credentials.app.secret}\" }\n  key: ${credentials.s3.access_key}\n  \
         secret: ${credentials.s3.secret_key}\n",
    ));
    cloud.converge();
    let output =
        |name: &str| cloud.env.anole(&format!("output {name} --show-secrets -f spec.yaml --json")).exits(0).json();
    let (app, key, secret) = (output("app"), text(&output("key")), text(&output("secret")));
    let listed = store.get("identity", &format!("/users/{}/credentials/OS-EC2", store.user_id));
    let mine = listed["credentials"].as_array().expect("a list").iter().find(|pair| pair["access"] == key);
    assert_eq!(mine.map(|pair| &pair["secret"]), Some(&json!(secret)), "{listed}");

    // Signed in with it: buckets are made, and no other credentials, for it is restricted.
    let entry = cloud.entry("chi");
    cloud.set_cloud(
        "app",
        json!({
            "auth_type": "v3applicationcredential", "region_name": entry["region_name"],
            "auth": { "auth_url": entry["auth"]["auth_url"], "application_credential_id": app["id"],
                      "application_credential_secret": app["secret"] },
        }),
    );
    let second = |blocks: &str| format!("stack: second\nsites: {{ chi: {{ cloud: app }} }}\n{blocks}");
    cloud.env.write("second.yaml", &second(&format!("buckets: {{ b: {{ name: {name}, protect: false }} }}\n")));
    cloud.env.apply("second.yaml");
    assert_eq!(buckets(&store), [name]);
    cloud.env.anole("destroy second.yaml --yes").exits(0);
    cloud.env.write("second.yaml", &second("credentials: { s3: { type: ec2 } }\n"));
    cloud.env.anole("plan second.yaml").exits(1).says("restricted-sign-in");

    let secrets = [secret, text(&app["secret"])];
    let holds = |path: &std::path::PathBuf| {
        let read = String::from_utf8_lossy(&std::fs::read(path).expect("a file")).into_owned();
        secrets.iter().any(|secret| read.contains(secret.as_str()))
    };
    let own = [cloud.env.path("clouds.yaml"), cloud.env.path("objects"), cloud.env.path("cloud")];
    let mut files = cloud.env.files();
    files.retain(|path| !own.iter().any(|own| path.starts_with(own)) && holds(path));
    assert_eq!(files, Vec::<std::path::PathBuf>::new());
    cloud.env.anole("destroy spec.yaml --yes").exits(0);
    let left = store.get("identity", &format!("/users/{}/credentials/OS-EC2", store.user_id));
    assert!(!left.to_string().contains(&key), "{left}");
}
