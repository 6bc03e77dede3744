//! Access tokens: what is none, and the keys that they are signed with.

use anteroom_domain::sessions::{KeyState, SigningAlgorithm, SigningKey};
use anteroom_services::sessions::{AuthenticateError, Credential, RotateKeys};
use anteroom_tests::app::TestApp;
use anteroom_tests::{Setup, User, eventually_asking, on_every_store};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
};
use aws_lc_rs::{hmac, signature::KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

on_every_store![
    c47_no_part_of_a_token_and_no_flipped_bit_is_one,
    e58_claims_of_another_type_are_refused,
    e59_no_header_chooses_an_algorithm_or_a_key,
    e59_an_es256_signature_has_one_form,
    keys_lie_sealed_in_the_store,
    a_new_key_is_published_before_it_signs,
    a_key_that_signs_at_once_is_known_on_every_node,
    a_revoked_keys_tokens_are_refused_on_every_node_within_seconds,
    the_public_keys_are_cached_and_asked_for_by_tag,
];

const ES256: [(&str, &str); 1] = [("sessions.signing_algorithm", "es256")];

/// What its thief could do with a deployment's signing key: sign anything.
struct Forger {
    app: TestApp,
    user: User,
    key: SigningKey,
    pair: Pair,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256 { fixed: EcdsaKeyPair, der: EcdsaKeyPair },
}

struct Bytes32;

impl KeyType for Bytes32 {
    fn len(&self) -> usize {
        32
    }
}

/// Opens the record with the deployment's secret and what is written down of the format (ADR 0011), nothing else.
fn private_key(setup: &Setup, key: &SigningKey) -> Vec<u8> {
    let secret = std::fs::read_to_string(setup.data().join("secret.key")).unwrap();
    let root = Salt::new(HKDF_SHA256, b"anteroom/deployment-secret/1").extract(secret.trim().as_bytes());
    let mut wrap = [0; 32];
    let label = [&b"signing-key-wrap/1"[..]];
    root.expand(&label, Bytes32).unwrap().fill(&mut wrap).unwrap();
    let wrap = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &wrap).unwrap());
    let (nonce, sealed) = key.sealed.split_at(12);
    let mut text = sealed.to_vec();
    let bound = Aad::from(format!("anteroom/signing-key/1 {} {}", key.algorithm.as_str(), key.kid));
    let nonce = Nonce::try_assume_unique_for_key(nonce).unwrap();
    wrap.open_in_place(nonce, bound, &mut text).unwrap().to_vec()
}

impl Forger {
    async fn new(setup: &Setup, app: TestApp) -> Self {
        let user = app.user().await;
        let keys = app.services().sessions.list_signing_keys().await.unwrap();
        let (key, _) = keys.into_iter().find(|(_, state)| *state == KeyState::Signing).unwrap();
        let document = private_key(setup, &key);
        let pair = match key.algorithm {
            SigningAlgorithm::EdDsa => Pair::Ed25519(Ed25519KeyPair::from_pkcs8(&document).unwrap()),
            SigningAlgorithm::Es256 => Pair::P256 {
                fixed: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &document).unwrap(),
                der: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &document).unwrap(),
            },
        };
        Self { app, user, key, pair }
    }

    fn header(&self) -> Value {
        json!({ "alg": self.key.algorithm.as_str(), "kid": self.key.kid, "typ": "at+jwt" })
    }

    fn claims(&self) -> Value {
        let claims = self.user.access_token.split('.').nth(1).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
    }

    fn public_key(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
            Pair::P256 { fixed, .. } => fixed.public_key().as_ref().to_vec(),
        }
    }

    fn message(header: &str, claims: &str) -> String {
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
    }

    /// Signs anything.
    fn sign(&self, header: &str, claims: &str) -> String {
        let message = Self::message(header, claims);
        let signature = match &self.pair {
            Pair::Ed25519(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
            Pair::P256 { fixed, .. } => {
                let signature = fixed.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
                signature.as_ref().to_vec()
            }
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    async fn accepted(&self, token: &str) {
        let answer = self.app.get("/v1/auth/session").bearer(token).await;
        assert_eq!(answer.is(200).json()["user"]["id"], json!(self.user.id));
    }

    async fn refused(&self, token: &str, why: &str) {
        let answer = self.app.get("/v1/auth/session").bearer(token).await;
        assert_eq!(answer.told(), (401, "unauthenticated".to_owned()), "{why}");
    }
}

/// Every proper prefix and suffix, and every flipped bit, that is still text.
pub(super) fn damaged(token: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for cut in 0..token.len() {
        all.extend([token[..cut].to_owned(), token[cut + 1..].to_owned()]);
    }
    for bit in 0..token.len() * 8 {
        let mut bytes = token.as_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        all.extend(String::from_utf8(bytes));
    }
    assert!(all.len() >= token.len() * 9);
    all
}

async fn c47_no_part_of_a_token_and_no_flipped_bit_is_one(setup: &Setup) {
    for set in [&[][..], &ES256] {
        // A store of its own for each algorithm would be more than this needs: the second server rotates.
        let app = setup.app_with(set).await;
        let sessions = &app.services().sessions;
        let now = RotateKeys {
            algorithm: None,
            at_once: true,
        };
        sessions.rotate_signing_key(now).await.unwrap();
        let (user, browser) = (app.user().await, app.browser().await);
        let cookie = browser.cookie.split_once('=').unwrap().1.to_owned();
        for token in damaged(&user.access_token) {
            let found = sessions.authenticate(Credential::Bearer(&token)).await;
            assert!(matches!(found, Err(AuthenticateError::Unauthenticated)), "{token}");
        }
        for token in damaged(&cookie) {
            let found = sessions.authenticate(Credential::Cookie(&token)).await;
            assert!(matches!(found, Err(AuthenticateError::Unauthenticated)), "{token}");
        }
        for token in damaged(&user.refresh_token) {
            let ask = app.post("/v1/auth/refresh").json(&json!({ "refresh_token": token }));
            assert!(matches!(ask.await.status, 400 | 401 | 422), "{token}");
        }
        for credential in [Credential::Bearer(&user.access_token), Credential::Cookie(&cookie)] {
            assert!(
                sessions.authenticate(credential).await.is_ok(),
                "the whole ones are good"
            );
        }
        let whole = app
            .post("/v1/auth/refresh")
            .json(&json!({ "refresh_token": user.refresh_token }));
        whole.await.is(200);
    }
}

async fn e58_claims_of_another_type_are_refused(setup: &Setup) {
    let forger = Forger::new(setup, setup.app().await).await;
    let (header, good) = (forger.header().to_string(), forger.claims());
    forger.accepted(&forger.sign(&header, &good.to_string())).await;
    let (iat, exp) = (good["iat"].as_i64().unwrap(), good["exp"].as_i64().unwrap());
    let mut cases = Vec::new();
    for (claim, value) in [("exp", exp), ("iat", iat), ("nbf", iat)] {
        let text = json!(value.to_string());
        for wrong in [text, json!([value]), json!({ "n": value }), json!(true), json!(1.5)] {
            cases.push((claim, wrong));
        }
    }
    cases.extend([
        ("exp", json!(iat)),
        ("exp", json!(-1)),
        ("exp", json!(u64::MAX)),
        ("exp", json!(null)),
        ("iat", json!(null)),
        ("iat", json!(exp)),
        ("nbf", json!(exp)),
        ("iss", json!("https://another.example")),
        ("iss", json!(format!("{}/", good["iss"].as_str().unwrap()))),
        ("iss", json!([good["iss"]])),
        ("iss", json!(null)),
        ("aud", json!("https://another.example")),
        ("aud", json!([good["aud"], "https://another.example"])),
        ("aud", json!(null)),
        ("sub", json!(7)),
        ("sub", json!("' OR 1=1 --")),
        ("sub", json!(null)),
        ("sid", json!(true)),
        ("sid", json!("../../etc/passwd")),
        ("sid", json!(forger.user.id)),
        ("sid", json!(null)),
    ]);
    for (claim, value) in cases {
        let mut claims = good.clone();
        claims[claim] = value.clone();
        let token = forger.sign(&header, &claims.to_string());
        forger.refused(&token, &format!("{claim}: {value}")).await;
    }
    for claim in ["exp", "iat", "iss", "aud", "sub", "sid"] {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(claim);
        let token = forger.sign(&header, &claims.to_string());
        forger.refused(&token, &format!("no {claim}")).await;
    }
    // Twice, either of them good.
    for (claim, other) in [
        ("exp", json!(exp + 9000)),
        ("sub", json!(forger.user.id)),
        ("sid", good["sid"].clone()),
    ] {
        let member = format!("\"{claim}\":{other}");
        for claims in [
            good.to_string().replacen('{', &format!("{{{member},"), 1),
            good.to_string().replacen('}', &format!(",{member}}}"), 1),
        ] {
            forger
                .refused(&forger.sign(&header, &claims), &format!("{claim} twice"))
                .await;
        }
    }
    for nothing in ["", "null", "[]", "7", "{}", "{"] {
        forger.refused(&forger.sign(&header, nothing), nothing).await;
    }
}

async fn e59_no_header_chooses_an_algorithm_or_a_key(setup: &Setup) {
    let forger = Forger::new(setup, setup.app().await).await;
    let (good, claims) = (forger.header(), forger.claims().to_string());
    forger.accepted(&forger.sign(&good.to_string(), &claims)).await;
    let attacker = Ed25519KeyPair::generate().unwrap();
    let theirs = URL_SAFE_NO_PAD.encode(attacker.public_key());
    let cases = [
        ("alg", json!("none")),
        ("alg", json!("NONE")),
        ("alg", json!("HS256")),
        ("alg", json!("RS256")),
        ("alg", json!("ES256")),
        ("alg", json!("")),
        ("alg", json!(null)),
        ("kid", json!("")),
        ("kid", json!("../../../../dev/null")),
        ("kid", json!("x' UNION SELECT 'key' --")),
        ("kid", json!("A".repeat(43))),
        ("kid", json!("A".repeat(3000))),
        ("kid", json!([forger.key.kid])),
        ("kid", json!(null)),
        ("jwk", json!({ "kty": "OKP", "crv": "Ed25519", "x": theirs })),
        ("jku", json!("https://attacker.example/jwks.json")),
        ("x5u", json!("https://attacker.example/cert.pem")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("typ", json!("JWT")),
        ("typ", json!("id+jwt")),
        ("typ", json!(null)),
    ];
    for (member, value) in cases {
        let mut header = good.clone();
        header[member] = value.clone();
        let header = header.to_string();
        let signed = forger.sign(&header, &claims);
        forger.refused(&signed, &format!("{member}: {value}")).await;
        let message = signed.rsplit_once('.').unwrap().0.to_owned();
        let foreign = URL_SAFE_NO_PAD.encode(attacker.sign(message.as_bytes()));
        forger
            .refused(&format!("{message}.{foreign}"), &format!("{member}: {value}, foreign"))
            .await;
        forger
            .refused(&format!("{message}."), &format!("{member}: {value}, unsigned"))
            .await;
        forger.refused(&message, &format!("{member}: {value}, cut")).await;
    }
    // What a verifier that trusts `alg` would check with the public key as a secret, or with an empty one.
    let jwk = forger.key.public_jwk.clone().into_bytes();
    for secret in [forger.public_key(), jwk, Vec::new()] {
        let mut header = good.clone();
        header["alg"] = json!("HS256");
        let message = Forger::message(&header.to_string(), &claims);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message.as_bytes());
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag));
        forger.refused(&token, "HMAC").await;
    }
    // Members that come twice, and a header that is right but for its spelling.
    let text = good.to_string();
    for header in [
        text.replacen('{', r#"{"alg":"none","#, 1),
        text.replacen('}', r#","kid":"other"}"#, 1),
        text.replacen("\"alg\"", "\"\\u0061lg\"", 1),
        text.replacen(':', ": ", 1),
        String::new(),
        "[]".to_owned(),
    ] {
        forger.refused(&forger.sign(&header, &claims), &header).await;
    }
    let huge = json!({ "pad": "x".repeat(6000) }).to_string();
    forger.refused(&forger.sign(&text, &huge), "huge").await;
    // Another algorithm's key of this deployment signs nothing in this one's name.
    let rotate = RotateKeys {
        algorithm: Some(SigningAlgorithm::Es256),
        at_once: true,
    };
    forger.app.services().sessions.rotate_signing_key(rotate).await.unwrap();
    let other = Forger::new(setup, forger.app.clone()).await;
    assert_eq!(other.key.algorithm, SigningAlgorithm::Es256);
    other
        .accepted(&other.sign(&other.header().to_string(), &other.claims().to_string()))
        .await;
    other
        .refused(&other.sign(&text, &other.claims().to_string()), "the other's header")
        .await;
    let mut mixed = other.header();
    mixed["alg"] = json!("EdDSA");
    other
        .refused(
            &other.sign(&mixed.to_string(), &other.claims().to_string()),
            "the other's alg",
        )
        .await;
}

async fn e59_an_es256_signature_has_one_form(setup: &Setup) {
    let forger = Forger::new(setup, setup.app_with(&ES256).await).await;
    assert_eq!(forger.key.algorithm, SigningAlgorithm::Es256);
    let (header, claims) = (forger.header().to_string(), forger.claims().to_string());
    let good = forger.sign(&header, &claims);
    forger.accepted(&good).await;
    let (message, signature) = good.rsplit_once('.').unwrap();
    let fixed = URL_SAFE_NO_PAD.decode(signature).unwrap();
    assert_eq!(fixed.len(), 64);
    let Pair::P256 { der, .. } = &forger.pair else {
        panic!("an ES256 key");
    };
    let asn1 = der.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
    let swapped = [&fixed[32..], &fixed[..32]].concat();
    for (what, bytes) in [
        ("DER", asn1.as_ref()),
        ("zeros (CVE-2022-21449)", &[0; 64]),
        ("none", &[]),
        ("s and r", &swapped),
        ("half", &fixed[..32]),
    ] {
        forger
            .refused(&format!("{message}.{}", URL_SAFE_NO_PAD.encode(bytes)), what)
            .await;
    }
    for (member, value) in [("alg", "EdDSA"), ("alg", "ES384"), ("alg", "ES256K"), ("alg", "none")] {
        let mut header = forger.header();
        header[member] = json!(value);
        forger.refused(&forger.sign(&header.to_string(), &claims), value).await;
    }
}

async fn keys_lie_sealed_in_the_store(setup: &Setup) {
    let forger = Forger::new(setup, setup.app().await).await;
    // That it opens at all is what the forger shows; nothing of it lies open beside it.
    let private = private_key(setup, &forger.key);
    let open = |part: &[u8]| forger.key.sealed.windows(part.len()).any(|window| window == part);
    assert!(!private.windows(8).any(open));
    let jwk: Value = serde_json::from_str(&forger.key.public_jwk).unwrap();
    assert_eq!((jwk.get("d"), &jwk["kid"]), (None, &json!(forger.key.kid)));
    assert!(anteroom_tests::logs::about("session.key.created", &forger.key.kid).len() == 1);
    assert!(!anteroom_tests::logs::mention(&URL_SAFE_NO_PAD.encode(&private)));
}

async fn kids(app: &TestApp) -> Vec<String> {
    let set = app.get("/.well-known/jwks.json").await.is(200).json();
    let keys = set["keys"].as_array().unwrap();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn kid(user: &User) -> String {
    let header = user.access_token.split('.').next().unwrap();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

async fn a_new_key_is_published_before_it_signs(setup: &Setup) {
    let [here, there] = setup.nodes().await;
    let before = here.user().await;
    assert_eq!(kids(&here).await, [kid(&before)]);
    let key = here
        .services()
        .sessions
        .rotate_signing_key(RotateKeys::default())
        .await
        .unwrap();
    let both = [kid(&before), key.kid.clone()];
    assert_eq!(kids(&here).await, both);
    eventually_asking("the other node publishes it", async || {
        (kids(&there).await == both).then_some(())
    })
    .await;
    let after = there.log_in(&before.email).await;
    assert_eq!(kid(&after), kid(&before), "not before its time");
    assert!(
        key.active_from.duration_since(key.created_at).as_secs() > 300,
        "longer than anybody keeps the old set"
    );
}

async fn a_key_that_signs_at_once_is_known_on_every_node(setup: &Setup) {
    let [here, there] = setup.nodes().await;
    let before = here.user().await;
    let now = RotateKeys {
        algorithm: Some(SigningAlgorithm::Es256),
        at_once: true,
    };
    let key = here.services().sessions.rotate_signing_key(now).await.unwrap();
    let after = here.log_in(&before.email).await;
    assert_eq!(kid(&after), key.kid);
    // At once: the other node looks for a key that it does not know.
    there.get("/v1/me").by(&after).await.is(200);
    for app in [&here, &there] {
        app.get("/v1/me").by(&before).await.is(200);
    }
    eventually_asking("the other node signs with it", async || {
        (kid(&there.log_in(&before.email).await) == key.kid).then_some(())
    })
    .await;
}

async fn a_revoked_keys_tokens_are_refused_on_every_node_within_seconds(setup: &Setup) {
    let [here, there] = setup.nodes().await;
    let user = here.user().await;
    there.get("/v1/me").by(&user).await.is(200);
    let begun = std::time::Instant::now();
    let new = here.services().sessions.revoke_signing_key(&kid(&user)).await.unwrap();
    let new = new.expect("it was the only one");
    here.get("/v1/me").by(&user).await.refused(401, "unauthenticated");
    eventually_asking("the other node refuses it", async || {
        (there.get("/v1/me").by(&user).await.status == 401).then_some(())
    })
    .await;
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    assert_eq!(kids(&here).await, std::slice::from_ref(&new.kid));
    // The session goes on with a new token.
    let ask = there
        .post("/v1/auth/refresh")
        .json(&json!({ "refresh_token": user.refresh_token }));
    let fresh = User::of(&ask.await.is(200).json());
    assert_eq!((kid(&fresh), &fresh.session_id), (new.kid, &user.session_id));
    for app in [&here, &there] {
        app.get("/v1/me").by(&fresh).await.is(200);
    }
}

async fn the_public_keys_are_cached_and_asked_for_by_tag(setup: &Setup) {
    let app = setup.app().await;
    let get = || app.get("/.well-known/jwks.json");
    let first = get().await.is(200);
    let tag = first.header("etag").unwrap();
    assert_eq!(first.header("cache-control").as_deref(), Some("public, max-age=300"));
    assert!(first.header("content-type").unwrap().starts_with("application/json"));
    for known in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
        let answer = get().header("if-none-match", &known).await.is(304);
        assert_eq!(answer.header("etag"), Some(tag.clone()), "{known}");
        assert_eq!(answer.header("cache-control").as_deref(), Some("public, max-age=300"));
    }
    for other in ["\"x\"", "nonsense", ""] {
        get().header("if-none-match", other).await.is(200);
    }
    app.services()
        .sessions
        .rotate_signing_key(RotateKeys::default())
        .await
        .unwrap();
    let changed = get().header("if-none-match", &tag).await.is(200);
    assert_ne!(changed.header("etag"), Some(tag));
}
