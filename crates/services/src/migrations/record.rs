//! Writes into the audit log what was done to Anteroom's own schema.

use anteroom_domain::AuditId;
use anteroom_domain::audit::Actor;
use anteroom_domain::migrations::{Direction, Outcome, Run};
use anteroom_ports::{Clock, Durability, Ids, Store, StoreResult};

use crate::Client;
use crate::audit::Act;

/// Leaves a row for what was done in one go, and one for what failed. Not with the run in one commit, which is the migration's own: a migration may make, or take
/// away, the very table that the rows are kept in. Where that is not there, nothing is recorded.
pub async fn record_runs(store: &dyn Store, clock: &dyn Clock, ids: &dyn Ids, who: (Actor, &Client), runs: &[&Run]) {
    if runs.is_empty() {
        return;
    }
    if let Err(error) = record(store, clock, ids, who, runs).await {
        tracing::warn!(event = "migration.audit.unwritten", %error);
    }
}

async fn record(
    store: &dyn Store,
    clock: &dyn Clock,
    ids: &dyn Ids,
    (actor, client): (Actor, &Client),
    runs: &[&Run],
) -> StoreResult<()> {
    let mut unit = store.begin(Durability::Full).await?;
    for same in runs.chunk_by(|one, two| name(one) == name(two) && one.outcome.complete() == two.outcome.complete()) {
        let [first, ..] = same else { continue };
        let act = if first.outcome.complete() {
            Act::succeeded(name(first), actor, client)
        } else {
            Act::failed(name(first), actor, client, "migration_failed")
        };
        let versions: Vec<&str> = same.iter().map(|run| run.version.as_str()).collect();
        let act = act
            .detail("versions", versions)
            .detail("ms", same.iter().map(|run| run.ms()).sum::<u64>())
            .detail("host", &*first.runner.host);
        unit.insert_audit(&act.entry(AuditId(ids.uuid()), clock.now())).await?;
    }
    unit.commit().await
}

fn name(run: &Run) -> &'static str {
    match (run.outcome, run.direction) {
        (Outcome::Baselined | Outcome::Adopted, _) => "migration.baseline",
        (Outcome::Repaired, _) => "migration.repair",
        (_, Direction::Up) => "migration.up",
        (_, Direction::Down) => "migration.down",
    }
}
