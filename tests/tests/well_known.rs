//! `/.well-known`

use anteroom_tests::{Setup, User, on_every_store};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

on_every_store![
    the_keys_check_access_tokens,
    the_keys_are_the_same_on_every_node_and_after_a_restart
];

fn decode(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).unwrap()
}

/// Checks a token against a key set with nothing of Anteroom's own: header and claims, if the signature is right.
fn verify(token: &str, keys: &Value) -> Option<(Value, Value)> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let header: Value = serde_json::from_slice(&decode(header)).ok()?;
    let key = keys["keys"]
        .as_array()?
        .iter()
        .find(|key| key["kid"] == header["kid"])?;
    assert_eq!(
        (&key["kty"], &key["crv"], &key["use"]),
        (&json!("OKP"), &json!("Ed25519"), &json!("sig"))
    );
    assert!(key.get("d").is_none(), "the private half is nobody's business");
    let public = UnparsedPublicKey::new(&ED25519, decode(key["x"].as_str()?));
    public.verify(signed.as_bytes(), &decode(signature)).ok()?;
    Some((header, serde_json::from_slice(&decode(claims)).ok()?))
}

async fn the_keys_check_access_tokens(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let answer = app.get("/.well-known/jwks.json").expect(200).await;
    assert_eq!(answer.header("cache-control").as_deref(), Some("public, max-age=300"));
    let (header, claims) = verify(&user.access_token, &answer.json()).expect("the signature is right");
    assert_eq!((&header["alg"], &header["typ"]), (&json!("EdDSA"), &json!("at+jwt")));
    assert_eq!(
        (&claims["sub"], &claims["sid"]),
        (&json!(user.id), &json!(user.session_id))
    );
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(app.url()), &json!(app.url())));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 900);
    let forged = user.access_token.replacen('A', "B", 1);
    assert!(verify(&forged, &answer.json()).is_none_or(|_| forged == user.access_token));
}

async fn the_keys_are_the_same_on_every_node_and_after_a_restart(setup: &Setup) {
    let [here, there] = setup.nodes().await;
    let keys = here.get("/.well-known/jwks.json").await.json();
    assert_eq!(there.get("/.well-known/jwks.json").await.json(), keys);
    let user: User = here.user().await;
    there.get("/v1/me").by(&user).await.is(200);
    here.stop().await;
    there.stop().await;
    let [again, _] = setup.nodes().await;
    assert_eq!(again.get("/.well-known/jwks.json").await.json(), keys);
    again.get("/v1/me").by(&user).await.is(200);
    again.log_in(&user.email).await;
}
