//! `/v1/billing`

mod checkout;
mod flows;
mod mails;
mod overage;
mod packs;
mod seats;
mod webhooks;
