//! A moderator that finds what a test tells it to.

use std::sync::Mutex;

use async_trait::async_trait;

use anteroom_domain::chat::{Consequence, Direction, Finding, Pace, Verdict};
use anteroom_ports::chat::{Moderator, ModeratorAway};

use crate::lock;
use crate::store::assert_no_open_unit;

/// Finds texts, wherever they stand, and keeps what it was shown.
#[derive(Debug)]
pub struct ScriptedModerator {
    state: Mutex<State>,
    pace: Pace,
}

#[derive(Debug, Default)]
struct State {
    /// What to find, which way, and what follows.
    finds: Vec<(String, Option<Direction>, Consequence)>,
    away: bool,
    shown: Vec<(Direction, String)>,
}

impl Default for ScriptedModerator {
    fn default() -> Self {
        Self::new(Pace::Words)
    }
}

impl ScriptedModerator {
    /// One that finds nothing yet.
    pub fn new(pace: Pace) -> Self {
        Self {
            state: Mutex::default(),
            pace,
        }
    }

    /// From now on it refuses texts that hold this, whichever way they go.
    #[must_use]
    pub fn refusing(self, text: &str) -> Self {
        self.finding(text, None, Consequence::Refuse)
    }

    /// From now on it finds this in texts that go this way.
    #[must_use]
    pub fn finding(self, text: &str, direction: Option<Direction>, consequence: Consequence) -> Self {
        let find = (text.to_owned(), direction, consequence);
        lock(&self.state).finds.push(find);
        self
    }

    /// Whether it can be asked.
    pub fn set_away(&self, away: bool) {
        lock(&self.state).away = away;
    }

    /// Every text that it was shown, in order.
    pub fn shown(&self) -> Vec<(Direction, String)> {
        lock(&self.state).shown.clone()
    }
}

#[async_trait]
impl Moderator for ScriptedModerator {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn looks_at(&self, _: Direction) -> bool {
        true
    }

    fn pace(&self) -> Pace {
        self.pace
    }

    async fn judge(&self, direction: Direction, text: &str) -> Result<Verdict, ModeratorAway> {
        assert_no_open_unit("asking a moderator");
        let mut state = lock(&self.state);
        state.shown.push((direction, text.to_owned()));
        if state.away {
            return Err(ModeratorAway {
                detail: "scripted".to_owned(),
            });
        }
        let hits = state
            .finds
            .iter()
            .filter(|(find, way, _)| text.contains(find.as_str()) && way.is_none_or(|way| way == direction));
        let finding = |(find, _, consequence): &(String, Option<Direction>, Consequence)| Finding {
            rule: format!("rule-of-{find}"),
            consequence: *consequence,
        };
        Ok(Verdict {
            findings: hits.map(finding).collect(),
        })
    }
}
