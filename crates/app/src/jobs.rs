//! What is done in the background. Every node runs every job: each claims or counts what it works on in the store.

use std::sync::Arc;
use std::time::Duration;

use anteroom_governor::MemoryLimiter;
use anteroom_ports::StoreResult;
use anteroom_services::audit::SEALED_AT_ONCE;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::wiring::Services;

/// Starts the jobs. They end, each at the end of its round, when `stop` is cancelled.
pub fn start(
    services: &Arc<Services>,
    limiter: Arc<MemoryLimiter>,
    lease: Duration,
    stop: &CancellationToken,
) -> TaskTracker {
    let jobs = TaskTracker::new();
    every(&jobs, stop, "outbox.deliver", Waking::Outbox(Arc::clone(services)), {
        let s = Arc::clone(services);
        move || {
            let s = Arc::clone(&s);
            async move { s.webhooks.deliver_outbox().await }
        }
    });
    macro_rules! every_so_often {
        ($($name:literal $pause:expr, $context:ident.$work:ident;)+) => {$({
            let s = Arc::clone(services);
            let work = boxed(move || {
                let s = Arc::clone(&s);
                async move { s.$context.$work().await }
            });
            every(&jobs, stop, $name, Waking::After($pause), work);
        })+};
    }
    let seconds = Duration::from_secs;
    // Leases are renewed three times as often as they run out; whether they are due is only asked more often, so that
    // they are renewed at once when a store is back that was away.
    let due = (lease / 3).min(seconds(1));
    every_so_often! {
        "chat.tend_calls" due, chat.tend_calls;
        "ops.tend_requests" due, ops.tend_requests;
        "chat.sweep_calls" lease.min(seconds(30)), chat.sweep_calls;
        "chat.purge_conversations" seconds(3600), chat.purge_conversations;
        "sessions.flush_seen" seconds(30), sessions.flush_seen;
        "access.flush_used" seconds(30), access.flush_used;
        "access.purge_expired" seconds(3600), access.purge_expired;
        "accounts.erase_due" seconds(60), accounts.erase_due_accounts;
        "accounts.purge_tokens" seconds(3600), accounts.purge_tokens;
        "sessions.purge_expired" seconds(3600), sessions.purge_expired;
        "sessions.purge_told" seconds(60), sessions.purge_told;
        "sessions.reload_signing_keys" seconds(2), sessions.reload_signing_keys;
        "sessions.tend_signing_keys" seconds(60), sessions.tend_signing_keys;
        "ops.purge_answers" seconds(3600), ops.purge_answers;
        "billing.work_off_events" seconds(30), billing.work_off_events;
        "billing.purge_consumptions" seconds(3600), billing.purge_consumptions;
        "billing.expire_credits" seconds(600), billing.expire_credits;
        "billing.open_credit_windows" seconds(3600), billing.open_credit_windows;
        "billing.reconcile" seconds(3600), billing.reconcile_daily;
        "billing.report_overage" seconds(60), billing.report_overage;
        "billing.tell_of_quotas" seconds(60), billing.tell_of_quotas;
        "billing.tell_of_ending_trials" seconds(600), billing.tell_of_ending_trials;
        "billing.purge_notices" seconds(3600), billing.purge_notices;
        "protection.purge_failures" seconds(3600), protection.purge_login_failures;
    }
    let s = Arc::clone(services);
    // Twice a second, so that every row has its seal within one.
    let often = Waking::After(Duration::from_millis(500));
    every(&jobs, stop, "audit.seal", often, move || {
        let s = Arc::clone(&s);
        async move {
            let sealed = s.audit.seal().await?;
            // Only a full batch may have left something: the rest has time until the next round.
            Ok(if sealed < SEALED_AT_ONCE { 0 } else { sealed })
        }
    });
    let s = Arc::clone(services);
    every(
        &jobs,
        stop,
        "protection.prune",
        Waking::After(seconds(60)),
        boxed(move || {
            limiter.prune();
            #[expect(clippy::cast_precision_loss, reason = "a gauge")]
            metrics::gauge!("anteroom_chat_calls_running").set(s.chat.running() as f64);
            async { Ok(0) }
        }),
    );
    let (s, stopping) = (Arc::clone(services), stop.clone());
    jobs.spawn(async move {
        stopping.run_until_cancelled(s.sessions.follow_changes()).await;
    });
    let (s, stopping) = (Arc::clone(services), stop.clone());
    jobs.spawn(async move {
        stopping.run_until_cancelled(s.chat.follow_models()).await;
    });
    jobs.close();
    jobs
}

type Round = std::pin::Pin<Box<dyn Future<Output = StoreResult<usize>> + Send>>;
type Work = Box<dyn Fn() -> Round + Send + Sync>;

fn boxed<F: Future<Output = StoreResult<usize>> + Send + 'static>(
    work: impl Fn() -> F + Send + Sync + 'static,
) -> Work {
    Box::new(move || Box::pin(work()))
}

/// When a job runs again.
enum Waking {
    /// After a pause.
    After(Duration),
    /// When something was queued on this node, and every five seconds for what came due again or other nodes left.
    Outbox(Arc<Services>),
}

impl Waking {
    async fn wait(&self) {
        match self {
            Self::After(pause) => tokio::time::sleep(*pause).await,
            Self::Outbox(services) => services.webhooks.wait_due(Duration::from_secs(5)).await,
        }
    }
}

fn every<W, F>(jobs: &TaskTracker, stop: &CancellationToken, name: &'static str, waking: Waking, work: W)
where
    W: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = StoreResult<usize>> + Send,
{
    let stop = stop.clone();
    jobs.spawn(async move {
        let mut failing = false;
        loop {
            if stop.run_until_cancelled(waking.wait()).await.is_none() {
                return;
            }
            // A full batch may not have been all; and a failure is said once, not every round.
            loop {
                match work().await {
                    Ok(0) => break failing = false,
                    Ok(_) => failing = false,
                    Err(e) => {
                        if !std::mem::replace(&mut failing, true) {
                            warn!(event = "job.failed", job = name, reason = %e);
                        }
                        break;
                    }
                }
                if name == "sessions.flush_seen" || name == "access.flush_used" || stop.is_cancelled() {
                    break;
                }
            }
        }
    });
}
