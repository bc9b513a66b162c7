//! What somebody says about themselves: their name, their password.

use autostack_domain::{
    Invalid, Secret, SessionId, UnixMillis, User, UserId,
    account::{Credentials, Provider},
    limits,
    permission::Actor,
};
use autostack_identity::password::Password;
use autostack_store::Store;
use serde::Serialize;

use super::api_keys::check_full;
use crate::{
    error::{ErrorKind, PlatformError},
    platform::Platform,
};

/// An account as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct AccountView {
    /// The user.
    pub id: UserId,
    /// The address.
    pub email: String,
    /// What they are called.
    pub name: Option<String>,
    /// Whether the whole platform is theirs to run.
    pub is_admin: bool,
    /// When the account was made.
    pub created_at: UnixMillis,
    /// When they proved that the address is theirs.
    pub email_verified_at: Option<UnixMillis>,
    /// Whether a password lets them in.
    pub has_password: bool,
    /// Whether a second factor is asked for.
    pub has_second_factor: bool,
    /// Recovery codes that are left.
    pub recovery_codes: usize,
    /// Accounts elsewhere that let them in.
    pub linked: Vec<Provider>,
}

impl Platform {
    /// The actor's account.
    pub async fn account(&self, actor: &Actor) -> Result<AccountView, PlatformError> {
        let id = actor.user.clone();
        let read = move |store: &Store| {
            let Some(user) = store.user(&id)? else { return Ok(None) };
            Ok(Some((user, store.credentials(&id)?, store.linked_accounts(&id)?)))
        };
        let (user, credentials, linked) = self.parts().store.call(read).await?.ok_or_else(unknown)?;
        Ok(AccountView {
            id: user.id,
            email: user.email,
            name: user.name,
            is_admin: user.is_admin,
            created_at: user.created_at,
            email_verified_at: user.email_verified_at,
            has_password: credentials.password.is_some(),
            has_second_factor: credentials.totp.is_some(),
            recovery_codes: credentials.totp.map_or(0, |factor| factor.recovery.len()),
            linked: linked.into_iter().map(|account| account.provider).collect(),
        })
    }

    /// Says what the actor is called; `None`: by their address.
    pub async fn rename_account(
        &self,
        actor: &Actor,
        name: Option<&str>,
    ) -> Result<AccountView, PlatformError> {
        check_full(actor, "change the account")?;
        let name = name.map(checked_name).transpose()?;
        let id = actor.user.clone();
        self.parts().store.call(move |store: &Store| store.update_user(&id, |user| user.name = name)).await?;
        self.event(actor, None, "account:set", "name");
        self.account(actor).await
    }

    /// Gives the actor another password; the one before is asked for where there is one. Every session but `kept` ends.
    pub async fn change_password(
        &self,
        actor: &Actor,
        before: Option<&Secret<String>>,
        new: &Secret<String>,
        kept: Option<&SessionId>,
    ) -> Result<(), PlatformError> {
        check_full(actor, "change the password")?;
        let (user, credentials) = own_account(self, actor).await?;
        if credentials.password.is_some() {
            let Some(before) = before else {
                return Err(Invalid::new("password", "…", "the one before is needed").into());
            };
            verify(self, &user, credentials, before, actor).await?;
        }
        self.set_password(&user, new).await?;
        self.event(actor, None, "account:password", "");
        self.end_sessions(actor, kept).await
    }

    /// Sets the password of a user; the caller has proof that it may.
    pub(crate) async fn set_password(&self, user: &User, new: &Secret<String>) -> Result<(), PlatformError> {
        let password = Password::new(new.expose().clone(), &user.email)?;
        let hash = self.with_password(move || password.hash()).await?;
        let hash = hash.map_err(|error| PlatformError::internal("the password cannot be hashed", &error))?;
        let id = user.id.clone();
        let keep = move |store: &Store| {
            store.update_credentials(&id, |credentials| credentials.password = Some(hash))
        };
        Ok(self.parts().store.call(keep).await?)
    }
}

/// The actor, who has shown their password again.
pub(crate) async fn own_password(
    platform: &Platform,
    actor: &Actor,
    password: &Secret<String>,
) -> Result<User, PlatformError> {
    let (user, credentials) = own_account(platform, actor).await?;
    if credentials.password.is_none() {
        let message = "the account has no password";
        return Err(PlatformError::new(ErrorKind::Conflict, message).hint("set one first"));
    }
    verify(platform, &user, credentials, password, actor).await?;
    Ok(user)
}

async fn own_account(platform: &Platform, actor: &Actor) -> Result<(User, Credentials), PlatformError> {
    let id = actor.user.clone();
    let read = move |store: &Store| {
        let Some(user) = store.user(&id)? else { return Ok(None) };
        Ok(Some((user, store.credentials(&id)?)))
    };
    platform.parts().store.call(read).await?.ok_or_else(unknown)
}

async fn verify(
    platform: &Platform,
    user: &User,
    credentials: Credentials,
    password: &Secret<String>,
    actor: &Actor,
) -> Result<(), PlatformError> {
    platform.check_attempts(&user.email, actor.from)?;
    let password = Password::claimed(password.expose().clone())?;
    if platform.with_password(move || password.verifies(credentials.password.as_deref())).await? {
        return Ok(());
    }
    platform.failed_attempt(&user.email, actor.from);
    Err(PlatformError::new(ErrorKind::Denied, "the password is wrong"))
}

fn unknown() -> PlatformError {
    PlatformError::new(ErrorKind::Unauthenticated, "you are not known any more")
}

/// What a user may be called.
pub(crate) fn checked_name(given: &str) -> Result<String, Invalid> {
    let name = given.trim();
    let length = name.chars().count();
    if length == 0 || length > limits::USER_NAME_CHARS_MAX || name.chars().any(char::is_control) {
        let why = format!("1 to {} characters, none of them control characters", limits::USER_NAME_CHARS_MAX);
        return Err(Invalid::new("name", given, why));
    }
    Ok(name.to_owned())
}
