//! `/v1/billing`

mod checkout;
pub mod webhooks;
