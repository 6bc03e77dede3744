//! `anteroom migrate`

use std::process::ExitCode;

use super::{runtime, say};
use crate::cli::MigrateCommand;
use crate::config::Loaded;
use crate::wiring::open_store;

/// Brings the schema up, or shows where it stands.
pub(super) fn run(what: MigrateCommand, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    runtime()?.block_on(async {
        let store = open_store(&loaded.settings).await?;
        if what == MigrateCommand::Up {
            let applied = store.migrate_up().await?;
            for version in &applied {
                say(&format!("applied  {version}"));
            }
            if applied.is_empty() {
                say("nothing to do: the schema is current");
            }
            return Ok(ExitCode::SUCCESS);
        }
        let status = store.schema_status().await?;
        for (state, versions) in [
            ("applied", &status.applied),
            ("pending", &status.pending),
            ("unknown", &status.unknown),
        ] {
            for version in versions {
                say(&format!("{state}  {version}"));
            }
        }
        Ok(if status.current() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    })
}
