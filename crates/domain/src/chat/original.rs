//! What a caller said in a dialect of its own, beside the chat completion that was made of it.

use super::RawObject;

/// A dialect other than OpenAI's chat completions that a provider may speak as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Anthropic's Messages.
    AnthropicMessages,
}

/// The member of an answer, and of a chunk of one, under which a provider hands its own words on to a caller who speaks
/// its dialect: an object with [`Dialect::key`].
pub const OWN_WORDS: &str = "anteroom";

impl Dialect {
    /// Its name in [`OWN_WORDS`].
    pub fn key(self) -> &'static str {
        match self {
            Self::AnthropicMessages => "anthropic",
        }
    }
}

/// Tokens by which a tool that a model knows by heart lengthens a prompt, beyond the bytes that name it: Anthropic says 245
/// for a shell, 700 for an editor and about 1,200 for a computer.
pub const TOKENS_OF_KNOWN_TOOL: i64 = 1_200;

/// A request as its caller said it. A provider that speaks its dialect is told this, so that what a chat completion has
/// no word for (signatures of thought, marks for the cache) arrives as it was sent.
#[derive(Debug, Clone)]
pub struct Original {
    /// The dialect it is in.
    pub dialect: Dialect,
    /// Its members, without those that are passed on to nobody.
    pub body: RawObject,
    /// What of it is lost where the provider is told the chat completion instead.
    pub lost: Vec<String>,
    /// Where it names tools that only a model of its dialect knows, such as `tools.0.type`. Without them something else would
    /// be asked for, so a provider that is told the chat completion cannot be asked at all.
    pub known_tools: Vec<String>,
}
