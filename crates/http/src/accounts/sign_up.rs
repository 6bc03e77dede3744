//! `POST /v1/auth/signup`

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::ACCEPT_LANGUAGE;
use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_domain::accounts::valid_locale;
use anteroom_domain::sessions::Transport;
use anteroom_services::accounts::{SignUp, SignUpError, SignedUp};
use secrecy::SecretString;
use serde::Deserialize;

use super::resend_verification::NextStepResponse;
use crate::Api;
use crate::body::Body;
use crate::caller::Anonymous;
use crate::problem::{Problem, ProblemBody};
use crate::sessions::{LoginResponse, TransportChoice, login_answer};

/// What a stranger says to get an account.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignupRequest {
    /// E-mail address; unique, whatever its case.
    #[schema(example = "ada@example.com")]
    email: String,
    /// 8 to 1024 bytes, not easy to guess.
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 1024)]
    password: SecretString,
    /// Name to show.
    name: Option<String>,
    /// Language of mails, a BCP 47 tag; the first of `Accept-Language` if absent, `en` without one.
    #[schema(example = "de-AT")]
    locale: Option<String>,
    /// How the session is to be carried; `token` if absent.
    transport: Option<TransportChoice>,
}

impl From<SignUpError> for Problem {
    fn from(error: SignUpError) -> Self {
        match error {
            SignUpError::Closed => Self::new(
                StatusCode::FORBIDDEN,
                "signup_closed",
                "this service takes no new accounts",
            ),
            SignUpError::Refused(faults) => Self::refused(faults),
            SignUpError::EmailTaken => super::email_taken(),
            SignUpError::Session(e) => e.into(),
            SignUpError::Hash(e) => e.into(),
            SignUpError::Store(e) => e.into(),
        }
    }
}

/// Make an account and sign in.
#[utoipa::path(post, path = "/v1/auth/signup", tag = "accounts", request_body = SignupRequest, responses(
    (status = 201, description = "The account exists and is signed in.", body = LoginResponse),
    (status = 202, description = "`verify_email`, where addresses have to be proven first: follow the link in the mail. The same for a taken address, whose owner is told.", body = NextStepResponse),
    (status = 409, description = "`email_taken`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "A bad address or a refused password; `errors` says which.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: Anonymous,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let (ask, _) = body.json::<SignupRequest>(api.options.max_json_bytes).await?;
    let transport: Transport = ask.transport.unwrap_or_default().into();
    let ask = SignUp {
        email: ask.email,
        password: ask.password,
        name: ask.name,
        locale: ask.locale.or_else(|| preferred_language(&request)),
        transport,
        client: caller.client,
    };
    let accounts = Arc::clone(&api.accounts);
    Ok(match api.run(async move { accounts.sign_up(ask).await }).await? {
        SignedUp::In(grant) => login_answer(&api, StatusCode::CREATED, &grant),
        SignedUp::VerifyEmail => NextStepResponse::answer("verify_email"),
    })
}

/// The language that a browser names first, which is the one its user likes best; others say `q=` by habit only.
fn preferred_language(request: &HttpRequest) -> Option<String> {
    let listed = request.headers().get(ACCEPT_LANGUAGE)?.to_str().ok()?;
    let first = listed.split([',', ';']).next()?.trim();
    valid_locale(first).then(|| first.to_owned())
}
