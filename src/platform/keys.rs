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
    error::{ErrorKind, PlatformError},
    platform::Platform,
    users::address_of,
};

/// The address of the admin that is made for a key without a user.
const OPERATOR_EMAIL: &str = "admin@localhost";
/// Bytes of a key's line; an RSA key of 16,384 bits takes 2.8 KiB.
pub const KEY_LINE_BYTES_MAX: usize = 16 * 1024;
/// Characters of a key's name.
const KEY_NAME_CHARS_MAX: usize = 100;

/// A key as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
        let key = parse_key(line)?;
        check_key_name(name)?;
        let user = match email {
            Some(email) => self.user_with(&normal_email(email)?).await?.ok_or_else(|| {
                PlatformError::new(ErrorKind::NotFound, format!("there is no user {email}"))
                    .hint(format!("make one: autostack admin user add {email}"))
            })?,
            None => match self.user_with(OPERATOR_EMAIL).await? {
                Some(user) => user,
                None => self.add_user(OPERATOR_EMAIL, true).await?,
            },
        };
        self.record_key(name, &user, line, &key).await
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
        let key = parse_key(line)?;
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
        let key = parse_key(line)?;
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
        self.event(actor, None, "keys:remove", format!("{} of {}", key.fingerprint, key.user));
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
            public_key: line.trim().to_owned(),
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
    if allows(actor, None, Action::ManageHost) {
        return Ok(());
    }
    Err(PlatformError::new(ErrorKind::Denied, format!("you may not {what}"))
        .hint("ask an admin of the platform"))
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
        [] => Err(PlatformError::new(ErrorKind::Conflict, format!("there is no key {given:?}"))
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

fn parse_key(line: &str) -> Result<PublicKey, PlatformError> {
    let refuse = |why: String| {
        PlatformError::new(ErrorKind::Invalid, format!("this is not a public key: {why}"))
            .hint("give one line of a .pub file, such as ~/.ssh/id_ed25519.pub, on standard input")
    };
    if line.contains("PRIVATE KEY") {
        return Err(refuse("it is a private key; keep it to yourself".into()));
    }
    if line.len() > KEY_LINE_BYTES_MAX {
        return Err(refuse(format!("{} bytes; the limit is {KEY_LINE_BYTES_MAX} bytes", line.len())));
    }
    PublicKey::from_openssh(line.trim()).map_err(|error| refuse(error.to_string()))
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

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ ada@laptop";

    #[test]
    fn a_line_of_a_pub_file_is_a_key() {
        let key = parse_key(&format!("{KEY}\n")).unwrap();
        assert!(key.fingerprint(HashAlg::Sha256).to_string().starts_with("SHA256:"));
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        let long = format!("{KEY}{}", "x".repeat(KEY_LINE_BYTES_MAX));
        for bad in ["", "ssh-ed25519", "hello", "-----BEGIN OPENSSH PRIVATE KEY-----", &long] {
            assert_eq!(parse_key(bad).unwrap_err().kind, ErrorKind::Invalid, "{bad:?}");
        }
    }

    #[test]
    fn names_of_keys_are_for_a_terminal() {
        assert!(check_key_name("laptop of Ada").is_ok());
        for bad in ["", "  ", "a\u{1b}[2J", "a\nb"] {
            assert!(check_key_name(bad).is_err(), "{bad:?}");
        }
    }
}
