//! What a moderator says of texts, and how much of a text that is still coming it is shown at a time.

use serde_json::Value;

/// Members of messages that no model takes for something said: names of kinds, and files.
const NOT_SAID: [&str; 13] = [
    "role",
    "type",
    "id",
    "index",
    "tool_call_id",
    "call_id",
    "url",
    "data",
    "file_data",
    "file_id",
    "detail",
    "format",
    "signature",
];

/// Every text in a message, or in what is added to one, with its place in it (`content`, `tool_calls/0/function/arguments`).
/// Whatever a provider or a caller calls them, texts are found.
pub fn texts_of(value: &Value, found: &mut impl FnMut(&str, &str)) {
    walk(value, &mut String::new(), found);
}

fn walk(value: &Value, place: &mut String, found: &mut impl FnMut(&str, &str)) {
    let mut within = |name: &str, value: &Value, found: &mut _| {
        let before = place.len();
        if before > 0 {
            place.push('/');
        }
        place.push_str(name);
        walk(value, place, found);
        place.truncate(before);
    };
    match value {
        Value::String(text) => found(place, text),
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                // Streams say which item they add to.
                let at = item["index"].as_u64().unwrap_or(at as u64);
                within(&at.to_string(), item, found);
            }
        }
        Value::Object(members) => {
            for (name, member) in members.iter().filter(|(name, _)| !NOT_SAID.contains(&name.as_str())) {
                within(name, member, found);
            }
        }
        _ => {}
    }
}

/// Which way a text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the caller to the model.
    Input,
    /// From the model to the caller.
    Output,
}

impl Direction {
    /// The word that is logged.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
        }
    }
}

/// What follows from a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Consequence {
    /// The text goes no further.
    Refuse,
    /// It goes on; that it was found is recorded.
    Flag,
}

/// Something that was found in a text. It never holds the text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Finding {
    /// The rule, or the category, by its name.
    pub rule: String,
    /// What follows.
    pub consequence: Consequence,
}

/// What a moderator says of a text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// What it found, each once.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// The finding for which the text is refused, if it is.
    pub fn refusal(&self) -> Option<&Finding> {
        self.findings.iter().find(|it| it.consequence == Consequence::Refuse)
    }
}

/// How finely a text that is still coming is cut before it is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// After each word: for what is quick.
    Words,
    /// After each sentence: for what is asked over a network.
    Sentences,
}

/// A text that comes piece by piece: what has been judged of it, what waits, and what came just before, so that what
/// stands across two pieces is found before its last part has left.
#[derive(Debug, Clone, Default)]
pub struct Lane {
    /// The end of what was judged.
    before: String,
    waiting: String,
    judged: usize,
}

/// Whether a word may end after this character: letters of scripts that write spaces go on.
fn ends_word(c: char) -> bool {
    !c.is_alphanumeric() || u32::from(c) >= 0x2e80
}

fn ends_sentence(c: char) -> bool {
    matches!(
        c,
        '.' | '!' | '?' | '\n' | ';' | ':' | '\u{3002}' | '\u{ff01}' | '\u{ff1f}'
    )
}

/// The nearest place at or before a byte where a character begins.
fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl Lane {
    /// More of the text.
    pub fn push(&mut self, text: &str) {
        self.waiting.push_str(text);
    }

    /// Where the text ends, in bytes from its beginning.
    pub fn end(&self) -> usize {
        self.judged + self.waiting.len()
    }

    /// How much of it has been judged, in bytes from its beginning.
    pub fn judged(&self) -> usize {
        self.judged
    }

    /// How many of the waiting bytes may be judged now: up to the last word or sentence that is over, or all of them
    /// where they are more than may be held back.
    pub fn due(&self, pace: Pace, hold: usize) -> usize {
        if self.waiting.len() > hold {
            return self.waiting.len();
        }
        let ends = |c: char| match pace {
            Pace::Words => ends_word(c),
            Pace::Sentences => ends_sentence(c),
        };
        let last = self.waiting.char_indices().rfind(|&(_, c)| ends(c));
        last.map_or(0, |(at, c)| at + c.len_utf8())
    }

    /// What is to be judged: so many of the waiting bytes, with what came before.
    pub fn view(&self, due: usize) -> String {
        let mut view = self.before.clone();
        view.push_str(&self.waiting[..floor(&self.waiting, due.min(self.waiting.len()))]);
        view
    }

    /// So many of the waiting bytes have been judged and may go. Of them `behind` bytes are remembered, from the
    /// beginning of a word on where there is one.
    pub fn pass(&mut self, due: usize, behind: usize) {
        let due = floor(&self.waiting, due.min(self.waiting.len()));
        self.before.push_str(&self.waiting[..due]);
        self.waiting.drain(..due);
        self.judged += due;
        if self.before.len() > behind {
            let from = floor(&self.before, self.before.len() - behind);
            let kept = &self.before[from..];
            let word = kept.char_indices().find(|&(_, c)| ends_word(c));
            let start = word.map_or(0, |(at, c)| at + c.len_utf8());
            let start = if start < kept.len() { start } else { 0 };
            self.before = kept[start..].to_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(text: &str) -> Lane {
        let mut lane = Lane::default();
        lane.push(text);
        lane
    }

    #[test]
    fn texts_are_found_wherever_they_are() {
        let message = serde_json::json!({
            "role": "assistant", "content": [{ "type": "text", "text": "one" }, { "type": "image_url", "image_url": { "url": "data:x" } }],
            "tool_calls": [{ "index": 3, "id": "c", "function": { "name": "f", "arguments": "two" } }], "reasoning": "three",
        });
        let mut found = Vec::new();
        texts_of(&message, &mut |place, text| found.push(format!("{place}={text}")));
        found.sort();
        assert_eq!(
            found,
            [
                "content/0/text=one",
                "reasoning=three",
                "tool_calls/3/function/arguments=two",
                "tool_calls/3/function/name=f"
            ]
        );
    }

    #[test]
    fn the_last_word_waits_until_it_is_over() {
        for (text, due) in [
            ("", 0),
            ("class", 0),
            ("one two", 4),
            ("one two ", 8),
            ("end.", 4),
            ("\u{6f22}\u{5b57}", 6),
            ("gr\u{fc}n ", 6),
        ] {
            assert_eq!(lane(text).due(Pace::Words, 100), due, "{text}");
        }
        assert_eq!(lane("One two. Three").due(Pace::Sentences, 100), 8);
        assert_eq!(lane("One two three").due(Pace::Sentences, 100), 0);
        assert_eq!(
            lane("aaaaaaaaaaaa").due(Pace::Words, 10),
            12,
            "no more is held back than may be"
        );
    }

    #[test]
    fn what_came_before_is_seen_again_from_the_beginning_of_a_word() {
        let mut lane = lane("glass of wa");
        lane.pass(lane.due(Pace::Words, 100), 6);
        assert_eq!((lane.judged(), lane.end()), (9, 11));
        assert_eq!(lane.view(lane.due(Pace::Words, 100)), "of ");
        lane.push("ter ");
        assert_eq!(lane.view(lane.due(Pace::Words, 100)), "of water ");
    }

    #[test]
    fn no_cut_falls_into_a_character() {
        let mut lane = lane("\u{fc}\u{fc}\u{fc}");
        lane.pass(3, 1);
        assert_eq!(lane.judged(), 2);
        lane.pass(usize::MAX, 3);
        assert_eq!((lane.judged(), lane.end()), (6, 6));
        assert!(lane.view(0).chars().all(|c| c == '\u{fc}'));
    }

    #[test]
    fn a_verdict_refuses_if_one_finding_does() {
        let finding = |rule: &str, consequence| Finding {
            rule: rule.into(),
            consequence,
        };
        let mut verdict = Verdict::default();
        assert_eq!(verdict.refusal(), None);
        verdict.findings.push(finding("a", Consequence::Flag));
        assert_eq!(verdict.refusal(), None);
        verdict.findings.push(finding("b", Consequence::Refuse));
        assert_eq!(verdict.refusal().unwrap().rule, "b");
    }
}
