//! Signatures of requests, version 4: in a header or in the query.
//!
//! In: a request and a way to find the secret of an access key. Out: who signed it, and what that says of the body: nothing,
//! its hash, or the seed of a chain of signatures, one for each chunk.
//!
//! What is refused, and how, is what Ceph's gateway does. Whatever region a signature names is good, as it is there.

use http::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use ring::{digest, hmac};

use crate::embedded::clock;
use crate::embedded::objects::chunks::Chunks;
use crate::embedded::objects::refusal::Refusal;
use crate::embedded::wire::Call;
use crate::hex;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// How far the clocks of a signer and of the cloud may be apart.
const SKEW: i64 = 15 * 60 * 1000;

/// What is not written as `%xx` in what is signed.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The same for a path.
const PLAIN_PATH: &AsciiSet = &PLAIN.remove(b'/');

/// What a signature says of the body.
#[derive(Debug)]
pub enum Payload {
    /// Nothing.
    Unsigned,
    /// Its SHA-256.
    Hash(String),
    /// It comes in signed chunks.
    Chunked(Box<Chunks>),
}

/// A signature that was found good.
#[derive(Debug)]
pub struct Signed {
    /// The access key.
    pub access: String,
    /// What it says of the body.
    pub payload: Payload,
}

/// What a request claims: the parts of its signature.
struct Claim {
    access: String,
    /// `20261126/us-east-1/s3/aws4_request`.
    scope: String,
    signed: Vec<String>,
    signature: String,
    moment: String,
    payload: String,
    in_query: bool,
}

/// Whether the request carries a signature of any version.
#[must_use]
pub fn is_signed(call: &Call) -> bool {
    let header = call.header("authorization").is_some_and(|value| value.starts_with("AWS"));
    header || call.param("X-Amz-Algorithm").is_some() || call.param("AWSAccessKeyId").is_some()
}

/// Checks the signature; `None` if there is none.
///
/// # Errors
/// When it is not one, its key is not known, it is too old, or it does not match.
pub fn check(call: &Call, secret_of: impl Fn(&str) -> Option<String>) -> Result<Option<Signed>, Refusal> {
    let Some(claim) = claim(call)? else { return Ok(None) };
    let secret = secret_of(&claim.access).ok_or_else(|| Refusal::new("InvalidAccessKeyId"))?;
    in_time(call, &claim)?;
    let key = signing_key(&secret, &claim.scope);
    let request = hex::encode(digest::digest(&digest::SHA256, canonical(call, &claim).as_bytes()).as_ref());
    let text = format!("{ALGORITHM}\n{}\n{}\n{request}", claim.moment, claim.scope);
    let given = hex::decode(&claim.signature).unwrap_or_default();
    hmac::verify(&key, text.as_bytes(), &given).map_err(|_| Refusal::new("SignatureDoesNotMatch"))?;
    let payload = match claim.payload.as_str() {
        "UNSIGNED-PAYLOAD" => Payload::Unsigned,
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => {
            Payload::Chunked(Box::new(Chunks::new(key, claim.moment, claim.scope, claim.signature)))
        }
        // A hash, or another way to stream: Ceph's gateway takes the name of one that it does not know for a hash.
        hash => Payload::Hash(hash.to_owned()),
    };
    Ok(Some(Signed { access: claim.access, payload }))
}

fn claim(call: &Call) -> Result<Option<Claim>, Refusal> {
    let unreadable = || Refusal::new("InvalidArgument");
    if call.param("X-Amz-Algorithm").is_some() {
        let field = |name: &str| call.param(name).map(str::to_owned).ok_or_else(unreadable);
        let (access, scope) = credential(&field("X-Amz-Credential")?).ok_or_else(unreadable)?;
        return Ok(Some(Claim {
            access,
            scope,
            signed: field("X-Amz-SignedHeaders")?.split(';').map(str::to_owned).collect(),
            signature: field("X-Amz-Signature")?,
            moment: field("X-Amz-Date")?,
            payload: call.header("x-amz-content-sha256").unwrap_or("UNSIGNED-PAYLOAD").to_owned(),
            in_query: true,
        }));
    }
    if call.param("AWSAccessKeyId").is_some() {
        return Err(Refusal::new("SignatureDoesNotMatch"));
    }
    let Some(header) = call.header("authorization") else { return Ok(None) };
    let Some(fields) = header.strip_prefix(ALGORITHM) else {
        // Version 2, which is not embedded, or no signature at all.
        let code = if header.starts_with("AWS ") { "SignatureDoesNotMatch" } else { "InvalidArgument" };
        return Err(Refusal::new(code));
    };
    let field = |name: &str| {
        let found = fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
        found.map(str::to_owned).ok_or_else(unreadable)
    };
    let (access, scope) = credential(&field("Credential")?).ok_or_else(unreadable)?;
    let moment = call.header("x-amz-date").map(str::to_owned).or_else(|| {
        let date = clock::parse(call.header("date")?, "%a, %d %b %Y %H:%M:%S GMT")?;
        Some(clock::basic(date))
    });
    Ok(Some(Claim {
        access,
        scope,
        signed: field("SignedHeaders")?.split(';').map(str::to_owned).collect(),
        signature: field("Signature")?,
        moment: moment.ok_or_else(|| Refusal::new("AccessDenied"))?,
        payload: call.header("x-amz-content-sha256").ok_or_else(unreadable)?.to_owned(),
        in_query: false,
    }))
}

/// Access key and scope of `AKIA…/20261126/us-east-1/s3/aws4_request`.
fn credential(text: &str) -> Option<(String, String)> {
    let (access, scope) = text.split_once('/')?;
    let parts: Vec<&str> = scope.split('/').collect();
    let well = parts.len() == 4 && parts[2..] == ["s3", "aws4_request"];
    well.then(|| (access.to_owned(), scope.to_owned()))
}

/// Whether the signature is not from another time. Clients sign by the computer's clock, however far the cloud's was moved.
fn in_time(call: &Call, claim: &Claim) -> Result<(), Refusal> {
    let moment = clock::parse(&claim.moment, "%Y%m%dT%H%M%SZ").ok_or_else(|| Refusal::new("AccessDenied"))?;
    let age = clock::system() - moment;
    if !claim.in_query {
        return if age.abs() <= SKEW { Ok(()) } else { Err(Refusal::new("RequestTimeTooSkewed")) };
    }
    let lasts: Option<i64> = call.param("X-Amz-Expires").and_then(|text| text.parse().ok());
    let good = lasts.is_some_and(|seconds| (1..=7 * 24 * 3600).contains(&seconds) && age <= seconds * 1000);
    if good && age >= -SKEW { Ok(()) } else { Err(Refusal::new("AccessDenied")) }
}

fn signing_key(secret: &str, scope: &str) -> hmac::Key {
    let first = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{secret}").as_bytes());
    scope
        .split('/')
        .fold(first, |key, part| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref()))
}

/// The request in the form that is signed.
fn canonical(call: &Call, claim: &Claim) -> String {
    let (path, query) = call.target.split_once('?').unwrap_or((&call.target, ""));
    let path: Vec<u8> = percent_decode_str(path).collect();
    let headers: String =
        claim.signed.iter().map(|name| format!("{name}:{}\n", header_value(&call.headers, name))).collect();
    format!(
        "{}\n{}\n{}\n{headers}\n{}\n{}",
        call.method,
        percent_encode(&path, PLAIN_PATH),
        canonical_query(query),
        claim.signed.join(";"),
        claim.payload
    )
}

fn canonical_query(query: &str) -> String {
    let written = |text: &str| {
        let bytes: Vec<u8> = percent_decode_str(&text.replace('+', " ")).collect();
        percent_encode(&bytes, PLAIN).to_string()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (written(key), written(value))
    });
    let mut pairs: Vec<_> = pairs.filter(|(key, _)| key != "X-Amz-Signature").collect();
    pairs.sort();
    pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&")
}

fn header_value(headers: &HeaderMap, name: &str) -> String {
    let values = headers.get_all(name).iter().map(|value| {
        let text = String::from_utf8_lossy(value.as_bytes());
        text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
    });
    values.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn signed(secret: &str) -> Call {
        let mut call = Call { target: "/bucket/a%20b%2Bc?prefix=x%2Fy&list-type=2".to_owned(), ..Call::nobody() };
        let moment = clock::basic(clock::system());
        let mut put = |name: &'static str, value: &str| {
            call.headers.insert(name, HeaderValue::from_str(value).unwrap());
        };
        put("host", "127.0.0.1:9000");
        put("x-amz-date", &moment);
        put("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
        put("x-amz-meta-note", "two   blanks");
        let scope = format!("{}/anywhere/s3/aws4_request", &moment[..8]);
        // Written out here as the protocol has it, and not by the functions above.
        let request = format!(
            "GET\n/bucket/a%20b%2Bc\nlist-type=2&prefix=x%2Fy\nhost:127.0.0.1:9000\nx-amz-content-sha256:UNSIGNED-PAYLOAD\n\
             x-amz-date:{moment}\nx-amz-meta-note:two blanks\n\nhost;x-amz-content-sha256;x-amz-date;x-amz-meta-note\n\
             UNSIGNED-PAYLOAD"
        );
        let hash = hex::encode(digest::digest(&digest::SHA256, request.as_bytes()).as_ref());
        let text = format!("AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hash}");
        let signature = hex::encode(hmac::sign(&signing_key(secret, &scope), text.as_bytes()).as_ref());
        let header = format!(
            "AWS4-HMAC-SHA256 Credential=KEY/{scope}, SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-meta-note, \
             Signature={signature}"
        );
        call.headers.insert("authorization", HeaderValue::from_str(&header).unwrap());
        call
    }

    fn code(call: &Call, secret: Option<&str>) -> &'static str {
        match check(call, |access| secret.filter(|_| access == "KEY").map(str::to_owned)) {
            Ok(signed) => signed.map_or("anonymous", |_| "good"),
            Err(refusal) => refusal.code,
        }
    }

    #[test]
    fn a_signature_is_good_for_its_request_and_secret_only() {
        let call = signed("secret");
        assert_eq!(code(&call, Some("secret")), "good");
        assert_eq!(code(&call, Some("another")), "SignatureDoesNotMatch");
        assert_eq!(code(&call, None), "InvalidAccessKeyId");
        let mut changed = signed("secret");
        changed.target = changed.target.replace("a%20b", "a%20c");
        assert_eq!(code(&changed, Some("secret")), "SignatureDoesNotMatch");
        let mut changed = signed("secret");
        changed.headers.insert("x-amz-meta-note", HeaderValue::from_static("other"));
        assert_eq!(code(&changed, Some("secret")), "SignatureDoesNotMatch");
        let mut old = signed("secret");
        old.headers.insert("x-amz-date", HeaderValue::from_static("20200101T000000Z"));
        assert_eq!(code(&old, Some("secret")), "RequestTimeTooSkewed");
        assert_eq!(code(&Call::nobody(), None), "anonymous");
    }

    #[test]
    fn the_key_is_derived_as_documented() {
        // The example of the AWS documentation ("Examples of how to derive a signing key").
        let key = signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20120215/us-east-1/iam/aws4_request");
        let known = hmac::Key::new(
            hmac::HMAC_SHA256,
            &hex::decode("f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d").unwrap(),
        );
        assert_eq!(hmac::sign(&key, b"x").as_ref(), hmac::sign(&known, b"x").as_ref());
    }
}
