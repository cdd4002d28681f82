//! The ways in which bytes are packed, and readers that unpack them.
//!
//! Invariants: a stream that is cut short or damaged ends with an error, never as if it were whole; what a stream may
//! ask for in memory is bounded.

use std::io::{self, BufRead, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::dataset::content::Reader;

/// The most memory that a stream's dictionary or window may ask for: what `xz -9` and `zstd --long=27` ask for, and
/// some more.
pub(super) const MOST_MEMORY: u64 = 256 << 20;

/// How bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dataset) enum Packing {
    /// As they are.
    Stored,
    /// Deflate without a frame, as in a zip.
    Deflate,
    /// Deflate64, which Windows uses in large zips.
    Deflate64,
    /// gzip, of several members too.
    Gzip,
    /// Zstandard, of several frames too.
    Zstd,
    /// xz, of several streams too.
    Xz,
}

impl Packing {
    /// A reader of the unpacked bytes.
    pub(in crate::dataset) fn unpack(self, packed: Box<dyn BufRead + Send>) -> io::Result<Reader> {
        Ok(match self {
            Self::Stored => Box::new(packed),
            Self::Deflate => Box::new(flate2::bufread::DeflateDecoder::new(packed)),
            Self::Deflate64 => Box::new(deflate64::Deflate64Decoder::with_buffer(packed)),
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
            Self::Zstd => {
                let mut decoder = FrameDecoder::new();
                decoder.set_max_window_size(MOST_MEMORY);
                Box::new(Frames { packed, decoder, within: false })
            }
            Self::Xz => {
                let most = u32::try_from(MOST_MEMORY >> 10).unwrap_or(u32::MAX);
                Box::new(lzma_rust2::XzReader::new_mem_limit(packed, true, most))
            }
        })
    }
}

/// The frames of a Zstandard stream, one after the other: compressors that use several cores write several.
struct Frames {
    packed: Box<dyn BufRead + Send>,
    decoder: FrameDecoder,
    within: bool,
}

impl Frames {
    /// Begins the next frame; false at the end.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.packed.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.packed) {
                Ok(()) => {
                    self.within = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let length = u64::from(length);
                    if io::copy(&mut (&mut self.packed).take(length), &mut io::sink())? < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(damaged(&error)),
            }
        }
        Ok(false)
    }
}

impl Read for Frames {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.within && !self.begin()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.packed, one).map_err(|error| damaged(&error))?;
            }
            match self.decoder.read(buffer)? {
                0 => {
                    let told = self.decoder.get_checksum_from_data();
                    if told.is_some() && told != self.decoder.get_calculated_checksum() {
                        return Err(io::Error::new(io::ErrorKind::InvalidData, "its checksum is wrong"));
                    }
                    self.within = false;
                }
                read => return Ok(read),
            }
        }
    }
}

/// The library keeps the cause below its own texts.
fn damaged(error: &FrameDecoderError) -> io::Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::UnexpectedEof
        {
            return io::ErrorKind::UnexpectedEof.into();
        }
        cause = inner.source();
    }
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}
