//! A stream's way through an adapter: event by event, each in its time, nothing read ahead.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use eventsource_stream::Event;
use futures_util::stream;
use reqwest::Response;
use tokio::time::{Instant, timeout, timeout_at};

use anteroom_ports::chat::{ChatEvent, ChatEvents, ProviderError, TimeoutStage};

use super::events::{self, Events};
use super::redact::Redactor;
use super::{Timeouts, failure};

/// How long the list of models may take, if a whole answer may take longer.
const MODELS_TIME: Duration = Duration::from_secs(30);

/// How long the end of a connection's answer is waited for after its last event, so that the connection can be used
/// again.
const END_TIME: Duration = Duration::from_millis(10);

/// What a dialect's events mean.
pub(crate) trait Reader: Send + 'static {
    /// Reads an event. What it brings is added to `out`: nothing where it is a sign of life, [`ChatEvent::Done`] last
    /// where the answer is whole.
    fn read(&mut self, event: Event, redactor: &Redactor, out: &mut VecDeque<ChatEvent>) -> Result<(), ProviderError>;

    /// The body has ended, and no event said that the answer is whole.
    fn end(&mut self, _: &Redactor, _: &mut VecDeque<ChatEvent>) -> Result<(), ProviderError> {
        Err(failure::protocol("a stream that ended before its answer was whole"))
    }
}

/// A whole answer, in the time that it may take.
pub(crate) async fn whole<T>(
    timeouts: &Timeouts,
    answer: impl Future<Output = Result<T, ProviderError>>,
) -> Result<T, ProviderError> {
    let answer = timeout(timeouts.total, answer).await;
    answer.map_err(|_| failure::timeout(TimeoutStage::Total))?
}

/// The list of models, in the time that it may take.
pub(crate) async fn models<T>(
    timeouts: &Timeouts,
    listed: impl Future<Output = Result<T, ProviderError>>,
) -> Result<T, ProviderError> {
    let listed = timeout(MODELS_TIME.min(timeouts.total), listed).await;
    listed.map_err(|_| failure::timeout(TimeoutStage::Total))?
}

/// A stream that has begun: its first event has come.
pub(crate) async fn stream(
    timeouts: &Timeouts,
    opening: impl Future<Output = Result<Response, ProviderError>>,
    reader: impl Reader,
    redactor: Arc<Redactor>,
) -> Result<ChatEvents, ProviderError> {
    let total = after(timeouts.total);
    let first = Limit::new(after(timeouts.first_token), TimeoutStage::FirstToken, total);
    let opened = timeout_at(first.at, opening).await;
    let response = opened.map_err(|_| failure::timeout(first.stage))??;
    let mut relay = Relay {
        events: Events::new(response.bytes_stream()),
        reader,
        ready: VecDeque::new(),
        failed: None,
        redactor,
        idle: timeouts.idle,
        total,
    };
    let first = relay.next(first).await?;
    Ok(Box::pin(stream::unfold(
        Some((relay, Some(first))),
        |state| async move {
            let (mut relay, first) = state?;
            let item = match first {
                Some(event) => Ok(event),
                None => relay.next_in_time().await,
            };
            let over = matches!(item, Err(_) | Ok(ChatEvent::Done));
            Some((item, (!over).then_some((relay, None))))
        },
    )))
}

/// A time from now; one beyond reckoning is thirty years.
fn after(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time)
        .unwrap_or_else(|| now + Duration::from_secs(30 * 365 * 24 * 3600))
}

/// Until when something is waited for, and what is then missing.
#[derive(Clone, Copy)]
struct Limit {
    at: Instant,
    stage: TimeoutStage,
}

impl Limit {
    fn new(at: Instant, stage: TimeoutStage, total: Instant) -> Self {
        if total <= at {
            let stage = TimeoutStage::Total;
            return Self { at: total, stage };
        }
        Self { at, stage }
    }
}

/// A stream that runs. It holds the connection and nothing else: dropping it hangs up.
struct Relay<R> {
    events: Events<reqwest::Error>,
    reader: R,
    /// What the last event brought and has not been handed on.
    ready: VecDeque<ChatEvent>,
    /// What went wrong after that.
    failed: Option<ProviderError>,
    redactor: Arc<Redactor>,
    idle: Duration,
    total: Instant,
}

impl<R: Reader> Relay<R> {
    async fn next_in_time(&mut self) -> Result<ChatEvent, ProviderError> {
        let limit = Limit::new(after(self.idle), TimeoutStage::Idle, self.total);
        self.next(limit).await
    }

    async fn next(&mut self, limit: Limit) -> Result<ChatEvent, ProviderError> {
        loop {
            // Checked by hand: what is ready at once never runs into the timeout below.
            if Instant::now() >= self.total {
                return Err(failure::timeout(TimeoutStage::Total));
            }
            match self.ready.pop_front() {
                Some(ChatEvent::Done) => {
                    // Every chunk has been handed on. A connection whose answer was not read to its end is closed,
                    // and the next call would have to make another, with all of TLS.
                    let _ = timeout(END_TIME, self.events.next()).await;
                    return Ok(ChatEvent::Done);
                }
                Some(chunk) => return Ok(chunk),
                None => {}
            }
            if let Some(failed) = self.failed.take() {
                return Err(failed);
            }
            let next = timeout_at(limit.at, self.events.next()).await;
            let read = match next.map_err(|_| failure::timeout(limit.stage))? {
                Some(Ok(event)) => self.reader.read(event, &self.redactor, &mut self.ready),
                Some(Err(error)) => Err(events::unreadable(error, &self.redactor)),
                None => {
                    let ended = self.reader.end(&self.redactor, &mut self.ready);
                    let whole = self.ready.back() == Some(&ChatEvent::Done);
                    ended.and(
                        whole
                            .then_some(())
                            .ok_or_else(|| failure::protocol("a stream without an end")),
                    )
                }
            };
            self.failed = read.err();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use anteroom_ports::chat::ChatChunk;

    use super::*;

    struct Endless;

    impl Reader for Endless {
        fn read(&mut self, _: Event, _: &Redactor, out: &mut VecDeque<ChatEvent>) -> Result<(), ProviderError> {
            out.push_back(ChatEvent::Chunk(ChatChunk::default()));
            Ok(())
        }
    }

    /// Brings two chunks, and fails with the same event.
    struct Torn;

    impl Reader for Torn {
        fn read(&mut self, _: Event, _: &Redactor, out: &mut VecDeque<ChatEvent>) -> Result<(), ProviderError> {
            out.extend([ChatChunk::default(), ChatChunk::default()].map(ChatEvent::Chunk));
            Err(failure::protocol("torn"))
        }
    }

    fn relay<R: Reader>(reader: R, total: Duration) -> Relay<R> {
        let body = stream::repeat_with(|| Ok(Bytes::from_static(b"data: {}\n\n")));
        Relay {
            events: Events::new(body),
            reader,
            ready: VecDeque::new(),
            failed: None,
            redactor: Arc::new(Redactor::new("".into())),
            idle: Duration::from_secs(30),
            total: after(total),
        }
    }

    #[tokio::test]
    async fn a_server_that_never_lets_us_wait_is_stopped_by_the_total_time() {
        let mut relay = relay(Endless, Duration::from_millis(50));
        let begun = Instant::now();
        let failure = loop {
            match relay.next_in_time().await {
                Err(failure) => break failure,
                Ok(_) => assert!(begun.elapsed() < Duration::from_secs(30)),
            }
        };
        assert_eq!(failure, failure::timeout(TimeoutStage::Total));
    }

    #[tokio::test]
    async fn what_came_with_a_failure_comes_before_it() {
        let mut relay = relay(Torn, Duration::from_secs(30));
        assert!(relay.next_in_time().await.is_ok());
        assert!(relay.next_in_time().await.is_ok());
        assert_eq!(relay.next_in_time().await, Err(failure::protocol("torn")));
    }

    #[test]
    fn a_time_beyond_reckoning_is_far_away() {
        assert!(after(Duration::MAX) > after(Duration::from_secs(3600)));
    }
}
