//! What the configuration says of plans and of limits, as the domain has it.

use anteroom_domain::billing::{
    Catalogue, Credits, Entitlement, EntitlementKind, ModelRule, NanoUsd, Operation, Overage, OveragePrice, Plan,
    PlanTrial, Price, Requirements, SeatRule, Window,
};
use anteroom_domain::chat::ParameterRule;
use anteroom_domain::protection::{CallRate, Limit, LimitRule, RoutePattern, RuleAction, RuleKey};
use anteroom_ports::billing::CreditPack;
use anteroom_services::billing::Pack;
use jiff::SignedDuration;

use crate::config::{
    EntitlementKindName, EntitlementSettings, EntitlementValue, OveragePriceSettings, OverageSettings, PackSettings,
    PlanModels, PlanSettings, RuleActionName, RuleKeyName, RuleSettings, RuleWindow, Settings, WindowName,
};

pub(crate) fn catalogue(settings: &Settings) -> anyhow::Result<Catalogue> {
    let plans = settings
        .billing
        .plans
        .iter()
        .map(plan)
        .collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Catalogue::new(plans, &settings.billing.default_plan)?)
}

fn plan(plan: &PlanSettings) -> anyhow::Result<Plan> {
    let price = |p: &crate::config::PriceSettings| Price {
        amount: p.amount,
        currency: p.currency.clone(),
        interval: p.interval.clone(),
    };
    Ok(Plan {
        key: plan.key.clone(),
        name: plan.name.clone(),
        version: plan.version,
        rank: plan.rank,
        trial: plan.trial_days.map(|days| PlanTrial {
            days,
            card_required: !plan.trial_without_card,
        }),
        models: match &plan.models {
            PlanModels::First => ModelRule::First,
            PlanModels::All => ModelRule::All,
            PlanModels::Named(names) => ModelRule::Named(names.clone()),
        },
        prices: plan.prices.iter().map(price).collect(),
        seats: plan.seats.map(SeatRule::from),
        by_agreement: plan.by_agreement,
        entitlements: plan
            .entitlements
            .iter()
            .map(entitlement)
            .collect::<anyhow::Result<Vec<_>>>()?,
        rate: CallRate {
            requests_per_minute: plan.requests_per_minute,
            tokens_per_minute: plan.tokens_per_minute,
        },
        parameters: ParameterRule {
            allowed: plan.allowed_parameters.clone(),
            refused: plan.refused_parameters.clone(),
            max_choices: plan.max_choices,
        },
    })
}

fn entitlement(e: &EntitlementSettings) -> anyhow::Result<Entitlement> {
    let value = || match &e.value {
        Some(EntitlementValue::Boolean(on)) => Ok(serde_json::Value::from(*on)),
        Some(EntitlementValue::Integer(n)) => Ok((*n).into()),
        Some(EntitlementValue::Float(n)) => Ok((*n).into()),
        Some(EntitlementValue::Text(text)) => Ok(text.clone().into()),
        None => Err(anyhow::anyhow!("the entitlement `{}` has no value", e.key)),
    };
    let kind = match e.kind {
        EntitlementKindName::Boolean => EntitlementKind::Boolean(value()? == true),
        EntitlementKindName::Static => EntitlementKind::Static(value()?),
        EntitlementKindName::Metered => EntitlementKind::Metered {
            overage: e.overage.as_ref().map(overage).transpose()?,
            rollover: e.rollover.unwrap_or_default(),
            per_seat: e.per_seat,
            limit: e.limit_usd.map(|usd| NanoUsd::from_usd(usd).0).or(e.limit),
            window: match e.window {
                Some(WindowName::Minute) => Window::Minute,
                Some(WindowName::Month) => Window::Month,
                Some(WindowName::Always) => Window::Always,
                Some(WindowName::Day) | None => Window::Day,
            },
        },
    };
    Ok(Entitlement {
        key: e.key.clone(),
        kind,
    })
}

fn overage(overage: &OverageSettings) -> anyhow::Result<Overage> {
    let price = |price: &OveragePriceSettings| {
        Ok(OveragePrice {
            currency: price.currency.clone(),
            amount: price.amount.parse()?,
        })
    };
    Ok(Overage {
        max: overage.max,
        prices: overage.prices.iter().map(price).collect::<anyhow::Result<_>>()?,
    })
}

pub(crate) fn packs(settings: &Settings) -> Vec<Pack> {
    let pack = |pack: &PackSettings| Pack {
        pack: CreditPack {
            key: pack.key.clone(),
            name: pack.name.clone(),
            credits: Credits::whole(pack.credits).0,
            amount: pack.amount,
            currency: pack.currency.clone(),
        },
        lasts: pack
            .expires_days
            .map(|days| SignedDuration::from_hours(i64::from(days) * 24)),
    };
    settings.billing.credit_packs.iter().map(pack).collect()
}

/// What was checked with the configuration.
pub(crate) fn requirements(settings: &Settings) -> Requirements {
    let asked = settings.billing.requires.iter();
    let asked = asked.filter_map(|asked| Some((Operation::parse(&asked.operation)?, asked.feature.clone())));
    Requirements::new(asked.collect())
}

/// A rule that was checked with the configuration.
pub(crate) fn rule(rule: &RuleSettings) -> Option<LimitRule> {
    Some(LimitRule {
        limit: Limit {
            // Limits are named for as long as the process runs, and so are these.
            name: rule.name.clone().leak(),
            most: rule.limit,
            seconds: match rule.window {
                RuleWindow::Second => 1,
                RuleWindow::Minute => 60,
                RuleWindow::Hour => 60 * 60,
                RuleWindow::Day => 24 * 60 * 60,
            },
        },
        route: RoutePattern::parse(&rule.route).ok()?,
        per: match rule.per {
            RuleKeyName::User => RuleKey::User,
            RuleKeyName::ApiKey => RuleKey::ApiKey,
            RuleKeyName::Address => RuleKey::Address,
        },
        action: match rule.action {
            RuleActionName::Refuse => RuleAction::Refuse,
            RuleActionName::Log => RuleAction::Log,
        },
    })
}
