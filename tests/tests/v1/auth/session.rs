//! `GET /v1/auth/session`

use anteroom_tests::{Setup, on_every_store};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

on_every_store![tells_who_is_signed_in_and_what_they_hold, is_closed_to_everything_else];

async fn tells_who_is_signed_in_and_what_they_hold(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let body = app.get("/v1/auth/session").by(&user).expect(200).await.json();
    assert_eq!(
        (&body["user"]["id"], &body["session"]["id"]),
        (&json!(user.id), &json!(user.session_id))
    );
    assert_eq!(body["session"]["current"], true);
    let none = json!({ "plan": "free", "plan_version": 1, "status": "none", "active": false, "reason": "no_subscription", "until": null });
    assert_eq!(body["subscription"], none);
    app.buy(&user, "pro").await;
    let held = app.get("/v1/auth/session").by(&user).expect(200).await.json();
    assert_eq!(
        (&held["subscription"]["plan"], &held["subscription"]["active"]),
        (&json!("pro"), &json!(true))
    );
    let browser = app.browser().await;
    let body = app
        .get("/v1/auth/session")
        .header("cookie", &browser.cookie)
        .expect(200)
        .await
        .json();
    assert_eq!(body["user"]["id"], browser.id);
}

/// A token with another header or other claims, under the same signature.
fn altered(token: &str, part: usize, change: impl Fn(&mut Value)) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let mut json: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(&parts[part]).unwrap()).unwrap();
    change(&mut json);
    parts[part] = URL_SAFE_NO_PAD.encode(json.to_string());
    parts.join(".")
}

async fn is_closed_to_everything_else(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let browser = app.browser().await;
    let token = &user.access_token;
    app.get("/v1/auth/session").expect(401).code("unauthenticated").await;

    let unsigned = altered(token, 0, |header| header["alg"] = "none".into());
    let no_signature = format!("{}.", unsigned.rsplit_once('.').unwrap().0);
    let mut bearers = vec![
        unsigned,
        no_signature,
        altered(token, 0, |header| header["alg"] = "HS256".into()),
        altered(token, 0, |header| header["kid"] = "../../x".into()),
        altered(token, 1, |claims| claims["sub"] = json!(browser.id)),
        altered(token, 1, |claims| claims["exp"] = json!("99999999999")),
        altered(token, 1, |claims| claims["exp"] = json!(99_999_999_999_i64)),
        user.refresh_token.clone(),
        browser.cookie.split_once('=').unwrap().1.to_owned(),
        "x".repeat(5000),
        "null".to_owned(),
    ];
    // Cut anywhere, or with one letter changed, it is none.
    for at in (0..token.len()).step_by(37) {
        bearers.push(token[..at].to_owned());
        bearers.push(token[at + 1..].to_owned());
        let other = if &token[at..=at] == "A" { "B" } else { "A" };
        bearers.push(format!("{}{other}{}", &token[..at], &token[at + 1..]));
    }
    for bearer in bearers {
        let answer = app.get("/v1/auth/session").bearer(&bearer).await;
        assert_eq!(answer.told(), (401, "unauthenticated".to_owned()), "{bearer}");
        assert_eq!(answer.header("www-authenticate").as_deref(), Some("Bearer"));
    }

    let cookie = &browser.cookie;
    let value = cookie.split_once('=').unwrap().1;
    for cookies in [
        format!("{cookie}; {cookie}"),
        format!("{cookie}; anteroom=x"),
        format!("anteroom=\"{value}\""),
        format!("Anteroom={value}"),
        format!(
            "anteroom={}",
            value.to_uppercase().replace(|c: char| c.is_ascii_digit(), "A")
        ),
        format!("anteroom={}", &value[1..]),
        "anteroom=".to_owned(),
        "anteroom".to_owned(),
        ";;;=;".to_owned(),
    ] {
        let answer = app.get("/v1/auth/session").header("cookie", &cookies).await;
        assert_eq!(answer.told(), (401, "unauthenticated".to_owned()), "{cookies}");
    }
    // An Authorization header counts alone, even beside a good cookie.
    for authorization in ["Basic YTpi", "Bearer", "Bearer ", "bearer x", "Token abc"] {
        let ask = app.get("/v1/auth/session").header("cookie", cookie);
        let answer = ask.header("authorization", authorization).await;
        assert_eq!(answer.told(), (401, "unauthenticated".to_owned()), "{authorization}");
    }
    let twice = app.get("/v1/auth/session").bearer(token).bearer(token).await;
    twice.refused(401, "unauthenticated");
    app.get("/v1/auth/session")
        .header("authorization", &format!("bearer {token}"))
        .await
        .is(200);
}
