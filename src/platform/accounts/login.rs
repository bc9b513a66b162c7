//! A password and a second factor become a session: an access token for minutes, a refresh token for days that is good once.

use std::{net::IpAddr, time::Duration};

use autostack_base::clock;
use autostack_domain::{
    Secret, SessionId, User, UserId,
    account::{AGENT_CHARS_MAX, Credentials, Reach, Session},
    permission::Actor,
    user::normal_email,
};
use autostack_identity::{
    password::Password,
    tokens::{Claims, TokenError, Use},
    totp,
};
use autostack_store::{Refreshed, Store};

use crate::{
    error::{ErrorKind, PlatformError},
    platform::Platform,
};

/// What somebody shows to come in.
#[derive(Debug)]
pub struct Proof {
    /// The address of the account, as it was typed.
    pub email: String,
    /// The password.
    pub password: Secret<String>,
    /// A code of the second factor, or a recovery code.
    pub code: Option<String>,
}

/// From where, and with what, somebody comes.
#[derive(Debug, Clone)]
pub struct Login {
    /// The address of the client.
    pub from: Option<IpAddr>,
    /// What the client calls itself.
    pub agent: String,
}

/// What opens the API.
#[derive(Debug)]
pub struct Tokens {
    /// Opens it, for `access_ttl`.
    pub access: Secret<String>,
    /// How long the access token is good for.
    pub access_ttl: Duration,
    /// Buys the next pair, once, within `refresh_ttl`.
    pub refresh: Secret<String>,
    /// How long the refresh token is good for.
    pub refresh_ttl: Duration,
    /// Whose they are.
    pub user: User,
}

impl Platform {
    /// Lets somebody in by password, and by a code where the account has a second factor.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`] for a wrong password and for an account that is not there alike, after the same time;
    /// [`ErrorKind::CodeNeeded`] for the right password without a code; [`ErrorKind::TooMany`] after ten wrong ones.
    pub async fn log_in(&self, proof: Proof, login: &Login) -> Result<Tokens, PlatformError> {
        let account = normal_email(&proof.email).unwrap_or_else(|_| proof.email.chars().take(64).collect());
        self.check_attempts(&account, login.from)?;
        let found = self.account_of(&account).await?;
        let password = Password::claimed(proof.password.expose().clone())?;
        let hash = found.as_ref().and_then(|(_, credentials)| credentials.password.clone());
        let fits = self.with_password(move || password.verifies(hash.as_deref())).await?;
        let user = match found {
            Some((user, _)) if fits => user,
            Some(_) | None => return Err(self.refuse(&account, login.from)),
        };
        match self.take_code(&user.id, proof.code).await? {
            Taken::Good => {}
            Taken::Needed => {
                return Err(code_needed());
            }
            Taken::Wrong => return Err(self.refuse(&account, login.from)),
        }
        self.passed(&account, login.from);
        self.open_session(user, login).await
    }

    /// Takes a session on: the refresh token is good once. One that was used before ends the session, because somebody else
    /// has it too.
    pub async fn refresh(&self, token: &str, from: Option<IpAddr>) -> Result<Tokens, PlatformError> {
        let now = clock::now();
        let claims = self.signing_keys().await?.verify(Use::Refresh, token, now).map_err(refused)?;
        let ttl = self.parts().settings.borrow().auth.refresh_token_ttl;
        let expires_at = later(now, ttl);
        let Claims { user, session, generation, .. } = claims;
        let advance = move |store: &Store| {
            let refreshed = store.refresh_session((&user, &session), generation, now, expires_at)?;
            Ok((refreshed, store.user(&user)?))
        };
        match self.parts().store.call(advance).await? {
            (Refreshed::Next(session), Some(user)) => self.tokens(user, &session).await,
            (Refreshed::Replayed(session), user) => {
                self.rights_changed();
                if let Some(user) = user {
                    let by = self.actor(&user, None, from);
                    let said = format!("a refresh token of {} was used twice: session ended", session.agent);
                    self.event(&by, None, "session:replayed", said);
                }
                Err(refused(TokenError::Invalid))
            }
            (Refreshed::Next(_) | Refreshed::Gone, _) => Err(refused(TokenError::Invalid)),
        }
    }

    /// Who shows an access token, and the session that it belongs to.
    pub async fn authenticate_token(
        &self,
        token: &str,
        from: Option<IpAddr>,
    ) -> Result<(Actor, SessionId), PlatformError> {
        let claims = self.signing_keys().await?.verify(Use::Access, token, clock::now()).map_err(refused)?;
        let (user, session) = (claims.user.clone(), claims.session.clone());
        let read = move |store: &Store| {
            Ok(match store.session(&user, &session)? {
                Some(_) => store.user(&user)?,
                None => None,
            })
        };
        let found = self.parts().store.call(read).await?;
        let user = found.ok_or_else(|| refused(TokenError::Invalid))?;
        Ok((self.actor(&user, None, from), claims.session))
    }

    /// Opens a session for somebody who has proved who they are.
    pub(crate) async fn open_session(&self, user: User, login: &Login) -> Result<Tokens, PlatformError> {
        let now = clock::now();
        let ttl = self.parts().settings.borrow().auth.refresh_token_ttl;
        let session = Session {
            id: uuid::Uuid::now_v7().to_string().parse()?,
            user: user.id.clone(),
            agent: login.agent.chars().filter(|c| !c.is_control()).take(AGENT_CHARS_MAX).collect(),
            generation: 0,
            created_at: now,
            used_at: now,
            expires_at: later(now, ttl),
        };
        let record = session.clone();
        self.parts().store.call(move |store: &Store| store.create_session(&record)).await?;
        self.event(&self.actor(&user, None, login.from), None, "session:open", session.agent.clone());
        self.tokens(user, &session).await
    }

    async fn tokens(&self, user: User, session: &Session) -> Result<Tokens, PlatformError> {
        let (access_ttl, refresh_ttl) = {
            let settings = self.parts().settings.borrow();
            (settings.auth.access_token_ttl, settings.auth.refresh_token_ttl)
        };
        let keys = self.signing_keys().await?;
        let now = clock::now();
        let issue = |for_use, ttl| {
            let token = keys.issue(for_use, (&user.id, &session.id, session.generation), now, ttl);
            token
                .map(Secret::new)
                .map_err(|error| PlatformError::internal("a token cannot be signed", &error))
        };
        let (access, refresh) = (issue(Use::Access, access_ttl)?, issue(Use::Refresh, refresh_ttl)?);
        Ok(Tokens { access, access_ttl, refresh, refresh_ttl, user })
    }

    async fn account_of(&self, email: &str) -> Result<Option<(User, Credentials)>, PlatformError> {
        let email = email.to_owned();
        let read = move |store: &Store| {
            let Some(user) = store.user_by_email(&email)? else { return Ok(None) };
            let credentials = store.credentials(&user.id)?;
            Ok(Some((user, credentials)))
        };
        Ok(self.parts().store.call(read).await?)
    }

    pub(crate) async fn take_code(
        &self,
        user: &UserId,
        code: Option<String>,
    ) -> Result<Taken, PlatformError> {
        let (user, now) = (user.clone(), clock::now());
        let take = move |store: &Store| {
            store.update_credentials(&user, |credentials| match (&mut credentials.totp, code) {
                (None, _) => Taken::Good,
                (Some(_), None) => Taken::Needed,
                (Some(factor), Some(code)) => {
                    if totp::take(factor, &code, now) {
                        Taken::Good
                    } else {
                        Taken::Wrong
                    }
                }
            })
        };
        Ok(self.parts().store.call(take).await?)
    }

    /// Counts it, and says the same for whatever was wrong.
    fn refuse(&self, account: &str, from: Option<IpAddr>) -> PlatformError {
        self.failed_attempt(account, from);
        PlatformError::new(ErrorKind::Unauthenticated, "address, password or code is wrong")
    }

    /// A user as one who acts; `with` says which of their keys was shown.
    pub(crate) fn actor(&self, user: &User, with: Option<&str>, from: Option<IpAddr>) -> Actor {
        let name = match with {
            Some(key) => format!("{} ({key})", user.email),
            None => user.email.clone(),
        };
        Actor { user: user.id.clone(), is_admin: user.is_admin, name, from, reach: Reach::Full }
    }
}

/// What came of the code of a second factor.
pub(crate) enum Taken {
    Good,
    Needed,
    Wrong,
}

/// What somebody is told who has a second factor and shows none.
pub(crate) fn code_needed() -> PlatformError {
    PlatformError::new(ErrorKind::CodeNeeded, "this account has a second factor")
        .hint("send the code that your authenticator shows, or a recovery code")
}

/// What a token is refused with.
fn refused(error: TokenError) -> PlatformError {
    let (message, hint) = match error {
        TokenError::Expired => ("the token has expired", "refresh it, or log in again"),
        TokenError::Invalid | TokenError::Unsigned => ("the token is not valid", "log in again"),
    };
    PlatformError::new(ErrorKind::Unauthenticated, message).hint(hint)
}

pub(crate) fn later(now: autostack_domain::UnixMillis, by: Duration) -> autostack_domain::UnixMillis {
    let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    autostack_domain::UnixMillis(now.0.saturating_add(millis))
}
