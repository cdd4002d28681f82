//! Reading lists of objects.
//!
//! In: the answer to `ListObjectsV2`, as XML. Out: a [`Page`].
//!
//! The SDK reads each list twice, the first time to see whether it is an error, and both times slowly: that was a third of a load
//! that finds nothing changed. So an answer of success is read here, once; any other stays the SDK's.
//!
//! Invariant: a page is what the whole answer says, or an error. One that breaks off, or is no list, is no empty page.

use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::{BoxError, ErrorMetadata};
use aws_sdk_s3::operation::list_objects_v2::{ListObjectsV2Error, ListObjectsV2Output};
use aws_smithy_runtime_api::client::interceptors::context::{Error, Output, OutputOrError};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::ser_de::{DeserializeResponse, SharedResponseDeserializer};
use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};

use super::super::types::{Entry, Page};
use super::bare;

/// Reads the answer to one request in place of the SDK, which is left with an empty one.
#[derive(Debug, Clone, Default)]
pub(super) struct Lists(Arc<Mutex<Option<Page>>>);

impl Lists {
    /// What was read.
    pub(super) fn page(&self) -> Option<Page> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Intercept for Lists {
    fn name(&self) -> &'static str {
        "Lists"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.response().status().is_success() {
            config.interceptor_state().store_put(SharedResponseDeserializer::new(self.clone()));
        }
        Ok(())
    }
}

impl DeserializeResponse for Lists {
    fn deserialize_nonstreaming_with_config(&self, response: &HttpResponse, _: &ConfigBag) -> OutputOrError {
        let read = read(response.body().bytes().unwrap_or_default());
        let page = read.map_err(|error| match error {
            Unread::Refused(code, message) => {
                let said = ErrorMetadata::builder().code(code).message(message).build();
                OrchestratorError::operation(Error::erase(ListObjectsV2Error::generic(said)))
            }
            unread => OrchestratorError::response(unread.into()),
        })?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(page);
        Ok(Output::erase(ListObjectsV2Output::builder().build()))
    }
}

/// Why an answer is no list.
#[derive(Debug, thiserror::Error)]
enum Unread {
    /// What the store says in place of it, with its code.
    #[error("{0}: {1}")]
    Refused(String, String),
    #[error("the list of objects does not read as XML: {0}")]
    Xml(String),
    #[error("where a list of objects should be, the store says: {0}")]
    Other(String),
    #[error("the list of objects breaks off")]
    Cut,
    #[error("in the list of objects, `{0}` does not read: {1}")]
    Value(&'static str, String),
}

impl From<quick_xml::Error> for Unread {
    fn from(error: quick_xml::Error) -> Self {
        Self::Xml(error.to_string())
    }
}

fn read(xml: &[u8]) -> Result<Page, Unread> {
    let mut reader = Reader::from_reader(xml);
    let start = root(&mut reader, xml)?;
    if start.local_name().as_ref() == b"Error" {
        return Err(refused(&mut reader)?);
    }
    let mut page = Page::default();
    while let Some(start) = child(&mut reader)? {
        match start.local_name().as_ref() {
            b"Contents" => page.objects.extend(object(&mut reader)?),
            b"IsTruncated" => page.more = value(&mut reader, &start, "IsTruncated")?,
            _ => skip(&mut reader, &start)?,
        }
    }
    Ok(page)
}

/// The element that all else is in: a list's, or an error's.
fn root<'a>(reader: &mut Reader<&'a [u8]>, xml: &[u8]) -> Result<BytesStart<'a>, Unread> {
    loop {
        match reader.read_event()? {
            Event::Start(start) if matches!(start.local_name().as_ref(), b"ListBucketResult" | b"Error") => {
                return Ok(start);
            }
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) | Event::Text(_) => {}
            _ => {
                let said = String::from_utf8_lossy(&xml[..xml.len().min(200)]);
                let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
                return Err(Unread::Other(if said.is_empty() { "nothing".to_owned() } else { said }));
            }
        }
    }
}

/// An error that came as a success.
fn refused(reader: &mut Reader<&[u8]>) -> Result<Unread, Unread> {
    let (mut code, mut message) = (String::new(), String::new());
    while let Some(start) = child(reader)? {
        match start.local_name().as_ref() {
            b"Code" => code = text(reader, &start, "Code")?,
            b"Message" => message = text(reader, &start, "Message")?,
            _ => skip(reader, &start)?,
        }
    }
    Ok(Unread::Refused(code, message))
}

/// The next child of the element that the reader is in; none at its end.
fn child<'a>(reader: &mut Reader<&'a [u8]>) -> Result<Option<BytesStart<'a>>, Unread> {
    loop {
        match reader.read_event()? {
            Event::Start(start) => return Ok(Some(start)),
            Event::End(_) => return Ok(None),
            Event::Eof => return Err(Unread::Cut),
            _ => {}
        }
    }
}

fn skip(reader: &mut Reader<&[u8]>, start: &BytesStart<'_>) -> Result<(), Unread> {
    reader.read_to_end(start.name())?;
    Ok(())
}

/// An object; none where it has no key.
fn object(reader: &mut Reader<&[u8]>) -> Result<Option<Entry>, Unread> {
    let (mut key, mut size, mut etag) = (None, 0, String::new());
    while let Some(start) = child(reader)? {
        match start.local_name().as_ref() {
            b"Key" => key = Some(text(reader, &start, "Key")?),
            b"Size" => size = value(reader, &start, "Size")?,
            b"ETag" => etag = bare(Some(&text(reader, &start, "ETag")?)),
            _ => skip(reader, &start)?,
        }
    }
    Ok(key.map(|key| Entry { key, size, etag }))
}

/// The text of the element that was just begun.
fn text(reader: &mut Reader<&[u8]>, start: &BytesStart<'_>, name: &'static str) -> Result<String, Unread> {
    let raw = reader.read_text(start.name())?.into_inner();
    let unread = || Unread::Value(name, String::from_utf8_lossy(&raw).into_owned());
    // No store writes elements, comments or CDATA there.
    match std::str::from_utf8(&raw).map(unescape) {
        Ok(Ok(text)) if !raw.contains(&b'<') => Ok(text.into_owned()),
        _ => Err(unread()),
    }
}

fn value<T: FromStr>(reader: &mut Reader<&[u8]>, start: &BytesStart<'_>, name: &'static str) -> Result<T, Unread> {
    let text = text(reader, start, name)?;
    text.trim().parse().map_err(|_| Unread::Value(name, text))
}

#[cfg(test)]
mod tests {
    use axum::Router;

    use super::super::super::types::Keys;
    use super::super::{S3, S3Config};
    use super::*;

    /// As Ceph, AWS, MinIO and Versity write: with owners or without, checksums, and quotes in three ways.
    const LIST: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix>p/</Prefix>
  <MaxKeys>1000</MaxKeys><IsTruncated>true</IsTruncated><NextContinuationToken>IsTruncated</NextContinuationToken>
  <Contents><Key>p/a&amp;b &lt;&#xE9;&#62;&#x0D;.jpg</Key><LastModified>2026-11-27T11:40:07.123Z</LastModified>
    <ETag>"d41d8cd98f00b204e9800998ecf8427e"</ETag><Size>70000</Size><StorageClass>STANDARD</StorageClass>
    <Owner><ID>me</ID><Key>not this</Key><Size>1</Size></Owner></Contents>
  <Contents><ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumAlgorithm>SHA256</ChecksumAlgorithm>
    <ETag>&quot;abc-3&quot;</ETag><Size>18446744073709551615</Size><Key>p/größe</Key></Contents>
  <Contents><Key> spaced </Key><ETag>&#34;e&#34;</ETag><Size> 0 </Size></Contents>
  <Contents><Size>5</Size></Contents>
  <CommonPrefixes><Prefix>p/q/</Prefix></CommonPrefixes><StartAfter/></ListBucketResult>"#;

    #[test]
    fn a_list_is_read_as_the_stores_write_it() {
        let page = read(LIST.as_bytes()).unwrap();
        let entry = |key: &str, size, etag: &str| Entry { key: key.to_owned(), size, etag: etag.to_owned() };
        let expected = [
            entry("p/a&b <é>\r.jpg", 70_000, "d41d8cd98f00b204e9800998ecf8427e"),
            entry("p/größe", u64::MAX, "abc-3"),
            entry(" spaced ", 0, "e"),
        ];
        assert_eq!((page.objects.as_slice(), page.more), (expected.as_slice(), true));
        let empty = read(b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>").unwrap();
        assert_eq!((empty.objects.len(), empty.more), (0, false));
    }

    #[test]
    fn what_is_no_whole_list_is_no_empty_page() {
        // Wherever it breaks off.
        let whole = LIST.trim_end_matches("</ListBucketResult>");
        for at in (0..whole.len()).filter(|at| whole.is_char_boundary(*at)) {
            assert!(read(&whole.as_bytes()[..at]).is_err(), "{}", &whole[..at]);
        }
        let said = |xml: &str| read(xml.as_bytes()).unwrap_err().to_string();
        insta::assert_snapshot!(said(""), @"where a list of objects should be, the store says: nothing");
        insta::assert_snapshot!(said("<!DOCTYPE html><html>a gateway's page</html>"), @"where a list of objects should be, the store says: <!DOCTYPE html><html>a gateway's page</html>");
        insta::assert_snapshot!(said("<ListBucketResult><Contents>"), @"the list of objects breaks off");
        insta::assert_snapshot!(said("<ListBucketResult><Contents><Key>a</Contents>"), @"the list of objects does not read as XML: ill-formed document: expected `</Key>`, but `</Contents>` was found");
        insta::assert_snapshot!(said("<ListBucketResult><Contents><Size>ten</Size>"), @"in the list of objects, `Size` does not read: ten");
        insta::assert_snapshot!(said("<ListBucketResult><IsTruncated>maybe</IsTruncated>"), @"in the list of objects, `IsTruncated` does not read: maybe");
        insta::assert_snapshot!(said("<ListBucketResult><Contents><Key>&no;</Key>"), @"in the list of objects, `Key` does not read: &no;");
    }

    #[tokio::test]
    async fn what_a_store_says_in_place_of_a_list_is_told() {
        let said = async |xml: &'static str| {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let endpoint = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(
                async move { axum::serve(listener, Router::new().fallback(move || async move { xml })).await },
            );
            let config = S3Config {
                endpoint: endpoint.parse().unwrap(),
                region: String::new(),
                access_key: "key".into(),
                secret_key: "secret".into(),
                session_token: None,
                trusted: None,
            };
            let error = S3::new(&config).unwrap().list_page("b", &Keys::default()).await.unwrap_err();
            format!("{:?}: {error}", error.kind()).replace(&endpoint["http://".len()..], "STORE")
        };
        let busy = "<Error><Code>SlowDown</Code><Message>later</Message><RequestId>r</RequestId></Error>";
        insta::assert_snapshot!(said(busy).await, @"Unavailable: STORE answered 200 to GET b?prefix=: SlowDown: later");
        insta::assert_snapshot!(said("<Error><Code>NoSuchBucket</Code></Error>").await, @"NotFound: STORE answered 200 to GET b?prefix=: NoSuchBucket");
        insta::assert_snapshot!(said("<ListBucketResult><Contents>").await, @"Connection: STORE answered 200 to GET b?prefix=: the list of objects breaks off");
        insta::assert_snapshot!(said("<ListBucketResult><Contents></Key>").await, @"Connection: STORE answered 200 to GET b?prefix=: the list of objects does not read as XML: ill-formed document: expected `</Contents>`, but `</Key>` was found");
    }
}
