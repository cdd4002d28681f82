//! The table of a server's fields and attributes.

use crate::kinds::schema::{Attribute, Field, NameRule, RefChange, RefType, Schema, Type, attribute, field};

pub(super) static SCHEMA: Schema = Schema {
    kind: "server",
    section: "servers",
    doc: "A server: a virtual machine, or a bare-metal node. It may be made anew at any time; keep data on volumes.",
    fields: FIELDS,
    attributes: ATTRIBUTES,
    protect: false,
    lookup: false,
    name: NameRule::Default,
};

static FIELDS: &[Field] = &[
    field("name", Type::Text, "The name in the site, and the first host name."),
    field(
        "lease",
        Type::Ref(RefType::new("lease", RefChange::Replace)),
        "The lease it runs on: on the flavor that the lease reserves, or on one of its hosts. Give this or `flavor`.",
    ),
    field(
        "reservation",
        Type::Text,
        "Which of the lease's reservations, by name, or by position where they are an unnamed list; needed where several fit.",
    )
    .ignore(),
    field("reservation_id", Type::Text, "The id of the reservation that `reservation` names.").internal().replace(),
    field(
        "flavor",
        Type::Ref(RefType::new("flavor", RefChange::Replace).or_lookup()),
        "How large it is, `m1.medium`. On a lease of hosts it is `baremetal` unless given.",
    ),
    field(
        "image",
        Type::Ref(RefType::new("image", RefChange::Replace).or_lookup()),
        "What its root disk starts as a copy of, `CC-Ubuntu24.04`. Needed unless it boots from a volume.",
    ),
    field(
        "keypair",
        Type::Ref(RefType::new("keypair", RefChange::Order).or_lookup()),
        "The key that its login user accepts. It counts when the server is made; a change waits for the next time.",
    ),
    field(
        "networks",
        Type::List(&Type::Short("network", NETWORK)),
        "The networks it is on, in the order of its interfaces: `[sharednet1]`, or `[{ network: private, fixed_ip: 192.168.1.11 }]`.",
    )
    .required()
    .replace(),
    field("ports", Type::List(&Type::Ref(RefType::new("port", RefChange::Replace).accepted())), "The ports made for `networks`.").internal(),
    field(
        "security_groups",
        Type::Set(&Type::Ref(RefType::new("security_group", RefChange::Update).or_lookup())),
        "The security groups on its ports; the site's `default` if absent, none at all if empty. Changed in place.",
    ),
    field(
        "user_data",
        Type::TextOrFile,
        "What cloud-init runs at the first boot: a script or `#cloud-config`, as text or the path to a file.",
    )
    .replace()
    .write_only(),
    field("metadata", Type::Map(&Type::Text), "Keys and values of your own. Keys that others set are left alone."),
    field("availability_zone", Type::Text, "The availability zone to run in; the site's choice if absent.").replace(),
    field("config_drive", Type::Bool, "Whether cloud-init's data is on a disk of its own, for networks without DHCP.").replace(),
    field("scheduler_hints", Type::Map(&Type::Text), "Hints to the scheduler, such as `group` or `different_host`.").replace(),
    field("boot_volume", Type::Struct(BOOT_VOLUME), "Boots from a volume: a new one of a `size`, or a `volume` that is there.")
        .replace(),
    field("ssh", Type::Struct(SSH), "How it is logged in to; what it leaves out is as `defaults.ssh` says.").record(),
    field(
        "on_image_change",
        Type::Enum(&["recreate", "rebuild"]),
        "What a change of `image` does. `recreate`, the default: the server is made anew. `rebuild`: it stays, with its ports, and its \
         root disk is erased.",
    )
    .ignore(),
];

static NETWORK: &[Field] = &[
    field(
        "network",
        Type::Ref(RefType::new("network", RefChange::Replace).or_lookup()),
        "The network, declared or by its name or id in the site.",
    )
    .required(),
    field("fixed_ip", Type::Ip, "The server's address on it; the site's choice if absent."),
];

/// How a server is logged in to; `defaults.ssh` takes the same.
pub static SSH: &[Field] = &[
    field("user", Type::Text, "The user to log in as; else the one of your ssh config, else `cc`."),
    field(
        "identity_file",
        Type::LocalPath,
        "Your private key's file, `~/.ssh/id_ed25519`; else your agent's and default keys.",
    ),
    field("port", Type::Int(1, 65535), "The port; else 22."),
    field("host", Type::Text, "The address; else its floating IP, else its first fixed address."),
    field("jump", Type::Text, "The hosts to go through, as `ssh -J` takes them: `cc@129.114.1.2`."),
    field("timeout", Type::Duration, "How long it may take from its creation to its first log-in; else `10m`."),
];

static BOOT_VOLUME: &[Field] = &[
    field("size", Type::Size, "The size of a new volume made of `image`, `60GiB`."),
    field("type", Type::Text, "The new volume's type, `ceph-ssd`."),
    field(
        "delete_on_termination",
        Type::Bool,
        "Whether the new volume is deleted with the server; it is unless this is `false`. Then it is yours to delete.",
    ),
    field(
        "volume",
        Type::Ref(RefType::new("volume", RefChange::Replace)),
        "A declared volume that was made of an image, instead of a new one. It outlives the server.",
    ),
];

static ATTRIBUTES: &[Attribute] = &[
    attribute("id", "The server's id."),
    attribute("address", "Its first fixed IPv4 address, by the name of the network."),
    attribute("addresses", "All its addresses: by network, a list of `addr`, `version`, `type` and `mac`."),
    attribute("status", "Nova's word for its state, `ACTIVE` when it runs."),
    attribute("host", "A word for the machine it runs on, the same for servers of yours on the same one."),
    attribute("own_volumes", "The ids of volumes that are deleted with it."),
];
