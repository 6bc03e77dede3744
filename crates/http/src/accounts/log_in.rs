//! `POST /v1/auth/login`

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use anteroom_services::accounts::{LogIn, LogInError, LoggedIn};
use secrecy::SecretString;
use serde::Deserialize;

use super::resend_verification::NextStepResponse;
use crate::Api;
use crate::body::Body;
use crate::caller::Anonymous;
use crate::problem::{Problem, ProblemBody};
use crate::sessions::{LoginResponse, TransportChoice, login_answer};

/// What a user says to log in.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// E-mail address.
    #[schema(example = "ada@example.com")]
    email: String,
    /// Password.
    #[schema(value_type = String, format = Password)]
    password: SecretString,
    /// How the session is to be carried; `token` if absent.
    transport: Option<TransportChoice>,
}

impl From<LogInError> for Problem {
    fn from(error: LogInError) -> Self {
        match error {
            LogInError::InvalidCredentials => Self::new(
                StatusCode::UNAUTHORIZED,
                "invalid_credentials",
                "the address or the password is wrong",
            ),
            LogInError::Disabled => Self::account_disabled(),
            LogInError::TooManySessions { limit } => Self::too_many_sessions(limit),
            LogInError::Blocked { retry_after_seconds } => Self::login_blocked(retry_after_seconds),
            LogInError::Hash(e) => e.into(),
            LogInError::Store(e) => e.into(),
        }
    }
}

/// Log in with a password.
#[utoipa::path(post, path = "/v1/auth/login", tag = "accounts", request_body = LoginRequest, responses(
    (status = 200, description = "Signed in.", body = LoginResponse),
    (status = 202, description = "`verify_email`: the password is right, but the address has to be proven first.", body = NextStepResponse),
    (status = 401, description = "`invalid_credentials`, for an unknown address and a wrong password alike", body = ProblemBody, content_type = "application/problem+json"),
    (status = 403, description = "`account_disabled`, where the password is right", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "`too_many_sessions`, where the operator limits them and a login beyond is refused", body = ProblemBody, content_type = "application/problem+json"),
    (status = 429, description = "`login_blocked`: too many failed, with this address or from this network; `Retry-After` says when to try again. The right password is refused as well until then.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(caller: Anonymous, api: web::Data<Api>, body: Body) -> Result<HttpResponse, Problem> {
    let (ask, _) = body.json::<LoginRequest>(api.options.max_json_bytes).await?;
    let transport = ask.transport.unwrap_or_default().into();
    let ask = LogIn {
        email: ask.email,
        password: ask.password,
        transport,
        client: caller.client,
    };
    let accounts = Arc::clone(&api.accounts);
    Ok(
        match api.run(async move { accounts.log_in_with_password(ask).await }).await? {
            LoggedIn::In(grant) => login_answer(&api, StatusCode::OK, &grant),
            LoggedIn::VerifyEmail => NextStepResponse::answer("verify_email"),
        },
    )
}
