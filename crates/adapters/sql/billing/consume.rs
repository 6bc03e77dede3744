//! What is used up of the operator's own things.

use anteroom_domain::Timestamp;
use anteroom_domain::billing::Owner;
use anteroom_ports::StoreResult;
use anteroom_ports::billing::{Consumed, Consumption, CounterAsk};
use diesel::upsert::excluded;
use diesel::{ExpressionMethods as _, OptionalExtension as _, QueryDsl as _};
use diesel_async::RunQueryDsl as _;
use tracing::instrument;

use crate::schema::{consumptions, quota_windows};
use crate::types::{At, Id, text};
use crate::unit::Unit;

impl Unit {
    #[instrument(level = "debug", name = "store.billing.counter_level", skip_all)]
    pub(super) async fn read_counter(
        &mut self,
        owner: Owner,
        counter: &str,
        window_start: Timestamp,
    ) -> StoreResult<i64> {
        let used = quota_windows::table
            .find((owner.kind.as_str(), Id(owner.id), counter, At(window_start)))
            .select(quota_windows::used)
            .first::<i64>(self.conn()?)
            .await
            .optional();
        Ok(self.checked(used)?.unwrap_or_default())
    }

    #[instrument(level = "debug", name = "store.billing.consume", skip_all)]
    pub(super) async fn count_consumption(&mut self, asked: &Consumption) -> StoreResult<Consumed> {
        let owner = (asked.owner.kind.as_str(), Id(asked.owner.id));
        let done = diesel::insert_into(consumptions::table)
            .values((
                consumptions::owner_kind.eq(owner.0),
                consumptions::owner_id.eq(owner.1),
                consumptions::id.eq(text(&asked.id)),
                consumptions::entitlement.eq(text(&asked.key)),
                consumptions::amount.eq(asked.amount),
                consumptions::created_at.eq(At(asked.at)),
                consumptions::plan.eq(text(&asked.plan)),
            ))
            .on_conflict((consumptions::owner_kind, consumptions::owner_id, consumptions::id))
            .do_nothing()
            .execute(self.conn()?)
            .await;
        if self.checked(done)? == 0 {
            let known = consumptions::table
                .find((owner.0, owner.1, text(&asked.id)))
                .select((consumptions::entitlement, consumptions::amount))
                .first::<(String, i64)>(self.conn()?)
                .await;
            let same = self.checked(known)? == (text(&asked.key), asked.amount);
            return Ok(if same { Consumed::Repeated } else { Consumed::OtherUse });
        }
        let mut order: Vec<usize> = (0..asked.counters.len()).collect();
        order.sort_unstable_by_key(|at| &asked.counters[*at].counter);
        for at in order {
            let counter = &asked.counters[at];
            if !self.count(asked, counter).await? {
                let used = self
                    .read_counter(asked.owner, &counter.counter, counter.window_start)
                    .await?;
                return Ok(Consumed::Denied { counter: at, used });
            }
        }
        Ok(Consumed::Counted)
    }

    /// Adds to a counter if there is room.
    async fn count(&mut self, asked: &Consumption, counter: &CounterAsk) -> StoreResult<bool> {
        use diesel::query_dsl::methods::FilterDsl as _;
        if asked.amount < 0 {
            return self.give_back(asked, counter).await;
        }
        // The counter's first row is inserted without asking for room, so ask here; later ones may not be lower.
        if counter.limit.is_some_and(|limit| asked.amount > limit) {
            return Ok(false);
        }
        let room = counter.limit.unwrap_or(i64::MAX) - asked.amount;
        let counted = diesel::insert_into(quota_windows::table)
            .values((
                quota_windows::owner_kind.eq(asked.owner.kind.as_str()),
                quota_windows::owner_id.eq(Id(asked.owner.id)),
                quota_windows::meter.eq(text(&counter.counter)),
                quota_windows::window_start.eq(At(counter.window_start)),
                quota_windows::used.eq(asked.amount),
                quota_windows::reserved.eq(0),
            ))
            .on_conflict((
                quota_windows::owner_kind,
                quota_windows::owner_id,
                quota_windows::meter,
                quota_windows::window_start,
            ))
            .do_update()
            .set(quota_windows::used.eq(quota_windows::used + excluded(quota_windows::used)))
            .filter(quota_windows::used.le(room))
            .execute(self.conn()?)
            .await;
        Ok(self.checked(counted)? == 1)
    }

    /// Takes from a counter if as much stands on it.
    async fn give_back(&mut self, asked: &Consumption, counter: &CounterAsk) -> StoreResult<bool> {
        let key = (
            asked.owner.kind.as_str(),
            Id(asked.owner.id),
            text(&counter.counter),
            At(counter.window_start),
        );
        let counted = diesel::update(quota_windows::table.find(key))
            .filter(quota_windows::used.ge(-asked.amount))
            .set(quota_windows::used.eq(quota_windows::used + asked.amount))
            .execute(self.conn()?)
            .await;
        Ok(self.checked(counted)? == 1)
    }

    #[instrument(level = "debug", name = "store.billing.purge_consumptions", skip_all)]
    pub(super) async fn forget_consumptions(&mut self, before: Timestamp, limit: i64) -> StoreResult<usize> {
        let old = consumptions::table
            .filter(consumptions::created_at.lt(At(before)))
            .order(consumptions::created_at)
            .limit(limit)
            .select((consumptions::owner_kind, consumptions::owner_id, consumptions::id))
            .load::<(String, Id, String)>(self.conn()?)
            .await;
        let old = self.checked(old)?;
        let mut forgotten = 0;
        for (kind, owner, id) in old {
            let done = diesel::delete(consumptions::table.find((kind, owner, id)))
                .execute(self.conn()?)
                .await;
            forgotten += self.checked(done)?;
        }
        Ok(forgotten)
    }
}
