//! Vectors of `echo`: the same for the same text, of length one, and the nearer the more words two texts share.

use anteroom_ports::Embedder;
use anteroom_ports::chat::{EmbedCall, EmbedReply, ProviderError};
use async_trait::async_trait;

use super::{Echo, MODEL, count, words};
use crate::shared::failure::bad_request;
use crate::translate::vectors::{EmbedAsk, Input};

/// How many numbers a vector has, unless the request says.
const DIMENSIONS: usize = 256;

/// More numbers than any model's vectors have.
const MAX_DIMENSIONS: usize = 4096;

#[async_trait]
impl Embedder for Echo {
    fn name(&self) -> &'static str {
        MODEL
    }

    async fn embed(&self, call: EmbedCall) -> Result<EmbedReply, ProviderError> {
        let ask = EmbedAsk::read(&call.body)?;
        let dimensions = ask.dimensions.unwrap_or(DIMENSIONS);
        if dimensions > MAX_DIMENSIONS {
            let message = format!("`dimensions` must be at most {MAX_DIMENSIONS}");
            return Err(bad_request(Some("dimensions"), message));
        }
        let mut tokens = 0;
        let mut vectors = Vec::with_capacity(ask.inputs.len());
        for input in &ask.inputs {
            let words: Vec<String> = match input {
                Input::Text(text) => words(text).map(|word| word.trim().to_lowercase()).collect(),
                Input::Tokens(tokens) => tokens.iter().map(u32::to_string).collect(),
            };
            tokens += words.len();
            vectors.push(vector(&words, dimensions));
        }
        Ok(ask.answer(MODEL, vectors, Some(count(tokens))))
    }
}

/// Every word adds to two of the numbers, up or down, as its hash says.
fn vector(words: &[String], dimensions: usize) -> Vec<f32> {
    let mut vector = vec![0.0_f32; dimensions];
    for word in words {
        let hash = fnv(word.as_bytes());
        for half in [hash, hash.rotate_left(32)] {
            let place = usize::try_from(half % dimensions as u64).unwrap_or(0);
            vector[place] += if half & (1 << 40) == 0 { 1.0 } else { -1.0 };
        }
    }
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    if length > 0.0 {
        for number in &mut vector {
            *number /= length;
        }
    } else {
        // No words, or words that cancel each other out.
        vector[0] = 1.0;
    }
    vector
}

/// FNV-1a, which is the same everywhere and for ever.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<f32> {
        vector(&text.split(' ').map(str::to_owned).collect::<Vec<_>>(), DIMENSIONS)
    }

    fn likeness(a: &str, b: &str) -> f32 {
        of(a).iter().zip(of(b)).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn texts_that_share_words_are_near() {
        assert!((likeness("a b c", "a b c") - 1.0).abs() < 1e-6);
        assert!(likeness("the red house", "the red door") > likeness("the red house", "a quiet sea"));
    }

    #[test]
    fn every_vector_has_length_one() {
        for text in ["", "a", "a b c a", "\u{1f600}"] {
            for dimensions in [1, 2, 256] {
                let vector = vector(&[text.to_owned(), text.to_owned()], dimensions);
                let length = vector.iter().map(|n| n * n).sum::<f32>().sqrt();
                assert!((length - 1.0).abs() < 1e-6, "{text} {dimensions}");
            }
        }
    }
}
