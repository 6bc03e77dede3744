//! What every database must do whose schema is changed: driven through the use cases, as a person would.
//!
//! An adapter's test implements [`TestApplication`] and names [`migrations_contract!`](crate::migrations_contract), which
//! writes one test for each case.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unused_async,
    reason = "a suite fails by panicking; that is what it is for"
)]

pub mod backfills;
pub mod crashes;
mod cut;
pub mod files;
pub mod locks;
pub mod runs;
pub mod takeover;

use std::sync::Arc;
use std::time::Duration;

use anteroom_domain::migrations::{Run, Runner, Scope, SourceFile};
use anteroom_ports::MigrationDatabase;
use anteroom_services::Migrations;
use anteroom_services::migrations::{MigrateError, Patience, UpOptions};
use anteroom_testkit::FixedClock;
use async_trait::async_trait;

/// An application's database, empty at first.
#[async_trait]
pub trait TestApplication: Send + Sync {
    /// As one more runner would open it, in the application's scope.
    fn open(&self) -> Arc<dyn MigrationDatabase>;

    /// Runs SQL that both databases understand, past the engine.
    async fn execute(&self, sql: &str);

    /// Answers a query for one number.
    async fn number(&self, sql: &str) -> i64;

    /// Runs SQL in a transaction that stays open until what is answered is dropped.
    async fn hold(&self, sql: &str) -> Box<dyn Send>;

    /// Removes it.
    async fn remove(&self);
}

/// A folder's files: pairs of a path and what is in it.
pub type Files<'a> = &'a [(&'a str, &'a str)];

fn files(list: Files<'_>) -> Vec<SourceFile> {
    let file = |(path, text): &(&str, &str)| SourceFile {
        path: (*path).into(),
        bytes: text.as_bytes().to_vec(),
    };
    list.iter().map(file).collect()
}

/// Somebody who runs migrations.
pub fn runner(name: &str) -> Runner {
    Runner {
        user: name.into(),
        host: "here".into(),
        pid: std::process::id(),
        tool_version: "1.2.3".into(),
    }
}

fn patience() -> Patience {
    Patience {
        lock: Duration::from_secs(60),
        lock_timeout: Duration::from_secs(5),
        retries: 2,
        retry_after: Duration::from_millis(20),
    }
}

/// The use cases on a database and a folder.
pub fn on(database: Arc<dyn MigrationDatabase>, list: Files<'_>) -> Migrations {
    try_on(database, list).unwrap()
}

fn try_on(database: Arc<dyn MigrationDatabase>, list: Files<'_>) -> Result<Migrations, MigrateError> {
    let clock = Arc::new(FixedClock::new());
    let migrations = Migrations::new(database, &files(list), Scope::Application, clock, runner("ada"))?;
    Ok(migrations.patient(patience()))
}

/// Applies everything that is pending.
pub async fn up(app: &dyn TestApplication, list: Files<'_>) -> Result<Vec<Run>, MigrateError> {
    on(app.open(), list).up(&UpOptions::default()).await
}

/// How each migration stands: `1 applied`.
async fn states(app: &dyn TestApplication, list: Files<'_>) -> Vec<String> {
    let entries = on(app.open(), list).status().await.unwrap();
    entries
        .iter()
        .map(|entry| format!("{} {}", entry.version, entry.state.as_str()))
        .collect()
}

fn versions(runs: &[Run]) -> Vec<&str> {
    runs.iter().map(|run| run.version.as_str()).collect()
}

/// Writes a test for each case of the suite. `$open` is an expression that is awaited for an
/// `Option<impl TestApplication>`; with `None` the tests are skipped.
#[macro_export]
macro_rules! migrations_contract {
    ($open:expr) => {
        $crate::migrations_contract!(@cases $open;
            runs {
                what_is_pending_is_applied_once_and_written_down, a_failure_leaves_nothing_and_says_where,
                without_a_transaction_it_goes_on_where_it_stopped, what_was_run_must_not_be_edited,
                what_is_taken_back_can_be_applied_again, what_is_undone_in_part_goes_on,
                settings_of_a_file_do_not_reach_the_history, irreversible_means_irreversible,
                the_newest_is_done_anew, the_operator_ends_what_was_left_in_part, what_is_run_is_what_was_planned, a_corpus_goes_up_down_and_up, what_fails_at_the_end_is_written_down,
                what_was_left_in_part_is_seen_without_its_folder, what_a_refused_build_leaves_is_said,
                a_plan_says_what_others_feel, what_a_file_takes_from_the_connection_is_made_anew,
                what_one_leaves_on_the_connection_is_gone_for_the_next,
            }
            files {
                a_file_that_changed_is_refused_and_one_that_was_reformatted_is_not,
                a_changed_file_is_vouched_for_if_the_schema_proves_it, what_was_changed_past_migrations_is_found,
                what_came_late_is_refused_unless_asked_for, nothing_runs_while_a_file_is_wrong,
            }
            takeover {
                a_schema_that_is_there_is_taken_over, what_diesel_applied_is_taken_over,
                anteroom_own_tables_are_out_of_reach, looking_makes_nothing,
            }
            locks {
                of_16_runners_each_migration_is_run_by_one, who_waits_hears_who_is_at_it,
                who_waits_for_too_long_is_told, a_lock_on_a_table_is_given_way_to,
                a_table_that_somebody_has_for_himself_is_not_waited_for_without_end,
            }
            crashes {
                a_cut_at_any_moment_up_and_down_ends_in_the_same_schema,
            }
            backfills {
                a_backfill_walks_over_all_keys_once, a_backfill_goes_on_where_it_stopped, a_backfill_that_is_wrong_can_be_mended,
                rows_without_a_key_do_not_end_a_walk,
            }
        );
    };
    (@cases $open:expr; $($context:ident { $($case:ident),+ $(,)? })+) => {
        mod migrations {
            use super::*;
            $(mod $context {
                use super::*;
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let Some(app) = $open.await else {
                        return;
                    };
                    $crate::migrations::$context::$case(&app).await;
                    $crate::migrations::TestApplication::remove(&app).await;
                })+
            })+
        }
    };
}
