//! SSH keys: those that the operator on the host lets in, those that admins let in over SSH, and everybody's own.
//! Adding and removing one takes effect at once, also for connections that are open.

use autostack_base::clock;
use autostack_domain::{
    UnixMillis,
    permission::{Action, Actor, allows},
    user::{SshKeyRecord, User, normal_email},
};
use autostack_store::Store;
use serde::Serialize;
use ssh_key::{HashAlg, PublicKey};

use crate::{
    accounts::api_keys::check_full,
    error::{ErrorKind, PlatformError},
    key_line,
    platform::Platform,
    users::address_of,
};

/// The address of the admin that is made for a key without a user.
const OPERATOR_EMAIL: &str = "admin@localhost";
/// Characters of a key's name.
const KEY_NAME_CHARS_MAX: usize = 100;

/// A key as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct KeyView {
    /// What people call it.
    pub name: String,
    /// `SHA256:…`.
    pub fingerprint: String,
    /// Whose it is.
    pub user: String,
    /// Whether the whole platform is theirs to run.
    pub is_admin: bool,
    /// When it was added.
    pub created_at: UnixMillis,
}

/// Whose keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keyring {
    /// The actor's own.
    Own,
    /// Everybody's, which only admins of the platform may see and change.
    Everybodys,
}

impl Platform {
    /// Lets a key in: as the user with that address, or, without one, as an admin made for it. The caller has proof
    /// that it is the operator.
    pub async fn add_key(
        &self,
        name: &str,
        email: Option<&str>,
        line: &str,
    ) -> Result<SshKeyRecord, PlatformError> {
        // Before a user is made for it.
        let key = key_line::parse(line)?;
        check_key_name(name)?;
        let user = self.user_or_operator(email).await?;
        self.record_key(name, &user, line, &key).await
    }

    /// The user with that address, or, without one, the admin that is made for the operator.
    pub(crate) async fn user_or_operator(&self, email: Option<&str>) -> Result<User, PlatformError> {
        match email {
            Some(email) => self.user_with(&normal_email(email)?).await?.ok_or_else(|| {
                PlatformError::new(ErrorKind::NotFound, format!("there is no user {email}"))
                    .hint(format!("make one: autostack admin user add {email}"))
            }),
            None => match self.user_with(OPERATOR_EMAIL).await? {
                Some(user) => Ok(user),
                None => self.add_user(OPERATOR_EMAIL, true).await,
            },
        }
    }

    /// Lets a key in for somebody else: for the user of that name or address, who is made if there is none.
    /// `is_admin` makes the new user an admin; somebody who is there already keeps what they are.
    pub async fn let_in(
        &self,
        actor: &Actor,
        name: &str,
        user: &str,
        is_admin: bool,
        line: &str,
    ) -> Result<KeyView, PlatformError> {
        check_host(actor, "add a key for somebody else")?;
        let key = key_line::parse(line)?;
        check_key_name(name)?;
        let email = address_of(user)?;
        let known = self.user_with(&email).await?;
        if is_admin && known.as_ref().is_some_and(|user| !user.is_admin) {
            let message = format!("the user {user} is there already, and no admin");
            return Err(PlatformError::new(ErrorKind::Conflict, message)
                .hint("name an admin with --user, or leave --admin away"));
        }
        self.check_unknown(&key).await?;
        let user = match known {
            Some(user) => user,
            None => self.add_user(&email, is_admin).await?,
        };
        let record = self.record_key(name, &user, line, &key).await?;
        self.event(actor, None, "ssh-keys:add", format!("{} of {}", record.fingerprint, user.email));
        Ok(view(record, &user))
    }

    /// Adds a key of the actor's own.
    pub async fn add_own_key(&self, actor: &Actor, name: &str, line: &str) -> Result<KeyView, PlatformError> {
        check_full(actor, "add an SSH key")?;
        let key = key_line::parse(line)?;
        check_key_name(name)?;
        let id = actor.user.clone();
        let user = self.parts().store.call(move |store| store.user(&id)).await?;
        let user = user.ok_or_else(|| PlatformError::new(ErrorKind::Denied, "you are not known any more"))?;
        let record = self.record_key(name, &user, line, &key).await?;
        self.event(actor, None, "keys:add", record.fingerprint.clone());
        Ok(view(record, &user))
    }

    /// The keys of a ring, by user and name.
    pub async fn keys_of(&self, actor: &Actor, ring: Keyring) -> Result<Vec<KeyView>, PlatformError> {
        if ring == Keyring::Everybodys {
            check_host(actor, "see everybody's keys")?;
        }
        let read = |store: &Store| {
            let with_user = |key: SshKeyRecord| Ok(store.user(&key.user)?.map(|user| (key, user)));
            store.keys()?.into_iter().map(with_user).collect::<Result<Vec<_>, _>>()
        };
        let found = self.parts().store.call(read).await?.into_iter().flatten();
        let mut keys: Vec<KeyView> = found
            .filter(|(_, user)| ring == Keyring::Everybodys || user.id == actor.user)
            .map(|(key, user)| view(key, &user))
            .collect();
        keys.sort_by(|a, b| (&a.user, &a.name, a.created_at.0).cmp(&(&b.user, &b.name, b.created_at.0)));
        Ok(keys)
    }

    /// Lets a key of a ring in no more, which is given by its name or by its fingerprint. The last key of an actor's
    /// own only when that is what they want: without one they cannot come back.
    pub async fn remove_key_of(
        &self,
        actor: &Actor,
        ring: Keyring,
        given: &str,
        even_the_last: bool,
    ) -> Result<KeyView, PlatformError> {
        check_full(actor, "remove an SSH key")?;
        // Two who take away one key each must not leave nobody.
        let _one_at_a_time = self.0.removing_key.lock().await;
        let keys = self.keys_of(actor, ring).await?;
        let key = choose(&keys, given, ring)?;
        let own = self.keys_of(actor, Keyring::Own).await?;
        let is_last = own.len() == 1 && own.first().is_some_and(|own| own.fingerprint == key.fingerprint);
        if is_last && !even_the_last {
            let message = format!("the key {} is your only key: without it you cannot come back", key.name);
            return Err(PlatformError::new(ErrorKind::Conflict, message)
                .hint("add another key first, or say --force"));
        }
        self.remove_key(&key.fingerprint).await?;
        let kind = if ring == Keyring::Own { "keys:remove" } else { "ssh-keys:remove" };
        self.event(actor, None, kind, format!("{} of {}", key.fingerprint, key.user));
        Ok(key.clone())
    }

    /// Every key that is let in, with the address of its user. The caller has proof that it is the operator.
    pub async fn keys(&self) -> Result<Vec<(SshKeyRecord, String)>, PlatformError> {
        let read = |store: &Store| {
            let with_user = |key: SshKeyRecord| {
                let email = store.user(&key.user)?.map(|user| user.email).unwrap_or_default();
                Ok((key, email))
            };
            store.keys()?.into_iter().map(with_user).collect::<Result<Vec<_>, _>>()
        };
        Ok(self.parts().store.call(read).await?)
    }

    /// Lets a key in no more; connections that it has opened are ended. The caller has proof that it is the operator.
    pub async fn remove_key(&self, fingerprint: &str) -> Result<SshKeyRecord, PlatformError> {
        let given = fingerprint.to_owned();
        let remove = move |store: &Store| {
            let Some(key) = store.key(&given)? else { return Ok(None) };
            store.remove_key(&given).map(|()| Some(key))
        };
        let removed = self.parts().store.call(remove).await?.ok_or_else(|| {
            PlatformError::new(ErrorKind::NotFound, format!("there is no key {fingerprint}"))
                .hint("autostack admin key list shows the keys; name one by its fingerprint, SHA256:…")
        })?;
        self.rights_changed();
        Ok(removed)
    }

    async fn check_unknown(&self, key: &PublicKey) -> Result<(), PlatformError> {
        let fingerprint = fingerprint(key);
        let asked = fingerprint.clone();
        match self.parts().store.call(move |store| store.key(&asked)).await? {
            Some(known) => Err(known_already(&fingerprint, &known.name)),
            None => Ok(()),
        }
    }

    async fn record_key(
        &self,
        name: &str,
        user: &User,
        line: &str,
        key: &PublicKey,
    ) -> Result<SshKeyRecord, PlatformError> {
        let record = SshKeyRecord {
            fingerprint: fingerprint(key),
            user: user.id.clone(),
            name: name.to_owned(),
            public_key: key.to_openssh().unwrap_or_else(|_| line.trim().to_owned()),
            created_at: clock::now(),
        };
        let added = record.clone();
        let taken = move |store: &Store| {
            if let Some(known) = store.key(&added.fingerprint)? {
                return Ok(Some(known.name));
            }
            store.add_key(&added).map(|()| None)
        };
        match self.parts().store.call(taken).await? {
            None => Ok(record),
            Some(known) => Err(known_already(&record.fingerprint, &known)),
        }
    }
}

fn known_already(fingerprint: &str, name: &str) -> PlatformError {
    let message = format!("the key {fingerprint} is known already, under the name {name}");
    PlatformError::new(ErrorKind::Conflict, message)
}

/// What concerns everybody is for admins of the platform.
pub fn check_host(actor: &Actor, what: &str) -> Result<(), PlatformError> {
    check_for_host(actor, Action::ManageHost, what)
}

/// Refuses who does not watch over the host.
pub(crate) fn check_watcher(actor: &Actor, what: &str) -> Result<(), PlatformError> {
    check_for_host(actor, Action::WatchHost, what)
}

fn check_for_host(actor: &Actor, action: Action, what: &str) -> Result<(), PlatformError> {
    if allows(actor, None, action) {
        return Ok(());
    }
    let denied = PlatformError::new(ErrorKind::Denied, format!("you may not {what}"));
    Err(denied.hint("ask an admin of the platform").of_reach(actor, action))
}

/// The one key that is meant.
fn choose<'a>(keys: &'a [KeyView], given: &str, ring: Keyring) -> Result<&'a KeyView, PlatformError> {
    let meant: Vec<&KeyView> =
        keys.iter().filter(|key| key.fingerprint == given || key.name == given).collect();
    let list = match ring {
        Keyring::Own => "keys:list",
        Keyring::Everybodys => "ssh-keys:list",
    };
    match meant.as_slice() {
        [only] => Ok(only),
        [] => Err(PlatformError::new(ErrorKind::NotFound, format!("there is no key {given:?}"))
            .hint(format!("{list} shows the keys"))),
        several => {
            let message = format!("{} keys are called {given:?}", several.len());
            Err(PlatformError::new(ErrorKind::Conflict, message)
                .hint(format!("name one by its fingerprint, which {list} shows")))
        }
    }
}

fn view(key: SshKeyRecord, user: &User) -> KeyView {
    KeyView {
        name: key.name,
        fingerprint: key.fingerprint,
        user: user.email.clone(),
        is_admin: user.is_admin,
        created_at: key.created_at,
    }
}

fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

fn check_key_name(name: &str) -> Result<(), PlatformError> {
    let fits = !name.trim().is_empty()
        && name.chars().count() <= KEY_NAME_CHARS_MAX
        && !name.chars().any(char::is_control);
    if fits {
        Ok(())
    } else {
        let message =
            format!("a key's name has 1 to {KEY_NAME_CHARS_MAX} characters and no control characters");
        Err(PlatformError::new(ErrorKind::Invalid, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_keys_are_for_a_terminal() {
        assert!(check_key_name("laptop of Ada").is_ok());
        for bad in ["", "  ", "a\u{1b}[2J", "a\nb"] {
            assert!(check_key_name(bad).is_err(), "{bad:?}");
        }
    }
}
