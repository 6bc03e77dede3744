//! `/v1/billing`

mod checkout;
mod flows;
mod packs;
mod webhooks;
