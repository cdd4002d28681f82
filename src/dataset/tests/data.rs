//! Data for tests and benchmarks, made from a seed: pictures named as those of Food-11, in a zip, and a table of ratings
//! as MovieLens has it.
//!
//! The pictures are noise behind a JPEG's first bytes: as hard to compress as real ones, and of their sizes.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// How many pictures Food-11 has in each of its three parts.
pub const FOOD11: [(&str, usize); 3] = [("training", 9_866), ("validation", 3_430), ("evaluation", 3_347)];
/// How many classes.
const CLASSES: usize = 11;

/// Noise from a seed.
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1)
    }

    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// A picture: between a half and one and a half times the average size.
pub fn picture(seed: u64, average: usize) -> Vec<u8> {
    let mut noise = Noise::new(seed);
    let size = average / 2 + usize::try_from(noise.number() >> 33).unwrap_or(0) % average.max(1);
    let mut bytes = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01".to_vec();
    while bytes.len() < size {
        bytes.extend_from_slice(&noise.number().to_le_bytes());
    }
    bytes.truncate(size.max(4));
    let end = bytes.len() - 2;
    bytes[end..].copy_from_slice(b"\xff\xd9");
    bytes
}

/// The names and seeds of one picture in `every`, as Food-11 names them.
pub fn pictures(every: usize) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    for (part, count) in FOOD11 {
        for number in 0..count.div_ceil(every) {
            all.push((format!("{part}/{}_{}.jpg", number % CLASSES, number / CLASSES), all.len() as u64));
        }
    }
    all
}

/// A zip of pictures, stored as zips of pictures mostly are, with their folders.
pub fn food11(path: &Path, every: usize, average: usize) -> io::Result<()> {
    let mut zip = rawzip::ZipArchiveWriter::new(BufWriter::new(File::create(path)?));
    for (part, _) in FOOD11 {
        zip.new_dir(format!("{part}/")).create().map_err(io::Error::other)?;
    }
    for (name, seed) in pictures(every) {
        add(&mut zip, &name, &picture(seed, average), rawzip::CompressionMethod::STORE)?;
    }
    zip.finish().map_err(io::Error::other)?.flush()
}

/// Adds a file to a zip.
pub fn add<W: Write>(
    zip: &mut rawzip::ZipArchiveWriter<W>,
    name: &str,
    content: &[u8],
    method: rawzip::CompressionMethod,
) -> io::Result<()> {
    let verbatim = rawzip::path::EntryPath::verbatim(name.as_bytes());
    let (mut entry, config) = zip.new_file(verbatim).compression_method(method).start().map_err(io::Error::other)?;
    let descriptor = match method {
        rawzip::CompressionMethod::DEFLATE => {
            let encoder = flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::fast());
            let mut writer = config.wrap(encoder);
            writer.write_all(content)?;
            let (encoder, descriptor) = writer.finish().map_err(io::Error::other)?;
            encoder.finish()?;
            descriptor
        }
        _ => {
            let mut writer = config.wrap(&mut entry);
            writer.write_all(content)?;
            writer.finish().map_err(io::Error::other)?.1
        }
    };
    entry.finish(descriptor).map_err(io::Error::other)?;
    Ok(())
}

/// A table of ratings, with as many users and items as MovieLens has for so many rows.
pub fn ratings(path: &Path, rows: u64) -> io::Result<()> {
    let mut noise = Noise::new(rows);
    let mut table = BufWriter::with_capacity(1 << 20, File::create(path)?);
    writeln!(table, "userId,movieId,rating,timestamp")?;
    let (users, items) = (rows / 140 + 1, rows / 930 + 1);
    for row in 0..rows {
        let (user, item, stars) = (row * users / rows + 1, noise.number() % items * 7 + 1, noise.number() % 10 + 1);
        let half = if stars % 2 == 1 { '5' } else { '0' };
        writeln!(table, "{user},{item},{}.{half},{}", stars / 2, 1_000_000_000 + noise.number() % 500_000_000)?;
    }
    table.flush()
}
