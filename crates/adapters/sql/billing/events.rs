//! The provider's events, as they came.

use anteroom_domain::Timestamp;
use anteroom_ports::StoreResult;
use anteroom_ports::billing::{EventState, EventsAsk, ProviderEvent, StoredEvent};
use diesel::prelude::{Insertable, Queryable, Selectable};
use diesel::{
    BoolExpressionMethods as _, ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, SelectableHelper as _,
};
use diesel_async::RunQueryDsl as _;
use tracing::instrument;

use crate::schema::billing_events;
use crate::types::{At, text};
use crate::unit::Unit;

const WAITING: &str = "waiting";
const DONE: &str = "done";

#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = billing_events, treat_none_as_default_value = false)]
struct EventRow {
    provider: String,
    event_id: String,
    kind: String,
    payload: String,
    received_at: At,
    // Absent of those that were stored before it was kept.
    created_at: Option<At>,
    subscription: Option<String>,
    customer: Option<String>,
    purchase: Option<String>,
}

impl From<&StoredEvent> for EventRow {
    fn from(stored: &StoredEvent) -> Self {
        let event = &stored.event;
        Self {
            provider: stored.provider.clone(),
            event_id: text(&event.id),
            kind: text(&event.kind),
            payload: text(&stored.payload),
            received_at: At(stored.received_at),
            created_at: Some(At(event.created)),
            subscription: event.subscription.as_deref().map(text),
            customer: event.customer.as_deref().map(text),
            purchase: event.purchase.as_deref().map(text),
        }
    }
}

impl From<EventRow> for StoredEvent {
    fn from(row: EventRow) -> Self {
        Self {
            provider: row.provider,
            event: ProviderEvent {
                id: row.event_id,
                kind: row.kind,
                created: row.created_at.unwrap_or(row.received_at).0,
                subscription: row.subscription,
                customer: row.customer,
                purchase: row.purchase,
            },
            payload: row.payload,
            received_at: row.received_at.0,
        }
    }
}

impl Unit {
    #[instrument(level = "debug", name = "store.billing.insert_billing_event", skip_all)]
    pub(super) async fn write_event(&mut self, event: &StoredEvent, done: bool) -> StoreResult<EventState> {
        let state = if done { DONE } else { WAITING };
        let written = diesel::insert_into(billing_events::table)
            .values((EventRow::from(event), billing_events::state.eq(state)))
            .on_conflict((billing_events::provider, billing_events::event_id))
            .do_nothing()
            .execute(self.conn()?)
            .await;
        if self.checked(written)? == 1 {
            return Ok(EventState::New);
        }
        let known = billing_events::table
            .find((&event.provider, &event.event.id))
            .select(billing_events::state)
            .first::<String>(self.conn()?)
            .await;
        Ok(if self.checked(known)? == DONE {
            EventState::Done
        } else {
            EventState::Waiting
        })
    }

    #[instrument(level = "debug", name = "store.billing.finish_billing_event", skip_all)]
    pub(super) async fn finish_event(&mut self, provider: &str, event_id: &str) -> StoreResult<()> {
        let done = diesel::update(billing_events::table.find((provider, event_id)))
            .set(billing_events::state.eq(DONE))
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| ())
    }

    #[instrument(level = "debug", name = "store.billing.billing_event", skip_all)]
    pub(super) async fn read_event(&mut self, provider: &str, event_id: &str) -> StoreResult<Option<StoredEvent>> {
        let row = billing_events::table
            .find((provider, event_id))
            .select(EventRow::as_select())
            .first(self.conn()?)
            .await
            .optional();
        Ok(self.checked(row)?.map(StoredEvent::from))
    }

    #[instrument(level = "debug", name = "store.billing.page_billing_events", skip_all)]
    pub(super) async fn read_events(
        &mut self,
        ask: EventsAsk,
        after: Option<(Timestamp, &str)>,
        limit: i64,
    ) -> StoreResult<Vec<StoredEvent>> {
        let mut events = billing_events::table.into_boxed();
        events = match ask {
            EventsAsk::Since(since) => events.filter(billing_events::received_at.ge(At(since))),
            EventsAsk::WaitingBefore(before) => events
                .filter(billing_events::state.ne(DONE))
                .filter(billing_events::received_at.lt(At(before))),
        };
        if let Some((at, id)) = after {
            let at_once = billing_events::received_at.eq(At(at));
            events = events.filter(
                billing_events::received_at
                    .gt(At(at))
                    .or(at_once.and(billing_events::event_id.gt(id.to_owned()))),
            );
        }
        let rows = events
            .order((billing_events::received_at, billing_events::event_id))
            .limit(limit)
            .select(EventRow::as_select())
            .load(self.conn()?)
            .await;
        Ok(self.checked(rows)?.into_iter().map(StoredEvent::from).collect())
    }
}
