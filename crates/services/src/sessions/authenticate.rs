//! Who is asking? The hottest path of all: answered from memory when the same was asked moments ago.

use std::sync::Arc;

use anteroom_domain::SessionId;
use anteroom_domain::accounts::Role;
use anteroom_domain::billing::{Holdings, Owner};
use anteroom_ports::{StoreError, TokenRefusal};

use super::{CachedState, LiveSession, Sessions, VerifiedToken};

/// What a client presents.
#[derive(Debug, Clone, Copy)]
pub enum Credential<'a> {
    /// The value of the session cookie.
    Cookie(&'a str),
    /// A bearer token.
    Bearer(&'a str),
}

/// Why nobody is let in.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// The credential opens nothing (any more).
    #[error("not signed in")]
    Unauthenticated,
    /// The store failed, so nobody can say.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Longer credentials are none of ours; nothing is computed for them.
const MAX_CREDENTIAL_BYTES: usize = 4096;

impl Sessions {
    /// The answer from memory alone: `None` where the store has to be asked.
    pub fn authenticate_cached(&self, credential: Credential<'_>) -> Option<Arc<LiveSession>> {
        let id = self.session_id_cached(credential)?;
        self.cached_state(id)
    }

    /// The live session behind a credential.
    pub async fn authenticate(&self, credential: Credential<'_>) -> Result<Arc<LiveSession>, AuthenticateError> {
        if let Some(id) = self.session_id_cached(credential) {
            return self.live_session(id).await;
        }
        let cookie = match credential {
            Credential::Cookie(cookie) => cookie,
            Credential::Bearer(token) => {
                let id = self.verify_token(token).await?;
                return self.live_session(id).await;
            }
        };
        if cookie.len() > MAX_CREDENTIAL_BYTES {
            return Err(AuthenticateError::Unauthenticated);
        }
        let digest = self.secrets.digest(cookie.as_bytes());
        let found = self.store.read().await?.session_by_cookie(&digest).await?;
        let (session, _) = found.ok_or(AuthenticateError::Unauthenticated)?;
        let state = self.live_session(session.id).await?;
        self.cookies.insert(digest, session.id);
        Ok(state)
    }

    /// The session, if it is live: as it was at most half a second ago, or as it is but for what this node is about to
    /// hear.
    pub async fn live_session(&self, id: SessionId) -> Result<Arc<LiveSession>, AuthenticateError> {
        if let Some(state) = self.cached_state(id) {
            return Ok(state);
        }
        let mark = self.mark();
        let mut reads = self.store.read().await?;
        let (session, user) = reads.session(id).await?.ok_or(AuthenticateError::Unauthenticated)?;
        let session = self.as_last_seen(session);
        if !self.in_force(&session, self.clock.now()) || !user.usable() {
            return Err(AuthenticateError::Unauthenticated);
        }
        let holdings = match reads.holdings_of(Owner::account(user.id), self.clock.now()).await {
            // Migrations were taken back beside this process. Admins get in all the same, to apply them again.
            Err(StoreError::SchemaNotCurrent { reason }) if user.role == Role::Admin => {
                tracing::warn!(event = "session.holdings.unread", user_id = %user.id, reason);
                let holdings = Holdings::default();
                return Ok(Arc::new(LiveSession {
                    user,
                    session,
                    holdings,
                }));
            }
            holdings => holdings?,
        };
        drop(reads);
        let state = Arc::new(LiveSession {
            user,
            session,
            holdings,
        });
        self.states.insert(
            id,
            Arc::new(CachedState {
                mark,
                state: Arc::clone(&state),
            }),
        );
        // The session may have ended between the read and the insert; then what was read counts no more.
        if self.ended.contains_key(&id) {
            self.states.invalidate(&id);
            return Err(AuthenticateError::Unauthenticated);
        }
        self.note_seen(&state.session, self.clock.now());
        Ok(state)
    }

    fn cached_state(&self, id: SessionId) -> Option<Arc<LiveSession>> {
        let cached = self.states.get(&id)?;
        let session = &cached.state.session;
        let current = self.current(cached.mark, session.user_id);
        (current && session.live_at(self.clock.now())).then(|| Arc::clone(&cached.state))
    }

    fn session_id_cached(&self, credential: Credential<'_>) -> Option<SessionId> {
        match credential {
            Credential::Cookie(text) | Credential::Bearer(text) if text.len() > MAX_CREDENTIAL_BYTES => None,
            Credential::Cookie(cookie) => self.cookies.get(&self.secrets.digest(cookie.as_bytes())),
            Credential::Bearer(token) => {
                let token = self.tokens.get(&self.secrets.digest(token.as_bytes()))?;
                // Its key may have been revoked since.
                let good = token.keys == self.held.generation() && self.clock.now() < token.claims.expires_at;
                good.then_some(token.claims.session_id)
            }
        }
    }

    async fn verify_token(&self, token: &str) -> Result<SessionId, AuthenticateError> {
        if token.len() > MAX_CREDENTIAL_BYTES {
            return Err(AuthenticateError::Unauthenticated);
        }
        let mut checked = self.check_token(token);
        if checked == Err(TokenRefusal::UnknownKey) {
            // Another node may have made the key a moment ago.
            self.look_for_keys().await?;
            checked = self.check_token(token);
        }
        checked.map_err(|_| AuthenticateError::Unauthenticated)
    }

    fn check_token(&self, token: &str) -> Result<SessionId, TokenRefusal> {
        // Before the check: if the keys change meanwhile, its outcome counts for the old ones only.
        let keys = self.held.generation();
        let claims = self.signer.verify(token, self.clock.now())?;
        let id = claims.session_id;
        let verified = Arc::new(VerifiedToken { keys, claims });
        self.tokens.insert(self.secrets.digest(token.as_bytes()), verified);
        Ok(id)
    }
}
