//! Words and patterns of the operator's. They are matched in a time that grows with the text and with nothing else.

use std::sync::Arc;

use async_trait::async_trait;
use regex::{Regex, RegexBuilder};

use anteroom_domain::chat::{Consequence, Direction, Finding, Pace, Verdict};
use anteroom_ports::chat::{Moderator, ModeratorAway};

/// The largest that one compiled rule may be, in bytes of memory.
const MAX_COMPILED: usize = 2 * 1024 * 1024;

/// A text longer than this is judged where it keeps nobody else waiting, in bytes.
const LONG: usize = 32_768;

/// The longest pattern, or list of words together, in bytes.
const MAX_PATTERN: usize = 65_536;

/// Which texts a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// Those that go to the model.
    Input,
    /// Those that come from it.
    Output,
    /// Both.
    Both,
}

impl Where {
    fn covers(self, direction: Direction) -> bool {
        matches!(
            (self, direction),
            (Self::Both, _) | (Self::Input, Direction::Input) | (Self::Output, Direction::Output)
        )
    }
}

/// A rule, as the operator writes it: a pattern, or words.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name in the audit log.
    pub name: String,
    /// A regular expression, matched anywhere, whatever the case.
    pub pattern: Option<String>,
    /// Words and phrases, matched as whole words, whatever the case and however they are spaced.
    pub words: Vec<String>,
    /// Where it looks.
    pub at: Where,
    /// What follows.
    pub consequence: Consequence,
}

/// Why a rule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rule `{rule}`: {reason}")]
pub struct InvalidRule {
    /// Which one.
    pub rule: String,
    /// What is wrong with it.
    pub reason: String,
}

struct Compiled {
    name: String,
    at: Where,
    consequence: Consequence,
    pattern: Regex,
}

/// The rules, ready to be matched.
pub struct Rules {
    rules: Arc<[Compiled]>,
    version: String,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rules")
            .field("rules", &self.rules.len())
            .finish_non_exhaustive()
    }
}

/// A pattern that finds one of the words, not within another word: `ass` is not in `glass`. Scripts without spaces have
/// no such edges, so there a word is found anywhere.
fn of_words(words: &[String]) -> String {
    let spaced = |c: char| c.is_alphanumeric() && u32::from(c) < 0x2e80;
    let word = |word: &String| {
        let parts: Vec<String> = word.split_whitespace().map(regex::escape).collect();
        let begins = word.trim().chars().next().is_some_and(spaced);
        let ends = word.trim().chars().next_back().is_some_and(spaced);
        let (before, after) = (if begins { r"\b" } else { "" }, if ends { r"\b" } else { "" });
        format!("{before}{}{after}", parts.join(r"\s+"))
    };
    words.iter().map(word).collect::<Vec<_>>().join("|")
}

impl Rules {
    /// Compiles the rules; the first one that cannot be used is named.
    pub fn new(rules: &[Rule]) -> Result<Self, InvalidRule> {
        let compiled = rules.iter().map(compile).collect::<Result<Vec<_>, _>>()?;
        let version = format!("{rules:?}");
        Ok(Self {
            rules: compiled.into(),
            version,
        })
    }
}

fn compile(rule: &Rule) -> Result<Compiled, InvalidRule> {
    let wrong = |reason: String| InvalidRule {
        rule: rule.name.clone(),
        reason,
    };
    let pattern = match (&rule.pattern, rule.words.is_empty()) {
        (Some(pattern), true) => pattern.clone(),
        (None, false) => of_words(&rule.words),
        _ => return Err(wrong("it needs either a `pattern` or `words`".into())),
    };
    if rule.words.iter().any(|word| word.trim().is_empty()) {
        return Err(wrong("one of its words is empty".into()));
    }
    if pattern.len() > MAX_PATTERN {
        return Err(wrong(format!("longer than {MAX_PATTERN} bytes; make two rules of it")));
    }
    let built = RegexBuilder::new(&pattern)
        .case_insensitive(true)
        .unicode(true)
        .size_limit(MAX_COMPILED)
        .dfa_size_limit(MAX_COMPILED)
        .build();
    let pattern = built.map_err(|e| match e {
        regex::Error::CompiledTooBig(_) => wrong("the pattern becomes too large; make it simpler, or two of it".into()),
        e => wrong(e.to_string()),
    })?;
    if pattern.is_match("") {
        return Err(wrong(
            "the pattern matches the empty text, so it would match every text".into(),
        ));
    }
    Ok(Compiled {
        name: rule.name.clone(),
        at: rule.at,
        consequence: rule.consequence,
        pattern,
    })
}

#[async_trait]
impl Moderator for Rules {
    fn name(&self) -> &'static str {
        "rules"
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn looks_at(&self, direction: Direction) -> bool {
        self.rules.iter().any(|rule| rule.at.covers(direction))
    }

    fn pace(&self) -> Pace {
        Pace::Words
    }

    async fn judge(&self, direction: Direction, text: &str) -> Result<Verdict, ModeratorAway> {
        if text.len() <= LONG {
            return Ok(matched(&self.rules, direction, text));
        }
        let (rules, text) = (Arc::clone(&self.rules), text.to_owned());
        let judged = tokio::task::spawn_blocking(move || matched(&rules, direction, &text));
        judged.await.map_err(|_| ModeratorAway {
            detail: "the rules were not matched to the end".to_owned(),
        })
    }
}

fn matched(rules: &[Compiled], direction: Direction, text: &str) -> Verdict {
    let rules = rules.iter().filter(|rule| rule.at.covers(direction));
    let hits = rules.filter(|rule| rule.pattern.is_match(text));
    let finding = |rule: &Compiled| Finding {
        rule: rule.name.clone(),
        consequence: rule.consequence,
    };
    Verdict {
        findings: hits.map(finding).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, pattern: Option<&str>, words: &[&str]) -> Rule {
        Rule {
            name: name.into(),
            pattern: pattern.map(str::to_owned),
            words: words.iter().map(|&w| w.to_owned()).collect(),
            at: Where::Both,
            consequence: Consequence::Refuse,
        }
    }

    async fn hits(rule: Rule, text: &str) -> bool {
        let rules = Rules::new(&[rule]).unwrap();
        let verdict = rules.judge(Direction::Input, text).await.unwrap();
        verdict.refusal().is_some()
    }

    #[tokio::test]
    async fn words_are_whole_words_whatever_the_case() {
        for (text, hit) in [
            ("what an Ass!", true),
            ("a glass", false),
            ("assume", false),
            ("STRA\u{df}E und gr\u{dc}n", true),
            ("the red   \n fox", true),
            ("the redfox", false),
            ("\u{6211}\u{7684}\u{79d8}\u{5bc6}", true),
        ] {
            let rule = rule("r", None, &["ass", "gr\u{fc}n", "red fox", "\u{79d8}\u{5bc6}"]);
            assert_eq!(hits(rule, text).await, hit, "{text}");
        }
    }

    #[tokio::test]
    async fn patterns_are_found_anywhere() {
        assert!(hits(rule("r", Some(r"\d{4}-\d{4}"), &[]), "my card: 1234-5678").await);
        assert!(!hits(rule("r", Some("^stop$"), &[]), "do not stop").await);
        // What makes others take forever.
        let text = "a".repeat(100_000);
        assert!(!hits(rule("r", Some("(a+)+$x"), &[]), &text).await);
    }

    #[tokio::test]
    async fn each_rule_looks_where_it_should_and_does_what_it_should() {
        let mut input = rule("input", None, &["x"]);
        (input.at, input.consequence) = (Where::Input, Consequence::Flag);
        let output = Rule {
            at: Where::Output,
            ..rule("output", None, &["x"])
        };
        let rules = Rules::new(&[input.clone(), output]).unwrap();
        let finding = |verdict: Verdict| (verdict.findings[0].rule.clone(), verdict.findings[0].consequence);
        let said = rules.judge(Direction::Input, "x").await.unwrap();
        assert_eq!(finding(said), ("input".into(), Consequence::Flag));
        let said = rules.judge(Direction::Output, "x").await.unwrap();
        assert_eq!(finding(said), ("output".into(), Consequence::Refuse));
        let one = Rules::new(&[input]).unwrap();
        assert!(one.looks_at(Direction::Input) && !one.looks_at(Direction::Output));
        assert_ne!(one.version(), rules.version());
    }

    #[test]
    fn a_rule_that_cannot_be_used_is_named() {
        for (wrong, part) in [
            (rule("open", Some("("), &[]), "the rule `open`"),
            (rule("both", Some("a"), &["b"]), "either"),
            (rule("none", None, &[]), "either"),
            (rule("empty", None, &["a", " "]), "empty"),
            (rule("all", Some("a*"), &[]), "every text"),
            (rule("huge", Some(r"(\w{1000}){1000}"), &[]), "too large"),
            (rule("long", Some(&"a".repeat(70_000)), &[]), "longer than"),
            (rule("look", Some("a(?=b)"), &[]), "look"),
        ] {
            let name = wrong.name.clone();
            let said = Rules::new(&[rule("fine", Some("a"), &[]), wrong]).unwrap_err();
            assert!(said.rule == name && said.to_string().contains(part), "{said}");
        }
    }
}
