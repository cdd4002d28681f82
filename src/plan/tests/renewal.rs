//! What ends by itself is renewed ahead of that: the new one first, then whatever uses it, and the old one last.

use super::cloud::{World, bare};
use super::kit::{self, steps, summary};
use crate::apply::known::Recorded;
use crate::kinds;
use crate::model::{Fields, RemoteId, Value};
use crate::plan::bind::bind_fields;
use crate::plan::{aside, order};
use crate::state::{Entry, Loaded, Origin, ResourceState, Status};

const SPEC: &str = "
credentials:
  ci: { type: application, expires: 90d, renew_before: 7d, write: [{ clouds: { cloud: ci } }] }
  token: { type: random, triggers: [\"${credentials.ci.id}\"] }
";

/// A world in which a spec was applied; its application credentials end at New Year.
pub(super) fn applied(text: &str) -> World {
    let mut world = World::new();
    let desired = kit::desired(text);
    for (number, address) in order::by_needs(&desired).unwrap().into_iter().enumerate() {
        let resource = &desired.resources[&address];
        let id = RemoteId(format!("{}-{number}", resource.kind));
        let applied = bind_fields(&resource.fields, &Recorded(&world.state));
        let mut attributes = Fields::from([("id".to_owned(), Value::text(id.0.clone()))]);
        attributes.extend(applied.get("name").map(|name| ("name".to_owned(), name.clone())));
        if resource.kind == "application_credential" {
            let shown = [("expires", "2027-01-01T00:00:00Z"), ("auth_url", "https://k/v3"), ("region", "KVM")];
            attributes.extend(shown.map(|(name, text)| (name.to_owned(), Value::text(text))));
            attributes
                .insert("secret".to_owned(), Value::Secret(crate::model::Secret::kept("u/secret", "s".to_owned())));
        }
        if kinds::by_name(resource.kind).unwrap().cloud().is_some() {
            let seen = bare(id.clone(), "t-ci", attributes.clone());
            world.objects(&resource.site, resource.kind).insert(id.clone(), seen);
        }
        let record = ResourceState {
            kind: resource.kind.to_owned(),
            site: resource.site.clone(),
            id,
            origin: Origin::Created,
            protect: false,
            uid: format!("0a1b2c3d4e5{number}"),
            status: Status::Ready,
            applied,
            attributes,
            needs: resource.needs.iter().map(|need| need.address.clone()).collect(),
        };
        world.state.resources.insert(address, record);
    }
    world
}

#[test]
fn ahead_of_its_end_a_successor_is_made_and_its_users_are_switched_over_before_it_goes() {
    let mut world = applied(SPEC);
    world.clouds.at = "2026-12-24T23:59:59Z".parse().unwrap();
    assert!(world.plan(SPEC).is_empty(), "{}", summary(&world.plan(SPEC)));
    world.clouds.at = "2026-12-25T00:00:00Z".parse().unwrap();
    let plan = world.plan(SPEC);
    insta::assert_snapshot!(summary(&plan), @r"
    Replace credentials.ci: it ends 2027-01-01T00:00Z and is renewed ahead of that
    Update credentials.ci/credential_file[clouds ci@~/.config/openstack/clouds.yaml]: application credential `ci` is replaced
    Replace credentials.token: application credential `ci` is replaced
    ");
    insta::assert_snapshot!(steps(&plan), @r"
    Create credentials.ci
    Delete credentials.token
    Update credentials.ci/credential_file[clouds ci@~/.config/openstack/clouds.yaml]
    Create credentials.token
    Delete credentials.ci
    ");
    assert!(plan.actions[&"credentials.ci".parse().unwrap()].makes_first());
}

#[test]
fn what_an_interrupted_renewal_left_goes_once_its_users_are_switched_over() {
    let mut world = applied(SPEC);
    let address = "credentials.ci".parse().unwrap();
    let record = world.state.resources[&address].clone();
    let mut loaded = Loaded::new(world.state.clone());
    loaded.fold(Entry::Rename { from: address.clone(), to: aside(&address, &record.id) });
    world.state = loaded.state;
    // The successor was never asked for, or was refused.
    let plan = world.plan(SPEC);
    insta::assert_snapshot!(summary(&plan), @r"
    Create credentials.ci: new
    Delete credentials.ci/before[application_credential-0]: another has taken its place
    Update credentials.ci/credential_file[clouds ci@~/.config/openstack/clouds.yaml]: application credential `ci` is made anew
    Replace credentials.token: application credential `ci` is made anew
    ");
    insta::assert_snapshot!(steps(&plan), @r"
    Create credentials.ci
    Delete credentials.token
    Update credentials.ci/credential_file[clouds ci@~/.config/openstack/clouds.yaml]
    Create credentials.token
    Delete credentials.ci/before[application_credential-0]
    ");

    let mut made = record;
    made.id = RemoteId::from("the-new-one");
    made.attributes.insert("id".to_owned(), "the-new-one".into());
    let (site, seen) = (made.site.clone(), bare(made.id.clone(), "t-ci", made.attributes.clone()));
    world.objects(&site, "application_credential").insert(made.id.clone(), seen);
    world.state.resources.insert(address, made);
    let plan = world.plan(SPEC);
    insta::assert_snapshot!(summary(&plan), @r"
    Delete credentials.ci/before[application_credential-0]: another has taken its place
    Update credentials.ci/credential_file[clouds ci@~/.config/openstack/clouds.yaml]: keys changed
    Replace credentials.token: triggers changed
    ");
    insta::assert_snapshot!(steps(&plan), @r"
    Delete credentials.token
    Update credentials.ci/credential_file[clouds ci@~/.config/openstack/clouds.yaml]
    Create credentials.token
    Delete credentials.ci/before[application_credential-0]
    ");
}
