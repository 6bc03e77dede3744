//! `anteroom migrate`

use std::process::ExitCode;

use anteroom_ports::Store;
use anteroom_ports::migrations::SchemaStatus;
use anyhow::{Context as _, bail};

use super::{runtime, say};
use crate::cli::{MigrateCommand, MigrateDownArgs};
use crate::config::Loaded;
use crate::wiring::open_store;

/// Brings the schema up, takes it back, or shows where it stands.
pub(super) fn run(what: MigrateCommand, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    runtime()?.block_on(async {
        let store = open_store(&loaded.settings).await?;
        match what {
            MigrateCommand::Up => up(&*store).await,
            MigrateCommand::Down(args) => down(&*store, &args).await,
            MigrateCommand::Status => status(&*store).await,
        }
    })
}

async fn up(store: &dyn Store) -> anyhow::Result<ExitCode> {
    let applied = store.migrate_up().await?;
    for version in &applied {
        say(&format!("applied  {version}"));
    }
    if applied.is_empty() {
        say("nothing to do: the schema is current");
    }
    Ok(ExitCode::SUCCESS)
}

async fn down(store: &dyn Store, args: &MigrateDownArgs) -> anyhow::Result<ExitCode> {
    let versions = to_take_back(&store.schema_status().await?, args)?;
    for version in &versions {
        let reverted = store
            .migrate_down()
            .await
            .with_context(|| format!("{version} is still applied, and so is what was before it"))?;
        // Each is under the lock, but not all of them: a server that starts in between brings the schema up again.
        let reverted = reverted.unwrap_or_default();
        say(&format!("reverted  {reverted}"));
        if reverted != *version {
            bail!(
                "{version} should have been reverted: is a server starting meanwhile? Stop all of them, and try again"
            );
        }
    }
    if versions.is_empty() {
        say("nothing to do: it is the newest that is applied");
    }
    Ok(ExitCode::SUCCESS)
}

/// The migrations that are to be reverted, newest first. All that can be refused is refused before the first is.
fn to_take_back(status: &SchemaStatus, args: &MigrateDownArgs) -> anyhow::Result<Vec<String>> {
    let SchemaStatus { applied, unknown, .. } = status;
    if applied.is_empty() {
        bail!("no migration is applied");
    }
    let kept = match args {
        MigrateDownArgs { to: Some(to), .. } => match applied.iter().position(|version| version == to) {
            Some(place) => place + 1,
            None => bail!("{to} is not applied; these are:\n  {}", applied.join("\n  ")),
        },
        MigrateDownArgs { steps, .. } => {
            let steps = usize::try_from(steps.unwrap_or_default())?;
            match applied.len().checked_sub(steps) {
                Some(kept) => kept,
                None => bail!("only {} are applied:\n  {}", applied.len(), applied.join("\n  ")),
            }
        }
    };
    let versions: Vec<String> = applied.iter().skip(kept).rev().cloned().collect();
    if let Some(version) = versions.iter().find(|version| unknown.contains(version)) {
        bail!("{version} is unknown to this version of anteroom: run the one that applied it");
    }
    Ok(versions)
}

async fn status(store: &dyn Store) -> anyhow::Result<ExitCode> {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(applied: &[&str], unknown: &[&str]) -> SchemaStatus {
        let owned = |versions: &[&str]| versions.iter().map(ToString::to_string).collect();
        SchemaStatus {
            applied: owned(applied),
            pending: Vec::new(),
            unknown: owned(unknown),
        }
    }

    fn to(version: &str) -> MigrateDownArgs {
        MigrateDownArgs {
            to: Some(version.to_owned()),
            steps: None,
        }
    }

    fn steps(steps: u32) -> MigrateDownArgs {
        MigrateDownArgs {
            to: None,
            steps: Some(steps),
        }
    }

    #[test]
    fn the_newest_go_first_and_the_named_one_stays() {
        let status = schema(&["1", "2", "3"], &[]);
        for (args, expected) in [
            (to("1"), &["3", "2"][..]),
            (to("3"), &[]),
            (steps(1), &["3"]),
            (steps(3), &["3", "2", "1"]),
        ] {
            assert_eq!(to_take_back(&status, &args).unwrap(), expected, "{args:?}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused_before_anything_is() {
        let status = schema(&["1", "2", "4"], &["4"]);
        for (args, named) in [
            (to("3"), "3 is not applied; these are:\n  1\n  2\n  4"),
            (to("1"), "4 is unknown"),
            (steps(1), "4 is unknown"),
            (steps(4), "only 3 are applied"),
        ] {
            let error = to_take_back(&status, &args).unwrap_err().to_string();
            assert!(error.contains(named), "{args:?}: {error}");
        }
        assert_eq!(to_take_back(&status, &to("4")).unwrap(), Vec::<String>::new());
        let error = to_take_back(&schema(&[], &[]), &steps(1)).unwrap_err().to_string();
        assert!(error.contains("no migration is applied"), "{error}");
    }
}
