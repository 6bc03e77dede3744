//! What mails say.

use anteroom_domain::Timestamp;
use anteroom_domain::accounts::User;
use anteroom_ports::webhooks::Mail;
use anteroom_ports::{StoreResult, UnitOfWork};

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

    /// Tells the owner of an account, as part of the unit of work, that failed logins have slowed it down.
    pub(crate) async fn tell_locked_out(
        &self,
        unit: &mut dyn UnitOfWork,
        user: &User,
        at: Timestamp,
    ) -> StoreResult<()> {
        self.queue_mail(unit, self.locked_out(user, at)).await
    }

    /// Says nothing about who tried: the account's activity does, to whoever is signed in.
    fn locked_out(&self, user: &User, at: Timestamp) -> Mail {
        let product = &self.product;
        Mail {
            id: self.ids.uuid(),
            to: user.email.as_str().to_owned(),
            subject: format!("Failed logins at {product}"),
            text: format!(
                "Hello,\n\nsomebody has tried several wrong passwords for your account at {product}, the last time on \
                 {}. New logins have to wait for a while now. Where you are signed in, you stay signed in.\n\n\
                 If it was you, wait a few minutes and try again, or reset your password. If it was not, your \
                 password has not been found out; make sure that it is one you use nowhere else.\n",
                at.strftime("%Y-%m-%d at %H:%M UTC")
            ),
        }
    }
}
