//! A user goes to see invoices and change their means of payment.

use anteroom_domain::accounts::User;
use anteroom_ports::billing::PaymentError;
use tracing::info;

use super::{Billing, ChangeError};

impl Billing {
    /// Opens the provider's page for a customer's own things, and answers its address. It can be opened before anything
    /// was bought.
    pub async fn open_portal(&self, user: &User, return_url: Option<String>) -> Result<String, ChangeError> {
        let provider = self.provider.as_deref().ok_or(ChangeError::NoProvider)?;
        let customer = self.customer::<ChangeError>(provider, user).await?;
        let return_url = return_url.unwrap_or_else(|| self.options.cancel_url.clone());
        let url = match provider.portal(&customer, &return_url).await {
            Err(PaymentError::NotFound("customer")) => {
                let customer = self.customer_anew::<ChangeError>(provider, user, &customer).await?;
                provider.portal(&customer, &return_url).await?
            }
            url => url?,
        };
        info!(event = "subscription.portal.opened", user_id = %user.id, provider = provider.name());
        Ok(url)
    }
}
