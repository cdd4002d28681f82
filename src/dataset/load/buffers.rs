//! Buffers for the parts of large objects, filled again once what they held was sent.
//!
//! A part is as large as tens of thousands of pages: asking the system for new ones each time takes it longer than the
//! reading, and an allocator that keeps what was freed keeps twice what is used. Invariant: a buffer is lent to one content
//! at a time; how many there are is bounded by whoever bounds the contents.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Those that are free. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    /// An empty one with room for so many bytes.
    pub(super) fn take(&self, size: usize) -> Vec<u8> {
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        buffer.clear();
        buffer.reserve_exact(size);
        buffer
    }

    /// What it was filled with. It comes back when nobody reads that any more.
    pub(super) fn lend(&self, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { buffer, home: self.clone() })
    }
}

struct Lent {
    buffer: Vec<u8>,
    home: Buffers,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        self.home.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_once_its_last_reader_is_gone() {
        let buffers = Buffers::default();
        let mut buffer = buffers.take(3);
        buffer.extend_from_slice(b"abc");
        let at = buffer.as_ptr();
        let whole = buffers.lend(buffer);
        let rest = whole.slice(1..);
        drop(whole);
        let other = buffers.take(3);
        assert_ne!(other.as_ptr(), at, "it is read still");
        assert_eq!(rest, "bc");
        drop(rest);
        let again = buffers.take(3);
        assert_eq!((again.as_ptr(), again.len()), (at, 0));
    }
}
