//! Subscriptions, who is who at the provider, plans' versions, and what was granted.

use anteroom_domain::billing::{
    Grant, Holdings, Override, Owner, OwnerKind, Plan, Price, Subscription, SubscriptionStatus,
};
use anteroom_domain::sessions::Change;
use anteroom_domain::{OverrideId, Timestamp, UserId};
use anteroom_ports::billing::{EventState, EventsAsk, StoredEvent, StoredSubscription, TrialMark};
use anteroom_ports::{SessionsWrite as _, StoreError, StoreResult, SubscriptionsRead, SubscriptionsWrite};
use async_trait::async_trait;
use diesel::prelude::{Insertable, Queryable, Selectable};
use diesel::upsert::excluded;
use diesel::{
    BoolExpressionMethods as _, ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, SelectableHelper as _,
};
use diesel_async::RunQueryDsl as _;
use tracing::instrument;

use super::owner;
use crate::backend::lock_name;
use crate::schema::{billing_customers, overrides, plan_versions, subscriptions, trials};
use crate::types::{At, Id, text};
use crate::unit::Unit;

#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = subscriptions, treat_none_as_default_value = false)]
pub(super) struct SubscriptionRow {
    provider: String,
    provider_id: String,
    owner_kind: String,
    owner_id: Id,
    plan: String,
    plan_version: i32,
    status: String,
    current_period_end: Option<At>,
    cancel_at_period_end: bool,
    trial_end: Option<At>,
    past_due_since: Option<At>,
    as_of: At,
    customer: Option<String>,
    price_amount: Option<i64>,
    price_currency: Option<String>,
    price_interval: Option<String>,
    quantity: i64,
    known_status: Option<String>,
    paid_until: Option<At>,
    cancel_at: Option<At>,
    collection_paused: bool,
    next_plan: Option<String>,
    next_quantity: Option<i64>,
}

#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = overrides, treat_none_as_default_value = false)]
struct OverrideRow {
    id: Id,
    owner_kind: String,
    owner_id: Id,
    granted: String,
    reason: String,
    granted_by: Option<Id>,
    created_at: At,
    expires_at: Option<At>,
    revoked_at: Option<At>,
}

impl From<&Subscription> for SubscriptionRow {
    fn from(subscription: &Subscription) -> Self {
        let price = subscription.price.as_ref();
        Self {
            provider: subscription.provider.clone(),
            provider_id: text(&subscription.provider_id),
            owner_kind: subscription.owner.kind.as_str().to_owned(),
            owner_id: Id(subscription.owner.id),
            plan: text(&subscription.plan),
            plan_version: subscription.plan_version,
            status: text(subscription.status.as_str()),
            current_period_end: subscription.current_period_end.map(At),
            cancel_at_period_end: subscription.cancel_at_period_end,
            trial_end: subscription.trial_end.map(At),
            past_due_since: subscription.past_due_since.map(At),
            as_of: At(subscription.as_of),
            customer: subscription.customer.as_deref().map(text),
            price_amount: price.map(|price| price.amount),
            price_currency: price.map(|price| text(&price.currency)),
            price_interval: price.map(|price| text(&price.interval)),
            quantity: subscription.quantity,
            known_status: subscription.known_status.as_ref().map(|status| text(status.as_str())),
            paid_until: subscription.paid_until.map(At),
            cancel_at: subscription.cancel_at.map(At),
            collection_paused: subscription.collection_paused,
            next_plan: subscription.next_plan.as_deref().map(text),
            next_quantity: subscription.next_quantity,
        }
    }
}

impl TryFrom<SubscriptionRow> for Subscription {
    type Error = StoreError;

    fn try_from(row: SubscriptionRow) -> StoreResult<Self> {
        let price = match (row.price_amount, row.price_currency, row.price_interval) {
            (Some(amount), Some(currency), Some(interval)) => Some(Price {
                amount,
                currency,
                interval,
            }),
            _ => None,
        };
        Ok(Self {
            provider: row.provider,
            provider_id: row.provider_id,
            owner: owner("subscriptions.owner_kind", &row.owner_kind, row.owner_id)?,
            customer: row.customer,
            plan: row.plan,
            plan_version: row.plan_version,
            price,
            quantity: row.quantity,
            status: SubscriptionStatus::parse(&row.status),
            known_status: row.known_status.as_deref().map(SubscriptionStatus::parse),
            current_period_end: row.current_period_end.map(|at| at.0),
            paid_until: row.paid_until.map(|at| at.0),
            cancel_at_period_end: row.cancel_at_period_end,
            cancel_at: row.cancel_at.map(|at| at.0),
            trial_end: row.trial_end.map(|at| at.0),
            past_due_since: row.past_due_since.map(|at| at.0),
            collection_paused: row.collection_paused,
            next_plan: row.next_plan,
            next_quantity: row.next_quantity,
            as_of: row.as_of.0,
        })
    }
}

impl OverrideRow {
    fn of(granted: &Override) -> StoreResult<Self> {
        let grant = serde_json::to_string(&granted.grant).map_err(|e| corrupt("overrides.granted", &e))?;
        Ok(Self {
            id: Id(granted.id.0),
            owner_kind: granted.owner.kind.as_str().to_owned(),
            owner_id: Id(granted.owner.id),
            granted: text(&grant),
            reason: text(&granted.reason),
            granted_by: granted.granted_by.map(|user| Id(user.0)),
            created_at: At(granted.created_at),
            expires_at: granted.expires_at.map(At),
            revoked_at: None,
        })
    }
}

impl TryFrom<OverrideRow> for Override {
    type Error = StoreError;

    fn try_from(row: OverrideRow) -> StoreResult<Self> {
        let grant: Grant = serde_json::from_str(&row.granted).map_err(|e| corrupt("overrides.granted", &e))?;
        Ok(Self {
            id: OverrideId(row.id.0),
            owner: owner("overrides.owner_kind", &row.owner_kind, row.owner_id)?,
            grant,
            reason: row.reason,
            granted_by: row.granted_by.map(|id| UserId(id.0)),
            created_at: row.created_at.0,
            expires_at: row.expires_at.map(|at| at.0),
        })
    }
}

fn corrupt(column: &str, error: &serde_json::Error) -> StoreError {
    StoreError::Corrupt {
        reason: format!("{column}: {error}"),
    }
}

/// The kind of a mark and its value.
fn mark_row(owner: Owner, mark: &TrialMark) -> (&'static str, String) {
    match mark {
        TrialMark::Owner => ("owner", format!("{}:{}", owner.kind.as_str(), owner.id)),
        TrialMark::PaymentFingerprint(fingerprint) => ("payment_fingerprint", text(fingerprint)),
    }
}

/// How many of an owner's subscriptions decide what they may do; there is to be one.
const MOST_HELD: i64 = 5;

impl Unit {
    /// An owner's subscriptions, the one in force first.
    async fn subscriptions_of(&mut self, owner: Owner, limit: i64) -> StoreResult<Vec<Subscription>> {
        let status = |status: SubscriptionStatus| subscriptions::status.eq(status.as_str().to_owned());
        let terminal = status(SubscriptionStatus::Canceled).or(status(SubscriptionStatus::IncompleteExpired));
        let paid = status(SubscriptionStatus::Active)
            .or(status(SubscriptionStatus::Trialing))
            .or(status(SubscriptionStatus::PastDue));
        let rows = subscriptions::table
            .filter(subscriptions::owner_kind.eq(owner.kind.as_str()))
            .filter(subscriptions::owner_id.eq(Id(owner.id)))
            .order((
                terminal.asc(),
                paid.desc(),
                subscriptions::created_at.desc(),
                subscriptions::as_of.desc(),
                subscriptions::provider_id.desc(),
            ))
            .limit(limit)
            .select(SubscriptionRow::as_select())
            .load(self.conn()?)
            .await;
        self.checked(rows)?.into_iter().map(Subscription::try_from).collect()
    }
}

#[async_trait]
impl SubscriptionsRead for Unit {
    #[instrument(level = "debug", name = "store.billing.subscription_of", skip_all)]
    async fn subscription_of(&mut self, owner: Owner) -> StoreResult<Option<Subscription>> {
        Ok(self.subscriptions_of(owner, 1).await?.pop())
    }

    #[instrument(level = "debug", name = "store.billing.holdings_of", skip_all)]
    async fn holdings_of(&mut self, owner: Owner, now: Timestamp) -> StoreResult<Holdings> {
        let mut held = self.subscriptions_of(owner, MOST_HELD).await?.into_iter();
        let subscription = held.next();
        let rows = overrides::table
            .filter(overrides::owner_kind.eq(owner.kind.as_str()))
            .filter(overrides::owner_id.eq(Id(owner.id)))
            .filter(overrides::revoked_at.is_null())
            .filter(overrides::expires_at.is_null().or(overrides::expires_at.gt(At(now))))
            .order((overrides::created_at, overrides::id))
            .select(OverrideRow::as_select())
            .load(self.conn()?)
            .await;
        let overrides = self.checked(rows)?.into_iter().map(Override::try_from);
        Ok(Holdings {
            subscription,
            others: held.filter(|other| !other.status.terminal()).collect(),
            overrides: overrides.collect::<StoreResult<_>>()?,
        })
    }

    #[instrument(level = "debug", name = "store.billing.subscription_at", skip_all)]
    async fn subscription_at(&mut self, provider: &str, provider_id: &str) -> StoreResult<Option<StoredSubscription>> {
        let row = subscriptions::table
            .find((provider, provider_id))
            .select((SubscriptionRow::as_select(), subscriptions::revision))
            .first::<(SubscriptionRow, i64)>(self.conn()?)
            .await
            .optional();
        let stored = self.checked(row)?.map(|(row, revision)| {
            Ok(StoredSubscription {
                subscription: row.try_into()?,
                revision,
            })
        });
        stored.transpose()
    }

    #[instrument(level = "debug", name = "store.billing.subscriptions_of_customer", skip_all)]
    async fn subscriptions_of_customer(&mut self, provider: &str, customer: &str) -> StoreResult<Vec<Subscription>> {
        let rows = subscriptions::table
            .filter(subscriptions::provider.eq(provider))
            .filter(subscriptions::customer.eq(customer))
            .order(subscriptions::provider_id)
            .select(SubscriptionRow::as_select())
            .load(self.conn()?)
            .await;
        self.checked(rows)?.into_iter().map(Subscription::try_from).collect()
    }

    #[instrument(level = "debug", name = "store.billing.page_open_subscriptions", skip_all)]
    async fn page_open_subscriptions(
        &mut self,
        provider: &str,
        after: Option<&str>,
        limit: i64,
    ) -> StoreResult<Vec<Subscription>> {
        let over = [SubscriptionStatus::Canceled, SubscriptionStatus::IncompleteExpired];
        let rows = subscriptions::table
            .filter(subscriptions::provider.eq(provider))
            .filter(subscriptions::provider_id.gt(after.unwrap_or_default()))
            .filter(subscriptions::status.ne_all(over.map(|status| status.as_str().to_owned())))
            .order(subscriptions::provider_id)
            .limit(limit)
            .select(SubscriptionRow::as_select())
            .load(self.conn()?)
            .await;
        self.checked(rows)?.into_iter().map(Subscription::try_from).collect()
    }

    #[instrument(level = "debug", name = "store.billing.customer_of", skip_all)]
    async fn customer_of(&mut self, provider: &str, owner: Owner) -> StoreResult<Option<String>> {
        let found = billing_customers::table
            .filter(billing_customers::provider.eq(provider))
            .filter(billing_customers::owner_kind.eq(owner.kind.as_str()))
            .filter(billing_customers::owner_id.eq(Id(owner.id)))
            .select(billing_customers::customer)
            .first(self.conn()?)
            .await
            .optional();
        self.checked(found)
    }

    #[instrument(level = "debug", name = "store.billing.owner_of_customer", skip_all)]
    async fn owner_of_customer(&mut self, provider: &str, customer: &str) -> StoreResult<Option<Owner>> {
        let found = billing_customers::table
            .find((provider, customer))
            .select((billing_customers::owner_kind, billing_customers::owner_id))
            .first::<(String, Id)>(self.conn()?)
            .await
            .optional();
        let found = self.checked(found)?;
        found
            .map(|(kind, id)| owner("billing_customers.owner_kind", &kind, id))
            .transpose()
    }

    async fn billing_event(&mut self, provider: &str, event_id: &str) -> StoreResult<Option<StoredEvent>> {
        self.read_event(provider, event_id).await
    }

    async fn page_billing_events(
        &mut self,
        ask: EventsAsk,
        after: Option<(Timestamp, &str)>,
        limit: i64,
    ) -> StoreResult<Vec<StoredEvent>> {
        self.read_events(ask, after, limit).await
    }

    #[instrument(level = "debug", name = "store.billing.plan_versions", skip_all)]
    async fn plan_versions(&mut self) -> StoreResult<Vec<Plan>> {
        let rows = plan_versions::table
            .order((plan_versions::plan, plan_versions::version))
            .select(plan_versions::terms)
            .load::<String>(self.conn()?)
            .await;
        let read = |terms: String| serde_json::from_str(&terms).map_err(|e| corrupt("plan_versions.terms", &e));
        self.checked(rows)?.into_iter().map(read).collect()
    }

    #[instrument(level = "debug", name = "store.billing.overrides_of", skip_all)]
    async fn overrides_of(&mut self, owner: Owner) -> StoreResult<Vec<(Override, Option<Timestamp>)>> {
        let rows = overrides::table
            .filter(overrides::owner_kind.eq(owner.kind.as_str()))
            .filter(overrides::owner_id.eq(Id(owner.id)))
            .order((overrides::created_at.desc(), overrides::id.desc()))
            .select(OverrideRow::as_select())
            .load(self.conn()?)
            .await;
        let read = |row: OverrideRow| {
            let revoked = row.revoked_at.map(|at| at.0);
            Ok((Override::try_from(row)?, revoked))
        };
        self.checked(rows)?.into_iter().map(read).collect()
    }

    #[instrument(level = "debug", name = "store.billing.trial_had_by", skip_all)]
    async fn trial_had_by(&mut self, by: Owner, mark: &TrialMark) -> StoreResult<Option<Owner>> {
        let found = trials::table
            .find(mark_row(by, mark))
            .select((trials::owner_kind, trials::owner_id))
            .first::<(String, Id)>(self.conn()?)
            .await
            .optional();
        let found = self.checked(found)?;
        found
            .map(|(kind, id)| owner("trials.owner_kind", &kind, id))
            .transpose()
    }
}

#[async_trait]
impl SubscriptionsWrite for Unit {
    async fn insert_billing_event(&mut self, event: &StoredEvent, done: bool) -> StoreResult<EventState> {
        self.write_event(event, done).await
    }

    async fn finish_billing_event(&mut self, provider: &str, event_id: &str) -> StoreResult<()> {
        self.finish_event(provider, event_id).await
    }

    #[instrument(level = "debug", name = "store.billing.lock_subscription", skip_all)]
    async fn lock_subscription(
        &mut self,
        provider: &str,
        provider_id: &str,
    ) -> StoreResult<Option<StoredSubscription>> {
        // By its name, not by its row: the first two events about a subscription meet where there is no row yet.
        let done = lock_name(self.conn()?, &format!("subscription {provider} {provider_id}")).await;
        self.checked(done)?;
        self.subscription_at(provider, provider_id).await
    }

    #[instrument(level = "debug", name = "store.billing.put_subscription", skip_all)]
    async fn put_subscription(&mut self, subscription: &Subscription) -> StoreResult<()> {
        use subscriptions as s;
        let done = diesel::insert_into(s::table)
            .values((
                SubscriptionRow::from(subscription),
                s::created_at.eq(At(subscription.as_of)),
            ))
            .on_conflict((s::provider, s::provider_id))
            .do_update()
            .set((
                s::plan.eq(excluded(s::plan)),
                s::plan_version.eq(excluded(s::plan_version)),
                s::status.eq(excluded(s::status)),
                s::current_period_end.eq(excluded(s::current_period_end)),
                s::cancel_at_period_end.eq(excluded(s::cancel_at_period_end)),
                s::trial_end.eq(excluded(s::trial_end)),
                s::past_due_since.eq(excluded(s::past_due_since)),
                s::as_of.eq(excluded(s::as_of)),
                s::customer.eq(excluded(s::customer)),
                s::price_amount.eq(excluded(s::price_amount)),
                s::price_currency.eq(excluded(s::price_currency)),
                s::price_interval.eq(excluded(s::price_interval)),
                s::quantity.eq(excluded(s::quantity)),
                s::known_status.eq(excluded(s::known_status)),
                s::paid_until.eq(excluded(s::paid_until)),
                s::cancel_at.eq(excluded(s::cancel_at)),
                s::collection_paused.eq(excluded(s::collection_paused)),
                s::next_plan.eq(excluded(s::next_plan)),
                s::next_quantity.eq(excluded(s::next_quantity)),
                s::revision.eq(s::revision + 1),
            ))
            .execute(self.conn()?)
            .await;
        self.checked(done)?;
        self.tell_of(subscription.owner).await
    }

    #[instrument(level = "debug", name = "store.billing.insert_customer", skip_all)]
    async fn insert_customer(
        &mut self,
        provider: &str,
        customer: &str,
        owner: Owner,
        at: Timestamp,
    ) -> StoreResult<String> {
        let done = diesel::insert_into(billing_customers::table)
            .values((
                billing_customers::provider.eq(provider),
                billing_customers::customer.eq(text(customer)),
                billing_customers::owner_kind.eq(owner.kind.as_str()),
                billing_customers::owner_id.eq(Id(owner.id)),
                billing_customers::created_at.eq(At(at)),
            ))
            .on_conflict_do_nothing()
            .execute(self.conn()?)
            .await;
        self.checked(done)?;
        let standing = self.customer_of(provider, owner).await?;
        standing.ok_or_else(|| StoreError::Corrupt {
            reason: format!("the customer `{customer}` is another owner's"),
        })
    }

    #[instrument(level = "debug", name = "store.billing.delete_customer", skip_all)]
    async fn delete_customer(&mut self, provider: &str, customer: &str) -> StoreResult<()> {
        let done = diesel::delete(billing_customers::table.find((provider, customer)))
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| ())
    }

    #[instrument(level = "debug", name = "store.billing.put_plan_version", skip_all)]
    async fn put_plan_version(&mut self, plan: &Plan, at: Timestamp, replace: bool) -> StoreResult<()> {
        let terms = serde_json::to_string(plan).map_err(|e| corrupt("plan_versions.terms", &e))?;
        let insert = diesel::insert_into(plan_versions::table).values((
            plan_versions::plan.eq(text(&plan.key)),
            plan_versions::version.eq(plan.version),
            plan_versions::terms.eq(text(&terms)),
            plan_versions::published_at.eq(At(at)),
        ));
        let insert = insert.on_conflict((plan_versions::plan, plan_versions::version));
        let done = if replace {
            let set = (
                plan_versions::terms.eq(excluded(plan_versions::terms)),
                plan_versions::published_at.eq(excluded(plan_versions::published_at)),
            );
            insert.do_update().set(set).execute(self.conn()?).await
        } else {
            insert.do_nothing().execute(self.conn()?).await
        };
        self.checked(done).map(|_| ())
    }

    #[instrument(level = "debug", name = "store.billing.insert_override", skip_all)]
    async fn insert_override(&mut self, granted: &Override) -> StoreResult<()> {
        let done = diesel::insert_into(overrides::table)
            .values(OverrideRow::of(granted)?)
            .execute(self.conn()?)
            .await;
        self.checked(done)?;
        self.tell_of(granted.owner).await
    }

    #[instrument(level = "debug", name = "store.billing.revoke_override", skip_all)]
    async fn revoke_override(&mut self, owner: Owner, id: OverrideId, at: Timestamp) -> StoreResult<bool> {
        let standing = overrides::table
            .find(Id(id.0))
            .filter(overrides::owner_kind.eq(owner.kind.as_str()))
            .filter(overrides::owner_id.eq(Id(owner.id)))
            .filter(overrides::revoked_at.is_null());
        let done = diesel::update(standing)
            .set(overrides::revoked_at.eq(At(at)))
            .execute(self.conn()?)
            .await;
        let revoked = self.checked(done)? == 1;
        if revoked {
            self.tell_of(owner).await?;
        }
        Ok(revoked)
    }

    #[instrument(level = "debug", name = "store.billing.insert_trial", skip_all)]
    async fn insert_trial(&mut self, owner: Owner, mark: &TrialMark, at: Timestamp) -> StoreResult<bool> {
        let (kind, value) = mark_row(owner, mark);
        let done = diesel::insert_into(trials::table)
            .values((
                trials::kind.eq(kind),
                trials::value.eq(value),
                trials::owner_kind.eq(owner.kind.as_str()),
                trials::owner_id.eq(Id(owner.id)),
                trials::used_at.eq(At(at)),
            ))
            .on_conflict((trials::kind, trials::value))
            .do_nothing()
            .execute(self.conn()?)
            .await;
        Ok(self.checked(done)? == 1)
    }
}

impl Unit {
    /// What an owner may do has changed: every node forgets what it remembers of it.
    async fn tell_of(&mut self, owner: Owner) -> StoreResult<()> {
        match owner.kind {
            OwnerKind::Account => self.tell(&[Change::User(UserId(owner.id))]).await,
            _ => Ok(()),
        }
    }
}
