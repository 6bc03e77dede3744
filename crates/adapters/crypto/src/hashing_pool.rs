//! Threads that do nothing but hash, behind a queue that refuses what it could not serve in time.
//!
//! Hashing a password takes a quarter of a second of a core on purpose. On the threads that serve requests it would
//! stop them; on an unbounded queue a burst of logins would make everyone wait for minutes. So it has threads of its
//! own, at a lower priority than those that serve, and a caller whose turn would come too late is told at once.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use tokio::sync::oneshot;

/// How much nicer the threads are than those that serve requests: about a tenth of their weight when both want the
/// same core, and no less speed when it is free.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// How quickly the measured average follows: a new measurement counts an eighth.
const SMOOTHING: f64 = 0.125;

/// What the pool is doing and has done; for metrics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PoolStats {
    /// Threads.
    pub threads: usize,
    /// Jobs that wait.
    pub queued: usize,
    /// Jobs that run.
    pub running: usize,
    /// Jobs that ran to their end.
    pub finished: u64,
    /// Jobs whose caller went away before their turn; nothing was computed.
    pub skipped: u64,
    /// Jobs that were refused because the queue was too long.
    pub refused: u64,
    /// What one takes, as measured lately.
    pub average: Duration,
}

/// The queue is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy {
    /// Until it is short enough again.
    pub(crate) retry_after: Duration,
}

struct Job<T> {
    work: Box<dyn FnOnce() -> T + Send>,
    reply: oneshot::Sender<T>,
}

struct State<T> {
    queue: VecDeque<Job<T>>,
    running: usize,
    average_seconds: f64,
    finished: u64,
    skipped: u64,
    refused: u64,
    closed: bool,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    wake: Condvar,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    /// Takes out the jobs whose callers have gone.
    fn skip_abandoned(&mut self) {
        let before = self.queue.len();
        self.queue.retain(|job| !job.reply.is_closed());
        self.skipped += (before - self.queue.len()) as u64;
    }

    /// How long a job added now would wait for its turn.
    fn expected_wait(&self, threads: usize) -> Duration {
        let ahead = self.queue.len() + self.running;
        if ahead < threads {
            return Duration::ZERO;
        }
        #[expect(clippy::cast_precision_loss, reason = "an estimate; the queue is short")]
        let rounds = ahead as f64 / threads as f64;
        Duration::try_from_secs_f64(rounds * self.average_seconds).unwrap_or(Duration::MAX)
    }
}

/// Threads of their own with a bounded queue. Dropping it lets running jobs end and forgets the queued ones.
pub(crate) struct HashingPool<T> {
    shared: Arc<Shared<T>>,
    threads: usize,
    max_wait: Duration,
}

impl<T: Send + 'static> HashingPool<T> {
    /// Starts the threads. `estimate` is what a job is thought to take until one has been measured.
    pub(crate) fn start(threads: NonZeroUsize, max_wait: Duration, estimate: Duration) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                running: 0,
                average_seconds: estimate.as_secs_f64(),
                finished: 0,
                skipped: 0,
                refused: 0,
                closed: false,
            }),
            wake: Condvar::new(),
        });
        let pool = Self {
            shared: Arc::clone(&shared),
            threads: threads.get(),
            max_wait,
        };
        for number in 0..threads.get() {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name(format!("hashing-{number}"))
                .spawn(move || run(&shared))?;
        }
        Ok(pool)
    }

    /// Queues a job, if its turn comes in time. Dropping the receiver before that cancels it.
    pub(crate) fn submit(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<oneshot::Receiver<T>, Busy> {
        let (reply, receiver) = oneshot::channel();
        let mut state = self.shared.lock();
        state.skip_abandoned();
        let wait = state.expected_wait(self.threads);
        if let Some(retry_after) = wait.checked_sub(self.max_wait).filter(|over| !over.is_zero()) {
            state.refused += 1;
            return Err(Busy { retry_after });
        }
        state.queue.push_back(Job {
            work: Box::new(work),
            reply,
        });
        drop(state);
        self.shared.wake.notify_one();
        Ok(receiver)
    }

    pub(crate) fn stats(&self) -> PoolStats {
        let state = self.shared.lock();
        PoolStats {
            threads: self.threads,
            queued: state.queue.len(),
            running: state.running,
            finished: state.finished,
            skipped: state.skipped,
            refused: state.refused,
            average: Duration::try_from_secs_f64(state.average_seconds).unwrap_or(Duration::MAX),
        }
    }
}

impl<T> Drop for HashingPool<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.queue.clear();
        drop(state);
        self.shared.wake.notify_all();
    }
}

fn run<T>(shared: &Shared<T>) {
    lower_priority();
    while let Some(job) = next(shared) {
        let began = Instant::now();
        // A job that panics must not take its thread with it; its caller sees the reply dropped.
        let answer = catch_unwind(AssertUnwindSafe(job.work));
        let took = began.elapsed().as_secs_f64();
        let mut state = shared.lock();
        state.running -= 1;
        state.finished += 1;
        state.average_seconds += (took - state.average_seconds) * SMOOTHING;
        drop(state);
        if let Ok(answer) = answer {
            // A caller that went away meanwhile does not want the answer.
            drop(job.reply.send(answer));
        } else {
            tracing::error!("a hashing job panicked");
        }
    }
}

/// The next job that somebody still waits for; `None` once the pool is dropped.
fn next<T>(shared: &Shared<T>) -> Option<Job<T>> {
    let mut state = shared.lock();
    loop {
        if state.closed {
            return None;
        }
        match state.queue.pop_front() {
            Some(job) if job.reply.is_closed() => state.skipped += 1,
            Some(job) => {
                state.running += 1;
                return Some(job);
            }
            None => state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// On Linux niceness belongs to the thread (`setpriority(2)`, "C library/kernel differences"); elsewhere it would
/// slow the whole process down.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::warn!(%error, "hashing threads keep the normal priority");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pool(threads: usize) -> HashingPool<u32> {
        HashingPool::start(NonZeroUsize::new(threads).unwrap(), 2 * SECOND, SECOND).unwrap()
    }

    /// Occupies one thread until the answer is dropped.
    fn occupy(pool: &HashingPool<u32>) -> (mpsc::Sender<()>, oneshot::Receiver<u32>) {
        let (release, wait) = mpsc::channel::<()>();
        let (started, is_started) = mpsc::channel();
        let receiver = pool.submit(move || {
            started.send(()).unwrap();
            wait.recv().unwrap_or_default();
            0
        });
        is_started.recv().unwrap();
        (release, receiver.unwrap())
    }

    #[tokio::test]
    async fn a_queue_that_is_too_long_refuses_and_computes_nothing() {
        let pool = pool(1);
        let (release, first) = occupy(&pool);
        let second = pool.submit(|| 2).unwrap();
        let third = pool.submit(|| 3).unwrap();
        // Three are ahead of the fourth: three seconds, one more than anybody should wait.
        let busy = pool.submit(|| panic!("refused, but computed")).unwrap_err();
        assert_eq!(busy.retry_after, SECOND);
        drop(release);
        assert_eq!((first.await, second.await, third.await), (Ok(0), Ok(2), Ok(3)));
        let stats = pool.stats();
        assert_eq!(
            (stats.finished, stats.refused, stats.queued, stats.running),
            (3, 1, 0, 0)
        );
        assert!(stats.average < SECOND, "the average follows what is measured");
    }

    #[tokio::test]
    async fn free_threads_take_jobs_whatever_the_average() {
        let pool = HashingPool::start(NonZeroUsize::new(2).unwrap(), SECOND, 100 * SECOND).unwrap();
        let (release, first) = occupy(&pool);
        assert_eq!(pool.submit(|| 1).unwrap().await, Ok(1));
        drop(release);
        assert_eq!(first.await, Ok(0));
    }

    #[tokio::test]
    async fn jobs_of_callers_who_left_are_skipped_and_make_room() {
        let pool = pool(1);
        let (release, first) = occupy(&pool);
        let left = pool.submit(|| panic!("nobody waits for this")).unwrap();
        let stays = pool.submit(|| 3).unwrap();
        assert!(pool.submit(|| 4).is_err());
        drop(left);
        let fits_now = pool.submit(|| 5).unwrap();
        drop(release);
        assert_eq!((first.await, stays.await, fits_now.await), (Ok(0), Ok(3), Ok(5)));
        assert_eq!(pool.stats().skipped, 1);
    }

    #[tokio::test]
    async fn a_panic_costs_one_caller_and_no_thread() {
        let pool = pool(1);
        assert!(pool.submit(|| panic!("a test's")).unwrap().await.is_err());
        assert_eq!(pool.submit(|| 1).unwrap().await, Ok(1));
    }

    #[tokio::test]
    async fn a_dropped_pool_answers_nobody() {
        let pool = pool(1);
        let (release, first) = occupy(&pool);
        let queued = pool.submit(|| 1).unwrap();
        drop(pool);
        assert!(queued.await.is_err());
        drop(release);
        assert_eq!(first.await, Ok(0));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn only_the_pool_is_nice() {
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let own = niceness();
        let pool = HashingPool::start(NonZeroUsize::MIN, SECOND, SECOND).unwrap();
        let pools = pool.submit(niceness).unwrap().await.unwrap();
        assert_eq!(pools, (own + NICENESS).min(19));
        assert_eq!(niceness(), own);
    }
}
