//! What every moderator does, whoever judges.
//!
//! An adapter's tests implement [`Bench`] and name it to [`moderator_contract!`](crate::moderator_contract): `judges` for
//! one that cannot fail, `judges` and `failures` for one behind a network.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a suite fails by panicking"
)]

use std::time::Duration;

use async_trait::async_trait;

use anteroom_domain::chat::{Consequence, Direction};
use anteroom_ports::chat::Moderator;

/// What the moderator under test finds, in any case.
pub const FORBIDDEN: &str = "swordfish";

/// What it was called with, and must not repeat.
pub const KEY: &str = "key-of-the-moderator-0123456789";

/// What the server behind it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// Judges: [`FORBIDDEN`] is found.
    Judge,
    /// Refuses with this status, and repeats the text and the key.
    Refuses(u16),
    /// Sends what is no verdict, with status 200.
    Garbage,
    /// Takes the question and never says anything.
    Silent,
    /// Cannot be reached.
    Away,
}

/// What the suite needs beyond the port.
#[async_trait]
pub trait Bench: Send + Sync {
    /// The adapter, which refuses what holds [`FORBIDDEN`] and looks both ways, patient for a second.
    async fn moderator(&self, scene: Scene) -> Box<dyn Moderator>;
}

/// It refuses what it should, wherever it stands and whichever way it goes, and says which rule it was.
pub async fn what_is_forbidden_is_refused_and_nothing_else(bench: &dyn Bench) {
    let moderator = bench.moderator(Scene::Judge).await;
    for direction in [Direction::Input, Direction::Output] {
        assert!(moderator.looks_at(direction));
        for text in [
            format!("say {FORBIDDEN}!"),
            FORBIDDEN.to_uppercase(),
            format!("{} {FORBIDDEN} {}", "x ".repeat(50_000), "\u{fc} ".repeat(50_000)),
        ] {
            let verdict = moderator.judge(direction, &text).await.unwrap();
            let finding = verdict.refusal().unwrap();
            assert_eq!(finding.consequence, Consequence::Refuse);
            assert!(!finding.rule.is_empty());
            assert_eq!(verdict.findings.len(), 1, "each finding is there once");
            assert_eq!(
                moderator.judge(direction, &text).await.unwrap(),
                verdict,
                "it judges alike"
            );
        }
        for text in ["", " ", "good morning", "sword fish"] {
            let verdict = moderator.judge(direction, text).await.unwrap();
            assert_eq!(verdict.findings, [], "{text}");
        }
    }
    assert!(!moderator.name().is_empty() && !moderator.version().is_empty());
}

/// Many at once do not mix up.
pub async fn texts_judged_at_once_are_not_mixed_up(bench: &dyn Bench) {
    let moderator = bench.moderator(Scene::Judge).await;
    let judged = (0..64).map(|number| {
        let moderator = &moderator;
        async move {
            let text = if number % 2 == 0 { FORBIDDEN } else { "good morning" };
            let verdict = moderator.judge(Direction::Input, text).await.unwrap();
            assert_eq!(verdict.refusal().is_some(), number % 2 == 0);
        }
    });
    futures_util::future::join_all(judged).await;
}

/// What it cannot judge it does not let pass for harmless, and it repeats neither key nor text.
pub async fn failures_are_failures_and_tell_nothing(bench: &dyn Bench) {
    for scene in [
        Scene::Refuses(401),
        Scene::Refuses(429),
        Scene::Refuses(500),
        Scene::Garbage,
        Scene::Silent,
        Scene::Away,
    ] {
        let moderator = bench.moderator(scene).await;
        let judged = moderator.judge(Direction::Input, FORBIDDEN);
        let away = tokio::time::timeout(Duration::from_secs(30), judged)
            .await
            .unwrap()
            .unwrap_err();
        let said = format!("{away} {away:?}");
        assert!(!said.contains(KEY) && !said.contains(FORBIDDEN), "{scene:?}: {said}");
    }
}

/// Writes a test for each case of the suite.
#[macro_export]
macro_rules! moderator_contract {
    ($bench:expr, judges) => {
        #[tokio::test]
        async fn what_is_forbidden_is_refused_and_nothing_else() {
            $crate::moderator::what_is_forbidden_is_refused_and_nothing_else(&$bench).await;
        }

        #[tokio::test]
        async fn texts_judged_at_once_are_not_mixed_up() {
            $crate::moderator::texts_judged_at_once_are_not_mixed_up(&$bench).await;
        }
    };
    ($bench:expr, judges, failures) => {
        $crate::moderator_contract!($bench, judges);

        #[tokio::test]
        async fn failures_are_failures_and_tell_nothing() {
            $crate::moderator::failures_are_failures_and_tell_nothing(&$bench).await;
        }
    };
}
