//! Model providers: any OpenAI-compatible server, and the built-in echo model.
//!
//! [`OpenAiCompatible`] relays a request's bytes to a server that speaks OpenAI's API and hands its answer back as it
//! came. [`Echo`] needs no server: it repeats what it is told.

mod echo;
mod openai_compatible;

pub use echo::Echo;
pub use openai_compatible::{InvalidOptions, OpenAiCompatible, OpenAiOptions};
