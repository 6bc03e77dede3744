//! What is the same in every language: the parts of a letter, and how its language is chosen.

use anteroom_domain::Timestamp;
use jiff::tz::TimeZone;

/// The languages that letters are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    English,
    German,
}

impl Language {
    /// German for `de` and `de-…`, in whatever case (RFC 5646 section 2.1.1); else English.
    pub(super) fn of(locale: &str) -> Self {
        match locale.split(['-', '_']).next() {
            Some(primary) if primary.eq_ignore_ascii_case("de") => Self::German,
            _ => Self::English,
        }
    }

    /// The tag of what is written.
    pub(super) fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }
}

/// A letter in one language, unescaped.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// The subject; the product's name is the only thing in it that is not ours.
    pub subject: String,
    /// What inboxes show beside the subject.
    pub preheader: String,
    /// The heading.
    pub title: String,
    /// Paragraphs before the facts and the button.
    pub before: Vec<String>,
    /// What is known of it: name and value.
    pub facts: Vec<(&'static str, String)>,
    /// What to press: label and link.
    pub button: Option<(&'static str, String)>,
    /// Paragraphs after the button.
    pub after: Vec<String>,
}

/// Day, month, year and time of day in UTC.
pub(super) fn time_parts(at: Timestamp) -> (i8, usize, i16, String) {
    let zoned = at.to_zoned(TimeZone::UTC);
    let month = usize::try_from(zoned.month()).unwrap_or(1).clamp(1, 12);
    (
        zoned.day(),
        month - 1,
        zoned.year(),
        zoned.strftime("%H:%M").to_string(),
    )
}

/// The paragraph on lines of at most 72 characters, longer words on lines of their own.
pub(super) fn wrapped(paragraph: &str) -> String {
    let (mut lines, mut width) = (String::new(), 0);
    for word in paragraph.split(' ') {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > 72 {
            lines.push('\n');
            width = 0;
        } else if width > 0 {
            lines.push(' ');
            width += 1;
        }
        lines.push_str(word);
        width += length;
    }
    lines
}
