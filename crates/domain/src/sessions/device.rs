//! What a `User-Agent` says of a device, as far as people want to read it.

/// The longest product name that is taken over from a program's own words.
const MAX_PRODUCT_CHARS: usize = 40;

/// Browsers by what only they say of themselves; most also claim to be Chrome or Safari, so the order counts.
const BROWSERS: [(&str, &str); 15] = [
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("OPR/", "Opera"),
    ("OPT/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("YaBrowser/", "Yandex"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Trident/", "Internet Explorer"),
    ("Version/", "Safari"),
];

/// Systems; Android claims to be Linux, and phones of Apple to be like a Mac.
const SYSTEMS: [(&str, &str); 7] = [
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "Mac"),
    ("Linux", "Linux"),
];

/// A short name for the device: `Firefox on Linux`, `Safari on iPhone`, `curl`; `None` where nothing is known.
///
/// Versions are left out, so that the name stays the same after an update. What it says is the client's own word:
/// for people to recognise their devices by, not for deciding anything.
pub fn device_name(user_agent: &str) -> Option<String> {
    if !user_agent.starts_with("Mozilla/") {
        return product(user_agent);
    }
    let find = |names: &[(&str, &'static str)]| {
        let found = names.iter().find(|(sign, _)| user_agent.contains(sign));
        found.map(|(_, name)| *name)
    };
    match (find(&BROWSERS), find(&SYSTEMS)) {
        (Some(browser), Some(system)) => Some(format!("{browser} on {system}")),
        (browser, system) => browser.or(system).map(str::to_owned),
    }
}

/// The program's name in front of its version (RFC 9110, section 10.1.5). One that could be taken for an address on
/// the web is none: it is shown in mails.
fn product(user_agent: &str) -> Option<String> {
    let name = user_agent.split(['/', ' ']).next().unwrap_or_default();
    let fits = name.len() <= MAX_PRODUCT_CHARS && name.starts_with(|c: char| c.is_ascii_alphabetic());
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (fits && name.bytes().all(plain)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_as_people_know_them() {
        let webkit = "AppleWebKit/605.1.15 (KHTML, like Gecko)";
        let blink = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0";
        for (agent, name) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0".to_owned(),
                Some("Firefox on Linux"),
            ),
            (
                format!(
                    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) {webkit} Version/18.1 Mobile/15E148 Safari/604.1"
                ),
                Some("Safari on iPhone"),
            ),
            (
                format!("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {webkit} Version/18.1 Safari/605.1.15"),
                Some("Safari on Mac"),
            ),
            (
                format!("Mozilla/5.0 (Windows NT 10.0; Win64; x64) {blink} Safari/537.36"),
                Some("Chrome on Windows"),
            ),
            (
                format!("Mozilla/5.0 (Windows NT 10.0; Win64; x64) {blink} Safari/537.36 Edg/131.0.0.0"),
                Some("Edge on Windows"),
            ),
            (
                format!("Mozilla/5.0 (Linux; Android 14; SM-S921B) {blink} Mobile Safari/537.36"),
                Some("Chrome on Android"),
            ),
            (
                format!(
                    "Mozilla/5.0 (iPad; CPU OS 18_1 like Mac OS X) {webkit} CriOS/131.0 Mobile/15E148 Safari/604.1"
                ),
                Some("Chrome on iPad"),
            ),
            (
                format!("Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) {webkit} Mobile/15E148"),
                Some("iPhone"),
            ),
            ("Mozilla/5.0 (compatible; Bot/2.1)".to_owned(), None),
            ("curl/8.5.0".to_owned(), Some("curl")),
            ("python-requests/2.32".to_owned(), Some("python-requests")),
            ("MyApp".to_owned(), Some("MyApp")),
            ("MyApp/2 CFNetwork/1 Darwin/24".to_owned(), Some("MyApp")),
            ("evil.example/login now".to_owned(), None),
            ("<b>/1".to_owned(), None),
            ("x".repeat(41), None),
            (" ".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(device_name(&agent).as_deref(), name, "{agent}");
        }
    }

    #[test]
    fn an_update_is_no_new_device() {
        assert_eq!(device_name("curl/8.5.0"), device_name("curl/9.0.0"));
    }
}
