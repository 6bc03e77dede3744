//! `/v1/billing`

mod checkout;
mod flows;
mod webhooks;
