//! What subscribers were told of by mail, and who is to be looked at.

use anteroom_domain::Timestamp;
use anteroom_domain::billing::{NoticeKind, Owner, Subscription, SubscriptionStatus, day_of};
use anteroom_ports::{NoticesRead, NoticesWrite, StoreResult};
use async_trait::async_trait;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel::{
    BoolExpressionMethods as _, ExpressionMethods as _, QueryDsl as _, SelectableHelper as _, dsl::exists, select,
};
use diesel_async::RunQueryDsl as _;
use tracing::instrument;
use uuid::Uuid;

use super::owner;
use super::subscriptions::SubscriptionRow;
use crate::schema::{billing_notices, subscriptions};
use crate::types::{At, Id, SqlId, SqlTime, text};
use crate::unit::Unit;

#[async_trait]
impl NoticesRead for Unit {
    #[instrument(level = "debug", name = "store.billing.knows_notice", skip_all)]
    async fn knows_notice(&mut self, owner: Owner, kind: NoticeKind, reference: &str) -> StoreResult<bool> {
        let key = (owner.kind.as_str(), Id(owner.id), kind.as_str(), text(reference));
        let known = select(exists(billing_notices::table.find(key)))
            .get_result::<bool>(self.conn()?)
            .await;
        self.checked(known)
    }

    #[instrument(level = "debug", name = "store.billing.page_ending_trials", skip_all)]
    async fn page_ending_trials(
        &mut self,
        from: Timestamp,
        until: Timestamp,
        after: Option<(&str, &str)>,
        limit: i64,
    ) -> StoreResult<Vec<Subscription>> {
        // Nothing sorts before it.
        let (provider, id) = after.unwrap_or_default();
        let later = subscriptions::provider.gt(provider).or(subscriptions::provider
            .eq(provider)
            .and(subscriptions::provider_id.gt(id)));
        let rows = subscriptions::table
            .filter(subscriptions::status.eq(SubscriptionStatus::Trialing.as_str()))
            .filter(subscriptions::trial_end.gt(Some(At(from))))
            .filter(subscriptions::trial_end.le(Some(At(until))))
            .filter(later)
            .order((subscriptions::provider, subscriptions::provider_id))
            .limit(limit)
            .select(SubscriptionRow::as_select())
            .load(self.conn_for_long()?)
            .await;
        self.checked(rows)?.into_iter().map(Subscription::try_from).collect()
    }

    #[instrument(level = "debug", name = "store.billing.page_owners_booked", skip_all)]
    async fn page_owners_booked(
        &mut self,
        since: Timestamp,
        after: Option<Owner>,
        limit: i64,
    ) -> StoreResult<Vec<Owner>> {
        let (kind, id) = after.map_or(("", Uuid::nil()), |owner| (owner.kind.as_str(), owner.id));
        // The calls have an index by owner and time and none by time alone, which would cost each call a page to write. So
        // the days' sums say who called at all, and the calls' index whether it was lately.
        let rows = diesel::dsl::sql::<(Text, SqlId)>(
            "SELECT DISTINCT d.owner_kind, d.owner_id FROM usage_days d WHERE d.day >= ",
        )
        .bind::<SqlTime, _>(At(day_of(since).start))
        .sql(" AND (d.owner_kind, d.owner_id) > (")
        .bind::<Text, _>(kind)
        .sql(", ")
        .bind::<SqlId, _>(Id(id))
        .sql(
            ") AND EXISTS (SELECT 1 FROM usage_events e WHERE e.owner_kind = d.owner_kind AND e.owner_id = d.owner_id \
             AND e.created_at >= ",
        )
        .bind::<SqlTime, _>(At(since))
        .sql(") ORDER BY 1, 2 LIMIT ")
        .bind::<BigInt, _>(limit)
        .load::<(String, Id)>(self.conn_for_long()?)
        .await;
        let read = |(kind, id): (String, Id)| owner("usage_days.owner_kind", &kind, id);
        self.checked(rows)?.into_iter().map(read).collect()
    }
}

#[async_trait]
impl NoticesWrite for Unit {
    #[instrument(level = "debug", name = "store.billing.insert_notice", skip_all)]
    async fn insert_notice(
        &mut self,
        owner: Owner,
        kind: NoticeKind,
        reference: &str,
        at: Timestamp,
    ) -> StoreResult<bool> {
        let done = diesel::insert_into(billing_notices::table)
            .values((
                billing_notices::owner_kind.eq(owner.kind.as_str()),
                billing_notices::owner_id.eq(Id(owner.id)),
                billing_notices::kind.eq(kind.as_str()),
                billing_notices::reference.eq(text(reference)),
                billing_notices::told_at.eq(At(at)),
            ))
            .on_conflict((
                billing_notices::owner_kind,
                billing_notices::owner_id,
                billing_notices::kind,
                billing_notices::reference,
            ))
            .do_nothing()
            .execute(self.conn()?)
            .await;
        Ok(self.checked(done)? == 1)
    }

    #[instrument(level = "debug", name = "store.billing.purge_notices", skip_all)]
    async fn purge_notices(&mut self, before: Timestamp, limit: i64) -> StoreResult<usize> {
        // Both databases compare rows of values; the query builder does not.
        let oldest = diesel::dsl::sql::<Bool>(
            "(owner_kind, owner_id, kind, reference) IN (SELECT owner_kind, owner_id, kind, reference \
             FROM billing_notices WHERE told_at < ",
        )
        .bind::<SqlTime, _>(At(before))
        .sql(" ORDER BY told_at LIMIT ")
        .bind::<BigInt, _>(limit)
        .sql(")");
        let done = diesel::delete(billing_notices::table)
            .filter(oldest)
            .execute(self.conn_for_long()?)
            .await;
        self.checked(done)
    }

    #[instrument(level = "debug", name = "store.billing.delete_notices", skip_all)]
    async fn delete_notices(&mut self, owner: Owner) -> StoreResult<()> {
        let theirs = billing_notices::table
            .filter(billing_notices::owner_kind.eq(owner.kind.as_str()))
            .filter(billing_notices::owner_id.eq(Id(owner.id)));
        let done = diesel::delete(theirs).execute(self.conn()?).await;
        self.checked(done).map(|_| ())
    }
}
