//! `anteroom admin create`, `usage rebuild` and `models`

mod models;

use std::io::{BufRead as _, IsTerminal as _, stdin};
use std::process::ExitCode;

use anteroom_services::accounts::{MadeAdmin, MakeAdminError, SignUpError};
use anyhow::bail;
use secrecy::SecretString;

use super::{runtime, say};
use crate::cli::{AdminCommand, AdminCreateArgs, AdminUsageCommand};
use crate::config::{Loaded, Settings};
use crate::migrations::prepare_schema;
use crate::wiring::{Adapters, Services, beside_server};

/// Works beside a running server.
pub(super) fn run(what: AdminCommand, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let settings = &loaded.settings;
    match what {
        AdminCommand::Create(args) => runtime()?.block_on(create(args, settings)),
        AdminCommand::Usage(AdminUsageCommand::Rebuild) => runtime()?.block_on(rebuild_usage(settings)),
        AdminCommand::Models(what) => runtime()?.block_on(models::run(what, settings)),
    }
}

async fn rebuild_usage(settings: &Settings) -> anyhow::Result<ExitCode> {
    let services = beside_server(settings).await?;
    let owners = services.billing.rebuild_usage().await?;
    say(&format!("added up anew what {owners} accounts used"));
    Ok(ExitCode::SUCCESS)
}

/// Makes the first admin.
async fn create(args: AdminCreateArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let adapters = Adapters::new(settings).await?;
    let services = Services::new(settings, &adapters)?;
    prepare_schema(settings, &adapters, &services).await?;
    let accounts = &services.accounts;
    let password = if accounts.has_account(&args.email).await? {
        None
    } else {
        Some(password(args.password_stdin)?)
    };
    match accounts
        .make_admin(&args.email, args.name.as_deref(), password.as_ref())
        .await
    {
        Ok(MadeAdmin::Created(user)) => say(&format!("created the admin {} ({})", user.email.as_str(), user.id)),
        Ok(MadeAdmin::Promoted(user)) => say(&format!(
            "{} ({}) is an admin now; the password is unchanged",
            user.email.as_str(),
            user.id
        )),
        Err(MakeAdminError::SignUp(SignUpError::Refused(faults))) => {
            let faults: Vec<String> = faults
                .into_iter()
                .map(|f| format!("{}: {}", f.field, f.detail))
                .collect();
            bail!("{}", faults.join("\n"));
        }
        Err(e) => return Err(e.into()),
    }
    Ok(ExitCode::SUCCESS)
}

fn password(from_stdin: bool) -> anyhow::Result<SecretString> {
    if from_stdin {
        let mut line = String::new();
        stdin().lock().read_line(&mut line)?;
        return Ok(SecretString::from(line.trim_end_matches(['\r', '\n']).to_owned()));
    }
    if !stdin().is_terminal() {
        bail!("there is no terminal to ask for a password on; use --password-stdin");
    }
    let first = rpassword::prompt_password("Password for the new admin: ")?;
    if first != rpassword::prompt_password("The same again: ")? {
        bail!("the two passwords differ");
    }
    Ok(SecretString::from(first))
}
