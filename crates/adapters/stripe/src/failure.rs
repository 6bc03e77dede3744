//! Stripe's errors in the port's words: <https://docs.stripe.com/api/errors>.

use reqwest::StatusCode;
use serde_json::Value;

use anteroom_ports::billing::PaymentError;

use crate::json::text;

/// The longest of Stripe's words that are passed on, in bytes.
const MAX_WORDS: usize = 500;

/// What stands in place of a key.
const REDACTED: &str = "[key]";

/// Texts from outside, without the key that they may hold, and not longer than a line of the log should be.
pub(crate) fn words(text: &str, key: &str) -> String {
    let mut text = if key.is_empty() {
        text.to_owned()
    } else {
        text.replace(key, REDACTED)
    };
    if text.len() > MAX_WORDS {
        let mut end = MAX_WORDS;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str(" [cut]");
    }
    text
}

/// A status that is no success, with its body. `what` is the thing that was asked for.
pub(crate) fn refusal(status: StatusCode, body: &[u8], what: &'static str, key: &str) -> PaymentError {
    let body: Option<Value> = serde_json::from_slice(body).ok();
    let Some(error) = body
        .as_ref()
        .and_then(|body| body.get("error"))
        .filter(|e| e.is_object())
    else {
        return PaymentError::Unavailable(format!(
            "it answered with status {} and no error of Stripe's",
            status.as_u16()
        ));
    };
    let said = text(error, "/message").unwrap_or("no reason given");
    let message = words(said, key);
    let kind = text(error, "/type").unwrap_or_default();
    let code = text(error, "/code").map(|code| words(code, key));
    match status.as_u16() {
        // Before what the status says: a card's failure is one whatever the status.
        _ if kind == "card_error" => declined(code, message),
        402 => declined(code, message),
        401 | 403 => PaymentError::Key(message),
        400 | 404 if code.as_deref() == Some("resource_missing") => {
            PaymentError::NotFound(missing(text(error, "/param"), what))
        }
        // An idempotency key's error has a type and no code.
        400 | 404 => PaymentError::Refused {
            code: code.or_else(|| (kind == "idempotency_error").then(|| kind.to_owned())),
            message,
        },
        status => PaymentError::Unavailable(format!("it answered with status {status}: {message}")),
    }
}

fn declined(code: Option<String>, message: String) -> PaymentError {
    let code = code.unwrap_or_else(|| "card_declined".to_owned());
    PaymentError::Declined { code, message }
}

/// What is missing: what a parameter names, else what was asked for.
fn missing(param: Option<&str>, what: &'static str) -> &'static str {
    match param.unwrap_or_default() {
        "customer" => "customer",
        "starting_after" | "subscription" | "from_subscription" => "subscription",
        param if param.ends_with("[coupon]") => "coupon",
        param if param.ends_with("[price]") => "price",
        _ => what,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(status: u16, error: &Value) -> PaymentError {
        let body = json!({ "error": error }).to_string();
        let status = StatusCode::from_u16(status).unwrap();
        refusal(status, body.as_bytes(), "subscription", "sk_test_canary")
    }

    #[test]
    fn errors_are_told_apart_as_the_port_does() {
        let declined = json!({"type": "card_error", "code": "card_declined", "message": "Your card was declined."});
        let expected = PaymentError::Declined {
            code: "card_declined".into(),
            message: "Your card was declined.".into(),
        };
        assert_eq!(read(402, &declined), expected);
        assert_eq!(read(400, &declined), expected);
        assert!(matches!(
            read(402, &json!({"message": "x"})),
            PaymentError::Declined { .. }
        ));

        let missing =
            |param: &str| json!({"type": "invalid_request_error", "code": "resource_missing", "param": param});
        assert_eq!(read(404, &missing("id")), PaymentError::NotFound("subscription"));
        assert_eq!(read(400, &missing("customer")), PaymentError::NotFound("customer"));
        assert_eq!(
            read(400, &missing("discounts[0][coupon]")),
            PaymentError::NotFound("coupon")
        );

        let denied = json!({"type": "invalid_request_error", "message": "lacks `rak_subscription_write`"});
        assert_eq!(
            read(403, &denied),
            PaymentError::Key("lacks `rak_subscription_write`".into())
        );
        assert!(matches!(read(401, &denied), PaymentError::Key(_)));
        assert!(matches!(read(404, &denied), PaymentError::Refused { code: None, .. }));
        let key = json!({"type": "idempotency_error", "message": "other parameters"});
        let PaymentError::Refused { code, .. } = read(400, &key) else {
            panic!("{key}")
        };
        assert_eq!(code.as_deref(), Some("idempotency_error"));
        for status in [409, 429, 500, 503, 302] {
            assert!(matches!(read(status, &key), PaymentError::Unavailable(_)), "{status}");
        }
    }

    #[test]
    fn what_is_not_stripes_is_away() {
        for body in ["", "<html>", "{}", "[]", r#"{"error":"words"}"#, r#"{"error":null}"#] {
            let failure = refusal(StatusCode::FORBIDDEN, body.as_bytes(), "price", "k");
            let PaymentError::Unavailable(said) = failure else {
                panic!("{body}: {failure:?}")
            };
            assert!(said.contains("403"), "{said}");
        }
    }

    #[test]
    fn words_are_short_and_hold_no_key() {
        let said = read(
            400,
            &json!({"message": format!("bad sk_test_canary {}", "ä".repeat(1000))}),
        );
        let said = said.to_string();
        assert!(
            !said.contains("canary") && said.contains("bad [key]") && said.ends_with("[cut]"),
            "{said}"
        );
        assert!(said.len() < 600);
    }
}
