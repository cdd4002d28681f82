//! An answer made comparable: what differs from one run to the next gets a name of its own.
//!
//! In: an answer and the words of the play. Out: the same with ids as `{server}` where a step kept them and `<id>` where
//! none did, times as `<time …>` by their form, addresses and MACs as tokens, URLs by their service, and no secret.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value as Json};

use super::rules::Rules;
use super::scenario::Step;
use super::world::{Answer, World};

/// The headers that clients go by.
const HEADERS: [&str; 11] = [
    "allow",
    "content-type",
    "location",
    "openstack-api-version",
    "retry-after",
    "www-authenticate",
    "x-compute-request-id",
    "x-openstack-nova-api-version",
    "x-openstack-request-id",
    "x-subject-token",
    "openstack-image-import-methods",
];

/// Fields that are never written down.
const SECRET: [&str; 4] = ["adminPass", "private_key", "secret", "password"];

/// Fields whose address is the user's or the subnet's own, not one the service chose.
const GIVEN: [&str; 7] =
    ["cidr", "gateway_ip", "start", "end", "dns_nameservers", "normalized_cidr", "remote_ip_prefix"];

struct Patterns {
    patterns: Vec<(Regex, &'static str)>,
    address: Regex,
}

static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| {
    let regex = |text: &str| Regex::new(text).expect("a pattern");
    let patterns = vec![
        (regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"), "<time T.Z>"),
        (regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00"), "<time T.+>"),
        (regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}"), "<time T.>"),
        (regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "<time TZ>"),
        (regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"), "<time T>"),
        (regex(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{6})?"), "<time>"),
        (regex(r"\d{4}-\d\d-\d\d \d\d:\d\d"), "<minute>"),
        (regex(r"\b[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"), "<id>"),
        (regex(r"[0-9A-F]{8}(_[0-9A-F]{4}){3}_[0-9A-F]{12}\b"), "<ID>"),
        (regex(r"\b[0-9a-f]{56}\b"), "<host>"),
        (regex(r"\b[0-9a-f]{32}\b"), "<id>"),
        (regex(r"\bfa:16:3e(:[0-9a-f]{2}){3}\b"), "<mac>"),
    ];
    Patterns { patterns, address: regex(r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b(/\d+)?") }
});

/// Scrubs the answers of one play.
pub struct Scrub<'a> {
    pub world: &'a World,
    pub rules: &'a Rules,
    /// All that the scenario sends, in which an address that it gave is found again.
    pub sent: &'a str,
}

impl Scrub<'_> {
    /// The headers, one text: `content-type: application/json | x-subject-token`; of some only that they are there.
    pub fn headers(&self, answer: &Answer) -> String {
        let shown = HEADERS.iter().filter_map(|name| {
            let value = answer.headers.get(*name)?;
            Some(match *name {
                "x-subject-token" | "x-openstack-request-id" | "x-compute-request-id" => (*name).to_owned(),
                _ => format!("{name}: {}", self.text(value, "")),
            })
        });
        shown.collect::<Vec<_>>().join(" | ")
    }

    /// The body: JSON scrubbed, or another text as it is.
    pub fn body(&self, answer: &Answer, step: &Step) -> Json {
        if answer.body.is_empty() {
            return Json::Null;
        }
        match serde_json::from_slice::<Json>(&answer.body) {
            Ok(mut body) => {
                self.pick(&mut body, step);
                normal(self.value(&body, ""), step, self.rules)
            }
            Err(_) => self.text(&String::from_utf8_lossy(&answer.body), "").into(),
        }
    }

    /// Keeps of lists what the step looks at.
    fn pick(&self, body: &mut Json, step: &Step) {
        for (pointer, wanted) in &step.pick {
            let fits = |one: &Json, key: &String, values: &[Json]| {
                values.iter().any(|value| self.world.words.fill_json(value) == one[key])
            };
            visit(body, pointer, &mut |list| {
                if let Json::Array(all) = list {
                    all.retain(|one| wanted.iter().all(|(key, values)| fits(one, key, values)));
                }
            });
        }
    }

    /// A value under a key.
    fn value(&self, value: &Json, key: &str) -> Json {
        if SECRET.contains(&key) && value.is_string() {
            return "<secret>".into();
        }
        match value {
            Json::String(text) => self.string(text, key),
            Json::Array(all) => all.iter().map(|one| self.value(one, key)).collect(),
            Json::Object(map) => {
                let scrubbed = map.iter().map(|(name, value)| (self.text(name, ""), self.value(value, name)));
                scrubbed.collect::<Map<_, _>>().into()
            }
            other => other.clone(),
        }
    }

    /// A text under a key; one that holds JSON is scrubbed as that.
    fn string(&self, text: &str, key: &str) -> Json {
        let trimmed = text.trim_start();
        if trimmed.starts_with('{')
            && !self.sent.contains(text)
            && let Ok(inside @ Json::Object(_)) = serde_json::from_str(text)
        {
            return format!("json {}", self.value(&inside, key)).into();
        }
        self.text(text, key).into()
    }

    /// A text: ids, times, addresses and URLs get their names.
    pub fn text(&self, text: &str, key: &str) -> String {
        let mut text = text.to_owned();
        let mut roots: Vec<_> = self.world.roots.iter().collect();
        roots.sort_by_key(|(_, root)| std::cmp::Reverse(root.len()));
        for (service, root) in roots {
            text = text.replace(root.as_str(), &format!("<{service}>"));
        }
        text = self.world.words.put_back(&text);
        // Nothing that has a pattern is without a digit.
        if !text.contains(|c: char| c.is_ascii_digit()) {
            return text;
        }
        for (pattern, token) in &PATTERNS.patterns {
            text = pattern.replace_all(&text, *token).into_owned();
        }
        if GIVEN.contains(&key) {
            return text;
        }
        let address = PATTERNS.address.replace_all(&text, |found: &regex::Captures<'_>| {
            let given =
                found.get(1).is_some() || PATTERNS.address.find_iter(self.sent).any(|sent| sent.as_str() == &found[0]);
            if given { found[0].to_owned() } else { "<address>".to_owned() }
        });
        address.into_owned()
    }
}

/// A body without what the step leaves out, volatile fields by their type, sets in order. Doing it twice changes nothing,
/// so a recording can be read by rules that are newer than it.
pub fn normal(mut body: Json, step: &Step, rules: &Rules) -> Json {
    step.omit.iter().for_each(|pointer| omit(&mut body, pointer));
    by_rules(body, "", rules)
}

fn by_rules(value: Json, key: &str, rules: &Rules) -> Json {
    if rules.is_volatile(key) {
        return match value {
            Json::String(text) if text.is_empty() || text.starts_with('<') => text.into(),
            Json::String(_) => "<text>".into(),
            Json::Number(_) => "<number>".into(),
            Json::Bool(_) => "<flag>".into(),
            Json::Array(_) => "<list>".into(),
            Json::Object(_) => "<object>".into(),
            Json::Null => Json::Null,
        };
    }
    match value {
        Json::Array(all) => {
            let mut all: Vec<Json> = all.into_iter().map(|one| by_rules(one, key, rules)).collect();
            if rules.is_unordered(key) {
                all.sort_by_key(Json::to_string);
            }
            all.into()
        }
        Json::Object(map) => {
            let inside = map.into_iter().map(|(name, value)| {
                let value = by_rules(value, &name, rules);
                (name, value)
            });
            inside.collect::<Map<_, _>>().into()
        }
        other => other,
    }
}

/// Visits what a pointer leads to; `*` stands for every member and every item.
fn visit(body: &mut Json, pointer: &str, act: &mut dyn FnMut(&mut Json)) {
    let Some(rest) = pointer.strip_prefix('/') else { return act(body) };
    let (first, rest) = rest.find('/').map_or((rest, ""), |end| rest.split_at(end));
    match body {
        Json::Object(map) => {
            let inside = map.iter_mut().filter(|(key, _)| first == "*" || *key == first);
            inside.for_each(|(_, value)| visit(value, rest, act));
        }
        Json::Array(all) => all.iter_mut().for_each(|value| visit(value, rest, act)),
        _ => {}
    }
}

/// Takes a member away.
fn omit(body: &mut Json, pointer: &str) {
    let (before, last) = pointer.rsplit_once('/').expect("a pointer");
    visit(body, before, &mut |value| {
        if let Json::Object(map) = value {
            map.remove(last);
        }
    });
}
