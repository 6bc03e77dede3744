//! Sessions, their refresh tokens, and the keys that access tokens are signed with.

use anteroom_domain::accounts::User;
use anteroom_domain::sessions::{Change, EndReason, RefreshToken, Session, SigningAlgorithm, SigningKey, Transport};
use anteroom_domain::{RefreshTokenId, SessionId, Timestamp, UserId};
use anteroom_ports::{Digest, SessionsRead, SessionsWrite, StoreError, StoreResult};
use async_trait::async_trait;
use diesel::prelude::{Insertable, Queryable, QueryableByName, Selectable};
use diesel::sql_types::{BigInt, Bool, Text};
use diesel::{
    BoolExpressionMethods as _, ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, SelectableHelper as _,
};
use diesel_async::RunQueryDsl as _;
use tracing::instrument;
use uuid::Uuid;

use crate::accounts::UserRow;
use crate::backend::{lock_name, locked, long_ago, tell, touch};
use crate::schema::{refresh_tokens, sessions, signing_keys, users};
use crate::types::{At, Id, SqlId, SqlTime, text, unknown_word};
use crate::unit::Unit;

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = sessions)]
struct SessionRow {
    id: Id,
    user_id: Id,
    transport: String,
    created_at: At,
    expires_at: At,
    last_seen_at: At,
    address: Option<String>,
    user_agent: Option<String>,
    ended_at: Option<At>,
    end_reason: Option<String>,
    authenticated_at: At,
    country: Option<String>,
}

#[derive(Debug, Insertable)]
#[diesel(table_name = sessions, treat_none_as_default_value = false)]
struct NewSession {
    id: Id,
    user_id: Id,
    transport: &'static str,
    cookie_digest: Option<Vec<u8>>,
    created_at: At,
    expires_at: At,
    last_seen_at: At,
    address: Option<String>,
    user_agent: Option<String>,
    ended_at: Option<At>,
    end_reason: Option<&'static str>,
    authenticated_at: At,
    country: Option<String>,
}

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = refresh_tokens)]
struct RefreshTokenRow {
    id: Id,
    session_id: Id,
    created_at: At,
    used_at: Option<At>,
}

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = signing_keys)]
struct SigningKeyRow {
    kid: String,
    algorithm: String,
    public_jwk: String,
    private_sealed: Vec<u8>,
    wrapping_version: i32,
    created_at: At,
    active_from: At,
    retired_at: Option<At>,
    revoked_at: Option<At>,
}

impl TryFrom<SigningKeyRow> for SigningKey {
    type Error = StoreError;

    fn try_from(row: SigningKeyRow) -> StoreResult<Self> {
        Ok(Self {
            kid: row.kid,
            algorithm: SigningAlgorithm::parse(&row.algorithm)
                .ok_or_else(|| unknown_word("signing_keys.algorithm", &row.algorithm))?,
            public_jwk: row.public_jwk,
            sealed: row.private_sealed,
            wrapping_version: row.wrapping_version,
            created_at: row.created_at.0,
            active_from: row.active_from.0,
            retired_at: row.retired_at.map(|at| at.0),
            revoked_at: row.revoked_at.map(|at| at.0),
        })
    }
}

#[derive(Debug, QueryableByName)]
struct ToldRow {
    #[diesel(sql_type = SqlId)]
    id: Id,
    #[diesel(sql_type = Text)]
    message: String,
}

impl TryFrom<SessionRow> for Session {
    type Error = StoreError;

    fn try_from(row: SessionRow) -> StoreResult<Self> {
        let reason = |word: String| EndReason::parse(&word).ok_or_else(|| unknown_word("sessions.end_reason", &word));
        Ok(Self {
            id: SessionId(row.id.0),
            user_id: UserId(row.user_id.0),
            transport: Transport::parse(&row.transport)
                .ok_or_else(|| unknown_word("sessions.transport", &row.transport))?,
            created_at: row.created_at.0,
            expires_at: row.expires_at.0,
            last_seen_at: row.last_seen_at.0,
            address: row.address,
            user_agent: row.user_agent,
            country: row.country,
            authenticated_at: row.authenticated_at.0,
            ended: row.ended_at.map(|at| at.0).zip(row.end_reason.map(reason).transpose()?),
        })
    }
}

#[async_trait]
impl SessionsRead for Unit {
    #[instrument(level = "debug", name = "store.sessions.session", skip_all)]
    async fn session(&mut self, id: SessionId) -> StoreResult<Option<(Session, User)>> {
        let row = sessions::table
            .inner_join(users::table)
            .filter(sessions::id.eq(Id(id.0)))
            .select((SessionRow::as_select(), UserRow::as_select()))
            .first(self.conn()?)
            .await
            .optional();
        pair(self.checked(row)?)
    }

    #[instrument(level = "debug", name = "store.sessions.session_by_cookie", skip_all)]
    async fn session_by_cookie(&mut self, digest: &Digest) -> StoreResult<Option<(Session, User)>> {
        let row = sessions::table
            .inner_join(users::table)
            .filter(sessions::cookie_digest.eq(digest.as_slice()))
            .select((SessionRow::as_select(), UserRow::as_select()))
            .first(self.conn()?)
            .await
            .optional();
        pair(self.checked(row)?)
    }

    #[instrument(level = "debug", name = "store.sessions.live_sessions", skip_all)]
    async fn live_sessions(&mut self, user: UserId, now: Timestamp) -> StoreResult<Vec<Session>> {
        let rows = sessions::table
            .filter(sessions::user_id.eq(Id(user.0)))
            .filter(sessions::ended_at.is_null())
            .filter(sessions::expires_at.gt(At(now)))
            .order(sessions::id)
            .select(SessionRow::as_select())
            .load(self.conn()?)
            .await;
        self.checked(rows)?.into_iter().map(Session::try_from).collect()
    }

    #[instrument(level = "debug", name = "store.sessions.signing_keys", skip_all)]
    async fn signing_keys(&mut self) -> StoreResult<Vec<SigningKey>> {
        let rows: Result<Vec<SigningKeyRow>, _> = signing_keys::table
            .order((signing_keys::active_from, signing_keys::kid))
            .select(SigningKeyRow::as_select())
            .load(self.conn()?)
            .await;
        self.checked(rows)?.into_iter().map(TryInto::try_into).collect()
    }

    #[instrument(level = "debug", name = "store.sessions.told_lately", skip_all)]
    async fn told_lately(&mut self) -> StoreResult<Vec<(Uuid, Change)>> {
        let query = format!("SELECT id, message FROM broadcasts WHERE created_at > {}", long_ago(60));
        let rows = diesel::sql_query(query).load::<ToldRow>(self.conn()?).await;
        let rows = self.checked(rows)?.into_iter();
        Ok(rows.map(|row| (row.id.0, Change::parse(&row.message))).collect())
    }
}

fn pair(row: Option<(SessionRow, UserRow)>) -> StoreResult<Option<(Session, User)>> {
    row.map(|(session, user)| Ok((session.try_into()?, user.try_into()?)))
        .transpose()
}

#[async_trait]
impl SessionsWrite for Unit {
    #[instrument(level = "debug", name = "store.sessions.insert_session", skip_all)]
    async fn insert_session(&mut self, session: &Session, cookie: Option<&Digest>) -> StoreResult<()> {
        let row = NewSession {
            id: Id(session.id.0),
            user_id: Id(session.user_id.0),
            transport: session.transport.as_str(),
            cookie_digest: cookie.map(|digest| digest.to_vec()),
            created_at: At(session.created_at),
            expires_at: At(session.expires_at),
            last_seen_at: At(session.last_seen_at),
            address: session.address.clone(),
            user_agent: session.user_agent.as_deref().map(text),
            ended_at: session.ended.map(|(at, _)| At(at)),
            end_reason: session.ended.map(|(_, reason)| reason.as_str()),
            authenticated_at: At(session.authenticated_at),
            country: session.country.clone(),
        };
        let done = diesel::insert_into(sessions::table)
            .values(row)
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| ())
    }

    #[instrument(level = "debug", name = "store.sessions.end_session", skip_all)]
    async fn end_session(&mut self, id: SessionId, at: Timestamp, reason: EndReason) -> StoreResult<bool> {
        let done = diesel::update(sessions::table.find(Id(id.0)))
            .filter(sessions::ended_at.is_null())
            .set((
                sessions::ended_at.eq(Some(At(at))),
                sessions::end_reason.eq(Some(reason.as_str())),
            ))
            .execute(self.conn()?)
            .await;
        let ended = self.checked(done)? == 1;
        if ended {
            self.tell(&[Change::SessionEnded(id)]).await?;
        }
        Ok(ended)
    }

    #[instrument(level = "debug", name = "store.sessions.end_sessions_of", skip_all)]
    async fn end_sessions_of(
        &mut self,
        user: UserId,
        except: Option<SessionId>,
        at: Timestamp,
        reason: EndReason,
    ) -> StoreResult<Vec<SessionId>> {
        let except = except.map_or(uuid::Uuid::nil(), |id| id.0);
        let ids = diesel::update(sessions::table)
            .filter(sessions::user_id.eq(Id(user.0)))
            .filter(sessions::ended_at.is_null())
            .filter(sessions::id.ne(Id(except)))
            .set((
                sessions::ended_at.eq(Some(At(at))),
                sessions::end_reason.eq(Some(reason.as_str())),
            ))
            .returning(sessions::id)
            .get_results::<Id>(self.conn()?)
            .await;
        let ids: Vec<SessionId> = self.checked(ids)?.into_iter().map(|id| SessionId(id.0)).collect();
        let changes: Vec<Change> = ids.iter().copied().map(Change::SessionEnded).collect();
        self.tell(&changes).await?;
        Ok(ids)
    }

    #[instrument(level = "debug", name = "store.sessions.authenticate_session", skip_all)]
    async fn authenticate_session(&mut self, id: SessionId, at: Timestamp) -> StoreResult<bool> {
        let user = diesel::update(sessions::table.find(Id(id.0)))
            .filter(sessions::ended_at.is_null())
            .set(sessions::authenticated_at.eq(At(at)))
            .returning(sessions::user_id)
            .get_result::<Id>(self.conn()?)
            .await
            .optional();
        let user = self.checked(user)?;
        if let Some(user) = user {
            self.tell(&[Change::User(UserId(user.0))]).await?;
        }
        Ok(user.is_some())
    }

    #[instrument(level = "debug", name = "store.sessions.tell", skip_all)]
    async fn tell(&mut self, changes: &[Change]) -> StoreResult<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let texts = changes.iter().map(|change| change.to_text()).collect();
        let done = tell(self.conn()?, texts).await;
        self.checked(done)
    }

    #[instrument(level = "debug", name = "store.sessions.purge_told", skip_all)]
    async fn purge_told(&mut self) -> StoreResult<usize> {
        let query = format!("DELETE FROM broadcasts WHERE created_at < {}", long_ago(120));
        let done = diesel::sql_query(query).execute(self.conn_for_long()?).await;
        self.checked(done)
    }

    #[instrument(level = "debug", name = "store.sessions.touch_sessions", skip_all)]
    async fn touch_sessions(&mut self, seen: &[(SessionId, Timestamp)]) -> StoreResult<()> {
        if seen.is_empty() {
            return Ok(());
        }
        // One time for each session, in one order, so that two nodes that saw the same sessions do not wait for each
        // other in a circle.
        let mut rows: Vec<_> = seen.iter().map(|(id, at)| (Id(id.0), At(*at))).collect();
        rows.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        rows.dedup_by_key(|row| row.0);
        let done = touch(self.conn_for_long()?, rows).await;
        self.checked(done)
    }

    #[instrument(level = "debug", name = "store.sessions.insert_refresh_token", skip_all)]
    async fn insert_refresh_token(&mut self, token: &RefreshToken, digest: &Digest) -> StoreResult<()> {
        let done = diesel::insert_into(refresh_tokens::table)
            .values((
                refresh_tokens::id.eq(Id(token.id.0)),
                refresh_tokens::session_id.eq(Id(token.session_id.0)),
                refresh_tokens::digest.eq(digest.as_slice()),
                refresh_tokens::created_at.eq(At(token.created_at)),
                refresh_tokens::used_at.eq(token.used_at.map(At)),
            ))
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| ())
    }

    #[instrument(level = "debug", name = "store.sessions.lock_refresh_token", skip_all)]
    async fn lock_refresh_token(&mut self, digest: &Digest) -> StoreResult<Option<RefreshToken>> {
        let query = refresh_tokens::table
            .filter(refresh_tokens::digest.eq(digest.as_slice()))
            .select(RefreshTokenRow::as_select());
        let row = locked!(query).first(self.conn()?).await.optional();
        Ok(self.checked(row)?.map(|row| RefreshToken {
            id: RefreshTokenId(row.id.0),
            session_id: SessionId(row.session_id.0),
            created_at: row.created_at.0,
            used_at: row.used_at.map(|at| at.0),
        }))
    }

    #[instrument(level = "debug", name = "store.sessions.use_refresh_token", skip_all)]
    async fn use_refresh_token(&mut self, id: RefreshTokenId, at: Timestamp) -> StoreResult<bool> {
        let done = diesel::update(refresh_tokens::table.find(Id(id.0)))
            .filter(refresh_tokens::used_at.is_null())
            .set(refresh_tokens::used_at.eq(Some(At(at))))
            .execute(self.conn()?)
            .await;
        Ok(self.checked(done)? == 1)
    }

    #[instrument(level = "debug", name = "store.sessions.purge_sessions", skip_all)]
    async fn purge_sessions(&mut self, before: Timestamp, limit: i64) -> StoreResult<usize> {
        let oldest = diesel::dsl::sql::<Bool>("id IN (SELECT id FROM sessions WHERE expires_at < ")
            .bind::<SqlTime, _>(At(before))
            .sql(" ORDER BY expires_at LIMIT ")
            .bind::<BigInt, _>(limit)
            .sql(")");
        let done = diesel::delete(sessions::table)
            .filter(oldest)
            .execute(self.conn()?)
            .await;
        self.checked(done)
    }

    #[instrument(level = "debug", name = "store.sessions.lock_signing_keys", skip_all)]
    async fn lock_signing_keys(&mut self) -> StoreResult<Vec<SigningKey>> {
        // There may be no row yet that could be locked.
        let done = lock_name(self.conn()?, "signing_keys").await;
        self.checked(done)?;
        self.signing_keys().await
    }

    #[instrument(level = "debug", name = "store.sessions.insert_signing_key", skip_all)]
    async fn insert_signing_key(&mut self, key: &SigningKey) -> StoreResult<()> {
        let done = diesel::insert_into(signing_keys::table)
            .values((
                signing_keys::kid.eq(&key.kid),
                signing_keys::algorithm.eq(key.algorithm.as_str()),
                signing_keys::public_jwk.eq(&key.public_jwk),
                signing_keys::private_sealed.eq(&key.sealed),
                signing_keys::wrapping_version.eq(key.wrapping_version),
                signing_keys::created_at.eq(At(key.created_at)),
                signing_keys::active_from.eq(At(key.active_from)),
                signing_keys::retired_at.eq(key.retired_at.map(At)),
                signing_keys::revoked_at.eq(key.revoked_at.map(At)),
            ))
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| ())
    }

    #[instrument(level = "debug", name = "store.sessions.retire_signing_key", skip_all)]
    async fn retire_signing_key(&mut self, kid: &str, at: Timestamp) -> StoreResult<bool> {
        let done = diesel::update(signing_keys::table.find(kid))
            .filter(
                signing_keys::retired_at
                    .is_null()
                    .or(signing_keys::retired_at.gt(Some(At(at)))),
            )
            .set(signing_keys::retired_at.eq(Some(At(at))))
            .execute(self.conn()?)
            .await;
        Ok(self.checked(done)? == 1)
    }

    #[instrument(level = "debug", name = "store.sessions.revoke_signing_key", skip_all)]
    async fn revoke_signing_key(&mut self, kid: &str, at: Timestamp) -> StoreResult<bool> {
        let done = diesel::update(signing_keys::table.find(kid))
            .filter(signing_keys::revoked_at.is_null())
            .set(signing_keys::revoked_at.eq(Some(At(at))))
            .execute(self.conn()?)
            .await;
        Ok(self.checked(done)? == 1)
    }

    #[instrument(level = "debug", name = "store.sessions.delete_signing_key", skip_all)]
    async fn delete_signing_key(&mut self, kid: &str) -> StoreResult<bool> {
        let done = diesel::delete(signing_keys::table.find(kid))
            .execute(self.conn()?)
            .await;
        Ok(self.checked(done)? == 1)
    }
}
