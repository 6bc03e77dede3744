//! One value against what its key expects: from a file (already typed) or from a variable (a text).

use toml::Value;

use super::formats::Format;
use super::schema::{Key, Kind};
use super::shapes;

/// Takes a value from a file, or says what is wrong with it. The value comes back in the form that the
/// settings are read from (an address of a proxy as a range, an integer for a float as a float).
pub(super) fn from_file(key: &Key, value: Value) -> Result<Value, Vec<String>> {
    match (key.kind, value) {
        (Kind::Tables(fields), value) => {
            let wrong = shapes::check_tables(&value, fields);
            if wrong.is_empty() { Ok(value) } else { Err(wrong) }
        }
        (Kind::List(format), Value::Array(items)) => check_list(key, format, items),
        (Kind::Text(format), Value::String(text)) => check_word(key, format, text.trim()),
        // `cookie.secure = true` means the word.
        (Kind::Text(format), Value::Boolean(value)) if !key.choices.is_empty() => {
            check_word(key, format, &value.to_string())
        }
        (Kind::Bool, Value::Boolean(value)) => Ok(Value::Boolean(value)),
        (Kind::Integer(least, most), Value::Integer(number)) if (least..=most).contains(&number) => {
            Ok(Value::Integer(number))
        }
        (Kind::Float(least, most), Value::Float(number)) if (least..=most).contains(&number) => {
            Ok(Value::Float(number))
        }
        #[expect(clippy::cast_precision_loss, reason = "sums of money: far below 2^52")]
        (Kind::Float(least, most), Value::Integer(number)) if (least..=most).contains(&(number as f64)) => {
            Ok(Value::Float(number as f64))
        }
        (_, value) => Err(vec![wrong(key, &value)]),
    }
}

/// Takes the text of a variable, read as its key expects, or says what is wrong with it.
pub(super) fn from_variable(key: &Key, text: &str) -> Result<Value, Vec<String>> {
    let text = text.trim();
    let unreadable = || vec![wrong(key, &Value::String(text.to_owned()))];
    let value = match key.kind {
        Kind::Bool => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Value::Boolean(true),
            "false" | "0" | "no" | "off" => Value::Boolean(false),
            _ => return Err(unreadable()),
        },
        Kind::Integer(..) => Value::Integer(text.parse().map_err(|_| unreadable())?),
        Kind::Float(..) => Value::Float(text.parse().map_err(|_| unreadable())?),
        Kind::Text(_) => Value::String(text.to_owned()),
        Kind::List(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
        }
        Kind::Tables(_) => {
            let table: Result<toml::Table, _> = toml::from_str(&format!("it = {text}"));
            table
                .ok()
                .and_then(|mut table| table.remove("it"))
                .ok_or_else(unreadable)?
        }
    };
    from_file(key, value)
}

/// What the key takes, in words.
pub(super) fn expected(key: &Key) -> String {
    if !key.choices.is_empty() {
        return format!("one of {}", key.choices.join(", "));
    }
    match key.kind {
        Kind::Bool => "true or false".to_owned(),
        Kind::Integer(least, most) => format!("an integer from {least} to {most}"),
        Kind::Float(least, most) => format!("a number from {least} to {most}"),
        Kind::Text(format) => format.expected().to_owned(),
        Kind::List(format) => format!("a list, each item {}", format.expected()),
        Kind::Tables(_) => "a list of tables, as TOML: [{ key = \"value\" }]".to_owned(),
    }
}

fn wrong(key: &Key, found: &Value) -> String {
    let expected = expected(key);
    if key.secret {
        return format!("found something else (not shown, since it may be secret); expected {expected}");
    }
    format!("found {}, expected {expected}", shapes::shown(found))
}

/// A text of the right format and, where the key takes only some words, one of them (or the empty default).
fn check_word(key: &Key, format: Format, text: &str) -> Result<Value, Vec<String>> {
    let is_known = key.choices.is_empty() || key.choices.iter().any(|word| word == text) || text == key.default_text();
    match format.accept(text, key.default_text().is_empty()) {
        Some(text) if is_known => Ok(Value::String(text)),
        _ => Err(vec![wrong(key, &Value::String(text.to_owned()))]),
    }
}

fn check_list(key: &Key, format: Format, items: Vec<Value>) -> Result<Value, Vec<String>> {
    let mut good = Vec::new();
    let mut bad = Vec::new();
    for item in items {
        let text = item.as_str().map(str::trim).filter(|text| !text.is_empty());
        match text.and_then(|text| format.accept(text, key.default_text().is_empty())) {
            Some(text) => good.push(Value::String(text)),
            None => bad.push(format!(
                "found {}, expected {}",
                shapes::shown(&item),
                format.expected()
            )),
        }
    }
    if bad.is_empty() {
        Ok(Value::Array(good))
    } else {
        Err(bad)
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::Schema;
    use super::*;

    fn read(path: &str, text: &str) -> Result<Value, Vec<String>> {
        from_variable(Schema::read().unwrap().key(path).unwrap(), text)
    }

    fn message(path: &str, text: &str) -> String {
        read(path, text).unwrap_err().join("; ")
    }

    #[test]
    fn a_variable_is_read_as_its_key_expects() {
        assert_eq!(read("server.port", " 80 ").unwrap(), Value::Integer(80));
        assert_eq!(read("ai.daily_spend_cap_usd", "12.5").unwrap(), Value::Float(12.5));
        assert_eq!(read("ai.daily_spend_cap_usd", "12").unwrap(), Value::Float(12.0));
        assert_eq!(
            read("product.name", "My Room").unwrap(),
            Value::String("My Room".to_owned())
        );
        for (text, value) in [("true", true), ("Yes", true), ("1", true), ("off", false), ("0", false)] {
            assert_eq!(read("metrics.enabled", text).unwrap(), Value::Boolean(value));
        }
        let names = ["a", "b"].map(|name| Value::String(name.to_owned()));
        assert_eq!(read("ai.models", "a, b,").unwrap(), Value::Array(names.to_vec()));
    }

    #[test]
    fn a_bad_one_says_what_was_found_and_what_is_expected() {
        for (path, text, expected) in [
            (
                "server.port",
                "abc",
                "found \"abc\", expected an integer from 0 to 65535",
            ),
            (
                "server.port",
                "65536",
                "found 65536, expected an integer from 0 to 65535",
            ),
            (
                "server.port",
                "1e3",
                "found \"1e3\", expected an integer from 0 to 65535",
            ),
            (
                "passwords.bcrypt_cost",
                "17",
                "found 17, expected an integer from 4 to 16",
            ),
            (
                "passwords.bcrypt_cost",
                "3",
                "found 3, expected an integer from 4 to 16",
            ),
            (
                "ai.daily_spend_cap_usd",
                "-1",
                "found -1.0, expected a number from 0 to 1000000000",
            ),
            (
                "ai.daily_spend_cap_usd",
                "nan",
                "found nan, expected a number from 0 to 1000000000",
            ),
            ("metrics.enabled", "maybe", "found \"maybe\", expected true or false"),
            (
                "cookie.same_site",
                "Lax",
                "found \"Lax\", expected one of lax, strict, none",
            ),
            ("env", "prod", "found \"prod\", expected one of development, production"),
            (
                "server.trusted_proxies",
                "10.0.0.0/33",
                "found \"10.0.0.0/33\", expected an IP address or a range such as 10.0.0.0/8",
            ),
            (
                "product.name",
                "two\nlines",
                "found \"\"\"\ntwo\nlines\"\"\", expected one line of text, not empty",
            ),
        ] {
            assert_eq!(message(path, text), expected, "{path}={text}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let said = message("database.url", "mysql://root:hunter2@db/x");
        assert!(!said.contains("hunter2") && said.contains("postgres://"), "{said}");
    }

    #[test]
    fn a_key_with_words_takes_only_these_and_an_empty_one_only_where_it_is_the_default() {
        for (path, good, bad) in [
            ("cookie.secure", &["auto", "true", "false"][..], &["yes", ""][..]),
            ("billing.provider", &["", "none", "stripe", "stripe-stub"], &["paypal"]),
            ("server.public_url", &["", "https://a.example"], &["a.example"]),
            ("log.level", &["debug", "info,anteroom_http=trace"], &[""]),
        ] {
            assert!(good.iter().all(|text| read(path, text).is_ok()), "{path}");
            assert!(bad.iter().all(|text| read(path, text).is_err()), "{path}");
        }
    }

    #[test]
    fn tables_come_from_a_variable_as_toml() {
        let price = r#"[{ model = "m", input_usd_per_million = 1, output_usd_per_million = 2 }]"#;
        assert!(read("ai.prices", price).is_ok());
        assert_eq!(
            message("ai.prices", "cheap").split(", expected").next(),
            Some("found \"cheap\"")
        );
        assert_eq!(
            message("ai.prices", r#"[{ modell = "m" }]"#).split(';').next(),
            Some("[0]: unknown key `modell`")
        );
    }

    #[test]
    fn a_file_may_write_the_words_true_and_false_as_booleans() {
        let schema = Schema::read().unwrap();
        let key = schema.key("cookie.secure").unwrap();
        assert_eq!(
            from_file(key, Value::Boolean(true)),
            Ok(Value::String("true".to_owned()))
        );
        assert!(from_file(schema.key("product.name").unwrap(), Value::Boolean(true)).is_err());
    }
}
