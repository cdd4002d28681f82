//! From a block of a spec to a job, and what a block may not say.

use std::path::PathBuf;

use super::delivery::{Around, Staged, delivery, job, keys, remember};
use super::{RECORDED, here};
use crate::dataset::delivery::Delivered;
use crate::dataset::job::Origin;
use crate::dataset::{Recorded, Sha256, recipe};
use crate::model::{Fields, Value};
use crate::plan::tests::kit::{desired, resolved};

const BUCKET: &str = "load: { bucket: { existing: food11 }, prefix: Food-11 }";

fn spec(block: &str) -> String {
    let lines: String = block.lines().map(|line| format!("    {line}\n")).collect();
    format!("buckets:\n  food11: {{ name: object-chi-netid }}\ndatasets:\n  food11:\n{lines}")
}

fn fields(block: &str) -> Fields {
    let desired = desired(&spec(block));
    desired.resources.values().find(|resource| resource.kind.starts_with("dataset")).unwrap().fields.clone()
}

fn pretty(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

fn mistakes(block: &str) -> String {
    resolved(&spec(block)).unwrap_err()
}

const AROUND: Around<'_> = Around { staging: &at, trusted: None };

fn at(staged: Staged<'_>) -> Result<PathBuf, String> {
    Ok(match staged {
        Staged::At(path) => path.into(),
        Staged::Of(name) => format!("/home/me/.cache/{name}").into(),
    })
}

#[test]
fn a_block_becomes_a_job() {
    let fields = fields(&format!(
        "source: {{ url: \"https://example.org/Food-11.zip\", size: 1.1GB, strip: 1 }}\n\
         limits: {{ ratio: 10 }}\n\
         transform:\n\
         - class_folders: {{ pattern: \"^(\\\\d+)_\", name: \"class_{{1:02}}\" }}\n\
         - webdataset: {{ samples: 1000, series: 1, label: {{ pattern: \"class_(\\\\d+)/\" }} }}\n\
         staging: /mnt/block/stage\n{BUCKET}"
    ));
    let delivery = delivery(&fields, &Fields::new(), &AROUND).unwrap();
    insta::assert_snapshot!(pretty(&delivery), @r#"
    {
      "job": {
        "sources": [
          {
            "from": {
              "url": {
                "url": "https://example.org/Food-11.zip",
                "size": 1100000000
              }
            },
            "strip": 1
          }
        ],
        "extract": "auto",
        "transform": [
          {
            "class_folders": {
              "pattern": "^(\\d+)_",
              "name": "class_{1:02}",
              "others": "keep"
            }
          },
          {
            "webdataset": {
              "samples": 1000,
              "label": {
                "pattern": "class_(\\d+)/"
              },
              "key": "name",
              "series": 1,
              "prefix": "shard-"
            }
          }
        ],
        "limits": {
          "bytes": 4398046511104,
          "files": 20000000,
          "ratio": 10
        }
      },
      "staging": "/mnt/block/stage",
      "load": {
        "bucket": "food11",
        "prefix": "Food-11",
        "transfers": 64,
        "delete_extra": false,
        "verify": false
      },
      "keep_staging": true
    }
    "#);
}

#[test]
fn a_split_and_a_program_become_jobs_too() {
    let split = "split: { file: ratings.csv, parts: [{ key: a.tsv, share: 70 }, { key: b.tsv, share: 30 }], seed: 7, \
                 dense_ids: [userId], delimiter: \";\" }";
    let command = "command: { run: \"cp -r $SRC/. $OUT/${x}\", needs: [python3], timeout: 2h, env: { A: b } }";
    let fields =
        fields(&format!("source: {{ path: /data }}\nextract: none\ntransform:\n- {split}\n- {command}\n{BUCKET}"));
    insta::assert_snapshot!(pretty(&job(&fields, &AROUND).unwrap()), @r#"
    {
      "sources": [
        {
          "from": {
            "path": "/data"
          }
        }
      ],
      "extract": "none",
      "transform": [
        {
          "split": {
            "file": "ratings.csv",
            "parts": [
              {
                "key": "a.tsv",
                "share": 70
              },
              {
                "key": "b.tsv",
                "share": 30
              }
            ],
            "seed": 7,
            "columns": [],
            "dense_ids": [
              "userId"
            ],
            "write_ids": false,
            "delimiter": ";",
            "separator": "\t",
            "header": false,
            "others": "keep"
          }
        },
        {
          "command": {
            "run": "cp -r $SRC/. $OUT/${x}",
            "needs": [
              "python3"
            ],
            "env": {
              "A": "b"
            },
            "secrets": {},
            "timeout": 7200
          }
        }
      ],
      "limits": {
        "bytes": 4398046511104,
        "files": 20000000,
        "ratio": 200
      }
    }
    "#);
}

#[test]
fn keys_come_of_a_credential_a_profile_or_the_bucket_itself() {
    let placed = "buckets:\n  cos: { endpoint: \"https://s3.example\", name: lake, credential: { existing: { access_key: AK, secret_key: \
                  SK, region: eu-de } } }\ndatasets:\n  d:\n    source: { path: /data }\n    load: { bucket: cos }\n";
    let desired = desired(placed);
    let fields = &desired.resources.values().find(|resource| resource.kind == "dataset").unwrap().fields;
    for name in ["bucket", "endpoint", "region", "access_key", "secret_key", "trusted"] {
        let Value::Template(template) = &fields[name] else { panic!("{name}: {:?}", fields[name]) };
        assert!(template.to_string().starts_with("${buckets.cos."), "{template}");
    }
    let text = |name: &str, text: &str| (name.to_owned(), Value::text(text));
    let mut fields = Fields::from([text("endpoint", "https://s3.example"), text("region", "eu-de")]);
    assert_eq!(keys(&fields, None).unwrap_err(), "the keys of https://s3.example are not at hand any more");
    fields.extend([
        text("access_key", "AK"),
        text("secret_key", "SK"),
        text("session_token", "T"),
        text("trusted", ""),
    ]);
    let opened = keys(&fields, Some("the site's")).unwrap().unwrap();
    assert_eq!((opened.session_token.unwrap().0.as_str(), opened.trusted.as_deref()), ("T", Some("the site's")));
    fields.extend([text("trusted", "its own")]);
    assert_eq!(keys(&fields, Some("the site's")).unwrap().unwrap().trusted.as_deref(), Some("its own"));
    assert_eq!(keys(&Fields::new(), None).unwrap(), None);
}

#[test]
fn what_a_download_was_holds_as_long_as_it_is_described_alike() {
    let block = |url: &str| format!("source: \"{url}\"\n{BUCKET}");
    let first = fields(&block("https://example.org/a.zip"));
    let job = job(&first, &AROUND).unwrap();
    let sha256 = Sha256::of(b"a");
    let seen = recipe::SourceSeen { what: "a.zip".into(), sha256: Some(sha256), fingerprint: None };
    let recorded = Recorded { recipe: recipe::recipe(&job), sources: vec![seen], objects: 7, bytes: 70 };
    let delivered = Delivered { recorded, report: Default::default(), seconds: 1.0, requests: 1 };
    let attributes = here::shown(&first, &delivered);
    assert!(attributes.contains_key(RECORDED));
    let recorded = |block: &str| {
        let job = delivery(&fields(block), &attributes, &AROUND).unwrap().job;
        let Origin::Url(download) = &job.sources[0].from else { panic!("{job:?}") };
        download.recorded
    };
    assert_eq!(recorded(&block("https://example.org/a.zip")), Some(sha256));
    assert_eq!(recorded(&block("https://example.org/b.zip")), None);
    // Whoever reads another dataset holds it to what it was, as far as that is told: of one source.
    let read = |urls: &[&str]| {
        let sources: Vec<_> = urls.iter().map(|url| serde_json::json!({ "from": { "url": { "url": url } } })).collect();
        let other = serde_json::json!({ "dataset": { "job": { "sources": sources }, "staging": "/s" } });
        let mut reads = serde_json::from_value(serde_json::json!({ "sources": [{ "from": other }] })).unwrap();
        let seen = recipe::SourceSeen { what: "it".into(), sha256: Some(sha256), fingerprint: None };
        let recorded = Recorded { recipe: recipe::recipe(&reads), sources: vec![seen], objects: 1, bytes: 1 };
        remember(&mut reads, &recorded);
        let Origin::Dataset(another) = &reads.sources[0].from else { panic!("{reads:?}") };
        let Origin::Url(download) = &another.job.sources[0].from else { panic!("{reads:?}") };
        download.recorded
    };
    assert_eq!(read(&["https://example.org/a.zip"]), Some(sha256));
    assert_eq!(read(&["https://example.org/a.zip", "https://example.org/b.zip"]), None);
    let summary = here::summary(&Delivered {
        report: crate::dataset::load::Report {
            wanted: 7,
            sent: 2,
            copied: 4,
            sent_bytes: 3 << 20,
            deleted: 1,
            ..Default::default()
        },
        ..delivered
    });
    insta::assert_snapshot!(summary, @"7 objects, 70 bytes; 2 sent (3.0 MiB) in 1.0 s, 3.0 MiB/s; 4 copied by the store; 1 other deleted; 1 request");
}

#[test]
fn mistakes_are_told_where_they_are() {
    let found = [
        format!("source: {{ url: x, path: y }}\n{BUCKET}"),
        format!("source: {{ strip: 1 }}\n{BUCKET}"),
        format!("source: {{ path: x, sha256: y }}\n{BUCKET}"),
        BUCKET.to_owned(),
        format!("source: ./data\n{BUCKET}"),
        format!("source: {{ url: \"https://x/y\", sha256: abc }}\n{BUCKET}"),
        format!("source: {{ path: x }}\ntransform: [{{ class_folders: {{ pattern: \"(\", name: x }} }}]\n{BUCKET}"),
        format!("source: {{ path: x }}\ntransform: [{{ split: {{ file: x, parts: [], delimiter: ab }} }}]\n{BUCKET}"),
        format!("sources: []\n{BUCKET}"),
        format!("source: {{ path: x }}\ntransform: [{{}}]\n{BUCKET}"),
        "source: { path: x }\nload: { bucket: { existing: b }, prefix: a/../b }".to_owned(),
        "source: { path: x }\nload: { bucket: food11, credential: { existing: {} } }".to_owned(),
        format!("source: {{ path: x }}\nserver: node\n{BUCKET}\nsite: kvm"),
        format!("sources: [{{ path: x }}, {{ bucket: food11 }}]\nserver: node\n{BUCKET}"),
    ]
    .map(|block| mistakes(&block));
    let told = |text: &str| {
        let lines = text.lines().filter(|line| line.starts_with("error") || line.contains("= help"));
        lines.map(str::trim).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(found.map(|text| told(&text)).join("\n"), @r#"
    error[bad-value]: a source is in one place: this one has url and path
    = help: a source has one of `url`, `path`, `bucket` or `dataset`
    error[bad-value]: a source is in one place: this one has none
    = help: a source has one of `url`, `path`, `bucket` or `dataset`
    error[bad-value]: `sha256` says nothing of a source by `path`
    = help: `mirrors`, `sha256` and `size` are of a `url`; `prefix` and `credential` of a `bucket`
    error[bad-value]: `y` is no SHA-256
    = help: `sha256sum FILE` prints it: 64 digits and letters from a to f
    error[bad-value]: a dataset has a `source`, or several `sources`
    = help: write one of the two: `source: { url: … }`
    error[bad-value]: `./data` is no URL
    = help: a URL is `https://…`, `http://…` or `file:///…`; a path is written `source: { path: ./data }`
    error[bad-value]: `abc` is no SHA-256
    = help: `sha256sum FILE` prints it: 64 digits and letters from a to f
    error[bad-value]: class_folders: the pattern `(`: regex parse error:
    error[bad-value]: split: invalid value: string "ab", expected a character
    error[bad-value]: there is no source
    = help: write at least one
    error[bad-value]: an item of it is not one transform
    = help: each item is one of class_folders, split, webdataset, command: `- class_folders: { … }`
    error[bad-value]: `a/../b` can be no dataset's prefix
    = help: a prefix is such as `Food-11`; what is below it is the dataset
    error[missing-field]: this needs `access_key`
    = help: `access_key`: The id of a key that is there already.
    error[missing-field]: this needs `secret_key`
    = help: `secret_key`: The key itself.
    error[unknown-reference]: the spec declares no server `node`
    error[bad-value]: a load from a server needs a `credential`
    = help: a server is not signed in to the site: name an EC2 credential, `load: { …, credential: s3 }`
    error[bad-value]: a bucket that a server reads needs a `credential`
    = help: a server is not signed in to the site: name an EC2 credential, `{ bucket: …, credential: s3 }`
    error[unknown-reference]: the spec declares no server `node`
    error[bad-value]: a load from a server needs a `credential`
    = help: a server is not signed in to the site: name an EC2 credential, `load: { …, credential: s3 }`
    "#);
}
