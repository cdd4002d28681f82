//! The request for a server: which flavor, which disk, which ports.

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::json;

use crate::cloud::blazar::{self, Reservation};
use crate::cloud::{CloudError, Session, nova};
use crate::kinds::kind::OpCx;
use crate::kinds::metadata;
use crate::model::{Fields, Json, Value};

/// The flavor that Chameleon's bare-metal nodes are asked for by.
const BARE_METAL: &str = "baremetal";

/// Where a server goes: a flavor, and for hosts the reservation to say so to the scheduler.
struct Place {
    flavor: String,
    hint: Option<String>,
}

/// The whole request.
pub(super) async fn body(cx: &OpCx<'_>, want: &Fields) -> Result<Json, CloudError> {
    let place = place(cx, want).await?;
    let ports: Vec<_> = want.get("ports").and_then(Value::as_list).unwrap_or_default().iter().collect();
    let networks: Vec<_> = ports.iter().filter_map(|port| port.as_id()).map(|id| json!({ "port": id })).collect();
    if networks.is_empty() || networks.len() != ports.len() {
        return Err(CloudError::config(format!("{}: not all of its ports are there", cx.address)));
    }
    let mut server = json!({
        "name": want.get("name").and_then(Value::as_str).unwrap_or_default(),
        "flavorRef": place.flavor,
        "networks": networks,
        "metadata": metadata::stamped(want, cx.stamp),
    });
    let image = want.get("image").and_then(Value::as_id).map(|id| id.0.as_str());
    match want.get("boot_volume").and_then(Value::as_map) {
        Some(boot) => server["block_device_mapping_v2"] = json!([device(boot, image)]),
        None => server["imageRef"] = json!(image),
    }
    for (field, member) in [("availability_zone", "availability_zone"), ("config_drive", "config_drive")] {
        if let Some(value) = want.get(field).filter(|value| !value.is_null()).and_then(Value::to_plain) {
            server[member] = value;
        }
    }
    if let Some(keypair) = want.get("keypair").and_then(Value::as_id) {
        server["key_name"] = json!(keypair);
    }
    if let Some(user_data) = want.get("user_data").and_then(Value::expose) {
        server["user_data"] = json!(BASE64_STANDARD.encode(user_data));
    }
    let mut hints = want.get("scheduler_hints").and_then(Value::to_plain).filter(Json::is_object).unwrap_or(json!({}));
    if let Some(reservation) = place.hint {
        hints["reservation"] = json!(reservation);
    }
    let mut body = json!({ "server": server });
    if hints.as_object().is_some_and(|hints| !hints.is_empty()) {
        body["os:scheduler_hints"] = hints;
    }
    Ok(body)
}

/// The disk of a server that boots from a volume.
fn device(boot: &Fields, image: Option<&str>) -> Json {
    if let Some(volume) = boot.get("volume").and_then(Value::as_id) {
        return json!({
            "boot_index": 0, "source_type": "volume", "destination_type": "volume", "uuid": volume,
            "delete_on_termination": false,
        });
    }
    let mut device = json!({
        "boot_index": 0, "source_type": "image", "destination_type": "volume", "uuid": image,
        "volume_size": boot.get("size").and_then(Value::as_int),
        "delete_on_termination": boot.get("delete_on_termination").and_then(Value::as_bool).unwrap_or(true),
    });
    if let Some(volume_type) = boot.get("type").and_then(Value::as_str) {
        device["volume_type"] = json!(volume_type);
    }
    device
}

async fn place(cx: &OpCx<'_>, want: &Fields) -> Result<Place, CloudError> {
    let flavor = want.get("flavor").and_then(Value::as_id).map(|id| id.0.clone());
    let Some(lease) = want.get("lease").and_then(Value::as_id) else {
        let flavor = flavor.ok_or_else(|| CloudError::config(format!("{}: its flavor is not known", cx.address)))?;
        return Ok(Place { flavor, hint: None });
    };
    let found = blazar::lease(cx.session, &lease.0).await?;
    let found = found.ok_or_else(|| {
        CloudError::config(format!("{}: its lease {lease} is gone", cx.address))
            .hint("plan again: the lease will be made anew")
    })?;
    let named = want.get("reservation_id").and_then(Value::as_str);
    let reservation = pick(&found.name, &found.reservations, named, flavor.is_some())?;
    if reservation.resource_type == "flavor:instance" {
        if flavor.is_some() {
            let message =
                format!("{}: lease `{}` reserves a flavor, so it cannot have `flavor` too", cx.address, found.name);
            return Err(CloudError::config(message).hint("leave `flavor` out, or leave `lease` out"));
        }
        let flavor = reservation.flavor_id.clone().unwrap_or_else(|| reservation.id.clone());
        return Ok(Place { flavor, hint: None });
    }
    let flavor = match flavor {
        Some(flavor) => flavor,
        None => bare_metal(cx.session).await?,
    };
    Ok(Place { flavor, hint: Some(reservation.id.clone()) })
}

/// The reservation that a server goes to: the one it names, or else the only one that it can go to.
fn pick<'a>(
    lease: &str,
    reservations: &'a [Reservation],
    named: Option<&str>,
    own_flavor: bool,
) -> Result<&'a Reservation, CloudError> {
    let fits = |reservation: &&Reservation| match reservation.resource_type.as_str() {
        "flavor:instance" => !own_flavor || named.is_some(),
        "physical:host" => true,
        _ => false,
    };
    let fitting: Vec<_> = reservations.iter().filter(fits).collect();
    if let Some(named) = named {
        return fitting.into_iter().find(|reservation| reservation.id == named).ok_or_else(|| {
            CloudError::config(format!("lease `{lease}` has no reservation {named} that a server could run on"))
                .hint("name one with `flavor` or `hosts` under `reservation`")
        });
    }
    match fitting.as_slice() {
        [one] => Ok(one),
        [] => Err(CloudError::config(format!("lease `{lease}` reserves nothing that this server could run on"))
            .hint("add a reservation with `flavor` or `hosts` to the lease")),
        several => Err(CloudError::config(format!("lease `{lease}` has {} reservations that fit", several.len()))
            .hint("name the reservations in the lease, and say `reservation: <name>` here")),
    }
}

async fn bare_metal(session: &Session) -> Result<String, CloudError> {
    let found = nova::flavors(session).await?.into_iter().find(|flavor| flavor.name == BARE_METAL);
    found.map(|flavor| flavor.id).ok_or_else(|| {
        CloudError::config(format!("the site has no flavor `{BARE_METAL}` for a server on a host reservation"))
            .hint("say which flavor its hosts are asked for by, with `flavor:`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_fitting_reservation_is_taken_and_others_must_be_named() {
        let of = |id: &str, resource_type: &str| -> Reservation {
            serde_json::from_value(json!({ "id": id, "resource_type": resource_type })).unwrap()
        };
        let (vm, ip, host) = (of("vm", "flavor:instance"), of("ip", "virtual:floatingip"), of("host", "physical:host"));
        let id = |list: &[Reservation], named, own| pick("l", list, named, own).map(|found| found.id.clone()).ok();
        assert_eq!(id(&[ip.clone(), vm.clone()], None, false).as_deref(), Some("vm"));
        let all = [vm, ip, host];
        assert_eq!(id(&all, None, false), None);
        assert_eq!(id(&all, Some("host"), false).as_deref(), Some("host"));
        assert_eq!(id(&all, Some("ip"), false), None);
        assert_eq!(id(&all, None, true).as_deref(), Some("host"));
    }

    #[test]
    fn a_boot_volume_is_made_of_the_image_or_taken_as_it_is() {
        let new = Fields::from([("size".to_owned(), Value::Int(60))]);
        let device_new = device(&new, Some("image"));
        assert_eq!((&device_new["volume_size"], &device_new["delete_on_termination"]), (&json!(60), &json!(true)));
        let own = Fields::from([("volume".to_owned(), Value::live("volume", "v"))]);
        let device_own = device(&own, None);
        assert_eq!((&device_own["uuid"], &device_own["delete_on_termination"]), (&json!("v"), &json!(false)));
    }
}
