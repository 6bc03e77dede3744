//! Configuration: the compiled-in defaults, a file, a `.env` file and variables, laid over one another and
//! read into [`Settings`]. Everything that is wrong is reported at once.
//!
//! [`config/anteroom.default.toml`](DEFAULT_FILE) is where a key is added: its comment is the documentation,
//! and its `variable:`, `secret`, `one of:`, `range:` and `format:` lines are what values are checked by.

mod ai;
mod billing;
mod database_target;
mod derived;
mod disk;
mod dump;
mod errors;
mod example;
mod formats;
mod layers;
mod schema;
mod settings;
mod shapes;
mod telemetry;
#[cfg(test)]
mod tests;
mod validate;
mod values;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use toml::Table;

pub use ai::*;
pub use billing::*;
pub use database_target::DatabaseTarget;
pub use errors::{ConfigErrors, Problem, Source};
pub use example::env_example;
pub use schema::DEFAULT_FILE;
pub use settings::{
    AccountsSettings, CookieSecure, CookieSettings, DataSettings, DatabaseSettings, Environment, LinksSettings,
    LogFormat, LogSettings, MailSettings, MailTransport, MetricsSettings, PasswordsSettings, ProductSettings,
    ProtectionSettings, RuleActionName, RuleKeyName, RuleSettings, RuleWindow, SameSite, SecretSettings,
    SecuritySettings, ServerSettings, SessionsSettings, Settings, SigningAlgorithmName, Signup, WhenFullName,
};
pub use telemetry::TelemetrySettings;

use layers::Layers;
use schema::Schema;

/// Where to read from. `LoadInput::default()` reads nothing: the defaults only.
#[derive(Debug, Clone, Default)]
pub struct LoadInput {
    /// A configuration file that was asked for; it must exist. Else `ANTEROOM_CONFIG` may name one.
    pub config_path: Option<PathBuf>,
    /// A configuration file that is read if there is one and no other was asked for.
    pub default_config_path: Option<PathBuf>,
    /// A `.env` file that is read if there is one. Variables of the process go before it.
    pub dotenv: Option<PathBuf>,
    /// The variables.
    pub env: BTreeMap<String, String>,
}

impl LoadInput {
    /// What a process started in this working directory reads.
    pub fn from_process(config_path: Option<PathBuf>) -> Self {
        // A variable that is not UTF-8 cannot be one of ours: names and values here are plain text.
        let utf8 = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self {
            config_path,
            default_config_path: Some(PathBuf::from("anteroom.toml")),
            dotenv: Some(PathBuf::from(".env")),
            env: std::env::vars_os().filter_map(utf8).collect(),
        }
    }
}

/// A configuration that holds together.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// What works but should be looked at; to be logged at start.
    pub warnings: Vec<String>,
    /// For each key (`server.port`) who set it.
    pub sources: BTreeMap<String, Source>,
    /// The effective values by section, secrets replaced, for [`Loaded::dump`].
    shown: Table,
}

/// Reads and checks the configuration.
pub fn load(input: LoadInput) -> Result<Loaded, ConfigErrors> {
    let schema = Schema::read()?;
    let mut layers = Layers::new(&schema);
    let LoadInput {
        config_path,
        default_config_path,
        dotenv,
        env,
    } = input;
    let dotenv = read_dotenv(dotenv.as_deref(), &mut layers);
    let config_path = config_path
        .or_else(|| named_by_variable(&env))
        .or_else(|| named_by_variable(&dotenv));
    lay_config_file(config_path, default_config_path, &mut layers);
    layers.lay_variables(&dotenv, Source::DotEnv);
    layers.lay_variables(&env, Source::Variable);
    derived::fill(&mut layers);

    let tree = layers.tree();
    let mut settings: Settings = match tree.clone().try_into() {
        Ok(settings) => settings,
        Err(error) => {
            // Every value was checked before, so what is left is a fault of the checks.
            layers.report("", &Source::Default, error.message());
            return Err(layers.problems.into());
        }
    };
    let sources: BTreeMap<String, Source> = layers
        .values
        .iter()
        .map(|(key, (_, source))| (key.clone(), source.clone()))
        .collect();
    let mut warnings = layers.warnings;
    let mut problems = layers.problems;
    // Whose values were replaced; what a file could not be read for has its own.
    let replaced = problems.len();
    for provider in &mut settings.ai.providers {
        let Some(name) = &provider.api_key_variable else {
            continue;
        };
        let set = |name: &str| {
            env.get(name)
                .or_else(|| dotenv.get(name))
                .filter(|text| !text.is_empty())
        };
        provider.api_key = match (set(name), set(&format!("{name}_FILE"))) {
            (Some(key), _) => Some(key.clone().into()),
            (None, Some(path)) => match std::fs::read_to_string(path) {
                Ok(key) => Some(key.trim().into()),
                Err(error) => {
                    let source = sources.get("ai.providers").unwrap_or(&Source::Default);
                    let message = format!("`{}`: cannot read the file {path}: {error}", provider.name);
                    problems.push(Problem::new("ai.providers", source, message));
                    None
                }
            },
            (None, None) => None,
        };
    }
    for assistant in &mut settings.ai.assistants {
        let Some(path) = &assistant.instructions_file else {
            continue;
        };
        match std::fs::read_to_string(path) {
            Ok(text) => assistant.read_instructions = Some(text.trim().to_owned()),
            Err(error) => {
                let source = sources.get("ai.assistants").unwrap_or(&Source::Default);
                let message = format!("`{}`: cannot read the file {}: {error}", assistant.name, path.display());
                problems.push(Problem::new("ai.assistants", source, message));
            }
        }
    }
    match settings.validate() {
        Ok(more) => warnings.extend(more),
        Err(errors) => {
            let more = with_sources(errors, &problems[..replaced], &sources);
            problems.extend(more);
        }
    }
    if !problems.is_empty() {
        return Err(problems.into());
    }
    warnings.extend(disk::warning(&settings));
    let shown = dump::without_secrets(&schema, tree, &settings);
    Ok(Loaded {
        settings,
        warnings,
        sources,
        shown,
    })
}

/// The problems of whole settings, each with who set the key; without those of keys whose value was already
/// refused, since they speak of the value beneath.
fn with_sources(errors: ConfigErrors, known: &[Problem], sources: &BTreeMap<String, Source>) -> Vec<Problem> {
    let is_new = |problem: &Problem| known.iter().all(|other| other.key != problem.key);
    let with_source = |problem: Problem| Problem {
        source: sources.get(&problem.key).cloned().unwrap_or(Source::Default),
        ..problem
    };
    errors.problems.into_iter().filter(is_new).map(with_source).collect()
}

/// The variables of the `.env` file. The process's own environment is not touched: other threads may read it.
fn read_dotenv(path: Option<&Path>, layers: &mut Layers) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    let Some(path) = path else { return variables };
    let lines = match dotenvy::from_path_iter(path) {
        Ok(lines) => lines,
        Err(error) if error.not_found() => return variables,
        Err(error) => {
            layers.report("", &Source::File(path.to_owned()), format!("cannot be read: {error}"));
            return variables;
        }
    };
    let mut last = None;
    for line in lines {
        if let Ok((name, value)) = line {
            last = Some(name.clone());
            variables.insert(name, value);
        } else {
            // The error itself would quote the line, and the line may hold a secret.
            let place = last
                .as_ref()
                .map_or("the first line".to_owned(), |name| format!("the line after {name}"));
            let message = format!("{place} is not NAME=value (values with spaces, $ or # need 'quotes')");
            layers.report("", &Source::File(path.to_owned()), message);
        }
    }
    variables
}

fn named_by_variable(variables: &BTreeMap<String, String>) -> Option<PathBuf> {
    let path = variables.get("ANTEROOM_CONFIG")?;
    (!path.is_empty()).then(|| PathBuf::from(path))
}

fn lay_config_file(asked_for: Option<PathBuf>, default: Option<PathBuf>, layers: &mut Layers) {
    let may_be_missing = asked_for.is_none();
    let Some(path) = asked_for.or(default) else { return };
    match std::fs::read_to_string(&path) {
        Ok(text) => layers.lay_file(&path, &text),
        Err(error) if error.kind() == ErrorKind::NotFound && may_be_missing => {}
        Err(error) => layers.report("", &Source::File(path), format!("cannot be read: {error}")),
    }
}
