//! Accounts that people make for themselves, where the host lets them: openly, or by an invitation.

use std::time::Duration;

use autostack_base::{clock, settings::Signup};
use autostack_domain::{
    AppName, Secret, TokenId, UnixMillis, User,
    account::{Credentials, Invitation},
    permission::{Action, Actor, Role, allows},
    user::normal_email,
};
use autostack_identity::{
    opaque::{Kind, Opaque},
    password::Password,
};
use autostack_store::{Store, StoreError};
use serde::Serialize;

use super::{
    api_keys::new_opaque,
    login::{Login, Tokens, later},
    profile::checked_name,
};
use crate::{
    error::{ErrorKind, PlatformError},
    platform::Platform,
};

/// How long an invitation is good for.
const INVITATION_TTL: Duration = Duration::from_secs(7 * 24 * 3600);
/// The name under which attempts to sign up are counted; no address has its form.
const SIGN_UPS: &str = "sign-up";

/// An account that somebody wants.
#[derive(Debug)]
pub struct NewAccount {
    /// The address.
    pub email: String,
    /// The password.
    pub password: Secret<String>,
    /// What they are called.
    pub name: Option<String>,
    /// The secret of an invitation.
    pub invitation: Option<Secret<String>>,
}

/// Somebody who is to be let in.
#[derive(Debug, Clone)]
pub struct NewInvitation {
    /// The only address that it is good for.
    pub email: String,
    /// Whether they are to run the whole platform.
    pub is_admin: bool,
    /// A role on an app that they get.
    pub role: Option<(AppName, Role)>,
}

/// An invitation as admins see it: without its secret, which nobody reads again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct InvitationView {
    /// Its id.
    pub id: TokenId,
    /// The only address that it is good for.
    pub email: String,
    /// Whether they are to run the whole platform.
    pub is_admin: bool,
    /// The app that they get a role on.
    pub app: Option<AppName>,
    /// That role.
    pub role: Option<Role>,
    /// Whether it was sent to the address just now.
    pub is_mailed: bool,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it ends.
    pub expires_at: UnixMillis,
}

impl Platform {
    /// Makes an account for somebody who asks for it, and lets them in.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] where the host takes nobody, or nobody without an invitation;
    /// [`ErrorKind::Unauthenticated`] for an invitation that is used, over, of another address or none.
    pub async fn sign_up(&self, wanted: NewAccount, login: &Login) -> Result<Tokens, PlatformError> {
        let signup = self.parts().settings.borrow().auth.signup;
        self.count_attempt(SIGN_UPS, login.from)?;
        match (signup, &wanted.invitation) {
            (Signup::Closed, _) => {
                return Err(PlatformError::new(
                    ErrorKind::Denied,
                    "this host makes accounts for nobody who asks",
                )
                .hint("ask an admin of the host: `autostack admin user add EMAIL` makes one"));
            }
            (Signup::Invite, None) => {
                return Err(PlatformError::new(
                    ErrorKind::Denied,
                    "this host makes accounts by invitation only",
                )
                .hint("ask an admin of the host for one"));
            }
            (Signup::Invite | Signup::Open, _) => {}
        }
        let email = normal_email(&wanted.email)?;
        let name = wanted.name.as_deref().map(checked_name).transpose()?;
        let password = Password::new(wanted.password.expose().clone(), &email)?;
        let now = clock::now();
        let invitation = match &wanted.invitation {
            Some(secret) => Some(self.invitation_for(secret.expose(), &email, now).await?),
            None => None,
        };
        let hash = self.with_password(move || password.hash()).await?;
        let hash = hash.map_err(|error| PlatformError::internal("the password cannot be hashed", &error))?;
        let user = User {
            id: uuid::Uuid::now_v7().to_string().parse()?,
            email,
            is_admin: invitation.as_ref().is_some_and(|invitation| invitation.is_admin),
            created_at: now,
            name,
            email_verified_at: None,
        };
        let credentials = Credentials { password: Some(hash), ..Credentials::default() };
        let (record, id) = (user.clone(), invitation.map(|invitation| invitation.id));
        let keep = move |store: &Store| store.sign_up(&record, &credentials, id.as_ref());
        match self.parts().store.call(keep).await {
            Err(StoreError::Exists { .. }) => {
                return Err(PlatformError::new(ErrorKind::Conflict, "this address has an account already")
                    .hint("log in, or ask for another password"));
            }
            Err(StoreError::NotFound { .. }) => return Err(not_invited()),
            other => other?,
        }
        self.event(&self.actor(&user, None, login.from), None, "account:add", user.email.clone());
        self.greet(&user).await;
        self.open_session(user, login).await
    }

    /// Invites somebody, by mail where the host sends any. The secret comes back this once: who has it, and the address, makes
    /// the account.
    pub async fn invite(
        &self,
        actor: &Actor,
        wanted: NewInvitation,
    ) -> Result<(InvitationView, Secret<String>), PlatformError> {
        check_host(actor)?;
        if self.parts().settings.borrow().auth.signup == Signup::Closed {
            let message = "nobody can take an invitation while auth.signup is \"closed\"";
            return Err(PlatformError::new(ErrorKind::Conflict, message)
                .hint("set auth.signup to \"invite\" in the settings file"));
        }
        let email = normal_email(&wanted.email)?;
        if self.user_with(&email).await?.is_some() {
            return Err(PlatformError::new(ErrorKind::Conflict, format!("{email} has an account already")));
        }
        if let Some((app, _)) = &wanted.role {
            self.check_right(actor, app, Action::ManageMembers, "decide who may use").await?;
        }
        let (opaque, now) = (new_opaque()?, clock::now());
        let invitation = Invitation {
            id: opaque.id.clone(),
            email,
            is_admin: wanted.is_admin,
            role: wanted.role,
            by: actor.user.clone(),
            digest: opaque.digest(),
            created_at: now,
            expires_at: later(now, INVITATION_TTL),
        };
        let record = invitation.clone();
        match self.parts().store.call(move |store: &Store| store.add_invitation(&record)).await {
            Err(StoreError::Conflict { why, .. }) => {
                return Err(PlatformError::new(ErrorKind::Conflict, format!("no more invitations: {why}")));
            }
            other => other?,
        }
        self.event(actor, None, "invitations:add", invitation.email.clone());
        let (mut invitation, secret) = (view(invitation), opaque.reveal(Kind::Invitation));
        invitation.is_mailed = self.mail_invitation(&invitation, &secret);
        Ok((invitation, secret))
    }

    /// The invitations that nobody has taken yet.
    pub async fn invitations(&self, actor: &Actor) -> Result<Vec<InvitationView>, PlatformError> {
        check_host(actor)?;
        let (all, now) = (self.parts().store.call(|store: &Store| store.invitations()).await?, clock::now());
        Ok(all.into_iter().filter(|invitation| invitation.expires_at > now).map(view).collect())
    }

    /// Takes an invitation back.
    pub async fn remove_invitation(
        &self,
        actor: &Actor,
        id: &TokenId,
    ) -> Result<InvitationView, PlatformError> {
        check_host(actor)?;
        let invitation = id.clone();
        match self.parts().store.call(move |store: &Store| store.remove_invitation(&invitation)).await {
            Ok(removed) => {
                self.event(actor, None, "invitations:remove", removed.email.clone());
                Ok(view(removed))
            }
            Err(StoreError::NotFound { .. }) => {
                Err(PlatformError::new(ErrorKind::NotFound, format!("there is no invitation {id}")))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn invitation_for(
        &self,
        secret: &str,
        email: &str,
        now: UnixMillis,
    ) -> Result<Invitation, PlatformError> {
        let opaque = Opaque::parse(Kind::Invitation, secret).map_err(|_| not_invited())?;
        let all = self.parts().store.call(|store: &Store| store.invitations()).await?;
        let fits = |invitation: &Invitation| {
            invitation.id == opaque.id
                && opaque.fits(&invitation.digest)
                && invitation.email == email
                && invitation.expires_at > now
        };
        all.into_iter().find(fits).ok_or_else(not_invited)
    }
}

fn check_host(actor: &Actor) -> Result<(), PlatformError> {
    if allows(actor, None, Action::ManageHost) {
        return Ok(());
    }
    Err(PlatformError::new(ErrorKind::Denied, "only admins of the platform may invite people"))
}

fn not_invited() -> PlatformError {
    PlatformError::new(ErrorKind::Unauthenticated, "the invitation is not good for this address (any more)")
        .hint("ask for another one")
}

fn view(invitation: Invitation) -> InvitationView {
    let (app, role) = invitation.role.unzip();
    InvitationView {
        id: invitation.id,
        email: invitation.email,
        is_admin: invitation.is_admin,
        app,
        role,
        is_mailed: false,
        created_at: invitation.created_at,
        expires_at: invitation.expires_at,
    }
}
