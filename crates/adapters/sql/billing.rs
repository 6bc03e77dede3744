//! Quotas and usage; subscriptions and what belongs to them.

#[path = "billing/consume.rs"]
mod consume;
#[path = "billing/credits.rs"]
mod credits;
#[path = "billing/events.rs"]
mod events;
#[path = "billing/notices.rs"]
mod notices;
#[path = "billing/overage.rs"]
mod overage;
#[path = "billing/revenue.rs"]
mod revenue;
#[path = "billing/subscriptions.rs"]
mod subscriptions;
#[path = "billing/usage.rs"]
mod usage;

pub(crate) use credits::CreditEntryRow;

use std::collections::BTreeMap;

use anteroom_domain::access::UsedWith;
use anteroom_domain::billing::{Hold, Owner, OwnerKind, QuotaKey, counter_named};
use anteroom_domain::chat::{TokenUsage, UsageEvent};
use anteroom_domain::{ApiKeyId, RequestId, ReservationId, SessionId, Timestamp};
use anteroom_ports::billing::{
    Consumed, Consumption, QuotaLevel, Reservation, Reserved, Settlement, UsageAsk, UsageSum,
};
use anteroom_ports::{BillingRead, BillingWrite, StoreError, StoreResult};
use async_trait::async_trait;
use diesel::prelude::{Insertable, Queryable, Selectable};
use diesel::upsert::excluded;
use diesel::{ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, SelectableHelper as _};
use diesel_async::RunQueryDsl as _;
use tracing::instrument;
use uuid::Uuid;

use crate::backend::{delete_holds, insert_holds, insert_usage, locked_or_skipped};
use crate::kept::kept;
use crate::schema::{quota_windows, reservations, usage_events};
use crate::types::{At, Id, text, unknown_word};
use crate::unit::Unit;

/// The statements of every call to a model, which stay prepared.
struct HoldQuota;
struct SettleQuota;
pub(crate) struct InsertUsage;

/// One hold of a reservation.
#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = reservations, treat_none_as_default_value = false)]
pub(crate) struct ReservationRow {
    id: Id,
    meter: String,
    request_id: Id,
    owner_kind: String,
    owner_id: Id,
    session_id: Option<Id>,
    api_key_id: Option<Id>,
    model: String,
    prompt_tokens: i64,
    completion_tokens: i64,
    cached_tokens: i64,
    reasoning_tokens: i64,
    hold_owner_kind: String,
    hold_owner_id: Id,
    window_start: At,
    amount: i64,
    quota_limit: Option<i64>,
    created_at: At,
    expires_at: At,
}

/// What is read of a hold when it is settled.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = reservations)]
pub(crate) struct HeldRow {
    id: Id,
    meter: String,
    hold_owner_kind: String,
    hold_owner_id: Id,
    window_start: At,
    amount: i64,
}

#[derive(Debug, Insertable)]
#[diesel(table_name = usage_events, treat_none_as_default_value = false)]
pub(crate) struct UsageRow {
    pub(crate) request_id: Id,
    owner_kind: &'static str,
    owner_id: Id,
    session_id: Option<Id>,
    api_key_id: Option<Id>,
    model: String,
    plan: String,
    prompt_tokens: i64,
    completion_tokens: i64,
    cached_tokens: i64,
    reasoning_tokens: i64,
    exact: bool,
    cost: Option<i64>,
    first_token_ms: Option<i64>,
    total_ms: i64,
    outcome: &'static str,
    created_at: At,
    provider: Option<String>,
    upstream_model: Option<String>,
}

impl From<&UsageEvent> for UsageRow {
    fn from(event: &UsageEvent) -> Self {
        Self {
            request_id: Id(event.request_id.0),
            owner_kind: event.owner.kind.as_str(),
            owner_id: Id(event.owner.id),
            session_id: event.used_with.session().map(|id| Id(id.0)),
            api_key_id: event.used_with.api_key().map(|id| Id(id.0)),
            model: text(&event.model),
            plan: text(&event.plan),
            prompt_tokens: event.usage.prompt_tokens,
            completion_tokens: event.usage.completion_tokens,
            cached_tokens: event.usage.cached_tokens,
            reasoning_tokens: event.usage.reasoning_tokens,
            exact: event.exact,
            cost: event.cost.map(|cost| cost.0),
            first_token_ms: event.first_token_ms,
            total_ms: event.total_ms,
            outcome: event.outcome.as_str(),
            created_at: At(event.created_at),
            provider: event.served_by.as_ref().map(|by| text(&by.provider)),
            upstream_model: event.served_by.as_ref().map(|by| text(&by.model)),
        }
    }
}

impl ReservationRow {
    fn new(reservation: &Reservation, hold: &Hold) -> Self {
        Self {
            id: Id(reservation.id.0),
            meter: hold.key.meter.to_owned(),
            request_id: Id(reservation.request_id.0),
            owner_kind: reservation.owner.kind.as_str().to_owned(),
            owner_id: Id(reservation.owner.id),
            session_id: reservation.used_with.session().map(|id| Id(id.0)),
            api_key_id: reservation.used_with.api_key().map(|id| Id(id.0)),
            model: text(&reservation.model),
            prompt_tokens: reservation.at_least.prompt_tokens,
            completion_tokens: reservation.at_least.completion_tokens,
            cached_tokens: reservation.at_least.cached_tokens,
            reasoning_tokens: reservation.at_least.reasoning_tokens,
            hold_owner_kind: hold.key.owner.kind.as_str().to_owned(),
            hold_owner_id: Id(hold.key.owner.id),
            window_start: At(hold.key.window_start),
            amount: hold.amount,
            quota_limit: hold.limit,
            created_at: At(reservation.created_at),
            expires_at: At(reservation.expires_at),
        }
    }

    fn hold(&self) -> StoreResult<Hold> {
        Ok(Hold {
            key: held_key(
                &self.meter,
                &self.hold_owner_kind,
                self.hold_owner_id,
                self.window_start,
            )?,
            amount: self.amount,
            limit: self.quota_limit,
        })
    }

    /// The reservation, without its holds.
    fn reservation(&self) -> StoreResult<Reservation> {
        Ok(Reservation {
            id: ReservationId(self.id.0),
            request_id: RequestId(self.request_id.0),
            owner: owner("reservations.owner_kind", &self.owner_kind, self.owner_id)?,
            used_with: used_with(self.session_id, self.api_key_id)?,
            model: self.model.clone(),
            at_least: TokenUsage {
                prompt_tokens: self.prompt_tokens,
                completion_tokens: self.completion_tokens,
                cached_tokens: self.cached_tokens,
                reasoning_tokens: self.reasoning_tokens,
                ..TokenUsage::NONE
            },
            holds: Vec::new(),
            created_at: self.created_at.0,
            expires_at: self.expires_at.0,
        })
    }
}

fn held_key(name: &str, owner_kind: &str, owner_id: Id, window_start: At) -> StoreResult<QuotaKey> {
    Ok(QuotaKey {
        owner: owner("reservations.hold_owner_kind", owner_kind, owner_id)?,
        meter: meter(name)?,
        window_start: window_start.0,
    })
}

fn owner(column: &str, kind: &str, id: Id) -> StoreResult<Owner> {
    Ok(Owner {
        kind: OwnerKind::parse(kind).ok_or_else(|| unknown_word(column, kind))?,
        id: id.0,
    })
}

fn used_with(session: Option<Id>, api_key: Option<Id>) -> StoreResult<UsedWith> {
    match (session, api_key) {
        (Some(id), None) => Ok(UsedWith::Session(SessionId(id.0))),
        (None, Some(id)) => Ok(UsedWith::ApiKey(ApiKeyId(id.0))),
        _ => Err(StoreError::Corrupt {
            reason: "a reservation names a session and a key, or neither".into(),
        }),
    }
}

fn meter(word: &str) -> StoreResult<&'static str> {
    counter_named(word).ok_or_else(|| unknown_word("reservations.meter", word))
}

/// The order in which counters are locked everywhere, so that no two units wait for each other in a circle. The
/// deployment's counter, which every call needs, is the last, so that it is held shortest.
fn lock_order(key: &QuotaKey) -> (bool, &'static str, Uuid, &'static str, Timestamp) {
    let shared = key.owner.kind == OwnerKind::Deployment;
    (
        shared,
        key.owner.kind.as_str(),
        key.owner.id,
        key.meter,
        key.window_start,
    )
}

/// Holds on one counter as one.
fn together(holds: &[&Hold]) -> StoreResult<Hold> {
    if holds.iter().any(|hold| hold.amount < 0) {
        return Err(StoreError::Corrupt {
            reason: "a hold is negative".into(),
        });
    }
    Ok(Hold {
        key: holds[0].key.clone(),
        amount: holds.iter().fold(0, |sum, hold| hold.amount.saturating_add(sum)),
        limit: holds.iter().filter_map(|hold| hold.limit).min(),
    })
}

#[async_trait]
impl BillingRead for Unit {
    #[instrument(level = "debug", name = "store.billing.quota_level", skip_all)]
    async fn quota_level(&mut self, key: &QuotaKey) -> StoreResult<QuotaLevel> {
        let row = quota_windows::table
            .filter(quota_windows::owner_kind.eq(key.owner.kind.as_str()))
            .filter(quota_windows::owner_id.eq(Id(key.owner.id)))
            .filter(quota_windows::meter.eq(key.meter))
            .filter(quota_windows::window_start.eq(At(key.window_start)))
            .select((quota_windows::used, quota_windows::reserved))
            .first::<(i64, i64)>(self.conn()?)
            .await
            .optional();
        let (used, reserved) = self.checked(row)?.unwrap_or_default();
        Ok(QuotaLevel { used, reserved })
    }

    async fn counter_level(&mut self, owner: Owner, counter: &str, window_start: Timestamp) -> StoreResult<i64> {
        self.read_counter(owner, counter, window_start).await
    }

    #[instrument(level = "debug", name = "store.billing.sum_usage", skip_all)]
    async fn sum_usage(&mut self, ask: &UsageAsk, limit: i64) -> StoreResult<Vec<UsageSum>> {
        self.read_usage(ask, limit).await
    }

    #[instrument(level = "debug", name = "store.billing.page_usage_owners", skip_all)]
    async fn page_usage_owners(&mut self, after: Option<Owner>, limit: i64) -> StoreResult<Vec<Owner>> {
        self.owners_with_usage(after, limit).await
    }
}

impl Unit {
    /// Adds a hold to its counter if there is room.
    async fn hold(&mut self, hold: &Hold) -> StoreResult<bool> {
        use diesel::query_dsl::methods::FilterDsl as _;
        // The counter's first row is inserted without asking for room, so ask here; later ones may not be lower.
        if hold.limit.is_some_and(|limit| hold.amount > limit) {
            return Ok(false);
        }
        let room = hold.limit.unwrap_or(i64::MAX) - hold.amount;
        let counted = diesel::insert_into(quota_windows::table)
            .values((
                quota_windows::owner_kind.eq(hold.key.owner.kind.as_str()),
                quota_windows::owner_id.eq(Id(hold.key.owner.id)),
                quota_windows::meter.eq(hold.key.meter),
                quota_windows::window_start.eq(At(hold.key.window_start)),
                quota_windows::used.eq(0),
                quota_windows::reserved.eq(hold.amount),
            ))
            .on_conflict((
                quota_windows::owner_kind,
                quota_windows::owner_id,
                quota_windows::meter,
                quota_windows::window_start,
            ))
            .do_update()
            .set(quota_windows::reserved.eq(quota_windows::reserved + excluded(quota_windows::reserved)))
            .filter((quota_windows::used + quota_windows::reserved).le(room));
        let done = kept::<HoldQuota, _>(counted).execute(self.conn()?).await;
        Ok(self.checked(done)? == 1)
    }
}

#[async_trait]
impl BillingWrite for Unit {
    #[instrument(level = "debug", name = "store.billing.reserve_quota", skip_all)]
    async fn reserve_quota(&mut self, reservations: &[&Reservation]) -> StoreResult<Reserved> {
        if reservations.iter().any(|reservation| reservation.holds.is_empty()) {
            return Err(StoreError::Corrupt {
                reason: "a reservation without a hold could never be settled".into(),
            });
        }
        let mut holds: Vec<&Hold> = reservations.iter().flat_map(|reservation| &reservation.holds).collect();
        holds.sort_unstable_by(|a, b| lock_order(&a.key).cmp(&lock_order(&b.key)));
        for holds in holds.chunk_by(|a, b| a.key == b.key) {
            let hold = together(holds)?;
            if !self.hold(&hold).await? {
                return Ok(Reserved::Denied {
                    level: self.quota_level(&hold.key).await?,
                    key: hold.key,
                    limit: hold.limit.unwrap_or(i64::MAX),
                });
            }
        }
        let rows = reservations.iter().flat_map(|reservation| {
            let holds = reservation.holds.iter();
            holds.map(move |hold| ReservationRow::new(reservation, hold))
        });
        let done = insert_holds(self.conn()?, rows.collect()).await;
        self.checked(done)?;
        Ok(Reserved::Held)
    }

    #[instrument(level = "debug", name = "store.billing.settle_quota", skip_all)]
    async fn settle_quota(&mut self, settlements: &[Settlement]) -> StoreResult<Vec<ReservationId>> {
        // Whoever deletes the rows moves the counters; a second settlement finds none.
        let ids = settlements.iter().map(|settlement| Id(settlement.id.0)).collect();
        let rows = delete_holds(self.conn()?, ids).await;
        let rows = self.checked(rows)?;
        let mut moves = Vec::with_capacity(rows.len());
        for row in &rows {
            let key = held_key(&row.meter, &row.hold_owner_kind, row.hold_owner_id, row.window_start)?;
            let settlement = settlements.iter().find(|settlement| settlement.id.0 == row.id.0);
            let mut used = settlement.into_iter().flat_map(|settlement| &settlement.used);
            let used = used.find(|(meter, _)| *meter == key.meter).map_or(0, |(_, used)| *used);
            moves.push((key, used, row.amount));
        }
        moves.sort_unstable_by(|(a, ..), (b, ..)| lock_order(a).cmp(&lock_order(b)));
        for moves in moves.chunk_by(|(a, ..), (b, ..)| a == b) {
            let (key, ..) = &moves[0];
            let used = moves.iter().fold(0_i64, |sum, (_, used, _)| sum.saturating_add(*used));
            // No more than is reserved, which a counter holds.
            let released: i64 = moves.iter().map(|(.., amount)| amount).sum();
            let counted = diesel::update(quota_windows::table)
                .filter(quota_windows::owner_kind.eq(key.owner.kind.as_str()))
                .filter(quota_windows::owner_id.eq(Id(key.owner.id)))
                .filter(quota_windows::meter.eq(key.meter))
                .filter(quota_windows::window_start.eq(At(key.window_start)))
                .set((
                    quota_windows::used.eq(quota_windows::used + used),
                    quota_windows::reserved.eq(quota_windows::reserved - released),
                ));
            let done = kept::<SettleQuota, _>(counted).execute(self.conn()?).await;
            self.checked(done)?;
        }
        let mut open: Vec<Id> = rows.iter().map(|row| row.id).collect();
        open.sort_unstable();
        open.dedup();
        Ok(open.into_iter().map(|id| ReservationId(id.0)).collect())
    }

    #[instrument(level = "debug", name = "store.billing.renew_reservations", skip_all)]
    async fn renew_reservations(&mut self, ids: &[ReservationId], until: Timestamp) -> StoreResult<()> {
        // Whoever settles some of them holds rows and wants more, so nothing is waited for.
        let query = reservations::table
            .filter(reservations::id.eq_any(ids.iter().map(|id| Id(id.0))))
            .select((reservations::id, reservations::meter));
        let rows = locked_or_skipped!(query).load::<(Id, String)>(self.conn()?).await;
        let mut locked: BTreeMap<String, Vec<Id>> = BTreeMap::new();
        for (id, meter) in self.checked(rows)? {
            locked.entry(meter).or_default().push(id);
        }
        for (meter, ids) in locked {
            let done = diesel::update(reservations::table)
                .filter(reservations::id.eq_any(ids))
                .filter(reservations::meter.eq(meter))
                .set(reservations::expires_at.eq(At(until)))
                .execute(self.conn()?)
                .await;
            self.checked(done)?;
        }
        Ok(())
    }

    #[instrument(level = "debug", name = "store.billing.expired_reservations", skip_all)]
    async fn expired_reservations(&mut self, now: Timestamp, limit: i64) -> StoreResult<Vec<Reservation>> {
        let ids = reservations::table
            .filter(reservations::expires_at.le(At(now)))
            .select((reservations::expires_at, reservations::id))
            .distinct()
            .order((reservations::expires_at, reservations::id))
            .limit(limit)
            .load::<(At, Id)>(self.conn()?)
            .await;
        let ids: Vec<Id> = self.checked(ids)?.into_iter().map(|(_, id)| id).collect();
        let rows = reservations::table
            .filter(reservations::id.eq_any(ids))
            .order((reservations::expires_at, reservations::id, reservations::meter))
            .select(ReservationRow::as_select())
            .load(self.conn()?)
            .await;
        let mut found: Vec<Reservation> = Vec::new();
        for row in self.checked(rows)? {
            if found.last().is_none_or(|last| last.id.0 != row.id.0) {
                found.push(row.reservation()?);
            }
            if let Some(last) = found.last_mut() {
                last.holds.push(row.hold()?);
            }
        }
        Ok(found)
    }

    async fn consume(&mut self, consumption: &Consumption) -> StoreResult<Consumed> {
        self.count_consumption(consumption).await
    }

    async fn purge_consumptions(&mut self, before: Timestamp, limit: i64) -> StoreResult<usize> {
        self.forget_consumptions(before, limit).await
    }

    #[instrument(level = "debug", name = "store.billing.insert_usage", skip_all)]
    async fn insert_usage(&mut self, events: &[&UsageEvent]) -> StoreResult<usize> {
        let rows = events.iter().map(|event| UsageRow::from(*event)).collect();
        let booked = insert_usage(self.conn()?, rows).await;
        let mut booked = self.checked(booked)?;
        let mut new = events.to_vec();
        // Taken out: one that stands here twice is booked once.
        new.retain(|event| booked.remove(&event.request_id.0));
        self.add_usage(&new).await?;
        Ok(new.len())
    }

    #[instrument(level = "debug", name = "store.billing.rebuild_usage", skip_all)]
    async fn rebuild_usage(&mut self, owner: Owner) -> StoreResult<()> {
        self.make_usage_days(owner).await
    }
}
