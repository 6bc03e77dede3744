//! The known keys, read from the default file, which is also their documentation: a key that is not
//! documented there does not exist.

use toml::{Table, Value};

use super::errors::{ConfigErrors, Problem, Source};
use super::formats::Format;
use super::shapes::{self, Field};

/// The defaults and their documentation.
pub const DEFAULT_FILE: &str = include_str!("../../../../config/anteroom.default.toml");

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Bool,
    /// Both ends are included.
    Integer(i64, i64),
    Float(f64, f64),
    Text(Format),
    List(Format),
    Tables(&'static [Field]),
}

/// One key of the default file.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// `section.name`, or `name` at the top.
    pub path: String,
    pub kind: Kind,
    pub default: Value,
    /// The comment above it, without the lines that only the binary reads.
    pub comment: Vec<String>,
    /// The conventional variable that sets it.
    pub variable: Option<String>,
    /// Never to be shown.
    pub secret: bool,
    /// The words it takes, if only some.
    pub choices: Vec<String>,
}

impl Key {
    /// The section and the name.
    pub fn split(&self) -> (Option<&str>, &str) {
        match self.path.split_once('.') {
            Some((section, name)) => (Some(section), name),
            None => (None, &self.path),
        }
    }

    /// The default of a key that holds a text, empty for "not set".
    pub fn default_text(&self) -> &str {
        self.default.as_str().unwrap_or_default()
    }

    /// The variable that every key has: `ANTEROOM__SECTION__NAME`.
    pub fn own_variable(&self) -> String {
        format!("{OWN_PREFIX}{}", self.path.to_uppercase().replace('.', "__"))
    }
}

/// What the variables that every key has begin with.
pub(super) const OWN_PREFIX: &str = "ANTEROOM__";

/// All keys, in the order of the file.
#[derive(Debug, Clone)]
pub(super) struct Schema {
    pub keys: Vec<Key>,
}

impl Schema {
    /// Reads the compiled-in default file. Fails only if that file itself is broken, which a test excludes.
    pub fn read() -> Result<Self, ConfigErrors> {
        Self::parse(DEFAULT_FILE).map_err(|message| {
            let message = format!("the compiled-in default file: {message}");
            vec![Problem::new("", &Source::Default, message)].into()
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let defaults: Table = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        let mut keys = Vec::new();
        let mut section = String::new();
        let mut comment: Vec<&str> = Vec::new();
        for line in text.lines().map(str::trim) {
            if let Some(words) = line.strip_prefix('#') {
                comment.push(words.strip_prefix(' ').unwrap_or(words));
                continue;
            }
            if let Some(path) = line.strip_prefix("[[").and_then(|rest| rest.strip_suffix("]]")) {
                // The first of an array of tables stands for the key; their own keys are in `shapes`.
                if !keys.iter().any(|key: &Key| key.path == path) {
                    keys.push(read_key(path, &comment, &defaults)?);
                }
                "[".clone_into(&mut section);
            } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = format!("{name}.");
            } else if let Some((name, _)) = line.split_once(" = ")
                && section != "["
            {
                keys.push(read_key(&format!("{section}{name}"), &comment, &defaults)?);
            }
            comment.clear();
        }
        Ok(Self { keys })
    }

    /// The key of this path.
    pub fn key(&self, path: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.path == path)
    }

    /// Whether there is a section of this name.
    pub fn has_section(&self, name: &str) -> bool {
        self.keys.iter().any(|key| key.split().0 == Some(name))
    }

    /// The known key most like an unknown one: of the same name in another section, else the nearest spelling.
    pub fn nearest(&self, unknown: &str) -> &str {
        let name = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
        let same_name = self.keys.iter().filter(|key| name(&key.path) == name(unknown));
        let candidates: Vec<&Key> = same_name.collect();
        let all = self.keys.iter();
        // `[[ai.provider]]` means the list beside it, not a key of another section.
        if let Some(list) = all.clone().find(|key| key.path == format!("{unknown}s")) {
            return &list.path;
        }
        if candidates.is_empty() {
            nearest(unknown, all.map(|key| key.path.as_str()))
        } else {
            nearest(unknown, candidates.into_iter().map(|key| key.path.as_str()))
        }
    }

    /// The known section most like an unknown one.
    pub fn nearest_section(&self, unknown: &str) -> &str {
        nearest(unknown, self.keys.iter().filter_map(|key| key.split().0))
    }
}

/// The candidate that is spelt most like `unknown`.
pub(super) fn nearest<'a>(unknown: &str, candidates: impl Iterator<Item = &'a str>) -> &'a str {
    candidates
        .map(|known| (strsim::jaro_winkler(unknown, known), known))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or("", |(_, known)| known)
}

fn read_key(path: &str, comment: &[&str], defaults: &Table) -> Result<Key, String> {
    let default = path
        .split('.')
        .try_fold(Value::Table(defaults.clone()), |value, name| value.get(name).cloned())
        .ok_or_else(|| format!("no value for `{path}`"))?;
    let marker = |name: &str| comment.iter().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let format = match marker("format:") {
        None => Format::Any,
        Some(word) => Format::named(word).ok_or_else(|| format!("`{path}`: format `{word}`"))?,
    };
    let range = marker("range:").and_then(|range| range.split_once(" to "));
    let bounds = |path: &str| range.ok_or_else(|| format!("`{path}` has no range"));
    let number = |text: &str| text.parse::<i64>().map_err(|error| format!("`{path}`: {error}"));
    let kind = match (&default, shapes::of(path)) {
        (Value::Array(_), Some(fields)) => Kind::Tables(fields),
        (Value::Array(_), None) => Kind::List(format),
        (Value::String(_), _) => Kind::Text(format),
        (Value::Boolean(_), _) => Kind::Bool,
        (Value::Integer(_), _) => {
            let (least, most) = bounds(path)?;
            Kind::Integer(number(least)?, number(most)?)
        }
        (Value::Float(_), _) => {
            let (least, most) = bounds(path)?;
            let float = |text: &str| text.parse::<f64>().map_err(|error| error.to_string());
            Kind::Float(float(least)?, float(most)?)
        }
        _ => return Err(format!("`{path}` holds what no setting holds")),
    };
    let is_marker = |line: &&&str| {
        **line == "secret"
            || ["variable:", "one of:", "range:", "format:"]
                .iter()
                .any(|name| line.starts_with(name))
    };
    Ok(Key {
        path: path.to_owned(),
        kind,
        default,
        comment: comment
            .iter()
            .filter(|line| !is_marker(line))
            .map(|&line| line.to_owned())
            .collect(),
        variable: marker("variable:").map(str::to_owned),
        secret: comment.contains(&"secret"),
        choices: marker("one of:")
            .map(|words| words.split(", ").map(str::to_owned).collect())
            .unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_default_file_is_read_and_documented() {
        let schema = Schema::read().unwrap();
        let defaults: Table = toml::from_str(DEFAULT_FILE).unwrap();
        let mut expected = Vec::new();
        for (name, value) in &defaults {
            match value {
                Value::Table(section) => expected.extend(section.keys().map(|key| format!("{name}.{key}"))),
                _ => expected.push(name.clone()),
            }
        }
        let mut known: Vec<String> = schema.keys.iter().map(|key| key.path.clone()).collect();
        known.sort_unstable();
        expected.sort_unstable();
        assert_eq!(known, expected);
        for key in &schema.keys {
            let words = key.comment.join(" ");
            assert!(
                words.len() > 20 && words.contains('.'),
                "`{}` is not documented",
                key.path
            );
        }
    }

    #[test]
    fn the_conventional_variables_are_these_and_unique() {
        let schema = Schema::read().unwrap();
        let mut names: Vec<&str> = schema.keys.iter().filter_map(|key| key.variable.as_deref()).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "AI_MODELS",
                "ANTEROOM_ENV",
                "DATABASE_URL",
                "DATA_DIR",
                "FRONTEND_URL",
                "HOST",
                "METRICS_HOST",
                "METRICS_PORT",
                "MIGRATE_DATABASE_URL",
                "OPENAI_API_KEY",
                "OPENAI_BASE_URL",
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "OTEL_EXPORTER_OTLP_HEADERS",
                "OTEL_SERVICE_NAME",
                "PORT",
                "SECRET_KEY",
                "SMTP_URL",
                "STRIPE_SECRET_KEY",
                "STRIPE_WEBHOOK_SECRET",
                "TRUSTED_PROXIES",
            ]
        );
    }

    #[test]
    fn what_is_secret_is_marked_so() {
        let schema = Schema::read().unwrap();
        let secret: Vec<&str> = schema
            .keys
            .iter()
            .filter(|key| key.secret)
            .map(|key| key.path.as_str())
            .collect();
        assert_eq!(
            secret,
            [
                "telemetry.otlp_headers",
                "database.url",
                "database.migrate_url",
                "secret.key",
                "ai.openai_api_key",
                "moderation.openai_api_key",
                "stripe.secret_key",
                "stripe.webhook_secret",
                "stripe_stub.webhook_secret",
                "stripe_stub.secret_key",
                "mail.smtp_url"
            ]
        );
    }

    #[test]
    fn markers_are_read_and_kept_out_of_the_comment() {
        let schema = Schema::read().unwrap();
        let port = schema.key("server.port").unwrap();
        assert_eq!(port.kind, Kind::Integer(0, 65535));
        assert_eq!(port.variable.as_deref(), Some("PORT"));
        assert_eq!(port.own_variable(), "ANTEROOM__SERVER__PORT");
        assert_eq!(port.comment, ["Port the API listens on. 0 takes a free one."]);
        assert_eq!(schema.key("env").unwrap().choices, ["development", "production"]);
    }

    #[test]
    fn the_nearest_key_is_a_likely_one() {
        let schema = Schema::read().unwrap();
        for (unknown, known) in [
            ("server.prot", "server.port"),
            ("server.max_connections", "database.max_connections"),
            ("passwords.bcrypt_costs", "passwords.bcrypt_cost"),
            ("enviroment", "env"),
        ] {
            assert_eq!(schema.nearest(unknown), known);
        }
        assert_eq!(schema.nearest_section("sever"), "server");
    }
}
