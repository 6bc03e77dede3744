//! `GET /v1/admin/audit`, and the chain over what it shows.

use std::time::{Duration, Instant};

use anteroom_ports::audit::AuditFilter;
use anteroom_services::audit::{Fault, Head, Verdict};
use anteroom_tests::{Kind, PASSWORD, Setup, TestApp, User, eventually_asking, on_every_empty_store};
use futures_util::future::join_all;
use serde_json::{Value, json};

on_every_empty_store![
    shows_admins_what_was_done,
    is_filtered,
    comes_in_pages,
    is_for_admins_and_takes_queries_that_are_some,
    is_chained_within_a_second_whoever_seals,
    every_edit_is_found,
    every_deletion_is_found,
    every_move_is_found,
    a_cut_end_is_found_against_a_noted_head,
    a_chain_made_anew_is_found_against_a_noted_head,
];

async fn page(app: &TestApp, admin: &User, query: &str) -> Vec<Value> {
    let path = format!("/v1/admin/audit?{query}");
    let list = app.get(&path).by(admin).expect(200).await.json();
    list["data"].as_array().unwrap().clone()
}

fn acts(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["act"].as_str().unwrap()).collect()
}

async fn shows_admins_what_was_done(setup: &Setup) {
    let app = setup.app().await;
    let admin = app.admin().await;
    let user = app.user().await;
    let answer = app
        .post("/v1/auth/login")
        .header("user-agent", "tests/1.0")
        .json(&json!({ "email": user.email, "password": "a wrong password" }))
        .expect(401)
        .code("invalid_credentials")
        .events(&["account.login.failed"])
        .audit(&["account.login failed"])
        .await;
    let rows = page(&app, &admin, &format!("user={}", user.id)).await;
    assert_eq!(acts(&rows), ["account.login", "account.signup"]);
    let (failed, signup) = (&rows[0], &rows[1]);
    assert_eq!(
        (&failed["outcome"], &failed["actor"], &failed["subject_id"]),
        (&json!("failed"), &json!({ "kind": "anonymous" }), &json!(user.id))
    );
    assert_eq!(
        (&failed["address"], &failed["user_agent"], &failed["request_id"]),
        (&json!("127.0.0.1"), &json!("tests/1.0"), &json!(answer.request_id()))
    );
    assert_eq!(failed["details"]["reason"], "invalid_credentials");
    assert_eq!(
        (&signup["outcome"], &signup["actor"], &signup["session_id"]),
        (
            &json!("succeeded"),
            &json!({ "kind": "user", "id": user.id }),
            &json!(user.session_id)
        )
    );
    let all = page(&app, &admin, "limit=100").await;
    let text = json!(all).to_string();
    for secret in [
        PASSWORD,
        "a wrong password",
        &user.email,
        &user.access_token,
        &user.refresh_token,
    ] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

async fn is_filtered(setup: &Setup) {
    let app = setup.app().await;
    let admin = app.admin().await;
    let user = app.user().await;
    app.patch(&format!("/v1/admin/users/{}", user.id))
        .by(&admin)
        .json(&json!({ "name": "Ada" }))
        .await
        .is(200);
    app.post("/v1/auth/logout").by(&user).await.is(204);
    let of = |what: &str| format!("{what}={}", user.id);
    assert_eq!(
        acts(&page(&app, &admin, &of("user")).await),
        ["session.logout", "account.profile.change", "account.signup"]
    );
    assert_eq!(
        acts(&page(&app, &admin, &of("actor")).await),
        ["session.logout", "account.signup"]
    );
    assert_eq!(page(&app, &admin, &of("subject")).await.len(), 3);
    let by_admin = format!("actor={}&subject={}", admin.id, user.id);
    assert_eq!(acts(&page(&app, &admin, &by_admin).await), ["account.profile.change"]);
    assert_eq!(acts(&page(&app, &admin, "act=session").await), ["session.logout"]);
    assert_eq!(page(&app, &admin, "act=sess").await.len(), 0);
    assert_eq!(page(&app, &admin, "outcome=failed").await.len(), 0);
    let rows = page(&app, &admin, &of("user")).await;
    let at = rows[1]["at"].as_str().unwrap();
    let from = page(&app, &admin, &format!("{}&from={at}", of("user"))).await;
    assert_eq!(acts(&from), ["session.logout", "account.profile.change"]);
    let until = page(&app, &admin, &format!("{}&until={at}", of("user"))).await;
    assert_eq!(acts(&until), ["account.signup"]);
}

async fn comes_in_pages(setup: &Setup) {
    let app = setup.app().await;
    let admin = app.admin().await;
    for _ in 0..4 {
        app.user().await;
    }
    let whole = page(&app, &admin, "limit=100").await;
    let (mut seen, mut query) = (Vec::new(), "limit=3".to_owned());
    loop {
        let path = format!("/v1/admin/audit?{query}");
        let list = app.get(&path).by(&admin).expect(200).await.json();
        seen.extend(list["data"].as_array().unwrap().clone());
        match list["next_cursor"].as_str() {
            Some(cursor) => query = format!("limit=3&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, whole);
    assert!(seen.len() >= 7, "{seen:?}");
}

async fn is_for_admins_and_takes_queries_that_are_some(setup: &Setup) {
    let app = setup.app().await;
    let admin = app.admin().await;
    let user = app.user().await;
    app.get("/v1/admin/audit").expect(401).code("unauthenticated").await;
    app.get("/v1/admin/audit").by(&user).expect(403).code("forbidden").await;
    for query in [
        "user=x",
        "outcome=perhaps",
        "from=yesterday",
        "limit=0",
        "cursor=x",
        "subjects=1",
    ] {
        let path = format!("/v1/admin/audit?{query}");
        app.get(&path).by(&admin).expect(400).code("invalid_query").await;
    }
}

async fn verdict(app: &TestApp, noted: Option<Head>) -> Verdict {
    app.services().audit.verify(noted, &mut |_| {}).await.unwrap()
}

async fn is_chained_within_a_second_whoever_seals(setup: &Setup) {
    let nodes = setup.nodes().await;
    let mut users = Vec::new();
    for number in 0..8 {
        users.push(nodes[number % 2].user().await);
    }
    // 64 acts at once on two nodes, while as many sealers as that look for work.
    let acts = join_all((0..64).map(|number: usize| {
        let ask = nodes[number % 2].patch("/v1/me").by(&users[number % 8]);
        ask.json(&json!({ "name": format!("Name {number}") })).into_future()
    }));
    let sealers = join_all((0..64).map(|number: usize| {
        let audit = nodes[number % 2].services().audit.clone();
        tokio::spawn(async move { audit.seal().await.unwrap() })
    }));
    let (answers, sealed) = futures_util::future::join(acts, sealers).await;
    let last = Instant::now();
    for answer in answers {
        answer.is(200);
    }
    assert!(sealed.into_iter().all(|sealed| sealed.is_ok()));
    eventually_asking("all rows are sealed", async || {
        (verdict(&nodes[0], None).await.unsealed == 0).then_some(())
    })
    .await;
    let took = last.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    let found = verdict(&nodes[1], None).await;
    assert!(found.intact(), "{found:?}");
    // What brought the schema up has a row among them, and so has the first signing key.
    assert_eq!(found.links, 2 + 8 + 64);
    assert_eq!(found.head.unwrap().seq, found.links);
}

/// Servers that have rested, with thirteen rows, all sealed; and the triggers that refuse changes taken away.
async fn sealed_log(setup: &Setup) -> (TestApp, Head) {
    let app = setup.app().await;
    let user = app.user().await;
    // What brought the schema up has a row of its own; so have the first signing key and the sign-up.
    for number in 0..10 {
        if number % 3 == 0 {
            let ask = json!({ "email": user.email, "password": "a wrong password" });
            app.post("/v1/auth/login").json(&ask).await;
        } else {
            app.patch("/v1/me")
                .by(&user)
                .json(&json!({ "name": "Ada" }))
                .await
                .is(200);
        }
    }
    app.stop().await;
    let found = verdict(&app, None).await;
    assert!(found.intact() && found.links == 13 && found.unsealed == 0, "{found:?}");
    for (table, are) in [("audit_log", "is"), ("audit_seals", "are")] {
        let drop = match setup.kind() {
            Kind::Sqlite => format!("DROP TRIGGER {table}_{are}_not_updated; DROP TRIGGER {table}_{are}_not_deleted;"),
            Kind::Postgres => format!("DROP TRIGGER {table}_{are}_append_only ON {table}"),
        };
        setup.execute(&drop).await;
        setup
            .execute(&format!("CREATE TABLE {table}_kept AS SELECT * FROM {table}"))
            .await;
    }
    (app, found.head.unwrap())
}

async fn restore(setup: &Setup) {
    for table in ["audit_log", "audit_seals"] {
        setup.execute(&format!("DELETE FROM {table}")).await;
        setup
            .execute(&format!("INSERT INTO {table} SELECT * FROM {table}_kept"))
            .await;
    }
}

/// The row that link 4 seals: a login that failed.
const FOURTH: &str = "id = (SELECT audit_id FROM audit_seals WHERE seq = 4)";

async fn every_edit_is_found(setup: &Setup) {
    let (app, head) = sealed_log(setup).await;
    let later = match setup.kind() {
        Kind::Sqlite => "at = at + 1",
        Kind::Postgres => "at = at + interval '1 microsecond'",
    };
    let other = "= (SELECT request_id FROM audit_log WHERE id = (SELECT audit_id FROM audit_seals WHERE seq = 3))";
    let (subject, session, request) = (
        format!("subject_id {other}"),
        format!("session_id {other}"),
        format!("request_id {other}"),
    );
    let actor = format!("actor_kind = 'user', actor_id {other}");
    for edit in [
        later,
        "act = 'account.logins'",
        "outcome = 'succeeded'",
        "outcome = 'perhaps'",
        "actor_kind = 'system'",
        &actor,
        &subject,
        "subject_id = NULL",
        &session,
        &request,
        "request_id = NULL",
        "address = '192.0.2.1'",
        "address = NULL",
        "user_agent = 'another'",
        "details = '{}'",
        "details = replace(details, 'invalid', 'valid')",
        "details = replace(details, ':', ': ')",
        "details = replace(details, '{', '{\"reason\":\"none\",')",
        "details = 'x'",
    ] {
        setup
            .execute(&format!("UPDATE audit_log SET {edit} WHERE {FOURTH}"))
            .await;
        let found = verdict(&app, Some(head)).await;
        assert_eq!(found.faults.len(), 1, "{edit}: {found:?}");
        assert!(
            matches!(
                found.faults[0],
                Fault::Altered { seq: 4, .. } | Fault::Unreadable { seq: 4, .. }
            ),
            "{edit}: {found:?}"
        );
        restore(setup).await;
    }
    // A digest that somebody without the key has made.
    let forged = match setup.kind() {
        Kind::Sqlite => format!("x'{}'", "5a".repeat(32)),
        Kind::Postgres => format!("decode('{}', 'hex')", "5a".repeat(32)),
    };
    let short = forged.replace("5a5a", "5a");
    for digest in [forged, short] {
        setup
            .execute(&format!("UPDATE audit_seals SET digest = {digest} WHERE seq = 4"))
            .await;
        let found = verdict(&app, Some(head)).await;
        assert!(
            matches!(
                found.faults[..],
                [Fault::Altered { seq: 4, .. }, Fault::Altered { seq: 5, .. }]
            ),
            "{found:?}"
        );
        restore(setup).await;
    }
    assert!(verdict(&app, Some(head)).await.intact());
}

async fn every_deletion_is_found(setup: &Setup) {
    let (app, head) = sealed_log(setup).await;
    // The row alone.
    setup.execute(&format!("DELETE FROM audit_log WHERE {FOURTH}")).await;
    let found = verdict(&app, None).await;
    assert!(matches!(found.faults[..], [Fault::RowGone { seq: 4, .. }]), "{found:?}");
    restore(setup).await;
    // Another identifier is a row that is gone, and one that nobody has sealed.
    let other = "id = (SELECT request_id FROM audit_log WHERE request_id IS NOT NULL LIMIT 1)";
    setup
        .execute(&format!("UPDATE audit_log SET {other} WHERE {FOURTH}"))
        .await;
    let found = verdict(&app, None).await;
    assert!(matches!(found.faults[..], [Fault::RowGone { seq: 4, .. }]), "{found:?}");
    assert_eq!(found.unsealed, 1);
    restore(setup).await;
    // The row with its seal, and two of them.
    for (to, of) in [(4, "4"), (5, "4, 5")] {
        let rows = format!("id IN (SELECT audit_id FROM audit_seals WHERE seq IN ({of}))");
        setup.execute(&format!("DELETE FROM audit_log WHERE {rows}")).await;
        setup
            .execute(&format!("DELETE FROM audit_seals WHERE seq IN ({of})"))
            .await;
        let found = verdict(&app, None).await;
        assert_eq!(found.faults, [Fault::LinksGone { from: 4, to }], "{found:?}");
        restore(setup).await;
    }
    // The first.
    setup.execute("DELETE FROM audit_seals WHERE seq = 1").await;
    let found = verdict(&app, None).await;
    assert_eq!(found.faults, [Fault::LinksGone { from: 1, to: 1 }]);
    assert_eq!(found.unsealed, 1);
    // A sealer seals that row again, behind the others; the gap stays.
    app.services().audit.seal().await.unwrap();
    let found = verdict(&app, None).await;
    assert_eq!(found.faults, [Fault::LinksGone { from: 1, to: 1 }]);
    assert_eq!((found.unsealed, found.links), (0, 13));
    restore(setup).await;
    // With the places closed up.
    setup.execute(&format!("DELETE FROM audit_log WHERE {FOURTH}")).await;
    setup.execute("DELETE FROM audit_seals WHERE seq = 4").await;
    for seq in 5..=13 {
        setup
            .execute(&format!("UPDATE audit_seals SET seq = {} WHERE seq = {seq}", seq - 1))
            .await;
    }
    let found = verdict(&app, None).await;
    assert!(matches!(found.faults[0], Fault::Altered { seq: 4, .. }), "{found:?}");
    restore(setup).await;
    assert!(verdict(&app, Some(head)).await.intact());
}

async fn every_move_is_found(setup: &Setup) {
    let (app, head) = sealed_log(setup).await;
    // Two links change places.
    for (from, to) in [(4, -4), (5, 4), (-4, 5)] {
        setup
            .execute(&format!("UPDATE audit_seals SET seq = {to} WHERE seq = {from}"))
            .await;
    }
    let found = verdict(&app, None).await;
    assert!(
        matches!(
            found.faults[..],
            [
                Fault::Altered { seq: 4, .. },
                Fault::Altered { seq: 5, .. },
                Fault::Altered { seq: 6, .. }
            ]
        ),
        "{found:?}"
    );
    restore(setup).await;
    // Two rows change places, and the links stay.
    setup.execute("DELETE FROM audit_seals WHERE seq IN (4, 5)").await;
    for (seq, row) in [(4, 5), (5, 4)] {
        setup
            .execute(&format!(
                "INSERT INTO audit_seals (seq, audit_id, digest) \
                 SELECT {seq}, (SELECT audit_id FROM audit_seals_kept WHERE seq = {row}), digest \
                 FROM audit_seals_kept WHERE seq = {seq}"
            ))
            .await;
    }
    let found = verdict(&app, None).await;
    assert!(
        matches!(
            found.faults[..],
            [Fault::Altered { seq: 4, .. }, Fault::Altered { seq: 5, .. }]
        ),
        "{found:?}"
    );
    restore(setup).await;
    // A link before the first hides a row from those that have no seal.
    setup.execute("UPDATE audit_seals SET seq = -1 WHERE seq = 13").await;
    let found = verdict(&app, Some(head)).await;
    assert!(
        matches!(
            found.faults[..],
            [
                Fault::Altered { seq: -1, .. },
                Fault::Altered { seq: 1, .. },
                Fault::EndCutOff { .. }
            ]
        ),
        "{found:?}"
    );
    restore(setup).await;
    assert!(verdict(&app, Some(head)).await.intact());
}

async fn a_cut_end_is_found_against_a_noted_head(setup: &Setup) {
    let (app, head) = sealed_log(setup).await;
    let rows = "id IN (SELECT audit_id FROM audit_seals WHERE seq > 11)";
    setup.execute(&format!("DELETE FROM audit_log WHERE {rows}")).await;
    setup.execute("DELETE FROM audit_seals WHERE seq > 11").await;
    let found = verdict(&app, None).await;
    assert!(
        found.intact() && found.links == 11,
        "a chain cannot know how long it was: {found:?}"
    );
    let found = verdict(&app, Some(head)).await;
    assert_eq!(found.faults, [Fault::EndCutOff { last: 11, noted: 13 }]);
    // It goes on with other rows.
    let app = setup.app().await;
    let user = app.user().await;
    app.post("/v1/auth/logout").by(&user).await.is(204);
    app.services().audit.seal().await.unwrap();
    app.stop().await;
    let found = verdict(&app, Some(head)).await;
    assert_eq!(found.faults, [Fault::NotAsNoted { seq: 13 }], "{found:?}");
    // All of it.
    setup.execute("DELETE FROM audit_seals").await;
    setup.execute("DELETE FROM audit_log").await;
    let found = verdict(&app, Some(head)).await;
    assert_eq!(found.faults, [Fault::EndCutOff { last: 0, noted: 13 }]);
}

async fn a_chain_made_anew_is_found_against_a_noted_head(setup: &Setup) {
    let (app, head) = sealed_log(setup).await;
    // Whoever has the key too can seal again what they have changed.
    setup
        .execute(&format!("UPDATE audit_log SET outcome = 'succeeded' WHERE {FOURTH}"))
        .await;
    setup.execute("DELETE FROM audit_seals").await;
    assert_eq!(app.services().audit.seal().await.unwrap(), 13);
    assert!(verdict(&app, None).await.intact());
    let found = verdict(&app, Some(head)).await;
    assert_eq!(found.faults, [Fault::NotAsNoted { seq: 13 }]);
    let rows = app
        .services()
        .audit
        .list_audit(&AuditFilter::default(), None, 100)
        .await
        .unwrap();
    assert_eq!(rows.items.len(), 13);
}
