//! Credits: open grants, what is owed, and the ledger.

use anteroom_domain::billing::{
    CreditAccount, CreditEntry, CreditEntryKind, CreditGrant, CreditSource, Credits, METER_CREDITS, Owner,
};
use anteroom_domain::{CreditGrantId, Timestamp};
use anteroom_ports::{CreditsRead, CreditsWrite, StoreError, StoreResult};
use async_trait::async_trait;
use diesel::prelude::{Insertable, Queryable, Selectable};
use diesel::upsert::excluded;
use diesel::{ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, SelectableHelper as _};
use diesel_async::RunQueryDsl as _;
use tracing::instrument;

use super::owner;
use crate::backend::{insert_credit_entries, locked};
use crate::schema::{credit_accounts, credit_entries, credit_grants, quota_windows};
use crate::types::{At, Id, text, unknown_word};
use crate::unit::Unit;

#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = credit_grants, treat_none_as_default_value = false)]
struct GrantRow {
    id: Id,
    owner_kind: String,
    owner_id: Id,
    source: String,
    reference: String,
    reason: Option<String>,
    amount: i64,
    spent: i64,
    refunded: i64,
    priority: i32,
    created_at: At,
    expires_at: Option<At>,
    closed_at: Option<At>,
}

#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = credit_entries, treat_none_as_default_value = false)]
pub(crate) struct CreditEntryRow {
    owner_kind: String,
    owner_id: Id,
    seq: i64,
    kind: String,
    amount: i64,
    balance: i64,
    grant_id: Option<Id>,
    reference: String,
    at: At,
}

impl From<&CreditGrant> for GrantRow {
    fn from(grant: &CreditGrant) -> Self {
        Self {
            id: Id(grant.id.0),
            owner_kind: grant.owner.kind.as_str().to_owned(),
            owner_id: Id(grant.owner.id),
            source: grant.source.as_str().to_owned(),
            reference: text(&grant.reference),
            reason: grant.reason.as_deref().map(text),
            amount: grant.amount.0,
            spent: grant.spent.0,
            refunded: grant.refunded.0,
            priority: grant.priority,
            created_at: At(grant.created_at),
            expires_at: grant.expires_at.map(At),
            closed_at: grant.closed_at.map(At),
        }
    }
}

impl TryFrom<GrantRow> for CreditGrant {
    type Error = StoreError;

    fn try_from(row: GrantRow) -> StoreResult<Self> {
        Ok(Self {
            id: CreditGrantId(row.id.0),
            owner: owner("credit_grants.owner_kind", &row.owner_kind, row.owner_id)?,
            source: CreditSource::parse(&row.source)
                .ok_or_else(|| unknown_word("credit_grants.source", &row.source))?,
            reference: row.reference,
            reason: row.reason,
            amount: Credits(row.amount),
            spent: Credits(row.spent),
            refunded: Credits(row.refunded),
            priority: row.priority,
            created_at: row.created_at.0,
            expires_at: row.expires_at.map(|at| at.0),
            closed_at: row.closed_at.map(|at| at.0),
        })
    }
}

impl CreditEntryRow {
    fn new(owner: Owner, line: &CreditEntry) -> Self {
        Self {
            owner_kind: owner.kind.as_str().to_owned(),
            owner_id: Id(owner.id),
            seq: line.seq,
            kind: line.kind.as_str().to_owned(),
            amount: line.amount.0,
            balance: line.balance.0,
            grant_id: line.grant.map(|grant| Id(grant.0)),
            reference: text(&line.reference),
            at: At(line.at),
        }
    }

    fn line(self) -> StoreResult<CreditEntry> {
        Ok(CreditEntry {
            seq: self.seq,
            kind: CreditEntryKind::parse(&self.kind).ok_or_else(|| unknown_word("credit_entries.kind", &self.kind))?,
            amount: Credits(self.amount),
            balance: Credits(self.balance),
            grant: self.grant_id.map(|id| CreditGrantId(id.0)),
            reference: self.reference,
            at: self.at.0,
        })
    }
}

/// An account's row.
type AccountRow = (String, Id, i64, i64);

impl Unit {
    /// The accounts of these rows, with their open grants and their counters.
    async fn read_credits(&mut self, rows: Vec<AccountRow>) -> StoreResult<Vec<CreditAccount>> {
        let ids = || rows.iter().map(|(_, id, ..)| *id);
        let grants = credit_grants::table
            .filter(credit_grants::owner_id.eq_any(ids()))
            .filter(credit_grants::closed_at.is_null())
            .select(GrantRow::as_select())
            .load(self.conn()?)
            .await;
        let grants = self.checked(grants)?.into_iter().map(CreditGrant::try_from);
        let grants = grants.collect::<StoreResult<Vec<_>>>()?;
        let counters = quota_windows::table
            .filter(quota_windows::owner_id.eq_any(ids()))
            .filter(quota_windows::meter.eq(METER_CREDITS))
            .select((
                quota_windows::owner_kind,
                quota_windows::owner_id,
                quota_windows::used,
                quota_windows::reserved,
            ))
            .load::<AccountRow>(self.conn()?)
            .await;
        let counters = self.checked(counters)?;
        let account = |(kind, id, owed, lines): AccountRow| {
            let whose = owner("credit_accounts.owner_kind", &kind, id)?;
            let own = grants.iter().filter(|grant| grant.owner == whose).cloned();
            let mut account = CreditAccount::stored(whose, own.collect(), Credits(owed), lines);
            let counter = counters.iter().find(|(of, whose, ..)| *of == kind && *whose == id);
            if let Some((.., used, reserved)) = counter {
                account.spent = Credits(*used);
                account.held = Credits(*reserved);
            }
            Ok(account)
        };
        rows.iter().cloned().map(account).collect()
    }
}

#[async_trait]
impl CreditsRead for Unit {
    #[instrument(level = "debug", name = "store.billing.credit_account", skip_all)]
    async fn credit_account(&mut self, owner: Owner) -> StoreResult<CreditAccount> {
        let row = credit_accounts::table
            .find((owner.kind.as_str(), Id(owner.id)))
            .first::<AccountRow>(self.conn()?)
            .await
            .optional();
        let row = self.checked(row)?;
        let row = row.unwrap_or_else(|| (owner.kind.as_str().to_owned(), Id(owner.id), 0, 0));
        let mut accounts = self.read_credits(vec![row]).await?;
        accounts.pop().ok_or(StoreError::Stale)
    }

    #[instrument(level = "debug", name = "store.billing.credit_grant_of", skip_all)]
    async fn credit_grant_of(
        &mut self,
        owner: Owner,
        source: CreditSource,
        reference: &str,
    ) -> StoreResult<Option<CreditGrant>> {
        let row = credit_grants::table
            .filter(credit_grants::owner_kind.eq(owner.kind.as_str()))
            .filter(credit_grants::owner_id.eq(Id(owner.id)))
            .filter(credit_grants::source.eq(source.as_str()))
            .filter(credit_grants::reference.eq(text(reference)))
            .select(GrantRow::as_select())
            .first(self.conn()?)
            .await
            .optional();
        self.checked(row)?.map(CreditGrant::try_from).transpose()
    }

    #[instrument(level = "debug", name = "store.billing.page_credit_entries", skip_all)]
    async fn page_credit_entries(
        &mut self,
        owner: Owner,
        before: Option<i64>,
        limit: i64,
    ) -> StoreResult<Vec<CreditEntry>> {
        let rows = credit_entries::table
            .filter(credit_entries::owner_kind.eq(owner.kind.as_str()))
            .filter(credit_entries::owner_id.eq(Id(owner.id)))
            .filter(credit_entries::seq.lt(before.unwrap_or(i64::MAX)))
            .order(credit_entries::seq.desc())
            .limit(limit)
            .select(CreditEntryRow::as_select())
            .load(self.conn()?)
            .await;
        self.checked(rows)?.into_iter().map(CreditEntryRow::line).collect()
    }

    #[instrument(level = "debug", name = "store.billing.owners_of_ended_credits", skip_all)]
    async fn owners_of_ended_credits(&mut self, by: Timestamp, limit: i64) -> StoreResult<Vec<Owner>> {
        let rows = credit_grants::table
            .filter(credit_grants::closed_at.is_null())
            .filter(credit_grants::expires_at.le(Some(At(by))))
            .order(credit_grants::expires_at)
            .limit(limit)
            .select((credit_grants::owner_kind, credit_grants::owner_id))
            .load::<(String, Id)>(self.conn()?)
            .await;
        let rows = self.checked(rows)?.into_iter();
        let mut owners: Vec<Owner> = rows
            .map(|(kind, id)| owner("credit_grants.owner_kind", &kind, id))
            .collect::<StoreResult<_>>()?;
        owners.sort_unstable();
        owners.dedup();
        Ok(owners)
    }
}

#[async_trait]
impl CreditsWrite for Unit {
    #[instrument(level = "debug", name = "store.billing.lock_credits", skip_all)]
    async fn lock_credits(&mut self, owners: &[Owner]) -> StoreResult<Vec<CreditAccount>> {
        let query = || {
            credit_accounts::table
                .filter(credit_accounts::owner_id.eq_any(owners.iter().map(|owner| Id(owner.id))))
                .order((credit_accounts::owner_id, credit_accounts::owner_kind))
        };
        let rows = locked!(query()).load::<AccountRow>(self.conn()?).await;
        let mut rows = self.checked(rows)?;
        let is = |row: &AccountRow, owner: &Owner| row.0 == owner.kind.as_str() && row.1.0 == owner.id;
        let mut new: Vec<&Owner> = owners.iter().collect();
        new.retain(|owner| !rows.iter().any(|row| is(row, owner)));
        if !new.is_empty() {
            // Once for each owner, so it may cost what it likes. In order, as above.
            new.sort_unstable_by_key(|owner| (owner.id, owner.kind));
            for owner in new {
                let done = diesel::insert_into(credit_accounts::table)
                    .values((
                        credit_accounts::owner_kind.eq(owner.kind.as_str()),
                        credit_accounts::owner_id.eq(Id(owner.id)),
                        credit_accounts::owed.eq(0),
                        credit_accounts::lines.eq(0),
                    ))
                    .on_conflict_do_nothing()
                    .execute(self.conn()?)
                    .await;
                self.checked(done)?;
            }
            let again = locked!(query()).load::<AccountRow>(self.conn()?).await;
            rows = self.checked(again)?;
        }
        let mut accounts = self.read_credits(rows).await?;
        let mut sorted = Vec::with_capacity(owners.len());
        for owner in owners {
            let at = accounts.iter().position(|account| account.owner == *owner);
            sorted.push(accounts.swap_remove(at.ok_or(StoreError::Stale)?));
        }
        Ok(sorted)
    }

    #[instrument(level = "debug", name = "store.billing.save_credits", skip_all)]
    async fn save_credits(&mut self, account: &CreditAccount) -> StoreResult<()> {
        let grants: Vec<GrantRow> = account.changed().map(GrantRow::from).collect();
        if grants.is_empty() && account.added().is_empty() {
            return Ok(());
        }
        for grant in grants {
            let done = diesel::insert_into(credit_grants::table)
                .values(grant)
                .on_conflict(credit_grants::id)
                .do_update()
                .set((
                    credit_grants::amount.eq(excluded(credit_grants::amount)),
                    credit_grants::spent.eq(excluded(credit_grants::spent)),
                    credit_grants::refunded.eq(excluded(credit_grants::refunded)),
                    credit_grants::closed_at.eq(excluded(credit_grants::closed_at)),
                ))
                .execute(self.conn()?)
                .await;
            self.checked(done)?;
        }
        let lines = account.added().iter();
        let lines = lines.map(|line| CreditEntryRow::new(account.owner, line)).collect();
        let done = insert_credit_entries(self.conn()?, lines).await;
        self.checked(done)?;
        let done = diesel::update(credit_accounts::table.find((account.owner.kind.as_str(), Id(account.owner.id))))
            .set((
                credit_accounts::owed.eq(account.owed.0),
                credit_accounts::lines.eq(account.lines),
            ))
            .execute(self.conn()?)
            .await;
        self.checked(done)?;
        Ok(())
    }
}
