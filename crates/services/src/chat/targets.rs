//! From a model's public name to an answer: the target that is asked, the ones that are asked in its place when it
//! fails, and the ones that are left alone for a while. Nothing of it happens once the client has been sent anything.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anteroom_domain::Timestamp;
use anteroom_domain::chat::{Breaker, BreakerPolicy, ModelAlias, Outcome, SendUser, ServedBy, Target};
use anteroom_ports::chat::{ProviderError, ProviderErrorKind, TimeoutStage};
use anteroom_ports::{ChatModel, Embedder};
use jiff::SignedDuration;
use tracing::{info, warn};

use super::Chat;
use super::call::Call;

/// A configured provider.
#[derive(Clone)]
pub struct Provider {
    /// The operator's name for it, which targets use.
    pub name: String,
    /// It, asked for answers.
    pub models: Arc<dyn ChatModel>,
    /// It, asked for embeddings, if it makes any.
    pub embedder: Option<Arc<dyn Embedder>>,
    /// What becomes of an answer whose client goes away.
    pub on_disconnect: OnDisconnect,
    /// Whether it is told who asks.
    pub send_user: SendUser,
}

/// What becomes of a provider's answer when the client that it was for goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDisconnect {
    /// The call is cancelled, at once.
    Cancel,
    /// It is read to its end, for so long at most: where the provider bills it whole all the same, so that what is
    /// booked is what is billed.
    Drain(Duration),
}

/// How failures of targets are dealt with.
#[derive(Debug, Clone, Copy)]
pub struct RoutingOptions {
    /// When a target is left alone.
    pub breaker: BreakerPolicy,
    /// How often all targets of a model are tried once more.
    pub retries: u32,
    /// How long is waited before that, doubled each time; a random part of it is left off.
    pub retry_pause: Duration,
}

/// What [`Chat::draw`] stays below.
const DRAWN: u64 = 1 << 62;

impl RoutingOptions {
    /// How long is waited after that many rounds over all targets: twice as long each time. Up to a half is left off, all of
    /// it by the highest draw, so that calls that failed together do not come back together.
    fn pause(&self, rounds: u32, draw: u64) -> Duration {
        let longest = self.retry_pause.saturating_mul(1 << rounds.min(10));
        // In thousandths, of which there are enough to tell calls apart.
        let left_off = u32::try_from(draw / (DRAWN / 500)).unwrap_or(500).min(500);
        longest.saturating_sub(longest / 1000 * left_off)
    }
}

/// No call waits longer than this for a target that asked for patience.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// A target that asked for patience without saying how much.
const SHORT_REST: Duration = Duration::from_secs(1);

/// A target that asks for more is tried sooner all the same.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// The providers, and how their models do.
pub(super) struct Targets {
    providers: Vec<Provider>,
    breakers: Mutex<HashMap<(String, String), Breaker>>,
    /// Those of which it has been said that nobody stated their price.
    unpriced: Mutex<HashSet<(String, String)>>,
}

impl Targets {
    pub(super) fn new(providers: Vec<Provider>) -> Self {
        Self {
            providers,
            breakers: Mutex::default(),
            unpriced: Mutex::default(),
        }
    }

    /// The provider that lists its models where the operator does not.
    pub(super) fn first(&self) -> &Provider {
        &self.providers[0]
    }

    /// The providers' names.
    pub(super) fn names(&self) -> Vec<&str> {
        self.providers.iter().map(|provider| provider.name.as_str()).collect()
    }

    /// How a target does, as this node knows it.
    pub(super) fn breaker_of(&self, target: &Target) -> Breaker {
        let key = (target.provider.clone(), target.model.clone());
        self.breakers().get(&key).copied().unwrap_or_default()
    }

    fn breakers(&self) -> MutexGuard<'_, HashMap<(String, String), Breaker>> {
        self.breakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on_breaker_of<T>(&self, target: &Target, act: impl FnOnce(&mut Breaker) -> T) -> T {
        self.on_breaker(&target.provider, &target.model, act)
    }

    fn on_breaker<T>(&self, provider: &str, model: &str, act: impl FnOnce(&mut Breaker) -> T) -> T {
        let key = (provider.to_owned(), model.to_owned());
        act(self.breakers().entry(key).or_default())
    }
}

/// One try of one target. If it is dropped before it is said how it went, it says nothing about the target.
struct Try<'a> {
    chat: &'a Chat,
    target: &'a Target,
    said: bool,
}

impl Drop for Try<'_> {
    fn drop(&mut self) {
        if !self.said {
            let now = self.chat.clock.now();
            self.chat
                .targets
                .on_breaker_of(self.target, |breaker| breaker.let_go(now));
        }
    }
}

impl Try<'_> {
    /// It answers. A stream has only begun with that; its end is another thing to be noted.
    fn answered(mut self, how: fn(&mut Breaker) -> bool) {
        self.said = true;
        if self.chat.targets.on_breaker_of(self.target, how) {
            info!(event = "chat.target.recovered", provider = %self.target.provider, model = %self.target.model);
        }
    }

    fn failed(mut self, error: &ProviderError, call: &Call) {
        let rest = match &error.kind {
            // It was not asked.
            ProviderErrorKind::Unsupported { .. } => return,
            // It answers; only this request is not for it.
            ProviderErrorKind::BadRequest { .. } => return self.answered(Breaker::began),
            // Others may still have room there, and nothing else could answer them.
            ProviderErrorKind::RateLimited { .. } if call.alias.targets.len() == 1 => {
                return self.answered(Breaker::began);
            }
            ProviderErrorKind::RateLimited { retry_after } => Some(retry_after.unwrap_or(SHORT_REST).min(LONGEST_REST)),
            _ => None,
        };
        self.said = true;
        let (now, policy) = (self.chat.clock.now(), self.chat.options.routing.breaker);
        let opened = self.chat.targets.on_breaker_of(self.target, |breaker| {
            let Some(rest) = rest else {
                return breaker.failed(now, policy);
            };
            breaker.rest(after(now, rest));
            false
        });
        if opened {
            self.chat.log_opened(&self.target.provider, &self.target.model);
        }
    }
}

fn after(now: Timestamp, time: Duration) -> Timestamp {
    let time = SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
    now.saturating_add(time).unwrap_or(Timestamp::MAX)
}

/// Whether another target may do better.
fn another_may_help(kind: &ProviderErrorKind) -> bool {
    match kind {
        // The model, or the path to it, is not there; or the server is at odds with itself.
        ProviderErrorKind::BadRequest { status, .. } => matches!(status, 404 | 408 | 409 | 421 | 425),
        ProviderErrorKind::Timeout(TimeoutStage::Total) => false,
        _ => true,
    }
}

/// Whether the same target may do better in a moment.
fn a_moment_may_help(kind: &ProviderErrorKind) -> bool {
    matches!(
        kind,
        ProviderErrorKind::RateLimited { .. }
            | ProviderErrorKind::Upstream { .. }
            | ProviderErrorKind::Unreachable
            | ProviderErrorKind::Transport
            | ProviderErrorKind::Timeout(TimeoutStage::Connect)
    )
}

/// Why no target answered.
struct Failed {
    /// The last one's failure.
    error: ProviderError,
    /// How long it is until one may be asked again, if that can help.
    again_after: Option<Duration>,
}

impl Chat {
    /// Notes how a stream ended that a target had begun: whole, or broken off by it. A client that went away says nothing.
    pub(super) fn note_stream_end(&self, target: &ServedBy, outcome: Outcome, failed: bool) {
        let (now, policy) = (self.clock.now(), self.options.routing.breaker);
        let (provider, model) = (&*target.provider, &*target.model);
        let opened = self.targets.on_breaker(provider, model, |breaker| match outcome {
            Outcome::Complete => {
                breaker.came_whole();
                false
            }
            _ => failed && breaker.broke_off(now, policy),
        });
        if opened {
            self.log_opened(provider, model);
        }
    }

    fn log_opened(&self, provider: &str, model: &str) {
        let seconds = self.options.routing.breaker.open_for.as_secs();
        warn!(event = "chat.target.opened", provider, model, seconds);
    }

    /// Says of a target, once, that nobody has stated its price. It is the operator's affair, and no request's.
    pub(super) fn warn_of_missing_price(&self, provider: &str, model: &str) {
        let mut unpriced = self.targets.unpriced.lock().unwrap_or_else(PoisonError::into_inner);
        if unpriced.insert((provider.to_owned(), model.to_owned())) {
            warn!(parent: None, event = "chat.target.unpriced", provider, model);
        }
    }

    /// Asks the targets of the call's model until one answers. `ask` must not have handed anything on when it fails.
    pub(super) async fn ask_targets<T, F>(
        &self,
        call: &Call,
        ask: impl Fn(Provider, &Target) -> F,
    ) -> Result<T, ProviderError>
    where
        F: Future<Output = Result<T, ProviderError>> + Send,
    {
        let (alias, routing) = (&*call.alias, self.options.routing);
        // Targets that cannot serve this call, however often they are asked.
        let mut hopeless: Vec<&Target> = Vec::new();
        let mut round = 0;
        loop {
            let failed = match self.ask_each(call, alias, &mut hopeless, &ask).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let again = failed
                .again_after
                .filter(|_| round < routing.retries && !call.abandoned());
            let Some(wait) = again else {
                return Err(failed.error);
            };
            let pause = routing.pause(round, self.draw()).max(wait);
            if pause > LONGEST_WAIT || call.begun().elapsed() + pause >= self.options.total_timeout {
                return Err(failed.error);
            }
            round += 1;
            warn!(event = "chat.call.retried", call_id = %call.request_id, model = %call.model, reason = %failed.error, round, ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
            tokio::time::sleep(pause).await;
        }
    }

    /// Asks each target once.
    async fn ask_each<'a, T, F>(
        &self,
        call: &Call,
        alias: &'a ModelAlias,
        hopeless: &mut Vec<&'a Target>,
        ask: &impl Fn(Provider, &Target) -> F,
    ) -> Result<T, Failed>
    where
        F: Future<Output = Result<T, ProviderError>> + Send,
    {
        let policy = self.options.routing.breaker;
        let mut last: Option<(&Target, ProviderError)> = None;
        let draw = self.draw();
        for target in self.order(alias, hopeless, draw) {
            let now = self.clock.now();
            // Another call may have begun to try it meanwhile.
            if !self.targets.on_breaker_of(target, |breaker| breaker.admit(now, policy)) {
                continue;
            }
            let tried = Try {
                chat: self,
                target,
                said: false,
            };
            let Some(provider) = self.targets.providers.iter().find(|p| p.name == target.provider) else {
                hopeless.push(target);
                continue;
            };
            // How the last of them fails is for the call to say.
            if let Some((before, e)) = &last {
                warn!(event = "chat.target.failed", call_id = %call.request_id, provider = %before.provider, model = %before.model, reason = %e);
            }
            call.goes_to(provider, target, self.options.traced_content);
            match ask(provider.clone(), target).await {
                Ok(answer) => {
                    call.answers();
                    let how = if call.is_streamed() {
                        Breaker::began
                    } else {
                        Breaker::succeeded
                    };
                    tried.answered(how);
                    return Ok(answer);
                }
                Err(error) => {
                    tried.failed(&error, call);
                    call.tried_in_vain(&error);
                    self.observe_failure(call, &error);
                    if call.abandoned() || !another_may_help(&error.kind) {
                        return Err(Failed {
                            error,
                            again_after: None,
                        });
                    }
                    if !a_moment_may_help(&error.kind) {
                        hopeless.push(target);
                    }
                    // One that was not asked does not hide why another failed.
                    if last.is_none() || !matches!(error.kind, ProviderErrorKind::Unsupported { .. }) {
                        last = Some((target, error));
                    }
                }
            }
        }
        let rest = self.shortest_rest(alias, hopeless);
        let error = match last {
            // Another could do it, once it is asked again.
            Some((_, e)) if rest.is_some() && matches!(e.kind, ProviderErrorKind::Unsupported { .. }) => {
                resting(rest.unwrap_or_default())
            }
            Some((_, e)) => e,
            None => resting(rest.unwrap_or_default()),
        };
        // One that is alone is left alone by nobody, but the call itself does as it asks.
        let asked = match error.kind {
            ProviderErrorKind::RateLimited { retry_after } if alias.targets.len() == 1 => {
                retry_after.unwrap_or_default()
            }
            _ => Duration::ZERO,
        };
        Err(Failed {
            error,
            again_after: rest.map(|rest| rest.max(asked)),
        })
    }

    fn order<'a>(&self, alias: &'a ModelAlias, hopeless: &[&Target], draw: u64) -> Vec<&'a Target> {
        let (now, policy) = (self.clock.now(), self.options.routing.breaker);
        let available = |target: &Target| {
            !hopeless.contains(&target)
                && self
                    .targets
                    .on_breaker_of(target, |breaker| breaker.available(now, policy))
        };
        alias.order(available, draw)
    }

    /// How long it is until a target of the model may be asked; `None` if none can serve the call.
    fn shortest_rest(&self, alias: &ModelAlias, hopeless: &[&Target]) -> Option<Duration> {
        let (now, policy) = (self.clock.now(), self.options.routing.breaker);
        let rest = |target: &Target| {
            let at = self.targets.on_breaker_of(target, |breaker| breaker.opens_at(policy));
            at.and_then(|at| Duration::try_from(at.duration_since(now)).ok())
                .unwrap_or_default()
        };
        let left = alias.targets.iter().filter(|target| !hopeless.contains(target));
        left.map(rest).min()
    }

    /// A number below [`DRAWN`], evenly distributed.
    fn draw(&self) -> u64 {
        // The end of an identifier is random.
        let bytes = self.ids.uuid().into_bytes();
        let mut last = [0; 8];
        last.copy_from_slice(&bytes[8..]);
        // Its first two bits are the variant's.
        u64::from_be_bytes(last) & (DRAWN - 1)
    }
}

fn resting(wait: Duration) -> ProviderError {
    ProviderError {
        kind: ProviderErrorKind::Resting { retry_after: wait },
        detail: "every target of the model has failed lately and is left alone for now".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routing(retry_pause: Duration) -> RoutingOptions {
        RoutingOptions {
            breaker: BreakerPolicy {
                failures: 0,
                open_for: SignedDuration::ZERO,
            },
            retries: 0,
            retry_pause,
        }
    }

    #[test]
    fn a_pause_doubles_and_the_draw_leaves_up_to_a_half_of_it_off() {
        let routing = routing(Duration::from_secs(1));
        for rounds in [0, 1, 2] {
            let longest = Duration::from_secs(1 << rounds);
            assert_eq!(routing.pause(rounds, 0), longest);
            assert_eq!(routing.pause(rounds, DRAWN / 2), longest * 3 / 4);
            assert_eq!(routing.pause(rounds, DRAWN - 1), longest / 2);
        }
        let pauses: Vec<Duration> = (0..100).map(|n| routing.pause(0, DRAWN / 100 * n)).collect();
        assert!(pauses.windows(2).all(|two| two[0] > two[1]), "{pauses:?}");
    }

    #[test]
    fn no_pause_is_too_long_to_be_told() {
        assert!(routing(Duration::from_secs(60)).pause(u32::MAX, 0) < Duration::from_secs(100_000));
        assert!(routing(Duration::MAX).pause(9, u64::MAX) > Duration::from_secs(1));
        assert_eq!(routing(Duration::ZERO).pause(3, 7), Duration::ZERO);
    }
}
