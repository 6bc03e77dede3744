//! Whether what was reserved is what was booked. Triggers in the database, of which the server knows nothing, note each
//! reservation that is made and each counter that stands higher than its limit.

use crate::{Kind, Setup, eventually_asking};

/// Has the database write down what is reserved from now on, and each time that a counter of these names stands higher
/// than the number beside it.
pub async fn watch(setup: &Setup, most: &[(&str, i64)]) {
    let limits: Vec<String> = most
        .iter()
        .map(|(meter, most)| format!("WHEN '{meter}' THEN {most}"))
        .collect();
    let limits = limits.join(" ");
    let admit = "INSERT INTO seen_reserved VALUES (new.request_id, new.meter, new.amount)".to_owned();
    let overdraw = format!(
        "INSERT INTO seen_overdrawn SELECT new.meter, new.used + new.reserved WHERE new.used + new.reserved > CASE new.meter {limits} ELSE 9000000000000000000 END"
    );
    let id = match setup.kind() {
        Kind::Sqlite => "BLOB",
        Kind::Postgres => "uuid",
    };
    let tables = format!(
        "CREATE TABLE seen_reserved (request_id {id}, meter TEXT, amount BIGINT); CREATE TABLE seen_overdrawn (meter TEXT, stands BIGINT);"
    );
    setup.execute(&tables).await;
    let triggers = [
        ("INSERT ON reservations", &admit),
        ("INSERT ON quota_windows", &overdraw),
        ("UPDATE ON quota_windows", &overdraw),
    ];
    for (at, (what, then)) in triggers.into_iter().enumerate() {
        let trigger = match setup.kind() {
            Kind::Sqlite => format!("CREATE TRIGGER seen_{at} AFTER {what} BEGIN {then}; END;"),
            Kind::Postgres => format!(
                "CREATE FUNCTION seen_{at}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {then}; RETURN NULL; END $$;
                 CREATE TRIGGER seen_{at} AFTER {what} FOR EACH ROW EXECUTE FUNCTION seen_{at}();"
            ),
        };
        setup.execute(&trigger).await;
    }
}

/// Waits until nothing is held, and fails unless all that was reserved is booked once, nothing else is, no counter stood
/// over its limit and all counters are the sums of the bookings. Answers how many calls are booked. Their models must
/// have prices.
pub async fn adds_up(setup: &Setup) -> i64 {
    eventually_asking("nothing is held any more", async || {
        let open = setup.number("SELECT count(*) AS n FROM reservations").await;
        (open == 0).then_some(())
    })
    .await;
    let nothing = [
        (
            "stays reserved",
            "SELECT CAST(coalesce(sum(abs(reserved)), 0) AS BIGINT) AS n FROM quota_windows",
        ),
        (
            "was reserved and is not booked",
            "SELECT count(*) AS n FROM (SELECT DISTINCT request_id FROM seen_reserved) AS r WHERE NOT EXISTS (SELECT 1 FROM usage_events AS u WHERE u.request_id = r.request_id)",
        ),
        (
            "is booked and was not reserved",
            "SELECT count(*) AS n FROM usage_events AS u WHERE NOT EXISTS (SELECT 1 FROM seen_reserved AS r WHERE r.request_id = u.request_id)",
        ),
        (
            "has no price",
            "SELECT count(*) AS n FROM usage_events WHERE cost IS NULL",
        ),
        ("stood over its limit", "SELECT count(*) AS n FROM seen_overdrawn"),
        (
            "is being written for ever",
            "SELECT count(*) AS n FROM messages WHERE status = 'in_progress'",
        ),
        (
            "is a day's sum that is not what was booked",
            "SELECT CAST((SELECT coalesce(sum(calls), 0) FROM usage_days) - (SELECT count(*) FROM usage_events) AS BIGINT) AS n",
        ),
        (
            "is a spend that is not what was booked",
            "SELECT CAST((SELECT coalesce(sum(used), 0) FROM quota_windows WHERE meter = 'spend') - (SELECT coalesce(sum(cost), 0) FROM usage_events) AS BIGINT) AS n",
        ),
    ];
    for (what, sql) in nothing {
        assert_eq!(setup.number(sql).await, 0, "so many: {what}");
    }
    // What failed counts for nothing, and what nobody was asked for.
    let sums = [
        (
            "messages",
            "sum(CASE WHEN u.outcome = 'failed' OR (u.outcome = 'cancelled' AND u.provider IS NULL) THEN 0 ELSE 1 END)",
        ),
        ("tokens", "sum(u.prompt_tokens + u.completion_tokens)"),
        ("tokens_month", "sum(u.prompt_tokens + u.completion_tokens)"),
        ("cost_month", "sum(u.cost)"),
    ];
    for (meter, sum) in sums {
        let counted =
            format!("SELECT owner_id, sum(used) AS used FROM quota_windows WHERE meter = '{meter}' GROUP BY owner_id");
        let booked = format!("SELECT u.owner_id AS owner_id, {sum} AS used FROM usage_events AS u GROUP BY u.owner_id");
        let differ = format!(
            "SELECT count(*) AS n FROM ({booked}) AS b LEFT JOIN ({counted}) AS c ON c.owner_id = b.owner_id WHERE c.used IS NULL OR c.used <> b.used"
        );
        assert_eq!(
            setup.number(&differ).await,
            0,
            "so many accounts' `{meter}` are not what was booked"
        );
    }
    setup.number("SELECT count(*) AS n FROM usage_events").await
}
