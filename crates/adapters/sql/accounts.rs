//! Users and their credentials.

use anteroom_domain::accounts::{Email, OneTimeToken, Purpose, Role, User, fold_text};
use anteroom_domain::sessions::Change;
use anteroom_domain::{OneTimeTokenId, SessionId, Timestamp, UserId};
use anteroom_ports::accounts::{DeviceSeen, UserFilter};
use anteroom_ports::{AccountsRead, AccountsWrite, Digest, SessionsWrite as _, StoreError, StoreResult};
use async_trait::async_trait;
use diesel::SelectableHelper as _;
use diesel::prelude::{AsChangeset, Insertable, Queryable, Selectable};
use diesel::sql_types::{BigInt, Bool};
use diesel::upsert::excluded;
use diesel::{
    BoolExpressionMethods as _, EscapeExpressionMethods as _, ExpressionMethods as _, NullableExpressionMethods as _,
    OptionalExtension as _, QueryDsl as _, TextExpressionMethods as _,
};
use diesel_async::RunQueryDsl as _;
use tracing::instrument;
use uuid::Uuid;

use crate::backend::{lock_name, locked};
use crate::schema::{known_devices, one_time_tokens, password_credentials, users};
use crate::types::{At, Id, SqlTime, text, unknown_word};
use crate::unit::Unit;

/// A row of `users`.
#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = users, treat_none_as_default_value = false)]
pub(crate) struct UserRow {
    id: Id,
    email: String,
    email_folded: String,
    email_verified: bool,
    name: Option<String>,
    locale: String,
    role: String,
    created_at: At,
    updated_at: At,
    disabled_at: Option<At>,
    delete_after: Option<At>,
    name_folded: String,
}

/// What changing a user writes: all but who it is and since when.
#[derive(Debug, AsChangeset)]
#[diesel(table_name = users, treat_none_as_null = true)]
struct UserChange {
    email: String,
    email_folded: String,
    email_verified: bool,
    name: Option<String>,
    locale: String,
    role: String,
    updated_at: At,
    disabled_at: Option<At>,
    delete_after: Option<At>,
    name_folded: String,
}

impl From<&User> for UserChange {
    fn from(user: &User) -> Self {
        let row = UserRow::from(user);
        Self {
            email: row.email,
            email_folded: row.email_folded,
            email_verified: row.email_verified,
            name: row.name,
            locale: row.locale,
            role: row.role,
            updated_at: row.updated_at,
            disabled_at: row.disabled_at,
            delete_after: row.delete_after,
            name_folded: row.name_folded,
        }
    }
}

#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = one_time_tokens, treat_none_as_default_value = false)]
struct OneTimeTokenRow {
    id: Id,
    user_id: Id,
    purpose: String,
    email: Option<String>,
    session_id: Option<Id>,
    created_at: At,
    expires_at: At,
    used_at: Option<At>,
}

impl TryFrom<OneTimeTokenRow> for OneTimeToken {
    type Error = StoreError;

    fn try_from(row: OneTimeTokenRow) -> StoreResult<Self> {
        Ok(Self {
            id: OneTimeTokenId(row.id.0),
            user_id: UserId(row.user_id.0),
            purpose: Purpose::parse(&row.purpose)
                .ok_or_else(|| unknown_word("one_time_tokens.purpose", &row.purpose))?,
            email: row.email,
            session_id: row.session_id.map(|id| SessionId(id.0)),
            created_at: row.created_at.0,
            expires_at: row.expires_at.0,
            used_at: row.used_at.map(|at| at.0),
        })
    }
}

impl From<&User> for UserRow {
    fn from(user: &User) -> Self {
        Self {
            id: Id(user.id.0),
            email: user.email.as_str().to_owned(),
            email_folded: user.email.folded().to_owned(),
            email_verified: user.email_verified,
            name: user.name.as_deref().map(text),
            locale: user.locale.clone(),
            role: user.role.as_str().to_owned(),
            created_at: At(user.created_at),
            updated_at: At(user.updated_at),
            disabled_at: user.disabled_at.map(At),
            delete_after: user.delete_after.map(At),
            name_folded: user
                .name
                .as_deref()
                .map_or_else(String::new, |name| text(&fold_text(name))),
        }
    }
}

impl TryFrom<UserRow> for User {
    type Error = StoreError;

    fn try_from(row: UserRow) -> StoreResult<Self> {
        Ok(Self {
            id: UserId(row.id.0),
            email: Email::stored(row.email),
            email_verified: row.email_verified,
            name: row.name,
            locale: row.locale,
            role: Role::parse(&row.role).ok_or_else(|| unknown_word("users.role", &row.role))?,
            created_at: row.created_at.0,
            updated_at: row.updated_at.0,
            disabled_at: row.disabled_at.map(|at| at.0),
            delete_after: row.delete_after.map(|at| at.0),
        })
    }
}

/// A pattern for LIKE, with `!` as its escape, for what contains this.
fn containing(part: &str) -> String {
    let escaped = part.replace('!', "!!").replace('%', "!%").replace('_', "!_");
    text(&format!("%{escaped}%"))
}

#[async_trait]
impl AccountsRead for Unit {
    #[instrument(level = "debug", name = "store.accounts.user", skip_all)]
    async fn user(&mut self, id: UserId) -> StoreResult<Option<User>> {
        let row = users::table
            .find(Id(id.0))
            .select(UserRow::as_select())
            .first(self.conn()?)
            .await
            .optional();
        self.checked(row)?.map(User::try_from).transpose()
    }

    #[instrument(level = "debug", name = "store.accounts.user_by_email", skip_all)]
    async fn user_by_email(&mut self, folded: &str) -> StoreResult<Option<(User, Option<String>)>> {
        let row = users::table
            .left_join(password_credentials::table)
            .filter(users::email_folded.eq(folded))
            .select((UserRow::as_select(), password_credentials::hash.nullable()))
            .first::<(UserRow, Option<String>)>(self.conn()?)
            .await
            .optional();
        let Some((row, hash)) = self.checked(row)? else {
            return Ok(None);
        };
        Ok(Some((row.try_into()?, hash)))
    }

    #[instrument(level = "debug", name = "store.accounts.one_time_token", skip_all)]
    async fn one_time_token(
        &mut self,
        purpose: Purpose,
        digest: &Digest,
        now: Timestamp,
    ) -> StoreResult<Option<OneTimeToken>> {
        let row = one_time_tokens::table
            .filter(one_time_tokens::digest.eq(digest.as_slice()))
            .filter(one_time_tokens::purpose.eq(purpose.as_str()))
            .filter(one_time_tokens::used_at.is_null())
            .filter(one_time_tokens::expires_at.gt(At(now)))
            .select(OneTimeTokenRow::as_select())
            .first(self.conn()?)
            .await
            .optional();
        self.checked(row)?.map(OneTimeToken::try_from).transpose()
    }

    #[instrument(level = "debug", name = "store.accounts.address_is_reserved", skip_all)]
    async fn address_is_reserved(
        &mut self,
        folded: &str,
        but_for: Option<UserId>,
        now: Timestamp,
    ) -> StoreResult<bool> {
        let reserved = diesel::select(diesel::dsl::exists(
            one_time_tokens::table
                .filter(one_time_tokens::email_folded.eq(Some(text(folded))))
                .filter(one_time_tokens::purpose.eq(Purpose::UndoEmailChange.as_str()))
                .filter(one_time_tokens::user_id.ne(Id(but_for.map_or(Uuid::nil(), |id| id.0))))
                .filter(one_time_tokens::used_at.is_null())
                .filter(one_time_tokens::expires_at.gt(At(now))),
        ))
        .get_result(self.conn()?)
        .await;
        self.checked(reserved)
    }

    #[instrument(level = "debug", name = "store.accounts.page_users", skip_all)]
    async fn page_users(&mut self, filter: &UserFilter, before: Option<UserId>, limit: i64) -> StoreResult<Vec<User>> {
        let before = before.map_or(Uuid::max(), |id| id.0);
        let mut query = users::table.filter(users::id.lt(Id(before))).into_boxed();
        if let Some(role) = filter.role {
            query = query.filter(users::role.eq(role.as_str()));
        }
        match filter.disabled {
            Some(true) => query = query.filter(users::disabled_at.is_not_null()),
            Some(false) => query = query.filter(users::disabled_at.is_null()),
            None => {}
        }
        if let Some(verified) = filter.verified {
            query = query.filter(users::email_verified.eq(verified));
        }
        if let Some(part) = &filter.text {
            let email = users::email_folded.like(containing(&Email::fold(part))).escape('!');
            let name = users::name_folded.like(containing(&fold_text(part))).escape('!');
            query = query.filter(email.or(name));
        }
        let rows = query
            .order(users::id.desc())
            .limit(limit)
            .select(UserRow::as_select())
            .load(self.conn_for_long()?)
            .await;
        self.checked(rows)?.into_iter().map(User::try_from).collect()
    }
}

#[async_trait]
impl AccountsWrite for Unit {
    #[instrument(level = "debug", name = "store.accounts.insert_user", skip_all)]
    async fn insert_user(&mut self, user: &User) -> StoreResult<()> {
        let done = diesel::insert_into(users::table)
            .values(UserRow::from(user))
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| ())
    }

    #[instrument(level = "debug", name = "store.accounts.update_user", skip_all)]
    async fn update_user(&mut self, user: &User) -> StoreResult<bool> {
        let done = diesel::update(users::table.find(Id(user.id.0)))
            .set(UserChange::from(user))
            .execute(self.conn()?)
            .await;
        let changed = self.checked(done)? == 1;
        if changed {
            self.tell(&[Change::User(user.id)]).await?;
        }
        Ok(changed)
    }

    #[instrument(level = "debug", name = "store.accounts.lock_user", skip_all)]
    async fn lock_user(&mut self, id: UserId) -> StoreResult<Option<User>> {
        let query = users::table.find(Id(id.0)).select(UserRow::as_select());
        let row = locked!(query).first(self.conn()?).await.optional();
        self.checked(row)?.map(User::try_from).transpose()
    }

    #[instrument(level = "debug", name = "store.accounts.password_hash", skip_all)]
    async fn password_hash(&mut self, user: UserId) -> StoreResult<Option<String>> {
        let hash = password_credentials::table
            .find(Id(user.0))
            .select(password_credentials::hash)
            .first(self.conn()?)
            .await
            .optional();
        self.checked(hash)
    }

    #[instrument(level = "debug", name = "store.accounts.count_admins", skip_all)]
    async fn count_admins(&mut self) -> StoreResult<i64> {
        let locked = lock_name(self.conn()?, "admins").await;
        self.checked(locked)?;
        let count = users::table
            .filter(users::role.eq(Role::Admin.as_str()))
            .filter(users::disabled_at.is_null())
            .filter(users::delete_after.is_null())
            .count()
            .get_result(self.conn()?)
            .await;
        self.checked(count)
    }

    #[instrument(level = "debug", name = "store.accounts.insert_one_time_token", skip_all)]
    async fn insert_one_time_token(&mut self, token: &OneTimeToken, digest: &Digest) -> StoreResult<()> {
        let row = OneTimeTokenRow {
            id: Id(token.id.0),
            user_id: Id(token.user_id.0),
            purpose: token.purpose.as_str().to_owned(),
            email: token.email.as_deref().map(text),
            session_id: token.session_id.map(|id| Id(id.0)),
            created_at: At(token.created_at),
            expires_at: At(token.expires_at),
            used_at: token.used_at.map(At),
        };
        let done = diesel::insert_into(one_time_tokens::table)
            .values((
                row,
                one_time_tokens::digest.eq(digest.as_slice()),
                one_time_tokens::email_folded.eq(token.email.as_deref().map(|email| text(&Email::fold(email)))),
            ))
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| ())
    }

    #[instrument(level = "debug", name = "store.accounts.take_one_time_token", skip_all)]
    async fn take_one_time_token(
        &mut self,
        purpose: Purpose,
        digest: &Digest,
        now: Timestamp,
    ) -> StoreResult<Option<OneTimeToken>> {
        let row = diesel::update(one_time_tokens::table)
            .filter(one_time_tokens::digest.eq(digest.as_slice()))
            .filter(one_time_tokens::purpose.eq(purpose.as_str()))
            .filter(one_time_tokens::used_at.is_null())
            .filter(one_time_tokens::expires_at.gt(At(now)))
            .set(one_time_tokens::used_at.eq(Some(At(now))))
            .returning(OneTimeTokenRow::as_returning())
            .get_result(self.conn()?)
            .await
            .optional();
        self.checked(row)?.map(OneTimeToken::try_from).transpose()
    }

    #[instrument(level = "debug", name = "store.accounts.count_one_time_tokens", skip_all)]
    async fn count_one_time_tokens(&mut self, user: UserId, purpose: Purpose, since: Timestamp) -> StoreResult<i64> {
        let count = one_time_tokens::table
            .filter(one_time_tokens::user_id.eq(Id(user.0)))
            .filter(one_time_tokens::purpose.eq(purpose.as_str()))
            .filter(one_time_tokens::created_at.gt(At(since)))
            .count()
            .get_result(self.conn()?)
            .await;
        self.checked(count)
    }

    #[instrument(level = "debug", name = "store.accounts.void_one_time_tokens", skip_all)]
    async fn void_one_time_tokens(&mut self, user: UserId, purpose: Purpose, at: Timestamp) -> StoreResult<()> {
        let done = diesel::update(one_time_tokens::table)
            .filter(one_time_tokens::user_id.eq(Id(user.0)))
            .filter(one_time_tokens::purpose.eq(purpose.as_str()))
            .filter(one_time_tokens::used_at.is_null())
            .set(one_time_tokens::used_at.eq(Some(At(at))))
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| ())
    }

    #[instrument(level = "debug", name = "store.accounts.purge_one_time_tokens", skip_all)]
    async fn purge_one_time_tokens(&mut self, before: Timestamp, limit: i64) -> StoreResult<usize> {
        let oldest = diesel::dsl::sql::<Bool>("id IN (SELECT id FROM one_time_tokens WHERE expires_at < ")
            .bind::<SqlTime, _>(At(before))
            .sql(" ORDER BY expires_at LIMIT ")
            .bind::<BigInt, _>(limit)
            .sql(")");
        let done = diesel::delete(one_time_tokens::table)
            .filter(oldest)
            .execute(self.conn_for_long()?)
            .await;
        self.checked(done)
    }

    #[instrument(level = "debug", name = "store.accounts.users_to_erase", skip_all)]
    async fn users_to_erase(&mut self, now: Timestamp, limit: i64) -> StoreResult<Vec<User>> {
        let rows = users::table
            .filter(users::delete_after.le(Some(At(now))))
            .order((users::delete_after, users::id))
            .limit(limit)
            .select(UserRow::as_select())
            .load(self.conn()?)
            .await;
        self.checked(rows)?.into_iter().map(User::try_from).collect()
    }

    #[instrument(level = "debug", name = "store.accounts.delete_user", skip_all)]
    async fn delete_user(&mut self, id: UserId) -> StoreResult<bool> {
        let done = diesel::delete(users::table.find(Id(id.0)))
            .execute(self.conn_for_long()?)
            .await;
        let deleted = self.checked(done)? == 1;
        if deleted {
            self.tell(&[Change::User(id)]).await?;
        }
        Ok(deleted)
    }

    #[instrument(level = "debug", name = "store.accounts.note_device", skip_all)]
    async fn note_device(
        &mut self,
        user: UserId,
        device: &str,
        country: &str,
        at: Timestamp,
    ) -> StoreResult<DeviceSeen> {
        // One login of a user at a time, so that the first two do not both take themselves for the first.
        let locked = locked!(users::table.find(Id(user.0)).select(users::id))
            .first::<Id>(self.conn()?)
            .await;
        self.checked(locked)?;
        let of_user = known_devices::table.filter(known_devices::user_id.eq(Id(user.0)));
        let known = of_user.count().get_result::<i64>(self.conn()?).await;
        let known = self.checked(known)?;
        let (device, country) = (text(device), text(country));
        let seen = diesel::update(known_devices::table.find((Id(user.0), &device, &country)))
            .set(known_devices::last_seen_at.eq(At(at)))
            .execute(self.conn()?)
            .await;
        if self.checked(seen)? == 1 {
            return Ok(DeviceSeen::Known);
        }
        let done = diesel::insert_into(known_devices::table)
            .values((
                known_devices::user_id.eq(Id(user.0)),
                known_devices::device.eq(&device),
                known_devices::country.eq(&country),
                known_devices::first_seen_at.eq(At(at)),
                known_devices::last_seen_at.eq(At(at)),
            ))
            .execute(self.conn()?)
            .await;
        self.checked(done)?;
        Ok(if known == 0 { DeviceSeen::First } else { DeviceSeen::New })
    }

    #[instrument(level = "debug", name = "store.accounts.put_password_hash", skip_all)]
    async fn put_password_hash(&mut self, user: UserId, hash: &str, at: Timestamp) -> StoreResult<()> {
        let done = diesel::insert_into(password_credentials::table)
            .values((
                password_credentials::user_id.eq(Id(user.0)),
                password_credentials::hash.eq(hash),
                password_credentials::updated_at.eq(At(at)),
            ))
            .on_conflict(password_credentials::user_id)
            .do_update()
            .set((
                password_credentials::hash.eq(excluded(password_credentials::hash)),
                password_credentials::updated_at.eq(excluded(password_credentials::updated_at)),
            ))
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| ())
    }

    #[instrument(level = "debug", name = "store.accounts.delete_password_hash", skip_all)]
    async fn delete_password_hash(&mut self, user: UserId) -> StoreResult<()> {
        let done = diesel::delete(password_credentials::table.find(Id(user.0)))
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| ())
    }
}
