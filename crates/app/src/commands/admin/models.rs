//! `anteroom admin models list`, `put` and `delete`: what admins do over HTTP, done by whoever may run commands on the
//! host.

use std::io::{IsTerminal as _, Read as _, stdin};
use std::process::ExitCode;

use anteroom_domain::audit::Actor;
use anteroom_http::chat::model_details::{AdminModel, PutModelRequest};
use anteroom_services::Client;
use anteroom_services::chat::{Expected, ModelDetails, PutModelError};
use anyhow::{Context as _, bail};

use super::super::say;
use crate::cli::{AdminModelsCommand, AdminModelsPutArgs};
use crate::config::Settings;
use crate::migrations::prepare_schema;
use crate::wiring::{Adapters, Services};

/// Works beside a running server, which is told.
pub(super) async fn run(what: AdminModelsCommand, settings: &Settings) -> anyhow::Result<ExitCode> {
    let adapters = Adapters::new(settings).await?;
    let services = Services::new(settings, &adapters)?;
    prepare_schema(settings, &adapters, &services).await?;
    match what {
        AdminModelsCommand::List(args) => {
            for model in services.chat.show_models().await? {
                if args.json {
                    say(&serde_json::to_string(&AdminModel::from(&model))?);
                } else {
                    say(&line(&model));
                }
            }
        }
        AdminModelsCommand::Put(args) => put(args, &services).await?,
        AdminModelsCommand::Delete(args) => {
            let client = Client::default();
            let deleted = services
                .chat
                .delete_model(&args.name, Expected::Anything, Actor::Operator, &client);
            deleted.await?;
            let back = services.chat.show_model(&args.name).await?.is_some();
            let rest = if back { "; the configuration's is back" } else { "" };
            say(&format!("deleted {}{rest}", args.name));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn put(args: AdminModelsPutArgs, services: &Services) -> anyhow::Result<()> {
    let (alias, enabled) = read(&args)?.into_alias(args.name);
    let client = Client::default();
    let put = services
        .chat
        .put_model(alias, enabled, Expected::Anything, Actor::Operator, &client);
    match put.await {
        Ok(put) => say(&line(&put.model)),
        Err(PutModelError::Refused(mistakes)) => {
            let mistakes: Vec<String> = mistakes
                .into_iter()
                .map(|m| format!("{}: {}", m.pointer, m.detail))
                .collect();
            bail!("{}", mistakes.join("\n"));
        }
        Err(e) => return Err(e.into()),
    }
    Ok(())
}

fn read(args: &AdminModelsPutArgs) -> anyhow::Result<PutModelRequest> {
    let text = match &args.file {
        Some(path) => std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?,
        None if stdin().is_terminal() => bail!("there is nothing on standard input; name a file with --file"),
        None => {
            let mut text = String::new();
            stdin().lock().read_to_string(&mut text)?;
            text
        }
    };
    serde_json::from_str(&text).context("this is no model's JSON")
}

fn line(model: &ModelDetails) -> String {
    let targets = model
        .targets
        .iter()
        .map(|it| format!("{}/{}", it.target.provider, it.target.model));
    let targets = targets.collect::<Vec<_>>().join(", ");
    let source = match (model.stored, model.overrides_config) {
        (None, _) => "config",
        (Some(_), false) => "store",
        (Some(_), true) => "store, over the configuration's",
    };
    let state = match (model.enabled, model.offered) {
        (false, _) => "withheld",
        (true, true) => "offered",
        (true, false) => "unusable",
    };
    let problems = model.problems.iter().map(|problem| format!("\n    {problem}"));
    format!(
        "{}  {state}  ({source})  {targets}{}",
        model.name,
        problems.collect::<String>()
    )
}
