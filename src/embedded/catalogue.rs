//! What a site offers before anybody has made anything: users, flavors, images, networks, volume types, hosts.
//!
//! Out: the same objects with the same ids in every cloud of a profile, derived from their names, so that a spec's pinned
//! look-ups and a test's snapshots hold from one run to the next.

use std::net::Ipv4Addr;
use std::path::Path;

use ring::digest;
use serde_json::json;

use super::clock;
use super::tables::{Fields, State, Table};
use crate::model::Json;

/// Which site the cloud looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// KVM@TACC: virtual machines, volumes, floating IPs.
    ChameleonKvm,
    /// CHI@TACC: bare metal and an object store; no block storage.
    ChameleonChi,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 2] = [Self::ChameleonKvm, Self::ChameleonChi];

    /// The profile's name in a spec: `chameleon-kvm`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ChameleonKvm => "chameleon-kvm",
            Self::ChameleonChi => "chameleon-chi",
        }
    }

    /// The profile of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// The region in the catalog, which is the site's name.
    #[must_use]
    pub fn region(self) -> &'static str {
        match self {
            Self::ChameleonKvm => "KVM@TACC",
            Self::ChameleonChi => "CHI@TACC",
        }
    }

    /// Whether the site has block storage.
    #[must_use]
    pub fn has_volumes(self) -> bool {
        self == Self::ChameleonKvm
    }

    /// Whether the site has an object store.
    #[must_use]
    pub fn has_objects(self) -> bool {
        self == Self::ChameleonChi
    }

    fn images(self) -> &'static [&'static str] {
        match self {
            Self::ChameleonKvm => {
                &["CC-Ubuntu22.04", "CC-Ubuntu24.04", "CC-Ubuntu24.04-CUDA", "CC-Ubuntu26.04", "CC-CentOS9-Stream"]
            }
            Self::ChameleonChi => &["CC-Ubuntu22.04", "CC-Ubuntu24.04", "CC-Ubuntu24.04-CUDA", "CC-CentOS9-Stream"],
        }
    }
}

/// When the catalogue's objects were made: 2026-01-15T00:00:00Z.
pub const EPOCH: i64 = 1_768_435_200_000;

/// A password user.
pub struct User {
    /// Its name, and its password.
    pub name: &'static str,
    /// The project it is a member of.
    pub project: &'static str,
}

/// The users; each one's password is its name. The last one operates the site: it may set quotas.
pub const USERS: [User; 4] = [
    User { name: "demo", project: "CHI-embedded" },
    User { name: "mate", project: "CHI-embedded" },
    User { name: "other", project: "CHI-other" },
    User { name: OPERATOR, project: "openstack" },
];

/// Who operates the site.
const OPERATOR: &str = "admin";

/// A UUID derived from what the object is called.
#[must_use]
pub fn fixed_id(what: &str, name: &str) -> String {
    let hash = digest::digest(&digest::SHA256, format!("embedded {what} {name}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// The same as Keystone writes ids.
#[must_use]
pub fn fixed_hex(what: &str, name: &str) -> String {
    fixed_id(what, name).replace('-', "")
}

/// A user's id.
#[must_use]
pub fn user_id(name: &str) -> String {
    fixed_hex("user", name)
}

/// Whether that user operates the site.
#[must_use]
pub fn is_operator(user_id: &str) -> bool {
    user_id == fixed_hex("user", OPERATOR)
}

/// A project's id.
#[must_use]
pub fn project_id(name: &str) -> String {
    fixed_hex("project", name)
}

/// The user of that id.
#[must_use]
pub fn user_by_id(id: &str) -> Option<&'static User> {
    USERS.iter().find(|user| user_id(user.name) == id)
}

/// The project's name.
#[must_use]
pub fn project_name(id: &str) -> Option<&'static str> {
    USERS.iter().map(|user| user.project).find(|name| project_id(name) == id)
}

/// The project that owns the shared networks and the images.
#[must_use]
pub fn provider() -> String {
    fixed_hex("project", "openstack")
}

/// The public flavors, as Nova's documents: id, name, vcpus, ram (MiB), disk (GiB).
#[must_use]
pub fn flavors(profile: Profile) -> Vec<Json> {
    let sizes: &[(&str, i64, i64, i64)] = match profile {
        Profile::ChameleonKvm => &[
            ("m1.tiny", 1, 512, 1),
            ("m1.small", 1, 2048, 20),
            ("m1.medium", 2, 4096, 40),
            ("m1.large", 4, 8192, 40),
            ("m1.xlarge", 8, 16384, 40),
            ("m1.xxlarge", 16, 32768, 40),
        ],
        Profile::ChameleonChi => &[("baremetal", 1, 1, 20)],
    };
    sizes
        .iter()
        .map(|(name, vcpus, ram, disk)| {
            json!({"id": fixed_id("flavor", name), "name": name, "vcpus": vcpus, "ram": ram, "disk": disk,
                   "public": true, "extra_specs": {}})
        })
        .collect()
}

/// The images, as Glance's documents.
#[must_use]
pub fn images(profile: Profile) -> Vec<Json> {
    profile
        .images()
        .iter()
        .map(|name| {
            let id = fixed_id("image", name);
            let hash = format!("{}{}", fixed_hex("hash", name), fixed_hex("hash again", name)).repeat(2);
            json!({
                "name": name, "disk_format": "qcow2", "container_format": "bare", "visibility": "public",
                "size": 1_073_741_824, "virtual_size": 4_294_967_296_i64, "status": "active",
                "checksum": fixed_hex("checksum", name), "protected": false, "min_ram": 0, "min_disk": 0,
                "owner": provider(), "os_hidden": false, "os_hash_algo": "sha512", "os_hash_value": hash,
                "created_at": clock::zulu(EPOCH), "updated_at": clock::zulu(EPOCH), "tags": [],
                "self": format!("/v2/images/{id}"), "file": format!("/v2/images/{id}/file"),
                "schema": "/v2/schemas/image", "id": id,
            })
        })
        .collect()
}

/// The volume types: name and description. The first is the default.
pub const VOLUME_TYPES: [(&str, &str); 2] = [("ceph-ssd", "SSD-backed Ceph"), ("ceph-hdd", "HDD-backed Ceph")];

/// The bare-metal hosts that Blazar reserves: name and `node_type`.
pub const HOSTS: [(&str, &str); 8] = [
    ("P3-CPU-001", "compute_skylake"),
    ("P3-CPU-002", "compute_skylake"),
    ("P3-CPU-003", "compute_skylake"),
    ("P3-CPU-004", "compute_skylake"),
    ("P3-CPU-005", "compute_skylake"),
    ("P3-CPU-006", "compute_skylake"),
    ("P3-GPU-001", "gpu_p100"),
    ("P3-GPU-002", "gpu_p100"),
];

/// How many instances of reserved flavors there is room for at once, whatever their size.
pub const RESERVABLE_INSTANCES: i64 = 100;

/// How many floating IPs Blazar reserves.
const RESERVABLE: u8 = 8;

/// The range of floating IPs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Public {
    /// One that is nowhere reached.
    Documentary,
    /// 127.a.b.0/24: this computer's own.
    Loopback([u8; 2]),
}

/// A profile with its range of floating IPs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Site {
    profile: Profile,
    public: Public,
}

impl Site {
    /// A cloud whose servers are documents.
    #[must_use]
    pub fn plain(profile: Profile) -> Self {
        Self { profile, public: Public::Documentary }
    }

    /// A cloud whose servers are machines: its floating IPs are addresses of this computer, others for each folder.
    #[must_use]
    pub fn with_guests(profile: Profile, folder: &Path) -> Self {
        Self { profile, public: Public::Loopback(loopback(folder)) }
    }

    /// The profile.
    #[must_use]
    pub fn profile(self) -> Profile {
        self.profile
    }
}

/// The second and third number of a cloud's own addresses of the loopback, another pair for each folder.
fn loopback(folder: &Path) -> [u8; 2] {
    let hash = digest::digest(&digest::SHA256, folder.as_os_str().as_encoded_bytes());
    let hash = hash.as_ref();
    // 127.0.x.y is where everything else listens.
    [hash[0] % 254 + 1, hash[1]]
}

/// Where a cloud's own services listen for machines and for programs of this computer; no floating IP is that.
#[must_use]
pub fn own_address(folder: &Path) -> Ipv4Addr {
    let [a, b] = loopback(folder);
    Ipv4Addr::new(127, a, b, 254)
}

/// Whether a guest may be reached by that address.
#[must_use]
pub fn is_guests_address(address: Ipv4Addr) -> bool {
    address.is_loopback() && address.octets()[1] != 0
}

/// The floating IPs that Blazar reserves.
#[must_use]
pub fn reservable_addresses(state: &State) -> Vec<String> {
    let subnet = state.get(Table::Subnets, &fixed_id("subnet", "public"));
    let range = subnet.map(|subnet| subnet.text("cidr")).unwrap_or_default();
    let prefix = range.strip_suffix(".0/24").unwrap_or("129.114.27");
    (1..=RESERVABLE).map(|last| format!("{prefix}.{last}")).collect()
}

/// The network that all share.
#[must_use]
pub fn shared_network() -> String {
    fixed_id("network", "sharednet1")
}

/// The network of the floating IPs.
#[must_use]
pub fn public_network() -> String {
    fixed_id("network", "public")
}

/// Makes the shared objects: networks, subnets, and the provider's router between them.
pub fn seed(site: Site, state: &mut State) {
    let made = clock::zulu(EPOCH);
    let (shared, public) = (shared_network(), public_network());
    let (shared_subnet, public_subnet) = (fixed_id("subnet", "sharednet1"), fixed_id("subnet", "public"));
    for (id, name, subnet, external) in
        [(&shared, "sharednet1", &shared_subnet, false), (&public, "public", &public_subnet, true)]
    {
        let mut doc = json!({
            "id": id, "name": name, "admin_state_up": true, "mtu": 1500, "status": "ACTIVE", "subnets": [subnet],
            "shared": !external, "availability_zone_hints": [], "availability_zones": [],
            "ipv4_address_scope": null, "ipv6_address_scope": null, "router:external": external, "description": "",
            "port_security_enabled": true,
        });
        if external {
            doc.set("is_default", false);
        }
        state.put(Table::Networks, id, owned(doc, &made));
    }
    let shared_pool = json!([{"start": "10.56.0.2", "end": "10.56.3.254"}]);
    let (public_cidr, public_gateway, router_address, first, last) = public_range(site.public);
    let public_pool = json!([{"start": first, "end": last}]);
    let (shared_cidr, shared_gateway) = ("10.56.0.0/22".to_owned(), "10.56.0.1".to_owned());
    for (id, network, name, cidr, gateway, pool, external) in [
        (&shared_subnet, &shared, "sharednet1-subnet", shared_cidr, shared_gateway, shared_pool, false),
        (&public_subnet, &public, "public-subnet", public_cidr, public_gateway, public_pool, true),
    ] {
        let doc = json!({
            "id": id, "name": name, "network_id": network, "ip_version": 4, "subnetpool_id": null,
            "enable_dhcp": !external, "ipv6_ra_mode": null, "ipv6_address_mode": null, "gateway_ip": gateway,
            "cidr": cidr, "allocation_pools": pool, "host_routes": [],
            "dns_nameservers": if external { json!([]) } else { json!(["8.8.8.8"]) },
            "description": "", "router:external": external, "service_types": [],
        });
        state.put(Table::Subnets, id, owned(doc, &made));
    }
    let router = fixed_id("router", "provider");
    let doc = json!({
        "id": router, "name": "provider-router", "admin_state_up": true, "status": "ACTIVE",
        "external_gateway_info": {"network_id": public, "enable_snat": true,
            "external_fixed_ips": [{"subnet_id": public_subnet, "ip_address": router_address}]},
        "description": "", "availability_zones": [], "availability_zone_hints": [], "routes": [],
        "flavor_id": null,
    });
    state.put(Table::Routers, &router, owned(doc, &made));
    let port = fixed_id("port", "provider-router");
    let doc = json!({
        "id": port, "name": "", "network_id": shared, "mac_address": "fa:16:3e:00:00:01", "admin_state_up": true,
        "status": "ACTIVE", "device_id": router, "device_owner": "network:router_interface",
        "fixed_ips": [{"subnet_id": shared_subnet, "ip_address": "10.56.0.1"}], "allowed_address_pairs": [],
        "extra_dhcp_opts": [], "security_groups": [], "description": "", "binding:vnic_type": "normal",
        "port_security_enabled": false,
    });
    state.put(Table::Ports, &port, owned(doc, &made));
    state.put(Table::Addresses, &format!("{shared_subnet}/10.56.0.1"), json!({"port": port}));
}

/// Range, gateway, the provider's router, first and last address for floating IPs.
fn public_range(public: Public) -> (String, String, String, String, String) {
    let text = |one: &str| one.to_owned();
    match public {
        Public::Documentary => (
            text("129.114.24.0/22"),
            text("129.114.24.1"),
            text("129.114.24.2"),
            text("129.114.24.10"),
            text("129.114.26.250"),
        ),
        Public::Loopback([a, b]) => {
            let of = |last: &str| format!("127.{a}.{b}.{last}");
            (of("0/24"), of("254"), of("253"), of("10"), of("250"))
        }
    }
}

fn owned(mut doc: Json, made: &str) -> Json {
    let owner = provider();
    doc.set("tenant_id", owner.as_str());
    doc.set("project_id", owner);
    doc.set("tags", json!([]));
    doc.set("created_at", made);
    doc.set("updated_at", made);
    doc.set("revision_number", 1);
    doc
}
