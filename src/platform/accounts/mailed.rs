//! Links in mails: proof that an address is somebody's, and another password for who has forgotten theirs. A link is good once,
//! and for a while.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use autostack_base::{clock, error_chain, settings::MailSettings};
use autostack_domain::{
    Secret, User,
    account::{LinkPurpose, MailedLink},
    permission::Actor,
    user::normal_email,
};
use autostack_identity::opaque::{Kind, Opaque};
use autostack_identity::password::Password;
use autostack_mail::Mail;
use autostack_store::Store;

use super::{
    api_keys::{check_full, new_opaque},
    login::later,
    sign_up::InvitationView,
};
use crate::{
    error::{ErrorKind, PlatformError},
    platform::Platform,
};

/// How long an address can be proved by one mail.
const VERIFY_TTL: Duration = Duration::from_secs(24 * 3600);
/// How long a new password can be set by one mail.
const RESET_TTL: Duration = Duration::from_secs(3600);
/// Pauses before a mail is handed to its server, for the first time and again.
const TRIES: [Duration; 4] =
    [Duration::ZERO, Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(180)];

/// What became of the last mail: why it was not taken.
#[derive(Default)]
pub(crate) struct Mailing(Mutex<Option<String>>);

impl Mailing {
    fn note(&self, failure: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// Why the last mail was not taken.
    pub(crate) fn failure(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Platform {
    /// Where browsers reach the API: by `api.url`, else by its host name, else by its address. Without a slash at its end.
    pub fn api_url(&self) -> String {
        let settings = self.parts().settings.borrow();
        let addresses = self.0.addresses;
        match (&settings.api.url, &settings.api.hostname) {
            (Some(url), _) => url.as_str().to_owned(),
            (None, Some(host)) => format!("http://{host}:{}", addresses.http.port()),
            (None, None) => format!("http://{}", addresses.api),
        }
    }

    /// Sends the actor a mail that proves their address.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] where it is proved already, or the host sends no mail; [`ErrorKind::TooMany`].
    pub async fn ask_for_verification(&self, actor: &Actor) -> Result<(), PlatformError> {
        check_full(actor, "prove an address")?;
        let id = actor.user.clone();
        let user = self.parts().store.call(move |store: &Store| store.user(&id)).await?;
        let user =
            user.ok_or_else(|| PlatformError::new(ErrorKind::Unauthenticated, "you are not known any more"))?;
        if user.email_verified_at.is_some() {
            return Err(PlatformError::new(ErrorKind::Conflict, "the address is proved already"));
        }
        let settings = self.mail_settings()?;
        self.count_attempt(&format!("verify {}", user.email), None)?;
        self.mail_verification(settings, &user).await
    }

    /// Sends a new user a mail that proves their address, where the host sends mail.
    pub(crate) async fn greet(&self, user: &User) {
        let Ok(settings) = self.mail_settings() else { return };
        if let Err(error) = self.mail_verification(settings, user).await {
            tracing::warn!(%error, "an address cannot be proved");
        }
    }

    async fn mail_verification(&self, settings: MailSettings, user: &User) -> Result<(), PlatformError> {
        let secret = self.make_link(user, LinkPurpose::VerifyEmail, VERIFY_TTL).await?;
        let url = self.api_url();
        let text = format!(
            "Somebody, most likely you, gave this address at {url}.\n\nTo prove that it is yours, open\n\n    \
             {url}/api/auth/verify-email?token={}\n\nwithin 24 hours. If it was not you, do nothing.\n",
            secret.expose()
        );
        let (to, subject) = (user.email.clone(), "Is this address yours?".to_owned());
        self.post(settings, Mail { to, subject, text });
        Ok(())
    }

    /// Takes the proof of an address.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`] for a link that is used, over, or none.
    pub async fn verify_email(&self, link: &str, from: Option<IpAddr>) -> Result<(), PlatformError> {
        let link = self.take_link(link, LinkPurpose::VerifyEmail).await?;
        let user = self.mark_verified(&link).await?;
        self.event(&self.actor(&user, None, from), None, "account:verify", user.email.clone());
        Ok(())
    }

    /// Sends whoever has this address a mail that sets a new password. It is answered at once and alike, whether there is an
    /// account or not: nobody learns who has one.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] where the host sends no mail; [`ErrorKind::TooMany`] from one address.
    pub fn ask_for_password(&self, email: &str, from: Option<IpAddr>) -> Result<(), PlatformError> {
        let settings = self.mail_settings()?;
        let email = normal_email(email)?;
        self.count_attempt("forgotten password", from)?;
        let platform = self.clone();
        self.parts().tasks.spawn("forgotten password", async move {
            // Nobody's mailbox is to be filled by others.
            if platform.count_attempt(&format!("forgotten {email}"), None).is_err() {
                return;
            }
            if let Err(error) = platform.mail_reset(settings, &email).await {
                tracing::warn!(%error, "a mail for a forgotten password cannot be made");
            }
        });
        Ok(())
    }

    async fn mail_reset(&self, settings: MailSettings, email: &str) -> Result<(), PlatformError> {
        let Some(user) = self.user_with(email).await? else { return Ok(()) };
        let secret = self.make_link(&user, LinkPurpose::ResetPassword, RESET_TTL).await?;
        let url = self.api_url();
        let text = format!(
            "Somebody, most likely you, has forgotten the password of {email} at {url}.\n\nTo set another one, open\n\n    \
             {url}/api/auth/reset-password?token={}\n\nwithin an hour. If it was not you, do nothing: your password stays \
             as it is.\n",
            secret.expose()
        );
        self.post(settings, Mail { to: user.email, subject: "A new password".to_owned(), text });
        Ok(())
    }

    /// Sets the password of who has had the mail. All their sessions end; a second factor stays. The address is proved by it.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`] for a link that is used, over, or none; [`ErrorKind::Invalid`] for a weak password,
    /// and the link is still good then.
    pub async fn set_forgotten_password(
        &self,
        link: &str,
        password: &Secret<String>,
        from: Option<IpAddr>,
    ) -> Result<(), PlatformError> {
        // Before the link is used up; that it is not the address is looked at when whose it is is known.
        Password::new(password.expose().clone(), "")?;
        let link = self.take_link(link, LinkPurpose::ResetPassword).await?;
        let user = self.mark_verified(&link).await?;
        self.set_password(&user, password).await?;
        let id = user.id.clone();
        self.parts().store.call(move |store: &Store| store.remove_sessions(&id, None)).await?;
        self.rights_changed();
        self.event(&self.actor(&user, None, from), None, "account:password", "by a mail");
        Ok(())
    }

    /// Tells somebody that they are invited, where the host sends mail. Whether it does.
    pub(crate) fn mail_invitation(&self, invitation: &InvitationView, secret: &Secret<String>) -> bool {
        let Ok(settings) = self.mail_settings() else { return false };
        let url = self.api_url();
        let text = format!(
            "You are invited to {url}.\n\nTo make your account, open\n\n    {url}/api/auth/signup?invitation={}\n\nwithin 7 days. It \
             is good once, and for this address only.\n",
            secret.expose()
        );
        self.post(
            settings,
            Mail { to: invitation.email.clone(), subject: "You are invited".to_owned(), text },
        );
        true
    }

    /// The settings of mail.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] where there are none.
    fn mail_settings(&self) -> Result<MailSettings, PlatformError> {
        let settings = self.parts().settings.borrow().mail.clone();
        settings.ok_or_else(|| {
            PlatformError::new(ErrorKind::Conflict, "this host sends no mail")
                .hint("ask who runs it: mail.host names a mail server; `autostack admin user password EMAIL` sets a password")
        })
    }

    async fn make_link(
        &self,
        user: &User,
        purpose: LinkPurpose,
        ttl: Duration,
    ) -> Result<Secret<String>, PlatformError> {
        let (opaque, now) = (new_opaque()?, clock::now());
        let link = MailedLink {
            id: opaque.id.clone(),
            user: user.id.clone(),
            email: user.email.clone(),
            purpose,
            digest: opaque.digest(),
            expires_at: later(now, ttl),
        };
        self.parts().store.call(move |store: &Store| store.add_link(&link, now)).await?;
        Ok(opaque.reveal(Kind::MailedLink))
    }

    async fn take_link(&self, secret: &str, purpose: LinkPurpose) -> Result<MailedLink, PlatformError> {
        let over = || {
            PlatformError::new(ErrorKind::Unauthenticated, "the link is used up, too old, or not whole")
                .hint("ask for another mail")
        };
        let opaque = Opaque::parse(Kind::MailedLink, secret).map_err(|_| over())?;
        let now = clock::now();
        let take = move |store: &Store| {
            let fits = |link: &MailedLink| opaque.fits(&link.digest) && link.expires_at > now;
            store.take_link(&opaque.id, purpose, fits)
        };
        self.parts().store.call(take).await?.ok_or_else(over)
    }

    /// Whoever follows a link reads the mails of its address.
    async fn mark_verified(&self, link: &MailedLink) -> Result<User, PlatformError> {
        let (id, email, now) = (link.user.clone(), link.email.clone(), clock::now());
        let mark = move |store: &Store| {
            store.update_user(&id, |user| {
                if user.email == email {
                    user.email_verified_at.get_or_insert(now);
                }
            })
        };
        Ok(self.parts().store.call(mark).await?)
    }

    /// Hands a mail to the server in the background, a few times where it is not taken at once.
    fn post(&self, settings: MailSettings, mail: Mail) {
        let platform = self.clone();
        let stop = self.parts().tasks.shutdown_token();
        self.parts().tasks.spawn("mail", async move {
            for pause in TRIES {
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(pause) => {}
                }
                let sent = tokio::select! {
                    () = stop.cancelled() => break,
                    sent = autostack_mail::send(&settings, &mail) => sent,
                };
                match sent {
                    Ok(()) => return platform.0.mailing.note(None),
                    Err(error) => {
                        tracing::warn!(
                            error = error_chain(&error),
                            subject = mail.subject,
                            "a mail was not taken"
                        );
                        platform.0.mailing.note(Some(error_chain(&error)));
                        if !error.is_passing() {
                            return;
                        }
                    }
                }
            }
        });
    }
}
