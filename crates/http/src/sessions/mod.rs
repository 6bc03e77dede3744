//! Sessions: what carries them, and what the API shows of them.

pub mod end_sessions_of_user;
pub mod get_session;
pub mod jwks;
pub mod list_sessions;
pub mod log_out;
pub mod refresh;
pub mod revoke_other_sessions;
pub mod revoke_session;
pub mod revoke_session_by_link;

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};
use anteroom_domain::Timestamp;
use anteroom_domain::accounts::User;
use anteroom_domain::sessions::{Session, Transport, device_name};
use anteroom_services::sessions::{Grant, GrantedCredential, StartError};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use crate::accounts::UserResponse;
use crate::problem::Problem;
use crate::{Api, CookieOptions};

/// How a session is to be carried.
#[derive(Debug, Clone, Copy, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransportChoice {
    /// Access and refresh tokens in the answer.
    #[default]
    Token,
    /// A cookie, and no token in the answer.
    Cookie,
}

impl From<TransportChoice> for Transport {
    fn from(choice: TransportChoice) -> Self {
        match choice {
            TransportChoice::Token => Self::Token,
            TransportChoice::Cookie => Self::Cookie,
        }
    }
}

/// A session, as the API shows it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Session)]
pub struct SessionResponse {
    /// UUIDv7; `sid` in access tokens.
    pub id: uuid::Uuid,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ends whatever happens.
    pub expires_at: Timestamp,
    /// When it was last used, to about two minutes.
    pub last_seen_at: Timestamp,
    /// The client's network address at login.
    pub address: Option<String>,
    /// The client's `User-Agent` at login.
    pub user_agent: Option<String>,
    /// What that says of the device, in short; `null` where it says nothing known.
    #[schema(example = "Firefox on Linux")]
    pub device: Option<String>,
    /// The country at login, where a proxy names it: two letters (ISO 3166-1).
    #[schema(example = "DE")]
    pub country: Option<String>,
    /// Whether it is the one that asks.
    pub current: bool,
}

impl SessionResponse {
    fn current(session: &Session) -> Self {
        Self::of(session, true)
    }

    fn of(session: &Session, current: bool) -> Self {
        Self {
            id: session.id.0,
            created_at: session.created_at,
            expires_at: session.expires_at,
            last_seen_at: session.last_seen_at,
            address: session.address.clone(),
            user_agent: session.user_agent.clone(),
            device: session.user_agent.as_deref().and_then(device_name),
            country: session.country.clone(),
            current,
        }
    }
}

/// What a client gets when it has proven itself. Tokens are there for the transport `token` only.
#[derive(Serialize, utoipa::ToSchema)]
pub struct LoginResponse {
    /// `ok`: signed in. Other words, with 202, ask for something first: `verify_email`.
    #[schema(example = "ok")]
    status: &'static str,
    /// Who it is.
    user: UserResponse,
    /// The session.
    session: SessionResponse,
    /// JWT (RFC 9068) for `Authorization: Bearer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    /// Always `Bearer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    /// The access token's life in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<i64>,
    /// Opaque; exchange it at `/v1/auth/refresh`, once.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

impl LoginResponse {
    pub(crate) fn without_tokens(user: &User, session: &Session) -> Self {
        Self {
            status: "ok",
            user: user.into(),
            session: SessionResponse::current(session),
            access_token: None,
            token_type: None,
            expires_in: None,
            refresh_token: None,
        }
    }
}

/// Shapes a grant into an answer: tokens in the body, or a cookie, never both.
pub(crate) fn login_answer(api: &Api, status: StatusCode, grant: &Grant) -> HttpResponse {
    let mut body = LoginResponse::without_tokens(&grant.user, &grant.session);
    let mut answer = HttpResponse::build(status);
    match &grant.credential {
        GrantedCredential::Token {
            access_token,
            expires_in,
            refresh_token,
        } => {
            body.access_token = Some(access_token.expose_secret().to_owned());
            body.token_type = Some("Bearer");
            body.expires_in = Some(*expires_in);
            body.refresh_token = Some(refresh_token.expose_secret().to_owned());
        }
        GrantedCredential::Cookie(value) => {
            let age = api.sessions.seconds_left(&grant.session);
            answer.insert_header((
                header::SET_COOKIE,
                set_cookie(&api.options.cookie, value.expose_secret(), age),
            ));
        }
    }
    answer.json(body)
}

impl From<StartError> for Problem {
    fn from(error: StartError) -> Self {
        match error {
            StartError::AccountClosed => Self::account_disabled(),
            StartError::TooManySessions { limit } => Self::too_many_sessions(limit),
            StartError::Store(e) => e.into(),
        }
    }
}

/// The answer to a client whose session has ended: a cookie is cleared.
pub(crate) fn signed_out(api: &Api, via: Transport) -> HttpResponse {
    let mut answer = HttpResponse::NoContent();
    if via == Transport::Cookie {
        answer.insert_header((header::SET_COOKIE, set_cookie(&api.options.cookie, "", 0)));
    }
    answer.finish()
}

/// A `Set-Cookie` header (RFC 6265bis). The value is hexadecimal, so nothing needs quoting.
pub(crate) fn set_cookie(options: &CookieOptions, value: &str, max_age: i64) -> String {
    let secure = if options.secure { "; Secure" } else { "" };
    format!(
        "{}={value}; Path=/; Max-Age={max_age}; HttpOnly{secure}; SameSite={}",
        options.name, options.same_site
    )
}
