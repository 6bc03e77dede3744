//! The effective settings as TOML, for `anteroom config dump`.

use toml::{Table, Value};

use super::Loaded;
use super::errors::Source;
use super::layers::ENV;
use super::schema::{Key, Schema};
use super::settings::Settings;

const HIDDEN: &str = "***";

/// The effective values with everything secret replaced, so that what is kept for showing holds no secret.
pub(super) fn without_secrets(schema: &Schema, mut tree: Table, settings: &Settings) -> Table {
    for key in schema.keys.iter().filter(|key| key.secret) {
        let (Some(section), name) = key.split() else { continue };
        let value = tree.get_mut(section).and_then(|section| section.get_mut(name));
        let Some(Value::String(text)) = value else { continue };
        if key.path == "database.url" {
            *text = settings.database.url.redacted();
        } else if !text.is_empty() {
            HIDDEN.clone_into(text);
        }
    }
    tree
}

impl Loaded {
    /// The effective settings as TOML, in the order of the default file; secrets are `"***"`, and what is not
    /// the default says who set it.
    pub fn dump(&self) -> String {
        let Ok(schema) = Schema::read() else {
            return String::new();
        };
        let mut lines = Vec::new();
        let mut current = None;
        for key in &schema.keys {
            let (section, name) = key.split();
            if section != current {
                lines.push(format!("\n[{}]", section.unwrap_or_default()));
                current = section;
            }
            let value = match section {
                Some(section) => self.shown.get(section).and_then(|section| section.get(name)),
                None => self.shown.get(name),
            };
            let Some(value) = value else { continue };
            let by_variable_only = if key.path == ENV { "# " } else { "" };
            let (value, remark) = (written(value), self.remark(key));
            lines.push(format!("{by_variable_only}{name} = {value}{remark}"));
        }
        lines.join("\n") + "\n"
    }

    fn remark(&self, key: &Key) -> String {
        match self.sources.get(&key.path) {
            None | Some(Source::Default) => String::new(),
            Some(source) => format!("  # {source}"),
        }
    }
}

/// A value as TOML; a list of tables with one table per line.
fn written(value: &Value) -> String {
    match value {
        Value::Array(items) if items.iter().any(Value::is_table) => {
            let lines: Vec<String> = items.iter().map(|item| format!("  {item},\n")).collect();
            format!("[\n{}]", lines.concat())
        }
        other => other.to_string(),
    }
}
