//! `/v1/billing`

mod checkout;
mod flows;
mod mails;
mod packs;
mod webhooks;
