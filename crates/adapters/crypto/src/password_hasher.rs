//! Passwords: bcrypt over a keyed digest, on a pool of its own.
//!
//! The stored form is `$anteroom$1` followed by a bcrypt string, `$2b$<cost>$<22 of salt><31 of hash>`. Version 1 means:
//! what bcrypt hashes is base64(HMAC-SHA-384(pepper, password)). That is 64 characters without a zero byte, so that
//! none of bcrypt's traps apply (it stops at a zero byte and ignores what follows the 72nd), and a stolen table is
//! worth nothing without the deployment's secret.
//!
//! Hashes that were made elsewhere (`foreign.rs`) are replaced by one of ours at the first login. Until then a wrong
//! password must not tell by its time that there is such an account: what its comparison takes less than one of ours
//! is filled up with work of the same kind. What it takes more is not hidden: nothing is made faster by waiting.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{io, thread};

use async_trait::async_trait;
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::alphabet::BCRYPT;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD};
use bcrypt::HashParts;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};

use anteroom_domain::accounts::ForeignHash;
use anteroom_ports::{HashError, PasswordHasher, Verified};

use crate::foreign;
use crate::hashing_pool::{HashingPool, PoolStats};
use crate::keys::PasswordPepper;

/// The lowest cost bcrypt has; for tests.
pub const MIN_COST: u32 = 4;

/// The highest cost that is computed: 2^20 rounds take a minute. A stored hash that claims more is not one of ours.
pub const MAX_COST: u32 = 20;

const VERSION_1: &str = "$anteroom$1";

/// Length of base64(HMAC-SHA-384), padding free since 48 is a multiple of 3.
const INPUT_BYTES: usize = 64;

/// What a cost 12 hash takes on a common server core, until it has been measured.
const COST_12: Duration = Duration::from_millis(230);

/// How passwords are hashed.
#[derive(Debug, Clone)]
pub struct BcryptOptions {
    /// The logarithm of the rounds, [`MIN_COST`] to [`MAX_COST`]. 12 is the default of the configuration.
    pub cost: u32,
    /// Threads; one per core if `None`.
    pub threads: Option<NonZeroUsize>,
    /// The longest expected wait for a turn; whoever would wait longer is refused.
    pub max_wait: Duration,
    /// What passwords are keyed with.
    pub pepper: PasswordPepper,
}

type Input = Zeroizing<[u8; INPUT_BYTES]>;

enum Answer {
    Hash(String),
    Matches(bool),
    Failed(String),
}

/// Hashes passwords with bcrypt on threads of its own.
pub struct BcryptHasher {
    pool: HashingPool<Answer>,
    pepper: PasswordPepper,
    cost: u32,
    decoy: String,
    work: Work,
}

/// What bcrypt has computed, and how fast.
#[derive(Debug, Clone)]
struct Work {
    rounds: Arc<AtomicU64>,
    /// Nanoseconds a round, as measured lately.
    pace: Arc<AtomicU64>,
}

impl Work {
    fn new() -> Self {
        let pace = u64::try_from(COST_12.as_nanos()).unwrap_or_default() >> 12;
        Self {
            rounds: Arc::default(),
            pace: Arc::new(AtomicU64::new(pace)),
        }
    }

    /// Counts the rounds of one hash.
    fn count(&self, cost: u32) {
        self.rounds.fetch_add(1 << cost, Ordering::Relaxed);
    }

    /// Follows what a hash has taken; a new measurement counts an eighth.
    fn measured(&self, cost: u32, took: Duration) {
        let new = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX) >> cost;
        let old = self.pace.load(Ordering::Relaxed);
        self.pace.store(old - old / 8 + new / 8, Ordering::Relaxed);
    }

    fn expected(&self, cost: u32) -> Duration {
        Duration::from_nanos(self.pace.load(Ordering::Relaxed).saturating_mul(1 << cost))
    }

    /// Hashes to no purpose until a hash of `cost` would be done.
    fn fill(&self, input: &Input, cost: u32, begun: Instant) {
        let whole = self.expected(cost);
        for cost in (MIN_COST..cost).rev() {
            while begun.elapsed() + self.expected(cost) <= whole {
                self.count(cost);
                std::hint::black_box(bcrypt::bcrypt(cost, [0; 16], input.as_slice()));
            }
        }
    }
}

impl BcryptHasher {
    /// Starts the threads. Fails on a cost out of range, and if the system gives no thread or no randomness.
    pub fn new(options: BcryptOptions) -> io::Result<Self> {
        let cost = options.cost;
        if !(MIN_COST..=MAX_COST).contains(&cost) {
            let message = format!("a bcrypt cost of {cost} is not between {MIN_COST} and {MAX_COST}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let threads = match options.threads {
            Some(threads) => threads,
            None => thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        };
        let estimate = COST_12.mul_f64(2_f64.powi(cost.cast_signed() - 12));
        Ok(Self {
            pool: HashingPool::start(threads, options.max_wait, estimate)?,
            pepper: options.pepper,
            cost,
            decoy: decoy(cost)?,
            work: Work::new(),
        })
    }

    /// What the pool is doing and has done; for metrics.
    pub fn stats(&self) -> PoolStats {
        self.pool.stats()
    }

    /// Rounds of bcrypt computed so far, 2^cost for each hash.
    pub fn rounds(&self) -> u64 {
        self.work.rounds.load(Ordering::Relaxed)
    }

    /// What is given to bcrypt in place of the password. Microseconds, so it is done where the password is.
    fn input(&self, password: &SecretString) -> Result<Input, HashError> {
        let tag = hmac::sign(&self.pepper.0, password.expose_secret().as_bytes());
        let mut input = Zeroizing::new([0; INPUT_BYTES]);
        match STANDARD.encode_slice(tag.as_ref(), input.as_mut_slice()) {
            Ok(INPUT_BYTES) => Ok(input),
            _ => Err(HashError::Failed("the keyed digest has the wrong length".to_owned())),
        }
    }

    async fn on_pool(&self, work: impl FnOnce() -> Answer + Send + 'static) -> Result<Answer, HashError> {
        let turn = self.pool.submit(work).map_err(|busy| HashError::Busy {
            retry_after_seconds: busy.retry_after.as_secs() + u64::from(busy.retry_after.subsec_nanos() > 0),
        })?;
        match turn.await {
            Ok(Answer::Failed(reason)) => Err(HashError::Failed(reason)),
            Ok(answer) => Ok(answer),
            Err(_) => Err(HashError::Failed("the hashing pool is gone".to_owned())),
        }
    }
}

#[async_trait]
impl PasswordHasher for BcryptHasher {
    async fn hash(&self, password: &SecretString) -> Result<String, HashError> {
        let input = self.input(password)?;
        let (cost, counted) = (self.cost, self.work.clone());
        let work = move || {
            counted.count(cost);
            let begun = Instant::now();
            let hash = bcrypt::non_truncating_hash(input.as_slice(), cost);
            counted.measured(cost, begun.elapsed());
            match hash {
                Ok(hash) => Answer::Hash(format!("{VERSION_1}{hash}")),
                Err(error) => Answer::Failed(error.to_string()),
            }
        };
        match self.on_pool(work).await? {
            Answer::Hash(hash) => Ok(hash),
            _ => Err(HashError::Failed("the hashing pool mixed its answers up".to_owned())),
        }
    }

    async fn verify(&self, password: &SecretString, stored: Option<&str>) -> Result<Verified, HashError> {
        let input = self.input(password)?;
        let (today, work) = (self.cost, self.work.clone());
        let stored = stored.unwrap_or(&self.decoy);
        let (outdated, answer) = if let Some(rest) = stored.strip_prefix(foreign::VERSION) {
            let reason = || HashError::Failed("not a stored password hash of another system".to_owned());
            let stored = foreign::Stored::parse(rest).ok_or_else(reason)?;
            let (pepper, password) = (self.pepper.0.clone(), password.clone());
            let compare = move || compare_foreign(&input, &stored, &pepper, &password, today, &work);
            (true, self.on_pool(compare).await?)
        } else {
            let stored = Stored::parse(stored)?;
            let outdated = stored.cost < self.cost;
            (
                outdated,
                self.on_pool(move || compare(&input, &stored, today, &work)).await?,
            )
        };
        match answer {
            Answer::Matches(matches) => Ok(Verified { matches, outdated }),
            _ => Err(HashError::Failed("the hashing pool mixed its answers up".to_owned())),
        }
    }

    fn adopt(&self, foreign: &ForeignHash) -> Result<String, HashError> {
        Ok(foreign::stored_form(&self.pepper.0, foreign))
    }
}

/// A stored hash whose form has been checked.
struct Stored {
    bcrypt: String,
    cost: u32,
}

impl Stored {
    fn parse(text: &str) -> Result<Self, HashError> {
        let invalid = |reason: &str| HashError::Failed(format!("not a stored password hash: {reason}"));
        let bcrypt = text
            .strip_prefix(VERSION_1)
            .ok_or_else(|| invalid("it is of no known version"))?;
        if !bcrypt.starts_with("$2b$") {
            return Err(invalid("its algorithm is not 2b"));
        }
        // The error may quote the hash, so it is not passed on.
        let parts: HashParts = bcrypt.parse().map_err(|_| invalid("it is malformed"))?;
        let cost = parts.get_cost();
        // Two digits: a number parser would also take a sign.
        if !bcrypt[4..].starts_with(&format!("{cost:02}$")) || !(MIN_COST..=MAX_COST).contains(&cost) {
            return Err(invalid("its cost is out of range"));
        }
        Ok(Self {
            bcrypt: bcrypt.to_owned(),
            cost,
        })
    }
}

fn compare(input: &Input, stored: &Stored, today: u32, work: &Work) -> Answer {
    work.count(stored.cost);
    let begun = Instant::now();
    let matches = match bcrypt::non_truncating_verify(input.as_slice(), &stored.bcrypt) {
        Ok(matches) => matches,
        Err(error) => return Answer::Failed(error.to_string()),
    };
    work.measured(stored.cost, begun.elapsed());
    if !matches {
        // An old, cheaper hash must not tell by its time that there is an account: 2^c + 2^c + 2^(c+1) + .. + 2^(t-1)
        // rounds are 2^t, what the decoy takes.
        for cost in stored.cost..today {
            work.count(cost);
            std::hint::black_box(bcrypt::bcrypt(cost, [0; 16], input.as_slice()));
        }
    }
    Answer::Matches(matches)
}

fn compare_foreign(
    input: &Input,
    stored: &foreign::Stored,
    pepper: &hmac::Key,
    password: &SecretString,
    today: u32,
    work: &Work,
) -> Answer {
    let begun = Instant::now();
    match stored.matches(pepper, password.expose_secret().as_bytes()) {
        Ok(true) => Answer::Matches(true),
        Ok(false) => {
            work.fill(input, today, begun);
            Answer::Matches(false)
        }
        Err(reason) => Answer::Failed(reason),
    }
}

/// A well-formed hash of no password. It costs nothing to make, so the start of the process does not wait for it,
/// and the first unknown address costs what every other does.
fn decoy(cost: u32) -> io::Result<String> {
    let (mut salt, mut hash) = ([0; 16], [0; 23]);
    rand::fill(&mut salt)
        .and_then(|()| rand::fill(&mut hash))
        .map_err(|_| io::Error::other("the system gives no randomness"))?;
    let alphabet = GeneralPurpose::new(&BCRYPT, NO_PAD);
    let (salt, hash) = (alphabet.encode(salt), alphabet.encode(hash));
    Ok(format!("{VERSION_1}$2b${cost:02}${salt}{hash}"))
}

#[cfg(test)]
mod tests {
    use crate::DeploymentKeys;

    use super::*;

    fn pepper(secret: &str) -> PasswordPepper {
        let secret = SecretString::from(secret.repeat(32));
        DeploymentKeys::derive(&secret).unwrap().password_pepper()
    }

    fn hasher(cost: u32) -> BcryptHasher {
        BcryptHasher::new(BcryptOptions {
            cost,
            threads: NonZeroUsize::new(2),
            max_wait: Duration::from_secs(2),
            pepper: pepper("k"),
        })
        .unwrap()
    }

    fn password(text: &str) -> SecretString {
        SecretString::from(text)
    }

    #[tokio::test]
    async fn a_password_matches_itself_and_nothing_else() {
        let hasher = hasher(4);
        let hash = hasher.hash(&password("correct horse")).await.unwrap();
        assert!(hash.starts_with("$anteroom$1$2b$04$") && hash.len() == 71, "{hash}");
        assert_ne!(hash, hasher.hash(&password("correct horse")).await.unwrap());
        for (text, matches) in [("correct horse", true), ("correct hors", false), ("", false)] {
            let verified = hasher.verify(&password(text), Some(&hash)).await.unwrap();
            assert_eq!((verified.matches, verified.outdated), (matches, false), "{text}");
        }
    }

    #[tokio::test]
    async fn nothing_is_truncated() {
        let hasher = hasher(4);
        // The last byte beyond bcrypt's 72, a zero byte in the middle, and the longest password there is.
        let long = |last: char| format!("{}{last}", "a".repeat(99));
        let longest = |last: char| format!("{}{last}", "é".repeat(511));
        for (right, wrong) in [
            (long('x'), long('y')),
            ("secret\0one".to_owned(), "secret\0two".to_owned()),
            (longest('é'), longest('è')),
        ] {
            let hash = hasher.hash(&password(&right)).await.unwrap();
            assert!(hasher.verify(&password(&right), Some(&hash)).await.unwrap().matches);
            assert!(!hasher.verify(&password(&wrong), Some(&hash)).await.unwrap().matches);
        }
    }

    #[tokio::test]
    async fn a_hash_is_worth_nothing_under_another_pepper() {
        let hash = hasher(4).hash(&password("correct horse")).await.unwrap();
        let other = BcryptHasher::new(BcryptOptions {
            cost: 4,
            threads: None,
            max_wait: Duration::from_secs(2),
            pepper: pepper("other"),
        })
        .unwrap();
        assert!(
            !other
                .verify(&password("correct horse"), Some(&hash))
                .await
                .unwrap()
                .matches
        );
    }

    #[tokio::test]
    async fn the_form_of_version_1_never_changes() {
        // bcrypt 2b, cost 4, of base64(HMAC-SHA-384(pepper, "correct horse")), computed with Python.
        let stored = "$anteroom$1$2b$04$abcdefghijklmnopqrstuuy/w59Q4RxVCqRm2P7HW/07ppuTjeTKi";
        let secret = SecretString::from("0123456789abcdef0123456789abcdef");
        let hasher = BcryptHasher::new(BcryptOptions {
            cost: 4,
            threads: None,
            max_wait: Duration::from_secs(2),
            pepper: DeploymentKeys::derive(&secret).unwrap().password_pepper(),
        })
        .unwrap();
        assert!(
            hasher
                .verify(&password("correct horse"), Some(stored))
                .await
                .unwrap()
                .matches
        );
    }

    #[tokio::test]
    async fn an_unknown_address_costs_what_a_wrong_password_costs() {
        let (old, hasher) = (hasher(4), hasher(7));
        let outdated = old.hash(&password("right")).await.unwrap();
        let current = hasher.hash(&password("right")).await.unwrap();
        let mut spent = Vec::new();
        for stored in [None, Some(current.as_str()), Some(outdated.as_str())] {
            let before = hasher.rounds();
            let verified = hasher.verify(&password("wrong"), stored).await.unwrap();
            assert!(!verified.matches);
            spent.push(hasher.rounds() - before);
        }
        assert_eq!(spent, [1 << 7; 3]);
    }

    #[tokio::test]
    async fn a_cheaper_hash_is_outdated_a_dearer_one_is_not() {
        let (four, five) = (hasher(4), hasher(5));
        let cheap = four.hash(&password("p")).await.unwrap();
        let dear = five.hash(&password("p")).await.unwrap();
        let verified = five.verify(&password("p"), Some(&cheap)).await.unwrap();
        assert!(verified.matches && verified.outdated);
        let verified = four.verify(&password("p"), Some(&dear)).await.unwrap();
        assert!(verified.matches && !verified.outdated);
    }

    #[tokio::test]
    async fn a_foreign_hash_is_outdated_and_its_wrong_passwords_take_as_long_as_ours() {
        // PBKDF2-HMAC-SHA-256, 1,000 iterations: less than a millisecond. Ours takes 32 at a cost of 9.
        let text = "$pbkdf2-sha256$1000$AAECAwQFBgcICQoLDA0ODw$KNnI6qMWHAqAnT0mrq8B0juulbkyG7uC.HoDGNtkZlg";
        let hasher = hasher(9);
        let stored = hasher.adopt(&ForeignHash::parse(text).unwrap()).unwrap();
        let right = password("correct horse bättery");
        // So that it is known how fast this machine is.
        for _ in 0..16 {
            hasher.verify(&right, None).await.unwrap();
        }
        let before = hasher.rounds();
        let verified = hasher.verify(&right, Some(&stored)).await.unwrap();
        assert!(verified.matches && verified.outdated);
        assert_eq!(hasher.rounds(), before);
        let verified = hasher.verify(&password("wrong"), Some(&stored)).await.unwrap();
        assert!(!verified.matches);
        let filled = hasher.rounds() - before;
        // Rounds are counted and time is measured, on a machine that does other things too.
        assert!(filled > 1 << 7 && filled <= 1 << 10, "{filled}");
        // Under another pepper it is nobody's.
        let other = BcryptHasher::new(BcryptOptions {
            cost: 4,
            threads: None,
            max_wait: Duration::from_secs(2),
            pepper: pepper("other"),
        })
        .unwrap();
        assert!(!other.verify(&right, Some(&stored)).await.unwrap().matches);
    }

    #[tokio::test]
    async fn what_is_no_stored_hash_is_a_failure() {
        let hasher = hasher(4);
        let good = hasher.hash(&password("p")).await.unwrap();
        for bad in [
            "",
            "p",
            "$anteroom$1",
            "$anteroom$f1$",
            "$anteroom$f1$bcrypt:31$23$AAAA$AAAA",
            &good[..70],
            &format!("{good}x"),
            &good[11..],
            &good.replace("$anteroom$1$", "$anteroom$2$"),
            &good.replace("$2b$", "$2x$"),
            &good.replace("$04$", "$31$"),
            &good.replace("$04$", "$+4$"),
        ] {
            let failed = hasher.verify(&password("p"), Some(bad)).await.unwrap_err();
            assert!(matches!(failed, HashError::Failed(_)), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_long_queue_refuses_and_computes_nothing() {
        let hasher = BcryptHasher::new(BcryptOptions {
            cost: 12,
            threads: Some(NonZeroUsize::MIN),
            max_wait: Duration::ZERO,
            pepper: pepper("k"),
        })
        .unwrap();
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let running = hasher.pool.submit(move || {
            wait.recv().unwrap_or_default();
            Answer::Matches(false)
        });
        for stored in [None, Some(hasher.decoy.as_str())] {
            let refused = hasher.verify(&password("p"), stored).await;
            assert_eq!(refused, Err(HashError::Busy { retry_after_seconds: 1 }));
        }
        drop(release);
        assert!(running.unwrap().await.is_ok());
        assert_eq!((hasher.rounds(), hasher.stats().refused), (0, 2));
    }

    #[test]
    fn the_decoy_costs_the_start_nothing() {
        let hasher = hasher(4);
        assert_eq!(hasher.rounds(), 0);
    }

    #[test]
    fn costs_out_of_range_are_refused() {
        for cost in [0, 3, 21, 31] {
            let options = BcryptOptions {
                cost,
                threads: None,
                max_wait: Duration::ZERO,
                pepper: pepper("k"),
            };
            assert!(BcryptHasher::new(options).is_err(), "{cost}");
        }
    }
}
