//! What there is to say of plans and payment.

use std::path::PathBuf;

use anteroom_domain::Timestamp;
use clap::{Args, Subcommand};
use url::Url;

/// `anteroom plans …`
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum PlansCommand {
    /// Check the plans of the configuration and print what they come to
    Validate,
    /// Show what publishing would do; ends with 1 if a published version has other terms now
    ///
    /// Compares the configuration with the versions that were published and with the payment provider's prices. Changes
    /// nothing.
    Diff,
    /// Keep the plans' versions, and make their prices known to the payment provider
    ///
    /// A server does the first at its start; for Stripe the second is yours to do before a new price can be bought. What
    /// stands there is never changed. It can be run again.
    Publish,
}

/// `anteroom billing …`
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum BillingCommand {
    /// Compare every subscription, and recent purchases, with what the payment provider has, and write down what differs
    ///
    /// A server does so once a day. Events get lost; this finds what they said.
    Reconcile,
    /// Have the effect of stored events of the payment provider again
    ///
    /// The provider is asked how things stand now, so that it can be done as often as you like.
    Replay(ReplayArgs),
}

/// `anteroom billing replay …`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[group(required = true, multiple = false)]
pub struct ReplayArgs {
    /// This event, by the provider's identifier
    #[arg(long, value_name = "EVENT")]
    pub event: Option<String>,

    /// All that came from then on
    #[arg(long, value_name = "TIME")]
    pub since: Option<Timestamp>,
}

/// `anteroom stripe-stub …`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct StripeStubArgs {
    /// Address to listen on
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    pub host: String,

    /// Port to listen on; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 12111)]
    pub port: u16,

    /// The key that its API takes
    #[arg(long, value_name = "KEY", default_value = "sk_test_stub")]
    pub secret_key: String,

    /// Where to send events
    #[arg(long, value_name = "URL", requires = "webhook_secret")]
    pub webhook_url: Option<Url>,

    /// What to sign them with
    #[arg(long, value_name = "SECRET", requires = "webhook_url")]
    pub webhook_secret: Option<String>,

    /// How clients reach it, for the addresses of its pages [default: where it listens]
    #[arg(long, value_name = "URL")]
    pub public_url: Option<Url>,

    /// File that keeps what it is told; without one it forgets when it ends
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
}
