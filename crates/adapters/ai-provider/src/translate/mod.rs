//! What all dialects have in common that are not OpenAI's: its requests are read here, and its answers written.

pub(crate) mod answer;
pub(crate) mod ask;
#[cfg(test)]
pub(crate) mod proof;
pub(crate) mod tools;
pub(crate) mod turns;
pub(crate) mod vectors;
