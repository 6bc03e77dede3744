//! A filter, and how it lies in a file.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `ANTPWF1` and a line feed |
//! | 8 | how many passwords it was built from |
//! | 8, 4, 4, 4 | seed, segment length, its mask, segment count length |
//! | 4 | how many fingerprints follow |
//! | 32 | SHA-256 of all of this but itself |
//! | 2 each | the fingerprints |
//!
//! Numbers are little-endian.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use anteroom_ports::PasswordList;
use aws_lc_rs::digest::{Context, SHA256};
use xorf::{BinaryFuse16, Descriptor, Filter as _};

use crate::key_of;

const MAGIC: &[u8; 8] = b"ANTPWF1\n";

/// Of the header in front of the checksum.
const HEADER_BYTES: usize = 40;

/// Fingerprints that are read at once.
const CHUNK: usize = 1 << 15;

/// Why a filter cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("it is not a password filter; `anteroom passwords build-filter` makes one")]
    NotAFilter,
    /// It is shorter or longer than it says, or its checksum is another.
    #[error("it is damaged ({0}); build or copy it again")]
    Damaged(&'static str),
}

/// Passwords that are not accepted.
pub struct PasswordFilter {
    filter: BinaryFuse16,
    entries: u64,
}

impl std::fmt::Debug for PasswordFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PasswordFilter({} entries)", self.entries)
    }
}

impl PasswordList for PasswordFilter {
    fn contains(&self, password: &str) -> bool {
        self.filter.contains(&key_of(password.as_bytes()))
    }
}

impl PasswordFilter {
    pub(crate) fn new(filter: BinaryFuse16, entries: u64) -> Self {
        Self { filter, entries }
    }

    /// How many passwords it was built from.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Reads a file.
    pub fn open(path: &Path) -> Result<Self, FilterError> {
        Self::read(BufReader::new(File::open(path)?))
    }

    /// Reads a filter and checks that it is whole: every lookup stays inside of it then.
    pub fn read(mut from: impl Read) -> Result<Self, FilterError> {
        let (mut header, mut checksum) = ([0; HEADER_BYTES], [0; 32]);
        let begun = from.read_exact(&mut header);
        if begun.is_err() || !header.starts_with(MAGIC) {
            return match begun {
                Err(e) if e.kind() != io::ErrorKind::UnexpectedEof => Err(e.into()),
                _ => Err(FilterError::NotAFilter),
            };
        }
        let cut = |e: io::Error| match e.kind() {
            io::ErrorKind::UnexpectedEof => FilterError::Damaged("it ends too early"),
            _ => e.into(),
        };
        from.read_exact(&mut checksum).map_err(cut)?;
        let [segment_length, segment_length_mask, segment_count_length, count] =
            [24, 28, 32, 36].map(|at| u32_at(&header, at));
        let descriptor = Descriptor {
            seed: u64_at(&header, 16),
            segment_length,
            segment_length_mask,
            segment_count_length,
        };
        // A lookup reads at most two segments beyond the count length.
        let reach = u64::from(segment_count_length) + 2 * u64::from(segment_length);
        if !segment_length.is_power_of_two() || segment_length_mask != segment_length - 1 || reach != u64::from(count) {
            return Err(FilterError::Damaged("its header contradicts itself"));
        }
        let mut digest = Context::new(&SHA256);
        digest.update(&header);
        let mut fingerprints = Vec::new();
        let mut left = count as usize;
        let mut buffer = vec![0; 2 * CHUNK];
        while left > 0 {
            let some = &mut buffer[..2 * left.min(CHUNK)];
            from.read_exact(some).map_err(cut)?;
            digest.update(some);
            fingerprints.extend(some.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])));
            left -= some.len() / 2;
        }
        if digest.finish().as_ref() != checksum {
            return Err(FilterError::Damaged("its checksum is another"));
        }
        if from.read(&mut buffer[..1])? != 0 {
            return Err(FilterError::Damaged("something follows it"));
        }
        let filter = BinaryFuse16 {
            descriptor,
            fingerprints: fingerprints.into_boxed_slice(),
        };
        Ok(Self::new(filter, u64_at(&header, 8)))
    }

    /// Writes it to a file, which is there as a whole or not at all.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".part");
        let file = File::create(&beside)?;
        let written = self.write(BufWriter::new(&file)).and_then(|()| file.sync_all());
        written.and_then(|()| std::fs::rename(&beside, path)).inspect_err(|_| {
            let _ = std::fs::remove_file(&beside);
        })
    }

    fn write(&self, mut to: impl Write) -> io::Result<()> {
        let d = &self.filter.descriptor;
        let count = u32::try_from(self.filter.fingerprints.len()).map_err(io::Error::other)?;
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&self.entries.to_le_bytes());
        header.extend_from_slice(&d.seed.to_le_bytes());
        for number in [d.segment_length, d.segment_length_mask, d.segment_count_length, count] {
            header.extend_from_slice(&number.to_le_bytes());
        }
        let mut digest = Context::new(&SHA256);
        digest.update(&header);
        for fingerprint in &self.filter.fingerprints {
            digest.update(&fingerprint.to_le_bytes());
        }
        to.write_all(&header)?;
        to.write_all(digest.finish().as_ref())?;
        for fingerprint in &self.filter.fingerprints {
            to.write_all(&fingerprint.to_le_bytes())?;
        }
        to.flush()
    }
}

fn u32_at(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    header[at..].first_chunk().copied().map_or(0, u32::from_le_bytes)
}

fn u64_at(header: &[u8; HEADER_BYTES], at: usize) -> u64 {
    header[at..].first_chunk().copied().map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::Builder;

    fn sample(entries: usize) -> PasswordFilter {
        let mut builder = Builder::new(0);
        for number in 0..entries {
            builder.add_line(format!("password number {number}").as_bytes());
        }
        builder.build().unwrap()
    }

    fn bytes(filter: &PasswordFilter) -> Vec<u8> {
        let mut bytes = Vec::new();
        filter.write(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn filters_of_every_size_survive_a_round_trip_and_miss_nothing() {
        for entries in [1, 2, 3, 10, 1000, 20_000] {
            let read = PasswordFilter::read(bytes(&sample(entries)).as_slice()).unwrap();
            assert_eq!(read.entries(), entries as u64);
            for number in 0..entries {
                assert!(
                    read.contains(&format!("password number {number}")),
                    "{number} of {entries}"
                );
            }
        }
    }

    #[test]
    fn a_file_is_whole_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("breached.filter");
        sample(1000).save(&path).unwrap();
        assert_eq!(PasswordFilter::open(&path).unwrap().entries(), 1000);
        let good = std::fs::read(&path).unwrap();
        // A bit anywhere, a byte less or more, another kind of file, none.
        for at in (0..good.len()).step_by(7) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(PasswordFilter::read(bad.as_slice()).is_err(), "bit at {at}");
        }
        for length in [0, 1, 8, 39, 40, 71, 72, good.len() / 2, good.len() - 1] {
            let error = PasswordFilter::read(&good[..length]).unwrap_err();
            assert_eq!(
                matches!(error, FilterError::NotAFilter),
                length < 40,
                "{length}: {error}"
            );
        }
        let longer = [good.as_slice(), b"x"].concat();
        let error = PasswordFilter::read(longer.as_slice()).unwrap_err().to_string();
        assert!(error.contains("something follows"), "{error}");
        let other = b"123456\npassword\nqwerty\n".repeat(9);
        let error = PasswordFilter::read(other.as_slice()).unwrap_err().to_string();
        assert!(error.contains("build-filter"), "{error}");
        assert!(PasswordFilter::open(&folder.path().join("none")).is_err());
        // Nothing half is left behind where it cannot be written.
        assert!(sample(3).save(&folder.path().join("no/such/folder")).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_bundled_list_knows_the_common_ones_and_few_others() {
        let common = PasswordFilter::common().unwrap();
        assert!(common.entries() >= 10_000, "{}", common.entries());
        for password in [
            "password1",
            "12345678",
            "qwertyuiop",
            "iloveyou",
            "football",
            "sunshine",
            "1q2w3e4r5t",
        ] {
            assert!(common.contains(password), "{password}");
        }
        let tries = 1_000_000_u32;
        let begun = Instant::now();
        let wrong = (0..tries)
            .filter(|number| common.contains(&format!("nobody uses this {number}")))
            .count();
        let each = begun.elapsed() / tries;
        // One in 65,536 is 15 of a million; a filter with 8 bits would have 3,900.
        println!(
            "{} entries, {wrong} of {tries} wrongly, {each:?} each",
            common.entries()
        );
        assert!(wrong < 40, "{wrong} of {tries} were taken for common ones");
    }
}
