//! Short-term memory: which of a conversation's recent turns the model is shown again.

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
    fn the_window_begins_with_a_question_and_never_loses_the_newest() {
        let kept = recall(turns(&[2, 4, 600]), 12);
        assert_eq!(kept.iter().map(|t| t.role).collect::<Vec<_>>(), [Speaker::User]);
        assert_eq!(recall(turns(&[9000]), 10).len(), 1);
        assert!(recall(turns(&[]), 10).is_empty());
    }
}
