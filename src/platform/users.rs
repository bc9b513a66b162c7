//! Users: made by the operator on the host, or by an admin who lets somebody's key in.

use autostack_base::clock;
use autostack_domain::{
    Invalid, Secret, UserId,
    user::{User, normal_email},
};
use autostack_identity::password::Password;
use autostack_store::Store;

use crate::{
    error::{ErrorKind, PlatformError},
    platform::Platform,
};

/// Where a user lives who was named without an address.
const HOST: &str = "localhost";

/// The address that is meant: `bob` is `bob@localhost`.
pub(crate) fn address_of(given: &str) -> Result<String, Invalid> {
    if given.contains('@') { normal_email(given) } else { normal_email(&format!("{given}@{HOST}")) }
}

/// An address as people say it: `bob@localhost` is `bob`.
pub(crate) fn short_name(email: &str) -> &str {
    email.strip_suffix(HOST).and_then(|name| name.strip_suffix('@')).unwrap_or(email)
}

impl Platform {
    /// Makes a user. The caller has proof that it is the operator, or that an admin asks.
    pub async fn add_user(&self, email: &str, is_admin: bool) -> Result<User, PlatformError> {
        let email = normal_email(email)?;
        let user = User {
            id: new_user_id()?,
            email,
            is_admin,
            created_at: clock::now(),
            name: None,
            email_verified_at: None,
        };
        let record = user.clone();
        let taken = move |store: &Store| {
            if store.user_by_email(&record.email)?.is_some() {
                return Ok(true);
            }
            store.create_user(&record).map(|()| false)
        };
        if self.parts().store.call(taken).await? {
            return Err(PlatformError::new(
                ErrorKind::Conflict,
                format!("there is a user {} already", user.email),
            ));
        }
        Ok(user)
    }

    /// Makes a user who can come in by password. The caller has proof that it is the operator. The password comes back where
    /// none was given, and one was made.
    pub async fn add_user_with_password(
        &self,
        email: &str,
        is_admin: bool,
        password: Option<Secret<String>>,
    ) -> Result<(User, Option<Secret<String>>), PlatformError> {
        let address = normal_email(email)?;
        // Before there is a user without one.
        if let Some(password) = &password {
            Password::new(password.expose().clone(), &address)?;
        }
        let user = self.add_user(email, is_admin).await?;
        let made = self.give_password(&user, password).await?;
        Ok((user, made))
    }

    /// Gives a user another password and ends their sessions. The caller has proof that it is the operator. The password
    /// comes back where none was given, and one was made.
    pub async fn reset_password(
        &self,
        email: &str,
        password: Option<Secret<String>>,
    ) -> Result<Option<Secret<String>>, PlatformError> {
        let user = self.user_with(&normal_email(email)?).await?;
        let user = user.ok_or_else(|| {
            PlatformError::new(ErrorKind::NotFound, format!("there is no user {email}"))
                .hint(format!("make one: autostack admin user add {email}"))
        })?;
        let made = self.give_password(&user, password).await?;
        let id = user.id.clone();
        self.parts().store.call(move |store: &Store| store.remove_sessions(&id, None)).await?;
        self.rights_changed();
        Ok(made)
    }

    async fn give_password(
        &self,
        user: &User,
        given: Option<Secret<String>>,
    ) -> Result<Option<Secret<String>>, PlatformError> {
        if let Some(given) = given {
            self.set_password(user, &given).await?;
            return Ok(None);
        }
        let made = Password::generate()
            .map_err(|error| PlatformError::internal("a password cannot be made", &error))?;
        self.set_password(user, made.reveal()).await?;
        Ok(Some(made.reveal().clone()))
    }

    /// The user with an address.
    pub(crate) async fn user_with(&self, email: &str) -> Result<Option<User>, PlatformError> {
        let email = email.to_owned();
        Ok(self.parts().store.call(move |store| store.user_by_email(&email)).await?)
    }
}

fn new_user_id() -> Result<UserId, PlatformError> {
    Ok(uuid::Uuid::now_v7().to_string().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_address_lives_on_this_host() {
        assert_eq!(address_of("bob").unwrap(), "bob@localhost");
        assert_eq!(address_of("Bob@Example.com").unwrap(), "bob@example.com");
        assert!(address_of("").is_err() && address_of("a b").is_err() && address_of("a\u{1b}").is_err());
        assert_eq!(short_name("bob@localhost"), "bob");
        assert_eq!(short_name("bob@example.com"), "bob@example.com");
    }
}
