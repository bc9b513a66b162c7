//! Users and their SSH keys, as the operator on the host manages them. The caller has proof that it is the operator.

use autostack_base::clock;
use autostack_domain::{
    UserId,
    user::{SshKeyRecord, User, normal_email},
};
use autostack_store::Store;
use ssh_key::{HashAlg, PublicKey};

use crate::{
    error::{ErrorKind, PlatformError},
    platform::Platform,
};

/// The address of the admin that is made for a key without a user.
const OPERATOR_EMAIL: &str = "admin@localhost";
/// Bytes of a key's line; an RSA key of 16,384 bits takes 2.8 KiB.
const KEY_LINE_BYTES_MAX: usize = 16 * 1024;
/// Characters of a key's name.
const KEY_NAME_CHARS_MAX: usize = 100;

impl Platform {
    /// Makes a user.
    pub async fn add_user(&self, email: &str, is_admin: bool) -> Result<User, PlatformError> {
        let email = normal_email(email)?;
        let user = User { id: new_user_id()?, email, is_admin, created_at: clock::now() };
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

    /// Lets a key in: as the user with that address, or, without one, as an admin made for it.
    pub async fn add_key(
        &self,
        name: &str,
        email: Option<&str>,
        line: &str,
    ) -> Result<SshKeyRecord, PlatformError> {
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
        let record = SshKeyRecord {
            fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
            user: user.id,
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
            Some(known) => {
                let message =
                    format!("the key {} is known already, under the name {known}", record.fingerprint);
                Err(PlatformError::new(ErrorKind::Conflict, message))
            }
        }
    }

    /// Every key that is let in, with the address of its user.
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

    /// Lets a key in no more; connections that it has opened go on to their end.
    pub async fn remove_key(&self, fingerprint: &str) -> Result<SshKeyRecord, PlatformError> {
        let given = fingerprint.to_owned();
        let remove = move |store: &Store| {
            let Some(key) = store.key(&given)? else { return Ok(None) };
            store.remove_key(&given).map(|()| Some(key))
        };
        self.parts().store.call(remove).await?.ok_or_else(|| {
            PlatformError::new(ErrorKind::NotFound, format!("there is no key {fingerprint}"))
                .hint("autostack admin key list shows the keys; name one by its fingerprint, SHA256:…")
        })
    }

    async fn user_with(&self, email: &str) -> Result<Option<User>, PlatformError> {
        let email = email.to_owned();
        Ok(self.parts().store.call(move |store| store.user_by_email(&email)).await?)
    }
}

fn new_user_id() -> Result<UserId, PlatformError> {
    Ok(uuid::Uuid::now_v7().to_string().parse()?)
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
