//! Credentials: secrets that are made once, reach whoever refers to them, and are in clear nowhere else.

use serde_json::json;

use crate::environment::TestEnvironment;

const SPEC: &str = "\
stack: keys
sites: { kvm: { cloud: kvm_tacc } }
credentials:
  token: { type: random, length: 24 }
  ci: { type: application, description: for the pipeline, roles: [member] }
servers:
  node:
    flavor: m1.small
    image: CC-Ubuntu24.04
    networks: [sharednet1]
    user_data: \"token=${credentials.token.value} id=${credentials.ci.id}\"
outputs:
  token: ${credentials.token.value}
  both: { id: \"${credentials.ci.id}\", secret: \"${credentials.ci.secret}\" }
  id: ${credentials.ci.id}
";

const KEY: &str = "../home/.config/anole/key";

fn output(env: &TestEnvironment, name: &str) -> String {
    env.anole(&format!("output {name} --show-secrets -f spec.yaml")).exits(0).stdout.trim().to_owned()
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn user_data(env: &TestEnvironment) -> String {
    env.site().only("servers").to_string()
}

/// Files with one of the texts in them, but for the cloud's own and the key.
fn leaks(env: &TestEnvironment, texts: &[&str]) -> Vec<String> {
    let cloud = env.path("state/embedded/clouds");
    let files = env.files().into_iter().filter(|path| !path.starts_with(&cloud));
    let holds = |path: &std::path::PathBuf| {
        let bytes = std::fs::read(path).expect("a file");
        let text = String::from_utf8_lossy(&bytes);
        texts.iter().any(|secret| text.contains(secret))
    };
    files.filter(holds).map(|path| path.display().to_string()).collect()
}

#[test]
fn a_secret_is_made_once_and_reaches_whoever_refers_to_it() {
    let env = TestEnvironment::with(SPEC);
    env.apply("spec.yaml").says("token = (sensitive)").says("both  = (sensitive)");
    let token = output(&env, "token");
    assert_eq!(token.len(), 24);
    let id = output(&env, "id");
    let sent = base64(&format!("token={token} id={id}"));
    assert!(user_data(&env).contains(&sent), "{}", user_data(&env));
    env.has_no_changes("spec.yaml");
    env.anole("plan spec.yaml --refresh=false --detailed-exitcode").exits(0);
    env.anole("output token -f spec.yaml").exits(1).says("--show-secrets");
    let outputs = env.anole("output -f spec.yaml --json").exits(0).json();
    assert_eq!((&outputs["token"], &outputs["id"]), (&json!({ "$sensitive": true }), &json!(id)));

    env.edit("spec.yaml", "length: 24", "length: 12");
    let plan = env.anole("plan spec.yaml --json").exits(0);
    assert_eq!(
        plan.actions(),
        ["replace credentials.token", "replace servers.node", "replace servers.node/port[sharednet1]"]
    );
    env.apply("spec.yaml");
    let another = output(&env, "token");
    assert_eq!(another.len(), 12);
    assert!(user_data(&env).contains(&base64(&format!("token={another} id={id}"))));
    env.anole("destroy spec.yaml --yes").exits(0);
    assert_eq!(env.site().census(), "");
    env.anole("output token --show-secrets -f spec.yaml").exits(1);
}

#[test]
fn an_application_credential_signs_in_with_the_secret_that_was_made_here() {
    let env = TestEnvironment::with(SPEC);
    // The answer to the request that makes it is lost, and then the process ends in the middle of another thing.
    env.site().order_faults(&json!([
        {"method": "POST", "path": "/application_credentials$", "drop_after": true},
        {"method": "POST", "path": "^/compute/v2.1/servers$", "status": 500},
    ]));
    env.anole("apply spec.yaml --yes").exits(1);
    env.apply("spec.yaml");
    env.has_no_changes("spec.yaml");
    let both: serde_json::Value = serde_json::from_str(&output(&env, "both")).expect("JSON");
    let made = env.site().only("credentials");
    assert_eq!(made["id"], both["id"]);
    let description = made["description"].as_str().expect("a description");
    assert!(description.starts_with("for the pipeline [anole/1 "), "{description}");
    let who = json!({"auth": {"identity": {"methods": ["application_credential"], "application_credential": both}}});
    env.site().call("POST", "/identity/v3/auth/tokens", who);

    env.edit("spec.yaml", "roles: [member]", "roles: [reader]");
    env.apply("spec.yaml");
    assert_ne!(env.site().only("credentials")["id"], both["id"]);
}

#[test]
fn a_secret_is_in_clear_nowhere() {
    let env = TestEnvironment::with(SPEC);
    let mut said = String::new();
    for (words, code) in [
        ("plan spec.yaml --json", 0),
        ("apply spec.yaml --yes -vvv --log it.log", 0),
        ("plan spec.yaml --json", 0),
        ("plan spec.yaml --replace servers.node -o it.plan", 0),
        ("apply --plan it.plan --yes --json -vvv --log it.log", 0),
        ("show -f spec.yaml --json", 0),
        ("show -f spec.yaml", 0),
        ("state pull -f spec.yaml", 0),
        ("state show credentials.token -f spec.yaml", 0),
        ("output -f spec.yaml", 0),
        ("drift spec.yaml", 0),
    ] {
        let ran = env.anole(words).exits(code);
        said.push_str(&ran.stdout);
        said.push_str(&ran.stderr);
    }
    let both: serde_json::Value = serde_json::from_str(&output(&env, "both")).expect("JSON");
    let (token, secret) = (output(&env, "token"), both["secret"].as_str().expect("a secret").to_owned());
    assert!(user_data(&env).contains(&base64(&format!("token={token} id={}", both["id"].as_str().expect("an id")))));
    assert!(!said.contains(&token) && !said.contains(&secret), "{said}");
    assert_eq!(leaks(&env, &[&token, &secret]), Vec::<String>::new());
}

#[test]
fn a_new_key_seals_everything_and_a_lost_one_loses_only_the_secrets() {
    let env = TestEnvironment::with(SPEC);
    env.apply("spec.yaml");
    let token = output(&env, "token");
    let before = env.read(KEY);
    env.anole("state rotate-key -f spec.yaml").exits(0).says("4 secrets are sealed anew");
    let after = env.read(KEY);
    assert!(after.starts_with(&before) && after.lines().count() == before.lines().count() + 1);
    assert_eq!(output(&env, "token"), token);
    env.has_no_changes("spec.yaml");

    // Only the old key is left: what it sealed was sealed anew.
    std::fs::remove_file(env.path(KEY)).expect("a key file");
    env.anole("plan spec.yaml --detailed-exitcode").exits(0).says("--replace credentials.token");
    env.anole("output token --show-secrets -f spec.yaml").exits(1).says("only the secrets are lost");
    env.anole("plan spec.yaml --replace servers.node").exits(1).says("lost-secret").says("credentials.token");
    env.anole("apply spec.yaml --yes --replace credentials.token --replace credentials.ci").exits(0);
    assert_ne!(output(&env, "token"), token);
    env.has_no_changes("spec.yaml");
}

#[test]
fn a_passphrase_takes_the_key_files_place() {
    let mut env = TestEnvironment::with(
        "stack: keys\ncredentials: { token: { type: random } }\noutputs: { token: \"${credentials.token.value}\" }\n",
    );
    env.set("ANOLE_STATE_PASSPHRASE", "correct horse");
    env.apply("spec.yaml");
    assert!(!env.path(KEY).exists());
    assert_eq!(output(&env, "token").len(), 32);
    env.set("ANOLE_STATE_PASSPHRASE", "another");
    env.anole("output token --show-secrets -f spec.yaml").exits(1).says("passphrase");
}

#[test]
fn keys_of_the_environment_are_read_and_not_kept() {
    let mut env = TestEnvironment::with(
        "stack: keys
sites: { kvm: { cloud: kvm_tacc } }
credentials:
  s3: { from_env: { access_key: MY_KEY, secret_key: MY_SECRET }, endpoint: \"https://s3.example.org\" }
servers:
  node:
    flavor: m1.small
    image: CC-Ubuntu24.04
    networks: [sharednet1]
    user_data: \"${credentials.s3.access_key}:${credentials.s3.secret_key}@${credentials.s3.endpoint}\"
",
    );
    env.anole("plan spec.yaml").exits(1).says("the environment has no `MY_KEY`");
    env.set("MY_KEY", "key-of-mine");
    env.set("MY_SECRET", "correct-horse-battery");
    env.apply("spec.yaml").omits("correct-horse");
    assert!(user_data(&env).contains(&base64("key-of-mine:correct-horse-battery@https://s3.example.org")));
    env.has_no_changes("spec.yaml");
    assert_eq!(leaks(&env, &["correct-horse-battery", "key-of-mine"]), Vec::<String>::new());
    env.anole("apply spec.yaml --yes --replace servers.node").exits(0);
    assert!(user_data(&env).contains(&base64("key-of-mine:correct-horse-battery@https://s3.example.org")));
    env.set("MY_SECRET", "another-secret");
    env.anole("plan spec.yaml").exits(0).says("user_data changed").omits("another-secret");
}

#[test]
fn a_secret_may_not_stand_where_it_is_shown() {
    let env = TestEnvironment::with(
        "stack: keys
credentials: { token: { type: random } }
volumes: { data: { size: 1GiB, description: \"${credentials.token.value}\" } }
",
    );
    env.anole("plan spec.yaml").exits(1).says("misplaced-secret");
}

#[test]
fn the_type_tells_what_it_is() {
    let env = TestEnvironment::with("stack: keys\ncredentials: { oops: { type: aplication } }\n");
    env.anole("plan spec.yaml").exits(1).says("did you mean `application`?");
    env.write("spec.yaml", "stack: keys\ncredentials: { token: { length: 8 } }\n");
    env.anole("plan spec.yaml").exits(1).says("needs `type`");
}

const WRITTEN: &str = "\
stack: keys
sites: { kvm: { cloud: kvm_tacc } }
credentials:
  ci:
    type: application
    write:
      - clouds: { cloud: ci }
      - rclone: { remote: chi }
      - openrc: { path: ~/ci.sh }
  token:
    type: random
    write: [{ env: { path: ~/lab/.env, variable: TOKEN } }]
outputs:
  ci: { id: \"${credentials.ci.id}\", secret: \"${credentials.ci.secret}\" }
  token: ${credentials.token.value}
";

const RCLONE: &str = "../home/.config/rclone/rclone.conf";
const CLOUDS: &str = "../home/.config/openstack/clouds.yaml";
const ENV: &str = "../home/lab/.env";

fn mode(env: &TestEnvironment, name: &str) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(env.path(name)).expect("a file").permissions().mode() & 0o777
}

#[test]
fn a_credential_is_written_into_files_beside_what_is_there() {
    let env = TestEnvironment::with(WRITTEN);
    std::fs::create_dir_all(env.path("../home/.config/rclone")).expect("a folder");
    let mine = "# mine\n[drive]\ntype = drive\n";
    env.write(RCLONE, mine);
    env.apply("spec.yaml").omits("application_credential_secret");
    let both: serde_json::Value = serde_json::from_str(&output(&env, "ci")).expect("JSON");
    let (id, secret) = (both["id"].as_str().expect("an id"), both["secret"].as_str().expect("a secret"));
    let conf = env.read(RCLONE);
    assert!(conf.starts_with(mine) && conf.contains(&format!("application_credential_secret = {secret}\n")), "{conf}");
    assert!(env.read(CLOUDS).contains(&format!("application_credential_id: \"{id}\"")));
    assert!(env.read("../home/ci.sh").contains(&format!("export OS_APPLICATION_CREDENTIAL_SECRET={secret}\n")));
    assert_eq!(env.read(ENV), format!("TOKEN={}\n", output(&env, "token")));
    assert!([RCLONE, CLOUDS, ENV].iter().all(|name| mode(&env, name) == 0o600));
    env.has_no_changes("spec.yaml");

    // Somebody took one out, and added to another file.
    env.write(CLOUDS, "clouds:\n  other:\n    region_name: R\n");
    env.write(ENV, &format!("{}MINE=1\n", env.read(ENV)));
    let plan = env.anole("plan spec.yaml --json").exits(0);
    let path = "credentials.ci/credential_file[clouds ci@~/.config/openstack/clouds.yaml]";
    assert_eq!(plan.actions(), [format!("update {path}")]);
    env.apply("spec.yaml");
    let clouds = env.read(CLOUDS);
    assert!(
        clouds.starts_with("clouds:\n  other:\n    region_name: R\n  ci:\n") && clouds.contains(secret),
        "{clouds}"
    );

    // Another credential is written in the place of the one before.
    env.apply("spec.yaml --replace credentials.ci --replace credentials.token");
    assert!(!env.read(RCLONE).contains(secret) && !env.read(CLOUDS).contains(secret));
    assert_eq!(env.read(ENV), format!("MINE=1\nTOKEN={}\n", output(&env, "token")));
    env.has_no_changes("spec.yaml");

    env.anole("destroy spec.yaml --yes").exits(0);
    assert_eq!((env.read(RCLONE), env.read(ENV)), (mine.to_owned(), "MINE=1\n".to_owned()));
    assert_eq!(env.read(CLOUDS), "clouds:\n  other:\n    region_name: R\n");
    assert!(!env.path("../home/ci.sh").exists());
}

#[test]
fn what_cannot_be_written_is_told_before_anything_is_made() {
    for (entry, said) in [
        ("{ aws: { profile: x } }", "such a credential cannot be written as `aws`"),
        ("{ rclone: { remote: a }, clouds: { cloud: a } }", "an entry of `write` is one form"),
        ("{ rclone: { remote: \"a]\" } }", "`a]` is no name that its file can hold"),
        ("{ openrc: { path: ci.sh } }", "`ci.sh` is no path from the root or from the home folder"),
    ] {
        let spec = format!("stack: keys\ncredentials: {{ ci: {{ type: application, write: [{entry}] }} }}\n");
        let env = TestEnvironment::with(&spec);
        env.anole("plan spec.yaml").exits(1).says(said);
    }
    let env = TestEnvironment::with(WRITTEN);
    std::fs::create_dir_all(env.path("../home/.config/openstack")).expect("a folder");
    env.write(CLOUDS, "clouds: { other: {} }\n");
    env.anole("apply spec.yaml --yes").exits(1).says("clouds.yaml: it is not laid out");
    assert_eq!(env.read(CLOUDS), "clouds: { other: {} }\n");
}

#[test]
fn a_credential_of_one_site_is_written_to_a_server_of_another() {
    let env = TestEnvironment::with(
        "stack: keys
sites: { kvm: { cloud: kvm_tacc }, chi: { cloud: chi_tacc } }
defaults: { site: kvm }
credentials:
  ci: { site: chi, type: application, write: [{ rclone: { remote: chi, server: node } }] }
servers:
  node: { flavor: m1.small, image: CC-Ubuntu24.04, networks: [sharednet1] }
",
    );
    env.apply("spec.yaml").says("recorded, not carried out");
    env.has_no_changes("spec.yaml");
    let rows = env.anole("state list -f spec.yaml --json").exits(0).json();
    let rows = rows.as_array().expect("rows");
    let site = |kind: &str| rows.iter().find(|row| row["kind"] == kind).expect("a row")["site"].clone();
    assert_eq!((site("credential_on_server"), site("application_credential")), (json!("kvm"), json!("chi")));
    let plan = env.anole("plan spec.yaml --json --replace servers.node").exits(0);
    let part = "credentials.ci/credential_on_server[rclone chi@~/.config/rclone/rclone.conf node]";
    assert!(plan.actions().contains(&format!("replace {part}")), "{:?}", plan.actions());
    env.anole("destroy spec.yaml --yes").exits(0);
    assert_eq!(env.site().census(), "");
}

#[test]
fn another_type_replaces_what_is_there_and_leaves_no_key() {
    let env = TestEnvironment::with(
        "stack: keys\nsites: { kvm: { cloud: kvm_tacc } }\ncredentials:\n  ci: { type: application }\n",
    );
    env.apply("spec.yaml");
    assert_eq!(env.site().census(), "credentials 1");
    for (from, to) in [("application", "random"), ("random", "application")] {
        let kind = from.to_owned() + if from == "random" { " secret" } else { " credential" };
        env.edit("spec.yaml", &format!("type: {from}"), &format!("type: {to}"));
        let plan = env.anole("plan spec.yaml --json").exits(0).says(&format!("its kind changed from {kind}"));
        assert_eq!(plan.actions(), ["replace credentials.ci"]);
        env.apply("spec.yaml");
        env.has_no_changes("spec.yaml");
        if to == "random" {
            assert_eq!(env.site().census(), "");
        }
    }
    env.anole("destroy spec.yaml --yes").exits(0);
    assert_eq!(env.site().census(), "");
}

#[test]
fn what_narrows_a_credential_makes_another() {
    let env = TestEnvironment::with(&SPEC.replace(", roles: [member]", ""));
    env.apply("spec.yaml");
    let id = output(&env, "id");
    env.edit("spec.yaml", "for the pipeline", "for the pipeline, roles: [reader], expires: 90d");
    let plan = env.anole("plan spec.yaml --json").exits(0);
    assert!(plan.actions().contains(&"replace credentials.ci".to_owned()), "{:?}", plan.actions());
    env.apply("spec.yaml");
    env.has_no_changes("spec.yaml");
    assert_ne!(output(&env, "id"), id);
}

#[test]
fn a_credential_with_another_address_is_renewed() {
    let env = TestEnvironment::with(
        "stack: keys\nsites: { kvm: { cloud: kvm_tacc } }\ncredentials:\n  old: { type: application, name: ci, expires: 90d, renew_before: 7d }\n",
    );
    env.apply("spec.yaml");
    let id = env.site().only("credentials")["id"].clone();
    env.edit("spec.yaml", "old: { type", "new: { was: credentials.old, type");
    env.apply("spec.yaml");
    assert_eq!(env.site().only("credentials")["id"], id);
    env.site().advance(84 * 86_400);
    env.apply("spec.yaml");
    assert_ne!(env.site().only("credentials")["id"], id);
    env.has_no_changes("spec.yaml");
}

#[test]
fn what_somebody_else_wrote_is_neither_taken_over_nor_taken_out() {
    let env = TestEnvironment::with(WRITTEN);
    std::fs::create_dir_all(env.path("../home/.config/rclone")).expect("a folder");
    std::fs::create_dir_all(env.path("../home/lab")).expect("a folder");
    let (remote, line) = ("[chi]\ntype = swift\nuser = me\n", "# mine\nTOKEN=mine\n");
    env.write(RCLONE, remote);
    env.write(ENV, line);
    for _ in 0..2 {
        let ran = env.anole("apply spec.yaml --yes").exits(1);
        ran.says("rclone.conf has `[chi]` already").says(".env has `TOKEN` already");
        assert_eq!((env.read(RCLONE), env.read(ENV)), (remote.to_owned(), line.to_owned()));
    }
    env.write(ENV, "# mine\n");
    env.anole("apply spec.yaml --yes").exits(1);
    env.anole("destroy spec.yaml --yes").exits(0);
    assert_eq!((env.read(RCLONE), env.read(ENV)), (remote.to_owned(), "# mine\n".to_owned()));
}

#[test]
fn two_credentials_do_not_write_the_same() {
    let env = TestEnvironment::with(
        "stack: keys
credentials:
  a: { type: random, write: [{ env: { path: ~/.env, variable: TOKEN } }] }
  b: { type: random, write: [{ env: { path: ~/.env, variable: TOKEN } }] }
",
    );
    env.anole("plan spec.yaml").exits(1).says("both write `TOKEN` of ~/.env, and would undo each other's work");
    env.edit("spec.yaml", "variable: TOKEN } }] }\n  b", "variable: OTHER } }] }\n  b");
    env.anole("plan spec.yaml").exits(0);
}

#[test]
fn edited_settings_reach_the_file() {
    let env = TestEnvironment::with(
        "stack: keys\ncredentials:\n  t: { type: random, write: [{ env: { path: ~/.env, variable: T } }] }\noutputs: { t: \"${credentials.t.value}\" }\n",
    );
    env.apply("spec.yaml");
    let token = output(&env, "t");
    for (from, to, lines) in [
        ("variable: T }", "variable: T, settings: { A: \"1\", B: \"2\" } }", "A=1\nB=2\n"),
        (", B: \"2\"", "", "A=1\n"),
        (", settings: { A: \"1\" }", "", ""),
    ] {
        env.edit("spec.yaml", from, to);
        env.apply("spec.yaml");
        assert_eq!(env.read("../home/.env"), format!("T={token}\n{lines}"));
        env.has_no_changes("spec.yaml");
    }
}
