//! `/v1/payment_intents`, `/v1/charges`, `/v1/refunds` and `/v1/disputes`: what was paid once, and what went back of it.
//! Payment intents are made by checkouts only.

use super::{Call, list, merge_metadata};
use crate::billing::{disputes, purchases};
use crate::error::{Answer, ApiError};
use crate::form::Params;
use crate::json::{at, int, set, some_text, text};
use crate::world::World;

/// What an answer to a dispute says to have it won or lost, in test mode.
/// <https://docs.stripe.com/testing#disputes>
const WINNING: &str = "winning_evidence";
const LOSING: &str = "losing_evidence";

/// Answers a request to payment intents.
pub(super) fn route_intents(world: &mut World, call: Call<'_>) -> Answer {
    match (call.method, call.rest) {
        ("GET", []) => list_by(
            world,
            call.params,
            ("payment_intent", "/v1/payment_intents"),
            &["customer"],
        ),
        ("GET", [id]) => {
            call.params.finish()?;
            world.find("payment_intent", id, "payment_intent", "intent")
        }
        _ => call.nowhere("payment_intents"),
    }
}

/// Answers a request to charges.
pub(super) fn route_charges(world: &mut World, call: Call<'_>) -> Answer {
    let keys = ["customer", "payment_intent"];
    match (call.method, call.rest) {
        ("GET", []) => list_by(world, call.params, ("charge", "/v1/charges"), &keys),
        ("GET", [id]) => {
            call.params.finish()?;
            world.find("charge", id, "charge", "id")
        }
        _ => call.nowhere("charges"),
    }
}

/// Answers a request to refunds.
pub(super) fn route_refunds(world: &mut World, call: Call<'_>) -> Answer {
    let keys = ["charge", "payment_intent"];
    match (call.method, call.rest) {
        ("POST", []) => refund(world, call.params),
        ("GET", []) => list_by(world, call.params, ("refund", "/v1/refunds"), &keys),
        ("GET", [id]) => {
            call.params.finish()?;
            world.find("refund", id, "refund", "id")
        }
        _ => call.nowhere("refunds"),
    }
}

/// Answers a request to disputes.
pub(super) fn route_disputes(world: &mut World, call: Call<'_>) -> Answer {
    let keys = ["charge", "payment_intent"];
    match (call.method, call.rest) {
        ("GET", []) => list_by(world, call.params, ("dispute", "/v1/disputes"), &keys),
        ("GET", [id]) => {
            call.params.finish()?;
            world.find("dispute", id, "dispute", "id")
        }
        ("POST", [id]) => answer(world, id, call.params),
        ("POST", [id, "close"]) => {
            call.params.finish()?;
            let dispute = open_dispute(world, id)?;
            Ok(disputes::close(world, dispute, false))
        }
        _ => call.nowhere("disputes"),
    }
}

/// A list of those whose members are as the parameters of the same names say.
fn list_by(world: &World, mut params: Params, kind: (&str, &str), keys: &[&str]) -> Answer {
    let mut wanted = Vec::new();
    for key in keys {
        if let Some(value) = params.opt(key)? {
            wanted.push((*key, value));
        }
    }
    list(world, params, kind, |object| {
        wanted.iter().all(|(key, value)| text(object, key) == value)
    })
}

fn refund(world: &mut World, mut params: Params) -> Answer {
    let (intent, charge) = (params.opt("payment_intent")?, params.opt("charge")?);
    let amount = params.int_from("amount", 1)?;
    let reasons = ["duplicate", "fraudulent", "requested_by_customer"];
    let reason = params.one_of("reason", &reasons)?;
    let metadata = params.metadata("metadata")?.flatten().unwrap_or_default();
    params.finish()?;
    let charge = match (charge, intent) {
        (Some(charge), intent) => {
            let charge = world.find("charge", &charge, "charge", "charge")?;
            if intent.is_some_and(|intent| text(&charge, "payment_intent") != intent) {
                return Err(ApiError::refused("The charge is not one of this payment_intent."));
            }
            charge
        }
        (None, Some(id)) => {
            let intent = world.find("payment_intent", &id, "payment_intent", "payment_intent")?;
            let paid = some_text(&intent, "latest_charge").filter(|_| text(&intent, "status") == "succeeded");
            let charge = paid.and_then(|id| world.get(id)).cloned();
            charge.ok_or_else(|| {
                let message = format!("This PaymentIntent ({id}) does not have a successful charge to refund.");
                ApiError::refused(message).about("payment_intent")
            })?
        }
        (None, None) => {
            let message = "One of the following params should be provided for this request: payment_intent or charge.";
            return Err(ApiError::refused(message));
        }
    };
    let refund = purchases::Refund {
        charge,
        amount,
        reason,
        metadata,
    };
    purchases::refund(world, refund)
}

fn open_dispute(world: &World, id: &str) -> Answer {
    let dispute = world.find("dispute", id, "dispute", "dispute")?;
    if ["won", "lost"].contains(&text(&dispute, "status")) {
        return Err(ApiError::refused("This dispute is already closed."));
    }
    Ok(dispute)
}

/// Evidence in a text. What Stripe calls winning wins, and what it calls losing loses; any other waits.
fn answer(world: &mut World, id: &str, mut params: Params) -> Answer {
    let mut dispute = open_dispute(world, id)?;
    let said = match params.sub("evidence")? {
        Some(mut evidence) => {
            let said = evidence.opt("uncategorized_text")?;
            evidence.finish()?;
            said
        }
        None => None,
    };
    let submit = params.boolean("submit")?.unwrap_or(true);
    let metadata = params.metadata("metadata")?;
    params.finish()?;
    merge_metadata(&mut dispute, metadata);
    let Some(said) = said else {
        world.change(dispute.clone(), "charge.dispute.updated");
        return Ok(dispute);
    };
    let (mut evidence, mut details) = (
        at(&dispute, "evidence").clone(),
        at(&dispute, "evidence_details").clone(),
    );
    set(&mut evidence, "uncategorized_text", said.as_str());
    set(&mut details, "has_evidence", true);
    if submit {
        let count = int(&details, "submission_count") + 1;
        set(&mut details, "submission_count", count);
        set(&mut details, "submission_method", "manual");
        set(&mut dispute, "status", "under_review");
    }
    set(&mut dispute, "evidence", evidence);
    set(&mut dispute, "evidence_details", details);
    world.change(dispute.clone(), "charge.dispute.updated");
    Ok(match said.as_str() {
        WINNING | LOSING if submit => disputes::close(world, dispute, said == WINNING),
        _ => dispute,
    })
}
