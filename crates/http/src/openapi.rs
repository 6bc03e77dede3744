//! The API as OpenAPI 3.1, put together from the endpoints' own annotations and the route table.

use actix_web::http::Method;
use utoipa::OpenApi as _;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Response};

use crate::caller::Who;
use crate::problem::Shape;
use crate::{access, accounts, audit, billing, chat, migrations, ops, protection, sessions};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Anteroom",
        description = "Accounts, sessions, subscriptions and the relay to AI models.\n\nErrors are `application/problem+json` (RFC 9457) with a stable `code`; \
            where OpenAI's or Anthropic's dialect is spoken they have the shape that its SDKs read. Unknown members of a body are refused, except where OpenAI's requests are relayed. \
            Creating requests take an `Idempotency-Key`.",
        license(name = "MIT OR Apache-2.0"),
    ),
    paths(
        accounts::sign_up::handle,
        accounts::log_in::handle,
        accounts::get_me::handle,
        accounts::change_me::handle,
        accounts::delete_me::handle,
        accounts::change_password::handle,
        accounts::change_email::handle,
        accounts::verify_email::handle,
        accounts::resend_verification::handle,
        accounts::undo_email_change::handle,
        accounts::forgot_password::handle,
        accounts::reset_password::handle,
        accounts::reauthenticate::handle,
        accounts::list_users::handle,
        accounts::show_user::handle,
        accounts::change_user::handle,
        accounts::send_reset_mail::handle,
        access::create_api_key::handle,
        access::list_api_keys::handle,
        access::get_api_key::handle,
        access::change_api_key::handle,
        access::delete_api_key::handle,
        access::rotate_api_key::handle,
        access::list_api_keys_of_user::handle,
        access::delete_api_key_of_user::handle,
        audit::list_activity::handle,
        audit::list_audit::handle,
        protection::unlock_user::handle,
        sessions::refresh::handle,
        sessions::log_out::handle,
        sessions::end_sessions_of_user::handle,
        sessions::get_session::handle,
        sessions::jwks::handle,
        sessions::list_sessions::handle,
        sessions::revoke_session::handle,
        sessions::revoke_other_sessions::handle,
        sessions::revoke_session_by_link::handle,
        billing::list_plans::handle,
        billing::get_subscription::handle,
        billing::list_entitlements::handle,
        billing::list_usage::handle,
        billing::list_usage_of_all::handle,
        billing::credits::handle,
        billing::list_credit_entries::handle,
        billing::show_credits_of_user::handle,
        billing::list_credit_entries_of_user::handle,
        billing::grant_credits::handle,
        billing::revoke_credits::handle,
        billing::list_packs::handle,
        billing::buy_credits::handle,
        billing::open_checkout::handle,
        billing::receive_webhook::handle,
        billing::check_entitlement::handle,
        billing::consume_entitlement::handle,
        billing::release_entitlement::handle,
        billing::open_portal::handle,
        billing::preview_change::handle,
        billing::change_plan::handle,
        billing::cancel_subscription::handle,
        billing::resume_subscription::handle,
        billing::grant_override::handle,
        billing::list_overrides::handle,
        billing::revoke_override::handle,
        billing::list_subscriptions::handle,
        billing::list_subscriptions_of_user::handle,
        billing::summarize_billing::handle,
        migrations::list_migrations::handle,
        migrations::plan_migrations::handle,
        migrations::show_migration::handle,
        migrations::apply_migrations::handle,
        migrations::take_back_migrations::handle,
        chat::list_models::handle,
        chat::list_assistants::handle,
        chat::get_model::handle,
        chat::create_embeddings::handle,
        chat::complete::handle,
        chat::complete_text::handle,
        chat::create_response::handle,
        chat::create_message::handle,
        chat::count_tokens::handle,
        chat::create_conversation::handle,
        chat::list_conversations::handle,
        chat::get_conversation::handle,
        chat::change_conversation::handle,
        chat::delete_conversation::handle,
        chat::list_messages::handle,
        chat::send_message::handle,
        chat::show_models::handle,
        chat::show_model::handle,
        chat::put_model::handle,
        chat::delete_model::handle,
        chat::stop_answer::handle,
        chat::export_conversation::handle,
        chat::regenerate_answer::handle,
        chat::edit_message::handle,
        chat::follow_answer::handle,
        ops::health::handle,
        ops::ready::handle,
        ops::openapi_json::handle,
        ops::docs::handle,
        ops::root::handle,
    ),
    components(schemas(
        crate::problem::ProblemBody,
        crate::problem::OpenAiErrorBody,
        crate::problem::AnthropicErrorBody,
        // No answer names them: OpenAPI 3.1 has no word for the events of a stream.
        crate::chat::complete::ChatCompletionChunkSchema,
        crate::chat::create_message::AnthropicEventSchema,
        crate::chat::create_response::ResponseEventSchema,
        crate::chat::message_events::MessageEventData,
        crate::chat::message_events::MessageDeltaEventData,
        crate::chat::message_events::ErrorEventData,
    ))
)]
struct Annotations;

/// The document. Every operation gets its error answer and, from the table, who may call.
pub fn openapi() -> OpenApi {
    let mut document = Annotations::openapi();
    env!("CARGO_PKG_VERSION").clone_into(&mut document.info.version);
    let components = document.components.get_or_insert_default();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    let cookie = ApiKey::Cookie(ApiKeyValue::with_description(
        "__Host-anteroom",
        "The session cookie; `anteroom` on plain http.",
    ));
    components.add_security_scheme("cookie", SecurityScheme::ApiKey(cookie));
    let key = ApiKey::Header(ApiKeyValue::with_description(
        "x-api-key",
        "The token, as Anthropic's SDKs send it.",
    ));
    components.add_security_scheme("x_api_key", SecurityScheme::ApiKey(key));

    let key = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format(anteroom_domain::access::API_KEY_PATTERN)
        .description(Some(
            "An API key. The operations that take one name the scope that it needs.",
        ))
        .build();
    components.add_security_scheme("api_key", SecurityScheme::Http(key));

    for route in crate::routes() {
        let path = documented(route.path);
        let Some(operation) = operation(&mut document, &path, &route.method) else {
            continue;
        };
        if route.who != Who::Anonymous {
            let none: [&str; 0] = [];
            let mut ways = vec![
                SecurityRequirement::new("bearer", none),
                SecurityRequirement::new("cookie", none),
            ];
            ways.extend(route.scope.map(|s| SecurityRequirement::new("api_key", [s.as_str()])));
            if Shape::of(route.path) == Shape::Anthropic {
                ways.push(SecurityRequirement::new("x_api_key", none));
            }
            operation.security = Some(ways);
        }
        operation
            .responses
            .responses
            .insert("default".to_owned(), RefOr::T(error_answer(Shape::of(route.path))));
        // An identifier that belongs to the operation, for generated clients: `post_v1_auth_signup`.
        let words: Vec<&str> = path
            .split(['/', '.', '-', '{', '}'])
            .filter(|w| !w.is_empty())
            .collect();
        let id = format!("{}_{}", route.method.as_str().to_lowercase(), words.join("_"));
        operation.operation_id = Some(id.trim_end_matches('_').to_owned());
    }
    document
}

/// A route's path as the document has it, where a name may stand for more than one segment: `{id:.+}` is `{id}`.
fn documented(path: &str) -> String {
    path.replace(":.+}", "}")
}

fn operation<'a>(
    document: &'a mut OpenApi,
    path: &str,
    method: &Method,
) -> Option<&'a mut utoipa::openapi::path::Operation> {
    let item = document.paths.paths.get_mut(path)?;
    match *method {
        Method::GET => item.get.as_mut(),
        Method::POST => item.post.as_mut(),
        Method::PATCH => item.patch.as_mut(),
        Method::DELETE => item.delete.as_mut(),
        Method::PUT => item.put.as_mut(),
        _ => None,
    }
}

fn error_answer(shape: Shape) -> Response {
    let (kind, schema) = match shape {
        Shape::OpenAi => ("application/json", "OpenAiErrorBody"),
        Shape::Anthropic => ("application/json", "AnthropicErrorBody"),
        Shape::Problem => ("application/problem+json", "Problem"),
    };
    let mut answer = Response::new("An error.");
    answer.content.insert(
        kind.to_owned(),
        RefOr::T(Content::new(Some(Ref::from_schema_name(schema)))),
    );
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_documented_and_nothing_else() {
        let mut document = openapi();
        for route in crate::routes() {
            // The files of the reference itself are no API.
            if route.path == "/docs/{file:[^/]*}" {
                continue;
            }
            assert!(
                operation(&mut document, &documented(route.path), &route.method).is_some(),
                "{} {} is not documented",
                route.method,
                route.path
            );
        }
        let documented: usize = document
            .paths
            .paths
            .values()
            .map(|p| {
                [&p.get, &p.post, &p.patch, &p.delete, &p.put]
                    .iter()
                    .filter(|o| o.is_some())
                    .count()
            })
            .sum();
        assert_eq!(documented, crate::routes().len() - 1);
        assert_eq!(serde_json::to_value(&document).unwrap()["openapi"], "3.1.0");
    }

    #[test]
    fn the_table_says_who_may_call() {
        let who = |method: Method, path: &str| {
            crate::routes()
                .into_iter()
                .find(|r| r.method == method && r.path == path)
                .unwrap()
                .who
        };
        assert_eq!(who(Method::GET, "/v1/admin/users"), Who::Admin);
        assert_eq!(who(Method::POST, "/v1/chat/completions"), Who::SignedIn);
        assert_eq!(who(Method::GET, "/health"), Who::Anonymous);
        for route in crate::routes() {
            let at = format!("{} {}", route.method, route.path);
            assert_eq!(
                route.scope.is_some(),
                route.takes_keys,
                "{at}: a scope is for handlers that take keys"
            );
            assert_eq!(
                route.path.starts_with("/v1/admin"),
                route.who == Who::Admin,
                "{}",
                route.path
            );
            if route.path.starts_with("/v1/me") || route.path.starts_with("/v1/conversations") {
                assert_eq!(route.who, Who::SignedIn, "{}", route.path);
            }
        }
    }
}
