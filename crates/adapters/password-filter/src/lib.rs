//! Lists of passwords that are not accepted, as compact filters: the common ones, which are compiled in, and a file of
//! breached ones that the operator builds.
//!
//! A filter keeps 16 bits of each password's digest in a binary fuse filter (arXiv 2201.01174): 18 bits an entry. It
//! misses none that it was built from, and takes one in 65,536 of all others for one of them.

mod build;
mod filter;

pub use build::{Added, Builder, TooFew};
pub use filter::{FilterError, PasswordFilter};

/// The most common passwords of at least 8 bytes, in small letters. `data/README.md` says where they are from.
const COMMON: &[u8] = include_bytes!("../data/common.filter");

impl PasswordFilter {
    /// The list that is compiled in.
    pub fn common() -> Result<Self, FilterError> {
        Self::read(COMMON)
    }
}

/// What a filter knows of a password: the beginning of its SHA-1, since that is what lists of breached passwords are
/// published as. It protects nothing here.
fn key(digest: &[u8]) -> Option<u64> {
    digest.first_chunk().copied().map(u64::from_be_bytes)
}

fn key_of(password: &[u8]) -> u64 {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, password);
    key(digest.as_ref()).unwrap_or_default()
}
