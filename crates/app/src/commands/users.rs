//! `anteroom users …`

mod import;
mod manage;

use std::process::ExitCode;

use super::{runtime, say};
use crate::cli::{UsersCommand, UsersUnlockArgs};
use crate::config::{Loaded, Settings};
use crate::migrations::prepare_schema;
use crate::wiring::{Adapters, Services};

/// Works beside a running server.
pub(super) fn run(what: UsersCommand, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let runtime = runtime()?;
    match what {
        UsersCommand::Unlock(args) => runtime.block_on(unlock(&args, &loaded.settings)),
        UsersCommand::Import(args) => runtime.block_on(import::run(&args, &loaded.settings)),
        UsersCommand::List(args) => runtime.block_on(manage::list(args, &loaded.settings)),
        UsersCommand::Show(args) => runtime.block_on(manage::show(&args, &loaded.settings)),
        UsersCommand::Disable(args) => runtime.block_on(manage::set_disabled(&args, true, &loaded.settings)),
        UsersCommand::Enable(args) => runtime.block_on(manage::set_disabled(&args, false, &loaded.settings)),
        UsersCommand::SetRole(args) => runtime.block_on(manage::set_role(&args, &loaded.settings)),
        UsersCommand::RevokeSessions(args) => runtime.block_on(manage::revoke_sessions(&args, &loaded.settings)),
        UsersCommand::ResetMail(args) => runtime.block_on(manage::send_reset_mail(&args, &loaded.settings)),
    }
}

/// The use cases on the store, with its schema current and its key checked.
async fn services(settings: &Settings) -> anyhow::Result<Services> {
    let adapters = Adapters::new(settings).await?;
    let services = Services::new(settings, &adapters)?;
    prepare_schema(settings, &adapters, &services).await?;
    Ok(services)
}

async fn unlock(args: &UsersUnlockArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let services = services(settings).await?;
    if services.protection.unlock_account(&args.email).await? {
        say(&format!("the failed logins of {} are forgotten", args.email));
    } else {
        say(&format!("there were no failed logins of {}", args.email));
    }
    if !services.accounts.has_account(&args.email).await? {
        say("(no account has this address)");
    }
    Ok(ExitCode::SUCCESS)
}
