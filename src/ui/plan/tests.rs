use super::*;
use crate::kinds::schema::{NameRule, OnChange, RefChange, RefType, Type, field};
use crate::model::{Fields, Reference, RemoteId, SiteAlias, SiteIdentity, Target};
use crate::plan::Note;
use crate::state::Origin;

/// An action with nothing but what every action has.
pub(crate) fn action(address: &str, kind: &str, verb: Verb, reasons: Vec<Reason>) -> Action {
    Action {
        address: address.parse().unwrap(),
        kind: kind.to_owned(),
        site: SiteAlias::from("kvm"),
        verb,
        reasons,
        changes: Vec::new(),
        fields: Fields::new(),
        wanted: Fields::new(),
        id: None,
        live: Fields::new(),
        applied: Fields::new(),
        origin: Origin::Created,
        protect: false,
        needs: Vec::new(),
        data_loss: None,
        in_guest: Vec::new(),
        recorded_only: false,
    }
}

/// A plan of these actions on one site.
pub(crate) fn plan(actions: impl IntoIterator<Item = Action>) -> Plan {
    let site = SiteIdentity {
        auth_url: "https://kvm.example:5000".to_owned(),
        region: "KVM@TACC".to_owned(),
        project_id: "p1".to_owned(),
        project_name: "CHI-000001".to_owned(),
        user_id: "u1".to_owned(),
        user_name: "alice".to_owned(),
    };
    Plan {
        stack: "block".to_owned(),
        lineage: "0123456789abcdef".to_owned(),
        serial: 4,
        mode: Mode::Apply,
        at: "2026-11-20T16:00:00Z".parse().unwrap(),
        sites: BTreeMap::from([(SiteAlias::from("kvm"), site)]),
        variables: BTreeMap::new(),
        renames: Vec::new(),
        actions: actions.into_iter().map(|action| (action.address.clone(), action)).collect(),
        steps: Vec::new(),
        edges: Vec::new(),
        outputs: BTreeMap::new(),
    }
}

static RESERVATION: [Field; 3] = [
    field("name", Type::Text, "The name."),
    field("flavor", Type::Text, "The flavor."),
    field("amount", Type::Int(1, 100), "How many."),
];
static LEASE: Schema = schema(
    "lease",
    &[
        field("duration", Type::Duration, "How long."),
        field("reservations", Type::NamedList(&Type::Struct(&RESERVATION)), "What."),
        field("resolved_flavor", Type::Text, "The flavor's id.").internal(),
    ],
);
static VOLUME: Schema = schema("volume", &[field("size", Type::Size, "How big."), field("type", Type::Text, "Which.")]);
static SERVER: Schema = schema(
    "server",
    &[
        field("image", Type::Ref(RefType::new("image", RefChange::Replace).or_lookup()), "The image."),
        field("user_data", Type::TextOrFile, "For cloud-init.").replace(),
        Field { sensitive: true, change: OnChange::Update, ..field("password", Type::Text, "For the console.") },
    ],
);

const fn schema(kind: &'static str, fields: &'static [Field]) -> Schema {
    Schema {
        kind,
        section: "",
        doc: "",
        fields,
        attributes: &[],
        protect: false,
        lookup: false,
        name: NameRule::Default,
    }
}

fn table(kind: &str) -> Option<&'static Schema> {
    [&LEASE, &VOLUME, &SERVER].into_iter().find(|schema| schema.kind == kind)
}

fn view<'a>(variables: &'a [VariableChange]) -> PlanView<'a> {
    PlanView { schema: &table, variables, width: 80, full: false }
}

fn text(plan: &Plan, report: &Report) -> String {
    render_plan(plan, report, &Styles::plain(), &view(&[]))
}

fn fields<const N: usize>(fields: [(&str, Value); N]) -> Fields {
    fields.map(|(name, value)| (name.to_owned(), value)).into()
}

fn change(field: &str, before: Value, after: Value, effect: Effect) -> FieldChange {
    FieldChange { field: field.to_owned(), before, after, effect, note: None }
}

fn image(name: &str, id: &str) -> Value {
    let target = Target::Lookup(name.to_owned());
    Value::Ref(Reference { kind: "image".to_owned(), target, id: Some(RemoteId::from(id)) })
}

#[test]
fn a_first_apply_shows_what_is_asked_for() {
    let mut lease = action("leases.block", "lease", Verb::Create, vec![Reason::New]);
    let node = fields([("name", "node".into()), ("flavor", "m1.medium".into()), ("amount", Value::Int(1))]);
    lease.fields = fields([
        ("duration", Value::Int(14_400)),
        ("name", "block-ab1".into()),
        ("reservations", Value::List(vec![Value::Map(node)])),
        ("resolved_flavor", "42".into()),
    ]);
    let mut volume = action("volumes.data", "volume", Verb::Create, vec![Reason::New]);
    volume.fields = fields([("size", Value::Int(2)), ("type", "ceph-ssd".into()), ("description", Value::Null)]);
    let mut server = action("servers.node-block", "server", Verb::Create, vec![Reason::New]);
    server.fields = fields([
        ("image", image("CC-Ubuntu24.04", "i-24")),
        ("flavor", Value::Unknown("leases.block".parse().unwrap())),
        ("password", "hunter2".into()),
    ]);
    let port = action("servers.node-block/port[sharednet1]", "port", Verb::Create, vec![Reason::New]);
    let mut attachment = action("attachments.data", "attachment", Verb::Create, vec![Reason::New]);
    attachment.recorded_only = true;
    attachment.in_guest = vec!["make an ext4 filesystem, mount it at /mnt/block".to_owned()];
    let report = Report {
        notes: vec![Note {
            warning: false,
            address: Some("leases.block".parse().unwrap()),
            text: "ends in 4 h".to_owned(),
        }],
    };
    insta::assert_snapshot!(text(&plan([lease, volume, server, port, attachment]), &report), @r#"
    Stack block on kvm = KVM@TACC, project CHI-000001, user alice

      + leases.block  create: new
          name:         block-ab1
          duration:     4h
          reservations: [{ name: node, flavor: m1.medium, amount: 1 }]

      + volumes.data  create: new
          size: 2 GiB
          type: ceph-ssd

      + servers.node-block  create: new
          image:    CC-Ubuntu24.04
          password: (sensitive)
          flavor:   (known after apply)
            + port[sharednet1]  create: new

      + attachments.data  create: new
          recorded, not carried out: make an ext4 filesystem, mount it at /mnt/block

    Note: leases.block: ends in 4 h

    Plan: 4 to create, 0 to change, 0 to replace, 0 to delete.
    "#);
}

#[test]
fn a_recreation_by_one_edit_gives_every_reason() {
    let replaced =
        || Reason::TargetReplaced { target: "servers.node-block".parse().unwrap(), kind: "server".to_owned() };
    let mut server =
        action("servers.node-block", "server", Verb::Replace, vec![Reason::Changed { field: "image".to_owned() }]);
    server.applied = fields([("image", image("CC-Ubuntu22.04", "i-22"))]);
    server.id = Some("s-1".into());
    server.changes =
        vec![change("image", Value::live("image", "i-22"), image("CC-Ubuntu24.04", "i-24"), Effect::Replace)];
    let owner = Reason::OwnerReplaced { owner: "servers.node-block".parse().unwrap(), kind: "server".to_owned() };
    let port = action("servers.node-block/port[sharednet1]", "port", Verb::Replace, vec![owner]);
    let mut ip = action("floating_ips.node-block", "floating_ip", Verb::Update, vec![replaced()]);
    let target = Target::Resource("servers.node-block".parse().unwrap());
    let new_server = Value::Ref(Reference { kind: "server".to_owned(), target, id: None });
    ip.changes = vec![change("server", Value::live("server", "s-1"), new_server, Effect::Update)];
    let attachment = action("attachments.data", "attachment", Verb::Replace, vec![replaced()]);
    let lease = action("leases.block", "lease", Verb::Keep, vec![]);
    let volume = Action { protect: true, ..action("volumes.data", "volume", Verb::Keep, vec![]) };
    insta::assert_snapshot!(text(&plan([server, port, ip, attachment, volume, lease]), &Report::default()), @r#"
    Stack block on kvm = KVM@TACC, project CHI-000001, user alice

    -/+ servers.node-block  replace: image changed
          image: CC-Ubuntu22.04 -> CC-Ubuntu24.04  (needs a new object)
          -/+ port[sharednet1]  replace: its server `node-block` is replaced

      ~ floating_ips.node-block  update in place: server `node-block` is replaced
          server: servers.node-block (s-1) -> servers.node-block (known after apply)

    -/+ attachments.data  replace: server `node-block` is replaced

    Untouched: volumes.data, leases.block.

    Plan: 0 to create, 1 to change, 2 to replace, 0 to delete.
    "#);
}

#[test]
fn long_text_is_compared_line_by_line_with_the_changed_words_marked() {
    let before = "#cloud-config\npackages:\n  - git\n  - curl\nruncmd:\n  - echo one\n  - echo two\n  - echo three\n";
    let after = "#cloud-config\npackages:\n  - git\n  - wget\nruncmd:\n  - echo one\n  - echo two\n  - echo three\n";
    let mut server =
        action("servers.node", "server", Verb::Replace, vec![Reason::Changed { field: "user_data".to_owned() }]);
    server.changes = vec![
        change("user_data", before.into(), after.into(), Effect::Replace),
        change("password", "hunter2".into(), "hunter3".into(), Effect::Update),
    ];
    server.data_loss = Some("the root disk of servers.node".to_owned());
    let plan = plan([server]);
    insta::assert_snapshot!(text(&plan, &Report::default()), @r#"
    Stack block on kvm = KVM@TACC, project CHI-000001, user alice

    -/+ servers.node  replace: user_data changed
          user_data:  (needs a new object)
              packages:
                - git
            -   - curl
            +   - wget
              runcmd:
                - echo one
          password: (sensitive) -> (sensitive)
          DATA LOSS: the root disk of servers.node

    DATA LOSS: this plan loses data of servers.node.
    Plan: 0 to create, 0 to change, 1 to replace, 0 to delete.
    "#);

    let coloured = render_plan(&plan, &Report::default(), &Styles::coloured(), &view(&[]));
    assert!(coloured.contains("\u{1b}[1m\u{1b}[4m\u{1b}[31m") || coloured.contains("\u{1b}[31m"), "{coloured:?}");
    assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), text(&plan, &Report::default()));
    assert!(!coloured.contains("hunter"));
}

#[test]
fn a_destroy_keeps_what_is_protected_and_reads_backwards() {
    let mut data = action("volumes.data", "volume", Verb::Hold, vec![Reason::Protected]);
    data.id = Some("v-1".into());
    let mut scratch = action("volumes.scratch", "volume", Verb::Delete, vec![Reason::Destroyed]);
    scratch.id = Some("v-2".into());
    scratch.data_loss = Some("2 GiB on volume v-2".to_owned());
    let server = action("servers.node", "server", Verb::Delete, vec![Reason::Destroyed]);
    let lease = action("leases.block", "lease", Verb::Delete, vec![Reason::Destroyed]);
    let keypair = action("keypairs.laptop", "keypair", Verb::Release, vec![Reason::Destroyed]);
    let plan = Plan { mode: Mode::Destroy, ..plan([data, scratch, server, lease, keypair]) };
    insta::assert_snapshot!(text(&plan, &Report::default()), @r#"
    Stack block on kvm = KVM@TACC, project CHI-000001, user alice

      - servers.node  delete: destroy

      = volumes.data  kept (protected)

      - volumes.scratch  delete: destroy
          id: v-2
          DATA LOSS: 2 GiB on volume v-2

      > keypairs.laptop  release, do not delete: destroy

      - leases.block  delete: destroy

    DATA LOSS: this plan loses data of volumes.scratch.
    Plan: 0 to create, 0 to change, 0 to replace, 3 to delete, 1 to release, 1 kept (protected).
    "#);
}

#[test]
fn nothing_to_do_says_so_in_one_line() {
    let plan = plan([
        action("volumes.data", "volume", Verb::Keep, vec![]),
        action("volumes.old", "volume", Verb::Hold, vec![Reason::Protected]),
    ]);
    insta::assert_snapshot!(text(&plan, &Report::default()), @r#"
    Stack block on kvm = KVM@TACC, project CHI-000001, user alice

      = volumes.old  kept (protected)

    No changes. The cloud matches the spec. 1 kept (protected).
    "#);
}

#[test]
fn changed_variables_and_a_part_alone_are_shown() {
    let mut subnet =
        action("networks.private/subnet[a]", "subnet", Verb::Update, vec![Reason::Drifted { field: "dns".to_owned() }]);
    subnet.changes = vec![change("dns", Value::List(vec![]), Value::List(vec!["1.1.1.1".into()]), Effect::Update)];
    let network = action("networks.private", "network", Verb::Keep, vec![]);
    let before = BTreeMap::from([("net_id".to_owned(), Json::from("ab1")), ("n".to_owned(), Json::from(1))]);
    let after = BTreeMap::from([("net_id".to_owned(), Json::from("ab2")), ("n".to_owned(), Json::from(1))]);
    let changes = VariableChange::between(&before, &after);
    let shown = render_plan(&plan([network, subnet]), &Report::default(), &Styles::plain(), &view(&changes));
    insta::assert_snapshot!(shown, @r#"
    Stack block on kvm = KVM@TACC, project CHI-000001, user alice

    Variables changed since the last apply:
      net_id: "ab1" -> "ab2"

        networks.private  unchanged
            ~ subnet[a]  update in place: dns was changed outside anole  dns [] -> [1.1.1.1]

    Plan: 0 to create, 0 to change, 0 to replace, 0 to delete, 1 part of an unchanged resource to change.
    "#);
}
