//! Users: signing up, logging in, reading and changing oneself.

pub mod change_email;
pub mod change_me;
pub mod change_password;
pub mod change_user;
pub mod delete_me;
pub mod forgot_password;
pub mod get_me;
pub mod list_users;
pub mod log_in;
pub mod reauthenticate;
pub mod resend_verification;
pub mod reset_password;
pub mod send_reset_mail;
pub mod show_user;
pub mod sign_up;
pub mod undo_email_change;
pub mod verify_email;

use actix_web::http::StatusCode;
use anteroom_domain::Timestamp;
use anteroom_domain::accounts::{Role, User};
use anteroom_services::accounts::UserDetails;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;

fn email_taken() -> Problem {
    let detail = "this address has an account already; log in instead";
    Problem::new(StatusCode::CONFLICT, "email_taken", detail)
}

/// A user, as the API shows it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = User)]
pub struct UserResponse {
    /// UUIDv7.
    pub id: uuid::Uuid,
    /// Address, as the user wrote it.
    pub email: String,
    /// Whether the address has been proven.
    pub email_verified: bool,
    /// Name to show.
    pub name: Option<String>,
    /// BCP 47 language tag.
    pub locale: String,
    /// `user` or `admin`.
    #[schema(example = "user")]
    pub role: &'static str,
    /// When the account was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl From<&User> for UserResponse {
    fn from(user: &User) -> Self {
        Self {
            id: user.id.0,
            email: user.email.as_str().to_owned(),
            email_verified: user.email_verified,
            name: user.name.clone(),
            locale: user.locale.clone(),
            role: user.role.as_str(),
            created_at: user.created_at,
            updated_at: user.updated_at,
        }
    }
}

/// What a user may do.
#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[schema(as = Role)]
#[serde(rename_all = "snake_case")]
pub enum RoleChoice {
    /// Own things only.
    User,
    /// Everything under `/v1/admin`.
    Admin,
}

impl From<RoleChoice> for Role {
    fn from(choice: RoleChoice) -> Self {
        match choice {
            RoleChoice::User => Self::User,
            RoleChoice::Admin => Self::Admin,
        }
    }
}

/// A user, as admins see them.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AdminUser)]
pub struct AdminUserResponse {
    /// UUIDv7.
    pub id: uuid::Uuid,
    /// Address, as the user wrote it.
    pub email: String,
    /// Whether the address has been proven.
    pub email_verified: bool,
    /// Name to show.
    pub name: Option<String>,
    /// BCP 47 language tag.
    pub locale: String,
    /// `user` or `admin`.
    #[schema(example = "user")]
    pub role: &'static str,
    /// When the account was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Since when the account is closed.
    pub disabled_at: Option<Timestamp>,
    /// When the account is erased, if its owner has asked for that.
    pub delete_after: Option<Timestamp>,
}

impl From<&User> for AdminUserResponse {
    fn from(user: &User) -> Self {
        Self {
            id: user.id.0,
            email: user.email.as_str().to_owned(),
            email_verified: user.email_verified,
            name: user.name.clone(),
            locale: user.locale.clone(),
            role: user.role.as_str(),
            created_at: user.created_at,
            updated_at: user.updated_at,
            disabled_at: user.disabled_at,
            delete_after: user.delete_after,
        }
    }
}

/// A user, with what is known about their use of the account.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = UserDetails)]
pub struct UserDetailsResponse {
    /// UUIDv7.
    pub id: uuid::Uuid,
    /// Address, as the user wrote it.
    pub email: String,
    /// Whether the address has been proven.
    pub email_verified: bool,
    /// Name to show.
    pub name: Option<String>,
    /// BCP 47 language tag.
    pub locale: String,
    /// `user` or `admin`.
    #[schema(example = "user")]
    pub role: &'static str,
    /// When the account was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Since when the account is closed.
    pub disabled_at: Option<Timestamp>,
    /// When the account is erased, if its owner has asked for that.
    pub delete_after: Option<Timestamp>,
    /// When they last logged in or signed up.
    pub last_login_at: Option<Timestamp>,
    /// How many sessions are open.
    pub sessions: usize,
}

impl From<&UserDetails> for UserDetailsResponse {
    fn from(details: &UserDetails) -> Self {
        let user = &details.user;
        Self {
            id: user.id.0,
            email: user.email.as_str().to_owned(),
            email_verified: user.email_verified,
            name: user.name.clone(),
            locale: user.locale.clone(),
            role: user.role.as_str(),
            created_at: user.created_at,
            updated_at: user.updated_at,
            disabled_at: user.disabled_at,
            delete_after: user.delete_after,
            last_login_at: details.last_login_at,
            sessions: details.sessions,
        }
    }
}
