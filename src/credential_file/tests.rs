use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn ini(name: &str, settings: &[(&str, &str)]) -> Section {
    Section::Ini { name: name.to_owned(), settings: pairs(settings) }
}

fn rendered(form: &str, name: &str, keys: &[(&str, &str)]) -> Result<Vec<String>, Unmergeable> {
    let keys: BTreeMap<&str, &str> = keys.iter().copied().collect();
    let get = |name: &str| keys.get(name).copied();
    render(form, name, Keys(&get), &[])?.iter().map(|section| section.put("")).collect()
}

const S3: &[(&str, &str)] =
    &[("access_key", "AK"), ("secret_key", "SK"), ("endpoint", "https://h:7480"), ("region", "CHI@TACC")];
const APPLICATION: &[(&str, &str)] =
    &[("id", "0a1b"), ("secret", "sEcret"), ("auth_url", "https://h:5000/v3"), ("region", "CHI@TACC")];

#[test]
fn each_form_is_as_its_program_reads_it() {
    let of = |form, name, keys| rendered(form, name, keys).unwrap();
    assert_eq!(
        of("rclone", "chi", S3),
        ["[chi]\ntype = s3\nprovider = Ceph\naccess_key_id = AK\nsecret_access_key = SK\nendpoint = https://h:7480\n"]
    );
    assert_eq!(
        of("rclone", "chi", APPLICATION),
        ["[chi]\ntype = swift\nauth_version = 3\nauth = https://h:5000/v3\napplication_credential_id = 0a1b\n\
          application_credential_secret = sEcret\nregion = CHI@TACC\n"]
    );
    assert_eq!(
        of("aws", "chi", S3),
        [
            "[chi]\naws_access_key_id = AK\naws_secret_access_key = SK\n",
            "[profile chi]\nregion = us-east-1\nendpoint_url = https://h:7480\n"
        ]
    );
    assert_eq!(of("aws", "default", S3)[1], "[default]\nregion = us-east-1\nendpoint_url = https://h:7480\n");
    assert_eq!(of("s3fs", "food", S3), ["food:AK:SK\n"]);
    assert_eq!(of("s3fs", "", S3), ["AK:SK\n"]);
    assert!(of("env", "", S3)[0].starts_with("AWS_ACCESS_KEY_ID=AK\nAWS_SECRET_ACCESS_KEY=SK\n"));
    assert!(of("openrc", "", APPLICATION)[0].contains("export OS_APPLICATION_CREDENTIAL_SECRET=sEcret\n"));
    assert_eq!(
        of("clouds", "ci", APPLICATION),
        [
            "clouds:\n  ci:\n    auth_type: v3applicationcredential\n    auth:\n      auth_url: \"https://h:5000/v3\"\n      \
          application_credential_id: \"0a1b\"\n      application_credential_secret: \"sEcret\"\n    region_name: \"CHI@TACC\"\n"
        ]
    );
    let manifest = &of("kubernetes", "lab/s3", S3)[0];
    assert!(manifest.contains("  name: s3\n  namespace: lab\n") && manifest.contains("  AWS_ACCESS_KEY_ID: QUs=\n"));
    assert_eq!(rendered("openrc", "", S3).unwrap_err().to_string(), "this form is for a sign-in: `type: application`");
    assert!(rendered("aws", "x", APPLICATION).is_err());
}

#[test]
fn settings_that_somebody_added_to_our_section_stay() {
    let text = "# mine\n[a]\ntype = s3\naccess_key_id = OLD\nchunk_size = 64Mi\n; aside\naccess_key_id = TWICE\n\n# next\n[b]\nx=1\n";
    let section = ini("a", &[("type", "s3"), ("access_key_id", "NEW"), ("endpoint", "https://h")]);
    let put = section.put(text).unwrap();
    assert_eq!(
        put,
        "# mine\n[a]\ntype = s3\naccess_key_id = NEW\nchunk_size = 64Mi\n; aside\nendpoint = https://h\n\n# next\n[b]\nx=1\n"
    );
    assert!(section.is_in(&put) && !section.is_in(text));
    assert_eq!(section.take_out(&put).unwrap(), "# mine\n\n# next\n[b]\nx=1\n");
}

#[test]
fn lines_take_the_place_of_those_before_them() {
    let section = Section::Lines(pairs(&[("A=", "1"), ("B=", "2")]));
    assert_eq!(section.put("# x\nA=0\nAB=9\nA=00").unwrap(), "# x\nA=1\nAB=9\nB=2\n");
    assert_eq!(section.take_out("# x\nA=1\nAB=9\nB=2\n").unwrap(), "# x\nAB=9\n");
    let all = Section::Lines(pairs(&[("", "AK:SK")]));
    assert_eq!(all.put("# a:b\nfood:A:B\nOLD:KEY\n").unwrap(), "# a:b\nfood:A:B\nAK:SK\n");
}

#[test]
fn what_is_no_longer_wanted_of_ones_own_goes() {
    let before = ["type", "b"].map(str::to_owned);
    let text = "[a]\ntype = s3\nb = 1\nmine = 2\n";
    assert_eq!(ini("a", &[("type", "swift")]).put_over(text, &before).unwrap(), "[a]\ntype = swift\nmine = 2\n");
    let lines = Section::Lines(pairs(&[("A=", "1")]));
    let before = ["A=", "B="].map(str::to_owned);
    assert_eq!(lines.put_over("A=0\nB=2\nMINE=3\n", &before).unwrap(), "A=1\nMINE=3\n");
}

#[test]
fn what_somebody_else_has_in_its_place_is_told() {
    let of = |section: &Section, text: &str| section.taken(text, None).unwrap();
    let aws = ini("default", &[("k", "v"), ("l", "w")]);
    for theirs in
        ["[default]\nk = other\nl = w\n", "[default]\nk = v\n", "[default]\nk=v\nl=w\nmore = 1\n", "[ default ]\n"]
    {
        assert_eq!(of(&aws, theirs).as_deref(), Some("`[default]`"), "{theirs}");
    }
    for free in ["", "[other]\nk = v\n", "# mine\n[default]\nl = w\nk=v\n\n[other]\nx = 1\n"] {
        assert_eq!(of(&aws, free), None, "{free}");
    }
    let lines = Section::Lines(pairs(&[("A=", "1"), ("export B=", "2")]));
    assert_eq!(of(&lines, "A=0\n").as_deref(), Some("`A`"));
    assert_eq!(of(&lines, "A=1\nexport B=3\n").as_deref(), Some("`B`"));
    assert_eq!(of(&lines, "A=1\nC=3\nAB=1"), None);
    assert_eq!(lines.taken("A=0\nexport B=3\n", Some(&["A=".to_owned()])).unwrap().as_deref(), Some("`B`"));
    assert_eq!(
        of(&Section::Lines(pairs(&[("", "AK:SK")])), "food:A:B\nX:Y\n").as_deref(),
        Some("the keys of all buckets")
    );
    let cloud = Section::Cloud { name: "ci".to_owned(), body: vec!["auth: { a: \"1\" }".to_owned()] };
    assert_eq!(of(&cloud, "clouds:\n  ci:\n    auth: {a: '2'}\n").as_deref(), Some("the entry `ci`"));
    assert_eq!(of(&cloud, "clouds:\n  ci:\n    auth: {a: '1'}\n  x: {}\n"), None);
    let body = "kind: Secret\nmetadata: {name: s3}\ndata: {A: QQ==}\n".to_owned();
    let secret = Section::Manifest { name: "s3".to_owned(), namespace: None, body };
    assert_eq!(of(&secret, "kind: Secret\nmetadata: {name: s3}\n").as_deref(), Some("the Secret `s3`"));
    assert_eq!(of(&secret, "kind: Secret\nmetadata: {name: s3, namespace: lab}\n"), None);
}

#[test]
fn a_manifests_name_is_a_text_whatever_it_looks_like() {
    let section = |name: &str| {
        let get = |key: &str| (key == "value").then_some("secret");
        render("kubernetes", name, Keys(&get), &pairs(&[("true", "1")])).unwrap().remove(0)
    };
    for name in ["123", "true", "1e3", "null", "no", "lab/7"] {
        let put = section(name).put("").unwrap();
        assert!(section(name).is_in(&put), "{put}");
        assert_eq!(section(name).put(&put).unwrap(), put);
        assert_eq!(section(name).take_out(&put).unwrap(), "");
        let data: serde_yaml::Value = serde_yaml::from_str(&put).unwrap();
        assert!(data["metadata"]["name"].is_string() && data["data"]["true"].is_string(), "{put}");
    }
    let unquoted = "kind: Secret\nmetadata:\n  name: 123\n";
    assert_eq!(section("123").taken(unquoted, None).unwrap().as_deref(), Some("the Secret `123`"));
    assert_eq!(section("123").take_out(unquoted).unwrap(), "");
}

#[test]
fn an_entry_of_clouds_yaml_stands_among_the_others() {
    let entry = |secret: &str| Section::Cloud {
        name: "ci".to_owned(),
        body: vec!["auth:".to_owned(), format!("  application_credential_secret: \"{secret}\"")],
    };
    let text = "# mine\ncloud_defaults: &d\n  verify: true\nclouds:\n    chi: # old\n        auth: { username: me }\n\n    # by hand\n    kvm:\n        <<: *d\n";
    let put = entry("x").put(text).unwrap();
    assert_eq!(put, format!("{text}    ci:\n      auth:\n        application_credential_secret: \"x\"\n"));
    let again = entry("y").put(&put).unwrap();
    assert_eq!(again, put.replace("\"x\"", "\"y\""));
    assert_eq!(entry("y").take_out(&again).unwrap(), text);
    for odd in ["clouds: { chi: {} }\n", "[1]\n", "clouds:\n  \"a\": 1\n b: {\n"] {
        assert!(entry("x").put(odd).is_err(), "{odd}");
    }
    let only = entry("x").put("").unwrap();
    assert_eq!(entry("x").take_out(&only).unwrap(), "");
    assert_eq!(entry("x").put("clouds:\n").unwrap(), only);
}

#[test]
fn a_manifest_stands_among_other_documents() {
    let secret = |value: &str| Section::Manifest {
        name: "s3".to_owned(),
        namespace: None,
        body: format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: s3\ndata:\n  A: {value}\n"),
    };
    let other = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: s3 } # mine\n";
    let put = secret("QQ==").put(other).unwrap();
    assert!(put.starts_with(&format!("{other}---\napiVersion")));
    assert_eq!(secret("Qg==").put(&put).unwrap(), put.replace("QQ==", "Qg=="));
    assert_eq!(secret("QQ==").take_out(&put).unwrap(), other);
    let first = secret("QQ==").put("").unwrap() + "---\n" + other;
    assert_eq!(secret("QQ==").take_out(&first).unwrap(), other);
    assert!(secret("QQ==").put("a: [\n").is_err());
}

/// The lines of an INI text that are in no section of that name, told by other means than the module's own.
fn outside(text: &str, name: &str) -> String {
    let (mut ours, mut kept, mut asides) = (false, String::new(), String::new());
    for line in text.split_inclusive('\n') {
        let bare = line.trim();
        if bare.starts_with('[') && bare.ends_with(']') {
            kept.push_str(&std::mem::take(&mut asides));
            ours = bare[1..bare.len() - 1].trim() == name;
        }
        match (ours, bare.is_empty() || bare.starts_with(['#', ';'])) {
            (false, _) => kept.push_str(line),
            (true, true) => asides.push_str(line),
            (true, false) => asides.clear(),
        }
    }
    kept + &asides
}

fn any_ini() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just("[a]\n"),
        Just("[ b ]\n"),
        Just("[c]  \n"),
        Just("# note\n"),
        Just("; note = 1\n"),
        Just("\n"),
        Just("key = value\n"),
        Just("type=swift\r\n"),
        Just("  more of it\n"),
        Just("é: ü\n"),
    ];
    (proptest::collection::vec(line, 0..14), any::<bool>()).prop_map(|(lines, whole)| {
        // A section stands once in a file that programs read.
        let mut seen: Vec<&str> = Vec::new();
        let mut text = String::new();
        for line in lines {
            if !line.starts_with('[') || !seen.contains(&line) {
                seen.push(line);
                text.push_str(line);
            }
        }
        if whole { text } else { text.trim_end_matches('\n').to_owned() }
    })
}

proptest! {
    #[test]
    fn what_is_not_ours_survives(text in any_ini(), value in "[a-z]{1,6}") {
        let section = ini("a", &[("type", "s3"), ("secret", &value)]);
        let put = section.put(&text).unwrap();
        prop_assert!(section.is_in(&put), "{put:?}");
        // A section that is new has a line end and a blank line before it, at most.
        let (before, after) = (outside(&text, "a"), outside(&put, "a"));
        prop_assert!(after.starts_with(&before) && after.trim_end() == before.trim_end(), "{before:?} {after:?}");
        let setting = format!("secret = {value}\n");
        prop_assert!(put.contains(&setting));
        let taken = section.take_out(&put).unwrap();
        prop_assert!(!section.is_in(&taken));
        prop_assert!(before.trim_end() == taken.trim_end(), "{before:?} {taken:?}");
    }

    #[test]
    fn other_lines_survive(text in "(([A-D]=[0-9]|# [A-D]=|export [A-D]=x|\\s)\n){0,9}", value in "[a-z]{1,6}") {
        let section = Section::Lines(vec![("B=".to_owned(), value)]);
        let others = |text: &str| text.split_inclusive('\n').filter(|line| !line.starts_with("B=")).collect::<String>();
        let put = section.put(&text).unwrap();
        prop_assert_eq!(others(&put), others(&text));
        prop_assert!(section.is_in(&put));
        prop_assert_eq!(section.take_out(&put).unwrap(), others(&text));
    }

    #[test]
    fn other_clouds_survive(names in proptest::collection::btree_set("[b-f]{1,3}", 1..5), comment in any::<bool>()) {
        let mut text = String::from("clouds:\n");
        for name in &names {
            let note = if comment { "  # by hand\n" } else { "" };
            text.push_str(&format!("{note}  {name}:\n    auth:\n      username: me\n\n    region_name: R\n"));
        }
        let section = Section::Cloud { name: "a".to_owned(), body: vec!["auth: {x: \"1\"}".to_owned()] };
        let put = section.put(&text).unwrap();
        prop_assert!(put.starts_with(&text) && section.is_in(&put));
        prop_assert_eq!(section.take_out(&put).unwrap(), text);
    }
}
