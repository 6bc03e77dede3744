//! What calls used, added up by days: a row for each owner, day, model, plan and key, to which every booking adds.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use anteroom_domain::billing::{NanoUsd, Owner, UsageGroup, UsageTotals, day_of};
use anteroom_domain::chat::{TokenUsage, UsageEvent};
use anteroom_domain::{ApiKeyId, UserId};
use anteroom_ports::StoreResult;
use anteroom_ports::billing::{UsageAsk, UsageSum};
use diesel::prelude::Insertable;
use diesel::sql_types::{BigInt, Nullable, Text, Untyped};
use diesel::upsert::excluded;
use diesel::{BoolExpressionMethods as _, ExpressionMethods as _, QueryDsl as _};
use diesel_async::RunQueryDsl as _;
use uuid::Uuid;

use super::owner;
use crate::backend::{NO_ID, UTC_DAY, lock_usage_days};
use crate::kept::kept;
use crate::schema::{usage_days, usage_events};
use crate::types::{At, Id, SqlId, SqlTime, text};
use crate::unit::Unit;

/// The statement of every call to a model, which stays prepared.
struct AddUsage;

/// What one call counts for at most, so that no sum ever runs over: a provider may report any number.
const MOST: i64 = 1_000_000_000_000_000;

#[derive(Debug, Insertable)]
#[diesel(table_name = usage_days, treat_none_as_default_value = false)]
struct DayRow {
    owner_kind: &'static str,
    owner_id: Id,
    day: At,
    model: String,
    plan: String,
    api_key_id: Id,
    calls: i64,
    failed_calls: i64,
    prompt_tokens: i64,
    cached_tokens: i64,
    completion_tokens: i64,
    reasoning_tokens: i64,
    cost: i64,
    unpriced_calls: i64,
}

impl From<&UsageEvent> for DayRow {
    fn from(event: &UsageEvent) -> Self {
        Self {
            owner_kind: event.owner.kind.as_str(),
            owner_id: Id(event.owner.id),
            day: At(day_of(event.created_at).start),
            model: text(&event.model),
            plan: text(&event.plan),
            api_key_id: Id(event.used_with.api_key().map_or(Uuid::nil(), |id| id.0)),
            calls: 1,
            failed_calls: event.outcome.failed().into(),
            prompt_tokens: event.usage.prompt_tokens.min(MOST),
            cached_tokens: event.usage.cached_tokens.min(MOST),
            completion_tokens: event.usage.completion_tokens.min(MOST),
            reasoning_tokens: event.usage.reasoning_tokens.min(MOST),
            cost: event.cost.map_or(0, |cost| cost.0.min(MOST)),
            unpriced_calls: event.cost.is_none().into(),
        }
    }
}

/// What tells days' rows apart.
type DayKey = (&'static str, Id, At, String, String, Id);

impl DayRow {
    fn key(&self) -> DayKey {
        let (model, plan) = (self.model.clone(), self.plan.clone());
        (self.owner_kind, self.owner_id, self.day, model, plan, self.api_key_id)
    }

    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.failed_calls += other.failed_calls;
        self.prompt_tokens += other.prompt_tokens;
        self.cached_tokens += other.cached_tokens;
        self.completion_tokens += other.completion_tokens;
        self.reasoning_tokens += other.reasoning_tokens;
        self.cost += other.cost;
        self.unpriced_calls += other.unpriced_calls;
    }
}

/// What is read of a sum: by what it is told apart, then what it came to.
type SumSql = (
    Nullable<SqlTime>,
    Nullable<SqlId>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<SqlId>,
    BigInt,
    BigInt,
    BigInt,
    BigInt,
    BigInt,
    BigInt,
    BigInt,
    BigInt,
);
type SumRow = (
    Option<At>,
    Option<Id>,
    Option<String>,
    Option<String>,
    Option<Id>,
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
);

fn sum(row: SumRow) -> UsageSum {
    let (
        day,
        account,
        model,
        plan,
        api_key,
        calls,
        failed_calls,
        prompt,
        cached,
        completion,
        reasoning,
        cost,
        unpriced,
    ) = row;
    UsageSum {
        day: day.map(|day| day.0),
        account: account.map(|id| UserId(id.0)),
        model,
        plan,
        api_key: api_key.map(|id| ApiKeyId(id.0)).filter(|id| !id.0.is_nil()),
        totals: UsageTotals {
            calls,
            failed_calls,
            tokens: TokenUsage {
                prompt_tokens: prompt,
                completion_tokens: completion,
                cached_tokens: cached,
                reasoning_tokens: reasoning,
                ..TokenUsage::NONE
            },
            cost: NanoUsd(cost),
            unpriced_calls: unpriced,
        },
    }
}

/// The columns that are added up.
const SUMS: [&str; 8] = [
    "calls",
    "failed_calls",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "cost",
    "unpriced_calls",
];

/// The column of a group, and the type of what stands in its place where it is not asked for.
fn column(group: UsageGroup) -> (&'static str, &'static str) {
    match group {
        UsageGroup::Day => ("day", "timestamptz"),
        UsageGroup::Account => ("CASE WHEN owner_kind = 'account' THEN owner_id END", "uuid"),
        UsageGroup::Model => ("model", "text"),
        UsageGroup::Plan => ("plan", "text"),
        UsageGroup::ApiKey => ("api_key_id", "uuid"),
    }
}

/// Everything that is selected, up to the condition.
fn selection(by: &[UsageGroup]) -> String {
    let groups = UsageGroup::ALL.map(|group| match (column(group), by.contains(&group)) {
        ((column, _), true) => column.to_owned(),
        ((_, kind), false) => format!("CAST(NULL AS {kind})"),
    });
    let sums = SUMS.map(|column| format!("CAST(coalesce(sum({column}), 0) AS bigint)"));
    format!("SELECT {}, {} FROM usage_days", groups.join(", "), sums.join(", "))
}

/// Everything after the condition.
fn grouping(by: &[UsageGroup], limit: i64) -> String {
    let places: Vec<String> = (1..)
        .zip(UsageGroup::ALL)
        .filter(|(_, group)| by.contains(group))
        .map(|(place, _): (usize, _)| place.to_string())
        .collect();
    if places.is_empty() {
        return String::new();
    }
    let places = places.join(", ");
    format!(" GROUP BY {places} ORDER BY {places} LIMIT {limit}")
}

/// What makes an owner's rows anew, up to the condition. It says of all calls what [`DayRow`] says of one.
fn rebuilding() -> String {
    let capped = |column: &str| format!("sum(CASE WHEN {column} > {MOST} THEN {MOST} ELSE {column} END)");
    let [prompt, cached, completion, reasoning] = [
        "prompt_tokens",
        "cached_tokens",
        "completion_tokens",
        "reasoning_tokens",
    ]
    .map(capped);
    let cost = capped("coalesce(cost, 0)");
    format!(
        "INSERT INTO usage_days (owner_kind, owner_id, day, model, plan, api_key_id, {}) \
         SELECT owner_kind, owner_id, {UTC_DAY}, model, plan, coalesce(api_key_id, {NO_ID}), count(*), \
         sum(CASE WHEN outcome IN ('failed', 'lost') THEN 1 ELSE 0 END), {prompt}, {cached}, {completion}, {reasoning}, \
         {cost}, sum(CASE WHEN cost IS NULL THEN 1 ELSE 0 END) FROM usage_events WHERE owner_kind = ",
        SUMS.join(", ")
    )
}

impl Unit {
    /// Adds calls that have just been booked to their rows, each of which changes once.
    pub(super) async fn add_usage(&mut self, events: &[&UsageEvent]) -> StoreResult<()> {
        // In one order everywhere, so that no two units wait for each other in a circle.
        let mut rows: BTreeMap<DayKey, DayRow> = BTreeMap::new();
        for row in events.iter().map(|event| DayRow::from(*event)) {
            match rows.entry(row.key()) {
                Entry::Vacant(new) => {
                    new.insert(row);
                }
                Entry::Occupied(mut known) => known.get_mut().add(&row),
            }
        }
        for row in rows.into_values() {
            self.add_day(row).await?;
        }
        Ok(())
    }

    async fn add_day(&mut self, row: DayRow) -> StoreResult<()> {
        use usage_days as d;
        let added = diesel::insert_into(d::table)
            .values(row)
            .on_conflict((d::owner_kind, d::owner_id, d::day, d::model, d::plan, d::api_key_id))
            .do_update()
            .set((
                d::calls.eq(d::calls + excluded(d::calls)),
                d::failed_calls.eq(d::failed_calls + excluded(d::failed_calls)),
                d::prompt_tokens.eq(d::prompt_tokens + excluded(d::prompt_tokens)),
                d::cached_tokens.eq(d::cached_tokens + excluded(d::cached_tokens)),
                d::completion_tokens.eq(d::completion_tokens + excluded(d::completion_tokens)),
                d::reasoning_tokens.eq(d::reasoning_tokens + excluded(d::reasoning_tokens)),
                d::cost.eq(d::cost + excluded(d::cost)),
                d::unpriced_calls.eq(d::unpriced_calls + excluded(d::unpriced_calls)),
            ));
        let done = kept::<AddUsage, _>(added).execute(self.conn()?).await;
        self.checked(done).map(|_| ())
    }

    pub(super) async fn read_usage(&mut self, ask: &UsageAsk, limit: i64) -> StoreResult<Vec<UsageSum>> {
        let days = diesel::dsl::sql::<SumSql>(&selection(&ask.by))
            .sql(" WHERE day >= ")
            .bind::<SqlTime, _>(At(ask.span.from))
            .sql(" AND day < ")
            .bind::<SqlTime, _>(At(ask.span.until));
        let grouping = grouping(&ask.by, limit);
        let rows: diesel::QueryResult<Vec<SumRow>> = match ask.owner {
            None => days.sql(&grouping).load(self.conn_for_long()?).await,
            Some(owner) => {
                let theirs = days
                    .sql(" AND owner_kind = ")
                    .bind::<Text, _>(owner.kind.as_str())
                    .sql(" AND owner_id = ")
                    .bind::<SqlId, _>(Id(owner.id));
                theirs.sql(&grouping).load(self.conn_for_long()?).await
            }
        };
        Ok(self.checked(rows)?.into_iter().map(sum).collect())
    }

    pub(super) async fn owners_with_usage(&mut self, after: Option<Owner>, limit: i64) -> StoreResult<Vec<Owner>> {
        // Nothing sorts before it.
        let (kind, id) = after.map_or(("", Uuid::nil()), |owner| (owner.kind.as_str(), owner.id));
        macro_rules! owners {
            ($table:ident) => {{
                let rows = $table::table
                    .filter(
                        $table::owner_kind
                            .gt(kind)
                            .or($table::owner_kind.eq(kind).and($table::owner_id.gt(Id(id)))),
                    )
                    .select(($table::owner_kind, $table::owner_id))
                    .distinct()
                    .order(($table::owner_kind, $table::owner_id))
                    .limit(limit)
                    .load::<(String, Id)>(self.conn_for_long()?)
                    .await;
                self.checked(rows)?
            }};
        }
        // Also those of whom only sums are left.
        let mut found = owners!(usage_events);
        found.extend(owners!(usage_days));
        found.sort_unstable();
        found.dedup();
        found.truncate(usize::try_from(limit).unwrap_or_default());
        found
            .into_iter()
            .map(|(kind, id)| owner("usage_days.owner_kind", &kind, id))
            .collect()
    }

    pub(super) async fn make_usage_days(&mut self, owner: Owner) -> StoreResult<()> {
        let done = lock_usage_days(self.conn()?).await;
        self.checked(done)?;
        let old = usage_days::table
            .filter(usage_days::owner_kind.eq(owner.kind.as_str()))
            .filter(usage_days::owner_id.eq(Id(owner.id)));
        let done = diesel::delete(old).execute(self.conn_for_long()?).await;
        self.checked(done)?;
        let new = diesel::dsl::sql::<Untyped>(&rebuilding())
            .bind::<Text, _>(owner.kind.as_str())
            .sql(" AND owner_id = ")
            .bind::<SqlId, _>(Id(owner.id))
            .sql(" GROUP BY 1, 2, 3, 4, 5, 6");
        let done = new.execute(self.conn_for_long()?).await;
        self.checked(done).map(|_| ())
    }
}
