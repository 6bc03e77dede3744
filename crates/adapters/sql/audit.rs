//! The audit log and the chain over it.

use std::collections::BTreeMap;

use anteroom_domain::audit::{Actor, AuditEntry, Outcome, Seal};
use anteroom_domain::{AuditId, RequestId, SessionId, Timestamp, UserId};
use anteroom_ports::audit::AuditFilter;
use anteroom_ports::{AuditRead, AuditWrite, StoreError, StoreResult};
use async_trait::async_trait;
use diesel::prelude::{Insertable, Queryable, Selectable};
use diesel::{
    BoolExpressionMethods as _, EscapeExpressionMethods as _, ExpressionMethods as _, JoinOnDsl as _,
    NullableExpressionMethods as _, OptionalExtension as _, QueryDsl as _, SelectableHelper as _,
    TextExpressionMethods as _,
};
use diesel_async::RunQueryDsl as _;
use tracing::instrument;
use uuid::Uuid;

use crate::backend::lock_name;
use crate::schema::{audit_log, audit_seals};
use crate::types::{At, Id, text, unknown_word};
use crate::unit::Unit;

#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = audit_log, treat_none_as_default_value = false)]
struct AuditRow {
    id: Id,
    at: At,
    act: String,
    outcome: String,
    actor_kind: String,
    actor_id: Option<Id>,
    subject_id: Option<Id>,
    session_id: Option<Id>,
    address: Option<String>,
    user_agent: Option<String>,
    request_id: Option<Id>,
    details: String,
}

#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = audit_seals, treat_none_as_default_value = false)]
struct SealRow {
    seq: i64,
    audit_id: Id,
    digest: Vec<u8>,
}

impl From<&AuditEntry> for AuditRow {
    fn from(entry: &AuditEntry) -> Self {
        Self {
            id: Id(entry.id.0),
            at: At(entry.at),
            act: entry.act.clone(),
            outcome: entry.outcome.as_str().to_owned(),
            actor_kind: entry.actor.kind().to_owned(),
            actor_id: entry.actor.id().map(|id| Id(id.0)),
            subject_id: entry.subject.map(|id| Id(id.0)),
            session_id: entry.session_id.map(|id| Id(id.0)),
            address: entry.address.as_deref().map(text),
            user_agent: entry.user_agent.as_deref().map(text),
            request_id: entry.request_id.map(|id| Id(id.0)),
            details: text(&entry.details_text()),
        }
    }
}

impl TryFrom<AuditRow> for AuditEntry {
    type Error = StoreError;

    fn try_from(row: AuditRow) -> StoreResult<Self> {
        let details: BTreeMap<String, serde_json::Value> =
            serde_json::from_str(&row.details).map_err(|e| StoreError::Corrupt {
                reason: format!("audit_log.details holds no JSON object: {e}"),
            })?;
        Ok(Self {
            id: AuditId(row.id.0),
            at: row.at.0,
            act: row.act,
            outcome: Outcome::parse(&row.outcome).ok_or_else(|| unknown_word("audit_log.outcome", &row.outcome))?,
            actor: Actor::parse(&row.actor_kind, row.actor_id.map(|id| id.0))
                .ok_or_else(|| unknown_word("audit_log.actor_kind", &row.actor_kind))?,
            subject: row.subject_id.map(|id| UserId(id.0)),
            session_id: row.session_id.map(|id| SessionId(id.0)),
            address: row.address,
            user_agent: row.user_agent,
            request_id: row.request_id.map(|id| RequestId(id.0)),
            details,
        })
    }
}

impl TryFrom<SealRow> for Seal {
    type Error = StoreError;

    fn try_from(row: SealRow) -> StoreResult<Self> {
        Ok(Self {
            seq: row.seq,
            audit_id: AuditId(row.audit_id.0),
            digest: row.digest.try_into().map_err(|_| StoreError::Corrupt {
                reason: "audit_seals.digest has not 32 bytes".into(),
            })?,
        })
    }
}

/// The row, if its details are written the one way in which Anteroom writes them: a seal covers what they say, and an
/// edit that says the same to one reader may say something else to another.
fn as_written(row: AuditRow) -> StoreResult<AuditEntry> {
    let details = row.details.clone();
    let entry = AuditEntry::try_from(row)?;
    if text(&entry.details_text()) == details {
        Ok(entry)
    } else {
        Err(StoreError::Corrupt {
            reason: "audit_log.details is not in the form in which it is written".into(),
        })
    }
}

#[async_trait]
impl AuditRead for Unit {
    #[instrument(level = "debug", name = "store.audit.page_audit", skip_all)]
    async fn page_audit(
        &mut self,
        filter: &AuditFilter,
        before: Option<AuditId>,
        limit: i64,
    ) -> StoreResult<Vec<AuditEntry>> {
        let before = before.map_or(Uuid::max(), |id| id.0);
        let mut query = audit_log::table.filter(audit_log::id.lt(Id(before))).into_boxed();
        if let Some(user) = filter.user {
            let id = Some(Id(user.0));
            query = query.filter(audit_log::subject_id.eq(id).or(audit_log::actor_id.eq(id)));
        }
        if let Some(actor) = filter.actor {
            query = query.filter(audit_log::actor_id.eq(Some(Id(actor.0))));
        }
        if let Some(subject) = filter.subject {
            query = query.filter(audit_log::subject_id.eq(Some(Id(subject.0))));
        }
        if let Some(act) = &filter.act {
            let escaped = act.replace('!', "!!").replace('%', "!%").replace('_', "!_");
            let below = audit_log::act.like(text(&format!("{escaped}.%"))).escape('!');
            query = query.filter(audit_log::act.eq(text(act)).or(below));
        }
        if let Some(outcome) = filter.outcome {
            query = query.filter(audit_log::outcome.eq(outcome.as_str()));
        }
        if let Some(from) = filter.from {
            query = query.filter(audit_log::at.ge(At(from)));
        }
        if let Some(until) = filter.until {
            query = query.filter(audit_log::at.lt(At(until)));
        }
        let rows = query
            .order(audit_log::id.desc())
            .limit(limit)
            .select(AuditRow::as_select())
            .load(self.conn_for_long()?)
            .await;
        self.checked(rows)?.into_iter().map(AuditEntry::try_from).collect()
    }

    #[instrument(level = "debug", name = "store.audit.sealed_audit", skip_all)]
    async fn sealed_audit(
        &mut self,
        after: i64,
        limit: i64,
    ) -> StoreResult<Vec<(Seal, Option<StoreResult<AuditEntry>>)>> {
        let rows = audit_seals::table
            .left_join(audit_log::table)
            .filter(audit_seals::seq.gt(after))
            .order(audit_seals::seq)
            .limit(limit)
            .select((SealRow::as_select(), Option::<AuditRow>::as_select()))
            .load::<(SealRow, Option<AuditRow>)>(self.conn_for_long()?)
            .await;
        let pair = |(seal, row): (SealRow, Option<AuditRow>)| {
            let seal = Seal {
                seq: seal.seq,
                audit_id: AuditId(seal.audit_id.0),
                digest: seal.digest.try_into().unwrap_or([0; 32]),
            };
            (seal, row.map(as_written))
        };
        Ok(self.checked(rows)?.into_iter().map(pair).collect())
    }

    #[instrument(level = "debug", name = "store.audit.first_unsealed_audit", skip_all)]
    async fn first_unsealed_audit(&mut self, from: Option<AuditId>) -> StoreResult<Option<(AuditId, Timestamp)>> {
        let from = from.map_or(Uuid::nil(), |id| id.0);
        let row = audit_log::table
            .left_join(audit_seals::table.on(audit_seals::audit_id.eq(audit_log::id)))
            .filter(audit_log::id.ge(Id(from)))
            .filter(audit_seals::seq.nullable().is_null())
            .order(audit_log::id)
            .select((audit_log::id, audit_log::at))
            .first::<(Id, At)>(self.conn_for_long()?)
            .await
            .optional();
        Ok(self.checked(row)?.map(|(id, at)| (AuditId(id.0), at.0)))
    }

    #[instrument(level = "debug", name = "store.audit.count_unsealed_audit", skip_all)]
    async fn count_unsealed_audit(&mut self) -> StoreResult<i64> {
        let count = audit_log::table
            .left_join(audit_seals::table.on(audit_seals::audit_id.eq(audit_log::id)))
            .filter(audit_seals::seq.nullable().is_null())
            .count()
            .get_result(self.conn_for_long()?)
            .await;
        self.checked(count)
    }
}

#[async_trait]
impl AuditWrite for Unit {
    #[instrument(level = "debug", name = "store.audit.insert_audit", skip_all)]
    async fn insert_audit(&mut self, entry: &AuditEntry) -> StoreResult<()> {
        let done = diesel::insert_into(audit_log::table)
            .values(AuditRow::from(entry))
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| ())
    }

    #[instrument(level = "debug", name = "store.audit.lock_audit_chain", skip_all)]
    async fn lock_audit_chain(
        &mut self,
        from: Option<AuditId>,
        limit: i64,
    ) -> StoreResult<(Option<Seal>, Vec<AuditEntry>)> {
        let locked = lock_name(self.conn()?, "audit_chain").await;
        self.checked(locked)?;
        let last = audit_seals::table
            .order(audit_seals::seq.desc())
            .select(SealRow::as_select())
            .first(self.conn()?)
            .await
            .optional();
        let last = self.checked(last)?.map(Seal::try_from).transpose()?;
        let from = from.map_or(Uuid::nil(), |id| id.0);
        let rows = audit_log::table
            .left_join(audit_seals::table.on(audit_seals::audit_id.eq(audit_log::id)))
            .filter(audit_log::id.ge(Id(from)))
            .filter(audit_seals::seq.nullable().is_null())
            .order(audit_log::id)
            .limit(limit)
            .select(AuditRow::as_select())
            .load(self.conn_for_long()?)
            .await;
        // One that cannot be read must not keep the others from their seals.
        let rows = self.checked(rows)?.into_iter().filter_map(|row| as_written(row).ok());
        Ok((last, rows.collect()))
    }

    #[instrument(level = "debug", name = "store.audit.insert_audit_seals", skip_all)]
    async fn insert_audit_seals(&mut self, seals: &[Seal]) -> StoreResult<()> {
        // One at a time: SQLite has no such statement for many rows in Diesel.
        for seal in seals {
            let row = SealRow {
                seq: seal.seq,
                audit_id: Id(seal.audit_id.0),
                digest: seal.digest.to_vec(),
            };
            let done = diesel::insert_into(audit_seals::table)
                .values(row)
                .execute(self.conn()?)
                .await;
            self.checked(done)?;
        }
        Ok(())
    }
}
