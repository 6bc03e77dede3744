//! Short-term memory: which of a conversation's recent turns the model is shown again.
//!
//! A conversation keeps texts of users and of models, and no tool calls, so there is no call that could be parted from
//! its result. The rule that holds for them holds for what there is: what answers is never shown without what it answers.

use super::Speaker;

/// Something that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Who said it.
    pub role: Speaker,
    /// What was said.
    pub content: String,
}

/// An upper estimate of a text's tokens, for budgets and reservations only: a token is seldom shorter than two
/// bytes, whatever the language.
pub fn estimate_tokens(text: &[u8]) -> i64 {
    i64::try_from(text.len().div_ceil(2)).unwrap_or(i64::MAX)
}

/// A lower estimate of a text's tokens: what is booked when the provider never says. English has about four bytes a
/// token.
pub fn least_tokens(bytes: usize) -> i64 {
    i64::try_from(bytes.div_ceil(4)).unwrap_or(i64::MAX)
}

/// What of a conversation a call to the model carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Messages that are sent along, the one that is answered included.
    pub messages: i64,
    /// Older ones that the budget has no room for.
    pub left_out: i64,
}

/// How many tokens of turns a call may carry: what the operator allows, and no more than the model's context has room
/// for beside the answer and the instructions.
pub fn turn_budget(allowed: i64, context: Option<i64>, answer: i64, instructions: Option<&str>) -> i64 {
    let told = instructions.map_or(0, |text| estimate_tokens(text.as_bytes()) + 4);
    let room = context.map_or(allowed, |context| context.saturating_sub(answer).saturating_sub(told));
    allowed.min(room).max(0)
}

/// The newest turns (given newest first) that fit the budget, oldest first. The newest one is always among them.
/// An answer without its question at the front is dropped: models expect a user to speak first.
pub fn recall(newest_first: impl IntoIterator<Item = Turn>, budget_tokens: i64) -> Vec<Turn> {
    let mut left = budget_tokens;
    let mut kept: Vec<Turn> = Vec::new();
    for turn in newest_first {
        left -= estimate_tokens(turn.content.as_bytes()) + 4;
        if left < 0 && !kept.is_empty() {
            break;
        }
        kept.push(turn);
    }
    while kept.len() > 1 && kept.last().is_some_and(|t| t.role == Speaker::Assistant) {
        kept.pop();
    }
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(sizes: &[usize]) -> Vec<Turn> {
        // Newest first, the newest from the user, alternating back.
        let turn = |(i, size): (usize, &usize)| Turn {
            role: if i % 2 == 0 { Speaker::User } else { Speaker::Assistant },
            content: "x".repeat(*size),
        };
        sizes.iter().enumerate().map(turn).collect()
    }

    #[test]
    fn the_newest_turns_that_fit_are_kept_in_order() {
        let kept = recall(turns(&[2, 4, 6, 8, 10]), 1000);
        assert_eq!(
            kept.iter().map(|t| t.content.len()).collect::<Vec<_>>(),
            [10, 8, 6, 4, 2]
        );
        // 2 bytes -> 1 + 4, 4 -> 2 + 4, 6 -> 3 + 4: 18 tokens hold three.
        let kept = recall(turns(&[2, 4, 6, 8, 10]), 18);
        assert_eq!(kept.iter().map(|t| t.content.len()).collect::<Vec<_>>(), [6, 4, 2]);
    }

    #[test]
    fn the_budget_leaves_room_for_the_answer_and_the_instructions() {
        assert_eq!(turn_budget(4000, None, 1000, Some("Be brief.")), 4000);
        assert_eq!(turn_budget(4000, Some(128_000), 4096, None), 4000);
        assert_eq!(turn_budget(4000, Some(3000), 1000, None), 2000);
        // 10 bytes -> 5 + 4.
        assert_eq!(turn_budget(4000, Some(3000), 1000, Some("0123456789")), 1991);
        assert_eq!(turn_budget(4000, Some(500), 1000, None), 0);
    }

    #[test]
    fn an_answer_is_never_shown_without_what_it_answers() {
        // Whatever the order of roles (an answer that failed leaves two questions in a row, one that was lost while it
        // was asked for again two answers) and wherever the budget cuts.
        for roles in 0..256_u32 {
            let turn = |i: u32| Turn {
                role: if i == 0 || roles >> i & 1 == 0 {
                    Speaker::User
                } else {
                    Speaker::Assistant
                },
                content: "x".repeat(2 + i as usize),
            };
            let all: Vec<Turn> = (0..8).map(turn).collect();
            for budget in 0..100 {
                let kept = recall(all.clone(), budget);
                assert_eq!(kept.first().unwrap().role, Speaker::User, "{roles:b} {budget}");
                let newest: Vec<Turn> = all.iter().take(kept.len()).rev().cloned().collect();
                assert_eq!(kept, newest, "nothing is missing in between");
            }
        }
    }

    #[test]
    fn the_window_begins_with_a_question_and_never_loses_the_newest() {
        let kept = recall(turns(&[2, 4, 600]), 12);
        assert_eq!(kept.iter().map(|t| t.role).collect::<Vec<_>>(), [Speaker::User]);
        assert_eq!(recall(turns(&[9000]), 10).len(), 1);
        assert!(recall(turns(&[]), 10).is_empty());
    }
}
