//! Users and their credentials.

use anteroom_domain::accounts::{Email, Role, User};
use anteroom_domain::{Timestamp, UserId};
use anteroom_ports::{AccountsRead, AccountsWrite, StoreError, StoreResult};
use async_trait::async_trait;
use diesel::SelectableHelper as _;
use diesel::prelude::{AsChangeset, Insertable, Queryable, Selectable};
use diesel::upsert::excluded;
use diesel::{ExpressionMethods as _, NullableExpressionMethods as _, OptionalExtension as _, QueryDsl as _};
use diesel_async::RunQueryDsl as _;
use tracing::instrument;
use uuid::Uuid;

use crate::schema::{password_credentials, users};
use crate::types::{At, Id, text, unknown_word};
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
}

/// What a profile change writes.
#[derive(Debug, AsChangeset)]
#[diesel(table_name = users, treat_none_as_null = true)]
struct ProfileChange {
    name: Option<String>,
    locale: String,
    role: &'static str,
    updated_at: At,
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
        })
    }
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

    #[instrument(level = "debug", name = "store.accounts.page_users", skip_all)]
    async fn page_users(&mut self, before: Option<UserId>, limit: i64) -> StoreResult<Vec<User>> {
        let before = before.map_or(Uuid::max(), |id| id.0);
        let rows = users::table
            .filter(users::id.lt(Id(before)))
            .order(users::id.desc())
            .limit(limit)
            .select(UserRow::as_select())
            .load(self.conn()?)
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
        let change = ProfileChange {
            name: user.name.as_deref().map(text),
            locale: user.locale.clone(),
            role: user.role.as_str(),
            updated_at: At(user.updated_at),
        };
        let done = diesel::update(users::table.find(Id(user.id.0)))
            .set(change)
            .execute(self.conn()?)
            .await;
        Ok(self.checked(done)? == 1)
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
}
