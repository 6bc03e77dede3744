//! What every store must do.
//!
//! An adapter's test implements [`TestDatabase`] and names [`store_contract!`](crate::store_contract), which writes one
//! test for each case.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a suite fails by panicking; that is what it is for"
)]

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anteroom_domain::migrations::Version;
use anteroom_ports::{Durability, Store, StoreResult, UnitOfWork};
use anteroom_services::migrations::{bring_up, take_back_newest};
use anteroom_testkit::FixedClock;
use async_trait::async_trait;
use tokio::task::JoinSet;

pub mod access;
pub mod accounts;
pub mod audit;
pub mod billing;
pub mod chat;
pub mod credits;
pub mod migrations;
pub mod models;
pub mod notices;
pub mod ops;
pub mod overage;
pub mod protection;
pub mod quotas;
pub mod releases;
pub mod revenue;
mod samples;
pub mod sessions;
pub mod units;
pub mod usage;
pub mod webhooks;

/// A database of a test's own, empty at first.
#[async_trait]
pub trait TestDatabase: Send + Sync {
    /// A store on it, as one more node would open it. Does not touch the schema. It has at least two and at most eight
    /// connections, and waits for one as long as is said.
    async fn open(&self, acquire_timeout: Duration) -> Arc<dyn Store>;

    /// Brings its schema up, as it is quickest.
    async fn prepare(&self) {
        migrate_up(&self.open(Duration::from_secs(20)).await).await.unwrap();
    }

    /// Runs SQL that both databases understand, past the store.
    async fn execute(&self, sql: &str);

    /// Runs SQL in the same way; whether the database refused it.
    async fn refuses(&self, sql: &str) -> bool;

    /// What a query answers in its first column, called `text`.
    async fn texts(&self, sql: &str) -> Vec<String>;

    /// Every table's columns, indexes and foreign keys, sorted, in words that are the same for every database:
    /// [`migrations::column_line`], [`migrations::index_line`] and [`migrations::reference_line`].
    async fn shape(&self) -> Vec<String>;

    /// Removes it.
    async fn remove(&self);
}

/// How many try at once where a race is tested.
pub const RACERS: usize = 64;

/// A store with its schema on it.
pub async fn ready(database: &dyn TestDatabase) -> Arc<dyn Store> {
    database.prepare().await;
    database.open(Duration::from_secs(20)).await
}

/// Brings a store's schema up. Answers what was applied.
pub async fn migrate_up(store: &Arc<dyn Store>) -> StoreResult<Vec<Version>> {
    bring_up(&**store, Arc::new(FixedClock::default())).await
}

/// Takes the newest migration of a store's schema back. Answers which.
pub async fn migrate_down(store: &Arc<dyn Store>) -> StoreResult<Option<Version>> {
    take_back_newest(&**store, Arc::new(FixedClock::default())).await
}

async fn begin(store: &Arc<dyn Store>) -> Box<dyn UnitOfWork> {
    store.begin(Durability::Full).await.unwrap()
}

/// Runs `act` [`RACERS`] times at once and answers what each came to.
async fn race<T, F>(act: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut racers = JoinSet::new();
    for number in 0..RACERS {
        racers.spawn(act(number));
    }
    racers.join_all().await
}

/// Writes a test for each case of the store's suite. `$open` is an expression that is awaited for an
/// `Option<impl TestDatabase>`; with `None` the tests are skipped.
#[macro_export]
macro_rules! store_contract {
    ($open:expr) => {
        $crate::store_contract!(@cases $open;
            access {
                keys_survive_a_round_trip, a_secret_belongs_to_one_key, keys_change, secrets_are_exchanged,
                of_parallel_exchanges_one_secret_is_the_newest, keys_are_deleted, last_use_moves_forward_only,
                expired_keys_are_purged, what_changes_a_key_is_told, a_budget_holds_exactly_under_parallel_calls,
            }
            accounts {
                users_survive_a_round_trip, an_address_belongs_to_one_user, users_change_and_stay_who_they_are,
                of_parallel_changes_none_is_lost, admins_are_counted_one_at_a_time, a_one_time_token_is_taken_once,
                an_address_is_reserved_while_it_can_be_taken_back,
                one_time_tokens_are_made_void_and_purged, users_are_erased_when_they_are_due, devices_are_noted,
                password_hashes_are_set_and_replaced, users_are_paged_newest_first, users_are_filtered_and_searched,
                of_parallel_signups_with_one_address_one_succeeds, what_postgresql_cannot_hold_is_replaced,
                an_unknown_word_is_corrupt,
            }
            audit {
                entries_survive_a_round_trip, entries_are_filtered, the_log_is_append_only,
                of_parallel_sealers_each_row_is_sealed_once, unsealed_rows_are_found_from_one_on,
            }
            sessions {
                sessions_survive_a_round_trip, a_cookie_belongs_to_one_session, a_session_needs_its_user,
                a_session_ends_once, last_seen_moves_forward_only, a_refresh_token_is_used_once,
                expired_sessions_are_purged_with_their_tokens, a_users_live_sessions_are_listed,
                a_users_sessions_end_together, proving_oneself_again_is_noted,
                signing_keys_survive_a_round_trip,
                signing_keys_are_retired_and_revoked, of_parallel_callers_one_makes_the_first_signing_key,
                what_ends_or_changes_is_told, a_listener_hears_what_is_told,
            }
            chat {
                conversations_are_found_by_their_owner_only, conversations_are_paged_newest_first,
                messages_are_paged_oldest_first, messages_are_finished, recent_messages_have_text,
                deleting_a_conversation_deletes_its_messages, a_conversation_is_claimed_by_one_answer,
                claims_are_renewed, a_lost_answer_has_failed, messages_in_progress_are_saved,
                messages_are_edited_and_taken_back, a_conversation_is_named_once, unused_conversations_are_purged,
            }
            models {
                stored_aliases_survive_a_round_trip, aliases_are_replaced_and_deleted, what_is_stored_of_models_is_told,
                of_parallel_writers_of_an_alias_each_sees_the_one_before, what_a_newer_version_wrote_is_shown_as_unreadable,
            }
            billing {
                an_event_is_known_after_the_first_time, events_that_wait_are_found,
                subscriptions_that_are_not_over_are_paged, an_owner_is_one_customer, what_was_granted_holds_until_it_ends,
                a_trial_is_had_once, a_turn_is_taken_by_one,
                what_is_consumed_counts_everywhere_or_nowhere, subscriptions_survive_a_round_trip,
                the_subscription_in_force_comes_first, events_about_one_subscription_take_turns, usage_is_booked_once,
            }
            credits {
                credits_survive_a_round_trip, credits_of_one_reference_are_granted_once,
                of_parallel_spenders_none_spends_twice, locking_many_accounts_makes_no_circle,
                owners_of_ended_credits_are_found, the_ledger_of_credits_is_append_only,
            }
            notices {
                of_parallel_tellers_one_tells, what_was_told_is_purged_and_deleted, ending_trials_are_paged,
                owners_who_called_lately_are_paged,
            }
            overage {
                accounts_survive_a_round_trip, of_parallel_reports_none_is_lost,
            }
            quotas {
                an_untouched_counter_is_zero, a_hold_needs_room, holds_without_a_limit_count,
                a_denied_reservation_leaves_nothing, reservations_are_held_together, every_window_counts_apart, settling_turns_holds_into_use, a_reservation_is_settled_once,
                reservations_survive_a_round_trip, open_reservations_are_renewed,
                renewing_and_settling_do_not_wait_for_each_other, many_calls_are_settled_together,
                settling_and_reserving_do_not_wait_in_a_circle, expired_reservations_are_found_oldest_first,
                a_limit_holds_exactly_under_parallel_calls, open_holds_are_what_is_reserved,
            }
            releases {
                what_every_earlier_release_wrote_stays,
            }
            revenue {
                changes_survive_a_round_trip, subscriptions_are_listed_newest_first, standings_are_those_of_the_moment,
                changes_are_told_apart, cohorts_follow_accounts_and_not_subscriptions, conversions_are_counted,
                what_accounts_use_is_counted_by_plan, subscriptions_of_before_are_noted_by_the_migration,
            }
            usage {
                calls_add_up_by_days, a_second_booking_adds_nothing, of_parallel_bookings_none_is_lost,
                what_is_rebuilt_is_what_was_added_up, usage_is_told_apart_as_asked, owners_of_usage_are_paged,
                of_bookings_beside_a_rebuilding_none_is_lost, calls_of_before_are_added_up_by_the_migration,
            }
            webhooks {
                items_are_claimed_oldest_first_and_hidden, a_failed_item_comes_back, items_wait_for_the_commit,
                parallel_claims_never_share_an_item,
            }
            protection {
                failures_survive_a_round_trip, an_untouched_key_is_locked_as_zero, parallel_bookings_count_one_another,
                failures_are_deleted, idle_failures_are_purged,
            }
            ops {
                an_idempotency_key_is_claimed_answered_and_given_back, a_dead_claim_is_taken_over,
                keys_are_renewed, of_parallel_claims_one_is_fresh, old_keys_are_purged, a_deployment_value_is_written_once,
                without_a_schema_no_value_is_kept,
            }
            units {
                what_is_committed_is_seen_by_others, what_follows_a_commit_follows_it, a_dropped_unit_leaves_nothing_and_holds_nothing,
                a_unit_that_failed_cannot_be_committed, a_cancelled_statement_is_undone, a_cancelled_begin_holds_nothing,
                reads_do_not_wait_for_a_writer, waiting_for_a_connection_ends, a_relaxed_unit_is_seen_by_others,
                a_store_answers_a_ping,
            }
            migrations {
                the_schema_goes_up_down_and_up, a_newer_versions_schema_is_refused, a_cut_at_any_moment_ends_in_the_same_schema,
                a_cut_at_any_later_moment_ends_in_the_same_schema,
                what_was_used_with_keys_stays_when_they_are_taken_back,
                nodes_that_start_together_migrate_once, asking_for_the_status_changes_nothing,
            }
        );

        /// On a runtime with one thread nothing may wait in a destructor.
        #[tokio::test(flavor = "current_thread")]
        async fn units_are_dropped_on_a_current_thread_runtime() {
            let Some(database) = $open.await else { return };
            $crate::store::units::a_dropped_unit_leaves_nothing_and_holds_nothing(&database).await;
            $crate::store::TestDatabase::remove(&database).await;
            let Some(database) = $open.await else { return };
            $crate::store::units::a_cancelled_statement_is_undone(&database).await;
            $crate::store::TestDatabase::remove(&database).await;
        }
    };
    (@cases $open:expr; $($context:ident { $($case:ident),+ $(,)? })+) => {$(
        mod $context {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let Some(database) = $open.await else { return };
                    $crate::store::$context::$case(&database).await;
                    $crate::store::TestDatabase::remove(&database).await;
                }
            )+
        }
    )+};
}
