//! What happens to subscriptions and their invoices, and to what is bought once, asked or by itself, whoever asks: the
//! API, a page, the clock.

pub(crate) mod cards;
pub(crate) mod changes;
pub(crate) mod checkout;
pub(crate) mod customers;
pub(crate) mod discounts;
pub(crate) mod disputes;
pub(crate) mod invoices;
pub(crate) mod lifecycle;
pub(crate) mod lines;
pub(crate) mod payments;
pub(crate) mod purchases;
pub(crate) mod schedules;

use serde_json::Value;

use crate::error::ApiError;
use crate::json::{some_int, text};
use crate::periods::DAY;
use crate::world::{IDEMPOTENCY, World};

/// When something happens to an object by itself, and in which order of what happens in the same second: a schedule's
/// next phase begins before the renewal that it changes.
pub(crate) fn due(object: &Value) -> Option<(i64, u8)> {
    let open = text(object, "status") == "open";
    let (when, order) = match text(object, "object") {
        "subscription_schedule" => (schedules::due(object), 0),
        "subscription" => (lifecycle::due(object), 1),
        "invoice" => (some_int(object, "next_payment_attempt").filter(|_| open), 2),
        "checkout.session" => (checkout::due(object), 3),
        IDEMPOTENCY => (
            some_int(object, "created").map(|created| created.saturating_add(DAY)),
            4,
        ),
        _ => return None,
    };
    Some((when?, order))
}

/// Does what is due.
pub(crate) fn fall_due(world: &mut World, id: &str) -> Result<(), ApiError> {
    let Some(object) = world.get(id).cloned() else {
        return Ok(());
    };
    match text(&object, "object") {
        "subscription_schedule" => schedules::next_phase(world, object),
        "subscription" => lifecycle::fall_due(world, object),
        "invoice" => {
            payments::retry(world, object);
            Ok(())
        }
        "checkout.session" => {
            checkout::fall_due(world, object);
            Ok(())
        }
        _ => {
            world.remove(id);
            Ok(())
        }
    }
}
