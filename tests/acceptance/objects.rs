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
    for kind in ["ec2", "application"] {
        cloud.env.write("second.yaml", &second(&format!("credentials: {{ more: {{ type: {kind} }} }}\n")));
        let said = cloud.env.anole("plan second.yaml").exits(1);
        said.says("restricted-sign-in").says("sign in with a password").says("from_env");
    }

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

/// The keys of an EC2 credential, and where the site speaks S3.
struct Keys {
    endpoint: String,
    access: String,
    secret: String,
}

/// A stack of its own with an EC2 credential: keys that are there before the stack of the test.
fn keys(cloud: &TestCloud) -> Keys {
    cloud.env.write(
        "keys.yaml",
        "stack: keys\nsites: { chi: { cloud: chi } }\ncredentials: { s3: { type: ec2 } }\noutputs:\n  endpoint: \
         ${credentials.s3.endpoint}\n  access: ${credentials.s3.access_key}\n  secret: ${credentials.s3.secret_key}\n",
    );
    cloud.env.apply("keys.yaml");
    let output = |name: &str| {
        let ran = cloud.env.anole(&format!("output {name} --show-secrets -f keys.yaml")).exits(0);
        ran.stdout.trim().to_owned()
    };
    Keys { endpoint: output("endpoint"), access: output("access"), secret: output("secret") }
}

#[test]
fn a_bucket_of_a_store_by_its_endpoint_is_made_changed_kept_and_emptied() {
    let mut cloud = TestCloud::with("");
    let (_served, store) = cloud.object_store();
    let keys = keys(&cloud);
    let name = unique("elsewhere");
    let profile = format!("[store]\naws_access_key_id = {}\naws_secret_access_key = {}\n", keys.access, keys.secret);
    std::fs::create_dir_all(cloud.env.path("../home/.aws")).expect("a folder");
    cloud.env.write("../home/.aws/credentials", &profile);
    cloud.env.set("STORE_KEY", &keys.access);
    cloud.env.set("STORE_SECRET", &keys.secret);
    let given = "credentials: { given: { from_env: { access_key: STORE_KEY, secret_key: STORE_SECRET } } }\n";
    let spec = |credential: &str, more: &str| {
        let bucket = format!("name: {name}, endpoint: \"{}\", credential: {credential}{more}", keys.endpoint);
        head(&format!("{given}buckets:\n  data: {{ {bucket} }}\noutputs: {{ at: \"${{buckets.data.endpoint}}\" }}\n"))
    };
    cloud.write_spec(&spec("given", ""));
    cloud.converge();
    assert_eq!(buckets(&store), [name.as_str()]);
    assert_eq!(cloud.env.anole("output at -f spec.yaml").exits(0).stdout.trim(), keys.endpoint);
    let tagged = ", metadata: { Course: ml ops }, versioning: true";
    cloud.converges_keeping(["buckets.data"], &spec("given", tagged));
    let cors = format!("{tagged}, acl: public-read, cors: {{ origins: [\"*\"], methods: [PUT, GET], max_age: 1h }}");
    cloud.converges_keeping(["buckets.data"], &spec("given", &cors));
    cloud.converges_keeping(["buckets.data"], &spec("given", ", metadata: { course: mlops }, versioning: false"));
    // Other keys open the same bucket.
    cloud.converges_keeping(["buckets.data"], &spec("{ profile: store }", ""));
    let given = format!("{{ existing: {{ access_key: {}, secret_key: \"${{env.STORE_SECRET}}\" }} }}", keys.access);
    cloud.converges_keeping(["buckets.data"], &spec(&given, ", force_destroy: true"));
    store.call("PUT", "object-store", &format!("/{name}/folder/file"), json!("data"));

    cloud.env.anole("destroy spec.yaml --yes").exits(0).says("buckets.data: kept (protected)");
    let lost = format!("DATA LOSS: bucket `{name}` with 1 object, 6 bytes in all");
    cloud.env.apply("spec.yaml");
    cloud.env.anole("destroy spec.yaml --yes --include-protected").exits(0).says(&lost);
    assert_eq!(buckets(&store), [""; 0]);
    let holds = |path: &std::path::PathBuf| std::fs::read_to_string(path).is_ok_and(|text| text.contains(&keys.secret));
    let own = ["clouds.yaml", "objects", "cloud"].map(|name| cloud.env.path(name));
    let mut files = cloud.env.files();
    files.retain(|path| {
        !own.iter().any(|own| path.starts_with(own)) && !path.ends_with(".aws/credentials") && holds(path)
    });
    assert_eq!(files, Vec::<std::path::PathBuf>::new());
    cloud.env.anole("destroy keys.yaml --yes").exits(0);
}

#[test]
fn a_bucket_and_the_keys_that_open_its_store_are_made_in_one_apply() {
    let mut cloud = TestCloud::with("");
    let (_served, store) = cloud.object_store();
    let name = unique("both");
    let spec = |more: &str| {
        let bucket = format!("name: {name}, endpoint: \"${{credentials.s3.endpoint}}\", credential: s3{more}");
        head(&format!("credentials: {{ s3: {{ type: ec2 }} }}\nbuckets:\n  data: {{ {bucket} }}\n"))
    };
    cloud.write_spec(&spec(", auto_create: false"));
    cloud.env.anole("plan spec.yaml").exits(1).says("whether it is there cannot be told").says("--target");
    cloud.write_spec(&spec(", metadata: { course: mlops }"));
    cloud.converge();
    assert_eq!(buckets(&store), [name.as_str()]);
    // Somebody deletes it, and it is made again.
    store.call("DELETE", "object-store", &format!("/{name}"), Json::Null);
    cloud.env.anole("plan spec.yaml").exits(0).says("was deleted outside anole");
    cloud.converge();
    // Other keys are made, and open it.
    cloud.env.anole("apply spec.yaml --yes --replace credentials.s3").exits(0);
    cloud.env.has_no_changes("spec.yaml");
    cloud.env.anole("destroy spec.yaml --yes --include-protected").exits(0);
    assert_eq!(buckets(&store), [""; 0]);
}

#[test]
fn a_bucket_of_another_store_that_is_there_is_not_taken_silently() {
    let mut cloud = TestCloud::with("");
    let (_served, store) = cloud.object_store();
    let keys = keys(&cloud);
    let name = unique("found");
    cloud.env.set("STORE_SECRET", &keys.secret);
    store.call("PUT", "object-store", &format!("/{name}"), Json::Null);
    store.call("PUT", "object-store", &format!("/{name}/file"), json!("data"));
    let with = |secret: &str, more: &str| {
        let credential = format!("{{ existing: {{ access_key: {}, secret_key: \"{secret}\" }} }}", keys.access);
        let bucket = format!("name: {name}, endpoint: \"{}\", credential: {credential}{more}", keys.endpoint);
        head(&format!("buckets:\n  data: {{ {bucket} }}\n"))
    };
    let spec = |more: &str| with("${env.STORE_SECRET}", more);
    cloud.write_spec(&spec(""));
    cloud.env.anole("apply spec.yaml --yes").exits(1).says("adopt").says("yours");
    cloud.write_spec(&with("no-such-key", ""));
    cloud.env.anole("apply spec.yaml --yes").exits(1).says("SignatureDoesNotMatch").omits("no-such-key");
    cloud.write_spec(&spec(", auto_create: false"));
    cloud.converge();
    cloud.env.anole("destroy spec.yaml --yes --include-protected").exits(0).says("released");
    cloud.write_spec(&spec(&format!(", adopt: {name}, metadata: {{ course: mlops }}")));
    cloud.converge();
    cloud.env.anole("destroy spec.yaml --yes --include-protected").exits(0).says("released");
    cloud.write_spec(&spec(""));
    cloud.env.anole(&format!("import buckets.data {name} -f spec.yaml")).exits(0);
    cloud.converge();
    let said = cloud.env.anole("destroy spec.yaml --yes --include-protected").exits(1);
    assert!(said.stderr.contains("force_destroy: true"), "{}", said.stderr);
    assert_eq!(store.get("object-store", &format!("/{name}?format=json"))[0]["name"], "file");
    store.call("DELETE", "object-store", &format!("/{name}/file"), Json::Null);
    cloud.env.anole("destroy spec.yaml --yes --include-protected").exits(0);
    assert_eq!(buckets(&store), [""; 0]);
    cloud.env.anole("destroy keys.yaml --yes").exits(0);
}

#[test]
fn a_credential_is_renewed_ahead_of_its_end() {
    let cloud = TestCloud::with("");
    let file = "../home/.config/openstack/clouds.yaml";
    cloud.write_spec(
        "credentials:\n  app: { type: application, roles: [member], expires: 10m, renew_before: 570s, write: [{ clouds: { cloud: \
         app } }] }\noutputs: { id: \"${credentials.app.id}\", until: \"${credentials.app.expires_at}\" }\n",
    );
    cloud.converge();
    let all = || {
        let path = format!("/users/{}/application_credentials", cloud.user_id);
        cloud.get("identity", &path)["application_credentials"].as_array().cloned().unwrap_or_default()
    };
    let first = cloud.id("credentials.app");
    assert_eq!(all().len(), 1);
    cloud.let_pass(35);
    cloud.env.anole("plan spec.yaml").exits(0).says("is renewed ahead of that").says("the new one first");
    cloud.converge();
    let second = cloud.id("credentials.app");
    let left = all();
    assert_eq!(left.iter().map(|found| text(&found["id"])).collect::<Vec<_>>(), [second.as_str()]);
    assert_ne!(first, second);
    assert!(text(&left[0]["name"]).starts_with("acceptance-app-"), "{left:?}");
    let written = cloud.env.read(file);
    assert!(written.contains(&second) && !written.contains(&first), "{written}");
    cloud.let_pass(35);
    cloud.converge();
    assert_eq!(all().iter().map(|found| text(&found["name"])).collect::<Vec<_>>(), ["acceptance-app"]);
    cloud.env.anole("destroy spec.yaml --yes").exits(0);
    assert_eq!(all().len(), 0);
}
