//! A subscription's end, and its way back: what ends is taken back, and what paused begins anew.

use serde_json::Value;

use anteroom_domain::billing::SubscriptionStatus;
use anteroom_ports::billing::{PaymentError, ProviderSubscription, When};

use crate::Stripe;
use crate::changes::WHAT;
use crate::form::Form;
use crate::json::{expanded, id, text};
use crate::subscription::read;
use crate::transport::Call;

impl Stripe {
    pub(crate) async fn end(&self, subscription: &str, when: When, key: &str) -> Result<(), PaymentError> {
        if when == When::Now {
            // What was used is billed; without this Stripe forgets it.
            let form = Form::new().with("invoice_now", true);
            let path = ["subscriptions", subscription];
            let gone = match self.http.send(Call::delete(WHAT, &path, form)).await {
                Ok(_) => return Ok(()),
                // Of one that is over Stripe says that there is none.
                Err(gone @ (PaymentError::NotFound(_) | PaymentError::Refused { .. })) => gone,
                Err(error) => return Err(error),
            };
            return if is_over(&self.object(subscription).await?) {
                Ok(())
            } else {
                Err(gone)
            };
        }
        let object = self.object(subscription).await?;
        if is_over(&object) {
            return Ok(());
        }
        self.release(&object, key).await?;
        // Also where Stripe's portal wrote the time instead of the flag.
        if read(&object)?.cancel_at_period_end {
            return Ok(());
        }
        let form = Form::new().with("cancel_at_period_end", true);
        self.update(subscription, form, format!("{key}/cancel")).await.map(drop)
    }

    pub(crate) async fn go_on(&self, subscription: &str, key: &str) -> Result<ProviderSubscription, PaymentError> {
        let object = self.object(subscription).await?;
        if is_over(&object) {
            return Err(PaymentError::Refused {
                code: None,
                message: "the subscription is over".to_owned(),
            });
        }
        self.release(&object, key).await?;
        let resumed = match self.take_back_end(&object, subscription, key).await? {
            Some(resumed) => resumed,
            None => self.object(subscription).await?,
        };
        if is_paused(&resumed) {
            return self.begin_anew(&resumed, subscription, key).await;
        }
        self.told(&resumed).await
    }

    /// Begins a paused subscription anew: <https://docs.stripe.com/api/subscriptions/resume>. Stripe makes an invoice, and
    /// until that is paid the subscription stays paused.
    async fn begin_anew(
        &self,
        object: &Value,
        subscription: &str,
        key: &str,
    ) -> Result<ProviderSubscription, PaymentError> {
        if !is_payable(object) {
            return Err(declined("no_payment_method", "There is no means of payment on file."));
        }
        if let Some(invoice) = expanded(object, "/latest_invoice").filter(|it| text(it, "/status") == Some("open")) {
            // It was tried before, in vain. That invoice is the one to pay: another try would make a second.
            let path = ["invoices", text(invoice, "/id").unwrap_or_default(), "pay"];
            let call = Call::post("invoice", &path, Form::new(), format!("{key}/pay"));
            let paid = self.http.send(call).await;
            let now = self.object(subscription).await?;
            return match paid {
                Err(refused) if is_paused(&now) => Err(refused),
                _ => self.told(&now).await,
            };
        }
        let form = Form::new()
            .with("billing_cycle_anchor", "now")
            .with("payment_behavior", "resume_on_payment_success");
        let path = ["subscriptions", subscription, "resume"];
        let asked = self
            .http
            .send(Call::post(WHAT, &path, form, format!("{key}/anew")))
            .await;
        let now = self.object(subscription).await?;
        if !is_paused(&now) {
            // Also where somebody else was faster, and Stripe therefore refused.
            return self.told(&now).await;
        }
        asked?;
        Err(declined("payment_failed", "The payment did not come about."))
    }
}

fn is_paused(object: &Value) -> bool {
    text(object, "/status").map(SubscriptionStatus::parse) == Some(SubscriptionStatus::Paused)
}

/// Whether there is anything that could be charged.
fn is_payable(object: &Value) -> bool {
    let places = [
        "/default_payment_method",
        "/default_source",
        "/customer/invoice_settings/default_payment_method",
        "/customer/default_source",
    ];
    places.iter().any(|place| id(object, place).is_some())
}

fn declined(code: &str, message: &str) -> PaymentError {
    PaymentError::Declined {
        code: code.to_owned(),
        message: message.to_owned(),
    }
}

fn is_over(object: &Value) -> bool {
    text(object, "/status").is_some_and(|status| SubscriptionStatus::parse(status).terminal())
}
