//! Which database is migrated, and with which files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anteroom_domain::audit::Actor;
use anteroom_domain::migrations::{Run, Scope, SourceFile};
use anteroom_ports::{Clock, MigrationDatabase, Store};
use anteroom_postgres::PostgresMigrations;
use anteroom_services::Migrations;
use anteroom_services::migrations::Patience;
use anteroom_sqlite::SqliteMigrations;
use anyhow::Context as _;

use super::super::settings;
use super::show::Shown;
use super::watch::Terminal;
use super::{Answer, Exit, Problem, ask, did_something};
use crate::cli::MigratePlace;
use crate::config::DatabaseTarget;
use crate::logging::Output;
use crate::migrations::{own_migrations, record, runner};
use crate::system::SystemClock;
use crate::wiring::open_store;

/// A database and its migrations.
pub(super) struct Place {
    pub(super) migrations: Migrations,
    /// Anteroom's own, which has an audit log.
    store: Option<Arc<dyn Store>>,
}

impl Place {
    /// Anteroom's own, or the application's that is named. For the latter nothing of Anteroom's is read or opened.
    pub(super) async fn open(
        place: &MigratePlace,
        config: Option<PathBuf>,
        watch: &Arc<Terminal>,
    ) -> Result<Self, Problem> {
        let (migrations, store) = match &place.database {
            Some(url) => (application(url, &folder(place))?, None),
            None if place.dir.is_some() => {
                return Err(Problem::usage(
                    "--dir is for an application's migrations, and needs --database: Anteroom brings its own along",
                ));
            }
            None => {
                let loaded = settings(config, Output::Stderr)?;
                let store = open_store(&loaded.settings).await?;
                (own_migrations(&loaded.settings, &store)?, Some(store))
            }
        };
        let patience = Patience {
            lock: Duration::from_secs(place.lock_wait),
            ..Patience::default()
        };
        Ok(Self {
            migrations: migrations.patient(patience).watched(watch.clone()),
            store,
        })
    }

    /// Asks, unless that was answered before or there is nobody to ask.
    pub(super) fn ask(&self, yes: bool, what_is_lost: &str) -> Result<(), Problem> {
        let question = format!("{}: {what_is_lost}", self.migrations.database().describe());
        if yes || ask::sure(&question) {
            Ok(())
        } else {
            Err(Problem::failed("nothing was done"))
        }
    }

    /// Writes into Anteroom's audit log what was done to its own schema.
    pub(super) async fn record(&self, runs: &[Run]) {
        if let Some(store) = &self.store {
            let runs: Vec<&Run> = runs.iter().filter(|run| did_something(run)).collect();
            record(&**store, Actor::Operator, &runs).await;
        }
    }
}

fn folder(place: &MigratePlace) -> PathBuf {
    place.dir.clone().unwrap_or_else(|| PathBuf::from("migrations"))
}

fn application(url: &str, folder: &Path) -> Result<Migrations, Problem> {
    let named = match url.strip_prefix("env:") {
        Some(name) => std::env::var(name)
            .map_err(|_| Problem::usage(format!("--database env:{name}: the variable {name} is not set")))?,
        None => url.to_owned(),
    };
    let target = DatabaseTarget::parse(&named).ok_or_else(|| {
        Problem::usage("--database: expected postgres://user:password@host/name, sqlite://path or env:NAME")
    })?;
    let database: Arc<dyn MigrationDatabase> = match target {
        DatabaseTarget::Postgres(url) => {
            let opened = PostgresMigrations::new(url, Scope::Application);
            Arc::new(opened.context("--database cannot be used")?)
        }
        DatabaseTarget::Sqlite(path) => Arc::new(SqliteMigrations::new(path, Scope::Application)),
    };
    let files = read_files(folder).map_err(|e| Problem::usage(format!("{e:#}")))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Ok(Migrations::new(database, &files, Scope::Application, clock, runner())?)
}

/// Every file below a folder, hidden ones left out.
fn read_files(folder: &Path) -> anyhow::Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    read_into(folder, "", &mut files).with_context(|| {
        format!(
            "the folder {} cannot be read: migrations are expected in it (--dir names it, `anteroom migrate new` makes it)",
            folder.display()
        )
    })?;
    Ok(files)
}

fn read_into(folder: &Path, below: &str, files: &mut Vec<SourceFile>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let path = format!("{below}{name}");
        if entry.path().is_dir() {
            read_into(&entry.path(), &format!("{path}/"), files)?;
        } else {
            let bytes = std::fs::read(entry.path()).with_context(|| path.clone())?;
            files.push(SourceFile { path, bytes });
        }
    }
    Ok(())
}

fn is_taken(folder: &Path, version: &str) -> anyhow::Result<bool> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e).with_context(|| folder.display().to_string()),
    };
    for entry in entries {
        if entry?.file_name().to_string_lossy().starts_with(version) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes the folder of a new migration.
pub(super) fn new_migration(place: &MigratePlace, name: &str) -> Result<Answer, Problem> {
    let words = name
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty());
    let name = words.map(str::to_lowercase).collect::<Vec<_>>().join("_");
    if name.is_empty() {
        return Err(Problem::usage(
            "a migration needs a name that says what it does: add_orders",
        ));
    }
    let mut now = SystemClock.now();
    // Two within a second must not be one version.
    let version = loop {
        let version = now.strftime("%Y%m%d%H%M%S").to_string();
        if !is_taken(&folder(place), &version)? {
            break version;
        }
        now = now.saturating_add(jiff::SignedDuration::from_secs(1)).unwrap_or(now);
    };
    let folder = folder(place).join(format!("{version}_{name}"));
    let write = || -> anyhow::Result<()> {
        std::fs::create_dir_all(folder.parent().unwrap_or(Path::new(".")))?;
        std::fs::create_dir(&folder)?;
        std::fs::write(folder.join("up.sql"), "")?;
        std::fs::write(folder.join("down.sql"), "")?;
        Ok(())
    };
    write().with_context(|| format!("{} cannot be made", folder.display()))?;
    Ok(Answer {
        shown: Shown::New { version, folder },
        exit: Exit::Done,
    })
}
