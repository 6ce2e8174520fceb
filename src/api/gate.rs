//! Who may ask: a request's key is looked up, held to its digest and to the scope that its route needs, before a handler sees
//! anything of the request.
//!
//! ```text
//! no scope needed ─────────────────────────────────────────────▶ the handler
//! nobody needs a key, since none was ever made ────────────────▶ the handler, for the default project
//! a key that was verified less than `FRESH` ago ───────────────▶ its scopes, the handler
//! a key that is whole: one look into the database ─────────────▶ its scopes, the handler
//! anything else ───────────────────────────────────────────────▶ 401, always the same; 429 after `MOST_FAILURES` a minute
//! ```
//! What is remembered is bounded in number and in time, so a revoked key works for `FRESH` at most, and a database that is away
//! for longer closes the service. A key that was good a while ago is looked up whatever came from its address meanwhile: behind
//! a proxy all clients have one.

mod memory;

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, header::AUTHORIZATION},
    middleware::Next,
    response::Response,
};
use chrono::{DateTime, TimeDelta, Utc};

use self::memory::{Known, Memory};
use super::{ApiError, AppState, scopes};
use crate::{
    domain::{KeyId, KeyText, ProjectId, Scope},
    store::Store,
    telemetry::chain,
};

/// How long what the database said of a key holds.
const FRESH: TimeDelta = TimeDelta::seconds(30);
/// How often a service without keys looks whether there is one by now.
const LOOK: TimeDelta = TimeDelta::seconds(1);
/// Wrong keys of one address in a minute after which no more are looked up.
const MOST_FAILURES: u32 = 20;

/// Whether requests need a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// From the first key on; until then whoever reaches the port may do everything.
    KeysOnceMade,
    /// Always.
    Keys,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// With which key; none where no key is needed.
    pub key: Option<KeyId>,
    /// Whose rows are meant.
    pub project: ProjectId,
}

/// The address of a connection's other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// What is known of keys.
#[derive(Debug, Default)]
pub struct Gate(Mutex<Memory>);

/// Lets a request through to its handler, with its [`Caller`], or refuses it.
pub async fn admit(State(state): State<AppState>, mut request: Request, next: Next) -> Result<Response, ApiError> {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let Some(scope) = route.and_then(|route| scopes::needed(request.method(), route)) else {
        return Ok(next.run(request).await);
    };
    let peer = request.extensions().get::<Peer>().copied();
    let caller = state.gate.caller(&state, request.headers(), peer, scope).await?;
    // Nothing behind the gate has a use for it.
    request.headers_mut().remove(AUTHORIZATION);
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

impl Gate {
    async fn caller(
        &self,
        state: &AppState,
        headers: &HeaderMap,
        peer: Option<Peer>,
        scope: Scope,
    ) -> Result<Caller, ApiError> {
        if !self.needs_keys(state).await? {
            return Ok(Caller { key: None, project: Store::default_project() });
        }
        let now = state.clock.now();
        let key = match presented(headers) {
            Err(ApiError::BrokenKey) => {
                self.failure(peer, now)?;
                return Err(ApiError::BrokenKey);
            }
            presented => presented?,
        };
        let known = self.verified(state, &key, peer, now).await?;
        if !known.scopes.contains(&scope) {
            return Err(ApiError::MissingScope(scope));
        }
        Ok(Caller { key: Some(key.id), project: known.project })
    }

    /// Whether this service needs keys by now.
    async fn needs_keys(&self, state: &AppState) -> Result<bool, ApiError> {
        if state.access == Access::Keys {
            return Ok(true);
        }
        let now = state.clock.now();
        if let Some(known) = self.with(|memory| memory.keys_are_made(now, LOOK)) {
            return Ok(known);
        }
        match state.store.has_api_keys().await {
            Ok(made) => {
                self.with(|memory| memory.note_keys_made(made, now));
                Ok(made)
            }
            Err(error) => self.with(|memory| memory.keys_are_made(now, FRESH)).ok_or_else(|| error.into()),
        }
    }

    async fn verified(
        &self,
        state: &AppState,
        key: &KeyText,
        peer: Option<Peer>,
        now: DateTime<Utc>,
    ) -> Result<Known, ApiError> {
        let digest = key.digest();
        let known = self.with(|memory| memory.find(&key.id, &digest));
        if let Some(known) = known.as_ref().filter(|known| known.is_fresh(now)) {
            return Ok(known.clone());
        }
        if known.is_none() {
            self.with(|memory| memory.failures.refuse(peer, now))?;
        }
        let stored = state.store.stored_key(&key.id).await?;
        let Some(stored) = stored.filter(|stored| stored.digest.matches(&digest) && stored.is_good) else {
            if known.is_some() {
                self.with(|memory| memory.forget(&key.id));
            }
            self.failure(peer, now)?;
            return Err(ApiError::NoKey);
        };
        let remaining = stored.remaining.and_then(|remaining| TimeDelta::from_std(remaining).ok());
        let until = now + remaining.map_or(FRESH, |remaining| remaining.min(FRESH));
        let known = Known { digest, project: stored.project, scopes: stored.scopes, at: now, until };
        self.with(|memory| memory.remember(key.id.clone(), known.clone()));
        if stored.use_is_news
            && let Err(error) = state.store.note_key_use(&key.id).await
        {
            tracing::warn!(key = %key.id, error = %chain(&error), "the use of a key was not written down");
        }
        Ok(known)
    }

    /// Counts a request whose key is wrong.
    fn failure(&self, peer: Option<Peer>, now: DateTime<Utc>) -> Result<(), ApiError> {
        self.with(|memory| {
            memory.failures.refuse(peer, now)?;
            memory.failures.count(peer, now);
            Ok(())
        })
    }

    fn with<T>(&self, look: impl FnOnce(&mut Memory) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The key that a request brings.
fn presented(headers: &HeaderMap) -> Result<KeyText, ApiError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(ApiError::NoKey) };
    let (scheme, key) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(ApiError::NoKey)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(ApiError::NoKey);
    }
    KeyText::parse(key.trim()).map_err(|_| ApiError::BrokenKey)
}
