//! Anteroom's own schema, by its admins over the API.

use std::sync::Arc;

use anteroom_domain::audit::Actor;
use anteroom_domain::migrations::{Back, Entry, Run, Version};
use anteroom_ports::{Clock, Ids, Store};

use super::{Ended, MigrateError, Migrations, PlannedMigration, UpOptions, record_runs};
use crate::Audit;
use crate::Client;
use crate::accounts::{RECENT, TooLongAgo};
use crate::audit::Act;
use crate::sessions::LiveSession;

/// The use cases of migrations over the API.
pub struct OwnMigrations {
    migrations: Migrations,
    audit: Arc<Audit>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    /// Whether the schema may be changed over the API.
    allowed: bool,
}

/// A migration with all that was done to it.
#[derive(Debug, Clone)]
pub struct MigrationDetails {
    /// How it stands.
    pub entry: Entry,
    /// Its runs, oldest first.
    pub runs: Vec<Run>,
}

/// Why the schema was not changed.
#[derive(Debug, thiserror::Error)]
pub enum AdministerError {
    /// The operator does not want it done over the API.
    #[error(
        "changing the schema over the API is off here (database.migrate_api); `anteroom migrate` does it on the host"
    )]
    Off,
    /// The last proof of who it is is too old.
    #[error(transparent)]
    TooLongAgo(#[from] TooLongAgo),
    /// It was tried, or refused.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
}

impl OwnMigrations {
    /// Puts the context together. With `allowed` the schema may be changed, not only looked at.
    pub fn new(
        migrations: Migrations,
        audit: Arc<Audit>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        allowed: bool,
    ) -> Self {
        Self {
            migrations,
            audit,
            store,
            clock,
            ids,
            allowed,
        }
    }

    /// How every migration stands, oldest first.
    pub async fn status(&self) -> Result<Vec<Entry>, MigrateError> {
        self.migrations.status().await
    }

    /// What has been done with one; `None` if there is none of this version.
    pub async fn show(&self, version: &Version) -> Result<Option<MigrationDetails>, MigrateError> {
        let entry = self.status().await?.into_iter().find(|entry| entry.version == *version);
        let Some(entry) = entry else {
            return Ok(None);
        };
        let mut runs = self.migrations.history().await?;
        runs.retain(|run| run.version == *version);
        Ok(Some(MigrationDetails { entry, runs }))
    }

    /// What [`up`](Self::up) would run.
    pub async fn plan(&self) -> Result<Vec<PlannedMigration>, MigrateError> {
        self.migrations.plan(&UpOptions::default()).await
    }

    /// Applies what is pending, for an admin who has proven of late who they are.
    pub async fn up(
        &self,
        to: Option<Version>,
        live: &LiveSession,
        client: &Client,
    ) -> Result<Vec<Run>, AdministerError> {
        let (migrations, ended) = self.for_admin("migration.up", live, client).await?;
        let options = UpOptions {
            to,
            ..UpOptions::default()
        };
        let done = migrations.up(&options).await;
        self.record(&ended, live, client).await;
        Ok(done?)
    }

    /// Takes the newest migrations back, for an admin who has proven of late who they are.
    pub async fn down(&self, back: &Back, live: &LiveSession, client: &Client) -> Result<Vec<Run>, AdministerError> {
        let (migrations, ended) = self.for_admin("migration.down", live, client).await?;
        let done = migrations.down(back).await;
        self.record(&ended, live, client).await;
        Ok(done?)
    }

    async fn for_admin(
        &self,
        act: &'static str,
        live: &LiveSession,
        client: &Client,
    ) -> Result<(Migrations, Arc<Ended>), AdministerError> {
        let (refusal, reason) = if !self.allowed {
            (Some(AdministerError::Off), "migrations_disabled")
        } else if live.session.authenticated_within(self.clock.now(), RECENT) {
            (None, "")
        } else {
            (Some(TooLongAgo.into()), "reauthentication_required")
        };
        if let Some(refusal) = refusal {
            let act = Act::failed(act, Actor::User(live.user.id), client, reason).session(live.session.id);
            if let Err(error) = self.audit.record_alone(act).await {
                tracing::warn!(event = "migration.audit.unwritten", %error);
            }
            return Err(refusal);
        }
        let ended = Arc::new(Ended::default());
        let migrations = self.migrations.clone().run_by(format!("user {}", live.user.id));
        Ok((migrations.watched(ended.clone()), ended))
    }

    async fn record(&self, ended: &Ended, live: &LiveSession, client: &Client) {
        let runs = ended.runs();
        let runs: Vec<&Run> = runs.iter().collect();
        let who = (Actor::User(live.user.id), client);
        record_runs(&*self.store, &*self.clock, &*self.ids, who, &runs).await;
    }
}
