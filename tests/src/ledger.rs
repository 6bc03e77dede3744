//! Whether what was reserved is what was booked. Triggers in the database, of which the server knows nothing, note each
//! reservation that is made and each counter that stands higher than its limit.

use std::sync::atomic::{AtomicI64, Ordering};

use anteroom_domain::billing::NanoUsd;
use serde_json::{Value, json};

use crate::upstream::{Call, completion_of};
use crate::{Kind, Script, Setup, eventually_asking};

/// Has the database write down what is reserved from now on, and each time that a counter of these names stands higher
/// than the number beside it, or that of an API key higher than the key's budget.
pub async fn watch(setup: &Setup, most: &[(&str, i64)]) {
    let limits: Vec<String> = most
        .iter()
        .map(|(meter, most)| format!("WHEN '{meter}' THEN {most}"))
        .collect();
    let limits = limits.join(" ");
    let admit = "INSERT INTO seen_reserved (request_id, owner_id, session_id, api_key_id, meter, amount) VALUES (new.request_id, new.owner_id, new.session_id, new.api_key_id, new.meter, new.amount)".to_owned();
    let budget = "(SELECT k.budget_nano_usd FROM api_keys AS k WHERE k.id = new.owner_id)";
    let overdraw = format!(
        "INSERT INTO seen_overdrawn SELECT new.meter, new.used + new.reserved WHERE new.used + new.reserved > CASE new.meter WHEN 'key_budget' THEN coalesce({budget}, 0) {limits} ELSE 9000000000000000000 END"
    );
    let (number, id) = match setup.kind() {
        Kind::Sqlite => ("INTEGER PRIMARY KEY", "BLOB"),
        Kind::Postgres => ("BIGSERIAL PRIMARY KEY", "uuid"),
    };
    let tables = format!(
        "CREATE TABLE seen_reserved (number {number}, request_id {id}, owner_id {id}, session_id {id}, api_key_id {id}, meter TEXT, amount BIGINT);
         CREATE INDEX seen_reserved_request_id_idx ON seen_reserved (request_id);
         CREATE TABLE seen_overdrawn (meter TEXT, stands BIGINT);"
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
            "is booked on another account, session or key than it was reserved with",
            "SELECT count(*) AS n FROM usage_events AS u JOIN seen_reserved AS r ON r.request_id = u.request_id WHERE u.owner_id <> r.owner_id OR u.session_id IS DISTINCT FROM r.session_id OR u.api_key_id IS DISTINCT FROM r.api_key_id",
        ),
        (
            "names not one of session and key",
            "SELECT count(*) AS n FROM usage_events WHERE (session_id IS NULL) = (api_key_id IS NULL)",
        ),
        (
            "was let in with a key whose budget held nothing for it",
            "SELECT count(*) AS n FROM usage_events AS u JOIN api_keys AS k ON k.id = u.api_key_id WHERE k.budget_nano_usd IS NOT NULL AND NOT EXISTS (SELECT 1 FROM seen_reserved AS r WHERE r.request_id = u.request_id AND r.meter = 'key_budget')",
        ),
        (
            "is a key whose budget is not what was booked with it",
            "SELECT count(*) AS n FROM api_keys AS k WHERE k.budget_nano_usd IS NOT NULL AND (SELECT coalesce(sum(q.used), 0) FROM quota_windows AS q WHERE q.meter = 'key_budget' AND q.owner_id = k.id) <> (SELECT coalesce(sum(u.cost), 0) FROM usage_events AS u WHERE u.api_key_id = k.id)",
        ),
        (
            "is a key whose days are not what was booked with it",
            "SELECT count(*) AS n FROM api_keys AS k WHERE (SELECT coalesce(sum(d.calls), 0) FROM usage_days AS d WHERE d.api_key_id = k.id) <> (SELECT count(*) FROM usage_events AS u WHERE u.api_key_id = k.id) OR (SELECT coalesce(sum(d.cost), 0) FROM usage_days AS d WHERE d.api_key_id = k.id) <> (SELECT coalesce(sum(u.cost), 0) FROM usage_events AS u WHERE u.api_key_id = k.id)",
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
        (
            "is a ledger of credits that does not sum to what is left",
            "SELECT count(*) AS n FROM credit_accounts AS a WHERE (SELECT coalesce(sum(e.amount), 0) FROM credit_entries AS e WHERE e.owner_id = a.owner_id) <> (SELECT coalesce(sum(g.amount - g.spent), 0) FROM credit_grants AS g WHERE g.owner_id = a.owner_id AND g.closed_at IS NULL) - a.owed",
        ),
        (
            "is a counter of credits that is not what the ledger says was spent",
            "SELECT count(*) AS n FROM quota_windows AS q WHERE q.meter = 'credits' AND q.used <> -(SELECT coalesce(sum(e.amount), 0) FROM credit_entries AS e WHERE e.owner_id = q.owner_id AND e.kind = 'spend')",
        ),
        (
            // A credit is worth a cent by default, and no price is a fraction of a millionth of one.
            "is an account whose credits are not what its calls cost",
            "SELECT count(*) AS n FROM credit_accounts AS a WHERE -10 * (SELECT coalesce(sum(e.amount), 0) FROM credit_entries AS e WHERE e.owner_id = a.owner_id AND e.kind = 'spend') <> (SELECT coalesce(sum(u.cost), 0) FROM usage_events AS u WHERE u.owner_id = a.owner_id)",
        ),
    ];
    for (what, sql) in nothing {
        assert_eq!(setup.number(sql).await, 0, "so many: {what}");
    }
    // What nobody worked on used nothing, and counts for nothing.
    let sums = [
        (
            "messages",
            "sum(CASE WHEN u.outcome IN ('failed', 'cancelled') AND u.prompt_tokens + u.completion_tokens = 0 THEN 0 ELSE 1 END)",
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

/// What clients know of the calls that they made in one way: with sessions, or with one key.
#[derive(Debug, Default)]
pub struct Told {
    asked: AtomicI64,
    answered: AtomicI64,
    refused: AtomicI64,
}

impl Told {
    /// Notes a call: the status if its answer came whole, else `None`.
    pub fn note(&self, status: Option<u16>) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match status {
            Some(200 | 201) => self.answered.fetch_add(1, Ordering::Relaxed),
            // No limit had room, or the conversation none for two answers.
            Some(402 | 409) => self.refused.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
    }

    /// How many were answered to the end.
    pub fn answered(&self) -> i64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// How many were not let in.
    pub fn refused(&self) -> i64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Fails unless all that was answered is booked under the key with this identifier (`None`: under sessions), and
    /// nothing that was refused. Answers how many are booked there.
    pub async fn is_booked(&self, setup: &Setup, key: Option<&str>) -> i64 {
        let whose = match (key, setup.kind()) {
            (None, _) => "IS NULL".to_owned(),
            (Some(id), Kind::Sqlite) => format!("= x'{}'", id.replace('-', "")),
            (Some(id), Kind::Postgres) => format!("= '{id}'"),
        };
        let booked = setup
            .number(&format!(
                "SELECT count(*) AS n FROM usage_events WHERE api_key_id {whose}"
            ))
            .await;
        let answered = self.answered();
        let let_in = self.asked.load(Ordering::Relaxed) - self.refused();
        assert!(
            (answered..=let_in).contains(&booked),
            "{booked} booked with {key:?}: {self:?}"
        );
        booked
    }
}

/// How the question begins that [`all_of_it`] asks.
const ALL_OF_IT: &str = "all of it: ";

/// A question that holds, at most, so many tokens of an answer. All of them are equally long, whatever the numbers.
fn question(model: &str, prompt: i64, answer: i64) -> Value {
    let padding = "-".repeat(20 - answer.to_string().len());
    let said = format!("{ALL_OF_IT}{prompt:09} {answer:012} {padding}");
    json!({ "model": model, "max_tokens": answer, "messages": [{ "role": "user", "content": said }] })
}

/// What an upstream answers to [`uses_the_last`]: that it used all that was held for the call. `None` to other calls.
pub fn all_of_it(call: &Call) -> Option<Script> {
    let body = String::from_utf8_lossy(&call.body);
    let (_, asked) = body.split_once(ALL_OF_IT)?;
    let mut numbers = asked.split(' ').map(|number| number.parse().unwrap());
    let (prompt, answer) = (numbers.next().unwrap(), numbers.next().unwrap());
    Some(Script::json(&completion_of("all of it", prompt, answer)))
}

/// Uses what is left of a limit to the last, in one call, and fails unless that goes and one token more does not. `costs` is
/// what a token of prompt and one of an answer take of it, `left` looks how much is left. `probe` asks past the limit and
/// `asks` under it; both answer the status and, where one is refused, the meter. The upstream must heed [`all_of_it`].
pub async fn uses_the_last(
    setup: &Setup,
    (model, meter): (&str, &str),
    costs: [i64; 2],
    left: impl AsyncFn() -> i64,
    probe: impl AsyncFn(Value) -> (u16, String),
    asks: impl AsyncFn(Value) -> (u16, String),
) -> i64 {
    let (had, refused) = ((200, String::new()), (402, meter.to_owned()));
    assert_eq!(probe(question(model, 0, 1)).await, had);
    let prompt = setup
        .number("SELECT amount - 1 AS n FROM seen_reserved WHERE meter = 'tokens' ORDER BY number DESC LIMIT 1")
        .await;
    adds_up(setup).await;
    let [of_prompt, of_answer] = costs;
    let rest = left().await;
    let answer = (rest - prompt * of_prompt) / of_answer;
    let used = prompt * of_prompt + answer * of_answer;
    assert!(
        answer > 0 && used == rest,
        "no call can use {rest}, with a prompt of {prompt} tokens"
    );
    let more = asks(question(model, prompt, answer + 1)).await;
    assert_eq!(more, refused, "one token more than is left");
    let all = asks(question(model, prompt, answer)).await;
    assert_eq!(all, had, "all that is left: {rest}");
    adds_up(setup).await;
    assert_eq!(left().await, 0);
    assert_eq!(asks(question(model, prompt, 1)).await, refused, "nothing is left");
    rest
}

/// What [`uses_the_last`] wants to know of an answer.
pub fn verdict(status: u16, body: &Value) -> (u16, String) {
    let meter = body["error"]["meter"].as_str();
    (status, meter.unwrap_or_default().to_owned())
}

/// What is left of the budget of a key that its owner is shown, in nano-USD.
pub fn left_of_budget(key: &Value) -> i64 {
    let nano = |what: &str| NanoUsd::from_usd(key["budget"][what].as_f64().unwrap()).0;
    nano("limit_usd") - nano("used_usd")
}
