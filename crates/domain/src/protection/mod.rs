//! Rate limits: how often a key may act. And lockout: what failed logins cost.

mod lockout;
mod rule;

pub use lockout::{LockoutPolicy, LoginFailures};
pub use rule::{InvalidRoute, LimitRule, RoutePattern, RuleAction, RuleKey};

use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// A named limit: so many acts in a while, in one burst or spread out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Its name in the `RateLimit-Policy` header and in logs.
    pub name: &'static str,
    /// Acts in the while.
    pub most: u32,
    /// The while, in seconds.
    pub seconds: u32,
}

impl Limit {
    /// So many acts a minute.
    pub const fn per_minute(name: &'static str, most: u32) -> Self {
        Self {
            name,
            most,
            seconds: 60,
        }
    }
}

/// How fast an account may call models, by session and key together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CallRate {
    /// Calls a minute; `None` is without limit.
    pub requests_per_minute: Option<u32>,
    /// Tokens a minute, of prompts and answers; `None` is without limit.
    pub tokens_per_minute: Option<u32>,
}

/// What counting a call to a model showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallRates {
    /// Of calls, where they are limited.
    pub requests: Option<(Limit, Verdict)>,
    /// Of tokens, where they are limited.
    pub tokens: Option<(Limit, Verdict)>,
}

impl CallRates {
    /// What refuses the call, if something does.
    pub fn refused(&self) -> Option<(Limit, Verdict)> {
        let refuses = |counted: &(Limit, Verdict)| !counted.1.allowed;
        self.requests.filter(refuses).or(self.tokens.filter(refuses))
    }
}

/// What a limiter answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the act may go ahead.
    pub allowed: bool,
    /// Acts left right now.
    pub remaining: u32,
    /// Seconds until an act is possible again (refused) or the limit is full again (allowed), rounded up.
    pub after_seconds: u64,
}

/// The form in which an address is counted: IPv4 as it is (also when mapped into IPv6), IPv6 by its /64, since
/// one subscriber owns a whole /64.
pub fn counted_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let s = v6.segments();
            IpAddr::V6(Ipv6Addr::new(s[0], s[1], s[2], s[3], 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b23_one_subscriber_is_one_address() {
        let count = |text: &str| counted_address(text.parse().unwrap());
        assert_eq!(count("2001:db8:1:2:3:4:5:6"), count("2001:db8:1:2::1"));
        assert_ne!(count("2001:db8:1:2::1"), count("2001:db8:1:3::1"));
        assert_eq!(count("::ffff:192.0.2.1"), count("192.0.2.1"));
        assert_ne!(count("192.0.2.1"), count("192.0.2.2"));
    }

    /// CVE-2026-45364: addresses of one's own, and other spellings of one, are no other clients.
    #[test]
    fn b23_ten_thousand_addresses_of_one_network_are_one() {
        let one = counted_address("2001:db8:1:2::1".parse().unwrap());
        for number in 0..10_000_u32 {
            for text in [
                format!("2001:db8:1:2::{number:x}"),
                format!("2001:0DB8:0001:0002:{number:x}:0:0:{:x}", number % 7 + 1),
                format!("2001:db8:1:2:ffff:ffff:{:x}:{:x}", number >> 8, number & 0xff),
            ] {
                assert_eq!(counted_address(text.parse().unwrap()), one, "{text}");
            }
        }
    }
}
