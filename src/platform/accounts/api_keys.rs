//! Keys for programs: shown once, kept as digests, good for what they name and no more.

use std::{net::IpAddr, time::Duration};

use autostack_base::clock;
use autostack_domain::{
    Invalid, Secret, TokenId, UnixMillis,
    account::{ApiKey, Reach, Scope},
    limits,
    permission::Actor,
};
use autostack_identity::opaque::{Kind, Opaque};
use autostack_store::{Store, StoreError};
use serde::Serialize;

use super::login::later;
use crate::{
    error::{ErrorKind, PlatformError},
    platform::Platform,
};

/// Milliseconds within which a second use of a key is not recorded anew.
const TOUCH_EVERY_MS: u64 = 60_000;

/// A key as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ApiKeyView {
    /// Its id.
    pub id: TokenId,
    /// What it is called.
    pub name: String,
    /// How it begins, so that people can tell which one they hold.
    pub prefix: String,
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// When it was made, or last given a new secret.
    pub created_at: UnixMillis,
    /// When it ends.
    pub expires_at: Option<UnixMillis>,
    /// When it was last used, to the minute.
    pub used_at: Option<UnixMillis>,
}

/// A key that somebody wants.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// What it is to be called.
    pub name: String,
    /// What it may be used for; one at least.
    pub scopes: Vec<Scope>,
    /// How long it is to be good for; `None`: until it is taken away.
    pub ttl: Option<Duration>,
}

impl Platform {
    /// Makes a key; its secret is shown this once. A key cannot make another.
    pub async fn add_api_key(
        &self,
        actor: &Actor,
        wanted: NewApiKey,
    ) -> Result<(ApiKeyView, Secret<String>), PlatformError> {
        check_full(actor, "make an API key")?;
        let name = checked_name(&wanted.name)?;
        if wanted.scopes.is_empty() {
            return Err(
                Invalid::new("scopes", "", "name one at least: read, deploy, config or manage").into()
            );
        }
        let now = clock::now();
        let mut scopes = wanted.scopes;
        scopes.sort_unstable();
        scopes.dedup();
        let opaque = new_opaque()?;
        let key = ApiKey {
            id: opaque.id.clone(),
            user: actor.user.clone(),
            name,
            digest: opaque.digest(),
            scopes,
            created_at: now,
            expires_at: wanted.ttl.map(|ttl| later(now, ttl)),
            used_at: None,
        };
        let record = key.clone();
        match self.parts().store.call(move |store: &Store| store.add_api_key(&record)).await {
            Err(StoreError::Exists { name, .. }) => {
                let message = format!("you have an API key {name} already");
                return Err(PlatformError::new(ErrorKind::Conflict, message)
                    .hint("choose another name, or rotate that one"));
            }
            Err(StoreError::Conflict { why, .. }) => {
                return Err(PlatformError::new(ErrorKind::Conflict, format!("no more API keys: {why}")));
            }
            other => other?,
        }
        self.event(actor, None, "tokens:add", key.name.clone());
        Ok((view(key), opaque.reveal(Kind::ApiKey)))
    }

    /// Makes a key for the user with that address, or, without one, for the admin that is made for the operator, who has
    /// proved that they are.
    pub async fn issue_api_key(
        &self,
        email: Option<&str>,
        wanted: NewApiKey,
    ) -> Result<(ApiKeyView, Secret<String>), PlatformError> {
        let user = self.user_or_operator(email).await?;
        self.add_api_key(&self.actor(&user, None, None), wanted).await
    }

    /// The actor's keys, the oldest first.
    pub async fn api_keys(&self, actor: &Actor) -> Result<Vec<ApiKeyView>, PlatformError> {
        let user = actor.user.clone();
        let keys = self.parts().store.call(move |store: &Store| store.api_keys(&user)).await?;
        Ok(keys.into_iter().map(view).collect())
    }

    /// Gives a key of the actor a new secret; the old one opens nothing from now on. The new one lasts as long as the old
    /// one was made for.
    pub async fn rotate_api_key(
        &self,
        actor: &Actor,
        id: &TokenId,
    ) -> Result<(ApiKeyView, Secret<String>), PlatformError> {
        check_full(actor, "rotate an API key")?;
        let opaque = new_opaque_of(id.clone())?;
        let (user, key, digest, now) = (actor.user.clone(), id.clone(), opaque.digest(), clock::now());
        let rotate = move |store: &Store| {
            let before = store.api_key(&key)?.filter(|key| key.user == user);
            let lasts = before.and_then(|key| Some(key.expires_at?.since(key.created_at)));
            let expires_at = lasts.map(|millis| later(now, Duration::from_millis(millis)));
            store.rotate_api_key((&user, &key), digest, now, expires_at)
        };
        let key = self.parts().store.call(rotate).await.map_err(|error| not_yours(error, id))?;
        self.event(actor, None, "tokens:rotate", key.name.clone());
        self.rights_changed();
        Ok((view(key), opaque.reveal(Kind::ApiKey)))
    }

    /// Takes a key of the actor away: it opens nothing from now on.
    pub async fn remove_api_key(&self, actor: &Actor, id: &TokenId) -> Result<ApiKeyView, PlatformError> {
        check_full(actor, "remove an API key")?;
        let (user, key) = (actor.user.clone(), id.clone());
        let removed = self.parts().store.call(move |store: &Store| store.remove_api_key(&user, &key)).await;
        let key = removed.map_err(|error| not_yours(error, id))?;
        self.event(actor, None, "tokens:remove", key.name.clone());
        self.rights_changed();
        Ok(view(key))
    }

    /// Who shows an API key: its owner, as far as the key reaches.
    pub async fn authenticate_api_key(
        &self,
        given: &str,
        from: Option<IpAddr>,
    ) -> Result<(Actor, TokenId), PlatformError> {
        let refused = || PlatformError::new(ErrorKind::Unauthenticated, "the API key is not valid");
        let opaque = Opaque::parse(Kind::ApiKey, given).map_err(|_| refused())?;
        let (id, now) = (opaque.id.clone(), clock::now());
        let read = move |store: &Store| {
            let Some(key) = store.api_key(&id)? else { return Ok(None) };
            Ok(store.user(&key.user)?.map(|user| (key, user)))
        };
        let found = self.parts().store.call(read).await?;
        let (key, user) = found.filter(|(key, _)| opaque.fits(&key.digest)).ok_or_else(refused)?;
        if key.expires_at.is_some_and(|end| end <= now) {
            return Err(PlatformError::new(ErrorKind::Unauthenticated, "the API key has expired")
                .hint("rotate it, or make another"));
        }
        if key.used_at.is_none_or(|used| now.since(used) >= TOUCH_EVERY_MS) {
            let (user, id) = (user.id.clone(), key.id.clone());
            // A key that was taken away in this moment is found out at the next use.
            let touched =
                self.parts().store.call(move |store: &Store| store.touch_api_key(&user, &id, now)).await;
            if let Err(error) = touched {
                tracing::warn!(%error, "the use of an API key could not be recorded");
            }
        }
        let reach = Reach::Scopes(key.scopes);
        Ok((Actor { reach, ..self.actor(&user, Some(&key.name), from) }, key.id))
    }

    /// Returns when an API key opens nothing any more, or its user's rights have changed.
    pub async fn until_key_ends(&self, actor: &Actor, id: &TokenId) {
        let mut changes = self.watch_rights();
        let mut digest = None;
        loop {
            let key = id.clone();
            let read = move |store: &Store| {
                let Some(key) = store.api_key(&key)? else { return Ok(None) };
                Ok(store.user(&key.user)?.map(|user| (key, user)))
            };
            match self.parts().store.call(read).await {
                Ok(Some((key, user))) if user.is_admin == actor.is_admin => {
                    if *digest.get_or_insert_with(|| key.digest.clone()) != key.digest {
                        return;
                    }
                    let left = key.expires_at.map(|end| Duration::from_millis(end.since(clock::now())));
                    if changes.next_within(left).await.is_err() {
                        return;
                    }
                }
                // A store that cannot be read locks nobody out.
                Err(_) => changes.next().await,
                Ok(_) => return,
            }
        }
    }
}

/// Refuses whoever shows an API key: what one may do, it must not be able to hand on.
pub(crate) fn check_full(actor: &Actor, what: &str) -> Result<(), PlatformError> {
    match actor.reach {
        Reach::Full => Ok(()),
        Reach::Scopes(_) => Err(PlatformError::new(ErrorKind::Denied, format!("an API key may not {what}"))
            .hint("log in as yourself")),
    }
}

fn view(key: ApiKey) -> ApiKeyView {
    ApiKeyView {
        prefix: format!("{}{}", Kind::ApiKey.prefix(), key.id),
        id: key.id,
        name: key.name,
        scopes: key.scopes,
        created_at: key.created_at,
        expires_at: key.expires_at,
        used_at: key.used_at,
    }
}

fn checked_name(given: &str) -> Result<String, Invalid> {
    let name = given.trim();
    let length = name.chars().count();
    if length == 0 || length > limits::API_KEY_NAME_CHARS_MAX || name.chars().any(char::is_control) {
        let why =
            format!("1 to {} characters, none of them control characters", limits::API_KEY_NAME_CHARS_MAX);
        return Err(Invalid::new("name of an API key", given, why));
    }
    Ok(name.to_owned())
}

pub(crate) fn new_opaque() -> Result<Opaque, PlatformError> {
    new_opaque_of(uuid::Uuid::now_v7().to_string().parse()?)
}

fn new_opaque_of(id: TokenId) -> Result<Opaque, PlatformError> {
    Opaque::new(id).map_err(|error| PlatformError::internal("a secret cannot be made", &error))
}

fn not_yours(error: StoreError, id: &TokenId) -> PlatformError {
    match error {
        StoreError::NotFound { .. } => {
            PlatformError::new(ErrorKind::NotFound, format!("you have no API key {id}"))
        }
        other => other.into(),
    }
}
