//! What a conversation is called that nobody has named.

/// The longest such title, in characters.
const MOST: usize = 60;

/// A title out of what was said first: its first line that says something, cut at a word. `None` if nothing of it can be
/// shown.
pub fn title_of(content: &str) -> Option<String> {
    let line = content.lines().map(plain).find(|line| !line.is_empty())?;
    if line.chars().count() <= MOST {
        return Some(line);
    }
    // One place is left for the sign that more follows.
    let head: String = line.chars().take(MOST - 1).collect();
    let next = line.chars().nth(MOST - 1);
    let at_word = match next {
        Some(' ') => head.as_str(),
        _ => head.rsplit_once(' ').map_or(head.as_str(), |(words, _)| words),
    };
    Some(format!("{}…", at_word.trim_end()))
}

/// One line with single spaces and nothing that cannot be shown.
fn plain(line: &str) -> String {
    let shown: String = line
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .filter(|c| !invisible(*c))
        .collect();
    shown.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Marks that turn the direction of what follows, or take no room at all: in a list they would show what is not there.
fn invisible(c: char) -> bool {
    matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_says_something_is_the_title() {
        for (content, title) in [
            ("What is an anteroom?", Some("What is an anteroom?")),
            ("\n  \t\n  Second \t line \nthird", Some("Second line")),
            ("\u{202e}evil\u{0} name", Some("evil name")),
            (" \n\u{200b}\n", None),
            ("", None),
        ] {
            assert_eq!(title_of(content).as_deref(), title, "{content:?}");
        }
    }

    #[test]
    fn long_lines_are_cut_at_a_word() {
        let words = "seven words ".repeat(20);
        let title = title_of(&words).unwrap();
        assert_eq!(title, "seven words seven words seven words seven words seven words…");
        // 59 characters and a space: nothing of the last word is lost.
        let exact = format!("{} {}", "x".repeat(59), "y".repeat(9));
        assert_eq!(title_of(&exact).unwrap(), format!("{}…", "x".repeat(59)));
        for long in ["x".repeat(61), "é".repeat(500), format!("a {}", "b".repeat(99))] {
            let title = title_of(&long).unwrap();
            assert!((2..=60).contains(&title.chars().count()), "{title}");
        }
        assert_eq!(title_of(&"x".repeat(60)).unwrap(), "x".repeat(60));
    }
}
