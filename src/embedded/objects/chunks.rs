//! Bodies of signed chunks: `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`.
//!
//! In: the body as it arrives, in whatever portions. Out: the contents in it, of which the last chunk is only good if its
//! signature is.
//!
//! ```text
//! <size in hexadecimal>;chunk-signature=<64 digits>\r\n <bytes> \r\n … 0;chunk-signature=<64 digits>\r\n \r\n
//! ```

use bytes::{Buf as _, Bytes};
use ring::{digest, hmac};

use super::refusal::Refusal;
use crate::hex;

/// Nothing before a chunk is longer.
const LONGEST_HEADER: usize = 256;

/// Where the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Header,
    Data {
        left: u64,
    },
    /// The line end after the data of a chunk.
    Gap {
        left: usize,
        last: bool,
    },
    End,
}

/// A body that is being read.
pub struct Chunks {
    key: hmac::Key,
    moment: String,
    scope: String,
    previous: String,
    at: At,
    header: Vec<u8>,
    claimed: String,
    hash: digest::Context,
}

impl std::fmt::Debug for Chunks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chunks").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Chunks {
    /// A body whose chain of signatures begins with the request's own.
    #[must_use]
    pub fn new(key: hmac::Key, moment: String, scope: String, signature: String) -> Self {
        Self {
            key,
            moment,
            scope,
            previous: signature,
            at: At::Header,
            header: Vec::new(),
            claimed: String::new(),
            hash: digest::Context::new(&digest::SHA256),
        }
    }

    /// Takes a portion of the body and gives what contents are in it.
    ///
    /// # Errors
    /// When it is not in chunks, or a signature does not match.
    pub fn push(&mut self, mut portion: Bytes) -> Result<Vec<Bytes>, Refusal> {
        let mut contents = Vec::new();
        while !portion.is_empty() {
            match self.at {
                At::Header => self.header(&mut portion)?,
                At::Data { left } => {
                    let size = usize::try_from(left).unwrap_or(usize::MAX).min(portion.len());
                    let data = portion.split_to(size);
                    self.hash.update(&data);
                    contents.push(data);
                    self.at = At::Data { left: left - size as u64 };
                    if left == size as u64 {
                        self.close(false)?;
                    }
                }
                At::Gap { left, last } => {
                    let size = left.min(portion.len());
                    portion.advance(size);
                    self.at = match left - size {
                        0 if last => At::End,
                        0 => At::Header,
                        left => At::Gap { left, last },
                    };
                }
                At::End => return Err(Refusal::new("InvalidArgument")),
            }
        }
        Ok(contents)
    }

    /// Whether the last chunk was there.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        matches!(self.at, At::End | At::Gap { last: true, .. })
    }

    fn header(&mut self, portion: &mut Bytes) -> Result<(), Refusal> {
        let unreadable = || Refusal::new("InvalidArgument");
        let end = portion.iter().position(|byte| *byte == b'\n');
        self.header.extend_from_slice(&portion.split_to(end.map_or(portion.len(), |end| end + 1)));
        if self.header.len() > LONGEST_HEADER {
            return Err(unreadable());
        }
        if end.is_none() {
            return Ok(());
        }
        let line = String::from_utf8(std::mem::take(&mut self.header)).map_err(|_| unreadable())?;
        let (size, signature) = line.trim_end().split_once(";chunk-signature=").ok_or_else(unreadable)?;
        let size = u64::from_str_radix(size, 16).map_err(|_| unreadable())?;
        signature.clone_into(&mut self.claimed);
        self.at = At::Data { left: size };
        if size == 0 { self.close(true) } else { Ok(()) }
    }

    /// Checks the signature of the chunk that was read.
    fn close(&mut self, last: bool) -> Result<(), Refusal> {
        let hash = std::mem::replace(&mut self.hash, digest::Context::new(&digest::SHA256)).finish();
        let text = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{}\n{}\n{}",
            self.moment,
            self.scope,
            self.previous,
            hex::encode(digest::digest(&digest::SHA256, b"").as_ref()),
            hex::encode(hash.as_ref())
        );
        let claimed = hex::decode(&self.claimed).unwrap_or_default();
        hmac::verify(&self.key, text.as_bytes(), &claimed).map_err(|_| Refusal::new("SignatureDoesNotMatch"))?;
        self.previous = std::mem::take(&mut self.claimed);
        self.at = At::Gap { left: 2, last };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, b"key")
    }

    fn reader() -> Chunks {
        Chunks::new(key(), "20261126T000000Z".to_owned(), "scope".to_owned(), "seed".to_owned())
    }

    fn body(chunks: &[&str]) -> Vec<u8> {
        let mut previous = "seed".to_owned();
        let mut body = Vec::new();
        for chunk in chunks.iter().chain([&""]) {
            let hash = |text: &str| hex::encode(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
            let text =
                format!("AWS4-HMAC-SHA256-PAYLOAD\n20261126T000000Z\nscope\n{previous}\n{}\n{}", hash(""), hash(chunk));
            previous = hex::encode(hmac::sign(&key(), text.as_bytes()).as_ref());
            body.extend(format!("{:x};chunk-signature={previous}\r\n{chunk}\r\n", chunk.len()).into_bytes());
        }
        body
    }

    #[test]
    fn the_contents_are_the_same_however_they_arrive() {
        let body = body(&["hello ", "world"]);
        for portion in [1, 2, 3, 7, 50, body.len()] {
            let mut reader = reader();
            let mut contents = Vec::new();
            for part in body.chunks(portion) {
                contents.extend(reader.push(Bytes::copy_from_slice(part)).unwrap().concat());
            }
            assert_eq!(contents, b"hello world", "by {portion}");
            assert!(reader.is_whole());
        }
    }

    #[test]
    fn a_changed_byte_and_a_missing_end_are_seen() {
        let mut changed = body(&["hello"]);
        let place = changed.windows(5).position(|part| part == b"hello").unwrap();
        changed[place] = b'j';
        assert_eq!(reader().push(changed.into()).unwrap_err().code, "SignatureDoesNotMatch");
        let mut cut = reader();
        let whole = body(&["hello"]);
        cut.push(Bytes::copy_from_slice(&whole[..whole.len() - 90])).unwrap();
        assert!(!cut.is_whole());
    }
}
