//! The shapes of the keys that hold tables: providers, models, prices and plans. Checked here rather than left to serde, so
//! that every mistake is named at once, with its place.

use anteroom_domain::billing::Operation;
use anteroom_domain::chat::MAX_CHOICES;
use toml::{Table, Value};
use url::Url;

use super::schema::nearest;

/// One key of such a table.
#[derive(Debug, PartialEq)]
pub(super) struct Field {
    pub name: &'static str,
    pub kind: FieldKind,
    pub required: bool,
}

/// What it holds.
#[derive(Debug, PartialEq)]
pub(super) enum FieldKind {
    /// A text that is not empty.
    Text,
    /// Zero or more, up to the number.
    Integer(i64),
    /// A price: a number, zero or more.
    Price,
    /// Any number.
    Number,
    Bool,
    OneOf(&'static [&'static str]),
    /// `"first"`, `"all"` or a list of texts.
    Models,
    /// A boolean, a number or a text.
    Scalar,
    /// Three small letters.
    Currency,
    /// The name of a variable. What else stands there may be the secret itself, so it is never shown.
    Variable,
    /// An address, http or https.
    Url,
    /// A list of texts, none of them empty.
    Texts,
    Tables(&'static [Field]),
    Table(&'static [Field]),
}

const fn required(name: &'static str, kind: FieldKind) -> Field {
    Field {
        name,
        kind,
        required: true,
    }
}

const fn optional(name: &'static str, kind: FieldKind) -> Field {
    Field {
        name,
        kind,
        required: false,
    }
}

const MODEL_PRICES: &[Field] = &[
    required("model", FieldKind::Text),
    required("input_usd_per_million", FieldKind::Price),
    optional("cached_input_usd_per_million", FieldKind::Price),
    optional("cache_write_usd_per_million", FieldKind::Price),
    required("output_usd_per_million", FieldKind::Price),
];

const PROVIDERS: &[Field] = &[
    required("name", FieldKind::Text),
    required(
        "kind",
        FieldKind::OneOf(&["openai", "azure", "anthropic", "gemini", "echo"]),
    ),
    optional("base_url", FieldKind::Url),
    optional("api_version", FieldKind::Text),
    optional("api_key_variable", FieldKind::Variable),
    optional("on_disconnect", FieldKind::OneOf(&["cancel", "drain"])),
    optional("drain_seconds", FieldKind::Integer(3600)),
    optional("send_user", FieldKind::Bool),
];

const ALIASES: &[Field] = &[
    required("name", FieldKind::Text),
    required("targets", FieldKind::Tables(TARGETS)),
    optional("plans", FieldKind::Texts),
    optional("context_window", FieldKind::Integer(i64::MAX)),
    optional("max_output_tokens", FieldKind::Integer(i64::MAX)),
    optional(
        "max_tokens_parameter",
        FieldKind::OneOf(&["max_tokens", "max_completion_tokens"]),
    ),
];

const ASSISTANTS: &[Field] = &[
    required("name", FieldKind::Text),
    optional("title", FieldKind::Text),
    optional("description", FieldKind::Text),
    required("model", FieldKind::Text),
    optional("instructions", FieldKind::Text),
    optional("instructions_file", FieldKind::Text),
    optional("plans", FieldKind::Texts),
    optional("max_output_tokens", FieldKind::Integer(i64::MAX)),
    optional("temperature", FieldKind::Number),
    optional("top_p", FieldKind::Number),
    optional("frequency_penalty", FieldKind::Number),
    optional("presence_penalty", FieldKind::Number),
    optional("reasoning_effort", FieldKind::Text),
    optional("seed", FieldKind::Integer(i64::MAX)),
];

const MODERATION_RULES: &[Field] = &[
    required("name", FieldKind::Text),
    optional("pattern", FieldKind::Text),
    optional("words", FieldKind::Texts),
    optional("where", FieldKind::OneOf(&["input", "output", "both"])),
    optional("action", FieldKind::OneOf(&["refuse", "flag"])),
];

const THRESHOLDS: &[Field] = &[
    required("category", FieldKind::Text),
    required("score", FieldKind::Number),
];

const TARGETS: &[Field] = &[
    required("provider", FieldKind::Text),
    required("model", FieldKind::Text),
    optional("weight", FieldKind::Integer(1_000_000)),
    optional("input_usd_per_million", FieldKind::Price),
    optional("cached_input_usd_per_million", FieldKind::Price),
    optional("cache_write_usd_per_million", FieldKind::Price),
    optional("output_usd_per_million", FieldKind::Price),
];

const PLANS: &[Field] = &[
    required("key", FieldKind::Text),
    required("name", FieldKind::Text),
    required("version", FieldKind::Integer(i32::MAX as i64)),
    optional("rank", FieldKind::Integer(i32::MAX as i64)),
    optional("trial_days", FieldKind::Integer(730)),
    optional("trial_without_card", FieldKind::Bool),
    required("models", FieldKind::Models),
    optional("by_agreement", FieldKind::Bool),
    optional("prices", FieldKind::Tables(PLAN_PRICES)),
    optional("seats", FieldKind::Table(SEATS)),
    optional("entitlements", FieldKind::Tables(ENTITLEMENTS)),
    optional("requests_per_minute", FieldKind::Integer(MOST_A_MINUTE)),
    optional("tokens_per_minute", FieldKind::Integer(MOST_A_MINUTE)),
    optional("allowed_parameters", FieldKind::Texts),
    optional("refused_parameters", FieldKind::Texts),
    optional("max_choices", FieldKind::Integer(MAX_CHOICES)),
];

/// More than any limit in memory counts.
const MOST_A_MINUTE: i64 = 1_000_000_000;

const RULES: &[Field] = &[
    required("name", FieldKind::Text),
    required("route", FieldKind::Text),
    required("per", FieldKind::OneOf(&["user", "api_key", "address"])),
    required("limit", FieldKind::Integer(MOST_A_MINUTE)),
    required("window", FieldKind::OneOf(&["second", "minute", "hour", "day"])),
    optional("action", FieldKind::OneOf(&["refuse", "log"])),
];

const PLAN_PRICES: &[Field] = &[
    required("amount", FieldKind::Integer(i64::MAX)),
    required("currency", FieldKind::Currency),
    required("interval", FieldKind::OneOf(&["month", "year"])),
];

const SEATS: &[Field] = &[
    optional("min", FieldKind::Integer(i64::MAX)),
    optional("max", FieldKind::Integer(i64::MAX)),
];

const PACKS: &[Field] = &[
    required("key", FieldKind::Text),
    required("name", FieldKind::Text),
    required("credits", FieldKind::Integer(MOST_CREDITS)),
    required("amount", FieldKind::Integer(i64::MAX)),
    required("currency", FieldKind::Currency),
    optional("expires_days", FieldKind::Integer(3650)),
];

const REQUIREMENTS: &[Field] = &[
    required("operation", FieldKind::OneOf(OPERATIONS)),
    required("feature", FieldKind::Text),
];

/// The words of all operations that can ask for a feature.
const OPERATIONS: &[&str] = &{
    let mut words = [""; Operation::ALL.len()];
    let mut place = 0;
    while place < words.len() {
        words[place] = Operation::ALL[place].as_str();
        place += 1;
    }
    words
};

const ENTITLEMENTS: &[Field] = &[
    required("key", FieldKind::Text),
    required("kind", FieldKind::OneOf(&["boolean", "static", "metered"])),
    optional("value", FieldKind::Scalar),
    optional("limit", FieldKind::Integer(i64::MAX)),
    optional("limit_usd", FieldKind::Price),
    optional("window", FieldKind::OneOf(&["minute", "day", "month", "always"])),
    optional("rollover", FieldKind::Integer(MOST_CREDITS)),
    optional("per_seat", FieldKind::Bool),
    optional("overage", FieldKind::Table(OVERAGE)),
];

const OVERAGE: &[Field] = &[
    required("max", FieldKind::Integer(i64::MAX)),
    required("prices", FieldKind::Tables(OVERAGE_PRICES)),
];

const OVERAGE_PRICES: &[Field] = &[
    required("currency", FieldKind::Currency),
    required("amount", FieldKind::Text),
];

/// A billion: more than a ledger has room for.
const MOST_CREDITS: i64 = 1_000_000_000;

/// The shape of the key at this path, if it holds tables.
pub(super) fn of(path: &str) -> Option<&'static [Field]> {
    match path {
        "ai.aliases" => Some(ALIASES),
        "ai.assistants" => Some(ASSISTANTS),
        "ai.prices" => Some(MODEL_PRICES),
        "ai.providers" => Some(PROVIDERS),
        "billing.plans" => Some(PLANS),
        "billing.credit_packs" => Some(PACKS),
        "billing.requires" => Some(REQUIREMENTS),
        "protection.rules" => Some(RULES),
        "moderation.openai_thresholds" => Some(THRESHOLDS),
        "moderation.rules" => Some(MODERATION_RULES),
        _ => None,
    }
}

/// Everything that is wrong with a list of tables, each with its place (`prices[0].amount`).
pub(super) fn check_tables(value: &Value, fields: &[Field]) -> Vec<String> {
    check_list("", value, fields)
}

fn check_list(place: &str, value: &Value, fields: &[Field]) -> Vec<String> {
    let Value::Array(items) = value else {
        return vec![format!("{place}found {}, expected a list of tables", name_of(value))];
    };
    let check = |(index, item): (usize, &Value)| match item {
        Value::Table(table) => check_table(&format!("{place}[{index}]"), table, fields),
        other => vec![format!("{place}[{index}]: found {}, expected a table", name_of(other))],
    };
    items.iter().enumerate().flat_map(check).collect()
}

fn check_table(place: &str, table: &Table, fields: &[Field]) -> Vec<String> {
    let mut wrong = Vec::new();
    for name in table
        .keys()
        .filter(|name| !fields.iter().any(|field| field.name == *name))
    {
        let known = nearest(name, fields.iter().map(|field| field.name));
        wrong.push(format!(
            "{place}: unknown key `{name}`; the nearest known one is `{known}`"
        ));
    }
    for field in fields {
        match table.get(field.name) {
            Some(value) => wrong.extend(check_field(&format!("{place}.{}", field.name), value, &field.kind)),
            None if field.required => wrong.push(format!("{place}: `{}` is missing", field.name)),
            None => {}
        }
    }
    wrong
}

fn check_field(place: &str, value: &Value, kind: &FieldKind) -> Vec<String> {
    let expected = match kind {
        FieldKind::Tables(fields) => return check_list(place, value, fields),
        FieldKind::Table(fields) => match value {
            Value::Table(table) => return check_table(place, table, fields),
            _ => "a table".to_owned(),
        },
        FieldKind::Text => "a text".to_owned(),
        FieldKind::Integer(i64::MAX) => "an integer, 0 or more".to_owned(),
        FieldKind::Integer(most) => format!("an integer from 0 to {most}"),
        FieldKind::Price => "US dollars, 0 or more".to_owned(),
        FieldKind::Number => "a number".to_owned(),
        FieldKind::Bool => "true or false".to_owned(),
        FieldKind::OneOf(words) => format!("one of {}", words.join(", ")),
        FieldKind::Models => r#""first", "all" or a list of model names"#.to_owned(),
        FieldKind::Scalar => "a boolean, a number or a text".to_owned(),
        FieldKind::Currency => "a currency as three small letters".to_owned(),
        FieldKind::Variable => {
            "the name of a variable, in capitals, digits and underscores, not what the variable holds".to_owned()
        }
        FieldKind::Url => "an address that begins with http:// or https://".to_owned(),
        FieldKind::Texts => "a list of texts".to_owned(),
    };
    if fits(value, kind) {
        return Vec::new();
    }
    if *kind == FieldKind::Variable {
        return vec![format!("{place}: expected {expected}")];
    }
    vec![format!("{place}: found {}, expected {expected}", shown(value))]
}

fn fits(value: &Value, kind: &FieldKind) -> bool {
    match (kind, value) {
        (FieldKind::Text, Value::String(text)) => !text.trim().is_empty(),
        (FieldKind::Integer(most), Value::Integer(number)) => (0..=*most).contains(number),
        (FieldKind::Price, Value::Integer(number)) => *number >= 0,
        (FieldKind::Price, Value::Float(number)) => number.is_finite() && *number >= 0.0,
        (FieldKind::OneOf(words), Value::String(text)) => words.contains(&text.as_str()),
        (FieldKind::Models, Value::String(text)) => text == "first" || text == "all",
        (FieldKind::Models, Value::Array(names)) => {
            let is_name = |name: &Value| name.as_str().is_some_and(|name| !name.trim().is_empty());
            !names.is_empty() && names.iter().all(is_name)
        }
        (FieldKind::Currency, Value::String(text)) => {
            text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_lowercase())
        }
        (FieldKind::Number | FieldKind::Scalar, Value::Integer(_))
        | (FieldKind::Scalar, Value::String(_))
        | (FieldKind::Bool | FieldKind::Scalar, Value::Boolean(_)) => true,
        (FieldKind::Number | FieldKind::Scalar, Value::Float(number)) => number.is_finite(),
        (FieldKind::Variable, Value::String(text)) => {
            let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
            !text.is_empty() && text.bytes().all(fits)
        }
        (FieldKind::Url, Value::String(text)) => {
            Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        }
        (FieldKind::Texts, Value::Array(texts)) => {
            let is_text = |text: &Value| text.as_str().is_some_and(|text| !text.trim().is_empty());
            texts.iter().all(is_text)
        }
        _ => false,
    }
}

/// What a value is, for error messages.
pub(super) fn name_of(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a float",
        Value::Boolean(_) => "a boolean",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

/// A value itself where it is short, else what it is.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Table(_) => name_of(value).to_owned(),
        scalar => {
            let text = scalar.to_string();
            if text.chars().count() <= 80 {
                text
            } else {
                format!("{} of {} characters", name_of(value), text.len())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, toml: &str) -> Vec<String> {
        let table: Table = toml::from_str(toml).unwrap();
        check_tables(&table["it"], of(path).unwrap())
    }

    #[test]
    fn a_right_plan_and_a_right_price_pass() {
        let plans = r#"
            [[it]]
            key = "a"
            name = "A"
            version = 2
            models = ["m1", "m2"]
            prices = [{ amount = 1, currency = "eur", interval = "year" }]
            entitlements = [
              { key = "messages", kind = "metered", limit = 0, window = "day" },
              { key = "voice", kind = "boolean", value = true },
              { key = "seats", kind = "static", value = 3 },
            ]
        "#;
        assert_eq!(problems("billing.plans", plans), [""; 0]);
        let prices = "it = [{ model = 'm', input_usd_per_million = 1, output_usd_per_million = 2.5 }]";
        assert_eq!(problems("ai.prices", prices), [""; 0]);
    }

    #[test]
    fn every_mistake_is_named_with_its_place() {
        let plans = r#"
            [[it]]
            key = ""
            name = "A"
            version = -1
            models = "some"
            prices = [{ amount = 19.0, currency = "USD", interval = "monthly" }]
            entitlement = []
        "#;
        assert_eq!(
            problems("billing.plans", plans),
            [
                "[0]: unknown key `entitlement`; the nearest known one is `entitlements`",
                "[0].key: found \"\", expected a text",
                "[0].version: found -1, expected an integer from 0 to 2147483647",
                "[0].models: found \"some\", expected \"first\", \"all\" or a list of model names",
                "[0].prices[0].amount: found 19.0, expected an integer, 0 or more",
                "[0].prices[0].currency: found \"USD\", expected a currency as three small letters",
                "[0].prices[0].interval: found \"monthly\", expected one of month, year",
            ]
        );
        assert_eq!(
            problems("ai.prices", "it = [{ model = 'm', input_usd_per_million = -1 }, 3]"),
            [
                "[0].input_usd_per_million: found -1, expected US dollars, 0 or more",
                "[0]: `output_usd_per_million` is missing",
                "[1]: found an integer, expected a table",
            ]
        );
    }
}
