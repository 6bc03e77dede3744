//! Model providers: any OpenAI-compatible server, Anthropic's and Gemini's own APIs, and the built-in echo model.
//!
//! [`OpenAiCompatible`] relays a request's bytes to a server that speaks OpenAI's API and hands its answer back as it
//! came. [`Anthropic`] and [`Gemini`] are told in their own words what OpenAI's request says, and their answers become
//! OpenAI's. [`Echo`] needs no server: it repeats what it is told. docs/guides/add-a-model-provider.md says how another
//! is added.

mod anthropic;
mod echo;
mod gemini;
mod openai_compatible;
mod shared;
mod translate;

pub use anthropic::{Anthropic, AnthropicOptions};
pub use echo::Echo;
pub use gemini::{Gemini, GeminiOptions};
pub use openai_compatible::{AzureOptions, OpenAiCompatible, OpenAiOptions};
pub use shared::{InvalidOptions, Timeouts};
