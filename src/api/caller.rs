//! [`Caller`]: who asks, proved by an access token or an API key. A handler that takes one is for them only.

use std::net::{IpAddr, SocketAddr};

use autostack_domain::{SessionId, TokenId, permission::Actor};
use autostack_platform::{Login, Platform};
use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, header, request::Parts},
};

use crate::{error::ApiError, front::Known, state::Api};

/// Bytes of the header that proves who asks; a token of ours has about 500.
const AUTHORIZATION_BYTES_MAX: usize = 4 * 1024;

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub actor: Actor,
    pub proof: Proof,
}

/// What proved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    /// An access token of this session.
    Session(SessionId),
    /// This API key.
    Key(TokenId),
}

impl Caller {
    /// The session that the caller came with; none for an API key.
    pub(crate) fn session(&self) -> Option<&SessionId> {
        match &self.proof {
            Proof::Session(session) => Some(session),
            Proof::Key(_) => None,
        }
    }

    /// Returns when the proof is worth nothing any more, or the caller's rights have changed.
    pub(crate) async fn until_gone(&self, platform: &Platform) {
        match &self.proof {
            Proof::Session(session) => platform.until_session_ends(&self.actor, session).await,
            Proof::Key(key) => platform.until_key_ends(&self.actor, key).await,
        }
    }
}

impl FromRequestParts<Api> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, ApiError> {
        // The front has looked already.
        let known = match parts.extensions.get::<Known>() {
            Some(Known(known)) => known.clone()?,
            None => None,
        };
        match known {
            Some(caller) => Ok(caller),
            None => Err(ApiError::unauthenticated("this needs an access token or an API key")
                .detail("hint", "send `authorization: Bearer TOKEN`; POST /api/auth/login gives one")),
        }
    }
}

/// Who shows a token or a key.
pub(crate) async fn authenticate(
    platform: &Platform,
    token: &str,
    from: Option<IpAddr>,
) -> Result<Caller, ApiError> {
    let (actor, proof) = if token.starts_with("ask_") {
        let (actor, key) = platform.authenticate_api_key(token, from).await?;
        (actor, Proof::Key(key))
    } else {
        let (actor, session) = platform.authenticate_token(token, from).await?;
        (actor, Proof::Session(session))
    };
    Ok(Caller { actor, proof })
}

/// The token of the one `Authorization` header; two of them are refused.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else {
        return match headers.contains_key(header::AUTHORIZATION) {
            true => Err(ApiError::unauthenticated("there are several `authorization` headers")),
            false => Ok(None),
        };
    };
    let token = value.to_str().ok().filter(|value| value.len() <= AUTHORIZATION_BYTES_MAX);
    let token = token.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    match token {
        Some(token) => Ok(Some(token)),
        None => Err(ApiError::unauthenticated("the `authorization` header is not `Bearer TOKEN`")),
    }
}

/// From where somebody asks, and with what.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub address: Option<IpAddr>,
    pub agent: String,
}

impl Client {
    /// As the platform wants to know it.
    pub(crate) fn login(self) -> Login {
        Login { from: self.address, agent: self.agent }
    }
}

impl FromRequestParts<Api> for Client {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, ApiError> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        Ok(Self {
            address: peer.map(|peer| peer.0.ip().to_canonical()),
            agent: agent.unwrap_or("unknown").to_owned(),
        })
    }
}
