//! Everybody's subscriptions, what changed of them, and sums of that.

use anteroom_domain::Timestamp;
use anteroom_domain::billing::{
    ChangeSum, CohortStep, Conversion, FeatureSum, Owner, Paid, Standing, StandingSum, Subscription,
    SubscriptionChange, SubscriptionStatus, TrialSum,
};
use anteroom_ports::billing::{ListedSubscription, SubscriptionCursor, SubscriptionFilter};
use anteroom_ports::{RevenueRead, RevenueWrite, StoreResult};
use async_trait::async_trait;
use diesel::prelude::{Insertable, Queryable, Selectable};
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel::{
    BoolExpressionMethods as _, ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, SelectableHelper as _,
};
use diesel_async::RunQueryDsl as _;
use tracing::instrument;

use super::owner;
use super::subscriptions::SubscriptionRow;
use crate::backend::utc_month;
use crate::schema::{subscription_changes, subscriptions};
use crate::types::{At, Id, SqlTime, text};
use crate::unit::Unit;

#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = subscription_changes, treat_none_as_default_value = false)]
struct ChangeRow {
    provider: String,
    provider_id: String,
    revision: i64,
    owner_kind: String,
    owner_id: Id,
    at: At,
    status: String,
    plan: String,
    plan_version: i32,
    monthly: Option<i64>,
    currency: Option<String>,
    from_status: Option<String>,
    from_plan: Option<String>,
    from_plan_version: Option<i32>,
    from_monthly: Option<i64>,
    from_currency: Option<String>,
}

impl From<&SubscriptionChange> for ChangeRow {
    fn from(change: &SubscriptionChange) -> Self {
        let (from, into) = (change.from.as_ref(), &change.into);
        Self {
            provider: change.provider.clone(),
            provider_id: text(&change.provider_id),
            revision: change.revision,
            owner_kind: change.owner.kind.as_str().to_owned(),
            owner_id: Id(change.owner.id),
            at: At(change.at),
            status: text(into.status.as_str()),
            plan: text(&into.plan),
            plan_version: into.plan_version,
            monthly: into.monthly,
            currency: into.currency.as_deref().map(text),
            from_status: from.map(|from| text(from.status.as_str())),
            from_plan: from.map(|from| text(&from.plan)),
            from_plan_version: from.map(|from| from.plan_version),
            from_monthly: from.and_then(|from| from.monthly),
            from_currency: from.and_then(|from| from.currency.as_deref().map(text)),
        }
    }
}

impl ChangeRow {
    fn change(self) -> StoreResult<SubscriptionChange> {
        let from = match (self.from_status, self.from_plan, self.from_plan_version) {
            (Some(status), Some(plan), Some(plan_version)) => Some(Standing {
                status: SubscriptionStatus::parse(&status),
                plan,
                plan_version,
                monthly: self.from_monthly,
                currency: self.from_currency,
            }),
            _ => None,
        };
        Ok(SubscriptionChange {
            provider: self.provider,
            provider_id: self.provider_id,
            revision: self.revision,
            owner: owner("subscription_changes.owner_kind", &self.owner_kind, self.owner_id)?,
            at: self.at.0,
            from,
            into: Standing {
                status: SubscriptionStatus::parse(&self.status),
                plan: self.plan,
                plan_version: self.plan_version,
                monthly: self.monthly,
                currency: self.currency,
            },
        })
    }
}

/// How all stood before a moment, up to that: each change adds one where it stands,
const STANDINGS: &str = "SELECT plan, status, currency, CAST(sum(one) AS bigint), \
    CAST(sum(CASE WHEN monthly > 0 THEN one ELSE 0 END) AS bigint), \
    CAST(sum(CASE WHEN monthly IS NULL THEN one ELSE 0 END) AS bigint), \
    CAST(sum(one * coalesce(monthly, 0)) AS bigint) FROM (\
    SELECT plan, status, currency, monthly, 1 AS one FROM subscription_changes WHERE at < ";
/// and takes one away from where it stood.
const STANDINGS_FROM: &str = " UNION ALL \
    SELECT from_plan, from_status, from_currency, from_monthly, -1 FROM subscription_changes \
    WHERE from_status IS NOT NULL AND at < ";

/// The kinds of changes of what is paid, up to the time.
const CHANGES: &str = "SELECT from_plan, from_currency, plan, currency, is_first, CAST(count(*) AS bigint), \
    CAST(sum(paid_before) AS bigint), CAST(sum(paid_after) AS bigint) FROM (\
    SELECT CASE WHEN from_monthly > 0 THEN from_plan END AS from_plan, \
    CASE WHEN from_monthly > 0 THEN from_currency END AS from_currency, \
    CASE WHEN monthly > 0 THEN plan END AS plan, CASE WHEN monthly > 0 THEN currency END AS currency, \
    coalesce(from_monthly, 0) AS paid_before, coalesce(monthly, 0) AS paid_after, \
    CASE WHEN monthly > coalesce(from_monthly, 0) THEN 1 WHEN from_monthly > coalesce(monthly, 0) THEN -1 ELSE 0 END AS course, \
    NOT EXISTS (SELECT 1 FROM subscription_changes e WHERE e.owner_kind = c.owner_kind AND e.owner_id = c.owner_id \
    AND e.monthly > 0 AND e.at <= c.at AND (e.at < c.at OR (e.provider, e.provider_id, e.revision) < (c.provider, c.provider_id, c.revision))) AS is_first \
    FROM subscription_changes c WHERE (monthly > 0 OR from_monthly > 0) AND at >= ";

/// From when on an account pays, and when it stops, by months. An account with several subscriptions pays while any does.
fn cohort_steps() -> (String, String) {
    let order = "PARTITION BY owner_kind, owner_id ORDER BY at, provider, provider_id, revision";
    let paid = |column: &str| format!("CASE WHEN {column} > 0 THEN 1 ELSE 0 END");
    let before = format!(
        "WITH steps AS (SELECT owner_kind, owner_id, at, provider, provider_id, revision, {} - {} AS step \
         FROM subscription_changes WHERE at < ",
        paid("monthly"),
        paid("from_monthly")
    );
    let after = format!(
        "), held AS (SELECT at, step, \
         sum(step) OVER ({order} ROWS UNBOUNDED PRECEDING) AS held, row_number() OVER ({order}) AS nth, \
         min(at) OVER (PARTITION BY owner_kind, owner_id) AS began_at FROM steps WHERE step <> 0) \
         SELECT {}, {}, CAST(sum(CASE WHEN nth = 1 THEN 1 ELSE 0 END) AS bigint), CAST(sum({} - {}) AS bigint) \
         FROM held GROUP BY 1, 2",
        utc_month("began_at"),
        utc_month("at"),
        paid("held"),
        paid("held - step"),
    );
    (before, after)
}

const TRIALS: &str = "SELECT plan, CAST(count(*) AS bigint), CAST(sum(CASE WHEN EXISTS (\
    SELECT 1 FROM subscription_changes e WHERE e.provider = c.provider AND e.provider_id = c.provider_id \
    AND e.revision > c.revision AND e.monthly > 0) THEN 1 ELSE 0 END) AS bigint), \
    CAST(sum(CASE WHEN EXISTS (\
    SELECT 1 FROM subscription_changes e WHERE e.provider = c.provider AND e.provider_id = c.provider_id \
    AND e.revision > c.revision AND e.status <> 'trialing') THEN 0 ELSE 1 END) AS bigint) \
    FROM subscription_changes c WHERE status = 'trialing' AND coalesce(from_status, '') <> 'trialing' AND at >= ";

const CONVERSIONS: &str = "SELECT CAST(count(*) AS bigint), CAST(coalesce(sum(CASE WHEN EXISTS (\
    SELECT 1 FROM subscription_changes c WHERE c.owner_kind = 'account' AND c.owner_id = users.id AND c.monthly > 0) \
    THEN 1 ELSE 0 END), 0) AS bigint) FROM users WHERE created_at >= ";

/// Who asked models, up to the time.
const MESSAGES: &str = "SELECT CAST('messages' AS text), plan, CAST(count(DISTINCT owner_id) AS bigint) FROM usage_days \
    WHERE owner_kind = 'account' AND calls > failed_calls AND day >= ";
/// Who used up the operator's own, up to the time.
const CONSUMED: &str = " GROUP BY plan UNION ALL \
    SELECT entitlement, plan, CAST(count(DISTINCT owner_id) AS bigint) FROM consumptions \
    WHERE owner_kind = 'account' AND created_at >= ";

/// What was paid, if it says by which plan.
fn paid(plan: Option<String>, currency: Option<String>, monthly: i64) -> Option<Paid> {
    Some(Paid {
        plan: plan?,
        currency: currency.unwrap_or_default(),
        monthly,
    })
}

#[async_trait]
impl RevenueRead for Unit {
    #[instrument(level = "debug", name = "store.billing.page_subscriptions", skip_all)]
    async fn page_subscriptions(
        &mut self,
        filter: &SubscriptionFilter,
        before: Option<&SubscriptionCursor>,
        limit: i64,
    ) -> StoreResult<Vec<ListedSubscription>> {
        use subscriptions as s;
        let mut query = s::table.into_boxed();
        if let Some(owner) = filter.owner {
            query = query
                .filter(s::owner_kind.eq(owner.kind.as_str()))
                .filter(s::owner_id.eq(Id(owner.id)));
        }
        if let Some(status) = &filter.status {
            query = query.filter(s::status.eq(text(status)));
        }
        if let Some(plan) = &filter.plan {
            query = query.filter(s::plan.eq(text(plan)));
        }
        if let Some(last) = before {
            let (at, provider, id) = (At(last.created_at), text(&last.provider), text(&last.provider_id));
            let same_provider = s::provider.eq(provider.clone()).and(s::provider_id.lt(id));
            let same_moment = s::created_at.eq(at).and(s::provider.lt(provider).or(same_provider));
            // The first condition says what the others do, in a way that the index knows.
            query = query
                .filter(s::created_at.le(at))
                .filter(s::created_at.lt(at).or(same_moment));
        }
        let rows = query
            .order((s::created_at.desc(), s::provider.desc(), s::provider_id.desc()))
            .limit(limit)
            .select((SubscriptionRow::as_select(), s::created_at))
            .load::<(SubscriptionRow, At)>(self.conn_for_long()?)
            .await;
        let listed = self.checked(rows)?.into_iter().map(|(row, created_at)| {
            Ok(ListedSubscription {
                subscription: Subscription::try_from(row)?,
                created_at: created_at.0,
            })
        });
        listed.collect()
    }

    #[instrument(level = "debug", name = "store.billing.last_subscription_change", skip_all)]
    async fn last_subscription_change(
        &mut self,
        provider: &str,
        provider_id: &str,
    ) -> StoreResult<Option<SubscriptionChange>> {
        let row = subscription_changes::table
            .filter(subscription_changes::provider.eq(provider))
            .filter(subscription_changes::provider_id.eq(provider_id))
            .order(subscription_changes::revision.desc())
            .select(ChangeRow::as_select())
            .first(self.conn()?)
            .await
            .optional();
        self.checked(row)?.map(ChangeRow::change).transpose()
    }

    #[instrument(level = "debug", name = "store.billing.subscription_changes_of", skip_all)]
    async fn subscription_changes_of(&mut self, owner: Owner, limit: i64) -> StoreResult<Vec<SubscriptionChange>> {
        use subscription_changes as c;
        let rows = c::table
            .filter(c::owner_kind.eq(owner.kind.as_str()))
            .filter(c::owner_id.eq(Id(owner.id)))
            .order((
                c::at.desc(),
                c::provider.desc(),
                c::provider_id.desc(),
                c::revision.desc(),
            ))
            .limit(limit)
            .select(ChangeRow::as_select())
            .load(self.conn()?)
            .await;
        self.checked(rows)?.into_iter().map(ChangeRow::change).collect()
    }

    #[instrument(level = "debug", name = "store.billing.sum_standings", skip_all)]
    async fn sum_standings(&mut self, before: Timestamp) -> StoreResult<Vec<StandingSum>> {
        type Row = (String, String, Option<String>, i64, i64, i64, i64);
        let rows = diesel::dsl::sql::<(Text, Text, Nullable<Text>, BigInt, BigInt, BigInt, BigInt)>(STANDINGS)
            .bind::<SqlTime, _>(At(before))
            .sql(STANDINGS_FROM)
            .bind::<SqlTime, _>(At(before))
            .sql(") AS sides GROUP BY plan, status, currency HAVING sum(one) <> 0")
            .load::<Row>(self.conn_for_long()?)
            .await;
        let sum = |(plan, status, currency, subscriptions, paying, unpriced, monthly): Row| StandingSum {
            plan,
            status: SubscriptionStatus::parse(&status),
            currency,
            subscriptions,
            paying,
            unpriced,
            monthly,
        };
        Ok(self.checked(rows)?.into_iter().map(sum).collect())
    }

    #[instrument(level = "debug", name = "store.billing.sum_subscription_changes", skip_all)]
    async fn sum_subscription_changes(&mut self, from: Timestamp, until: Timestamp) -> StoreResult<Vec<ChangeSum>> {
        type Sql = (
            Nullable<Text>,
            Nullable<Text>,
            Nullable<Text>,
            Nullable<Text>,
            Bool,
            BigInt,
            BigInt,
            BigInt,
        );
        type Row = (
            Option<String>,
            Option<String>,
            Option<String>,
            Option<String>,
            bool,
            i64,
            i64,
            i64,
        );
        let rows = diesel::dsl::sql::<Sql>(CHANGES)
            .bind::<SqlTime, _>(At(from))
            .sql(" AND at < ")
            .bind::<SqlTime, _>(At(until))
            .sql(") AS kinds GROUP BY from_plan, from_currency, plan, currency, is_first, course")
            .load::<Row>(self.conn_for_long()?)
            .await;
        let sum = |(from_plan, from_currency, plan, currency, first, changes, before, after): Row| {
            let from = paid(from_plan, from_currency, before);
            ChangeSum {
                first: first && from.is_none(),
                from,
                into: paid(plan, currency, after),
                changes,
            }
        };
        Ok(self.checked(rows)?.into_iter().map(sum).collect())
    }

    #[instrument(level = "debug", name = "store.billing.sum_cohorts", skip_all)]
    async fn sum_cohorts(&mut self, until: Timestamp) -> StoreResult<Vec<CohortStep>> {
        let (before, after) = cohort_steps();
        let rows = diesel::dsl::sql::<(SqlTime, SqlTime, BigInt, BigInt)>(&before)
            .bind::<SqlTime, _>(At(until))
            .sql(&after)
            .load::<(At, At, i64, i64)>(self.conn_for_long()?)
            .await;
        let step = |(first, month, began, change): (At, At, i64, i64)| CohortStep {
            first: first.0,
            month: month.0,
            began,
            change,
        };
        Ok(self.checked(rows)?.into_iter().map(step).collect())
    }

    #[instrument(level = "debug", name = "store.billing.count_conversions", skip_all)]
    async fn count_conversions(&mut self, from: Timestamp, until: Timestamp) -> StoreResult<Conversion> {
        let row = diesel::dsl::sql::<(BigInt, BigInt)>(CONVERSIONS)
            .bind::<SqlTime, _>(At(from))
            .sql(" AND created_at < ")
            .bind::<SqlTime, _>(At(until))
            .get_result::<(i64, i64)>(self.conn_for_long()?)
            .await;
        let (accounts, paid) = self.checked(row)?;
        Ok(Conversion { accounts, paid })
    }

    #[instrument(level = "debug", name = "store.billing.sum_trials", skip_all)]
    async fn sum_trials(&mut self, from: Timestamp, until: Timestamp) -> StoreResult<Vec<TrialSum>> {
        let rows = diesel::dsl::sql::<(Text, BigInt, BigInt, BigInt)>(TRIALS)
            .bind::<SqlTime, _>(At(from))
            .sql(" AND at < ")
            .bind::<SqlTime, _>(At(until))
            .sql(" GROUP BY plan ORDER BY plan")
            .load::<(String, i64, i64, i64)>(self.conn_for_long()?)
            .await;
        let sum = |(plan, began, paid, running)| TrialSum {
            plan,
            began,
            paid,
            running,
        };
        Ok(self.checked(rows)?.into_iter().map(sum).collect())
    }

    #[instrument(level = "debug", name = "store.billing.sum_features", skip_all)]
    async fn sum_features(&mut self, from: Timestamp, until: Timestamp) -> StoreResult<Vec<FeatureSum>> {
        let rows = diesel::dsl::sql::<(Text, Text, BigInt)>(MESSAGES)
            .bind::<SqlTime, _>(At(from))
            .sql(" AND day < ")
            .bind::<SqlTime, _>(At(until))
            .sql(CONSUMED)
            .bind::<SqlTime, _>(At(from))
            .sql(" AND created_at < ")
            .bind::<SqlTime, _>(At(until))
            .sql(" GROUP BY entitlement, plan ORDER BY 1, 2")
            .load::<(String, String, i64)>(self.conn_for_long()?)
            .await;
        let sum = |(feature, plan, accounts)| FeatureSum {
            feature,
            plan,
            accounts,
        };
        Ok(self.checked(rows)?.into_iter().map(sum).collect())
    }
}

#[async_trait]
impl RevenueWrite for Unit {
    #[instrument(level = "debug", name = "store.billing.insert_subscription_change", skip_all)]
    async fn insert_subscription_change(&mut self, change: &SubscriptionChange) -> StoreResult<()> {
        let done = diesel::insert_into(subscription_changes::table)
            .values(ChangeRow::from(change))
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| ())
    }
}
