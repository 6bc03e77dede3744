//! What of Anteroom's own can ask for a feature of the plan, and which one it asks for.

use super::{Access, EntitlementKind};

/// Something of Anteroom's own for which a feature can be asked. Signing up, signing in and reading what is one's own are
/// none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Operation {
    /// `POST /v1/chat/completions`
    #[default]
    ChatCompletions,
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/responses`
    Responses,
    /// `POST /v1/messages`
    Messages,
    /// `POST /v1/embeddings`
    Embeddings,
    /// Having a message of a conversation answered, for the first time or again.
    Conversations,
    /// Making an API key.
    ApiKeys,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Responses,
        Self::Messages,
        Self::Embeddings,
        Self::Conversations,
        Self::ApiKeys,
    ];

    /// The word that the configuration has for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::Embeddings => "embeddings",
            Self::Conversations => "conversations",
            Self::ApiKeys => "api_keys",
        }
    }

    /// Reads that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.as_str() == word)
    }
}

/// The features that operations ask for; most ask for none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requirements(Vec<(Operation, String)>);

impl Requirements {
    /// Each operation with the feature that it asks for.
    pub fn new(asked: Vec<(Operation, String)>) -> Self {
        Self(asked)
    }

    /// The features that an operation asks for.
    pub fn of(&self, operation: Operation) -> impl Iterator<Item = &str> {
        let its = self.0.iter().filter(move |(asks, _)| *asks == operation);
        its.map(|(_, feature)| feature.as_str())
    }
}

/// A feature that the plan in force does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("your plan `{plan}` does not have the feature `{feature}`")]
pub struct FeatureNotInPlan {
    /// The feature's key.
    pub feature: String,
    /// The plan in force.
    pub plan: String,
}

impl Access {
    /// Whether a feature is there: the plan, or a grant beside it, switches on the boolean entitlement of this name. What
    /// nobody has heard of is not there.
    pub fn has(&self, feature: &str) -> bool {
        let mut its = self.plan.entitlements.iter().filter(|it| it.key == feature);
        its.any(|it| matches!(it.kind, EntitlementKind::Boolean(true)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{AccessReason, Entitlement, ModelRule, Plan, Window};
    use super::*;

    fn access(entitlements: &[(&str, EntitlementKind)]) -> Access {
        let entitlements = entitlements.iter().map(|(key, kind)| Entitlement {
            key: (*key).to_owned(),
            kind: kind.clone(),
        });
        let plan = Plan {
            key: "free".into(),
            name: "Free".into(),
            version: 1,
            rank: 0,
            trial: None,
            models: ModelRule::All,
            prices: vec![],
            seats: None,
            by_agreement: false,
            entitlements: entitlements.collect(),
            rate: crate::protection::CallRate::default(),
            parameters: crate::chat::ParameterRule::default(),
        };
        Access {
            plan: Arc::new(plan),
            status: "none".into(),
            active: false,
            seats: 1,
            reason: AccessReason::NoSubscription,
            until: None,
            lapsed: None,
            paid_until: None,
        }
    }

    #[test]
    fn only_what_is_switched_on_is_there() {
        use EntitlementKind::{Boolean, Static};
        let metered = EntitlementKind::metered(None, Window::Day);
        for (kind, there) in [
            (Boolean(true), true),
            (Boolean(false), false),
            (Static(true.into()), false),
            (metered, false),
        ] {
            let access = access(&[("other", Boolean(true)), ("embeddings", kind.clone())]);
            assert_eq!(access.has("embeddings"), there, "{kind:?}");
            assert!(!access.has("unheard_of") && !access.has("") && !access.has("Embeddings"));
        }
        assert!(!access(&[]).has("embeddings"));
    }

    #[test]
    fn a_grant_switches_on_and_off() {
        use EntitlementKind::Boolean;
        let grant = |on| Entitlement {
            key: "embeddings".into(),
            kind: Boolean(on),
        };
        for on in [true, false] {
            let before = access(&[("embeddings", Boolean(!on))]);
            let plan = Arc::new(before.plan.with_entitlements(&[&grant(on)]));
            assert_eq!(Access { plan, ..before }.has("embeddings"), on);
        }
    }

    #[test]
    fn operations_ask_for_what_is_said_of_them_and_words_survive_a_round_trip() {
        let requirements = Requirements::new(vec![
            (Operation::Embeddings, "embeddings".into()),
            (Operation::Embeddings, "api".into()),
            (Operation::ApiKeys, "api".into()),
        ]);
        let of = |operation| requirements.of(operation).collect::<Vec<_>>();
        assert_eq!(of(Operation::Embeddings), ["embeddings", "api"]);
        assert_eq!(of(Operation::ApiKeys), ["api"]);
        assert!(of(Operation::Messages).is_empty());
        for operation in Operation::ALL {
            assert_eq!(Operation::parse(operation.as_str()), Some(operation));
        }
        assert_eq!(Operation::parse("sign_up"), None);
    }
}
