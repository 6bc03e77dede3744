//! A server that speaks `OpenAI`'s moderation API.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use anteroom_domain::chat::{Consequence, Direction, Finding, Pace, Verdict};
use anteroom_ports::chat::{Moderator, ModeratorAway};

/// Largest answer that is read.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// The longest text that is sent in one piece, in bytes.
const MAX_PIECE: usize = 16 * 1024;

/// What of the piece before is sent along with the next, so that what stands across a cut is seen whole.
const OVERLAP: usize = 512;

/// How it is asked.
#[derive(Debug, Clone)]
pub struct OpenAiModerationOptions {
    /// Where, up to and including `/v1`.
    pub base_url: Url,
    /// The key sent to it; empty: none.
    pub api_key: SecretString,
    /// The model that judges.
    pub model: String,
    /// From which score on a category counts; one that is not in here counts where the server says so.
    pub thresholds: BTreeMap<String, f64>,
    /// What follows when one counts.
    pub consequence: Consequence,
    /// Which ways it looks.
    pub directions: Vec<Direction>,
    /// For a whole question.
    pub timeout: Duration,
}

/// A moderator behind a network.
pub struct OpenAiModeration {
    http: reqwest::Client,
    url: Url,
    version: String,
    options: OpenAiModerationOptions,
}

impl std::fmt::Debug for OpenAiModeration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenAiModeration")
            .field("url", &self.url.as_str())
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Question<'a> {
    model: &'a str,
    input: Vec<&'a str>,
}

#[derive(Deserialize)]
struct Answer {
    results: Vec<Judged>,
}

#[derive(Deserialize)]
struct Judged {
    categories: BTreeMap<String, Option<bool>>,
    #[serde(default)]
    category_scores: BTreeMap<String, Option<f64>>,
}

fn away(detail: impl Into<String>) -> ModeratorAway {
    ModeratorAway { detail: detail.into() }
}

/// A text in pieces that the server takes, each with the end of the one before.
fn pieces(text: &str) -> Vec<&str> {
    let floor = |mut at: usize| {
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let mut pieces = Vec::new();
    let mut from = 0;
    loop {
        let to = floor((from + MAX_PIECE).min(text.len()));
        pieces.push(&text[from..to]);
        if to == text.len() {
            return pieces;
        }
        from = floor(to - OVERLAP);
    }
}

impl OpenAiModeration {
    /// Connects to nothing yet.
    pub fn new(options: OpenAiModerationOptions) -> Result<Self, ModeratorAway> {
        // Redirects would take the key and the text elsewhere.
        let http = reqwest::Client::builder()
            .user_agent(concat!("anteroom/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .timeout(options.timeout)
            .build()
            .map_err(|_| away("the HTTP client cannot be made"))?;
        let mut url = options.base_url.clone();
        url.path_segments_mut()
            .map_err(|()| away("the address has no path"))?
            .pop_if_empty()
            .push("moderations");
        let version = format!("{}{:?}{:?}", options.model, options.thresholds, options.consequence);
        Ok(Self {
            http,
            url,
            version,
            options,
        })
    }

    async fn ask(&self, text: &str) -> Result<Answer, ModeratorAway> {
        let question = Question {
            model: &self.options.model,
            input: pieces(text),
        };
        let mut request = self.http.post(self.url.clone()).json(&question);
        let key = self.options.api_key.expose_secret();
        if !key.is_empty() {
            request = request.bearer_auth(key);
        }
        let said = |e: &reqwest::Error| {
            away(if e.is_timeout() {
                "it took too long"
            } else {
                "it cannot be reached"
            })
        };
        let mut response = request.send().await.map_err(|e| said(&e))?;
        // What else it says may hold the text.
        if !response.status().is_success() {
            return Err(away(format!("it answered with status {}", response.status().as_u16())));
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| said(&e))? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(away("its answer is too large"));
            }
            body.extend_from_slice(&chunk);
        }
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| away("its answer is no verdict"))?;
        if answer.results.len() != question.input.len() {
            return Err(away("its answer is no verdict"));
        }
        Ok(answer)
    }

    /// Whether a category counts.
    fn counts(&self, judged: &Judged, category: &str, says: bool) -> bool {
        match self.options.thresholds.get(category) {
            // A score that is missing is no reason to let a text pass that the server itself would not.
            Some(least) => match judged.category_scores.get(category).copied().flatten() {
                Some(score) => score >= *least,
                None => says,
            },
            None => says,
        }
    }
}

#[async_trait]
impl Moderator for OpenAiModeration {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn looks_at(&self, direction: Direction) -> bool {
        self.options.directions.contains(&direction)
    }

    fn pace(&self) -> Pace {
        Pace::Sentences
    }

    async fn judge(&self, _: Direction, text: &str) -> Result<Verdict, ModeratorAway> {
        if text.trim().is_empty() {
            return Ok(Verdict::default());
        }
        let answer = self.ask(text).await?;
        let mut verdict = Verdict::default();
        for judged in &answer.results {
            for (category, says) in &judged.categories {
                let known = verdict.findings.iter().any(|finding| finding.rule == *category);
                if !known && self.counts(judged, category, says.unwrap_or(false)) {
                    verdict.findings.push(Finding {
                        rule: category.clone(),
                        consequence: self.options.consequence,
                    });
                }
            }
        }
        Ok(verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_sent_in_pieces_that_overlap() {
        assert_eq!(pieces("short"), ["short"]);
        let text = "\u{fc}".repeat(20_000);
        let cut = pieces(&text);
        assert!(cut.len() > 2 && cut.iter().all(|piece| piece.len() <= MAX_PIECE));
        let longer: usize = cut.iter().map(|piece| piece.len()).sum();
        assert_eq!(longer - text.len(), (cut.len() - 1) * OVERLAP);
    }
}
