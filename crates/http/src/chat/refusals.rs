//! What a call to a model is refused with, for the document: the same on every surface, in the envelope of each.

use crate::problem::{AnthropicErrorBody, OpenAiErrorBody};

macro_rules! refusals {
    ($(#[$doc:meta])* $name:ident, $body:ident) => {
        $(#[$doc])*
        #[derive(utoipa::IntoResponses)]
        pub enum $name {
            /// `invalid_request`, `too_many_messages`, or `unsupported_parameter`: it cannot be passed on, and going without would change what is asked for
            #[response(status = 400)]
            Invalid($body),
            /// `quota_exceeded` or `subscription_inactive`
            #[response(status = 402)]
            Unpaid($body),
            /// `model_not_in_plan`, `feature_not_in_plan`, `model_not_in_key` or `parameter_not_in_plan`
            #[response(status = 403)]
            Forbidden($body),
            /// `rate_limited`, `spend_share_reached` or `upstream_rate_limited`
            #[response(status = 429)]
            Limited($body),
            /// `upstream_error`, `upstream_auth_failed` or `upstream_unreachable`
            #[response(status = 502)]
            Failed($body),
        }
    };
}

refusals! {
    /// Where OpenAI's SDKs read it.
    OpenAiRefusals, OpenAiErrorBody
}

refusals! {
    /// Where Anthropic's SDKs read it.
    AnthropicRefusals, AnthropicErrorBody
}
