//! Laying one source of values over another, keeping for each key who set it.

use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use super::errors::{Problem, Source};
use super::schema::{Key, OWN_PREFIX, Schema};
use super::values;

/// Whether this is production: decided by one variable, so that nothing else can switch off what production refuses.
pub(super) const ENV: &str = "env";

/// The values as far as they are laid, and what was wrong on the way. A wrong value is reported and left out,
/// so that everything else can be checked in the same run.
#[derive(Debug)]
pub(super) struct Layers<'a> {
    schema: &'a Schema,
    pub values: BTreeMap<String, (Value, Source)>,
    pub problems: Vec<Problem>,
    pub warnings: Vec<String>,
}

impl<'a> Layers<'a> {
    /// The defaults.
    pub fn new(schema: &'a Schema) -> Self {
        let with_source = |key: &Key| (key.path.clone(), (key.default.clone(), Source::Default));
        Self {
            schema,
            values: schema.keys.iter().map(with_source).collect(),
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Lays the text of a configuration file over them.
    pub fn lay_file(&mut self, path: &Path, text: &str) {
        let source = Source::File(path.to_owned());
        // The parser's own message quotes the line, and the line may hold a secret.
        let table = match toml::from_str::<Table>(text) {
            Ok(table) => table,
            Err(error) => {
                let start = error.span().map_or(0, |span| span.start);
                let line = text.bytes().take(start).filter(|&byte| byte == b'\n').count() + 1;
                return self.report("", &source, format!("line {line}: {}", error.message()));
            }
        };
        for (name, value) in table {
            match value {
                Value::Table(section) if self.schema.has_section(&name) => {
                    for (key, value) in section {
                        self.lay_file_value(&format!("{name}.{key}"), value, &source);
                    }
                }
                Value::Table(_) if self.schema.key(&name).is_none() => {
                    let nearest = self.schema.nearest_section(&name);
                    self.report(
                        &name,
                        &source,
                        format!("unknown section; the nearest known one is `{nearest}`"),
                    );
                }
                value => self.lay_file_value(&name, value, &source),
            }
        }
    }

    fn lay_file_value(&mut self, path: &str, value: Value, source: &Source) {
        if path == ENV {
            return self.report(path, source, "only the variable ANTEROOM_ENV sets it");
        }
        match self.schema.key(path) {
            Some(key) => self.lay(key, values::from_file(key, value), source),
            None => self.report_unknown(path, source),
        }
    }

    /// Lays variables over them: first those that every key has, then the conventional ones.
    pub fn lay_variables(&mut self, variables: &BTreeMap<String, String>, source: fn(String) -> Source) {
        let schema = self.schema;
        let set = |name: &str| variables.get(name).filter(|text| !text.is_empty());
        for (name, text) in variables.iter().filter(|(_, text)| !text.is_empty()) {
            let Some(rest) = name.strip_prefix(OWN_PREFIX) else {
                self.warn_of_almost(name);
                continue;
            };
            let path = rest.to_lowercase().replace("__", ".");
            if path == ENV {
                self.report(ENV, &source(name.clone()), "only the variable ANTEROOM_ENV sets it");
            } else if let Some(key) = schema.key(&path) {
                self.lay(key, values::from_variable(key, text), &source(name.clone()));
            } else if let Some(key) = secret_in_file(schema, &path) {
                self.lay_secret_file(key, text, &source(name.clone()));
            } else {
                self.report_unknown(&path, &source(name.clone()));
            }
        }
        for key in &schema.keys {
            let Some(name) = &key.variable else { continue };
            let in_file = format!("{name}_FILE");
            if let Some(text) = set(name) {
                self.lay(key, values::from_variable(key, text), &source(name.clone()));
            } else if let Some(path) = set(&in_file).filter(|_| key.secret) {
                self.lay_secret_file(key, path, &source(in_file));
            }
        }
    }

    /// `ANTEROOM_SERVER__PORT` would be ignored without a word, since other programs set ANTEROOM_… too.
    fn warn_of_almost(&mut self, name: &str) {
        if let Some(rest) = name.strip_prefix("ANTEROOM_")
            && rest.contains("__")
        {
            self.warnings
                .push(format!("{name} is not read: did you mean {OWN_PREFIX}{rest}?"));
        }
    }

    fn lay_secret_file(&mut self, key: &Key, path: &str, source: &Source) {
        match std::fs::read_to_string(path) {
            Ok(text) if text.trim().is_empty() => {
                self.report(&key.path, source, format!("the file {path} is empty"));
            }
            Ok(text) => self.lay(key, values::from_variable(key, &text), source),
            Err(error) => self.report(&key.path, source, format!("cannot read the file {path}: {error}")),
        }
    }

    fn lay(&mut self, key: &Key, value: Result<Value, Vec<String>>, source: &Source) {
        match value {
            Ok(value) => {
                self.values.insert(key.path.clone(), (value, source.clone()));
            }
            Err(wrong) => wrong
                .into_iter()
                .for_each(|message| self.report(&key.path, source, message)),
        }
    }

    /// The text of a key; empty if it holds none.
    pub fn text(&self, path: &str) -> String {
        let value = self.values.get(path).map(|(value, _)| value);
        value.and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Fills in what follows from other keys, where nobody set it.
    pub fn fill(&mut self, path: &str, text: &str) {
        if let Some((value, _)) = self.values.get_mut(path)
            && value.as_str() == Some("")
        {
            *value = Value::String(text.to_owned());
        }
    }

    /// The values as the tree that the settings are read from.
    pub fn tree(&self) -> Table {
        let mut tree = Table::new();
        for key in &self.schema.keys {
            let Some((value, _)) = self.values.get(&key.path) else {
                continue;
            };
            match key.split() {
                (None, name) => {
                    tree.insert(name.to_owned(), value.clone());
                }
                (Some(section), name) => {
                    let section = tree.entry(section).or_insert_with(|| Value::Table(Table::new()));
                    if let Value::Table(section) = section {
                        section.insert(name.to_owned(), value.clone());
                    }
                }
            }
        }
        tree
    }

    fn report_unknown(&mut self, path: &str, source: &Source) {
        let nearest = self.schema.nearest(path).to_owned();
        self.report(
            path,
            source,
            format!("unknown key; the nearest known one is `{nearest}`"),
        );
    }

    pub fn report(&mut self, key: &str, source: &Source, message: impl Into<String>) {
        self.problems.push(Problem::new(key, source, message));
    }
}

/// The secret that `path` with `_file` behind it means.
fn secret_in_file<'a>(schema: &'a Schema, path: &str) -> Option<&'a Key> {
    path.strip_suffix("_file")
        .and_then(|path| schema.key(path))
        .filter(|key| key.secret)
}
