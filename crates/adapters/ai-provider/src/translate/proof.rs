//! Proofs of a dialect's table, for the tests of every dialect: each row does what it says, and the guide says the
//! same.

use std::collections::BTreeSet;

use anteroom_domain::RequestId;
use anteroom_ports::chat::{ChatCall, ProviderError, ProviderErrorKind};
use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use super::ask::{Fate, Table};

/// A dialect's translation.
pub(crate) type Translate = dyn Fn(&ChatCall) -> Result<(Value, Vec<String>), ProviderError>;

/// A request with these parameters besides model and messages.
pub(crate) fn call(model: &str, with: &Value) -> ChatCall {
    let mut body = json!({ "model": "an alias", "messages": [{ "role": "user", "content": "hi" }] });
    for (name, value) in with.as_object().unwrap() {
        body[name] = value.clone();
    }
    ChatCall {
        request_id: RequestId(Uuid::nil()),
        model: model.to_owned(),
        body: Bytes::from(body.to_string()),
        original: None,
    }
}

/// Values that say something, for the rows that are dropped or refused.
fn sample(name: &str) -> Value {
    match name {
        "frequency_penalty" | "presence_penalty" => json!(0.5),
        "logit_bias" => json!({ "50256": -100 }),
        "seed" | "n" | "top_logprobs" => json!(3),
        "store" | "logprobs" => json!(true),
        "metadata" => json!({ "k": "v" }),
        "modalities" => json!(["text", "audio"]),
        "parallel_tool_calls" => json!(false),
        "functions" => json!([{ "name": "f" }]),
        _ => json!("flex"),
    }
}

/// Every mapped row has a case (parameter, its value, where it is to be found, what is there), every other row does as
/// it says, and so does a parameter that nobody knows.
pub(crate) fn table_holds(table: &Table, model: &str, translate: &Translate, cases: &[(&str, Value, &str, Value)]) {
    let mut proven: BTreeSet<&str> = ["model", "messages"].into();
    for (name, value, pointer, expected) in cases {
        let (body, dropped) = translate(&call(model, &json!({ *name: value }))).unwrap();
        assert_eq!(body.pointer(pointer), Some(expected), "{name}: {value} gave {body}");
        assert!(dropped.is_empty(), "{name}: {dropped:?}");
        proven.insert(name);
    }
    let (plain, _) = translate(&call(model, &json!({}))).unwrap();
    for (name, fate) in table.iter().chain([&("x_custom", Fate::Dropped)]) {
        let asked = call(model, &json!({ *name: sample(name) }));
        match fate {
            Fate::Mapped => assert!(proven.contains(name), "nothing shows that `{name}` is mapped"),
            Fate::Dropped => {
                let (body, dropped) = translate(&asked).unwrap();
                assert_eq!((body, dropped), (plain.clone(), vec![(*name).to_owned()]));
            }
            Fate::Refused => {
                let parameter = (*name).to_owned();
                assert_eq!(
                    translate(&asked).unwrap_err().kind,
                    ProviderErrorKind::Unsupported { parameter }
                );
            }
        }
    }
    assert!(proven.iter().all(|name| table.contains(&(*name, Fate::Mapped))));
}

/// The guide's table of parameters has the same rows, and says in `column` what becomes of each.
pub(crate) fn guide_agrees(table: &Table, column: usize) {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/guides/model-providers.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let section = guide.split("## What becomes of each parameter").nth(1).unwrap();
    let section = section.split("\n##").next().unwrap();
    let mut said = BTreeSet::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let word = match cells[column].split([',', ':', ' ']).next().unwrap() {
            "mapped" => Fate::Mapped,
            "dropped" => Fate::Dropped,
            "refused" => Fate::Refused,
            other => panic!("{row}: {other}"),
        };
        for name in cells[0].split(", ") {
            said.insert((name.trim_matches('`').to_owned(), format!("{word:?}")));
        }
    }
    let held: BTreeSet<_> = table
        .iter()
        .map(|(name, fate)| ((*name).to_owned(), format!("{fate:?}")))
        .collect();
    let differ: Vec<_> = said.symmetric_difference(&held).collect();
    assert!(differ.is_empty(), "the guide and the code differ: {differ:?}");
}
