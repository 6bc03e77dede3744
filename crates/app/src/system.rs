//! The one place where time and randomness come from the machine.

use anteroom_domain::{Timestamp, micros};
use anteroom_ports::{Clock, Ids};
use uuid::Uuid;

/// The machine's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that everything else is handed"
    )]
    fn now(&self) -> Timestamp {
        micros(Timestamp::now())
    }
}

/// The machine's randomness.
pub struct SystemIds;

impl Ids for SystemIds {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the source of identifiers that everything else is handed"
    )]
    fn uuid(&self) -> Uuid {
        Uuid::now_v7()
    }

    // Without randomness no secret may be handed out, so nothing may go on.
    fn secret(&self) -> [u8; 32] {
        let mut secret = [0; 32];
        let filled = aws_lc_rs::rand::fill(&mut secret);
        assert!(filled.is_ok(), "the system gives no randomness");
        secret
    }
}
