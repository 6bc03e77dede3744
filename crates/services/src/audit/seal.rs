//! The sealer: chains the rows of the log, after they were written, so that acts do not queue on the chain's head.
//!
//! The order of the chain is the order of sealing. A row whose commit came late, with an earlier identifier than rows
//! that have their seals already, is sealed when it is seen, after those; nothing says that identifiers rise along the
//! chain. So no row has to settle before it is sealed, and nothing rests on the clocks of several nodes agreeing.

use std::sync::PoisonError;

use anteroom_domain::audit::{GENESIS, Seal};
use anteroom_domain::{AuditId, Timestamp};
use anteroom_ports::{Durability, StoreResult};
use jiff::SignedDuration;
use tracing::info;
use uuid::Uuid;

use super::{Audit, Head};
use crate::later;

/// Rows that are sealed in one commit at most: few enough that a sealer holds SQLite's one writer for milliseconds.
pub const SEALED_AT_ONCE: usize = 500;

/// How far before its last look a sealer looks: longer than an act takes from making its row's identifier to its commit.
const LOOK_BACK: SignedDuration = SignedDuration::from_secs(60);

/// How often it looks through the whole log, for what no clock explains.
const LOOK_AT_ALL: SignedDuration = SignedDuration::from_hours(1);

/// How often the chain's head is written to the log at most.
const ANCHOR: SignedDuration = SignedDuration::from_mins(1);

/// What a sealer remembers between its rounds. Nothing hangs on it: another node's knows nothing of it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// When it last found, or left, nothing unsealed.
    clear: Option<Timestamp>,
    /// When it last looked through the whole log.
    all: Option<Timestamp>,
    /// The last link that it made.
    head: Option<Seal>,
    /// Which it last wrote to the log, and when.
    anchored: Option<(i64, Timestamp)>,
}

impl Progress {
    /// From which row on to look.
    fn from(&self, now: Timestamp) -> Option<AuditId> {
        let all = self.all?;
        let clear = self.clear?.min(now);
        // A clock that was set back makes this late, not wrong: then all is looked through.
        if now.duration_since(all) >= LOOK_AT_ALL || now < all {
            return None;
        }
        let from = later(clear, -LOOK_BACK).as_millisecond();
        // The smallest identifier of that millisecond: UUIDv7 begins with 48 bits of it (RFC 9562 section 5.7).
        Some(AuditId(Uuid::from_u128(u128::try_from(from).unwrap_or(0) << 80)))
    }
}

impl Audit {
    /// Chains rows that have no seal yet, at most [`SEALED_AT_ONCE`]; answers how many. One sealer does at a time, the
    /// others wait for it.
    pub async fn seal(&self) -> StoreResult<usize> {
        let now = self.clock.now();
        let from = self.sealer.lock().unwrap_or_else(PoisonError::into_inner).from(now);
        let first = self.store.read().await?.first_unsealed_audit(from).await?;
        let seals = match first {
            Some((first, _)) => self.seal_from(first).await?,
            None => Vec::new(),
        };
        let mut progress = self.sealer.lock().unwrap_or_else(PoisonError::into_inner);
        if seals.len() < SEALED_AT_ONCE {
            progress.clear = Some(now);
            if from.is_none() {
                progress.all = Some(now);
            }
        }
        progress.head = seals.last().copied().or(progress.head);
        let due = |(seq, at): (i64, Timestamp), head: &Seal| seq != head.seq && now.duration_since(at) >= ANCHOR;
        if let Some(head) = progress.head
            && progress.anchored.is_none_or(|anchored| due(anchored, &head))
        {
            progress.anchored = Some((head.seq, now));
            // Kept where the log is kept, it shows later whether the chain's tail was cut off.
            info!(event = "audit.sealed", seq = head.seq, head = %Head::from(head));
        }
        Ok(seals.len())
    }

    async fn seal_from(&self, first: AuditId) -> StoreResult<Vec<Seal>> {
        let limit = i64::try_from(SEALED_AT_ONCE).unwrap_or(i64::MAX);
        let mut unit = self.store.begin(Durability::Full).await?;
        let (last, entries) = unit.lock_audit_chain(Some(first), limit).await?;
        let (mut seq, mut digest) = last.map_or((0, GENESIS), |last| (last.seq, last.digest));
        let mut seals = Vec::with_capacity(entries.len());
        for entry in &entries {
            seq += 1;
            digest = self.link(seq, &digest, entry);
            seals.push(Seal {
                seq,
                audit_id: entry.id,
                digest,
            });
        }
        unit.insert_audit_seals(&seals).await?;
        unit.commit().await?;
        Ok(seals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealer_looks_back_a_minute_and_through_everything_at_times() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let from = |all, clear, now| {
            let progress = Progress {
                all: Some(at(all)),
                clear: Some(at(clear)),
                ..Progress::default()
            };
            progress.from(at(now)).map(|id| id.0.as_u128() >> 80)
        };
        assert_eq!(Progress::default().from(at(1000)), None);
        assert_eq!(from(1000, 1500, 1501), Some(1_440_000));
        // It failed for a while: what was written meanwhile is not passed over.
        assert_eq!(from(1000, 1100, 1501), Some(1_040_000));
        assert_eq!(from(1000, 1500, 1000 + 3600), None);
        assert_eq!(from(1000, 1500, 999), None, "the clock was set back");
        assert_eq!(from(1000, 1500, 1400), Some(1_340_000));
    }
}
