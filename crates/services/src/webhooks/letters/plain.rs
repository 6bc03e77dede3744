//! What people wrote, made harmless for a mail: it stays on its line, and no mail program makes a link of it.
//!
//! HTML is escaped by the template. This is about what no escaping reaches: programs that turn `evil.example` into a
//! link by themselves, and marks that turn the reading direction round.

use std::net::IpAddr;

/// The longest name that a mail greets with, in characters.
const LONGEST_NAME: usize = 64;
/// The longest description of a device or place, in characters.
const LONGEST_FACT: usize = 80;

/// The text as one line of at most `most` characters, without control, direction and invisible characters.
pub(super) fn one_line(text: &str, most: usize) -> String {
    let visible = text
        .chars()
        .map(|c| if c.is_control() || c.is_whitespace() { ' ' } else { c });
    let visible: String = visible.filter(|c| !is_invisible(*c)).collect();
    let line = visible
        .split(' ')
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    if line.chars().count() <= most {
        return line;
    }
    let mut cut: String = line.chars().take(most.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Zero-width characters, joiners, direction marks and tags (Unicode's General Category Cf, as far as it is in use).
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A display name to greet with; `None` for one that is too long for a name or that a mail program would link.
pub(super) fn name(text: &str) -> Option<String> {
    let name = one_line(text, LONGEST_NAME + 1);
    let is_name = |c: char| c.is_alphanumeric() || " .,'’-–()".contains(c) || is_combining(c);
    let fits = !name.is_empty() && name.chars().count() <= LONGEST_NAME;
    (fits && name.chars().all(is_name) && !may_be_linked(&name)).then_some(name)
}

/// Marks that belong to the letter before them: accents, and the vowel signs of Indic scripts.
fn is_combining(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{900}'..='\u{dff}' | '\u{e00}'..='\u{eff}')
}

/// A device, a place; `None` for an empty one or one that a mail program would link.
pub(super) fn fact(text: &str) -> Option<String> {
    let fact = one_line(text, LONGEST_FACT);
    (!fact.is_empty() && !may_be_linked(&fact)).then_some(fact)
}

/// A network address; `None` for what is none.
pub(super) fn network_address(text: &str) -> Option<String> {
    text.parse::<IpAddr>().ok().map(|address| address.to_string())
}

/// An e-mail address to be read. A local part may be almost any text in quotes (RFC 5321 section 4.1.2), links
/// included; of such a one only the domain is shown.
pub(super) fn email(text: &str) -> String {
    let text = one_line(text, 254);
    let Some((local, domain)) = text.rsplit_once('@') else {
        return "…".to_owned();
    };
    let plain = |c: char| c.is_alphanumeric() || ".!#$%&'*+-=?^_{|}~".contains(c);
    let local = if local.chars().all(plain) { local } else { "…" };
    let domain: String = domain
        .chars()
        .filter(|c| c.is_alphanumeric() || ".-".contains(*c))
        .collect();
    format!("{local}@{domain}")
}

/// Whether a mail program may make a link of something in this text: an address, or `word.word` as in a host's name.
fn may_be_linked(text: &str) -> bool {
    if text.contains("//") || text.contains(['@', '\\', '。', '．', '｡', '：', '＠', '／']) {
        return true;
    }
    text.split(|c: char| c.is_whitespace() || ",;()<>[]\"".contains(c))
        .any(|word| {
            let lower = word.to_lowercase();
            lower.starts_with("www")
                || ["http:", "https:", "mailto:", "tel:", "sms:", "javascript:", "data:"]
                    .iter()
                    .any(|s| lower.contains(s))
                || word
                    .split('.')
                    .skip(1)
                    .any(|label| label.chars().take_while(|c| c.is_alphabetic()).count() >= 2)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_greet_and_links_do_not() {
        for good in [
            "Ada",
            "Ada Lovelace",
            "J.R.R. Tolkien",
            "Dr. Ada",
            "Jean-Luc O’Neil",
            "李小龍",
            "Zoë",
            "अनिता",
        ] {
            assert_eq!(name(good).as_deref(), Some(good));
        }
        assert_eq!(name("  Ada\r\nBcc:  x ").as_deref(), None);
        assert_eq!(name("A\u{202e}da\u{200b}").as_deref(), Some("Ada"));
        for bad in [
            "",
            "http://evil.example",
            "evil.example",
            "Ada (evil.example/x)",
            "www.evil",
            "ada@evil.example",
            "win at evil。com",
            "<b>Ada</b>",
            "a&b;",
            "https:evil",
            "xn--e1a.xn--p1ai.com",
            &"a".repeat(65),
        ] {
            assert_eq!(name(bad), None, "{bad}");
        }
    }

    #[test]
    fn facts_are_one_short_line() {
        assert_eq!(
            fact("Firefox 120.0 on Linux").as_deref(),
            Some("Firefox 120.0 on Linux")
        );
        assert_eq!(
            fact("Chrome/131.0.0.0\r\n\tWindows").as_deref(),
            Some("Chrome/131.0.0.0 Windows")
        );
        assert_eq!(fact(&"x".repeat(500)).unwrap().chars().count(), 80);
        assert_eq!(fact("Bot (+http://evil.example)"), None);
        assert_eq!(fact("click evil.example now"), None);
        assert_eq!(network_address("2001:db8::1").as_deref(), Some("2001:db8::1"));
        assert_eq!(network_address("evil.example"), None);
    }

    #[test]
    fn addresses_are_shown_as_far_as_they_are_plain() {
        assert_eq!(email("Ada+x@example.com"), "Ada+x@example.com");
        assert_eq!(email("grün@bücher.example"), "grün@bücher.example");
        assert_eq!(email("\"http://evil.example/\"@example.com"), "…@example.com");
        assert_eq!(email("a@example.com\r\nBcc: x@y"), "…@y");
    }
}
