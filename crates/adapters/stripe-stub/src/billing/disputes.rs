//! Disputes: a buyer has their bank take the money back. <https://docs.stripe.com/disputes>

use serde_json::{Map, Value, json};

use crate::ids::random_id;
use crate::json::{int, set, text};
use crate::periods::DAY;
use crate::world::World;

/// How long it can be answered, in seconds.
const ANSWER_IN: i64 = 7 * DAY;

/// What evidence has room for. <https://docs.stripe.com/api/disputes/evidence_object>
const EVIDENCE: [&str; 27] = [
    "access_activity_log",
    "billing_address",
    "cancellation_policy",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_communication",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "customer_signature",
    "duplicate_charge_documentation",
    "duplicate_charge_explanation",
    "duplicate_charge_id",
    "product_description",
    "receipt",
    "refund_policy",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "service_documentation",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_documentation",
    "shipping_tracking_number",
    "uncategorized_file",
    "uncategorized_text",
];

/// Disputes a whole charge: its money goes at once.
pub(crate) fn open(world: &mut World, mut charge: Value) {
    let mut evidence: Map<_, _> = EVIDENCE.map(|key| (key.to_owned(), Value::Null)).into_iter().collect();
    evidence.insert("enhanced_evidence".to_owned(), json!({}));
    let dispute = json!({
        "id": random_id("du_"), "object": "dispute", "amount": int(&charge, "amount"), "balance_transactions": [],
        "charge": text(&charge, "id"), "created": world.at, "currency": text(&charge, "currency"),
        "enhanced_eligibility_types": [], "evidence": evidence,
        "evidence_details": {
            "due_by": world.at + ANSWER_IN, "enhanced_eligibility": {}, "has_evidence": false, "past_due": false,
            "submission_count": 0, "submission_method": null,
        },
        "intended_submission_method": null, "is_charge_refundable": false, "livemode": false, "metadata": {},
        "payment_intent": text(&charge, "payment_intent"), "reason": "fraudulent", "status": "needs_response",
    });
    set(&mut charge, "disputed", true);
    world.put(charge);
    world.create(&dispute, "charge.dispute.created");
    world.emit("charge.dispute.funds_withdrawn", &dispute, None);
}

/// Whether a charge's money is in dispute, or lost to one.
pub(crate) fn is_gone(world: &World, charge: &str) -> bool {
    let mut disputes = world.of_kind("dispute");
    disputes.any(|dispute| text(dispute, "charge") == charge && text(dispute, "status") != "won")
}

/// The bank has decided, or the seller has given in. A dispute that is won brings the money back.
pub(crate) fn close(world: &mut World, mut dispute: Value, won: bool) -> Value {
    set(&mut dispute, "status", if won { "won" } else { "lost" });
    world.change(dispute.clone(), "charge.dispute.closed");
    if won {
        world.emit("charge.dispute.funds_reinstated", &dispute, None);
    }
    dispute
}
