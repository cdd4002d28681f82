//! A block whose kind changes under its address: the old object goes as what it is, and the new one is made.

use super::cloud::World;
use super::kit::{steps, summary};
use super::renewal::applied;
use crate::plan::PlanOptions;
use crate::state::Origin;

const APPLICATION: &str = "
credentials:
  ci: { type: application, write: [{ env: { path: ~/app.env } }] }
  t: { type: random, triggers: [\"${credentials.ci.id}\"] }
";
const RANDOM: &str = "
credentials:
  ci: { type: random }
  t: { type: random, triggers: [\"${credentials.ci.id}\"] }
";

fn refused(world: &World, text: &str) -> String {
    world.refused(text, &PlanOptions::default())
}

#[test]
fn another_type_of_credential_replaces_the_one_that_is_there() {
    let world = applied(APPLICATION);
    assert!(world.plan(APPLICATION).is_empty(), "{}", summary(&world.plan(APPLICATION)));
    let plan = world.plan(RANDOM);
    insta::assert_snapshot!(summary(&plan), @"
    Replace credentials.ci: its kind changed from application credential
    Delete credentials.ci/credential_file[env ~/app.env]: no longer in the spec
    Replace credentials.t: random secret `ci` is replaced
    ");
    insta::assert_snapshot!(steps(&plan), @"
    Delete credentials.t
    Delete credentials.ci/credential_file[env ~/app.env]
    Delete credentials.ci
    Create credentials.ci
    Create credentials.t
    ");
    let action = &plan.actions[&"credentials.ci".parse().unwrap()];
    assert_eq!((action.kind.as_str(), action.live.len(), action.origin), ("random_secret", 0, Origin::Created));
}

#[test]
fn what_is_no_longer_of_a_site_is_taken_from_it() {
    let of_site = "buckets: { b: { name: food, protect: false } }";
    let elsewhere = "
buckets:
  b: { name: food, protect: false, endpoint: \"https://s3.example\", credential: { existing: { access_key: a, secret_key: s } } }
";
    insta::assert_snapshot!(summary(&applied(of_site).plan(elsewhere)), @"Replace buckets.b: its kind changed from bucket");
    insta::assert_snapshot!(refused(&applied(of_site), &elsewhere.replace("protect: false", "protect: true")), @"protected-replace: buckets.b is protected and would be replaced: its kind changed from bucket");
    insta::assert_snapshot!(refused(&applied(of_site), &elsewhere.replace("protect: false", "auto_create: false")), @"kind-changed: buckets.b is bucket bucket-0 by now, and its block is of another kind of thing, s3 bucket");
    let mut adopted = applied(of_site);
    adopted.state.resources.get_mut(&"buckets.b".parse().unwrap()).unwrap().origin = Origin::Adopted;
    insta::assert_snapshot!(refused(&adopted, elsewhere), @"kind-changed: buckets.b is bucket bucket-0 by now, and its block is of another kind of thing, s3 bucket");
}

#[test]
fn a_dataset_is_the_same_wherever_it_is_made() {
    let here = "
credentials: { s3: { type: ec2 } }
buckets: { b: { name: bee } }
servers: { n: { flavor: m1.small, image: CC-Ubuntu22.04, networks: [sharednet1] } }
datasets: { d: { source: \"https://example.org/a.zip\", load: { bucket: b, credential: s3 } } }
";
    let plan = applied(here).plan(&here.replace("source:", "server: n, source:"));
    let of_dataset = summary(&plan).lines().filter(|line| line.contains("datasets.d")).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(of_dataset, @"Replace datasets.d: ec2 credential `s3` is made anew");
}

#[test]
fn what_cannot_be_asked_for_is_not_missing() {
    let text = "
buckets:
  a: { name: bay, endpoint: \"https://s3.example\", credential: { existing: { access_key: a, secret_key: s } } }
  b: { name: bee, endpoint: \"https://s3.example\", credential: { existing: { access_key: a, secret_key: s } } }
";
    let mut world = applied(text);
    let site = world.state.resources.values().next().unwrap().site.clone();
    world.objects(&site, "s3_bucket").clear();
    insta::assert_snapshot!(refused(&world, text), @"all-missing: all 2 objects that the state knows in site `kvm` are gone");
    for address in ["buckets.a", "buckets.b"] {
        let view = world.clouds.sites.get_mut(&site).unwrap();
        view.hidden.insert(address.parse().unwrap(), "its keys are refused".to_owned());
    }
    insta::assert_snapshot!(summary(&world.plan(text)), @"
    Record buckets.a: protect changed
    Record buckets.b: protect changed
    ");
}
