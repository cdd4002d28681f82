//! What a spec becomes, and what people read about one that is wrong.

use proptest::prelude::*;

use super::*;
use crate::diagnostic::{Sources, render};
use crate::spec::{CloudRef, Repeat, yaml};

mod files;

const KINDS: &[&str] = &["leases", "keypairs", "networks", "servers", "floating_ips", "volumes", "attachments"];

/// Parses files of these texts, `a.yaml`, `b.yaml`, …; the diagnostics as they are shown.
fn read(texts: &[&str]) -> (Spec, String) {
    let mut diagnostics = Diagnostics::default();
    let mut sources = Sources::default();
    let mut files = Vec::new();
    for (name, text) in ('a'..='z').zip(texts) {
        let file = sources.add(format!("{name}.yaml").into(), (*text).to_owned());
        files.extend(yaml::parse(file, text, &mut diagnostics).map(|node| (file, node)));
    }
    let complete = files.len() == texts.len();
    let loaded = Loaded { sources, files, complete, folder: "specs".into(), given: Vec::new() };
    let spec = parse(&loaded, KINDS, &mut diagnostics);
    (spec, render(&diagnostics.sorted(), &loaded.sources, false, 100))
}

fn good(texts: &[&str]) -> Spec {
    let (spec, found) = read(texts);
    assert_eq!(found, "");
    spec
}

fn wrong(texts: &[&str]) -> String {
    read(texts).1
}

#[test]
fn files_are_merged_in_their_order() {
    let spec = good(&[
        "stack: block
variables:
  id: { required: true, pattern: '^[a-z]+$', description: your id }
  n: { default: 3 }
  maybe: { required: false, sensitive: true }
sites:
  kvm: { cloud: kvm_tacc, region: KVM@TACC }
  chi: { chameleon: CHI@TACC }
  here: { cloud: env }
defaults: { site: kvm, name: '${key}', ssh: { user: cc } }
servers:
  node:
    count: ${var.n}
    name: n-${index}
    image: i
    was: servers.old[0]
    depends_on: [networks.net]
    ignore_changes: [image]
    flavor: f
networks:
",
        "stack: block
volumes:
  data: { size: 2GiB, protect: false, adopt: x, site: chi, for_each: { a: 1, 2: b } }
  none:
outputs: { ip: '${servers.node[0].address}' }
",
    ]);
    assert_eq!(spec.stack.value, "block");
    assert_eq!(
        spec.blocks.iter().map(|block| block.address.to_string()).collect::<Vec<_>>(),
        ["servers.node", "volumes.data", "volumes.none"]
    );
    let node = &spec.blocks[0];
    assert_eq!(node.fields.iter().map(|(key, _)| key.text.as_str()).collect::<Vec<_>>(), ["image", "flavor"]);
    assert!(matches!(node.repeat, Repeat::Count(_)));
    assert_eq!(node.was.as_ref().map(|was| was.value.to_string()).as_deref(), Some("servers.old[0]"));
    assert_eq!(node.depends_on[0].value.to_string(), "networks.net");
    let data = &spec.blocks[1];
    assert_eq!((data.protect, data.site.as_ref().map(|site| site.value.as_str())), (Some(false), Some("chi")));
    assert!(matches!(data.repeat, Repeat::ForEach(_)));
    assert_eq!(spec.sites[&SiteAlias("here".into())].cloud, CloudRef::Env);
    let required = |name: &str| spec.variables[name].required;
    assert_eq!((required("id"), required("n"), required("maybe")), (true, false, false));
    assert_eq!(spec.outputs.len(), 1);
}

#[test]
fn sections_and_fields_that_do_not_exist_are_offered_others() {
    let found = wrong(&["stack: s
sevrers: {}
frobnicate: 1
sites: { kvm: { clowd: x } }
defaults: { sit: kvm }
variables: { x: { defualt: 1 } }
"]);
    insta::assert_snapshot!(found, @"
    error[unknown-section]: `sevrers` is no section of a spec
     --> a.yaml:2:1
      |
    2 | sevrers: {}
      | ^^^^^^^
      |
      = help: did you mean `servers`?

    error[unknown-section]: `frobnicate` is no section of a spec
     --> a.yaml:3:1
      |
    3 | frobnicate: 1
      | ^^^^^^^^^^
      |
      = help: the sections are stack, variables, sites, defaults, outputs, leases, keypairs, networks, servers, floating_ips, volumes, attachments

    error[unknown-field]: the site `kvm` has no field `clowd`
     --> a.yaml:4:17
      |
    4 | sites: { kvm: { clowd: x } }
      |                 ^^^^^
      |
      = help: did you mean `cloud`?

    error[unknown-field]: `defaults` has no field `sit`
     --> a.yaml:5:13
      |
    5 | defaults: { sit: kvm }
      |             ^^^
      |
      = help: did you mean `site`?

    error[unknown-field]: a variable has no field `defualt`
     --> a.yaml:6:19
      |
    6 | variables: { x: { defualt: 1 } }
      |                   ^^^^^^^
      |
      = help: did you mean `default`?
    ");
}

#[test]
fn wrong_types_say_what_was_expected() {
    let found = wrong(&["stack: 12
servers:
  a: { count: many, name: 5, protect: no }
  b: [image]
  c: { for_each: 3, depends_on: servers.a, count: 1 }
  d: { count: -1 }
volumes: [data]
sites: { kvm: kvm_tacc }
"]);
    insta::assert_snapshot!(found, @r"
    error[wrong-type]: `stack` is text, found a whole number
     --> a.yaml:1:8
      |
    1 | stack: 12
      |        ^^
      |
      = help: put it in quotes

    error[wrong-type]: `count` is a whole number, found text
     --> a.yaml:3:15
      |
    3 |   a: { count: many, name: 5, protect: no }
      |               ^^^^
      |
      = help: write digits, or `${var.NAME}`

    error[wrong-type]: `name` is text, found a whole number
     --> a.yaml:3:27
      |
    3 |   a: { count: many, name: 5, protect: no }
      |                           ^
      |
      = help: put it in quotes

    error[wrong-type]: `protect` is `true` or `false`, found text
     --> a.yaml:3:39
      |
    3 |   a: { count: many, name: 5, protect: no }
      |                                       ^^
      |
      = help: `no` is text in YAML 1.2; write `false`

    error[wrong-type]: `servers.b` is a mapping, found a list
     --> a.yaml:4:7
      |
    4 |   b: [image]
      |       ^^^^^

    error[wrong-type]: `for_each` is a mapping or a list of texts, found a whole number
     --> a.yaml:5:18
      |
    5 |   c: { for_each: 3, depends_on: servers.a, count: 1 }
      |                  ^
      |
      = help: write { KEY: VALUE, … }, [KEY, …], or `${var.NAME}`

    error[wrong-type]: `depends_on` is a list, found text
     --> a.yaml:5:33
      |
    5 |   c: { for_each: 3, depends_on: servers.a, count: 1 }
      |                                 ^^^^^^^^^
      |
      = help: write [SECTION.NAME, …]

    error[count-and-for-each]: a block has `count` or `for_each`, not both
     --> a.yaml:5:44
      |
    5 |   c: { for_each: 3, depends_on: servers.a, count: 1 }
      |        -------- and here                   ^^^^^

    error[bad-value]: `count` is between 0 and 10000
     --> a.yaml:6:15
      |
    6 |   d: { count: -1 }
      |               ^^

    error[wrong-type]: `volumes` is a mapping of names, found a list
     --> a.yaml:7:11
      |
    7 | volumes: [data]
      |           ^^^^
      |
      = help: write `volumes: { NAME: … }`, or the names on lines of their own

    error[wrong-type]: the site `kvm` is a mapping, found text
     --> a.yaml:8:15
      |
    8 | sites: { kvm: kvm_tacc }
      |               ^^^^^^^^
      |
      = help: write `kvm: { cloud: NAME }`, with a name of your clouds.yaml
    ");
}

#[test]
fn names_declared_twice_show_both_places() {
    let found = wrong(&[
        "stack: one\nservers:\n  node: {}\n  a.b: {}\n  'x y': {}\n",
        "stack: two\n\nservers:\n\n  node: {}\n",
    ]);
    insta::assert_snapshot!(found, @r"
    error[bad-name]: a name may not hold `.`, which separates it from its attributes in `${servers.name.id}`
     --> a.yaml:4:3
      |
    4 |   a.b: {}
      |   ^^^

    error[bad-name]: a name may not hold blanks: names become host names and are typed in commands
     --> a.yaml:5:3
      |
    5 |   'x y': {}
      |   ^^^^^

    error[stack-mismatch]: these files are of two stacks, `one` and `two`
     --> b.yaml:1:8
      |
    1 | stack: two
      |        ^^^ another name here
      |
     ::: a.yaml:1:8
      |
    1 | stack: one
      |        --- the first name
      |
      = help: plan them one at a time

    error[declared-twice]: `servers.node` is declared twice
     --> b.yaml:5:3
      |
    5 |   node: {}
      |   ^^^^ again here
      |
     ::: a.yaml:3:3
      |
    3 |   node: {}
      |   ---- first here
      |
      = help: rename one, or remove it
    ");
}

#[test]
fn addresses_and_keys_are_checked() {
    let found = wrong(&["stack: s
servers:
  a: { was: old, depends_on: [leases.l, lease.l, 'servers.a b', servers.a/port] }
  b: { was: volumes.b, for_each: { 'x]': 1 } }
  c: { for_each: [a, a] }
"]);
    insta::assert_snapshot!(found, @r"
    error[bad-address]: `old` is a name, not an address
     --> a.yaml:3:13
      |
    3 |   a: { was: old, depends_on: [leases.l, lease.l, 'servers.a b', servers.a/port] }
      |             ^^^
      |
      = help: write the section too, as in `servers.old`

    error[bad-address]: `lease.l` names no section: there is no `lease`
     --> a.yaml:3:41
      |
    3 |   a: { was: old, depends_on: [leases.l, lease.l, 'servers.a b', servers.a/port] }
      |                                         ^^^^^^^
      |
      = help: did you mean `leases`?

    error[bad-address]: `servers.a b` is not an address
     --> a.yaml:3:50
      |
    3 |   a: { was: old, depends_on: [leases.l, lease.l, 'servers.a b', servers.a/port] }
      |                                                  ^^^^^^^^^^^^^
      |
      = help: write SECTION.NAME, or SECTION.NAME[KEY]

    error[bad-address]: `servers.a/port` is a part of another resource
     --> a.yaml:3:65
      |
    3 |   a: { was: old, depends_on: [leases.l, lease.l, 'servers.a b', servers.a/port] }
      |                                                                 ^^^^^^^^^^^^^^
      |
      = help: name `servers.a`

    error[bad-address]: `volumes.b` was never one of `servers`
     --> a.yaml:4:13
      |
    4 |   b: { was: volumes.b, for_each: { 'x]': 1 } }
      |             ^^^^^^^^^
      |
      = help: a rename stays in its section; another kind is another object

    error[bad-name]: a key of `for_each` may not hold `]`: it stands between brackets in addresses
     --> a.yaml:4:36
      |
    4 |   b: { was: volumes.b, for_each: { 'x]': 1 } }
      |                                    ^^^^

    error[duplicate-key]: the key `a` stands twice
     --> a.yaml:5:22
      |
    5 |   c: { for_each: [a, a] }
      |                   -  ^ again here
      |                   |
      |                   first here
    ");
}

#[test]
fn guests_are_of_the_clouds_that_have_them() {
    let found = wrong(&["stack: s
sites:
  real: { cloud: kvm, guests: qemu }
  paper: { embedded: chameleon-kvm, guests: ssh }
  typo: { cloud: kvm, guests: shh }
  fine: { embedded: chameleon-kvm, guests: qemu }
  plain: { embedded: chameleon-kvm, guests: none }
  quiet: { cloud: env, guests: none }
  usual: { chameleon: CHI@TACC, guests: ssh }
"]);
    insta::assert_snapshot!(found, @r"
    error[bad-site]: the site `real` is a real cloud, whose servers run there and not in QEMU on this computer
     --> a.yaml:3:31
      |
    3 |   real: { cloud: kvm, guests: qemu }
      |                               ^^^^
      |
      = help: write `guests: ssh`, or make the site an `embedded` one

    error[bad-site]: the servers of the site `paper` exist only on paper, unless QEMU runs them
     --> a.yaml:4:45
      |
    4 |   paper: { embedded: chameleon-kvm, guests: ssh }
      |                                             ^^^
      |
      = help: write `guests: qemu`, or `guests: none`

    error[bad-value]: `shh` is no way to reach a server's inside
     --> a.yaml:5:31
      |
    5 |   typo: { cloud: kvm, guests: shh }
      |                               ^^^
      |
      = help: did you mean `ssh`?
    ");
}

#[test]
fn declarations_must_make_sense() {
    let found = wrong(&["stack: s
variables:
  a b: {}
  p: { pattern: '[a' }
  q: { type: strng, required: true, default: x }
sites:
  both: { cloud: a, embedded: b }
  none: { region: r }
  kvm: { cloud: kvm }
defaults: { site: kvn }
"]);
    insta::assert_snapshot!(found, @r"
    error[bad-name]: a variable's name is letters, digits, `_` and `-`, and starts with a letter or `_`
     --> a.yaml:3:3
      |
    3 |   a b: {}
      |   ^^^

    error[bad-pattern]: the pattern is no regular expression
     --> a.yaml:4:17
      |
    4 |   p: { pattern: '[a' }
      |                 ^^^^ unclosed character class

    error[bad-value]: `strng` is no type of a variable
     --> a.yaml:5:14
      |
    5 |   q: { type: strng, required: true, default: x }
      |              ^^^^^
      |
      = help: did you mean `string`?

    error[bad-value]: a variable with a `default` is never required
     --> a.yaml:5:31
      |
    5 |   q: { type: strng, required: true, default: x }
      |                               ^^^^
      |
      = help: remove one of the two

    error[bad-site]: the site `both` is either `cloud` or `embedded`, not both
     --> a.yaml:7:21
      |
    7 |   both: { cloud: a, embedded: b }
      |           -----     ^^^^^^^^
      |           |
      |           and here
      |
      = help: declare a second site

    error[bad-site]: the site `none` does not say which cloud it is
     --> a.yaml:8:3
      |
    8 |   none: { region: r }
      |   ^^^^
      |
      = help: write `cloud: NAME` for an entry of clouds.yaml, `cloud: env` for OS_*, `chameleon: CHI@TACC`, or `embedded: chameleon-kvm`

    error[unknown-site]: no site `kvn` is declared
      --> a.yaml:10:19
       |
    10 | defaults: { site: kvn }
       |                   ^^^
       |
       = help: did you mean `kvm`?
    ");
}

#[test]
fn a_spec_names_its_stack() {
    insta::assert_snapshot!(wrong(&[""]), @r"
    error[empty-file]: the file is empty, and a spec needs at least `stack:`
     --> a.yaml:1:1
      |
    1 |
      | ^
      |
      = help: a spec starts with `stack: NAME`, which names its state
    ");
    insta::assert_snapshot!(wrong(&["# to do\nservers: {}\n", ""]), @r"
    error[missing-stack]: the spec does not say which stack it is
     --> a.yaml:2:1
      |
    2 | servers: {}
      | ^^^^^^^
      |
      = help: add `stack: NAME`; it names the state, `state/NAME.json`

    warning[empty-file]: the file is empty
     --> b.yaml:1:1
      |
    1 |
      | ^
    ");
    insta::assert_snapshot!(wrong(&["- a\n"]), @r"
    error[wrong-type]: a spec is a mapping of sections, found a list
     --> a.yaml:1:3
      |
    1 | - a
      |   ^
      |
      = help: write `stack: NAME`, then sections
    ");
}

#[test]
fn broken_yaml_is_told_in_words() {
    let found = wrong(&[
        "stack: s\nservers:\n  a:\n\t  image: x\n",
        "stack: \"s\nservers: {}\n",
        "stack: s\nservers:\n  a: {image: x\n  b: {}\n",
        "stack: s\nstack: t\nx: !!python/name:os.system y\n",
        "a: [*b]\n",
    ]);
    insta::assert_snapshot!(found, @r#"
    error[tab-indentation]: a tab may not indent YAML
     --> a.yaml:4:1
      |
    4 |       image: x
      | ^^^^
      |
      = help: indent with spaces

    error[yaml-syntax]: a quoted text is not closed, or goes on with too little indentation
     --> b.yaml:1:8
      |
    1 | stack: "s
      |        ^
      |
      = help: close it with the same quote, or indent its next line more

    error[yaml-syntax]: a `,` or `}` is missing before this
     --> c.yaml:4:4
      |
    3 |   a: {image: x
      |      - this bracket is still open
    4 |   b: {}
      |    ^
      |
      = help: a text that holds `,`, `{`, `}` or `: ` needs quotes in here

    error[duplicate-key]: `stack` stands twice in this mapping
     --> d.yaml:2:1
      |
    1 | stack: s
      | ----- first here
    2 | stack: t
      | ^^^^^ again here

    error[unknown-section]: `x` is no section of a spec
     --> d.yaml:3:1
      |
    3 | x: !!python/name:os.system y
      | ^
      |
      = help: the sections are stack, variables, sites, defaults, outputs, leases, keypairs, networks, servers, floating_ips, volumes, attachments

    error[unknown-tag]: the tag `!!python/name:os.system` means nothing in a spec
     --> d.yaml:3:4
      |
    3 | x: !!python/name:os.system y
      |    ^^^^^^^^^^^^^^^^^^^^^^^
      |
      = help: remove it; `!!str` is the tag that makes a number text

    error[unknown-anchor]: `*b` names no anchor before it
     --> e.yaml:1:5
      |
    1 | a: [*b]
      |     ^
      |
      = help: mark the value to repeat with `&name`; a text that starts with `*` needs quotes
    "#);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever stands where, there is a spec, and a reason if it is not what was written.
    #[test]
    fn any_tree_is_parsed(lines in prop::collection::vec((0_usize..4, prop::sample::select(vec![
        "stack", "variables", "sites", "defaults", "outputs", "servers", "volumes", "count", "for_each", "was", "site",
        "depends_on", "protect", "default", "type", "pattern", "cloud", "ssh", "a", "b.c", "1", "é",
    ]), prop::sample::select(vec!["", " a", " 1", " -1", " true", " [a, 1]", " {a: 1}", " ${x", " servers.a", " '['", " no"])), 0..12)) {
        let text: String = lines.iter().map(|(indent, key, value)| format!("{}{key}:{value}\n", "  ".repeat(*indent))).collect();
        let (spec, found) = read(&[&text]);
        prop_assert!(!spec.stack.value.is_empty() || !found.is_empty(), "{text}");
    }
}
