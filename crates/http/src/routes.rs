//! The route table.

use actix_web::http::Method;
use anteroom_domain::access::Scope;
use anteroom_services::protection::Act;

use crate::route::{Route, route};
use crate::{access, accounts, audit, billing, chat, migrations, ops, protection, sessions};

/// Every route of the API. Who may call it is said by its handler; behind that stand a limit of its own and, in
/// brackets, what an API key must be good for: where there is no such scope, keys are refused.
#[expect(clippy::too_many_lines, reason = "a row for each route")]
pub fn routes() -> Vec<Route> {
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    let (patch, delete) = (Method::PATCH, Method::DELETE);
    let r = |method: &Method, path| (method.clone(), path);
    macro_rules! table {
        ($($method:ident $path:literal => $handler:path $(, $act:ident)? $(, [$scope:ident])?;)+) => {
            vec![$({
                let (method, path) = r(&$method, $path);
                route(method, path, $handler)$(.limit(Act::$act))?$(.scope(Scope::$scope))?
            }),+]
        };
    }
    table! {
        post   "/v1/auth/signup"                 => accounts::sign_up::handle, SignUp;
        post   "/v1/auth/login"                  => accounts::log_in::handle, LogIn;
        post   "/v1/auth/email/verify"           => accounts::verify_email::handle, Recover;
        post   "/v1/auth/email/resend"           => accounts::resend_verification::handle, Recover;
        post   "/v1/auth/email/undo"             => accounts::undo_email_change::handle, Recover;
        post   "/v1/auth/password/forgot"        => accounts::forgot_password::handle, Recover;
        post   "/v1/auth/password/reset"         => accounts::reset_password::handle, Recover;
        post   "/v1/auth/reauthenticate"         => accounts::reauthenticate::handle, Sensitive;
        post   "/v1/auth/refresh"                => sessions::refresh::handle;
        post   "/v1/auth/logout"                 => sessions::log_out::handle;
        get    "/v1/auth/session"                => sessions::get_session::handle;
        post   "/v1/auth/sessions/revoke"        => sessions::revoke_session_by_link::handle, Recover;
        get    "/v1/me"                          => accounts::get_me::handle, [AccountRead];
        patch  "/v1/me"                          => accounts::change_me::handle;
        delete "/v1/me"                          => accounts::delete_me::handle;
        post   "/v1/me/password"                 => accounts::change_password::handle, Sensitive;
        post   "/v1/me/email"                    => accounts::change_email::handle, Sensitive;
        get    "/v1/me/activity"                 => audit::list_activity::handle;
        get    "/v1/me/sessions"                 => sessions::list_sessions::handle;
        delete "/v1/me/sessions"                 => sessions::revoke_other_sessions::handle;
        delete "/v1/me/sessions/{id}"            => sessions::revoke_session::handle;
        post   "/v1/me/api-keys"                 => access::create_api_key::handle, Sensitive;
        get    "/v1/me/api-keys"                 => access::list_api_keys::handle;
        get    "/v1/me/api-keys/{id}"            => access::get_api_key::handle;
        patch  "/v1/me/api-keys/{id}"            => access::change_api_key::handle, Sensitive;
        delete "/v1/me/api-keys/{id}"            => access::delete_api_key::handle;
        post   "/v1/me/api-keys/{id}/rotate"     => access::rotate_api_key::handle, Sensitive;
        get    "/v1/plans"                       => billing::list_plans::handle;
        get    "/v1/me/subscription"             => billing::get_subscription::handle, [AccountRead];
        get    "/v1/me/entitlements"             => billing::list_entitlements::handle, [AccountRead];
        get    "/v1/me/credits"                  => billing::credits::handle, [AccountRead];
        get    "/v1/me/credits/entries"          => billing::list_credit_entries::handle, [AccountRead];
        get    "/v1/me/usage"                    => billing::list_usage::handle, [UsageRead];
        post   "/v1/entitlements/check"          => billing::check_entitlement::handle, [Entitlements];
        post   "/v1/entitlements/consume"        => billing::consume_entitlement::handle, [Entitlements];
        post   "/v1/entitlements/release"        => billing::release_entitlement::handle, [Entitlements];
        post   "/v1/billing/checkout"            => billing::open_checkout::handle;
        get    "/v1/billing/credits/packs"       => billing::list_packs::handle;
        post   "/v1/billing/credits/checkout"    => billing::buy_credits::handle;
        post   "/v1/billing/webhooks/{provider}" => billing::receive_webhook::handle;
        post   "/v1/billing/portal"              => billing::open_portal::handle;
        post   "/v1/billing/preview"             => billing::preview_change::handle;
        post   "/v1/billing/change"              => billing::change_plan::handle;
        post   "/v1/billing/cancel"              => billing::cancel_subscription::handle;
        post   "/v1/billing/resume"              => billing::resume_subscription::handle;
        get    "/v1/models"                      => chat::list_models::handle, [Models];
        get    "/v1/models/{id:.+}"              => chat::get_model::handle, [Models];
        get    "/v1/assistants"                  => chat::list_assistants::handle, [Models];
        post   "/v1/embeddings"                  => chat::create_embeddings::handle, [Embeddings];
        post   "/v1/chat/completions"            => chat::complete::handle, [Chat];
        post   "/v1/completions"                 => chat::complete_text::handle, [Chat];
        post   "/v1/responses"                   => chat::create_response::handle, [Chat];
        post   "/v1/messages"                    => chat::create_message::handle, [Chat];
        post   "/v1/messages/count_tokens"       => chat::count_tokens::handle, [Chat];
        post   "/v1/conversations"               => chat::create_conversation::handle, [Conversations];
        get    "/v1/conversations"               => chat::list_conversations::handle, [Conversations];
        get    "/v1/conversations/{id}"          => chat::get_conversation::handle, [Conversations];
        patch  "/v1/conversations/{id}"          => chat::change_conversation::handle, [Conversations];
        delete "/v1/conversations/{id}"          => chat::delete_conversation::handle, [Conversations];
        get    "/v1/conversations/{id}/messages" => chat::list_messages::handle, [Conversations];
        post   "/v1/conversations/{id}/messages" => chat::send_message::handle, [Conversations];
        post   "/v1/conversations/{id}/stop"     => chat::stop_answer::handle, [Conversations];
        get    "/v1/conversations/{id}/export"   => chat::export_conversation::handle, [Conversations];
        post   "/v1/conversations/{id}/messages/{message}/regenerate" => chat::regenerate_answer::handle, [Conversations];
        post   "/v1/conversations/{id}/messages/{message}/edit" => chat::edit_message::handle, [Conversations];
        get    "/v1/conversations/{id}/messages/{message}/stream" => chat::follow_answer::handle, [Conversations];
        get    "/v1/admin/users"                 => accounts::list_users::handle;
        get    "/v1/admin/users/{id}"            => accounts::show_user::handle;
        patch  "/v1/admin/users/{id}"            => accounts::change_user::handle;
        post   "/v1/admin/users/{id}/sessions/revoke" => sessions::end_sessions_of_user::handle;
        post   "/v1/admin/users/{id}/password/reset-mail" => accounts::send_reset_mail::handle;
        get    "/v1/admin/users/{id}/api-keys"   => access::list_api_keys_of_user::handle;
        delete "/v1/admin/users/{id}/api-keys/{key}" => access::delete_api_key_of_user::handle;
        post   "/v1/admin/users/{id}/unlock"     => protection::unlock_user::handle;
        post   "/v1/admin/users/{id}/overrides"  => billing::grant_override::handle;
        get    "/v1/admin/users/{id}/overrides"  => billing::list_overrides::handle;
        delete "/v1/admin/users/{id}/overrides/{override}" => billing::revoke_override::handle;
        post   "/v1/admin/users/{id}/credits"    => billing::grant_credits::handle;
        get    "/v1/admin/users/{id}/credits"    => billing::show_credits_of_user::handle;
        get    "/v1/admin/users/{id}/credits/entries" => billing::list_credit_entries_of_user::handle;
        delete "/v1/admin/users/{id}/credits/{grant}" => billing::revoke_credits::handle;
        get    "/v1/admin/users/{id}/subscriptions" => billing::list_subscriptions_of_user::handle;
        get    "/v1/admin/subscriptions"         => billing::list_subscriptions::handle;
        get    "/v1/admin/billing/summary"       => billing::summarize_billing::handle;
        get    "/v1/admin/audit"                 => audit::list_audit::handle;
        get    "/v1/admin/migrations"            => migrations::list_migrations::handle;
        get    "/v1/admin/migrations/plan"       => migrations::plan_migrations::handle;
        post   "/v1/admin/migrations/up"         => migrations::apply_migrations::handle;
        post   "/v1/admin/migrations/down"       => migrations::take_back_migrations::handle;
        get    "/v1/admin/migrations/{version}"  => migrations::show_migration::handle;
        get    "/v1/admin/usage"                 => billing::list_usage_of_all::handle;
        get    "/v1/admin/models"                => chat::show_models::handle;
        get    "/v1/admin/models/{name:.+}"      => chat::show_model::handle;
        put    "/v1/admin/models/{name:.+}"      => chat::put_model::handle;
        delete "/v1/admin/models/{name:.+}"      => chat::delete_model::handle;
        get    "/"                               => ops::root::handle;
        get    "/health"                         => ops::health::handle, Unlimited;
        get    "/health/ready"                   => ops::ready::handle, Unlimited;
        get    "/.well-known/jwks.json"          => sessions::jwks::handle;
        get    "/openapi.json"                   => ops::openapi_json::handle;
        get    "/docs"                           => ops::docs::handle;
        get    "/docs/{file:[^/]*}"              => ops::docs::handle;
    }
}
