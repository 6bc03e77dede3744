//! The keys that access tokens are signed with: which one signs, which ones verify, and when the next one is due.
//!
//! Keys succeed one another: each is retired at the moment its successor begins to sign, and goes on verifying until
//! the last token it can have signed has expired.

use jiff::SignedDuration;

use crate::Timestamp;

/// For how long services that check tokens by themselves may keep the set of public keys (`max-age`, seconds).
pub const JWKS_MAX_AGE_SECONDS: i64 = 300;

/// How long before it signs a key is published: longer than anybody keeps the old set of public keys, and than a node
/// takes to notice.
pub const PUBLISHED_BEFORE: SignedDuration = SignedDuration::from_secs(2 * JWKS_MAX_AGE_SECONDS);

/// How much longer than its last token lives a retired key verifies: the nodes' clocks differ, and none notices its
/// retirement before it looks.
pub const RETIRED_LEEWAY: SignedDuration = SignedDuration::from_secs(120);

/// How tokens are signed (RFC 7518 section 3.4, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// Ed25519: small, fast, nothing to get wrong.
    EdDsa,
    /// ECDSA on P-256 with SHA-256, for those whose libraries know nothing else.
    Es256,
}

impl SigningAlgorithm {
    /// The word that is stored, and stands in tokens as `alg`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        }
    }

    /// Reads the stored word.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "EdDSA" => Some(Self::EdDsa),
            "ES256" => Some(Self::Es256),
            _ => None,
        }
    }
}

/// A key as it is kept: its private half is sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// `kid` in tokens: the thumbprint of the public key (RFC 7638).
    pub kid: String,
    /// How it signs.
    pub algorithm: SigningAlgorithm,
    /// The public key as JSON (RFC 7517), for those who look into the store. What is published is made of the private
    /// half.
    pub public_jwk: String,
    /// The private key, encrypted and authenticated together with `kid` and algorithm.
    pub sealed: Vec<u8>,
    /// Under which version of the wrapping key it is sealed.
    pub wrapping_version: i32,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it signs. It is published before.
    pub active_from: Timestamp,
    /// When its successor takes over.
    pub retired_at: Option<Timestamp>,
    /// When it was taken out of use because somebody else may have it.
    pub revoked_at: Option<Timestamp>,
}

impl AsRef<SigningKey> for SigningKey {
    fn as_ref(&self) -> &SigningKey {
        self
    }
}

/// What a key is good for at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Published; it will sign.
    Pending,
    /// New tokens are signed with it.
    Signing,
    /// Tokens that it signed are good until they expire.
    Verifying,
    /// All its tokens have expired.
    Outlived,
    /// Nothing that it signed is good any more.
    Revoked,
}

impl KeyState {
    /// The word that is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Signing => "signing",
            Self::Verifying => "verifying",
            Self::Outlived => "outlived",
            Self::Revoked => "revoked",
        }
    }
}

impl SigningKey {
    /// Whether tokens that it signed are good. `token_life` is how long an access token lives.
    pub fn verifies_at(&self, now: Timestamp, token_life: SignedDuration) -> bool {
        self.revoked_at.is_none() && !self.outlived_at(now, token_life)
    }

    /// Whether every token that it signed has expired, so that nobody needs it any more.
    pub fn outlived_at(&self, now: Timestamp, token_life: SignedDuration) -> bool {
        let end = self.revoked_at.or(self.retired_at);
        end.is_some_and(|end| plus(plus(end, token_life), RETIRED_LEEWAY) <= now)
    }

    fn succeeded_at(&self, now: Timestamp) -> bool {
        self.retired_at.is_some_and(|at| at <= now)
    }
}

/// The key that signs: the newest that is in use. If all begin later than now, this clock is behind the one that made
/// them, and the first of them signs.
pub fn signs_at<K: AsRef<SigningKey>>(keys: &[K], now: Timestamp) -> Option<&K> {
    let usable = || {
        keys.iter()
            .filter(|key| key.as_ref().revoked_at.is_none() && !key.as_ref().succeeded_at(now))
    };
    let begun = usable().filter(|key| key.as_ref().active_from <= now);
    begun
        .max_by_key(|key| key.as_ref().active_from)
        .or_else(|| usable().min_by_key(|key| key.as_ref().active_from))
}

/// Whether it is time to make the next key, which will sign [`PUBLISHED_BEFORE`] from now: when by then the newest
/// one will have signed for `rotation`. Without a key that has no successor, it is.
pub fn next_is_due(keys: &[SigningKey], rotation: SignedDuration, now: Timestamp) -> bool {
    let last = keys
        .iter()
        .filter(|key| key.revoked_at.is_none() && key.retired_at.is_none())
        .map(|key| key.active_from)
        .max();
    last.is_none_or(|begun| plus(begun, rotation) <= plus(now, PUBLISHED_BEFORE))
}

/// What becomes of the keys there are, and of a new one, when the new one begins to sign at `active_from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Succession {
    /// The keys that are retired at `active_from`.
    pub retire: Vec<String>,
    /// When the new key is itself retired: when one that is published already takes over.
    pub retired_at: Option<Timestamp>,
}

/// Puts a new key into the row of the others.
pub fn succession(keys: &[SigningKey], active_from: Timestamp) -> Succession {
    let usable = || keys.iter().filter(|key| key.revoked_at.is_none());
    Succession {
        retire: usable()
            .filter(|key| key.active_from <= active_from && !key.succeeded_at(active_from))
            .map(|key| key.kid.clone())
            .collect(),
        retired_at: usable()
            .map(|key| key.active_from)
            .filter(|begin| *begin > active_from)
            .min(),
    }
}

/// Whether a key has to be made at once because none signs now, or none will sign for good.
pub fn replacement_needed(keys: &[SigningKey], now: Timestamp) -> bool {
    let usable = || keys.iter().filter(|key| key.revoked_at.is_none());
    let signs = usable().any(|key| key.active_from <= now && !key.succeeded_at(now));
    let lasts = usable().any(|key| key.retired_at.is_none());
    !(signs && lasts)
}

/// What each key is good for at a time.
pub fn states_at(keys: &[SigningKey], now: Timestamp, token_life: SignedDuration) -> Vec<KeyState> {
    let signs = signs_at(keys, now).map(|key| key.kid.as_str());
    let state = |key: &SigningKey| match key {
        key if key.revoked_at.is_some() => KeyState::Revoked,
        key if signs == Some(key.kid.as_str()) => KeyState::Signing,
        key if key.active_from > now => KeyState::Pending,
        key if key.outlived_at(now, token_life) => KeyState::Outlived,
        _ => KeyState::Verifying,
    };
    keys.iter().map(state).collect()
}

fn plus(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.saturating_add(duration).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: SignedDuration = SignedDuration::from_secs(900);
    const DAY: SignedDuration = SignedDuration::from_hours(24);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn key(kid: &str, active_from: i64, retired_at: Option<i64>) -> SigningKey {
        SigningKey {
            kid: kid.to_owned(),
            algorithm: SigningAlgorithm::EdDsa,
            public_jwk: "{}".to_owned(),
            sealed: vec![],
            wrapping_version: 1,
            created_at: at(0),
            active_from: at(active_from),
            retired_at: retired_at.map(at),
            revoked_at: None,
        }
    }

    fn signer(keys: &[SigningKey], now: i64) -> Option<&str> {
        signs_at(keys, at(now)).map(|key| key.kid.as_str())
    }

    /// Adds a key as the use case does.
    fn add(keys: &mut Vec<SigningKey>, kid: &str, active_from: i64) {
        let plan = succession(keys, at(active_from));
        for key in keys.iter_mut().filter(|key| plan.retire.contains(&key.kid)) {
            key.retired_at = Some(at(active_from));
        }
        let mut new = key(kid, active_from, None);
        new.retired_at = plan.retired_at;
        keys.push(new);
    }

    #[test]
    fn a_successor_takes_over_at_its_time_and_not_before() {
        let mut keys = vec![];
        assert_eq!(signer(&keys, 0), None);
        add(&mut keys, "first", 100);
        assert_eq!(signer(&keys, 99), Some("first"), "a clock that is behind");
        assert_eq!(signer(&keys, 100), Some("first"));
        add(&mut keys, "second", 700);
        assert_eq!(signer(&keys, 699), Some("first"));
        assert_eq!(signer(&keys, 700), Some("second"));
        assert_eq!(keys[0].retired_at, Some(at(700)));
    }

    #[test]
    fn a_retired_key_verifies_until_its_last_token_has_expired() {
        let mut mine = key("mine", 0, Some(1000));
        for (now, verifies) in [(0, true), (1000, true), (2019, true), (2020, false)] {
            assert_eq!(mine.verifies_at(at(now), LIFE), verifies, "{now}");
            assert_eq!(mine.outlived_at(at(now), LIFE), !verifies, "{now}");
        }
        mine.revoked_at = Some(at(10));
        assert!(!mine.verifies_at(at(5), LIFE), "whatever the clock says");
        assert!(!mine.outlived_at(at(1029), LIFE));
        assert!(mine.outlived_at(at(1030), LIFE));
        assert!(key("mine", 0, None).verifies_at(Timestamp::MAX, LIFE));
    }

    #[test]
    fn the_next_key_is_due_when_the_newest_will_have_had_its_time() {
        let lead = PUBLISHED_BEFORE.as_secs();
        assert!(next_is_due(&[], DAY, at(0)));
        let mut keys = vec![key("first", 0, None)];
        assert!(!next_is_due(&keys, DAY, at(86_399 - lead)));
        assert!(next_is_due(&keys, DAY, at(86_400 - lead)));
        add(&mut keys, "second", 86_400);
        assert!(!next_is_due(&keys, DAY, at(86_400)), "it is there already");
        keys[1].revoked_at = Some(at(86_400));
        assert!(next_is_due(&keys, DAY, at(86_400)));
    }

    #[test]
    fn a_key_may_be_put_before_one_that_is_pending() {
        let mut keys = vec![];
        add(&mut keys, "first", 0);
        add(&mut keys, "pending", 600);
        add(&mut keys, "now", 50);
        assert_eq!(keys[0].retired_at, Some(at(50)), "earlier than it was to be");
        assert_eq!(keys[2].retired_at, Some(at(600)));
        assert_eq!(signer(&keys, 49), Some("first"));
        assert_eq!(signer(&keys, 50), Some("now"));
        assert_eq!(signer(&keys, 600), Some("pending"));
        add(&mut keys, "same moment", 600);
        assert_eq!(signer(&keys, 600), Some("same moment"));
        assert_eq!(keys.iter().filter(|key| key.retired_at.is_none()).count(), 1);
    }

    #[test]
    fn revoking_leaves_somebody_to_sign_or_asks_for_a_replacement() {
        let mut keys = vec![];
        assert!(replacement_needed(&keys, at(0)));
        add(&mut keys, "first", 0);
        assert!(!replacement_needed(&keys, at(0)));
        add(&mut keys, "pending", 600);
        let revoked = |number: usize| {
            let mut keys = keys.clone();
            keys[number].revoked_at = Some(at(10));
            keys
        };
        assert!(replacement_needed(&revoked(0), at(10)), "nobody signs now");
        assert!(replacement_needed(&revoked(1), at(10)), "nobody will sign later");
        let mut after = revoked(1);
        add(&mut after, "replacement", 10);
        assert!(!replacement_needed(&after, at(10)));
        assert_eq!(signer(&after, 10), Some("replacement"));
        assert_eq!(signer(&after, 600), Some("replacement"));
        assert!(!replacement_needed(&keys, at(700)));
        let mut old = keys.clone();
        old[0].revoked_at = Some(at(700));
        assert!(!replacement_needed(&old, at(700)), "it signed no more");
    }

    #[test]
    fn each_key_has_a_state() {
        let mut keys = vec![key("gone", -9000, Some(-5000)), key("old", -5000, Some(0))];
        keys.push(key("now", 0, Some(600)));
        keys.push(key("next", 600, None));
        let mut leaked = key("leaked", -6000, Some(0));
        leaked.revoked_at = Some(at(0));
        keys.push(leaked);
        let states: Vec<_> = states_at(&keys, at(1), LIFE)
            .into_iter()
            .map(KeyState::as_str)
            .collect();
        assert_eq!(states, ["outlived", "verifying", "signing", "pending", "revoked"]);
    }

    #[test]
    fn algorithms_survive_a_round_trip() {
        for algorithm in [SigningAlgorithm::EdDsa, SigningAlgorithm::Es256] {
            assert_eq!(SigningAlgorithm::parse(algorithm.as_str()), Some(algorithm));
        }
        assert_eq!(SigningAlgorithm::parse("none"), None);
    }
}
