//! Who takes the money.

use std::sync::Arc;
use std::time::Duration;

use anteroom_crypto::DeploymentKeys;
use anteroom_ports::PaymentProvider;
use anteroom_stripe::{Stripe, StripeOptions};
use anteroom_stripe_stub::{StubOptions, WebhookTarget};
use anyhow::Context as _;
use secrecy::SecretString;
use url::Url;

use crate::config::{PaymentProviderName, Settings};

/// The name of the built-in payment provider.
const STUB: &str = "stripe-stub";

/// Where a server's own stub is below its public URL.
pub const STUB_PATH: &str = "/stripe-stub";

/// Who takes the money, if anything is sold. Connects to nothing yet.
pub(crate) fn payments(settings: &Settings, keys: &DeploymentKeys) -> anyhow::Result<Option<Arc<dyn PaymentProvider>>> {
    let options = match settings.billing.provider {
        PaymentProviderName::None => return Ok(None),
        PaymentProviderName::Stripe => return Ok(Some(Arc::new(stripe(settings)?))),
        PaymentProviderName::StripeStub => {
            let (secret_key, webhook_secret) = stub_secrets(settings, keys);
            StripeOptions {
                name: STUB,
                api_base: match settings.stripe_stub.url.clone() {
                    Some(elsewhere) => elsewhere,
                    None => settings.local_url()?.join("/stripe-stub/")?,
                },
                secret_key,
                webhook_secrets: vec![webhook_secret],
                // Nobody publishes plans to try them.
                publish_on_demand: true,
                timeout: Duration::from_secs(5),
            }
        }
    };
    let stripe = Stripe::new(options).context("the payment provider cannot be used")?;
    Ok(Some(Arc::new(stripe)))
}

/// Stripe itself. Connects to nothing yet.
pub(crate) fn stripe(settings: &Settings) -> anyhow::Result<Stripe> {
    let options = StripeOptions {
        name: "stripe",
        api_base: settings.stripe.api_base.clone(),
        secret_key: settings
            .stripe
            .secret_key
            .clone()
            .context("stripe.secret_key is not set")?,
        webhook_secrets: settings.stripe.webhook_secrets(),
        publish_on_demand: false,
        timeout: Duration::from_millis(settings.stripe.timeout_ms.into()),
    };
    Stripe::new(options).context("stripe.secret_key cannot be used")
}

fn stub_secrets(settings: &Settings, keys: &DeploymentKeys) -> (SecretString, SecretString) {
    let set = &settings.stripe_stub;
    (
        set.secret_key.clone().unwrap_or_else(|| keys.stub_secret_key()),
        set.webhook_secret.clone().unwrap_or_else(|| keys.webhook_secret()),
    )
}

/// The stub that a server has of its own, if it has one. Nothing is opened yet: commands beside the server must not.
pub(crate) fn stub(settings: &Settings, keys: &DeploymentKeys) -> anyhow::Result<Option<StubOptions>> {
    if settings.billing.provider != PaymentProviderName::StripeStub || settings.stripe_stub.url.is_some() {
        return Ok(None);
    }
    let (secret_key, secret) = stub_secrets(settings, keys);
    let public_url = format!("{}{STUB_PATH}", settings.public_url().as_str().trim_end_matches('/'));
    Ok(Some(StubOptions {
        public_url: Url::parse(&public_url)?,
        secret_key,
        webhook: Some(WebhookTarget {
            url: settings.local_url()?.join("/v1/billing/webhooks/stripe-stub")?,
            secret,
        }),
        frame_ancestors: settings.security.frame_ancestors.clone(),
        journal: Some(settings.data.dir.join("stripe-stub.jsonl")),
    }))
}
