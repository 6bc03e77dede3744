//! `/docs`, `/openapi.json` and `/`

use anteroom_tests::{Setup, on_every_store};

on_every_store![
    the_reference_needs_nothing_from_elsewhere,
    the_document_is_the_committed_one,
    the_bare_address_leads_there
];

async fn the_reference_needs_nothing_from_elsewhere(setup: &Setup) {
    let app = setup.app().await;
    let page = app.get("/docs").expect(200).await;
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    let csp = page.header("content-security-policy").unwrap();
    assert!(
        csp.starts_with("default-src 'self';") && !csp.contains("http") && !csp.contains("unsafe-eval"),
        "{csp}"
    );
    assert_eq!(app.get("/docs/").expect(200).await.text(), page.text());
    let html = page.text();
    assert!(!html.contains("//cdn") && !html.contains("https://"), "{html}");
    // Everything that the page names is there.
    let mut assets = Vec::new();
    for attribute in ["src=\"", "href=\""] {
        assets.extend(
            html.split(attribute)
                .skip(1)
                .map(|rest| rest.split('"').next().unwrap().to_owned()),
        );
    }
    assert!(assets.len() >= 4, "{html}");
    for asset in assets {
        assert!(asset.starts_with("/docs/"), "{asset}");
        let file = app.get(&asset).expect(200).await;
        let kind = file.header("content-type").unwrap();
        let expected = match asset.rsplit('.').next().unwrap() {
            "js" => "javascript",
            "css" => "text/css",
            "png" => "image/png",
            other => panic!("{asset}: {other}"),
        };
        assert!(kind.contains(expected), "{asset}: {kind}");
        assert!(!file.body.is_empty());
    }
    let initializer = app.get("/docs/swagger-initializer.js").expect(200).await.text();
    assert!(initializer.contains("/openapi.json"), "{initializer}");
    for path in ["/docs/none.js", "/docs/%2e%2e%2fCargo.toml", "/docs/a/b"] {
        let answer = app.get(path).await;
        assert_eq!(answer.status, 404, "{answer:?}");
    }
}

async fn the_document_is_the_committed_one(setup: &Setup) {
    let app = setup.app().await;
    let served = app.get("/openapi.json").expect(200).await.json();
    assert_eq!(served["openapi"], "3.1.0");
    assert_eq!(served["info"]["version"], env!("CARGO_PKG_VERSION"));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    let committed: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(
        served == committed,
        "docs/openapi.json is not current: `anteroom openapi > docs/openapi.json`"
    );
}

async fn the_bare_address_leads_there(setup: &Setup) {
    let app = setup.app().await;
    let answer = app.get("/").expect(302).await;
    assert_eq!(answer.header("location").as_deref(), Some("/docs"));
}
