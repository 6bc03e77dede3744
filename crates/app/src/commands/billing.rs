//! `anteroom billing`

use std::process::ExitCode;

use anteroom_services::billing::{Reconciled, Replayed};
use anyhow::bail;

use super::{runtime, say};
use crate::cli::{BillingCommand, ReplayArgs};
use crate::config::{Loaded, Settings};
use crate::wiring::beside_server;

/// Works beside a running server, which notices at once.
pub(super) fn run(what: BillingCommand, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(carry_out(what, &loaded.settings))
}

async fn carry_out(what: BillingCommand, settings: &Settings) -> anyhow::Result<ExitCode> {
    let services = beside_server(settings).await?;
    services.billing.load_plans().await?;
    match what {
        BillingCommand::Reconcile => {
            let Reconciled {
                compared,
                changed,
                purchases,
                purchases_changed,
            } = services.billing.reconcile().await?;
            say(&format!(
                "compared {compared} subscriptions; {changed} stood differently and were put right"
            ));
            say(&format!(
                "compared {purchases} purchases of credits; {purchases_changed} stood differently and were put right"
            ));
        }
        BillingCommand::Replay(ReplayArgs { event, since }) => {
            let replayed = match (event, since) {
                (Some(id), _) => services.billing.replay_event(&id).await?,
                (None, Some(since)) => services.billing.replay_events(since).await?,
                (None, None) => bail!("say which: --event or --since"),
            };
            let Replayed { events, changed } = replayed;
            say(&format!(
                "had the effect of {events} events again; after {changed} something stood differently"
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}
