//! `PUT /v1/admin/models/{name}`

use std::sync::Arc;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_domain::audit::Actor;
use anteroom_domain::chat::AliasMistake;
use anteroom_services::chat::PutModelError;

use super::model_details::{self, AdminModel, PutModelRequest};
use crate::Api;
use crate::body::Body;
use crate::caller::{Admin, client};
use crate::problem::{FieldError, Problem, ProblemBody};

impl From<PutModelError> for Problem {
    fn from(error: PutModelError) -> Self {
        let text = error.to_string();
        match error {
            PutModelError::Forbidden => Self::new(StatusCode::FORBIDDEN, "forbidden", text),
            PutModelError::Refused(mistakes) => {
                let field = |m: AliasMistake| FieldError {
                    pointer: m.pointer,
                    code: m.code.to_owned(),
                    detail: m.detail,
                };
                Self::invalid(mistakes.into_iter().map(field).collect())
            }
            PutModelError::Changed => model_details::changed(text),
            PutModelError::TooMany => Self::new(StatusCode::CONFLICT, "too_many_models", text),
            PutModelError::Store(e) => e.into(),
        }
    }
}

/// Store a model, in the place of the one of that name if there is one, be that stored or the configuration's. In force on
/// every node within a second; answers under way are not touched.
#[utoipa::path(put, path = "/v1/admin/models/{name}", tag = "admin",
    params(
        ("name" = String, Path, description = "The model's name; it may have slashes in it."),
        ("If-Match" = Option<String>, Header, description = "Only if this is the state that is stored (its `ETag`), or `*`: if one is."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if none is stored."),
    ), request_body = PutModelRequest, responses(
    (status = 200, description = "It was stored before; this is how it is now.", body = AdminModel),
    (status = 201, description = "It was not stored before.", body = AdminModel),
    (status = 409, description = "`too_many_models`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 412, description = "`model_changed`: another state is stored", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "What of it was refused; `errors` has all of it.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: Admin,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let (name, expected) = (model_details::name(&request)?, model_details::expected(&request)?);
    let (ask, _) = body.json::<PutModelRequest>(api.options.max_json_bytes).await?;
    let (alias, enabled) = ask.into_alias(name);
    let (chat, actor, client) = (
        Arc::clone(&api.chat),
        Actor::User(caller.live.user.id),
        client(&request),
    );
    let put = api
        .run(async move { chat.put_model(alias, enabled, expected, actor, &client).await })
        .await?;
    let mut answer = if put.created {
        HttpResponse::Created()
    } else {
        HttpResponse::Ok()
    };
    if let Some(tag) = model_details::tag(&put.model) {
        answer.insert_header((header::ETAG, tag));
    }
    Ok(answer.json(AdminModel::from(&put.model)))
}
