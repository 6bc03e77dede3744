//! Answers that are given again when exactly the same is asked again. They are kept in this process's memory only.

use std::sync::Arc;

use anteroom_domain::Timestamp;
use anteroom_domain::chat::{ChatRequest, Direction, EndUser, ModelAlias, SendUser};
use anteroom_ports::chat::{ChatChunk, ChatReply};
use bytes::Bytes;
use jiff::SignedDuration;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::Chat;
use crate::access::Principal;

/// What is kept, of whom, and for how long.
#[derive(Debug, Clone)]
pub struct CacheOptions {
    /// The most bytes that all kept answers have together; 0: none are kept.
    pub max_bytes: u64,
    /// For how long an answer is given again.
    pub ttl: SignedDuration,
    /// Whether accounts are given one another's answers.
    pub shared: bool,
    /// Whether answers are kept whose model was to vary them: without `temperature: 0`.
    pub any_temperature: bool,
}

impl Default for CacheOptions {
    /// Nothing is kept.
    fn default() -> Self {
        Self {
            max_bytes: 0,
            ttl: SignedDuration::from_mins(10),
            shared: false,
            any_temperature: false,
        }
    }
}

/// What the caller wants of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheUse {
    /// A kept answer will do.
    #[default]
    Take,
    /// The answer is to be new, and may be kept.
    Renew,
    /// The answer is to be new, and is not to be kept.
    Avoid,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheStatus {
    /// The answer is a kept one.
    Hit,
    /// It is new; had there been one, it would have been given.
    Miss,
}

/// An answer that is kept.
pub(super) struct Kept {
    at: Timestamp,
    pub(super) answer: KeptAnswer,
    pub(super) dropped: Vec<String>,
}

pub(super) enum KeptAnswer {
    Whole(Bytes),
    /// A stream's chunks, and whether each carries nothing but usage.
    Stream(Vec<(Bytes, bool)>),
}

/// What tells one request from another: a digest of everything that may change its answer.
pub(super) type Key = [u8; 32];

/// What one entry takes beside its bytes.
const OVERHEAD: usize = 256;

/// The answers.
pub(super) struct AnswerCache {
    kept: Cache<Key, Arc<Kept>>,
    ttl: SignedDuration,
    /// The most that one answer may have, so that it does not drive all others out.
    largest: usize,
}

impl Kept {
    fn size(&self) -> usize {
        let answer = match &self.answer {
            KeptAnswer::Whole(body) => body.len(),
            KeptAnswer::Stream(chunks) => chunks
                .iter()
                .map(|(data, _)| data.len() + size_of::<(Bytes, bool)>())
                .sum(),
        };
        answer + self.dropped.iter().map(String::len).sum::<usize>() + OVERHEAD
    }
}

impl AnswerCache {
    pub(super) fn of(options: &CacheOptions) -> Option<Self> {
        if options.max_bytes == 0 {
            return None;
        }
        let kept = Cache::builder()
            .max_capacity(options.max_bytes)
            .weigher(|_: &Key, kept: &Arc<Kept>| u32::try_from(kept.size()).unwrap_or(u32::MAX))
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Some(Self {
            kept,
            ttl: options.ttl,
            largest: usize::try_from(options.max_bytes / 8).unwrap_or(usize::MAX),
        })
    }

    fn get(&self, key: &Key, now: Timestamp) -> Option<Arc<Kept>> {
        let kept = self.kept.get(key)?;
        if now.duration_since(kept.at) >= self.ttl {
            self.kept.invalidate(key);
            return None;
        }
        Some(kept)
    }

    fn put(&self, key: Key, kept: Kept) {
        if kept.size() <= self.largest {
            self.kept.insert(key, Arc::new(kept));
        }
    }

    #[cfg(test)]
    fn bytes(&self) -> u64 {
        self.kept.run_pending_tasks();
        self.kept.weighted_size()
    }
}

/// Whether an answer, or a chunk, says of every choice that ended why, and only what a whole answer ends with. A choice
/// that was cut off or filtered is no answer to give again.
fn endings(body: &Value) -> impl Iterator<Item = bool> {
    let choices = body["choices"].as_array().into_iter().flatten();
    choices.filter_map(|choice| {
        choice["finish_reason"]
            .as_str()
            .map(|word| matches!(word, "stop" | "tool_calls"))
    })
}

/// Gathers a stream while it passes, to keep it if it turns out whole.
pub(super) struct Keeper {
    key: Key,
    chunks: Vec<(Bytes, bool)>,
    bytes: usize,
    largest: usize,
    ended: usize,
    fit: bool,
    dropped: Vec<String>,
}

impl Keeper {
    pub(super) fn take_note(&mut self, chunk: &ChatChunk) {
        if !self.fit {
            return;
        }
        self.bytes += chunk.data.len();
        let parsed: Option<Value> = serde_json::from_slice(&chunk.data).ok();
        let Some(parsed) = parsed.filter(|_| self.bytes <= self.largest) else {
            self.fit = false;
            self.chunks = Vec::new();
            return;
        };
        for fit in endings(&parsed) {
            self.ended += 1;
            self.fit &= fit;
        }
        self.chunks.push((chunk.data.clone(), chunk.usage_only));
    }
}

impl Chat {
    /// The key of a request whose answer may be kept: one that a model answers alike each time, unless the operator does
    /// not mind. Whatever may change the answer is part of it: who asks, where answers are not shared; the model's
    /// targets and limits, so that a changed one is another; what the moderator goes by.
    pub(super) fn cache_key(&self, who: &Principal, alias: &ModelAlias, request: &ChatRequest) -> Option<Key> {
        let (cache, target) = (&self.options.cache, alias.targets.first()?);
        self.cache.as_ref()?;
        let steady = request.temperature().is_some_and(|temperature| temperature == 0.0);
        // What passed because nobody could look at it must not pass again.
        let unseen = self.options.moderation.fail_open && self.moderator(Direction::Output).is_some();
        if unseen || !steady && !cache.any_temperature {
            return None;
        }
        let mut digest = Sha256::new();
        let mut field = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_be_bytes());
            digest.update(bytes);
        };
        let owner = who.user().id;
        field(if cache.shared { &[] } else { owner.0.as_bytes() });
        field(&serde_json::to_vec(alias).ok()?);
        for direction in [Direction::Input, Direction::Output] {
            let version = self.moderator(direction).map(|moderator| moderator.version());
            field(version.unwrap_or_default().as_bytes());
        }
        field(&[u8::from(request.stream)]);
        // Who asks has no part in what is answered.
        let nobody = EndUser {
            send: SendUser::Never,
            name: &String::new,
        };
        field(&request.canonical(alias, target, nobody));
        Some(digest.finalize().into())
    }

    /// The kept answer, if there is one.
    pub(super) fn cached(&self, key: &Key) -> Option<Arc<Kept>> {
        let kept = self.cache.as_ref()?.get(key, self.clock.now());
        let result = if kept.is_some() { "hit" } else { "miss" };
        metrics::counter!("anteroom_chat_cache_lookups_total", "result" => result).increment(1);
        kept
    }

    /// Keeps a whole answer, if it is one to be given again.
    pub(super) fn keep_whole(&self, key: Key, reply: &ChatReply) {
        let parsed: Option<Value> = serde_json::from_slice(&reply.body).ok();
        let fit = parsed.is_some_and(|body| {
            let mut ended = endings(&body).peekable();
            ended.peek().is_some() && ended.all(|fit| fit)
        });
        if let Some(cache) = self.cache.as_ref().filter(|_| fit) {
            let kept = Kept {
                at: self.clock.now(),
                answer: KeptAnswer::Whole(reply.body.clone()),
                dropped: reply.dropped.clone(),
            };
            cache.put(key, kept);
        }
    }

    /// Gathers a stream that may be kept.
    pub(super) fn keeper(&self, key: Key, dropped: Vec<String>) -> Option<Keeper> {
        let cache = self.cache.as_ref()?;
        Some(Keeper {
            key,
            chunks: Vec::new(),
            bytes: 0,
            largest: cache.largest,
            ended: 0,
            fit: true,
            dropped,
        })
    }

    /// Keeps a stream that came to its end.
    pub(super) fn keep_stream(&self, keeper: Keeper) {
        if let Some(cache) = self.cache.as_ref().filter(|_| keeper.fit && keeper.ended > 0) {
            let kept = Kept {
                at: self.clock.now(),
                answer: KeptAnswer::Stream(keeper.chunks),
                dropped: keeper.dropped,
            };
            cache.put(keeper.key, kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(max_bytes: u64) -> AnswerCache {
        let options = CacheOptions {
            max_bytes,
            ..CacheOptions::default()
        };
        AnswerCache::of(&options).unwrap()
    }

    fn kept(bytes: usize) -> Kept {
        Kept {
            at: Timestamp::UNIX_EPOCH,
            answer: KeptAnswer::Whole(Bytes::from(vec![b'x'; bytes])),
            dropped: Vec::new(),
        }
    }

    fn key(number: u16) -> Key {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&number.to_be_bytes());
        key
    }

    #[test]
    fn it_never_holds_more_bytes_than_it_may() {
        let cache = cache(100_000);
        for number in 0..1000 {
            cache.put(key(number), kept(1000));
        }
        assert!(cache.bytes() <= 100_000 && cache.bytes() > 50_000, "{}", cache.bytes());
        assert!(
            cache.get(&key(999), Timestamp::UNIX_EPOCH).is_some(),
            "the newest is there"
        );
        assert!(cache.get(&key(0), Timestamp::UNIX_EPOCH).is_none(), "the oldest is not");
    }

    #[test]
    fn one_answer_does_not_drive_all_others_out() {
        let cache = cache(8000);
        cache.put(key(1), kept(900));
        assert!(cache.get(&key(1), Timestamp::UNIX_EPOCH).is_none());
        cache.put(key(2), kept(100));
        assert!(cache.get(&key(2), Timestamp::UNIX_EPOCH).is_some());
    }

    #[test]
    fn it_is_not_there_unless_it_may_hold_something() {
        assert!(AnswerCache::of(&CacheOptions::default()).is_none());
    }
}
