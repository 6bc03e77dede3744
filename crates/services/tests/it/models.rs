//! Models that are changed while calls run: who may, what is offered then, in which order, and what a node does that
//! was told nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anteroom_domain::audit::Actor;
use anteroom_domain::billing::{METER_SPEND, ModelPrice, NanoUsd, Owner, SubscriptionStatus, UsageGroup};
use anteroom_domain::chat::{ModelAlias, StoredAlias, Target};
use anteroom_domain::{AliasVersion, UserId};
use anteroom_ports::audit::AuditFilter;
use anteroom_ports::{Clock as _, Durability, Ids as _};
use anteroom_services::Client;
use anteroom_services::access::Principal;
use anteroom_services::chat::{
    CallRefused, ChatAnswer, ChatError, DeleteModelError, Expected, ModelDetails, PutModel, PutModelError, Relayed,
};
use anteroom_services::sessions::LiveSession;
use anteroom_testkit::chat::{Step, done_step, text_step};
use anteroom_testkit::ops::SeededIds;
use tokio_util::sync::CancellationToken;

use crate::house::{House, LEASE};

const SEED: u64 = 1 << 40;

fn to(provider: &str, model: &str) -> Target {
    Target {
        provider: provider.into(),
        model: model.into(),
        weight: None,
        price: None,
    }
}

fn alias(name: &str, targets: &[(&str, &str)]) -> ModelAlias {
    ModelAlias {
        targets: targets.iter().map(|(provider, model)| to(provider, model)).collect(),
        ..ModelAlias::plain("main", name)
    }
}

async fn put_as(house: &House, alias: ModelAlias, expected: Expected, actor: Actor) -> Result<PutModel, PutModelError> {
    let client = Client::default();
    house.chat.put_model(alias, true, expected, actor, &client).await
}

async fn put(house: &House, alias: ModelAlias) -> PutModel {
    put_as(house, alias, Expected::Anything, Actor::Operator).await.unwrap()
}

async fn delete(house: &House, name: &str) -> Result<(), DeleteModelError> {
    let client = Client::default();
    house
        .chat
        .delete_model(name, Expected::Anything, Actor::Operator, &client)
        .await
}

/// What somebody is offered, in its order.
async fn offered(house: &House, who: &Principal) -> Vec<String> {
    let models = house.chat.list_models(who).await.unwrap();
    models.into_iter().map(|model| model.offered.id).collect()
}

async fn everything(house: &House) -> Vec<String> {
    let offered = house.chat.offered().await.unwrap();
    offered.iter().map(|alias| alias.name.clone()).collect()
}

async fn ask(house: &House, who: &LiveSession, model: &str) -> Result<ChatAnswer, ChatError> {
    let body = format!(r#"{{"model":"{model}","stream":true,"messages":[{{"role":"user","content":"hi"}}]}}"#);
    let gone = CancellationToken::new();
    house
        .chat
        .complete_chat(&who.clone().into(), body.as_bytes(), gone)
        .await
}

async fn answered(answer: ChatAnswer) -> bool {
    let ChatAnswer::Stream { mut events, .. } = answer else {
        panic!("not a stream")
    };
    loop {
        match events.recv().await.unwrap() {
            Relayed::Chunk(_) => {}
            Relayed::Done => return true,
            Relayed::Failed(_) => return false,
        }
    }
}

/// Writes what no use case would, as a former configuration may have let it be.
async fn written(house: &House, alias: ModelAlias) {
    let mut unit = house.store.begin(Durability::Full).await.unwrap();
    let ids = SeededIds::new(SEED);
    let stored = StoredAlias {
        name: alias.name.clone(),
        version: AliasVersion(ids.uuid()),
        enabled: true,
        alias: Ok(alias),
        created_at: house.clock.now(),
        updated_at: house.clock.now(),
    };
    unit.put_stored_alias(&stored).await.unwrap();
    unit.commit().await.unwrap();
}

/// A version that nothing has.
fn nobodys() -> AliasVersion {
    AliasVersion(SeededIds::new(SEED + 1).uuid())
}

fn shown(model: &ModelDetails) -> (bool, bool, bool) {
    (model.stored.is_some(), model.overrides_config, model.offered)
}

#[tokio::test]
async fn what_is_stored_is_offered_in_its_order_and_the_first_is_the_first() {
    let house = House::new().await;
    let free: Principal = house.somebody("ada@example.com").await.into();
    assert_eq!(everything(&house).await, ["small", "large"]);
    assert_eq!(offered(&house, &free).await, ["small"]);
    put(&house, alias("zeta/1", &[("backup", "z")])).await;
    put(&house, alias("alpha", &[("main", "a")])).await;
    // In the configuration's place; whoever has the first model has it.
    put(&house, alias("small", &[("backup", "better")])).await;
    assert_eq!(everything(&house).await, ["small", "large", "alpha", "zeta/1"]);
    assert_eq!(offered(&house, &free).await, ["small"]);
    let models = house.chat.show_models().await.unwrap();
    let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names, ["small", "large", "alpha", "zeta/1"]);
    assert_eq!(shown(&models[0]), (true, true, true));
    assert_eq!(shown(&models[1]), (false, false, true));
    assert_eq!(shown(&models[2]), (true, false, true));
    // What is withheld is not offered, and the next one is the first.
    let client = Client::default();
    let withheld = alias("small", &[("main", "small")]);
    house
        .chat
        .put_model(withheld, false, Expected::Anything, Actor::Operator, &client)
        .await
        .unwrap();
    assert_eq!(everything(&house).await, ["large", "alpha", "zeta/1"]);
    assert_eq!(offered(&house, &free).await, ["large"]);
    delete(&house, "small").await.unwrap();
    assert_eq!(everything(&house).await, ["small", "large", "alpha", "zeta/1"]);
    assert_eq!(offered(&house, &free).await, ["small"]);
}

#[tokio::test]
async fn a_call_that_runs_goes_on_with_what_it_began_with() {
    let house = House::new().await;
    let who = house.somebody("ada@example.com").await;
    let pause = Step::Wait(Duration::from_millis(200));
    house
        .model
        .script_stream([text_step("small", "Hello"), pause, text_step("small", "!"), done_step()]);
    let running = ask(&house, &who, "small").await.unwrap();
    put(&house, alias("small", &[("backup", "other")])).await;
    assert!(answered(running).await);
    assert_eq!((house.model.calls().len(), house.backup.calls().len()), (1, 0));
    assert!(answered(ask(&house, &who, "small").await.unwrap()).await);
    assert_eq!((house.model.calls().len(), house.backup.calls().len()), (1, 1));
    assert_eq!(house.backup.calls()[0].call.model, "other");
}

#[tokio::test]
async fn all_that_is_wrong_is_said_at_once_and_nothing_is_stored() {
    let house = House::new().await;
    let mut wrong = alias("fast", &[("nowhere", "m"), ("main", "m")]);
    wrong.plans = Some(vec!["gold".into()]);
    wrong.max_output_tokens = Some(0);
    let refused = put_as(&house, wrong, Expected::Anything, Actor::Operator).await;
    let PutModelError::Refused(mistakes) = refused.unwrap_err() else {
        panic!("it is wrong")
    };
    let found: Vec<String> = mistakes.iter().map(|m| format!("{} {}", m.pointer, m.code)).collect();
    assert_eq!(
        found,
        [
            "/targets/0/provider unknown_provider",
            "/plans/0 unknown_plan",
            "/max_output_tokens invalid_limit"
        ]
    );
    assert_eq!(house.chat.show_model("fast").await.unwrap(), None);
}

#[tokio::test]
async fn nobody_writes_over_what_they_have_not_seen() {
    let house = House::new().await;
    let first = put(&house, alias("fast", &[("main", "1")])).await;
    assert!(first.created);
    let version = first.model.stored.unwrap().version;
    let second = |expected, model| put_as(&house, alias("fast", &[("main", model)]), expected, Actor::Operator);
    for stale in [Expected::Nothing, Expected::Version(nobodys())] {
        assert!(matches!(second(stale, "2").await, Err(PutModelError::Changed)));
    }
    let changed = second(Expected::Version(version), "2").await.unwrap();
    assert!(!changed.created);
    let newer = changed.model.stored.unwrap();
    assert_ne!(newer.version, version);
    // What is so already is no change.
    let same = second(Expected::Something, "2").await.unwrap();
    assert_eq!(same.model.stored.unwrap(), newer);
    let client = Client::default();
    let stale = Expected::Version(version);
    let refused = house.chat.delete_model("fast", stale, Actor::Operator, &client).await;
    assert!(matches!(refused, Err(DeleteModelError::Changed)));
    let filter = AuditFilter {
        act: Some("model".into()),
        ..AuditFilter::default()
    };
    let rows = house
        .store
        .read()
        .await
        .unwrap()
        .page_audit(&filter, None, 9)
        .await
        .unwrap();
    assert_eq!(rows.len(), 2, "one row for each change: {rows:?}");
    assert_eq!(rows[0].details["targets"], serde_json::json!(["main/2"]));
}

#[tokio::test]
async fn only_what_is_stored_can_be_deleted_and_only_by_who_may() {
    let house = House::new().await;
    assert!(matches!(
        delete(&house, "small").await,
        Err(DeleteModelError::Configured(_))
    ));
    assert!(matches!(delete(&house, "none").await, Err(DeleteModelError::NotFound)));
    let ada = house.somebody("ada@example.com").await;
    for actor in [
        Actor::User(ada.user.id),
        Actor::User(UserId(nobodys().0)),
        Actor::Anonymous,
    ] {
        let refused = put_as(&house, alias("fast", &[("main", "1")]), Expected::Anything, actor).await;
        assert!(matches!(refused, Err(PutModelError::Forbidden)));
        let client = Client::default();
        let refused = house
            .chat
            .delete_model("small", Expected::Anything, actor, &client)
            .await;
        assert!(matches!(refused, Err(DeleteModelError::Forbidden)));
    }
}

#[tokio::test]
async fn what_has_lost_its_provider_is_kept_and_shown_and_not_offered() {
    let house = House::new().await;
    let who = house.somebody("ada@example.com").await;
    written(&house, alias("small", &[("gone", "m")])).await;
    written(&house, alias("half", &[("gone", "m"), ("backup", "n")])).await;
    assert!(house.chat.load_models().await.unwrap());
    assert!(!house.chat.load_models().await.unwrap(), "they are the same");
    assert_eq!(everything(&house).await, ["large", "half"]);
    let refused = ask(&house, &who, "small").await;
    assert!(matches!(
        refused,
        Err(ChatError::Refused(CallRefused::ModelNotInPlan { .. }))
    ));
    let small = house.chat.show_model("small").await.unwrap().unwrap();
    assert_eq!(shown(&small), (true, true, false));
    assert!(
        small.problems.len() == 1 && small.problems[0].contains("`gone`"),
        "{small:?}"
    );
    assert!(!small.targets[0].provider_known);
    let half = house.chat.show_model("half").await.unwrap().unwrap();
    assert_eq!((half.offered, half.problems.len()), (true, 1));
    assert!(!half.targets[0].provider_known && half.targets[1].provider_known);
    // It can be put right, or away.
    put(&house, alias("small", &[("main", "m")])).await;
    delete(&house, "half").await.unwrap();
    assert_eq!(everything(&house).await, ["small", "large"]);
}

/// 64 that change one model: each change is one of theirs as a whole, and the last one stands on every node.
#[tokio::test(flavor = "multi_thread")]
async fn of_64_changes_at_once_one_stands_and_of_those_against_one_state_one_is_made() {
    let house = Arc::new(House::new().await);
    let first = put(&house, alias("fast", &[("main", "first")])).await;
    let version = first.model.stored.unwrap().version;
    for expected in [Expected::Version(version), Expected::Anything] {
        let tries = (0..64).map(|number| {
            let house = Arc::clone(&house);
            tokio::spawn(async move {
                let alias = alias("fast", &[("main", &format!("{expected:?}-{number}"))]);
                put_as(&house, alias, expected, Actor::Operator).await
            })
        });
        let done = futures_util::future::join_all(tries).await.into_iter();
        let (made, refused): (Vec<_>, Vec<_>) = done.map(Result::unwrap).partition(Result::is_ok);
        assert!(refused.iter().all(|it| matches!(it, Err(PutModelError::Changed))));
        let expected_made = if expected == Expected::Anything { 64 } else { 1 };
        assert_eq!(made.len(), expected_made);
        let stored = house.store.read().await.unwrap().stored_aliases().await.unwrap();
        assert_eq!(stored.len(), 1);
        let held = house.chat.offered().await.unwrap();
        let held = held.iter().find(|alias| alias.name == "fast").unwrap();
        assert_eq!(stored[0].alias.as_ref(), Ok(&**held), "the node has what the store has");
    }
}

/// Nobody tells it, as where the link is down: it looks again, well within the second.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hears_nothing_notices_by_itself() {
    let house = House::new().await;
    let chat = Arc::clone(&house.chat);
    let following = tokio::spawn(async move { chat.follow_models().await });
    for round in 0..3 {
        let name = format!("new-{round}");
        let begun = Instant::now();
        written(&house, alias(&name, &[("main", "m")])).await;
        while !everything(&house).await.contains(&name) {
            assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    following.abort();
}

/// A call whose process died costs what its model costs now, wherever that is said.
#[tokio::test]
async fn a_lost_call_is_priced_by_what_is_in_force() {
    let house = House::with(true, NanoUsd::from_usd(1e6), &["a", "small"]).await;
    let who = house.payer("ada@example.com", SubscriptionStatus::Active).await;
    let priced = |name: &str, usd: f64| {
        let mut alias = alias(name, &[("main", "m")]);
        alias.targets[0].price = Some(ModelPrice {
            input: NanoUsd::from_usd(usd),
            ..ModelPrice::FREE
        });
        alias
    };
    // One that only the store has, and one over the configuration's, whose own price is a dollar.
    put(&house, priced("stored", 5.0)).await;
    put(&house, priced("small", 7.0)).await;
    // Their readers stay, so that nobody else books them.
    let mut running = Vec::new();
    for model in ["stored", "small"] {
        house.model.script_stream([text_step("m", "Hel"), Step::Hang]);
        running.push(ask(&house, &who, model).await.unwrap());
    }
    house.clock.advance_seconds(2 * LEASE.as_secs() + 1);
    assert_eq!(house.chat.sweep_calls().await.unwrap(), 2);
    let by = vec![UsageGroup::Model];
    let sums = house.billing.list_usage(None, None, None, by).await.unwrap();
    let of = |model: &str| {
        let sum = sums.iter().find(|sum| sum.model.as_deref() == Some(model)).unwrap();
        let cost = sum.totals.known_cost().unwrap().0;
        (cost, sum.totals.tokens.prompt_tokens)
    };
    let ((stored, tokens), (small, same)) = (of("stored"), of("small"));
    assert!(tokens > 0 && same > 0, "{sums:?}");
    assert_eq!((stored, small), (tokens * 5000, same * 7000));
    let spend = house.level(Owner::DEPLOYMENT, METER_SPEND).await;
    assert_eq!((spend.used, spend.reserved), (stored + small, 0));
}
