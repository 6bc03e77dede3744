//! Aliases that admins have stored, and what is offered with them: they stand over those of the configuration.

use std::sync::Arc;

use super::{Known, ModelAlias, Target};
use crate::{AliasVersion, Timestamp};

/// The most aliases that are stored: every node keeps all of them in memory.
pub const MAX_STORED_ALIASES: usize = 1000;

/// An alias that an admin has stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAlias {
    /// Its name.
    pub name: String,
    /// Another one after every change.
    pub version: AliasVersion,
    /// Whether it is offered. One that is not keeps the configuration's of its name from being offered as well.
    pub enabled: bool,
    /// The alias; or why it cannot be read, where a newer version of Anteroom has written it.
    pub alias: Result<ModelAlias, String>,
    /// When there was none before.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl StoredAlias {
    /// What is wrong with it now. It was right when it was stored, but providers and plans come and go with the
    /// configuration.
    pub fn problems(&self, known: Known<'_>) -> Vec<String> {
        match &self.alias {
            Ok(alias) => alias.mistakes(known).into_iter().map(|m| m.detail).collect(),
            Err(reason) => vec![format!("it cannot be read by this version: {reason}")],
        }
    }

    /// The alias as it is offered, if it is: without the targets whose provider is gone.
    pub fn offered(&self, providers: &[&str]) -> Option<ModelAlias> {
        let alias = self.alias.as_ref().ok().filter(|_| self.enabled)?;
        let is_there = |target: &&Target| providers.contains(&target.provider.as_str());
        let targets: Vec<Target> = alias.targets.iter().filter(is_there).cloned().collect();
        (!targets.is_empty()).then(|| ModelAlias {
            targets,
            ..alias.clone()
        })
    }
}

/// What is offered: what is configured, in its order, each with what is stored under its name in its place, and then
/// what else is stored, by name. That is the order in which plans have their first model.
pub fn in_force(configured: &[Arc<ModelAlias>], stored: &[StoredAlias], providers: &[&str]) -> Vec<Arc<ModelAlias>> {
    let over = |alias: &Arc<ModelAlias>| match stored.iter().find(|it| it.name == alias.name) {
        None => Some(Arc::clone(alias)),
        Some(it) => it.offered(providers).map(Arc::new),
    };
    let mut others: Vec<&StoredAlias> = stored
        .iter()
        .filter(|it| configured.iter().all(|alias| alias.name != it.name))
        .collect();
    others.sort_by(|a, b| a.name.cmp(&b.name));
    let others = others.into_iter().filter_map(|it| it.offered(providers).map(Arc::new));
    configured.iter().filter_map(over).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn configured(names: &[&str]) -> Vec<Arc<ModelAlias>> {
        names
            .iter()
            .map(|name| Arc::new(ModelAlias::plain("p", name)))
            .collect()
    }

    fn stored(name: &str, provider: &str) -> StoredAlias {
        StoredAlias {
            name: name.to_owned(),
            version: AliasVersion(Uuid::nil()),
            enabled: true,
            alias: Ok(ModelAlias {
                name: name.to_owned(),
                ..ModelAlias::plain(provider, "stored")
            }),
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn offered(configured: &[Arc<ModelAlias>], stored: &[StoredAlias]) -> Vec<String> {
        let offered = in_force(configured, stored, &["p"]).into_iter();
        offered.map(|a| format!("{}={}", a.name, a.targets[0].model)).collect()
    }

    #[test]
    fn what_is_stored_stands_in_the_configurations_place_and_the_rest_follows_by_name() {
        let both = configured(&["b", "a"]);
        assert_eq!(offered(&both, &[]), ["b=b", "a=a"]);
        assert_eq!(
            offered(&both, &[stored("z", "p"), stored("b", "p"), stored("c", "p")]),
            ["b=stored", "a=a", "c=stored", "z=stored"]
        );
    }

    #[test]
    fn what_cannot_be_used_is_not_offered_and_hides_what_it_stands_over() {
        let both = configured(&["b", "a"]);
        let disabled = StoredAlias {
            enabled: false,
            ..stored("a", "p")
        };
        let unreadable = StoredAlias {
            alias: Err("an unknown member".to_owned()),
            ..stored("b", "p")
        };
        assert_eq!(offered(&both, std::slice::from_ref(&disabled)), ["b=b"]);
        assert_eq!(offered(&both, &[disabled, unreadable, stored("c", "gone")]), [""; 0]);
    }

    #[test]
    fn targets_whose_provider_is_gone_are_left_out() {
        let mut two = stored("a", "gone");
        let more = ModelAlias::plain("p", "m").targets;
        two.alias.as_mut().unwrap().targets.extend(more);
        assert_eq!(offered(&[], std::slice::from_ref(&two)), ["a=m"]);
        let known = Known {
            providers: &["p"],
            plans: &[],
        };
        let problems = two.problems(known);
        assert!(problems.len() == 1 && problems[0].contains("`gone`"), "{problems:?}");
        assert_eq!(stored("a", "p").problems(known), [""; 0]);
    }
}
