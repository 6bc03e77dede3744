//! Users: signing up, logging in, reading and changing oneself.

pub mod change_email;
pub mod change_me;
pub mod change_password;
pub mod delete_me;
pub mod forgot_password;
pub mod get_me;
pub mod list_users;
pub mod log_in;
pub mod reauthenticate;
pub mod resend_verification;
pub mod reset_password;
pub mod sign_up;
pub mod undo_email_change;
pub mod verify_email;

use actix_web::http::StatusCode;
use anteroom_domain::Timestamp;
use anteroom_domain::accounts::User;
use serde::Serialize;

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
