//! Who looks at what goes to the model and comes from it.

use async_trait::async_trait;

use anteroom_domain::chat::{Direction, Pace, Verdict};

/// The moderator could not say anything. Carries no key and nothing of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the moderator cannot be asked: {detail}")]
pub struct ModeratorAway {
    /// For the log.
    pub detail: String,
}

/// Looks at texts.
#[async_trait]
pub trait Moderator: Send + Sync {
    /// Its name in logs, metrics and the audit log.
    fn name(&self) -> &str;

    /// Changes whenever it might say something else of the same text: answers that were judged before are not taken for
    /// judged then.
    fn version(&self) -> &str;

    /// Whether it has anything to say about texts that go this way. Where it has not, it is not asked.
    fn looks_at(&self, direction: Direction) -> bool;

    /// How finely it wants a text cut that is still coming.
    fn pace(&self) -> Pace;

    /// Judges a text, whatever its length. The same text is judged alike. Nothing of the text is kept, logged or part
    /// of what it answers. Dropping the future ends the question.
    async fn judge(&self, direction: Direction, text: &str) -> Result<Verdict, ModeratorAway>;
}
