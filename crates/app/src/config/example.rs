//! `.env.example`, made from the comments of the default file.

use super::errors::ConfigErrors;
use super::schema::{Key, OWN_PREFIX, Schema};

const HEAD: &str = "\
# Copy to .env and uncomment what you change. Made by `anteroom config env-example` from
# config/anteroom.default.toml, which documents every setting.
#
# A variable of the process goes before its line here; an empty one counts as unset. A value with spaces, $ or #
# needs 'single quotes'.
";

const FOOT: &str = "
# A configuration file to read besides (default: ./anteroom.toml, if there is one).
# ANTEROOM_CONFIG=

";

/// The text of `.env.example`: the conventional variables, commented out, then how the others are called.
pub fn env_example() -> Result<String, ConfigErrors> {
    let schema = Schema::read()?;
    let mut lines: Vec<String> = HEAD.lines().map(str::to_owned).collect();
    for key in &schema.keys {
        let Some(variable) = &key.variable else { continue };
        lines.push(String::new());
        lines.extend(comment(key));
        lines.push(format!("# {variable}={}", default_text(key)));
    }
    lines.extend(FOOT.lines().map(str::to_owned));
    lines.push(format!(
        "# Every other key of config/anteroom.default.toml is {OWN_PREFIX}SECTION__KEY, for example:"
    ));
    for path in [
        "server.public_url",
        "accounts.signup",
        "cookie.same_site",
        "security.frame_ancestors",
    ] {
        if let Some(key) = schema.key(path) {
            lines.push(format!("# {}={}", key.own_variable(), default_text(key)));
        }
    }
    Ok(lines.join("\n") + "\n")
}

fn comment(key: &Key) -> impl Iterator<Item = String> {
    let words = (!key.choices.is_empty()).then(|| format!("One of {}.", key.choices.join(", ")));
    let secret = key.secret.then(|| "Secret: keep it out of version control.".to_owned());
    let lines = key.comment.iter().cloned().chain(words).chain(secret);
    lines.map(|line| format!("# {line}"))
}

fn default_text(key: &Key) -> String {
    match &key.default {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(items) => items
            .iter()
            .filter_map(|item| item.as_str())
            .collect::<Vec<_>>()
            .join(","),
        other => other.to_string(),
    }
}
