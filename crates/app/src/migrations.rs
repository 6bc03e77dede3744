//! Anteroom's own schema when a server or a command starts: brought up, or looked at.

use std::sync::Arc;

use anteroom_domain::audit::Actor;
use anteroom_domain::migrations::{Run, Runner, Scope, Version};
use anteroom_ports::{Clock, MigrationDatabase, Store};
use anteroom_postgres::PostgresMigrations;
use anteroom_services::migrations::{Ended, OwnMigrations, SchemaStatus, UpOptions, record_runs, schema_status};
use anteroom_services::{Audit, Client, Migrations};
use anyhow::{Context as _, bail};

use crate::config::{DatabaseTarget, Settings};
use crate::system::{SystemClock, SystemIds};
use crate::wiring::{Adapters, Services};

/// Brings the store's schema up, or only looks at it, as the settings say, if it is this deployment's: under another key
/// nothing is changed. Answers what was applied.
pub(crate) async fn prepare_schema(
    settings: &Settings,
    adapters: &Adapters,
    services: &Services,
) -> anyhow::Result<Vec<Run>> {
    services.ops.compare_key().await?;
    let store = &adapters.store;
    let mut applied = Vec::new();
    let before = schema_status(&**store).await?;
    if before.unknown.is_empty() && settings.migrates_at_start() {
        let ended = Arc::new(Ended::default());
        let migrations = own_migrations(settings, store)?.watched(ended.clone());
        let done = migrations.up(&UpOptions::default()).await;
        record(&**store, Actor::System, &ended.runs().iter().collect::<Vec<_>>()).await;
        applied = done.context("the store's schema could not be brought up")?;
    }
    check(&schema_status(&**store).await?)?;
    services.ops.check_key().await?;
    Ok(applied)
}

/// Refuses a schema that this version was not built for, with the command that helps.
pub(crate) fn check(status: &SchemaStatus) -> anyhow::Result<()> {
    if !status.unknown.is_empty() {
        bail!(
            "a newer version of anteroom has been at the database: migrations {} are unknown to this one. Start that \
             version; or take them back with it: `anteroom migrate down --to {}`",
            listed(&status.unknown),
            status
                .applied
                .iter()
                .rev()
                .find(|v| !status.unknown.contains(v))
                .map_or("0", Version::as_str)
        );
    }
    if !status.pending.is_empty() {
        bail!(
            "the database's schema is not this version's: {} migrations are to be applied, up to {}. Run `anteroom migrate \
             up` with this version first; database.migrate = \"always\" does so at every start",
            status.pending.len(),
            status.pending.last().map_or("", Version::as_str)
        );
    }
    Ok(())
}

/// Versions in a row.
pub(crate) fn listed(versions: &[Version]) -> String {
    versions.iter().map(Version::as_str).collect::<Vec<_>>().join(", ")
}

/// The migrations of Anteroom's own schema, where they are to be applied.
pub(crate) fn own_migrations(settings: &Settings, store: &Arc<dyn Store>) -> anyhow::Result<Migrations> {
    let database: Arc<dyn MigrationDatabase> = match (&settings.database.migrate_url, settings.database()) {
        (Some(url), DatabaseTarget::Postgres(_)) => {
            let opened = PostgresMigrations::new(url.clone(), Scope::Own);
            Arc::new(opened.context("database.migrate_url (MIGRATE_DATABASE_URL) cannot be used")?)
        }
        (Some(_), DatabaseTarget::Sqlite(_)) => {
            bail!("database.migrate_url (MIGRATE_DATABASE_URL) is set, and database.url is a SQLite file: unset one")
        }
        (None, _) => store.schema(),
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let migrations = Migrations::new(database, &store.own_migrations(), Scope::Own, clock, runner());
    Ok(migrations?)
}

/// What admins may do with the schema over the API.
pub(crate) fn administered(settings: &Settings, a: &Adapters, audit: &Arc<Audit>) -> anyhow::Result<OwnMigrations> {
    Ok(OwnMigrations::new(
        own_migrations(settings, &a.store)?,
        Arc::clone(audit),
        Arc::clone(&a.store),
        Arc::clone(&a.clock),
        Arc::clone(&a.ids),
        settings.migrates_over_api(),
    ))
}

/// Writes into the audit log what was done to the schema.
pub(crate) async fn record(store: &dyn Store, who: Actor, runs: &[&Run]) {
    record_runs(store, &SystemClock, &SystemIds, (who, &Client::default()), runs).await;
}

/// Who runs this process: the operating system's user, on which machine.
pub(crate) fn runner() -> Runner {
    let named = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    Runner {
        user: named.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw())),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        pid: std::process::id(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
