//! Sign-in by a provider of identities. Whoever a provider vouches for comes in as the user whom that account is linked to;
//! an account that nobody is linked to is linked by an address that both sides have proved, or makes a new user where the host
//! takes one.
//!
//! An address alone opens nothing here: somebody may have made an account with the address of somebody else, to wait for
//! them in it. Such an account is linked by its owner, who is logged in.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use autostack_base::{clock, settings::Signup};
use autostack_domain::{
    Secret, TokenId, User, UserId,
    account::{Credentials, LinkedAccount, Provider, SecretDigest},
    permission::Actor,
    user::normal_email,
};
use autostack_identity::opaque::{Kind, Opaque};
use autostack_oauth::{Identity, OauthError};
use autostack_store::{Store, StoreError};

use super::{
    api_keys::{check_full, new_opaque},
    login::{Login, Taken, Tokens},
};
use crate::{
    error::{ErrorKind, PlatformError},
    platform::Platform,
};

/// How long somebody may take at the provider.
const SIGN_IN_TTL: Duration = Duration::from_secs(600);
/// How long somebody may take to type a code afterwards.
const CODE_TTL: Duration = Duration::from_secs(300);
/// Sign-ins that are under way at once.
const SIGN_INS_MAX: usize = 10_000;

/// Sign-ins that are under way.
#[derive(Default)]
pub(crate) struct SignIns {
    away: Mutex<HashMap<String, Away>>,
    waiting: Mutex<HashMap<TokenId, Waiting>>,
}

/// Somebody who is at the provider.
struct Away {
    provider: Provider,
    verifier: Secret<String>,
    browser: SecretDigest,
    /// Who is logged in here, and wants that account as another way in.
    link_to: Option<UserId>,
    until: Instant,
}

/// Somebody who has come back, and has a second factor here.
struct Waiting {
    user: User,
    digest: SecretDigest,
    until: Instant,
}

/// What a browser goes to a provider with.
#[derive(Debug)]
pub struct Departure {
    /// Where it goes.
    pub url: String,
    /// What it shows when it comes back: no other browser can end what it has begun.
    pub browser: Secret<String>,
    /// How long it may take.
    pub ttl: Duration,
}

/// What a browser comes back with from a provider.
#[derive(Debug)]
pub struct Return<'a> {
    /// The sign-in that it ends.
    pub state: &'a str,
    /// What the provider gave it.
    pub code: &'a str,
    /// What it was given here.
    pub browser: Option<&'a str>,
}

/// What came of it.
#[derive(Debug)]
pub enum Arrival {
    /// They are in.
    In(Box<Tokens>),
    /// They have a second factor: this and a code of it let them in.
    CodeNeeded(Secret<String>),
    /// The account is another way in from now on.
    Linked,
    /// No such sign-in was begun, or it has ended, is too old, or was begun in another browser. Nothing was asked of the
    /// provider.
    Stale,
}

impl SignIns {
    fn away(&self) -> MutexGuard<'_, HashMap<String, Away>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<TokenId, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Platform {
    /// Sends a browser to a provider; with an actor, to link an account there to theirs.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where the host does not know that provider; [`ErrorKind::Busy`] where it does not answer.
    pub async fn begin_sign_in(
        &self,
        provider: Provider,
        link_to: Option<&Actor>,
    ) -> Result<Departure, PlatformError> {
        if let Some(actor) = link_to {
            check_full(actor, "link an account elsewhere")?;
        }
        let settings = self.provider(provider)?;
        let begun = autostack_oauth::begin(&settings, &self.callback(provider)).await;
        let begun = begun.map_err(|error| trouble(provider, &error))?;
        let opaque = new_opaque()?;
        let now = Instant::now();
        let away = Away {
            provider,
            verifier: begun.verifier,
            browser: opaque.digest(),
            link_to: link_to.map(|actor| actor.user.clone()),
            until: now + SIGN_IN_TTL,
        };
        let mut all = self.0.sign_ins.away();
        all.retain(|_, away| away.until > now);
        if all.len() >= SIGN_INS_MAX {
            return Err(too_many());
        }
        all.insert(begun.state.expose().clone(), away);
        Ok(Departure { url: begun.url, browser: opaque.reveal(Kind::Ticket), ttl: SIGN_IN_TTL })
    }

    /// Takes a browser that comes back from a provider. A sign-in ends once, and in the browser that has begun it.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`] for a code that the provider does not know; [`ErrorKind::Denied`] for somebody whom this host lets nobody in as.
    pub async fn end_sign_in(
        &self,
        provider: Provider,
        back: Return<'_>,
        login: &Login,
    ) -> Result<Arrival, PlatformError> {
        let away = self.0.sign_ins.away().remove(back.state);
        let browser = back.browser.and_then(|shown| Opaque::parse(Kind::Ticket, shown).ok());
        let fits = |away: &Away| {
            away.provider == provider
                && away.until > Instant::now()
                && browser.as_ref().is_some_and(|browser| browser.fits(&away.browser))
        };
        let Some(away) = away.filter(fits) else { return Ok(Arrival::Stale) };
        let settings = self.provider(provider)?;
        let who =
            autostack_oauth::finish(&settings, &self.callback(provider), back.code, &away.verifier).await;
        let who = who.map_err(|error| trouble(provider, &error))?;
        match away.link_to {
            Some(user) => self.link(provider, who, user, login).await,
            None => self.sign_in(provider, who, login).await,
        }
    }

    /// Lets somebody in who was told that a code is needed.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`] for a wrong code, and for a ticket that is used up or too old.
    pub async fn end_with_code(
        &self,
        ticket: &str,
        code: String,
        login: &Login,
    ) -> Result<Tokens, PlatformError> {
        let over = || {
            PlatformError::new(ErrorKind::Unauthenticated, "the code is wrong, or came too late")
                .hint("sign in again")
        };
        let shown = Opaque::parse(Kind::Ticket, ticket).map_err(|_| over())?;
        // Good for one attempt: who has a second one has signed in a second time.
        let waiting = self.0.sign_ins.waiting().remove(&shown.id);
        let fits = |waiting: &Waiting| shown.fits(&waiting.digest) && waiting.until > Instant::now();
        let user = waiting.filter(fits).ok_or_else(over)?.user;
        self.check_attempts(&user.email, login.from)?;
        match self.take_code(&user.id, Some(code)).await? {
            Taken::Good => self.open_session(user, login).await,
            Taken::Needed | Taken::Wrong => {
                self.failed_attempt(&user.email, login.from);
                Err(over())
            }
        }
    }

    /// Takes an account elsewhere away as a way in.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] without one; [`ErrorKind::Conflict`] where it is the only way in.
    pub async fn unlink(&self, actor: &Actor, provider: Provider) -> Result<(), PlatformError> {
        check_full(actor, "unlink an account elsewhere")?;
        let account = self.account(actor).await?;
        if !account.linked.contains(&provider) {
            let message = format!("no account at {provider} is linked to yours");
            return Err(PlatformError::new(ErrorKind::NotFound, message));
        }
        if !account.has_password && account.linked.iter().all(|linked| *linked == provider) {
            return Err(PlatformError::new(ErrorKind::Conflict, "it is the only way in that you have")
                .hint("set a password first"));
        }
        let user = actor.user.clone();
        self.parts().store.call(move |store: &Store| store.unlink_accounts(&user, provider)).await?;
        self.event(actor, None, "account:unlink", provider.to_string());
        Ok(())
    }

    async fn link(
        &self,
        provider: Provider,
        who: Identity,
        user: UserId,
        login: &Login,
    ) -> Result<Arrival, PlatformError> {
        let found = user.clone();
        let found = self.parts().store.call(move |store: &Store| store.user(&found)).await?;
        let owner = found
            .ok_or_else(|| PlatformError::new(ErrorKind::Unauthenticated, "you are not known any more"))?;
        self.keep_link(provider, &who, user).await?;
        let said = format!("{provider} ({})", who.name);
        self.event(&self.actor(&owner, None, login.from), None, "account:link", said);
        Ok(Arrival::Linked)
    }

    async fn sign_in(
        &self,
        provider: Provider,
        who: Identity,
        login: &Login,
    ) -> Result<Arrival, PlatformError> {
        let subject = who.subject.clone();
        let linked = move |store: &Store| match store.linked_account(provider, &subject)? {
            Some(account) => store.user(&account.user),
            None => Ok(None),
        };
        let user = match self.parts().store.call(linked).await? {
            Some(user) => user,
            None => self.newcomer(provider, who, login).await?,
        };
        match self.take_code(&user.id, None).await? {
            Taken::Needed => Ok(Arrival::CodeNeeded(self.wait_for_code(user)?)),
            Taken::Good | Taken::Wrong => Ok(Arrival::In(Box::new(self.open_session(user, login).await?))),
        }
    }

    /// Whom somebody is who was never here by that account.
    async fn newcomer(
        &self,
        provider: Provider,
        who: Identity,
        login: &Login,
    ) -> Result<User, PlatformError> {
        let Some(email) = who.verified_email.as_deref() else {
            let message = format!("{provider} does not vouch for an address of yours");
            return Err(PlatformError::new(ErrorKind::Denied, message)
                .hint(format!("prove your primary address at {provider}, then sign in again")));
        };
        let email = normal_email(email)?;
        let user = match self.user_with(&email).await? {
            Some(user) if user.email_verified_at.is_some() => user,
            Some(_) => {
                let message = "there is an account with your address, and nobody has proved that it is yours";
                return Err(PlatformError::new(ErrorKind::Denied, message).hint(format!(
                    "log in with its password, then link {provider}: POST /api/user/me/linked/{provider}"
                )));
            }
            None => self.welcome(&email, login).await?,
        };
        self.keep_link(provider, &who, user.id.clone()).await?;
        let said = format!("{provider} ({})", who.name);
        self.event(&self.actor(&user, None, login.from), None, "account:link", said);
        Ok(user)
    }

    /// Makes a user of somebody whose address a provider vouches for, where the host takes them.
    async fn welcome(&self, email: &str, login: &Login) -> Result<User, PlatformError> {
        let (signup, now) = (self.parts().settings.borrow().auth.signup, clock::now());
        let invitations = self.parts().store.call(|store: &Store| store.invitations()).await?;
        let invitation = invitations.into_iter().find(|one| one.email == email && one.expires_at > now);
        match (signup, &invitation) {
            (Signup::Open, _) | (Signup::Invite, Some(_)) => {}
            (Signup::Invite | Signup::Closed, _) => {
                return Err(PlatformError::new(
                    ErrorKind::Denied,
                    "this host makes no account for your address",
                )
                .hint("ask an admin of the host for an invitation"));
            }
        }
        let user = User {
            id: uuid::Uuid::now_v7().to_string().parse()?,
            email: email.to_owned(),
            is_admin: invitation.as_ref().is_some_and(|invitation| invitation.is_admin),
            created_at: now,
            name: None,
            email_verified_at: Some(now),
        };
        let (record, invitation) = (user.clone(), invitation.map(|invitation| invitation.id));
        let keep = move |store: &Store| store.sign_up(&record, &Credentials::default(), invitation.as_ref());
        match self.parts().store.call(keep).await {
            Err(StoreError::Exists { .. } | StoreError::NotFound { .. }) => {
                let message = "somebody has just made an account with this address";
                return Err(PlatformError::new(ErrorKind::Conflict, message).hint("sign in again"));
            }
            other => other?,
        }
        self.event(&self.actor(&user, None, login.from), None, "account:add", user.email.clone());
        Ok(user)
    }

    async fn keep_link(&self, provider: Provider, who: &Identity, user: UserId) -> Result<(), PlatformError> {
        let account = LinkedAccount {
            provider,
            subject: who.subject.clone(),
            name: who.name.clone(),
            user,
            created_at: clock::now(),
        };
        let keep = move |store: &Store| {
            let known = store.linked_account(account.provider, &account.subject)?;
            if known.is_some_and(|known| known.user == account.user) {
                return Ok(());
            }
            store.link_account(&account)
        };
        match self.parts().store.call(keep).await {
            Err(StoreError::Exists { .. }) => {
                let message = format!("that account at {provider} lets somebody else in already");
                Err(PlatformError::new(ErrorKind::Conflict, message))
            }
            other => Ok(other?),
        }
    }

    fn wait_for_code(&self, user: User) -> Result<Secret<String>, PlatformError> {
        let (opaque, now) = (new_opaque()?, Instant::now());
        let mut all = self.0.sign_ins.waiting();
        all.retain(|_, waiting| waiting.until > now);
        if all.len() >= SIGN_INS_MAX {
            return Err(too_many());
        }
        all.insert(opaque.id.clone(), Waiting { user, digest: opaque.digest(), until: now + CODE_TTL });
        Ok(opaque.reveal(Kind::Ticket))
    }

    fn provider(&self, provider: Provider) -> Result<autostack_oauth::Settings, PlatformError> {
        let settings = self.parts().settings.borrow();
        let found = match provider {
            Provider::Github => settings.github.clone().map(autostack_oauth::Settings::Github),
            Provider::Google => settings.google.clone().map(autostack_oauth::Settings::Google),
        };
        found.ok_or_else(|| {
            let message = format!("this host knows nobody by {provider}");
            PlatformError::new(ErrorKind::NotFound, message)
                .hint(format!("who runs it sets {provider}.client_id and {provider}.client_secret"))
        })
    }

    fn callback(&self, provider: Provider) -> String {
        format!("{}/api/auth/{provider}/callback", self.api_url())
    }
}

fn too_many() -> PlatformError {
    PlatformError::new(ErrorKind::Busy, "too many people sign in at this moment")
        .hint("try again in a minute")
}

fn trouble(provider: Provider, error: &OauthError) -> PlatformError {
    let told = autostack_base::error_chain(error);
    match error {
        OauthError::Refused { .. } => {
            PlatformError::new(ErrorKind::Unauthenticated, told).hint("begin again")
        }
        _ => {
            tracing::warn!(%provider, error = told, "a sign-in failed at its provider");
            PlatformError::new(ErrorKind::Busy, format!("{provider} does not answer as it should"))
                .hint("try again; if it stays, who runs the host finds the reason in the agent's log")
        }
    }
}
