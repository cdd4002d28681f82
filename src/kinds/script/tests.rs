//! Mistakes in scripts, and what becomes of their fields. When they run again is a matter of plans, and tested there.

use super::*;
use crate::model::Secret;
use crate::plan::tests::kit::{desired, resolved};

/// What is said of a script with these fields.
fn said(fields: &str) -> String {
    let text = format!(
        "
servers: {{ node: {{ flavor: m1.small, image: CC-Ubuntu22.04, networks: [sharednet1] }} }}
scripts: {{ one: {{ server: node, {fields} }} }}
"
    );
    match resolved(&text) {
        Ok(_) => "nothing".to_owned(),
        Err(said) => {
            said.lines().filter(|line| line.contains("error") || line.contains("help")).collect::<Vec<_>>().join("\n")
        }
    }
}

#[test]
fn mistakes_are_told() {
    let all = [
        "depends_on: []",
        "run: a, run_file: jupyter.sh",
        "compose: { file: jupyter.sh }, stop: b",
        "files: [{ source: a, path: ~/a }], stop: b",
        "run: ' '",
        "run: 'echo ${var.x}'",
        "run: a, env: { 1X: b }",
        "run: a, env: { UID: b }",
        "run: a, creates: relative",
        "run: a, creates: /a/../b",
        "run: a, wait_for: {}",
        "run: a, wait_for: { port: 1, http: 'http://a' }",
        "run: a, wait_for: { http: 'https://localhost' }",
        "files: [{ source: a, path: ~/a, mode: 888 }]",
        "files: [{ source: a, path: ~/a, owner: 'a:b' }]",
        "files: [{ source: a, path: '~' }]",
        "run_file: nothing.sh",
        "run: a, uses: [data]",
        "run: a, timeout: soon",
        "run: a, project: b",
    ];
    let told: Vec<_> = all.iter().map(|fields| format!("{fields}\n{}", said(fields))).collect();
    insta::assert_snapshot!(told.join("\n\n"));
}

#[test]
fn what_is_right_is_taken() {
    for fields in [
        "run: 'for i in ${LIST[@]}; do echo $${i}; done'",
        "run_file: jupyter.sh, env: { A: 1, B_2: 'x' }",
        "compose: { file: jupyter.sh }, wait_for: { http: 'http://localhost:8000/health', status: 204, timeout: 5m }",
        "files: [{ source: conf, path: /etc/conf, mode: '0644', owner: cc, if_missing: true }]",
        "run: a, wait_for: { port: 8000 }, creates: ~/x, triggers: [], env: {}",
    ] {
        assert_eq!(said(fields), "nothing", "{fields}");
    }
}

/// The fields of a script, as they are resolved.
fn fields_of(fields: &str) -> Fields {
    let text = format!(
        "
servers: {{ node: {{ flavor: m1.small, image: CC-Ubuntu22.04, networks: [sharednet1] }} }}
volumes: {{ data: {{ size: 1GiB }} }}
attachments: {{ data: {{ volume: data, server: node, mount: {{ path: /mnt }} }} }}
scripts: {{ one: {{ server: node, {fields} }} }}
"
    );
    desired(&text).resources[&Address::new("scripts", "one")].fields.clone()
}

#[test]
fn text_is_taken_as_it_stands_and_attachments_mean_their_mounts() {
    let fields = fields_of("run: 'echo $${A} ${B}', uses: [data], env: {}, files: [{ source: conf, path: ~/c }]");
    assert_eq!(fields["run"].as_str(), Some("echo $${A} ${B}"));
    assert_eq!(fields.get("env"), None, "nothing in it is the same as not there");
    let mut used = Vec::new();
    fields["uses"].visit_refs(&mut |reference| {
        let Target::Resource(address) = &reference.target else { panic!("declared") };
        used.push((reference.kind.clone(), address.to_string()));
    });
    assert_eq!(used, [("mount".to_owned(), "attachments.data/mount".to_owned())]);
    let file = fields["files"].as_list().unwrap()[0].as_map().unwrap();
    assert_eq!(file["source"].as_map().unwrap()["digest"].as_str(), Some("conf"));
    assert_eq!(fields["timeout"].as_int(), Some(1_800));
    let fields = fields_of("compose: { file: jupyter.sh }, wait_for: { port: 80 }");
    assert_eq!(fields["compose"].as_map().unwrap()["file"].as_str(), Some("docker start jupyter\n"));
    assert_eq!(fields["project"].as_str(), Some("one"));
    assert_eq!(fields["wait_for"].as_map().unwrap().get("status"), None);
}

#[test]
fn a_secret_that_stays_the_same_changes_nothing() {
    let side = |secret: Secret| {
        let env = Fields::from([("TOKEN".to_owned(), Value::Secret(secret))]);
        Fields::from([("run".to_owned(), "a".into()), ("env".to_owned(), Value::Map(env))])
    };
    let now = "2026-11-20T16:00:00Z".parse().unwrap();
    let secret = Secret::new("var.token", "hunter2".to_owned());
    let applied = side(Secret::remembered("var.token", secret.digest().to_owned()));
    let live = Fields::new();
    let diff = |want: &Fields| Script.diff(&Sides { want, applied: &applied, live: &live, now }).unwrap().len();
    assert_eq!(diff(&side(secret)), 0);
    assert_eq!(diff(&side(Secret::new("var.token", "swordfish".to_owned()))), 1);
}

#[test]
fn names_of_folders_and_projects_are_safe_and_their_own() {
    let name = |address: &str| script::name_of(&address.parse().unwrap());
    assert_eq!(name("scripts.one"), "one");
    assert_eq!(name("scripts.one[0]"), "one.0");
    assert_eq!(name("scripts.one[node1]"), "one.node1");
    let hostile = ["scripts.one[a/b]", "scripts.one[a b]", "scripts.one[..x]", "scripts.one[ä]", "scripts.one[a_b]"];
    let names: std::collections::BTreeSet<String> = hostile.iter().map(|address| name(address)).collect();
    assert_eq!(names.len(), hostile.len());
    assert!(names.iter().all(|name| !name.contains(['/', ' ']) && !name.contains("..")), "{names:?}");
    assert_eq!(script::plain("lab-mlflow"), "lab-mlflow");
    assert_ne!(script::plain("Lab"), script::plain("lab"));
    assert_ne!(script::plain("a.b"), script::plain("a-b"));
    assert!(
        script::plain("Ünï.x").chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
    );
}
