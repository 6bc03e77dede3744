//! A user who has proven themselves gets a session.

use anteroom_domain::accounts::User;
use anteroom_domain::sessions::{AccessClaims, RefreshToken, Session, Transport, clip_user_agent};
use anteroom_domain::{RefreshTokenId, SessionId};
use anteroom_ports::{Digest, StoreResult, UnitOfWork};

use super::{Grant, GrantedCredential, Sessions};
use crate::{Client, later};

impl Sessions {
    /// Adds a session to the unit of work. The secrets are in the grant only; the store gets their digests.
    pub(crate) async fn start(
        &self,
        unit: &mut dyn UnitOfWork,
        user: &User,
        transport: Transport,
        client: &Client,
    ) -> StoreResult<Grant> {
        let now = self.clock.now();
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
        Ok(Grant {
            user: user.clone(),
            session,
            credential,
        })
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
