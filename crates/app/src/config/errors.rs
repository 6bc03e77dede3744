//! What can be wrong with a configuration, all of it reported at once.

use std::fmt;
use std::path::PathBuf;

/// Where a key's value came from, lowest layer first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Nobody set it: the compiled-in default, or what follows from other keys.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// This variable in the `.env` file.
    DotEnv(String),
    /// This variable of the process.
    Variable(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::DotEnv(name) => write!(f, "{name} in .env"),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key it is about (`server.port`); empty when it is about a whole file.
    pub key: String,
    /// Who said it.
    pub source: Source,
    /// What is wrong and what would be right. Never holds the value of a secret.
    pub message: String,
}

impl Problem {
    pub(super) fn new(key: &str, source: &Source, message: impl Into<String>) -> Self {
        Self {
            key: key.to_owned(),
            source: source.clone(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.source, self.key.is_empty()) {
            (Source::Default, true) => write!(f, "{}", self.message),
            (Source::Default, false) => write!(f, "{}: {}", self.key, self.message),
            (source, true) => write!(f, "{source}: {}", self.message),
            (source, false) => write!(f, "{} (from {source}): {}", self.key, self.message),
        }
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [one] => write!(f, "the configuration has a problem: {one}"),
            many => {
                write!(f, "the configuration has {} problems:", many.len())?;
                many.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
            }
        }
    }
}

impl From<Vec<Problem>> for ConfigErrors {
    fn from(problems: Vec<Problem>) -> Self {
        Self { problems }
    }
}
