//! Events on their way to the webhook endpoints: on a thread of its own, in order for each endpoint, again until they
//! are taken, and as badly as the knobs say.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, header, redirect};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{Notify, OnceCell};
use tracing::{debug, warn};

use crate::json::{int, set, set_hidden, text};
use crate::signature::{SIGNATURE_HEADER, sign};
use crate::world::{real_now, shown_event};
use crate::{Stub, StubError};

/// How long an endpoint may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Waits before an event is tried again, at the pace of development.
const SOON: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
];
/// After these it is tried once an hour of the stub's clock, in seconds.
const LATER: i64 = 3600;
/// For how long: Stripe's three days, in seconds.
const AT_LONGEST: i64 = 3 * 86_400;
/// How often is looked for what falls due by itself.
const TICK: Duration = Duration::from_secs(1);

/// How badly events are delivered. The default is: well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knobs {
    /// How many times each event is delivered.
    pub duplicate: u32,
    /// Whether events that wait together are shuffled.
    pub reorder: bool,
    /// A wait before each delivery, in milliseconds.
    pub delay_ms: u64,
    /// How many of the next events are lost on their way.
    pub drop: u32,
    /// How likely each event is lost, from 0 to 1.
    pub drop_probability: f64,
    /// What is added to the time in signatures, in seconds; beyond 300 either way they are stale.
    pub timestamp_offset_s: i64,
    /// Whether events wait until they are released.
    pub paused: bool,
    /// What dice of `reorder` and `drop_probability` begin with.
    pub seed: u64,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            duplicate: 1,
            reorder: false,
            delay_ms: 0,
            drop: 0,
            drop_probability: 0.0,
            timestamp_offset_s: 0,
            paused: false,
            seed: 1,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Job {
    event: String,
    tries: usize,
}

/// What waits for one endpoint.
#[derive(Debug, Default)]
struct Lane {
    jobs: VecDeque<Job>,
    busy: bool,
    /// How many may go although deliveries are paused.
    released: usize,
}

#[derive(Debug, Default)]
struct Queue {
    lanes: HashMap<String, Lane>,
    /// What is tried again at a time of the stub's clock: when, where, what.
    waiting: Vec<(i64, String, Job)>,
    knobs: Knobs,
    dice: u64,
}

impl Queue {
    /// Splitmix64: even enough for dice, and the same for the same seed.
    fn roll(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// What may go to this endpoint now, all at once.
    fn batch(&mut self, endpoint: &str) -> Vec<Job> {
        let (paused, reorder) = (self.knobs.paused, self.knobs.reorder);
        let Some(lane) = self.lanes.get_mut(endpoint) else {
            return Vec::new();
        };
        let most = if paused {
            lane.released.min(lane.jobs.len())
        } else {
            lane.jobs.len()
        };
        let mut batch: Vec<_> = lane.jobs.drain(..most).collect();
        lane.released = lane.released.saturating_sub(most);
        lane.busy = !batch.is_empty();
        if reorder {
            for last in (1..batch.len()).rev() {
                let bound = u64::try_from(last + 1).unwrap_or(u64::MAX);
                let other = usize::try_from(self.roll() % bound).unwrap_or_default();
                batch.swap(last, other);
            }
        }
        batch
    }

    /// Whether the next event is lost.
    fn loses(&mut self) -> bool {
        if self.knobs.drop > 0 {
            self.knobs.drop -= 1;
            return true;
        }
        if self.knobs.drop_probability <= 0.0 {
            return false;
        }
        let thrown = u32::try_from(self.roll() >> 32).unwrap_or_default();
        f64::from(thrown) / f64::from(u32::MAX) < self.knobs.drop_probability
    }
}

/// The queues of all endpoints.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    wake: Notify,
}

impl Outbox {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an event for these endpoints.
    pub(crate) fn push(&self, event: &str, endpoints: &[String]) {
        let mut queue = self.queue();
        for endpoint in endpoints {
            let lane = queue.lanes.entry(endpoint.clone()).or_default();
            lane.jobs.push_back(Job {
                event: event.to_owned(),
                tries: 0,
            });
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// The knobs.
    pub(crate) fn knobs(&self) -> Knobs {
        self.queue().knobs.clone()
    }

    /// Sets them; dice begin anew.
    pub(crate) fn set_knobs(&self, knobs: Knobs) {
        let mut queue = self.queue();
        queue.dice = knobs.seed;
        queue.knobs = knobs;
        drop(queue);
        self.wake.notify_one();
    }

    /// Lets everything go that waits now, paused or not.
    pub(crate) fn release(&self) {
        for lane in self.queue().lanes.values_mut() {
            lane.released = lane.jobs.len();
        }
        self.wake.notify_one();
    }

    /// Forgets what waits.
    pub(crate) fn clear(&self) {
        let mut queue = self.queue();
        for lane in queue.lanes.values_mut() {
            lane.jobs.clear();
        }
        queue.waiting.clear();
    }

    /// Wakes the thread.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Whether nothing is on its way. What is held back, or tried again by the stub's clock, is not.
    pub(crate) fn is_settled(&self) -> bool {
        let queue = self.queue();
        let paused = queue.knobs.paused;
        let idle = |lane: &Lane| !lane.busy && (lane.jobs.is_empty() || (paused && lane.released == 0));
        queue.lanes.values().all(idle)
    }

    /// How many deliveries wait, in any way.
    pub(crate) fn waiting(&self) -> usize {
        let queue = self.queue();
        queue.lanes.values().map(|lane| lane.jobs.len()).sum::<usize>() + queue.waiting.len()
    }

    /// Takes up again what was to be tried by the stub's clock.
    fn take_up(&self, now: i64) {
        let mut queue = self.queue();
        let (due, later) = std::mem::take(&mut queue.waiting)
            .into_iter()
            .partition(|(when, ..)| *when <= now);
        queue.waiting = later;
        let due: Vec<(i64, String, Job)> = due;
        for (_, endpoint, job) in due {
            queue.lanes.entry(endpoint).or_default().jobs.push_back(job);
        }
    }

    /// The endpoints that have something to send and nobody who does.
    fn idle_lanes(&self) -> Vec<String> {
        let mut queue = self.queue();
        let paused = queue.knobs.paused;
        let mut ready = Vec::new();
        for (endpoint, lane) in &mut queue.lanes {
            if !lane.busy && !lane.jobs.is_empty() && (!paused || lane.released > 0) {
                lane.busy = true;
                ready.push(endpoint.clone());
            }
        }
        ready
    }
}

/// Starts the thread, which ends with the stub.
pub(crate) fn start(stub: Weak<Stub>, outbox: std::sync::Arc<Outbox>) -> Result<(), StubError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StubError::Thread)?;
    let work = move || runtime.block_on(run(&stub, &outbox));
    let thread = std::thread::Builder::new().name("stripe-stub".into()).spawn(work);
    thread.map(drop).map_err(StubError::Thread)
}

async fn run(stub: &Weak<Stub>, outbox: &std::sync::Arc<Outbox>) {
    let client = std::sync::Arc::new(OnceCell::new());
    loop {
        // A timeout is the tick: something may have fallen due.
        let _ = tokio::time::timeout(TICK, outbox.wake.notified()).await;
        let Some(now) = stub.upgrade().map(|stub| stub.tick()) else {
            return;
        };
        outbox.take_up(now.as_second());
        for endpoint in outbox.idle_lanes() {
            let sender = Sender {
                stub: stub.clone(),
                outbox: outbox.clone(),
                client: client.clone(),
                endpoint,
            };
            tokio::spawn(sender.send_all());
        }
    }
}

/// Sends to one endpoint what waits for it.
struct Sender {
    stub: Weak<Stub>,
    outbox: std::sync::Arc<Outbox>,
    // Made at the first delivery: reading the system's certificates would slow every start.
    client: std::sync::Arc<OnceCell<Client>>,
    endpoint: String,
}

/// What an attempt needs to know.
struct Letter {
    url: String,
    secret: SecretString,
    body: String,
    /// When it is given up, by the stub's clock.
    until: i64,
}

impl Sender {
    async fn send_all(self) {
        loop {
            let batch = self.outbox.queue().batch(&self.endpoint);
            if batch.is_empty() {
                return;
            }
            for job in batch {
                let (knobs, lost) = {
                    let mut queue = self.outbox.queue();
                    (queue.knobs.clone(), queue.loses())
                };
                if lost {
                    debug!(event = %job.event, "an event is lost on its way, as the knobs say");
                    self.delivered(&job.event, false);
                    continue;
                }
                tokio::time::sleep(Duration::from_millis(knobs.delay_ms)).await;
                for _ in 0..knobs.duplicate.max(1) {
                    self.deliver(job.clone(), knobs.timestamp_offset_s).await;
                }
            }
        }
    }

    /// Delivers one event, or puts it off.
    async fn deliver(&self, mut job: Job, offset: i64) {
        loop {
            let Some(letter) = self.letter(&job.event) else { return };
            if self.attempt(&letter, offset).await {
                return self.delivered(&job.event, true);
            }
            job.tries += 1;
            if let Some(wait) = SOON.get(job.tries - 1) {
                tokio::time::sleep(*wait).await;
                continue;
            }
            let Some(now) = self.stub.upgrade().map(|stub| stub.now().as_second()) else {
                return;
            };
            if now + LATER > letter.until {
                warn!(event = %job.event, "an event is given up after three days");
                return self.delivered(&job.event, false);
            }
            let put_off = (now + LATER, self.endpoint.clone(), job);
            self.outbox.queue().waiting.push(put_off);
            return;
        }
    }

    /// What is sent where; `None` once the event, the endpoint or the stub is gone.
    fn letter(&self, event: &str) -> Option<Letter> {
        let stub = self.stub.upgrade()?;
        let world = stub.world();
        let endpoint = world
            .get(&self.endpoint)
            .filter(|endpoint| text(endpoint, "status") == "enabled")?;
        let event = world.get(event)?;
        let secret = stub.endpoint_secret(endpoint);
        Some(Letter {
            url: text(endpoint, "url").to_owned(),
            secret,
            body: shown_event(event).to_string(),
            until: int(event, "created") + AT_LONGEST,
        })
    }

    async fn attempt(&self, letter: &Letter, offset: i64) -> bool {
        let client = match self.client.get_or_try_init(|| async { client() }).await {
            Ok(client) => client,
            Err(error) => {
                warn!(%error, "no HTTP client");
                return false;
            }
        };
        let time = real_now()
            .saturating_add(SignedDuration::from_secs(offset))
            .unwrap_or(Timestamp::MAX);
        let request = client
            .post(&letter.url)
            .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
            .header(header::USER_AGENT, "Stripe/1.0 (stripe-stub)")
            .header(SIGNATURE_HEADER, sign(&letter.secret, letter.body.as_bytes(), time))
            .body(letter.body.clone());
        match request.send().await {
            Ok(answer) if answer.status().is_success() => true,
            Ok(answer) => {
                debug!(endpoint = %self.endpoint, status = %answer.status(), "a webhook refused an event");
                false
            }
            Err(error) => {
                debug!(endpoint = %self.endpoint, %error, "a webhook cannot be reached");
                false
            }
        }
    }

    /// Writes down that the event need not be sent here again.
    fn delivered(&self, event: &str, arrived: bool) {
        let Some(stub) = self.stub.upgrade() else { return };
        let mut world = stub.world();
        let Some(mut object) = world.get(event).cloned() else {
            return;
        };
        let mut pending = world.pending(event);
        let before = pending.len();
        pending.retain(|endpoint| *endpoint != self.endpoint);
        if pending.len() == before {
            return;
        }
        if arrived {
            let left = int(&object, "pending_webhooks") - 1;
            set(&mut object, "pending_webhooks", left.max(0));
        }
        set_hidden(&mut object, "pending", Value::from(pending));
        world.put(object);
        if world.commit().is_err() {
            world.roll_back();
        }
    }
}

fn client() -> Result<Client, reqwest::Error> {
    // An endpoint is mostly on loopback: no proxy can reach it, and an event is not for whoever it redirects to.
    Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .timeout(TIMEOUT)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(knobs: Knobs, jobs: usize) -> Queue {
        let mut queue = Queue {
            dice: knobs.seed,
            knobs,
            ..Queue::default()
        };
        let lane = queue.lanes.entry("we_1".into()).or_default();
        lane.jobs.extend((0..jobs).map(|n| Job {
            event: format!("evt_{n}"),
            tries: 0,
        }));
        queue
    }

    fn ids(batch: &[Job]) -> Vec<&str> {
        batch.iter().map(|job| job.event.as_str()).collect()
    }

    #[test]
    fn shuffling_is_the_same_for_the_same_seed() {
        let shuffled = |seed| {
            let knobs = Knobs {
                reorder: true,
                seed,
                ..Knobs::default()
            };
            queue(knobs, 20).batch("we_1")
        };
        assert_eq!(shuffled(7), shuffled(7));
        assert_ne!(ids(&shuffled(7)), ids(&shuffled(8)));
        let mut sorted = shuffled(7);
        let plain = queue(Knobs::default(), 20).batch("we_1");
        assert_ne!(sorted, plain);
        sorted.sort_by_key(|job| job.event[4..].parse::<u32>().unwrap());
        assert_eq!(sorted, plain);
    }

    #[test]
    fn so_many_are_lost_as_the_knobs_say() {
        let mut few = queue(
            Knobs {
                drop: 2,
                ..Knobs::default()
            },
            0,
        );
        assert_eq!([few.loses(), few.loses(), few.loses()], [true, true, false]);
        let mut half = queue(
            Knobs {
                drop_probability: 0.5,
                ..Knobs::default()
            },
            0,
        );
        let lost = (0..1000).filter(|_| half.loses()).count();
        assert!((400..600).contains(&lost), "{lost}");
        let mut all = queue(
            Knobs {
                drop_probability: 1.1,
                ..Knobs::default()
            },
            0,
        );
        assert!((0..1000).all(|_| all.loses()));
    }

    #[test]
    fn paused_events_go_when_they_are_released_and_later_ones_wait() {
        let outbox = Outbox::default();
        outbox.set_knobs(Knobs {
            paused: true,
            ..Knobs::default()
        });
        outbox.push("evt_1", &["we_1".into()]);
        assert!(outbox.idle_lanes().is_empty() && outbox.is_settled());
        outbox.release();
        outbox.push("evt_2", &["we_1".into()]);
        assert!(!outbox.is_settled());
        assert_eq!(outbox.idle_lanes(), ["we_1"]);
        let batch = outbox.queue().batch("we_1");
        assert_eq!(ids(&batch), ["evt_1"]);
        assert!(outbox.queue().batch("we_1").is_empty());
        assert!(outbox.is_settled());
        assert_eq!(outbox.waiting(), 1);
    }
}
