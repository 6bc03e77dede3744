//! Has anybody changed the audit log? The chain is walked from its beginning and made again beside what is stored.

use std::fmt;
use std::str::FromStr;

use anteroom_domain::audit::{GENESIS, Seal};
use anteroom_domain::{AuditId, Timestamp};
use anteroom_ports::{Digest, StoreResult};

use super::Audit;

/// Links that are read at once.
const BATCH: i64 = 1000;

/// Faults that are told one by one; more are counted.
const TOLD: usize = 100;

/// A link of the chain, as it is noted outside the database: `SEQ:DIGEST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its place.
    pub seq: i64,
    /// Its digest.
    pub digest: Digest,
}

impl From<Seal> for Head {
    fn from(seal: Seal) -> Self {
        Self {
            seq: seal.seq,
            digest: seal.digest,
        }
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, hex::encode(self.digest))
    }
}

/// A text is no [`Head`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not SEQ:DIGEST, a number and 64 hexadecimal digits, as the event audit.sealed has it")]
pub struct InvalidHead;

impl FromStr for Head {
    type Err = InvalidHead;

    fn from_str(text: &str) -> Result<Self, InvalidHead> {
        let (seq, hexadecimal) = text.trim().split_once(':').ok_or(InvalidHead)?;
        let seq = seq.parse().ok().filter(|seq| *seq > 0).ok_or(InvalidHead)?;
        let mut digest = [0; 32];
        hex::decode_to_slice(hexadecimal, &mut digest).map_err(|_| InvalidHead)?;
        Ok(Self { seq, digest })
    }
}

/// Something that Anteroom has not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Links are missing.
    #[error("links {from} to {to} are gone")]
    LinksGone {
        /// The first.
        from: i64,
        /// The last.
        to: i64,
    },
    /// A sealed row is missing.
    #[error("link {seq}: its row {id} was deleted")]
    RowGone {
        /// The link.
        seq: i64,
        /// The row.
        id: AuditId,
    },
    /// Row and link do not fit.
    #[error("link {seq}: row {id} is not what was sealed here; row or link was edited, or moved from another place")]
    Altered {
        /// The link.
        seq: i64,
        /// The row.
        id: AuditId,
    },
    /// The row holds what is never written.
    #[error("link {seq}: row {id} was edited: {reason}")]
    Unreadable {
        /// The link.
        seq: i64,
        /// The row.
        id: AuditId,
        /// What is wrong with it.
        reason: String,
    },
    /// The chain is shorter than it was.
    #[error("the chain ends at link {last}, but has been at {noted}: its end was cut off")]
    EndCutOff {
        /// Its last link.
        last: i64,
        /// The one that was noted.
        noted: i64,
    },
    /// The link that was noted is another now.
    #[error(
        "link {seq} is not the one that was noted: the chain was cut off before it, or made anew by somebody with the key"
    )]
    NotAsNoted {
        /// The link.
        seq: i64,
    },
}

/// What walking the chain showed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Links that were looked at.
    pub links: i64,
    /// The last of them.
    pub head: Option<Head>,
    /// Rows that have no seal yet: nothing is known of them.
    pub unsealed: i64,
    /// The oldest of those.
    pub oldest_unsealed: Option<(AuditId, Timestamp)>,
    /// What is wrong, in the order of the chain; the first hundred.
    pub faults: Vec<Fault>,
    /// How many more faults there are.
    pub more_faults: u64,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn intact(&self) -> bool {
        self.faults.is_empty()
    }

    fn fault(&mut self, fault: Fault) {
        if self.faults.len() < TOLD {
            self.faults.push(fault);
        } else {
            self.more_faults += 1;
        }
    }
}

impl Audit {
    /// Walks the whole chain, beside servers that go on writing. `noted` is a head that is known from elsewhere: without
    /// one it cannot be seen that the chain's end was cut off. `walked` is told now and then how many links were looked
    /// at.
    ///
    /// After a fault it goes on from what is stored, so that one edit is one fault.
    pub async fn verify(&self, noted: Option<Head>, walked: &mut (dyn FnMut(i64) + Send)) -> StoreResult<Verdict> {
        let mut verdict = Verdict::default();
        let (mut after, mut expected, mut before) = (i64::MIN, 1, GENESIS);
        loop {
            let links = self.store.read().await?.sealed_audit(after, BATCH).await?;
            let Some((last, _)) = links.last() else { break };
            after = last.seq;
            for (seal, entry) in links {
                let (seq, id) = (seal.seq, seal.audit_id);
                if seq > expected {
                    verdict.fault(Fault::LinksGone {
                        from: expected,
                        to: seq - 1,
                    });
                }
                match entry {
                    None => verdict.fault(Fault::RowGone { seq, id }),
                    Some(Err(e)) => verdict.fault(Fault::Unreadable {
                        seq,
                        id,
                        reason: e.to_string(),
                    }),
                    // Behind a gap the link before is unknown, so that a sound link does not fit either; the gap is told.
                    Some(Ok(_)) if seq > expected => {}
                    Some(Ok(entry)) => {
                        if seq < expected || self.link(seq, &before, &entry) != seal.digest {
                            verdict.fault(Fault::Altered { seq, id });
                        }
                    }
                }
                if noted.is_some_and(|noted| noted.seq == seq && noted.digest != seal.digest) {
                    verdict.fault(Fault::NotAsNoted { seq });
                }
                expected = expected.max(seq.saturating_add(1));
                before = seal.digest;
                verdict.links += 1;
                verdict.head = Some(seal.into());
            }
            walked(verdict.links);
        }
        let last = verdict.head.map_or(0, |head| head.seq);
        if let Some(noted) = noted.filter(|noted| noted.seq > last) {
            verdict.fault(Fault::EndCutOff { last, noted: noted.seq });
        }
        let mut read = self.store.read().await?;
        verdict.oldest_unsealed = read.first_unsealed_audit(None).await?;
        verdict.unsealed = read.count_unsealed_audit().await?;
        Ok(verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_are_written() {
        let head = Head {
            seq: 7,
            digest: [0xab; 32],
        };
        let text = head.to_string();
        assert_eq!(text, format!("7:{}", "ab".repeat(32)));
        assert_eq!(text.parse(), Ok(head));
        for bad in [
            "",
            "7",
            "7:",
            "7:ab",
            "x:ab",
            &text[1..],
            &format!("0{}", &text[1..]),
            &format!("{text}00"),
        ] {
            assert_eq!(bad.parse::<Head>(), Err(InvalidHead), "{bad}");
        }
    }
}
