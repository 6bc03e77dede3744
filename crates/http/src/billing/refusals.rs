//! Why buying and changing was refused, as problems.

use actix_web::http::StatusCode;
use anteroom_domain::billing::{FeatureNotInPlan, SeatsRefused};
use anteroom_ports::billing::PaymentError;
use anteroom_services::billing::{ChangeError, GrantError, LookUpError, OpenCheckoutError};

use crate::problem::Problem;

impl From<PaymentError> for Problem {
    fn from(error: PaymentError) -> Self {
        let text = error.to_string();
        match error {
            PaymentError::Declined { code, message } => {
                Self::new(StatusCode::PAYMENT_REQUIRED, "payment_declined", message).with("decline_code", code)
            }
            PaymentError::NotFound(_)
            | PaymentError::UnknownPrice(_)
            | PaymentError::Refused { .. }
            | PaymentError::Key(_)
            | PaymentError::Unavailable(_) => Self::new(
                StatusCode::BAD_GATEWAY,
                "payment_provider_failed",
                "the payment provider failed; nothing was bought or changed",
            )
            .logged(text),
        }
    }
}

pub(super) fn not_configured() -> Problem {
    Problem::new(
        StatusCode::NOT_IMPLEMENTED,
        "payments_not_configured",
        "this service sells nothing: no payment provider is configured",
    )
}

fn refused_plan(code: &str, detail: &str) -> Problem {
    Problem::invalid_field("/plan", code, format!("{detail}; GET /v1/plans lists the plans"))
}

/// The bounds are those of a plan that is sold once where it is one.
fn refused_seats(refused: &SeatsRefused) -> Problem {
    let (min, max) = refused.rule.map_or((1, 1), |rule| (rule.min, rule.most()));
    Problem::invalid_field("/seats", "invalid_seats", refused.to_string())
        .with("min", min)
        .with("max", max)
}

impl From<OpenCheckoutError> for Problem {
    fn from(error: OpenCheckoutError) -> Self {
        let detail = error.to_string();
        match error {
            OpenCheckoutError::NoProvider => not_configured(),
            OpenCheckoutError::UnknownPlan(_) => refused_plan("unknown_plan", &detail),
            OpenCheckoutError::NotForSale(_) => refused_plan("plan_not_for_sale", &detail),
            OpenCheckoutError::NoSuchPrice(_) => Self::invalid_field(
                "/interval",
                "no_such_price",
                format!("{detail}; GET /v1/plans lists the prices"),
            ),
            OpenCheckoutError::Seats(e) => refused_seats(&e),
            OpenCheckoutError::CouponRefused(_) => Self::invalid_field("/coupon", "coupon_refused", detail),
            OpenCheckoutError::AlreadySubscribed(_) => Self::new(StatusCode::CONFLICT, "already_subscribed", detail),
            OpenCheckoutError::Provider(e) => e.into(),
            OpenCheckoutError::Store(e) => e.into(),
        }
    }
}

impl From<LookUpError> for Problem {
    fn from(error: LookUpError) -> Self {
        match error {
            LookUpError::Provider(e) => e.into(),
            LookUpError::Store(e) => e.into(),
            LookUpError::Busy => {
                Self::unavailable("subscription_busy", "the subscription keeps changing; try again", 1)
            }
        }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        let detail = error.to_string();
        let conflict = |code: &'static str, detail: String| Self::new(StatusCode::CONFLICT, code, detail);
        match error {
            ChangeError::NoProvider => not_configured(),
            ChangeError::NoSubscription => conflict("no_subscription", detail),
            ChangeError::AnotherProvider(_) => conflict("subscription_elsewhere", detail),
            ChangeError::NotNow { .. } => conflict("subscription_not_changeable", detail),
            ChangeError::Unchanged(_) => conflict("already_subscribed", detail),
            ChangeError::Impossible(_) => conflict("nothing_to_resume", detail),
            ChangeError::UnknownPlan { .. } => refused_plan("unknown_plan", &detail),
            ChangeError::Seats(e) => refused_seats(&e),
            ChangeError::NotForSale(_) => refused_plan("plan_not_for_sale", &detail),
            ChangeError::Provider(e) => e.into(),
            ChangeError::LookUp(e) => e.into(),
            ChangeError::Store(e) => e.into(),
        }
    }
}

impl From<FeatureNotInPlan> for Problem {
    fn from(missing: FeatureNotInPlan) -> Self {
        let detail = format!("{missing}; GET /v1/plans lists the plans and what they have");
        Self::new(StatusCode::FORBIDDEN, "feature_not_in_plan", detail)
            .with("feature", missing.feature)
            .with("plan", missing.plan)
    }
}

impl From<GrantError> for Problem {
    fn from(error: GrantError) -> Self {
        match error {
            GrantError::NoSuchUser => Self::not_found("user"),
            GrantError::NoSuchOverride => Self::not_found("override"),
            GrantError::NoSuchCredits => Self::not_found("grant"),
            GrantError::Forbidden => Self::new(StatusCode::FORBIDDEN, "forbidden", error.to_string()),
            GrantError::Refused { pointer, message } => Self::invalid_field(pointer, "refused", message),
            GrantError::Store(e) => e.into(),
        }
    }
}
