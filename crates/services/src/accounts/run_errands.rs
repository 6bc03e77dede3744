//! What accounts do after a commit, off the answer's path: mails whose recipient has to be looked up first, and what
//! another system has to be told.

use anteroom_ports::{MailError, StoreError};
use async_trait::async_trait;
use serde::de::DeserializeOwned;

use super::Accounts;
use super::delete_account::CANCEL_SUBSCRIPTION;
use super::request_password_reset::FORGOT;
use super::resend_verification::RESEND;
use crate::webhooks::Errand;

/// The topics that are done here.
pub(super) const TOPICS: [&str; 3] = [RESEND, FORGOT, CANCEL_SUBSCRIPTION];

#[async_trait]
impl Errand for Accounts {
    async fn run(&self, topic: &str, payload: &str) -> Result<(), MailError> {
        match topic {
            RESEND => self.mail_verification(&read(payload)?).await.map_err(later),
            FORGOT => self.mail_password_reset(&read(payload)?).await.map_err(later),
            CANCEL_SUBSCRIPTION => {
                let done = self.cancel_subscription(&read(payload)?).await;
                done.map_err(|e| MailError::Temporary(e.to_string()))
            }
            _ => Err(MailError::Permanent(format!("`{topic}` is no errand of accounts"))),
        }
    }

    // Whose account is gone must not go on paying.
    fn must_be_done(&self, topic: &str) -> bool {
        topic == CANCEL_SUBSCRIPTION
    }
}

fn read<T: DeserializeOwned>(payload: &str) -> Result<T, MailError> {
    // The parser's own message may quote an address.
    serde_json::from_str(payload).map_err(|_| MailError::Permanent("what was queued is no such errand".to_owned()))
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn later(error: StoreError) -> MailError {
    MailError::Temporary(error.to_string())
}
