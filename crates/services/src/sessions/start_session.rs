//! A user who has proven themselves gets a session.

use anteroom_domain::accounts::{OneTimeToken, Purpose, User};
use anteroom_domain::audit::Actor;
use anteroom_domain::sessions::{
    AccessClaims, EndReason, RefreshToken, Session, Transport, clip_user_agent, device_name,
};
use anteroom_domain::{OneTimeTokenId, RefreshTokenId, SessionId, Timestamp, UserId};
use anteroom_ports::accounts::DeviceSeen;
use anteroom_ports::{Digest, StoreError, StoreResult, UnitOfWork};
use secrecy::{ExposeSecret as _, SecretString};
use tracing::info;

use super::{Grant, GrantedCredential, Sessions};
use crate::audit::Act;
use crate::webhooks::Letter;
use crate::{Client, later};

/// What every mailed token that ends a session begins with.
const REVOKE_PREFIX: &str = "anv_";

/// Why no session was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The account was closed, or erased, since its user proved themselves.
    #[error("this account is disabled")]
    AccountClosed,
    /// The user has as many sessions as one may, and one more is to be refused.
    #[error("the account has {limit} sessions, and may have no more")]
    TooManySessions {
        /// How many there may be.
        limit: usize,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Sessions {
    /// Adds a session to the unit of work. The secrets are in the grant only; the store gets their digests. Call
    /// [`Sessions::started`] after the commit.
    ///
    /// The user's row is locked, so of parallel logins one at a time counts sessions and looks whether the account may
    /// be used: every path that signs somebody in passes here.
    pub(crate) async fn start(
        &self,
        unit: &mut dyn UnitOfWork,
        user: &User,
        transport: Transport,
        client: &Client,
    ) -> Result<Grant, StartError> {
        let user = unit.lock_user(user.id).await?.filter(User::usable);
        let user = user.ok_or(StartError::AccountClosed)?;
        let now = self.clock.now();
        let evicted = self.make_room(unit, user.id, now, client).await?;
        let session = Session {
            id: SessionId(self.ids.uuid()),
            user_id: user.id,
            transport,
            created_at: now,
            expires_at: later(now, self.options.lifetime),
            last_seen_at: now,
            address: client.address.clone(),
            user_agent: client.user_agent.as_deref().map(clip_user_agent),
            country: client.country.clone(),
            authenticated_at: now,
            ended: None,
        };
        let secret = self.ids.secret();
        let credential = match transport {
            Transport::Cookie => {
                let cookie = Self::token_text("", &secret);
                unit.insert_session(&session, Some(&self.secrets.digest(cookie.as_bytes())))
                    .await?;
                GrantedCredential::Cookie(cookie.into())
            }
            Transport::Token => {
                let refresh = Self::token_text(super::refresh_session::PREFIX, &secret);
                unit.insert_session(&session, None).await?;
                self.insert_refresh_token(unit, &session, &self.secrets.digest(refresh.as_bytes()))
                    .await?;
                self.token_credential(&session, refresh)?
            }
        };
        let on_new_device = self.note_device(unit, &user, &session).await?;
        Ok(Grant {
            user,
            session,
            credential,
            evicted,
            on_new_device,
        })
    }

    /// Says, after the commit, what else starting a session came to.
    pub(crate) fn started(&self, grant: &Grant) {
        self.ended_now(&grant.evicted, grant.user.id, EndReason::Evicted);
        if grant.on_new_device {
            info!(event = "session.device.new", session_id = %grant.session.id, user_id = %grant.user.id);
        }
    }

    /// Ends the oldest sessions of a user who has as many as one may. Answers which.
    async fn make_room(
        &self,
        unit: &mut dyn UnitOfWork,
        user: UserId,
        now: Timestamp,
        client: &Client,
    ) -> Result<Vec<SessionId>, StartError> {
        let Some(limit) = self.options.limit else {
            return Ok(Vec::new());
        };
        let mut live = unit.live_sessions(user, now).await?;
        live.retain(|session| self.in_force(session, now));
        let over = limit
            .to_evict(live.len())
            .ok_or(StartError::TooManySessions { limit: limit.most })?;
        live.truncate(over);
        let mut evicted = Vec::with_capacity(over);
        for session in live {
            if unit.end_session(session.id, now, EndReason::Evicted).await? {
                let act = Act::succeeded("session.evict", Actor::User(user), client)
                    .subject(user)
                    .session(session.id);
                self.audit.record(unit, act).await?;
                evicted.push(session.id);
            }
        }
        Ok(evicted)
    }

    /// Notes where the user logs in from, and tells them of a place that is new, with a link that ends the session.
    async fn note_device(&self, unit: &mut dyn UnitOfWork, user: &User, session: &Session) -> StoreResult<bool> {
        let device = session.user_agent.as_deref().and_then(device_name);
        let (name, country) = (device.as_deref().unwrap_or_default(), session.country.as_deref());
        let now = session.created_at;
        let seen = unit
            .note_device(user.id, name, country.unwrap_or_default(), now)
            .await?;
        if seen != DeviceSeen::New {
            return Ok(false);
        }
        if self.webhooks.sends_mail() {
            let revoke_token: SecretString = Self::token_text(REVOKE_PREFIX, &self.ids.secret()).into();
            let token = OneTimeToken {
                id: OneTimeTokenId(self.ids.uuid()),
                user_id: user.id,
                purpose: Purpose::RevokeSession,
                email: None,
                session_id: Some(session.id),
                created_at: now,
                expires_at: later(now, Purpose::RevokeSession.lifetime()),
                used_at: None,
            };
            let digest = self.secrets.digest(revoke_token.expose_secret().as_bytes());
            unit.insert_one_time_token(&token, &digest).await?;
            let letter = Letter::NewDevice {
                device: device.as_deref().unwrap_or_default(),
                address: session.address.as_deref(),
                country,
                at: now,
                revoke_token: &revoke_token,
            };
            self.webhooks.tell(unit, user, letter).await?;
        }
        Ok(true)
    }

    pub(super) async fn insert_refresh_token(
        &self,
        unit: &mut dyn UnitOfWork,
        session: &Session,
        digest: &Digest,
    ) -> StoreResult<()> {
        let token = RefreshToken {
            id: RefreshTokenId(self.ids.uuid()),
            session_id: session.id,
            created_at: self.clock.now(),
            used_at: None,
        };
        unit.insert_refresh_token(&token, digest).await
    }

    /// A fresh access token beside a refresh token. It never outlives its session.
    pub(super) fn token_credential(&self, session: &Session, refresh: String) -> StoreResult<GrantedCredential> {
        let now = self.clock.now();
        let expires_at = later(now, self.options.access_token).min(session.expires_at);
        let claims = AccessClaims {
            user_id: session.user_id,
            session_id: session.id,
            expires_at,
        };
        let access_token = self.signer.sign(&claims, now).map_err(|e| super::no_key(&e))?;
        Ok(GrantedCredential::Token {
            access_token: access_token.into(),
            expires_in: expires_at.duration_since(now).as_secs(),
            refresh_token: refresh.into(),
        })
    }
}
