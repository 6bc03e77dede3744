//! Watches that nothing slow happens while a unit of work is open.
//!
//! [`GuardedStore`] marks a unit of work as open for as long as it lives; the other fakes call
//! [`assert_no_open_unit`]. Open units are counted per task (per thread outside of one): that another task of the
//! same test has one open is no fault.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::ThreadId;

use async_trait::async_trait;
use uuid::Uuid;

use anteroom_domain::access::{ApiKey, KeySecret};
use anteroom_domain::accounts::{OneTimeToken, Purpose, User};
use anteroom_domain::audit::{AuditEntry, Seal};
use anteroom_domain::billing::{
    ChangeSum, CohortStep, Conversion, CreditAccount, CreditEntry, CreditGrant, CreditSource, FeatureSum, Holdings,
    NoticeKind, OverageAccount, Override, Owner, Plan, QuotaKey, StandingSum, Subscription, SubscriptionChange,
    TrialSum,
};
use anteroom_domain::chat::{Conversation, Message, StoredAlias, UsageEvent};
use anteroom_domain::migrations::SourceFile;
use anteroom_domain::protection::LoginFailures;
use anteroom_domain::sessions::{Change, EndReason, RefreshToken, Session, SigningKey};
use anteroom_domain::{
    ApiKeyId, AuditId, ConversationId, MessageId, OverrideId, RefreshTokenId, ReservationId, SessionId, Timestamp,
    UserId,
};
use anteroom_ports::accounts::{DeviceSeen, UserFilter};
use anteroom_ports::audit::AuditFilter;
use anteroom_ports::billing::{
    Consumed, Consumption, EventState, EventsAsk, ListedSubscription, QuotaLevel, Reservation, Reserved, Settlement,
    StoredEvent, StoredSubscription, SubscriptionCursor, SubscriptionFilter, TrialMark, UsageAsk, UsageSum,
};
use anteroom_ports::migrations::MigrationDatabase;
use anteroom_ports::ops::{Claim, IdempotentRequest};
use anteroom_ports::webhooks::OutboxItem;
use anteroom_ports::{
    AccessRead, AccessWrite, AccountsRead, AccountsWrite, AuditRead, AuditWrite, BillingRead, BillingWrite, ChatRead,
    ChatWrite, CreditsRead, CreditsWrite, Digest, Durability, Listener, ModelsRead, ModelsWrite, NoticesRead,
    NoticesWrite, OpsRead, OpsWrite, OverageRead, OverageWrite, OwnSchema, ProtectionRead, ProtectionWrite, ReadUnit,
    RevenueRead, RevenueWrite, SessionsRead, SessionsWrite, Store, StoreResult, SubscriptionsRead, SubscriptionsWrite,
    UnitOfWork, WebhooksWrite,
};

use crate::lock;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Task(tokio::task::Id),
    // What `block_on` runs is no task, and stays on its thread.
    Thread(ThreadId),
}

impl Place {
    fn here() -> Self {
        tokio::task::try_id().map_or_else(|| Self::Thread(std::thread::current().id()), Self::Task)
    }
}

static OPEN: LazyLock<Mutex<HashMap<Place, usize>>> = LazyLock::new(Mutex::default);

/// Marks a unit of work of this task as open for as long as it lives.
#[derive(Debug)]
pub struct OpenUnit {
    place: Place,
}

impl OpenUnit {
    /// A unit of work was begun here.
    #[expect(clippy::new_without_default, reason = "making one is an act")]
    pub fn new() -> Self {
        let place = Place::here();
        *lock(&OPEN).entry(place).or_default() += 1;
        Self { place }
    }
}

impl Drop for OpenUnit {
    fn drop(&mut self) {
        let mut open = lock(&OPEN);
        if let Some(count) = open.get_mut(&self.place) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.place);
            }
        }
    }
}

/// For what is slow: `what` is about to happen.
///
/// # Panics
/// If a unit of work of this task is open.
pub fn assert_no_open_unit(what: &str) {
    let open = lock(&OPEN).contains_key(&Place::here());
    assert!(
        !open,
        "{what} while a unit of work is open: nothing slow may happen inside one"
    );
}

/// A store whose open units of work are watched. It is the store it wraps otherwise.
pub struct GuardedStore {
    inner: Arc<dyn Store>,
    begun: AtomicUsize,
}

impl GuardedStore {
    /// Watches this store's units of work.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            begun: AtomicUsize::new(0),
        }
    }

    /// How many units of work that may write have been begun.
    pub fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Store for GuardedStore {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    async fn begin(&self, durability: Durability) -> StoreResult<Box<dyn UnitOfWork>> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let inner = self.inner.begin(durability).await?;
        Ok(Box::new(GuardedUnit {
            inner,
            _open: OpenUnit::new(),
        }))
    }

    async fn read(&self) -> StoreResult<Box<dyn ReadUnit>> {
        self.inner.read().await
    }

    async fn listen(&self) -> StoreResult<Option<Box<dyn Listener>>> {
        self.inner.listen().await
    }

    async fn ping(&self) -> StoreResult<()> {
        self.inner.ping().await
    }
}

impl OwnSchema for GuardedStore {
    fn schema(&self) -> Arc<dyn MigrationDatabase> {
        self.inner.schema()
    }

    fn own_migrations(&self) -> Vec<SourceFile> {
        self.inner.own_migrations()
    }
}

struct GuardedUnit {
    inner: Box<dyn UnitOfWork>,
    _open: OpenUnit,
}

#[async_trait]
impl UnitOfWork for GuardedUnit {
    fn after_commit(&mut self, act: Box<dyn FnOnce() + Send>) {
        self.inner.after_commit(act);
    }

    async fn commit(self: Box<Self>) -> StoreResult<()> {
        self.inner.commit().await
    }
}

impl ReadUnit for GuardedUnit {}

/// Hands each method of a context's trait on to the wrapped unit.
macro_rules! delegate {
    ($context:ident { $(fn $method:ident($($arg:ident: $kind:ty),*) -> $answer:ty;)+ }) => {
        #[async_trait]
        impl $context for GuardedUnit {
            $(async fn $method(&mut self, $($arg: $kind),*) -> StoreResult<$answer> {
                self.inner.$method($($arg),*).await
            })+
        }
    };
}

delegate! {
    AccessRead {
        fn api_key_by_secret(digest: &Digest) -> Option<(ApiKey, KeySecret, User)>;
        fn api_key(user: UserId, id: ApiKeyId) -> Option<ApiKey>;
        fn page_api_keys(user: UserId, before: Option<ApiKeyId>, limit: i64) -> Vec<ApiKey>;
        fn count_api_keys(user: UserId, now: Timestamp) -> i64;
    }
}

delegate! {
    AccessWrite {
        fn insert_api_key(key: &ApiKey, digest: &Digest) -> ();
        fn update_api_key(key: &ApiKey) -> bool;
        fn rotate_api_key(key: &ApiKey, digest: &Digest, now: Timestamp, ends_at: Timestamp) -> usize;
        fn delete_api_key(user: UserId, id: ApiKeyId) -> bool;
        fn touch_api_keys(used: &[(ApiKeyId, Timestamp)]) -> ();
        fn purge_api_keys(before: Timestamp, limit: i64) -> usize;
    }
}

delegate! {
    AccountsRead {
        fn user(id: UserId) -> Option<User>;
        fn user_by_email(folded: &str) -> Option<(User, Option<String>)>;
        fn one_time_token(purpose: Purpose, digest: &Digest, now: Timestamp) -> Option<OneTimeToken>;
        fn address_is_reserved(folded: &str, but_for: Option<UserId>, now: Timestamp) -> bool;
        fn page_users(filter: &UserFilter, before: Option<UserId>, limit: i64) -> Vec<User>;
    }
}

delegate! {
    AccountsWrite {
        fn insert_user(user: &User) -> ();
        fn lock_user(id: UserId) -> Option<User>;
        fn update_user(user: &User) -> bool;
        fn password_hash(user: UserId) -> Option<String>;
        fn count_admins() -> i64;
        fn insert_one_time_token(token: &OneTimeToken, digest: &Digest) -> ();
        fn take_one_time_token(purpose: Purpose, digest: &Digest, now: Timestamp) -> Option<OneTimeToken>;
        fn count_one_time_tokens(user: UserId, purpose: Purpose, since: Timestamp) -> i64;
        fn void_one_time_tokens(user: UserId, purpose: Purpose, at: Timestamp) -> ();
        fn purge_one_time_tokens(before: Timestamp, limit: i64) -> usize;
        fn users_to_erase(now: Timestamp, limit: i64) -> Vec<User>;
        fn delete_user(id: UserId) -> bool;
        fn note_device(user: UserId, device: &str, country: &str, at: Timestamp) -> DeviceSeen;
        fn put_password_hash(user: UserId, hash: &str, at: Timestamp) -> ();
        fn delete_password_hash(user: UserId) -> ();
    }
}

delegate! {
    AuditRead {
        fn page_audit(filter: &AuditFilter, before: Option<AuditId>, limit: i64) -> Vec<AuditEntry>;
        fn sealed_audit(after: i64, limit: i64) -> Vec<(Seal, Option<StoreResult<AuditEntry>>)>;
        fn first_unsealed_audit(from: Option<AuditId>) -> Option<(AuditId, Timestamp)>;
        fn count_unsealed_audit() -> i64;
    }
}

delegate! {
    AuditWrite {
        fn insert_audit(entry: &AuditEntry) -> ();
        fn lock_audit_chain(from: Option<AuditId>, limit: i64) -> (Option<Seal>, Vec<AuditEntry>);
        fn insert_audit_seals(seals: &[Seal]) -> ();
    }
}

delegate! {
    SessionsRead {
        fn session(id: SessionId) -> Option<(Session, User)>;
        fn session_by_cookie(digest: &Digest) -> Option<(Session, User)>;
        fn live_sessions(user: UserId, now: Timestamp) -> Vec<Session>;
        fn signing_keys() -> Vec<SigningKey>;
        fn told_lately() -> Vec<(Uuid, Change)>;
    }
}

delegate! {
    SessionsWrite {
        fn insert_session(session: &Session, cookie: Option<&Digest>) -> ();
        fn end_session(id: SessionId, at: Timestamp, reason: EndReason) -> bool;
        fn end_sessions_of(user: UserId, except: Option<SessionId>, at: Timestamp, reason: EndReason) -> Vec<SessionId>;
        fn authenticate_session(id: SessionId, at: Timestamp) -> bool;
        fn touch_sessions(seen: &[(SessionId, Timestamp)]) -> ();
        fn insert_refresh_token(token: &RefreshToken, digest: &Digest) -> ();
        fn lock_refresh_token(digest: &Digest) -> Option<RefreshToken>;
        fn use_refresh_token(id: RefreshTokenId, at: Timestamp) -> bool;
        fn tell(changes: &[Change]) -> ();
        fn purge_told() -> usize;
        fn purge_sessions(before: Timestamp, limit: i64) -> usize;
        fn lock_signing_keys() -> Vec<SigningKey>;
        fn insert_signing_key(key: &SigningKey) -> ();
        fn retire_signing_key(kid: &str, at: Timestamp) -> bool;
        fn revoke_signing_key(kid: &str, at: Timestamp) -> bool;
        fn delete_signing_key(kid: &str) -> bool;
    }
}

delegate! {
    ChatRead {
        fn conversation(user: UserId, id: ConversationId) -> Option<Conversation>;
        fn page_conversations(user: UserId, before: Option<ConversationId>, limit: i64) -> Vec<Conversation>;
        fn page_messages(user: UserId, conversation: ConversationId, after: Option<MessageId>, limit: i64) -> Vec<Message>;
        fn message(user: UserId, conversation: ConversationId, id: MessageId) -> Option<Message>;
        fn recent_messages(user: UserId, conversation: ConversationId, before: Option<MessageId>, limit: i64) -> Vec<Message>;
        fn count_recent_messages(user: UserId, conversation: ConversationId, before: Option<MessageId>) -> i64;
        fn count_messages(user: UserId, conversation: ConversationId) -> i64;
        fn count_conversations(user: UserId, limit: i64) -> i64;
        fn running_answer(user: UserId, conversation: ConversationId) -> Option<Message>;
    }
}

delegate! {
    ChatWrite {
        fn insert_conversation(conversation: &Conversation) -> ();
        fn update_conversation(conversation: &Conversation) -> bool;
        fn delete_conversation(user: UserId, id: ConversationId) -> bool;
        fn claim_conversation(user: UserId, id: ConversationId, call: ReservationId, now: Timestamp, until: Timestamp) -> bool;
        fn renew_claims(calls: &[ReservationId], until: Timestamp) -> ();
        fn release_conversation(id: ConversationId, call: ReservationId) -> bool;
        fn lose_answer(call: ReservationId) -> ();
        fn insert_message(message: &Message) -> ();
        fn finish_message(message: &Message) -> bool;
        fn save_message(id: MessageId, content: &str) -> bool;
        fn edit_message(id: MessageId, content: &str, filtered: bool) -> bool;
        fn delete_message(id: MessageId) -> ();
        fn delete_messages_after(conversation: ConversationId, after: MessageId, keep: Option<MessageId>) -> ();
        fn name_conversation(id: ConversationId, title: &str) -> bool;
        fn purge_conversations(before: Timestamp, limit: i64) -> usize;
    }
}

delegate! {
    ModelsRead {
        fn stored_aliases() -> Vec<StoredAlias>;
    }
}

delegate! {
    ModelsWrite {
        fn lock_stored_aliases() -> Vec<StoredAlias>;
        fn put_stored_alias(stored: &StoredAlias) -> ();
        fn delete_stored_alias(name: &str) -> bool;
    }
}

delegate! {
    BillingRead {
        fn quota_level(key: &QuotaKey) -> QuotaLevel;
        fn counter_level(owner: Owner, counter: &str, window_start: Timestamp) -> i64;
        fn sum_usage(ask: &UsageAsk, limit: i64) -> Vec<UsageSum>;
        fn page_usage_owners(after: Option<Owner>, limit: i64) -> Vec<Owner>;
    }
}

delegate! {
    BillingWrite {
        fn reserve_quota(reservations: &[&Reservation]) -> Reserved;
        fn settle_quota(settlements: &[Settlement]) -> Vec<ReservationId>;
        fn renew_reservations(ids: &[ReservationId], until: Timestamp) -> ();
        fn expired_reservations(now: Timestamp, limit: i64) -> Vec<Reservation>;
        fn consume(consumption: &Consumption) -> Consumed;
        fn purge_consumptions(before: Timestamp, limit: i64) -> usize;
        fn insert_usage(events: &[&UsageEvent]) -> usize;
        fn rebuild_usage(owner: Owner) -> ();
    }
}

delegate! {
    CreditsRead {
        fn credit_account(owner: Owner) -> CreditAccount;
        fn credit_grant_of(owner: Owner, source: CreditSource, reference: &str) -> Option<CreditGrant>;
        fn page_credit_entries(owner: Owner, before: Option<i64>, limit: i64) -> Vec<CreditEntry>;
        fn owners_of_ended_credits(by: Timestamp, limit: i64) -> Vec<Owner>;
    }
}

delegate! {
    CreditsWrite {
        fn lock_credits(owners: &[Owner]) -> Vec<CreditAccount>;
        fn save_credits(account: &CreditAccount) -> ();
    }
}

delegate! {
    SubscriptionsRead {
        fn subscription_of(owner: Owner) -> Option<Subscription>;
        fn holdings_of(owner: Owner, now: Timestamp) -> Holdings;
        fn subscription_at(provider: &str, provider_id: &str) -> Option<StoredSubscription>;
        fn subscriptions_of_customer(provider: &str, customer: &str) -> Vec<Subscription>;
        fn page_open_subscriptions(provider: &str, after: Option<&str>, limit: i64) -> Vec<Subscription>;
        fn customer_of(provider: &str, owner: Owner) -> Option<String>;
        fn owner_of_customer(provider: &str, customer: &str) -> Option<Owner>;
        fn billing_event(provider: &str, event_id: &str) -> Option<StoredEvent>;
        fn page_billing_events(ask: EventsAsk, after: Option<(Timestamp, &str)>, limit: i64) -> Vec<StoredEvent>;
        fn plan_versions() -> Vec<Plan>;
        fn overrides_of(owner: Owner) -> Vec<(Override, Option<Timestamp>)>;
        fn trial_had_by(owner: Owner, mark: &TrialMark) -> Option<Owner>;
    }
}

delegate! {
    SubscriptionsWrite {
        fn insert_billing_event(event: &StoredEvent, done: bool) -> EventState;
        fn finish_billing_event(provider: &str, event_id: &str) -> ();
        fn lock_subscription(provider: &str, provider_id: &str) -> Option<StoredSubscription>;
        fn put_subscription(subscription: &Subscription) -> ();
        fn insert_customer(provider: &str, customer: &str, owner: Owner, at: Timestamp) -> String;
        fn delete_customer(provider: &str, customer: &str) -> ();
        fn put_plan_version(plan: &Plan, at: Timestamp, replace: bool) -> ();
        fn insert_override(granted: &Override) -> ();
        fn revoke_override(owner: Owner, id: OverrideId, at: Timestamp) -> bool;
        fn insert_trial(owner: Owner, mark: &TrialMark, at: Timestamp) -> bool;
    }
}

delegate! {
    RevenueRead {
        fn page_subscriptions(filter: &SubscriptionFilter, before: Option<&SubscriptionCursor>, limit: i64) -> Vec<ListedSubscription>;
        fn last_subscription_change(provider: &str, provider_id: &str) -> Option<SubscriptionChange>;
        fn subscription_changes_of(owner: Owner, limit: i64) -> Vec<SubscriptionChange>;
        fn sum_standings(before: Timestamp) -> Vec<StandingSum>;
        fn sum_subscription_changes(from: Timestamp, until: Timestamp) -> Vec<ChangeSum>;
        fn sum_cohorts(until: Timestamp) -> Vec<CohortStep>;
        fn count_conversions(from: Timestamp, until: Timestamp) -> Conversion;
        fn sum_trials(from: Timestamp, until: Timestamp) -> Vec<TrialSum>;
        fn sum_features(from: Timestamp, until: Timestamp) -> Vec<FeatureSum>;
    }
}

delegate! {
    NoticesRead {
        fn knows_notice(owner: Owner, kind: NoticeKind, reference: &str) -> bool;
        fn page_ending_trials(from: Timestamp, until: Timestamp, after: Option<(&str, &str)>, limit: i64) -> Vec<Subscription>;
        fn page_owners_booked(since: Timestamp, after: Option<Owner>, limit: i64) -> Vec<Owner>;
    }
}

delegate! {
    OverageRead {
        fn overages_of(owner: Owner, since: Timestamp) -> Vec<OverageAccount>;
    }
}

delegate! {
    OverageWrite {
        fn lock_overage(new: &OverageAccount) -> OverageAccount;
        fn put_overage(account: &OverageAccount) -> ();
    }
}

delegate! {
    RevenueWrite {
        fn insert_subscription_change(change: &SubscriptionChange) -> ();
    }
}

delegate! {
    NoticesWrite {
        fn insert_notice(owner: Owner, kind: NoticeKind, reference: &str, at: Timestamp) -> bool;
        fn purge_notices(before: Timestamp, limit: i64) -> usize;
        fn delete_notices(owner: Owner) -> ();
    }
}

delegate! {
    ProtectionRead {
        fn login_failures(keys: &[Digest]) -> Vec<LoginFailures>;
    }
}

delegate! {
    ProtectionWrite {
        fn lock_login_failures(key: &Digest, now: Timestamp) -> LoginFailures;
        fn put_login_failures(key: &Digest, failures: &LoginFailures) -> ();
        fn delete_login_failures(key: &Digest) -> bool;
        fn purge_login_failures(before: Timestamp, now: Timestamp, limit: i64) -> usize;
    }
}

delegate! {
    WebhooksWrite {
        fn insert_outbox(item: &OutboxItem) -> ();
        fn claim_outbox(now: Timestamp, lease_until: Timestamp, limit: i64) -> Vec<OutboxItem>;
        fn finish_outbox(id: Uuid) -> ();
        fn retry_outbox(id: Uuid, at: Timestamp) -> ();
    }
}

delegate! {
    OpsRead {
        fn kept_deployment_value(name: &str) -> Option<String>;
    }
}

delegate! {
    OpsWrite {
        fn claim_idempotent(request: &IdempotentRequest) -> Claim;
        fn renew_idempotent(held_by: &[Uuid], until: Timestamp) -> ();
        fn finish_idempotent(user: UserId, key: &str, held_by: Uuid, status: u16, body: &str) -> bool;
        fn drop_idempotent(user: UserId, key: &str, held_by: Uuid) -> bool;
        fn purge_idempotent(before: Timestamp, limit: i64) -> usize;
        fn deployment_value(name: &str, value: &str) -> String;
        fn take_turn(name: &str, now: Timestamp, until: Timestamp) -> bool;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_own_task_is_watched() {
        let unit = OpenUnit::new();
        let other = tokio::spawn(async {
            assert_no_open_unit("hashing");
            let unit = OpenUnit::new();
            let caught = std::panic::catch_unwind(|| assert_no_open_unit("hashing")).is_err();
            drop(unit);
            caught
        });
        assert!(other.await.unwrap());
        assert!(std::panic::catch_unwind(|| assert_no_open_unit("hashing")).is_err());
        drop(unit);
        assert_no_open_unit("hashing");
    }
}
