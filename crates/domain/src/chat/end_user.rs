//! Who asks, as a provider is told: a name that says nothing, never what a client wrote, which may be an address.

use std::fmt;

use super::{InvalidObject, RawObject};

/// The members of a request that say who asks, as OpenAI has them: `user`, and what is to take its place.
pub(super) const MEMBERS: [&str; 2] = ["user", "safety_identifier"];

/// Whether a provider is told who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SendUser {
    /// Where the client names somebody, the account is named in their place.
    #[default]
    Replace,
    /// The account is named with every call.
    Always,
    /// Nobody is named.
    Never,
}

/// Who asks.
#[derive(Clone, Copy)]
pub struct EndUser<'a> {
    /// Whether this provider is told.
    pub send: SendUser,
    /// The name that says nothing: always the same for an account, another one at every deployment. Made where it is
    /// needed.
    pub name: &'a dyn Fn() -> String,
}

impl fmt::Debug for EndUser<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndUser")
            .field("send", &self.send)
            .finish_non_exhaustive()
    }
}

impl EndUser<'_> {
    /// Whether a request has to be changed for it.
    pub(super) fn changes(&self, body: &RawObject) -> bool {
        self.send == SendUser::Always || MEMBERS.iter().any(|member| is_said(body, member))
    }

    /// Changes the request: what the client wrote does not travel.
    pub(super) fn write(&self, body: &mut RawObject) -> Result<(), InvalidObject> {
        for member in MEMBERS {
            let is_said = is_said(body, member);
            if self.send == SendUser::Never && is_said {
                body.remove(member);
            } else if is_said || (self.send == SendUser::Always && member == MEMBERS[0]) {
                body.set(member, &(self.name)())?;
            }
        }
        Ok(())
    }
}

fn is_said(body: &RawObject, member: &str) -> bool {
    body.get(member).is_some_and(|value| value.get() != "null")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(send: SendUser, text: &str) -> String {
        let mut body = RawObject::parse(text.as_bytes()).unwrap();
        let user = EndUser {
            send,
            name: &|| "opaque".to_owned(),
        };
        if user.changes(&body) {
            user.write(&mut body).unwrap();
        }
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[test]
    fn what_a_client_wrote_never_travels_and_all_else_does() {
        let written = r#"{"a":1.50,"user":"ada@example.com","safety_identifier":{"x":1},"b":[ 2 ]}"#;
        for (send, expected) in [
            (
                SendUser::Replace,
                r#"{"a":1.50,"user":"opaque","safety_identifier":"opaque","b":[ 2 ]}"#,
            ),
            (
                SendUser::Always,
                r#"{"a":1.50,"user":"opaque","safety_identifier":"opaque","b":[ 2 ]}"#,
            ),
            (SendUser::Never, r#"{"a":1.50,"b":[ 2 ]}"#),
        ] {
            assert_eq!(sent(send, written), expected, "{send:?}");
        }
    }

    #[test]
    fn who_names_nobody_is_named_only_where_that_is_asked_for() {
        for text in [r#"{"a":1}"#, r#"{"user":null,"a":1}"#] {
            assert_eq!(sent(SendUser::Replace, text), text);
            assert_eq!(sent(SendUser::Never, text), text);
        }
        assert_eq!(sent(SendUser::Always, r#"{"a":1}"#), r#"{"a":1,"user":"opaque"}"#);
        assert_eq!(
            sent(SendUser::Always, r#"{"user":null,"a":1}"#),
            r#"{"user":"opaque","a":1}"#
        );
    }
}
