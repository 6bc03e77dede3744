//! `anteroom plans`

use std::process::ExitCode;

use anteroom_domain::billing::{Catalogue, EntitlementKind, ModelRule, Overage, Plan, Price};
use anteroom_ports::billing::Published;
use anteroom_services::Billing;
use anteroom_services::billing::PlanDifference;
use serde_json::Value;

use super::{runtime, say};
use crate::cli::PlansCommand;
use crate::config::{Loaded, Settings};
use crate::plans::catalogue;
use crate::wiring::beside_server;

/// Works beside a running server.
pub(super) fn run(what: &PlansCommand, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let settings = &loaded.settings;
    match what {
        PlansCommand::Validate => {
            say(&listed(&catalogue(settings)?));
            Ok(ExitCode::SUCCESS)
        }
        PlansCommand::Diff => runtime()?.block_on(diff(settings)),
        PlansCommand::Publish => runtime()?.block_on(publish(settings)),
    }
}

async fn diff(settings: &Settings) -> anyhow::Result<ExitCode> {
    let services = beside_server(settings).await?;
    let (changed, new) = services.billing.compare_plans().await?;
    for plan in &new {
        say(&format!("new      {} version {}", plan.key, plan.version));
    }
    for difference in &changed {
        let PlanDifference { published, configured } = difference;
        say(&format!(
            "changed  {} version {}, which somebody may have bought: raise its version",
            configured.key, configured.version
        ));
        for (member, was, is) in members(published, configured) {
            say(&format!("           {member}: {was} -> {is}"));
        }
    }
    let mut differs = !changed.is_empty();
    differs |= say_prices(&services.billing, true).await?;
    if new.is_empty() && !differs {
        say("the plans stand as they were published");
    }
    Ok(if differs { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn publish(settings: &Settings) -> anyhow::Result<ExitCode> {
    let services = beside_server(settings).await?;
    services.billing.keep_plans(!settings.is_production()).await?;
    let differs = say_prices(&services.billing, false).await?;
    say("published: each plan's version is kept");
    Ok(if differs { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Says how each price stands at the payment provider. `true` if one stands there with other terms.
async fn say_prices(billing: &Billing, dry_run: bool) -> anyhow::Result<bool> {
    let mut differs = false;
    for published in billing.publish_prices(dry_run).await? {
        let key = published.sale.lookup_key();
        let here = amount(&published.sale.price);
        match published.outcome {
            Published::Unchanged => say(&format!("price    {key}: {here}, as at the payment provider")),
            Published::Created if dry_run => say(&format!("price    {key}: {here} is not at the payment provider yet")),
            Published::Created => say(&format!("price    {key}: {here}, made at the payment provider")),
            Published::Differs { there } => {
                differs = true;
                let there = there.as_ref().map_or_else(|| "something else".to_owned(), amount);
                say(&format!(
                    "price    {key}: {here} here and {there} at the payment provider: raise the plan's version"
                ));
            }
        }
    }
    Ok(differs)
}

fn amount(price: &Price) -> String {
    format!(
        "{}.{:02} {} a {}",
        price.amount / 100,
        price.amount % 100,
        price.currency,
        price.interval
    )
}

/// What two versions say differently.
fn members(published: &Plan, configured: &Plan) -> Vec<(String, Value, Value)> {
    let as_object = |plan: &Plan| match serde_json::to_value(plan) {
        Ok(Value::Object(members)) => members,
        _ => serde_json::Map::new(),
    };
    let (was, is) = (as_object(published), as_object(configured));
    let differing = is.into_iter().filter(|(name, value)| was.get(name) != Some(value));
    differing
        .map(|(name, value)| {
            let before = was.get(&name).cloned().unwrap_or_default();
            (name, before, value)
        })
        .collect()
}

fn listed(catalogue: &Catalogue) -> String {
    let mut lines = Vec::new();
    for plan in catalogue.plans() {
        let prices: Vec<String> = plan.prices.iter().map(amount).collect();
        let price = match (prices.is_empty(), plan.by_agreement) {
            (false, _) => prices.join(", "),
            (true, true) => "by agreement".to_owned(),
            (true, false) => "free".to_owned(),
        };
        let default = if plan.key == catalogue.default_plan().key {
            ", the default"
        } else {
            ""
        };
        lines.push(format!(
            "{} version {}, rank {}: {price}{default}",
            plan.key, plan.version, plan.rank
        ));
        if let Some(seats) = plan.seats {
            lines.push(format!("  {seats} seats, at that price each"));
        }
        if let Some(trial) = plan.trial {
            let card = if trial.card_required { "with" } else { "without" };
            lines.push(format!("  trial of {} days {card} a means of payment", trial.days));
        }
        lines.push(match &plan.models {
            ModelRule::All => "  all models".to_owned(),
            ModelRule::First => "  the first model".to_owned(),
            ModelRule::Named(names) => format!("  the models {}", names.join(", ")),
        });
        lines.extend(plan.entitlements.iter().map(|entitlement| {
            let grant = match &entitlement.kind {
                EntitlementKind::Boolean(on) => if *on { "yes" } else { "no" }.to_owned(),
                EntitlementKind::Static(value) => value.to_string(),
                EntitlementKind::Metered { limit: None, .. } => "without limit".to_owned(),
                EntitlementKind::Metered {
                    limit: Some(limit),
                    window,
                    rollover,
                    overage,
                    per_seat,
                } => {
                    let seat = if *per_seat { " for each seat" } else { "" };
                    let carried = (*rollover > 0).then(|| format!(", {rollover} carried over"));
                    let beyond = overage.as_ref().map(beyond).unwrap_or_default();
                    format!("{limit} {}{}{beyond}{seat}", window.said(), carried.unwrap_or_default())
                }
            };
            format!("  {}: {grant}", entitlement.key)
        }));
    }
    lines.join("\n")
}

/// ", then up to 500 more for 0.05 minor units of usd each"
fn beyond(overage: &Overage) -> String {
    let prices = overage.prices.iter();
    let prices: Vec<_> = prices
        .map(|price| format!("{} minor units of {}", price.amount, price.currency))
        .collect();
    format!(", then up to {} more for {} each", overage.max, prices.join(" or "))
}
