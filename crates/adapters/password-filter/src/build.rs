//! Making a filter out of lists.

use xorf::BinaryFuse16;

use crate::filter::PasswordFilter;
use crate::{key, key_of};

/// No shorter password is accepted anyway.
const MIN_BYTES: usize = 8;

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is in.
    Password,
    /// It was left out: empty, shorter than any password that is accepted, or seen too seldom.
    Skipped,
}

/// A filter cannot be made of nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TooFew(String);

/// Collects passwords.
#[derive(Debug, Default)]
pub struct Builder {
    keys: Vec<u64>,
    /// Breached passwords that were seen less often are left out.
    min_count: u64,
}

impl Builder {
    /// One that leaves out what was seen less often, where a line says how often.
    pub fn new(min_count: u64) -> Self {
        Self {
            keys: Vec::new(),
            min_count,
        }
    }

    /// Adds a line: a password as it is, or its SHA-1 as 40 hexadecimal digits, perhaps with `:` and how often it was
    /// seen, as Have I Been Pwned publishes them.
    pub fn add_line(&mut self, line: &[u8]) -> Added {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let key = match published(line) {
            Some((_, count)) if count < self.min_count => return Added::Skipped,
            Some((key, _)) => key,
            None if line.len() < MIN_BYTES => return Added::Skipped,
            None => key_of(line),
        };
        self.keys.push(key);
        Added::Password
    }

    /// Makes the filter; what was added more than once is in it once.
    pub fn build(mut self) -> Result<PasswordFilter, TooFew> {
        self.keys.sort_unstable();
        self.keys.dedup();
        if self.keys.is_empty() {
            return Err(TooFew("the list holds no password".to_owned()));
        }
        let filter = BinaryFuse16::try_from(&self.keys).map_err(|e| TooFew(format!("no filter could be made: {e}")))?;
        Ok(PasswordFilter::new(filter, self.keys.len() as u64))
    }
}

/// A line of digests: the key, and how often it was seen.
fn published(line: &[u8]) -> Option<(u64, u64)> {
    let (digest, count) = match line.get(40) {
        None => (line, None),
        Some(b':') => (&line[..40], Some(&line[41..])),
        Some(_) => return None,
    };
    let mut bytes = [0; 20];
    hex::decode_to_slice(digest, &mut bytes).ok()?;
    let count = match count {
        None => u64::MAX,
        Some(digits) => std::str::from_utf8(digits).ok()?.trim().parse().ok()?,
    };
    Some((key(&bytes)?, count))
}

#[cfg(test)]
mod tests {
    use anteroom_ports::PasswordList as _;

    use super::*;

    /// SHA-1 of "password1".
    const PASSWORD1: &str = "E38AD214943DAAD1D64C102FAEC29DE4AFE9DA3D";

    #[test]
    fn lines_are_passwords_or_their_digests() {
        for lines in [
            vec!["password1".to_owned()],
            vec!["password1\r\n".to_owned()],
            vec![PASSWORD1.to_owned()],
            vec![PASSWORD1.to_lowercase()],
            vec![format!("{PASSWORD1}:2413945\r\n")],
        ] {
            let mut builder = Builder::new(10);
            for line in &lines {
                assert_eq!(builder.add_line(line.as_bytes()), Added::Password, "{line}");
            }
            let filter = builder.build().unwrap();
            assert!(filter.contains("password1"), "{lines:?}");
            assert!(!filter.contains("password2"), "{lines:?}");
            assert_eq!(filter.entries(), 1);
        }
    }

    #[test]
    fn what_is_short_or_seldom_is_left_out() {
        let mut builder = Builder::new(10);
        for line in ["", "\n", "seven77", &format!("{PASSWORD1}:9")] {
            assert_eq!(builder.add_line(line.as_bytes()), Added::Skipped, "{line}");
        }
        assert!(builder.build().is_err());
        // What only looks like a digest is a password.
        let mut builder = Builder::new(10);
        for line in [format!("{PASSWORD1}x"), format!("{PASSWORD1}:many"), "z".repeat(40)] {
            assert_eq!(builder.add_line(line.as_bytes()), Added::Password, "{line}");
        }
        let filter = builder.build().unwrap();
        assert!(filter.contains(&"z".repeat(40)) && !filter.contains("password1"));
    }
}
