//! What Anteroom's own migrations were released with.

/// A finding in a file that is released and never changed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Of which migration.
    pub version: &'static str,
    /// By which rule.
    pub rule: &'static str,
    /// Why.
    pub reason: &'static str,
}

const fn accepted(version: &'static str, rule: &'static str, reason: &'static str) -> Accepted {
    Accepted { version, rule, reason }
}

const SMALL: &str = "a row for each account, session or subscription: done within the pause of an upgrade";
const CALLS: &str = "rows of `reservations` are there only while their calls run";
const CATALOGUE: &str = "lines of the catalogue, in one order, each with the default lock_timeout and its retries";
const CONVERSATIONS: &str = "a row for each conversation, and no text: built within the pause of an upgrade";
const EVENTS: &str = "a row for each event of the payment provider, purged after a while";
const USAGE: &str =
    "has to be exact, so that no call may be booked in between; released before usage was kept for long";
const BACK: &str = "down.sql runs while no node serves";

/// Findings in Anteroom's own migrations that are accepted, with the reason for each.
pub const OWN_ACCEPTED: &[Accepted] = &[
    accepted("20261125000008", "index-not-concurrent", SMALL),
    accepted("20261125000008", "drop-index-not-concurrent", BACK),
    accepted("20261125000009", "update-without-where", SMALL),
    accepted("20261125000009", "mixed-changes", SMALL),
    accepted("20261125000014", "unbatched-update", SMALL),
    accepted("20261125000014", "mixed-changes", SMALL),
    accepted("20261126000015", "index-not-concurrent", CONVERSATIONS),
    accepted("20261126000015", "drop-index-not-concurrent", BACK),
    accepted("20261126000015", "many-exclusive-locks", CATALOGUE),
    accepted("20261126000016", "many-exclusive-locks", CATALOGUE),
    accepted("20261126000016", "mixed-changes", BACK),
    accepted("20261126000016", "unbatched-update", BACK),
    accepted("20261126000016", "set-not-null-scans", BACK),
    accepted("20261126000017", "drop-index-not-concurrent", CALLS),
    accepted("20261126000017", "index-not-concurrent", CALLS),
    accepted("20261126000019", "mixed-changes", USAGE),
    accepted("20261126000021", "index-not-concurrent", CONVERSATIONS),
    accepted("20261126000021", "drop-index-not-concurrent", BACK),
    accepted("20261126000022", "many-exclusive-locks", CATALOGUE),
    accepted("20261127000023", "index-not-concurrent", EVENTS),
    accepted("20261127000023", "drop-index-not-concurrent", BACK),
    accepted("20261127000023", "many-exclusive-locks", CATALOGUE),
    accepted("20261127000023", "unbatched-update", BACK),
    accepted("20261127000023", "mixed-changes", BACK),
    accepted("20261127000024", "index-not-concurrent", SMALL),
    accepted("20261127000024", "drop-index-not-concurrent", BACK),
    accepted("20261127000024", "mixed-changes", SMALL),
];
