//! What mails say.

use anteroom_domain::accounts::User;
use anteroom_ports::webhooks::Mail;

use super::Webhooks;

impl Webhooks {
    /// To somebody who has just signed up. It holds no link, no secret and nothing the person wrote but the address, so it is safe to send to an address that
    /// nobody has proven yet.
    pub(crate) fn welcome(&self, user: &User) -> Mail {
        let product = &self.product;
        Mail {
            id: self.ids.uuid(),
            to: user.email.as_str().to_owned(),
            subject: format!("Welcome to {product}"),
            text: format!(
                "Hello,\n\nan account at {product} was made with this address. You can log in with it now.\n\n\
                 If it was not you, somebody has mistyped their address or used yours; you can ignore this mail.\n"
            ),
        }
    }
}
