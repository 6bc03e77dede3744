//! `anteroom doctor`: everything a start needs, checked one by one, changing nothing.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anteroom_ports::Store;

use super::{read, runtime, say};
use crate::config::{DatabaseTarget, Settings};
use crate::logging::{self, Output};
use crate::wiring::{Adapters, open_store};

struct Findings {
    bad: bool,
}

impl Findings {
    fn good(what: &str, detail: &str) {
        say(&format!("ok    {what}: {detail}"));
    }

    fn bad(&mut self, what: &str, detail: &str) {
        self.bad = true;
        say(&format!("FAIL  {what}: {detail}"));
    }
}

/// Checks everything and says what was found.
pub(super) fn run(path: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let loaded = read(path)?;
    logging::start(&loaded.settings, Output::Stderr)?;
    let mut findings = Findings { bad: false };
    Findings::good("configuration", "complete");
    for warning in &loaded.warnings {
        say(&format!("warn  configuration: {warning}"));
    }
    runtime()?.block_on(look(&loaded.settings, &mut findings));
    Ok(if findings.bad {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

async fn look(settings: &Settings, findings: &mut Findings) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match settings.database() {
        DatabaseTarget::Sqlite(file) if !file.exists() => {
            Findings::good(
                "store",
                &format!("{} does not exist yet; the first start makes it", file.display()),
            );
        }
        _ => match open_store(settings).await {
            Ok(store) => look_at_store(&store, findings).await,
            Err(e) => findings.bad("store", &format!("{e:#}")),
        },
    }
    if settings.model_provider().is_none() {
        Findings::good("models", "the built-in `echo`");
        return;
    }
    let local = match url::Url::parse("http://127.0.0.1") {
        Ok(url) => url,
        Err(e) => return findings.bad("models", &e.to_string()),
    };
    match Adapters::new(settings, &local).await {
        Err(e) => findings.bad("models", &format!("{e:#}")),
        Ok(adapters) => match adapters.models.models().await {
            Ok(models) => {
                let missing: Vec<&str> = settings
                    .ai
                    .models
                    .iter()
                    .filter(|m| !models.iter().any(|o| o.id == **m))
                    .map(String::as_str)
                    .collect();
                if missing.is_empty() {
                    Findings::good("models", &format!("{} lists {}", adapters.models.name(), models.len()));
                } else {
                    findings.bad(
                        "models",
                        &format!("{} does not list {}", adapters.models.name(), missing.join(", ")),
                    );
                }
            }
            Err(e) => findings.bad("models", &format!("{}: {}", adapters.models.name(), e.detail)),
        },
    }
}

async fn look_at_store(store: &Arc<dyn Store>, findings: &mut Findings) {
    match store.schema_status().await {
        Ok(status) if status.current() => Findings::good("store", &format!("{}, schema current", store.kind())),
        Ok(status) if status.unknown.is_empty() => Findings::good(
            "store",
            &format!(
                "{}, {} migrations to apply at the next start",
                store.kind(),
                status.pending.len()
            ),
        ),
        Ok(status) => findings.bad(
            "store",
            &format!("a newer version has been here: {}", status.unknown.join(", ")),
        ),
        Err(e) => findings.bad("store", &e.to_string()),
    }
}
