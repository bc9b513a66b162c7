//! The second factor of the actor: offered, confirmed by a first code, and taken away again.

use autostack_base::clock;
use autostack_domain::{Secret, account::Totp, permission::Actor};
use autostack_identity::totp;
use autostack_store::Store;

use super::{
    api_keys::check_full,
    login::{Taken, code_needed},
    profile::own_password,
};
use crate::{
    error::{ErrorKind, PlatformError},
    platform::Platform,
};

/// A second factor that is offered; shown once.
#[derive(Debug)]
pub struct SecondFactorOffer {
    /// The shared secret in base32, to type in.
    pub secret: Secret<String>,
    /// The same as an `otpauth://` address, to scan.
    pub url: Secret<String>,
}

impl Platform {
    /// Offers the actor a second factor; nothing changes before a code of it confirms it. The password is asked for again.
    pub async fn offer_second_factor(
        &self,
        actor: &Actor,
        password: &Secret<String>,
    ) -> Result<SecondFactorOffer, PlatformError> {
        check_full(actor, "change the second factor")?;
        let user = own_password(self, actor, password).await?;
        let host = self.parts().settings.borrow().domain.to_string();
        let offer = totp::offer(&host, &user.email)
            .map_err(|error| PlatformError::internal("a second factor cannot be made", &error))?;
        let (id, secret) = (user.id, offer.secret.expose().clone());
        let keep = move |store: &Store| {
            store.update_credentials(&id, |credentials| {
                if credentials.totp.is_some() {
                    return false;
                }
                credentials.totp_offered = Some(secret);
                true
            })
        };
        if !self.parts().store.call(keep).await? {
            let message = "the account has a second factor already";
            return Err(PlatformError::new(ErrorKind::Conflict, message).hint("remove it first"));
        }
        Ok(SecondFactorOffer { secret: offer.secret, url: offer.url })
    }

    /// Asks for the second factor again, before something is made that lets in without one. An account without one passes.
    ///
    /// # Errors
    /// [`ErrorKind::CodeNeeded`] without a code, [`ErrorKind::Denied`] for a wrong one, [`ErrorKind::TooMany`] after many.
    pub async fn check_code(&self, actor: &Actor, code: Option<String>) -> Result<(), PlatformError> {
        check_full(actor, "make a key")?;
        self.check_attempts(&actor.name, actor.from)?;
        match self.take_code(&actor.user, code).await? {
            Taken::Good => Ok(()),
            Taken::Needed => Err(code_needed()),
            Taken::Wrong => {
                self.failed_attempt(&actor.name, actor.from);
                Err(PlatformError::new(ErrorKind::Denied, "the code is wrong, or was used before"))
            }
        }
    }

    /// Confirms the second factor that was offered last by a code of it. Recovery codes come back, shown this once.
    pub async fn confirm_second_factor(
        &self,
        actor: &Actor,
        code: &str,
    ) -> Result<Vec<Secret<String>>, PlatformError> {
        check_full(actor, "change the second factor")?;
        self.check_attempts(&actor.name, actor.from)?;
        let (shown, kept) = totp::recovery_codes()
            .map_err(|error| PlatformError::internal("recovery codes cannot be made", &error))?;
        let (id, code, now) = (actor.user.clone(), code.to_owned(), clock::now());
        let confirm = move |store: &Store| {
            store.update_credentials(&id, |credentials| {
                let Some(secret) = credentials.totp_offered.clone() else { return Confirmed::NothingOffered };
                let Some(last_step) = totp::step_of(&secret, code.trim(), now) else {
                    return Confirmed::Wrong;
                };
                credentials.totp_offered = None;
                credentials.totp = Some(Totp { secret, last_step, recovery: kept });
                Confirmed::Done
            })
        };
        match self.parts().store.call(confirm).await? {
            Confirmed::Done => {}
            Confirmed::Wrong => {
                self.failed_attempt(&actor.name, actor.from);
                let message = "that is not the code of the second factor that was offered";
                return Err(PlatformError::new(ErrorKind::Invalid, message)
                    .hint("check the clock of the phone, and send the code that it shows now"));
            }
            Confirmed::NothingOffered => {
                let message = "no second factor was offered";
                return Err(PlatformError::new(ErrorKind::Conflict, message).hint("ask for one first"));
            }
        }
        self.event(actor, None, "totp:add", "");
        Ok(shown)
    }

    /// Takes the actor's second factor away. The password is asked for again.
    pub async fn remove_second_factor(
        &self,
        actor: &Actor,
        password: &Secret<String>,
    ) -> Result<(), PlatformError> {
        check_full(actor, "change the second factor")?;
        let user = own_password(self, actor, password).await?;
        let remove = move |store: &Store| {
            store.update_credentials(&user.id, |credentials| {
                credentials.totp_offered = None;
                credentials.totp.take().is_some()
            })
        };
        if !self.parts().store.call(remove).await? {
            return Err(PlatformError::new(ErrorKind::Conflict, "the account has no second factor"));
        }
        self.event(actor, None, "totp:remove", "");
        Ok(())
    }
}

enum Confirmed {
    Done,
    Wrong,
    NothingOffered,
}
