//! What every client does with requests and answers: path segments, lists read as types, gone objects, naive times.
//!
//! Pure but for [`items`], which sends one (paginated) request.

use http::Method;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::de::DeserializeOwned;

use super::{CloudError, Request, Response, Session};

/// Percent-encodes what RFC 3986 does not leave unreserved, so that a name is one segment of a path.
#[must_use]
pub fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Reads all pages of a list as `T`s.
///
/// # Errors
/// Those of the request; and an item that is not of the API's shape.
pub async fn items<T: DeserializeOwned>(session: &Session, request: Request, key: &str) -> Result<Vec<T>, CloudError> {
    let (service, path) = (request.service, request.path.clone());
    let items = session.list(request, key).await?;
    items
        .into_iter()
        .map(|item| {
            serde_json::from_value(item).map_err(|error| {
                let message = format!("an item of `{key}` in the answer is not as expected: {error}");
                CloudError::unexpected(service, &Method::GET, &path, message)
            })
        })
        .collect()
}

/// One object out of an answer; `None` where the answer was that there is none.
///
/// # Errors
/// Every other error of the request; and an answer that is not of the API's shape.
pub fn found<T: DeserializeOwned>(answer: Result<Response, CloudError>, member: &str) -> Result<Option<T>, CloudError> {
    match answer {
        Ok(response) => response.member(member).map(Some),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// A deletion's answer: that there is nothing to delete is success.
///
/// # Errors
/// Every other error of the request.
pub fn deleted(answer: Result<Response, CloudError>) -> Result<(), CloudError> {
    match answer {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

/// A time as OpenStack's services write it: RFC 3339, or without an offset and then UTC (`2026-11-22T13:43:41.000000`
/// of Cinder and Blazar, `2026-11-22 13:38:38` of Blazar's `created_at`).
#[must_use]
pub fn time(text: &str) -> Option<Timestamp> {
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp);
    }
    let naive = text.parse::<DateTime>().ok()?;
    naive.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// The minute that a time is in: what Blazar counts in.
#[must_use]
pub fn minute(time: Timestamp) -> Timestamp {
    let second = time.as_second();
    Timestamp::from_second(second - second.rem_euclid(60)).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment() {
        assert_eq!(segment("my key/é"), "my%20key%2F%C3%A9");
    }

    #[test]
    fn times_without_an_offset_are_utc() {
        let all = ["2026-11-22T13:38:08.000000", "2026-11-22 13:38:08", "2026-11-22T13:38:08Z"].map(time);
        assert_eq!(all[0].map(|time| time.to_string()).as_deref(), Some("2026-11-22T13:38:08Z"));
        assert!(all.iter().all(|time| *time == all[0]));
        assert_eq!(minute(all[0].unwrap()).to_string(), "2026-11-22T13:38:00Z");
        assert_eq!(time("soon"), None);
    }
}
