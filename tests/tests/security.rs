//! What went wrong in comparable systems, tried here: who may do what, and to what. The letters and numbers are those of
//! the cases in `SECURITY.md`. A 12 is in `routes.rs`.

use std::collections::{BTreeMap, BTreeSet};

use anteroom_domain::accounts::Role;
use anteroom_http::routes;
use anteroom_ports::accounts::UserFilter;
use anteroom_tests::{PASSWORD, Setup, TestApp, User, on_every_store};
use serde_json::{Value, json};

on_every_store![
    a2_what_belongs_to_somebody_stays_theirs,
    a3_no_route_takes_a_column_that_is_not_the_callers,
    a5_nobody_says_that_an_address_is_proven,
    a14_no_endpoint_makes_an_admin,
    a14_a_deleted_admin_opens_no_setup,
];

/// Which body a route reads, by the served description: the names of its members, or nothing where it reads none.
fn members(app: &TestApp, method: &str, path: &str) -> Option<BTreeSet<String>> {
    let document = app.contract().document();
    let operation = &document["paths"][path][method.to_lowercase()];
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    // A body that may be absent is a choice between nothing and its schema.
    let choices = schema["oneOf"].as_array().map(Vec::as_slice).unwrap_or_default();
    let named = std::iter::once(schema)
        .chain(choices)
        .find_map(|schema| schema["$ref"].as_str());
    let schema = match named {
        Some(reference) => &document["components"]["schemas"][reference.rsplit('/').next().unwrap()],
        None => schema,
    };
    let properties = schema["properties"].as_object()?;
    Some(properties.keys().cloned().collect())
}

/// What passes unknown members on, or reads no JSON of ours.
const RELAYED: [&str; 2] = ["/v1/chat/completions", "/v1/billing/webhooks/{provider}"];

/// Every route that changes something and reads a body, with its members.
fn writes(app: &TestApp) -> Vec<(String, &'static str, String, BTreeSet<String>)> {
    let mut found = Vec::new();
    for route in routes() {
        let method = route.method.to_string();
        if method == "GET" || RELAYED.contains(&route.path) {
            continue;
        }
        if let Some(members) = members(app, &method, route.path) {
            found.push((method, route.path, format!("{:?}", route.who), members));
        }
    }
    assert!(found.len() >= 8, "{found:?}");
    found
}

/// Every column of every table, and a few names that other systems have for the same things.
fn columns() -> BTreeSet<String> {
    let shape = include_str!("../../crates/contract/src/store/shape.txt");
    let mut columns: BTreeSet<String> = shape
        .lines()
        .filter(|line| !line.contains(" -> ") && !line.contains(" ("))
        .filter_map(|line| Some(line.split_once(": ")?.0.split_once('.')?.1.to_owned()))
        .collect();
    assert!(
        columns.contains("email_verified") && columns.contains("end_reason"),
        "{columns:?}"
    );
    for name in [
        "is_admin",
        "admin",
        "roles",
        "user_role",
        "owner_id",
        "account_id",
        "verified",
        "permissions",
        "scopes",
    ] {
        columns.insert(name.to_owned());
    }
    columns
}

/// Columns that a route takes, because saying them is what it is for: route, column, why.
const SAID: [(&str, &str, &str); 5] = [
    (
        "POST /v1/entitlements/check",
        "user_id",
        "whose; another's is refused to who is no admin",
    ),
    ("POST /v1/entitlements/consume", "user_id", "likewise"),
    ("POST /v1/entitlements/release", "user_id", "likewise"),
    ("PATCH /v1/admin/users/{id}", "role", "an admin decides who is one"),
    ("PATCH /v1/admin/users/{id}", "disabled", "an admin closes accounts"),
];

/// What nobody says of themselves. Of another column with the same name as a member (`email`, `name`, `title`) the
/// member is the caller's own.
const PRIVILEGED: [&str; 13] = [
    "role",
    "disabled",
    "disabled_at",
    "delete_after",
    "email_verified",
    "email_folded",
    "hash",
    "id",
    "user_id",
    "owner_id",
    "created_at",
    "updated_at",
    "authenticated_at",
];

/// All rows of users, as the store has them.
async fn users(app: &TestApp) -> BTreeMap<String, String> {
    let all = UserFilter::default();
    let page = app.services().accounts.list_users(&all, None, 100).await.unwrap();
    let users = page.items.into_iter();
    users.map(|user| (user.id.to_string(), format!("{user:?}"))).collect()
}

async fn a3_no_route_takes_a_column_that_is_not_the_callers(setup: &Setup) {
    let app = setup.app().await;
    let (user, admin) = (app.user().await, app.admin().await);
    let conversation = app.post("/v1/conversations").by(&user).json(&json!({})).await.is(201);
    let conversation = conversation.json()["id"].as_str().unwrap().to_owned();
    let before = users(&app).await;
    let mut tried = 0;
    for (method, path, who, members) in writes(&app) {
        for column in PRIVILEGED {
            let route = format!("{method} {path}");
            let said = SAID.iter().any(|(of, name, _)| *of == route && *name == column);
            assert_eq!(members.contains(column), said, "{route} takes `{column}`");
        }
        let id = if path.starts_with("/v1/admin/users") {
            &user.id
        } else {
            &conversation
        };
        let at = path.replace("{id}", id).replace("{message}", id);
        for column in columns().difference(&members) {
            for caller in [None, Some(&user), Some(&admin)] {
                let mut ask = app.ask(&method, &at).json(&json!({ column.as_str(): "admin" }));
                if let Some(caller) = caller {
                    ask = ask.by(caller);
                }
                let answer = ask.await;
                let expected = match (who.as_str(), caller) {
                    ("SignedIn" | "Admin", None) => (401, "unauthenticated"),
                    ("Admin", Some(caller)) if caller.id == user.id => (403, "forbidden"),
                    _ => (422, "validation_failed"),
                };
                assert_eq!(
                    answer.told(),
                    (expected.0, expected.1.to_owned()),
                    "{column}: {answer:?}"
                );
                if expected.0 == 422 {
                    let fault = &answer.json()["errors"][0];
                    assert_eq!(
                        (&fault["pointer"], &fault["code"]),
                        (&json!(format!("/{column}")), &json!("unknown_field")),
                        "{answer:?}"
                    );
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 1000, "{tried}");
    assert_eq!(users(&app).await, before);
}

async fn a2_what_belongs_to_somebody_stays_theirs(setup: &Setup) {
    let app = setup.app().await;
    let (owner, thief) = (app.user().await, app.user().await);
    let made = app
        .post("/v1/conversations")
        .by(&owner)
        .json(&json!({ "title": "Mine" }))
        .await
        .is(201)
        .json();
    let path = format!("/v1/conversations/{}", made["id"].as_str().unwrap());
    // Neither gives it away, nor does another take it, whatever the owner is called.
    for name in ["user_id", "owner_id", "owner", "user", "account_id"] {
        let pointer = format!("/{name}");
        for caller in [&owner, &thief] {
            for (method, path) in [("PATCH", path.as_str()), ("POST", "/v1/conversations")] {
                app.ask(method, path)
                    .by(caller)
                    .json(&json!({ name: thief.id }))
                    .expect(422)
                    .errors(&[(&pointer, "unknown_field")])
                    .await;
            }
        }
    }
    let rename = json!({ "title": "Stolen" });
    app.patch(&path)
        .by(&thief)
        .json(&rename)
        .expect(404)
        .code("not_found")
        .await;
    app.get(&path).by(&thief).expect(404).code("not_found").await;
    app.delete(&path).by(&thief).expect(404).code("not_found").await;
    // Admins administer accounts; what people say to a model is not theirs to read.
    let admin = app.admin().await;
    app.get(&path).by(&admin).expect(404).code("not_found").await;
    let kept = app.get(&path).by(&owner).expect(200).await.json();
    assert_eq!(kept["title"], "Mine");
    for caller in [&thief, &admin] {
        let list = app.get("/v1/conversations").by(caller).expect(200).await.json();
        assert_eq!(list["data"], json!([]));
    }
    // An account cannot become another either.
    let me = app.patch("/v1/me").by(&thief).json(&json!({ "id": owner.id }));
    me.expect(422).errors(&[("/id", "unknown_field")]).await;
    assert_eq!(app.get("/v1/me").by(&thief).await.is(200).json()["id"], thief.id);
}

async fn verified(app: &TestApp, user: &User) -> Value {
    app.get("/v1/me").by(user).await.is(200).json()["email_verified"].clone()
}

async fn a5_nobody_says_that_an_address_is_proven(setup: &Setup) {
    let app = setup.app().await;
    let (user, admin) = (app.user().await, app.admin().await);
    for name in [
        "email_verified",
        "emailVerified",
        "verified",
        "isVerified",
        "email_verified_at",
    ] {
        let pointer = format!("/{name}");
        let unknown = [(pointer.as_str(), "unknown_field")];
        let claim = json!({ name: true });
        app.patch("/v1/me")
            .by(&user)
            .json(&claim)
            .expect(422)
            .errors(&unknown)
            .await;
        let path = format!("/v1/admin/users/{}", user.id);
        app.patch(&path)
            .by(&admin)
            .json(&claim)
            .expect(422)
            .errors(&unknown)
            .await;
        let mut signup = json!({ "email": "mallory@example.com", "password": PASSWORD });
        signup[name] = json!(true);
        let signup = app.post("/v1/auth/signup").json(&signup);
        // Which of the faults comes first is the body's order.
        signup.expect(422).errors(&unknown).events(&[]).await;
    }
    assert_eq!(verified(&app, &user).await, false);
    assert_eq!(verified(&app, &admin).await, false);
}

async fn a14_no_endpoint_makes_an_admin(setup: &Setup) {
    let app = setup.app().await;
    let admins = async || {
        let filter = UserFilter {
            role: Some(Role::Admin),
            ..UserFilter::default()
        };
        app.services()
            .accounts
            .list_users(&filter, None, 10)
            .await
            .unwrap()
            .items
            .len()
    };
    // The first who comes is nobody special.
    let first = app.user().await;
    assert_eq!(app.get("/v1/me").by(&first).await.is(200).json()["role"], "user");
    for (method, path, _, _) in writes(&app) {
        let path = path.replace("{id}", &first.id);
        for body in [
            json!({ "role": "admin" }),
            json!({ "admin": true }),
            json!({ "is_admin": true }),
        ] {
            let ask = || app.ask(&method, &path).json(&body);
            assert!(ask().await.status >= 400, "{method} {path} {body}");
            assert!(ask().by(&first).await.status >= 400, "{method} {path} {body}");
        }
    }
    assert_eq!(admins().await, 0);
    // Nor is anybody once the admins are gone: nothing opens again.
    let admin = app.admin().await;
    setup.execute("UPDATE users SET role = 'user'").await;
    assert_eq!(admins().await, 0);
    let next = app.user().await;
    for user in [&first, &next, &admin] {
        let again = app.log_in(&user.email).await;
        assert_eq!(app.get("/v1/me").by(&again).await.is(200).json()["role"], "user");
        app.get("/v1/admin/users").by(&again).await.refused(403, "forbidden");
    }
    assert_eq!(admins().await, 0);
}

/// CVE-2023-46249 (authentik): there, deleting the admin's row opened the setup again.
async fn a14_a_deleted_admin_opens_no_setup(setup: &Setup) {
    let app = setup.app().await;
    let (user, admin) = (app.user().await, app.admin().await);
    app.get("/v1/admin/users").by(&admin).await.is(200);
    app.mails_have_left().await;
    // Alone, and then with everybody else: an empty place is no new one either.
    for gone in ["role = 'admin'", "1 = 1"] {
        let sql = format!(
            "DELETE FROM sessions WHERE user_id IN (SELECT id FROM users WHERE {gone}); \
             DELETE FROM password_credentials WHERE user_id IN (SELECT id FROM users WHERE {gone}); \
             DELETE FROM users WHERE {gone}"
        );
        setup.execute(&sql).await;
        app.services().sessions.forget_cached_state();
        app.get("/v1/admin/users")
            .by(&admin)
            .await
            .refused(401, "unauthenticated");
        // Neither who comes next is one, nor whoever takes the admin's address, nor after a start.
        let started = setup.app().await;
        for node in [&app, &started] {
            let mut people = vec![node.user().await];
            if users(&app).await.values().all(|user| !user.contains(&admin.email)) {
                let body = json!({ "email": admin.email, "password": PASSWORD });
                let signup = node.post("/v1/auth/signup").json(&body).expect(201);
                let signup = signup
                    .events(&["account.signup.succeeded"])
                    .mails(&[&admin.email])
                    .await;
                people.push(User::of(&signup.json()));
            }
            for person in &people {
                assert_eq!(node.get("/v1/me").by(person).await.is(200).json()["role"], "user");
                node.get("/v1/admin/users").by(person).await.refused(403, "forbidden");
            }
        }
        for path in ["/setup", "/v1/setup", "/v1/admin/setup", "/v1/auth/setup", "/install"] {
            app.get(path).await.refused(404, "no_such_route");
            app.post(path).json(&json!({})).await.refused(404, "no_such_route");
        }
        assert!(!users(&app).await.values().any(|user| user.contains("Admin")));
    }
    app.get("/v1/me").by(&user).await.refused(401, "unauthenticated");
}
