//! The connection that runs migrations' statements.

use std::pin::pin;
use std::time::Duration;

use anteroom_domain::migrations::{Catalogue, Dialect, Past, Run, Token, TokenKind, Version, Walk, tokens};
use anteroom_ports::migrations::{MigrationFault, MigrationResult, MigrationSession, Range, Settled};
use async_trait::async_trait;
use tokio::time::timeout;
use tokio_postgres::Statement;

use super::{Link, SMALL_THINGS, fault, limited, set};
use crate::connector::Connector;
use crate::migrations::{Tables, literal, past, range, walk_query};

/// What a statement says of an index: its name, and after `ON` its table, both as it writes them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Named {
    index: String,
    table: String,
}

/// The index that a statement makes or drops: the name after `CONCURRENTLY`, and after `IF [NOT] EXISTS`. `None` if there is
/// more than one.
fn named(found: &[Token<'_>]) -> Option<Named> {
    let after = found.iter().position(|token| token.is("CONCURRENTLY"))? + 1;
    let mut named = Named::default();
    let mut into_table = false;
    for token in found
        .get(after..)?
        .iter()
        .skip_while(|token| ["IF", "NOT", "EXISTS"].iter().any(|word| token.is(word)))
    {
        let name = if into_table { &mut named.table } else { &mut named.index };
        match token.kind {
            TokenKind::Symbol if token.text == "." => name.push('.'),
            TokenKind::Word if token.is("ON") && !into_table => into_table = true,
            TokenKind::Word if token.is("ONLY") => {}
            TokenKind::Word if ["USING", "CASCADE", "RESTRICT"].iter().any(|word| token.is(word)) => break,
            TokenKind::Word | TokenKind::Quoted => name.push_str(token.text),
            TokenKind::Symbol if token.text == "(" && into_table => break,
            _ => return None,
        }
    }
    Some(named)
}

impl PostgresSession {
    /// Whether an index is good, and how it is called in full; `None` if its table has none of this name. An index lies
    /// where its table does, whatever the search path.
    async fn index_of(&self, named: &Named) -> MigrationResult<Option<(bool, String)>> {
        let sql = format!(
            "SELECT i.indisvalid::text || ' ' || i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = \
             i.indexrelid WHERE i.indrelid = to_regclass({}) AND c.relname = (parse_ident({}))[1]",
            literal(&named.table),
            literal(&named.index)
        );
        let found = self.work.first(&sql).await?;
        Ok(found.and_then(|text| {
            let (valid, name) = text.split_once(' ')?;
            Some((valid == "true", name.to_owned()))
        }))
    }

    /// Whom the statement that runs waits for, in words; `None` if for nobody. Asked on a connection of its own: what is
    /// asked on the one with the lock has a snapshot in a transaction that does not end, which a concurrent build would
    /// wait for.
    async fn holders(&self, looking: &mut Option<Link>) -> Option<String> {
        let process = self.process.as_ref()?;
        let sql = format!(
            "SELECT 'held by ' || string_agg('server process ' || a.pid || coalesce(' of ' || a.usename, '') || coalesce(' (' \
             || nullif(a.application_name, '') || ')', '') || coalesce(', ' || a.state, '') || coalesce(', in a transaction \
             since ' || date_trunc('second', a.xact_start), ''), '; ') FROM pg_stat_activity a WHERE a.pid = ANY \
             (pg_blocking_pids({process}))"
        );
        let asking = async {
            if looking.is_none() {
                let (client, _driver) = self.connector.connect_client().await.ok()?;
                *looking = Some(Link { client });
            }
            looking.as_ref()?.first(&sql).await.ok()?
        };
        timeout(SMALL_THINGS, asking).await.ok()?
    }

    /// Waits for what runs. If it is not given a lock, the fault says who has it, as far as one may look.
    async fn watched<T>(&self, running: impl Future<Output = MigrationResult<T>>, looks: bool) -> MigrationResult<T> {
        let mut running = pin!(running);
        let (mut held_by, mut looking) = (None, None);
        let mut pause = FIRST_LOOK;
        loop {
            match timeout(pause, &mut running).await {
                Ok(Err(MigrationFault::LockTimeout(mut said))) => {
                    said.detail = said.detail.or(held_by);
                    return Err(MigrationFault::LockTimeout(said));
                }
                Ok(done) => return done,
                Err(_) if looks => held_by = self.holders(&mut looking).await.or(held_by),
                Err(_) => {}
            }
            pause = NEXT_LOOKS;
        }
    }

    /// Indexes that were left invalid: of a table, or by a `REINDEX` wherever it was.
    async fn drop_invalid(&self, of: &str) -> MigrationResult<usize> {
        let sql = format!(
            "SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE NOT \
             i.indisvalid AND {of}"
        );
        let left = self.work.texts(&sql).await?;
        for index in &left {
            tracing::warn!(event = "migration.index.rebuilt", %index);
            self.work
                .run(&format!("DROP INDEX CONCURRENTLY IF EXISTS {index}"))
                .await?;
        }
        Ok(left.len())
    }
}

/// When it is first asked what a statement waits for: lock timeouts are hardly shorter.
const FIRST_LOOK: Duration = Duration::from_millis(100);

/// How long until it is asked again.
const NEXT_LOOKS: Duration = Duration::from_millis(500);

pub(super) struct PostgresSession {
    pub(super) connector: Connector,
    pub(super) lock: Link,
    pub(super) work: Link,
    pub(super) tables: Tables,
    pub(super) role: String,
    /// The server's process that runs the statements; unknown behind a pooler, where it is another one each time.
    pub(super) process: Option<String>,
    /// Whether what is set on this session, past a transaction, would be set on somebody else's.
    pub(super) pooled: bool,
    /// What statements run with, such as `jit = off`.
    pub(super) settings: Vec<&'static str>,
    pub(super) in_transaction: bool,
    pub(super) catalogue: CatalogueQuery,
}

/// The question what a schema consists of. It takes longer to plan than to answer, and is asked after each migration.
pub(super) enum CatalogueQuery {
    ToPlan(String),
    Planned {
        query: String,
        statement: Statement,
    },
    /// Behind a pooler nothing stays planned.
    Each(String),
}

impl CatalogueQuery {
    /// What was planned is planned no more.
    fn forget(&mut self) {
        if let Self::Planned { query, .. } = self {
            *self = Self::ToPlan(std::mem::take(query));
        }
    }
}

#[async_trait]
impl MigrationSession for PostgresSession {
    fn role(&self) -> &str {
        &self.role
    }

    async fn past(&mut self) -> MigrationResult<Past> {
        let versions = self.work.texts(&self.tables.select_versions()).await?;
        past(&versions, &self.work.texts(&self.tables.select_runs()).await?)
    }

    async fn still_locked(&mut self) -> MigrationResult<()> {
        let sql =
            "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid()";
        match timeout(SMALL_THINGS, self.lock.yes(sql)).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) | Err(_) => Err(MigrationFault::Away {
                reason:
                    "the lock was lost: does the URL lead to a connection pooler? MIGRATE_DATABASE_URL is for a direct \
                         one"
                    .into(),
            }),
            Ok(Err(fault)) => Err(fault),
        }
    }

    async fn begin(&mut self, lock_timeout: Duration, _rebuilds: bool) -> MigrationResult<()> {
        let begin = if self.pooled {
            format!("BEGIN; {}", set("SET LOCAL", &self.settings, lock_timeout))
        } else {
            format!("BEGIN; SET LOCAL lock_timeout = {}", lock_timeout.as_millis())
        };
        self.work.run(&begin).await?;
        self.in_transaction = true;
        Ok(())
    }

    async fn execute(&mut self, sql: &str) -> MigrationResult<u64> {
        let words = tokens(sql, Dialect::Postgres).unwrap_or_default();
        let first = words.iter().find(|token| token.counts());
        if first.is_some_and(|first| ["DEALLOCATE", "DISCARD"].iter().any(|word| first.is(word))) {
            self.catalogue.forget();
        }
        // A concurrent build waits without a limit, and for whoever looks as well.
        let looks = !words.iter().any(|token| token.is("CONCURRENTLY"));
        self.watched(self.work.run(sql), looks).await
    }

    async fn restore_settings(&mut self, lock_timeout: Duration) -> MigrationResult<()> {
        let how = if self.pooled { "SET LOCAL" } else { "SET" };
        if self.pooled && !self.in_transaction {
            return Ok(());
        }
        let settings = set(how, &self.settings, lock_timeout);
        // Behind a pooler, temporary tables would be there for whoever has the connection next.
        let temporary = if self.pooled { "; DISCARD TEMP" } else { "" };
        let sql = format!("RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; {settings}{temporary}");
        self.work.run(&sql).await.map(|_| ())
    }

    async fn renew(&mut self) -> MigrationResult<()> {
        if self.pooled {
            return Ok(());
        }
        self.restore_settings(Duration::ZERO).await?;
        self.work.run("DISCARD TEMP").await.map(|_| ())
    }

    async fn limit_locks(&mut self, sql: &str, lock_timeout: Duration) -> MigrationResult<()> {
        if self.pooled {
            return Ok(());
        }
        let found = tokens(sql, Dialect::Postgres).unwrap_or_default();
        // It waits for older transactions, and would leave an invalid index behind.
        let forever = found.iter().any(|token| token.is("CONCURRENTLY"));
        let ms = if forever { 0 } else { lock_timeout.as_millis() };
        self.work.run(&format!("SET lock_timeout = {ms}")).await.map(|_| ())
    }

    async fn commit(&mut self) -> MigrationResult<()> {
        self.in_transaction = false;
        self.work.run("COMMIT").await.map(|_| ())
    }

    async fn rollback(&mut self) -> MigrationResult<()> {
        self.in_transaction = false;
        self.work.run("ROLLBACK").await.map(|_| ())
    }

    async fn write_run(&mut self, run: &Run, catalogue: Option<&Catalogue>) -> MigrationResult<i64> {
        // As ourselves, whoever a migration has become: what it has set holds again after the transaction.
        let write = self.tables.write_run(run, catalogue)?;
        let ourselves = "SET LOCAL SESSION AUTHORIZATION DEFAULT; SET LOCAL ROLE NONE";
        let sql = if self.in_transaction {
            format!("{ourselves}; {write}")
        } else {
            format!("BEGIN; {ourselves}; {write}; COMMIT")
        };
        let written = self.work.first(&sql).await;
        if written.is_err() && !self.in_transaction {
            self.work.run("ROLLBACK").await?;
        }
        let id = written?;
        let id: i64 = id
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| MigrationFault::Corrupt {
                reason: format!("run {} is not there", run.id),
            })?;
        if catalogue.is_some() {
            self.work.run(&self.tables.forget_catalogues(id)).await?;
        }
        Ok(id)
    }

    async fn mark(&mut self, version: &Version, applied: bool) -> MigrationResult<()> {
        self.work.run(&self.tables.mark(version, applied)).await.map(|_| ())
    }

    async fn catalogue(&mut self) -> MigrationResult<Catalogue> {
        if let CatalogueQuery::ToPlan(query) = &mut self.catalogue {
            let statement = self.work.client.prepare(query).await.map_err(|e| fault(&e))?;
            let query = std::mem::take(query);
            self.catalogue = CatalogueQuery::Planned { query, statement };
        }
        let read = async {
            let statement = match &self.catalogue {
                // Nothing is set for a pooler's connection but in a transaction.
                CatalogueQuery::Each(query) if !self.in_transaction => {
                    return self.work.catalogue(&limited(query, self.connector.patience)).await;
                }
                CatalogueQuery::Each(query) | CatalogueQuery::ToPlan(query) => return self.work.catalogue(query).await,
                CatalogueQuery::Planned { statement, .. } => statement,
            };
            let rows = self.work.client.query(statement, &[]).await.map_err(|e| fault(&e))?;
            let lines = rows.iter().map(|row| {
                Ok((
                    row.try_get(0)?,
                    row.try_get::<_, Option<String>>(1)?.unwrap_or_default(),
                ))
            });
            let lines: Result<Vec<(String, String)>, tokio_postgres::Error> = lines.collect();
            Ok(Catalogue::new(lines.map_err(|e| fault(&e))?))
        };
        self.watched(read, true).await
    }

    async fn settle(&mut self, sql: &str, begun: bool) -> MigrationResult<Settled> {
        let found = tokens(sql, Dialect::Postgres).unwrap_or_default();
        let found: Vec<Token<'_>> = found.into_iter().filter(Token::counts).collect();
        let says = |word: &str| found.iter().any(|token| token.is(word));
        let begins = |words: &[&str]| {
            found
                .first()
                .is_some_and(|token| words.iter().any(|word| token.is(word)))
        };
        let concurrently = says("CONCURRENTLY") && says("INDEX");
        if begins(&["CREATE"]) && concurrently {
            let Some(named) = named(&found) else {
                return Ok(if begun { Settled::Unknown } else { Settled::Ready });
            };
            if named.index.is_empty() {
                // The server names it. Where an earlier try left something invalid on the table, that is it.
                let of = format!("i.indrelid = to_regclass({})", literal(&named.table));
                let left = if begun { self.drop_invalid(&of).await? } else { 1 };
                return Ok(if left > 0 { Settled::Ready } else { Settled::Unknown });
            }
            return match self.index_of(&named).await? {
                // Another try would say that it is there already, or with IF NOT EXISTS take it for good.
                Some((false, index)) => {
                    tracing::warn!(event = "migration.index.rebuilt", %index);
                    self.work
                        .run(&format!("DROP INDEX CONCURRENTLY IF EXISTS {index}"))
                        .await?;
                    Ok(Settled::Ready)
                }
                Some((true, _)) if begun => Ok(Settled::Done),
                _ => Ok(Settled::Ready),
            };
        }
        if begins(&["REINDEX"]) {
            // What it builds beside the old ones, and the old ones when it has changed them.
            self.drop_invalid("c.relname ~ '_cc(new|old)[0-9]*$'").await?;
            return Ok(Settled::Ready);
        }
        if !begun {
            return Ok(Settled::Ready);
        }
        if begins(&["DROP"]) && concurrently {
            let Some(named) = named(&found) else {
                return Ok(Settled::Unknown);
            };
            let there = format!("SELECT to_regclass({})::text", literal(&named.index));
            let gone = self.work.first(&there).await?.is_none();
            return Ok(if gone { Settled::Done } else { Settled::Ready });
        }
        let again = begins(&["VACUUM", "ANALYZE", "ALTER", "CHECKPOINT", "CLUSTER"]);
        Ok(if again { Settled::Ready } else { Settled::Unknown })
    }

    async fn next_range(&mut self, walk: &Walk, after: Option<&str>, batch: u32) -> MigrationResult<Option<Range>> {
        let sql = walk_query(walk, after, batch, "quote_literal", "json_build_array");
        range(self.work.first(&sql).await?.as_deref())
    }

    async fn announce(&mut self, _sql: &str) -> MigrationResult<()> {
        // The server's activity view says it.
        Ok(())
    }
}
