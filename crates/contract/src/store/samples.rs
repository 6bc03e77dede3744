//! Things to store.

use anteroom_domain::access::{ApiKey, BudgetWindow, KeyBudget, Scope, UsedWith};
use anteroom_domain::accounts::{Email, OneTimeToken, Purpose, Role, User};
use anteroom_domain::audit::{Actor, AuditEntry, Outcome};
use anteroom_domain::billing::{Hold, METER_MESSAGES, NanoUsd, Owner, QuotaKey};
use anteroom_domain::chat::{Conversation, Message, MessageStatus, Speaker, TokenUsage};
use anteroom_domain::sessions::{RefreshToken, Session, SigningAlgorithm, SigningKey, Transport};
use anteroom_domain::{
    ApiKeyId, AuditId, ConversationId, MessageId, OneTimeTokenId, RefreshTokenId, RequestId, ReservationId, SessionId,
    Timestamp, UserId,
};
use anteroom_ports::billing::{Reservation, Settlement};
use anteroom_ports::{Ids as _, Store};
use anteroom_testkit::SeededIds;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use uuid::Uuid;

static IDS: LazyLock<SeededIds> = LazyLock::new(SeededIds::default);

/// A new identifier; later ones sort after it.
pub(crate) fn id() -> Uuid {
    IDS.uuid()
}

/// A digest of nothing else.
pub(crate) fn digest() -> [u8; 32] {
    IDS.secret()
}

/// A time with microseconds: noon, and so many seconds.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_microsecond(1_800_000_000_123_457 + second * 1_000_000).unwrap()
}

pub(crate) fn user(email: &str) -> User {
    User {
        id: UserId(id()),
        email: Email::parse(email).unwrap(),
        email_verified: false,
        name: Some("Ada Lovelace — ädá 🌲".into()),
        locale: "en".into(),
        role: Role::User,
        created_at: at(0),
        updated_at: at(0),
        disabled_at: None,
        delete_after: None,
    }
}

/// A user in the store, with an address of their own.
pub(crate) async fn stored_user(store: &Arc<dyn Store>) -> User {
    let user = user(&format!("{}@example.com", id().simple()));
    let mut unit = super::begin(store).await;
    unit.insert_user(&user).await.unwrap();
    unit.commit().await.unwrap();
    user
}

pub(crate) fn session(user: &User) -> Session {
    Session {
        id: SessionId(id()),
        user_id: user.id,
        transport: Transport::Token,
        created_at: at(1),
        expires_at: at(1000),
        last_seen_at: at(2),
        address: Some("2001:db8::1".into()),
        user_agent: Some("curl/8".into()),
        country: Some("DE".into()),
        authenticated_at: at(1),
        ended: None,
    }
}

/// A token to reset a password with, for 1000 seconds.
pub(crate) fn one_time_token(user: &User) -> OneTimeToken {
    OneTimeToken {
        id: OneTimeTokenId(id()),
        user_id: user.id,
        purpose: Purpose::ResetPassword,
        email: Some("Ada@example.com".into()),
        session_id: Some(SessionId(id())),
        created_at: at(3),
        expires_at: at(1000),
        used_at: None,
    }
}

/// A row of the audit log.
pub(crate) fn audit_entry(act: &str, subject: Option<UserId>) -> AuditEntry {
    AuditEntry {
        id: AuditId(id()),
        at: at(1),
        act: act.into(),
        outcome: Outcome::Failed,
        actor: Actor::Anonymous,
        subject,
        session_id: Some(SessionId(id())),
        address: Some("192.0.2.1".into()),
        user_agent: Some("curl/8 — ädá".into()),
        request_id: Some(RequestId(id())),
        details: BTreeMap::from([("reason".into(), "wrong".into()), ("count".into(), 3.into())]),
    }
}

pub(crate) fn refresh_token(session: &Session) -> RefreshToken {
    RefreshToken {
        id: RefreshTokenId(id()),
        session_id: session.id,
        created_at: at(3),
        used_at: None,
    }
}

pub(crate) fn conversation(user: &User) -> Conversation {
    Conversation {
        id: ConversationId(id()),
        user_id: user.id,
        title: Some("Title".into()),
        model: None,
        instructions: None,
        assistant: None,
        created_at: at(0),
        updated_at: at(0),
    }
}

pub(crate) fn message(conversation: &Conversation, content: &str) -> Message {
    Message {
        id: MessageId(id()),
        conversation_id: conversation.id,
        role: Speaker::User,
        content: content.into(),
        status: MessageStatus::Complete,
        model: None,
        usage: None,
        filtered: false,
        created_at: at(4),
    }
}

pub(crate) fn usage(prompt_tokens: i64) -> TokenUsage {
    TokenUsage {
        prompt_tokens,
        completion_tokens: 2,
        cached_tokens: 3,
        reasoning_tokens: 4,
        ..TokenUsage::NONE
    }
}

/// A counter of somebody's messages.
pub(crate) fn counter() -> QuotaKey {
    QuotaKey {
        owner: Owner::account(UserId(id())),
        meter: METER_MESSAGES,
        window_start: at(0),
    }
}

pub(crate) fn hold(key: &QuotaKey, amount: i64, limit: Option<i64>) -> Hold {
    Hold {
        key: key.clone(),
        amount,
        limit,
    }
}

/// What a call came to.
pub(crate) fn settlement(id: ReservationId, used: &[(&'static str, i64)]) -> Settlement {
    let used = used.to_vec();
    Settlement { id, used }
}

pub(crate) fn reservation(holds: Vec<Hold>) -> Reservation {
    Reservation {
        id: ReservationId(id()),
        request_id: RequestId(id()),
        owner: holds[0].key.owner,
        used_with: UsedWith::Session(SessionId(id())),
        model: "gpt-4o".into(),
        at_least: usage(11),
        holds,
        created_at: at(0),
        expires_at: at(100),
    }
}

/// A key that nothing has been signed with.
pub(crate) fn signing_key(active_from: i64) -> SigningKey {
    SigningKey {
        kid: id().simple().to_string(),
        algorithm: SigningAlgorithm::EdDsa,
        public_jwk: r#"{"kty":"OKP"}"#.into(),
        sealed: digest().to_vec(),
        wrapping_version: 1,
        created_at: at(0),
        active_from: at(active_from),
        retired_at: None,
        revoked_at: None,
    }
}

/// A key with every limit, which works for 1000 seconds.
pub(crate) fn api_key(user: &User) -> ApiKey {
    ApiKey {
        id: ApiKeyId(id()),
        user_id: user.id,
        name: "nightly — ädá 🌲".into(),
        hint: "x7Qd".into(),
        scopes: vec![Scope::Models, Scope::Chat, Scope::UsageRead],
        models: Some(vec!["gpt-4o".into(), "a \"quoted\", one".into()]),
        budget: Some(KeyBudget {
            limit: NanoUsd(5_000_000_001),
            window: BudgetWindow::Month,
        }),
        requests_per_minute: Some(7),
        created_at: at(1),
        expires_at: Some(at(1000)),
        last_used_at: None,
        rotated: None,
    }
}
