//! What browsers may do with a bucket of another host.

use super::Answer;
use super::xml::{NAMESPACE, Node, Xml};
use crate::embedded::objects::docs::{Bucket, CorsRule};
use crate::embedded::objects::refusal::Refusal;
use crate::embedded::objects::{Ask, Output};

/// `?cors`.
pub fn configuration(ask: &mut Ask<'_>, name: &str) -> Answer {
    let bucket = ask.own_bucket(name)?;
    match ask.call.method.as_str() {
        "GET" if bucket.cors.is_empty() => Err(Refusal::new("NoSuchCORSConfiguration")),
        "GET" => Ok(written(&bucket.cors)),
        "PUT" => {
            Bucket { cors: rules(ask.text())?, ..bucket }.save(ask.state);
            Ok(Output::new(200).header("content-type", "application/xml"))
        }
        _ => {
            Bucket { cors: Vec::new(), ..bucket }.save(ask.state);
            Ok(Output::new(204))
        }
    }
}

fn rules(text: &[u8]) -> Result<Vec<CorsRule>, Refusal> {
    let malformed = || Refusal::new("MalformedXML");
    let document = Node::read(text, "CORSConfiguration")?;
    let rules = document.all("CORSRule").map(|rule| {
        let max_age = rule.get("MaxAgeSeconds").map(|text| text.trim().parse().map_err(|_| malformed()));
        let rule = CorsRule {
            id: rule.get("ID").map(str::to_owned),
            methods: rule.texts("AllowedMethod"),
            origins: rule.texts("AllowedOrigin"),
            headers: rule.texts("AllowedHeader"),
            max_age: max_age.transpose()?,
            expose: rule.texts("ExposeHeader"),
        };
        if rule.methods.is_empty() || rule.origins.is_empty() { Err(malformed()) } else { Ok(rule) }
    });
    rules.collect()
}

fn written(rules: &[CorsRule]) -> Output {
    let mut xml = Xml::plain("CORSConfiguration");
    for rule in rules {
        xml.open("CORSRule");
        if let Some(id) = &rule.id {
            xml.leaf("ID", id);
        }
        let lists =
            [("AllowedMethod", &rule.methods), ("AllowedOrigin", &rule.origins), ("AllowedHeader", &rule.headers)];
        for (name, texts) in lists {
            for text in texts {
                xml.leaf(name, text);
            }
        }
        if let Some(seconds) = rule.max_age {
            xml.leaf("MaxAgeSeconds", seconds.to_string());
        }
        for header in &rule.expose {
            xml.leaf("ExposeHeader", header);
        }
        xml.close();
    }
    // Ceph's gateway leaves the declaration out of this one document.
    let text = xml.finish().replace(r#"<?xml version="1.0" encoding="UTF-8"?>"#, "");
    let named = format!(r#"<CORSConfiguration xmlns="{NAMESPACE}">"#);
    Output::new(200).text("application/xml", text.replacen("<CORSConfiguration>", &named, 1))
}

/// Whether a text is what a rule says, in which one `*` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern.eq_ignore_ascii_case(text),
        Some((before, after)) => {
            text.len() >= before.len() + after.len() && text.starts_with(before) && text.ends_with(after)
        }
    }
}

fn allowed(bucket: &Bucket, origin: &str, method: &str) -> Option<Vec<(String, String)>> {
    let rule = bucket.cors.iter().find(|rule| {
        rule.origins.iter().any(|pattern| fits(pattern, origin)) && rule.methods.iter().any(|one| one == method)
    })?;
    let mut headers = vec![
        ("access-control-allow-origin".to_owned(), origin.to_owned()),
        ("vary".to_owned(), "Origin".to_owned()),
        ("access-control-allow-methods".to_owned(), method.to_owned()),
    ];
    if !rule.expose.is_empty() {
        headers.push(("access-control-expose-headers".to_owned(), rule.expose.join(",")));
    }
    if let Some(seconds) = rule.max_age {
        headers.push(("access-control-max-age".to_owned(), seconds.to_string()));
    }
    Some(headers)
}

/// The headers that an answer to a browser has besides.
#[must_use]
pub fn headers(ask: &Ask<'_>, name: &str) -> Vec<(String, String)> {
    let Some(origin) = ask.call.header("origin").filter(|_| ask.call.method != http::Method::OPTIONS) else {
        return Vec::new();
    };
    let bucket = ask.bucket(name).ok();
    bucket.and_then(|bucket| allowed(&bucket, origin, ask.call.method.as_str())).unwrap_or_default()
}

/// A browser's question whether it may.
pub fn preflight(ask: &mut Ask<'_>, name: &str) -> Answer {
    let bucket = ask.bucket(name)?;
    let denied = || Refusal::new("AccessDenied");
    let (origin, method) = (ask.call.header("origin"), ask.call.header("access-control-request-method"));
    let (Some(origin), Some(method)) = (origin, method) else { return Err(Refusal::new("InvalidRequest")) };
    let mut found = allowed(&bucket, origin, method).ok_or_else(denied)?;
    if let Some(asked) = ask.call.header("access-control-request-headers") {
        let fit = |header: &str| {
            bucket.cors.iter().any(|rule| rule.headers.iter().any(|pattern| fits(pattern, header.trim())))
        };
        if !asked.split(',').all(fit) {
            return Err(denied());
        }
        found.push(("access-control-allow-headers".to_owned(), asked.to_owned()));
    }
    Ok(found.into_iter().fold(Output::new(200), |output, (name, value)| output.header(&name, value)))
}
