//! Aliases of models that admins have stored.

use std::collections::HashSet;
use std::sync::Arc;

use anteroom_domain::AliasVersion;
use anteroom_domain::billing::{ModelPrice, NanoUsd};
use anteroom_domain::chat::{MaxTokensParameter, ModelAlias, StoredAlias, Target};
use anteroom_domain::sessions::Change;
use anteroom_ports::{Store, StoreError};

use super::samples::{at, id};
use super::{RACERS, TestDatabase, begin, race, ready};

fn stored(name: &str) -> StoredAlias {
    let target = |model: &str, weight, price| Target {
        provider: "somewhere".into(),
        model: model.into(),
        weight,
        price,
    };
    let price = ModelPrice {
        input: NanoUsd(1_250_000_001),
        cached_input: NanoUsd(0),
        output: NanoUsd(i64::MAX),
        cache_write: Some(NanoUsd(7)),
    };
    StoredAlias {
        name: name.into(),
        version: AliasVersion(id()),
        enabled: true,
        alias: Ok(ModelAlias {
            name: name.into(),
            targets: vec![target("a/model:1", Some(3), Some(price)), target("ädá 🌲", None, None)],
            plans: Some(vec!["pro".into()]),
            context_window: Some(1_000_000),
            max_output_tokens: None,
            max_tokens_parameter: MaxTokensParameter::MaxCompletionTokens,
        }),
        created_at: at(1),
        updated_at: at(2),
    }
}

async fn put(store: &Arc<dyn Store>, alias: &StoredAlias) {
    let mut unit = begin(store).await;
    unit.put_stored_alias(alias).await.unwrap();
    unit.commit().await.unwrap();
}

async fn all(store: &Arc<dyn Store>) -> Vec<StoredAlias> {
    store.read().await.unwrap().stored_aliases().await.unwrap()
}

/// A price that is not known stays so; names are sorted by their bytes, and told apart by them.
pub async fn stored_aliases_survive_a_round_trip(database: &dyn TestDatabase) {
    let store = ready(database).await;
    assert_eq!(all(&store).await, []);
    let names = ["Fast", "b/fast", "fast", "ä"];
    let mut aliases = names.map(stored);
    aliases[1].enabled = false;
    for alias in aliases.iter().rev() {
        put(&store, alias).await;
    }
    assert_eq!(all(&store).await, aliases);
    let price = |alias: &StoredAlias, i: usize| alias.alias.as_ref().unwrap().targets[i].price;
    assert!(price(&aliases[0], 0).is_some() && price(&aliases[0], 1).is_none());
}

/// There is one of a name.
pub async fn aliases_are_replaced_and_deleted(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (mut fast, slow) = (stored("fast"), stored("slow"));
    put(&store, &fast).await;
    put(&store, &slow).await;
    fast.version = AliasVersion(id());
    fast.enabled = false;
    fast.updated_at = at(9);
    fast.alias.as_mut().unwrap().plans = None;
    put(&store, &fast).await;
    assert_eq!(all(&store).await, [fast.clone(), slow.clone()]);
    let mut unit = begin(&store).await;
    assert!(unit.delete_stored_alias("fast").await.unwrap());
    assert!(!unit.delete_stored_alias("fast").await.unwrap());
    assert!(!unit.delete_stored_alias("SLOW").await.unwrap());
    drop(unit);
    assert_eq!(all(&store).await.len(), 2, "it was not committed");
    let mut unit = begin(&store).await;
    assert!(unit.delete_stored_alias("fast").await.unwrap());
    unit.commit().await.unwrap();
    assert_eq!(all(&store).await, [slow]);
}

/// With the commit, and only then; what changed nothing is not told.
pub async fn what_is_stored_of_models_is_told(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let told = async || {
        let told = store.read().await.unwrap().told_lately().await.unwrap();
        let changes: HashSet<Change> = told.iter().map(|(_, change)| *change).collect();
        assert!(changes.iter().all(|change| *change == Change::Models), "{changes:?}");
        told.len()
    };
    let mut unit = begin(&store).await;
    unit.put_stored_alias(&stored("fast")).await.unwrap();
    assert_eq!(told().await, 0);
    unit.commit().await.unwrap();
    assert_eq!(told().await, 1);
    let mut unit = begin(&store).await;
    assert!(!unit.delete_stored_alias("slow").await.unwrap());
    unit.commit().await.unwrap();
    assert_eq!(told().await, 1);
    let mut unit = begin(&store).await;
    assert!(unit.delete_stored_alias("fast").await.unwrap());
    unit.commit().await.unwrap();
    assert_eq!(told().await, 2);
}

/// Whoever locks them before writing loses nobody's change: here each adds a target to those there are.
pub async fn of_parallel_writers_of_an_alias_each_sees_the_one_before(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let mut first = stored("fast");
    first.alias.as_mut().unwrap().targets.clear();
    put(&store, &first).await;
    race(|number| {
        let store = store.clone();
        async move {
            let mut unit = begin(&store).await;
            let mut alias = unit.lock_stored_aliases().await.unwrap().remove(0);
            alias.version = AliasVersion(id());
            alias.alias.as_mut().unwrap().targets.push(Target {
                provider: "somewhere".into(),
                model: number.to_string(),
                weight: None,
                price: None,
            });
            unit.put_stored_alias(&alias).await.unwrap();
            unit.commit().await.unwrap();
        }
    })
    .await;
    let last = all(&store).await.remove(0);
    let models: HashSet<String> = last.alias.unwrap().targets.into_iter().map(|t| t.model).collect();
    assert_eq!(models.len(), RACERS);
}

/// It neither hides the others nor fails, and is not written over by accident.
pub async fn what_a_newer_version_wrote_is_shown_as_unreadable(database: &dyn TestDatabase) {
    let store = ready(database).await;
    put(&store, &stored("fast")).await;
    put(&store, &stored("slow")).await;
    database
        .execute(
            r#"UPDATE model_aliases SET definition = '{"name":"slow","targets":[],"novel":1}' WHERE name = 'slow'"#,
        )
        .await;
    let found = all(&store).await;
    assert_eq!(found.len(), 2);
    assert_eq!(found[0], stored_as(&found[0], "fast"));
    let reason = found[1].alias.as_ref().unwrap_err();
    assert!(reason.contains("novel"), "{reason}");
    let mut unit = begin(&store).await;
    let refused = unit.put_stored_alias(&found[1]).await;
    assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{refused:?}");
    drop(unit);
    let mut unit = begin(&store).await;
    assert!(unit.delete_stored_alias("slow").await.unwrap());
    unit.commit().await.unwrap();
}

/// The sample under this name, in the state that was found.
fn stored_as(found: &StoredAlias, name: &str) -> StoredAlias {
    StoredAlias {
        version: found.version,
        ..stored(name)
    }
}
