//! Passwords: argon2id with the parameters that OWASP recommends (19 MiB, two passes, one lane), a salt for each.

use std::sync::LazyLock;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc},
};
use autostack_domain::{Invalid, Secret};
use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::opaque::NoRandomness;

/// Characters of a password: NIST SP 800-63B asks for 8 at least.
pub const PASSWORD_CHARS_MIN: usize = 8;
/// Bytes of a password: the time to hash it must not depend on who sends it.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// A password that somebody wants to have, or says they have; wiped when dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Password(Secret<String>);

/// A password could not be hashed: the host gives no random numbers, or no memory.
#[derive(Debug, thiserror::Error)]
#[error("the password cannot be hashed: {0}")]
pub struct HashError(argon2::password_hash::Error);

impl Password {
    /// A password that an account is to have.
    ///
    /// # Errors
    /// When it is too short or too long, or holds the address of its account (empty where that is not known yet), or is one character over and over.
    /// What was given is not repeated.
    pub fn new(given: String, email: &str) -> Result<Self, Invalid> {
        let given = Zeroizing::new(given);
        let refuse = |why: &str| Err(Invalid::new("password", "…", why));
        if given.chars().count() < PASSWORD_CHARS_MIN {
            return refuse("8 characters at least");
        }
        if given.len() > PASSWORD_BYTES_MAX {
            return refuse("1024 bytes at most");
        }
        if given.contains('\0') {
            return refuse("it holds a NUL");
        }
        let mut chars = given.chars();
        let first = chars.next();
        if chars.all(|c| Some(c) == first) {
            return refuse("it is one character over and over");
        }
        if !email.is_empty() && given.to_lowercase().contains(email) {
            return refuse("it holds the address of the account");
        }
        Ok(Self(Secret::new(given.to_string())))
    }

    /// A random one of 24 characters, for somebody who has none to offer.
    ///
    /// # Errors
    /// When the host gives no random numbers.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = Zeroizing::new([0; 18]);
        rand::fill(bytes.as_mut()).map_err(|_| NoRandomness)?;
        Ok(Self(Secret::new(URL_SAFE_NO_PAD.encode(*bytes))))
    }

    /// The password itself, to be shown once.
    pub fn reveal(&self) -> &Secret<String> {
        &self.0
    }

    /// A password that somebody says they have: any that an account could have.
    ///
    /// # Errors
    /// When it is longer than any.
    pub fn claimed(given: String) -> Result<Self, Invalid> {
        let given = Zeroizing::new(given);
        if given.len() > PASSWORD_BYTES_MAX {
            return Err(Invalid::new("password", "…", "1024 bytes at most"));
        }
        Ok(Self(Secret::new(given.to_string())))
    }

    /// Its hash with a salt of its own, in PHC format. Takes some 30 ms and 19 MiB: belongs on a blocking thread.
    ///
    /// # Errors
    /// When the host gives no random numbers.
    pub fn hash(&self) -> Result<String, HashError> {
        let hashed = Argon2::default().hash_password(self.0.expose().as_bytes()).map_err(HashError)?;
        Ok(hashed.to_string())
    }

    /// Whether it is the one of that hash. Without a hash it takes as long, and is not: who asks cannot tell an account that
    /// is not there from a wrong password. Takes as much as [`Password::hash`].
    pub fn verifies(&self, hash: Option<&str>) -> bool {
        let known = hash.and_then(|hash| phc::PasswordHash::new(hash).ok());
        let Some(hash) = known.as_ref().or(NOBODYS.as_ref()) else { return false };
        let fits = Argon2::default().verify_password(self.0.expose().as_bytes(), hash).is_ok();
        fits && known.is_some()
    }
}

/// The hash of a password that nobody has, to spend the same time on.
static NOBODYS: LazyLock<Option<phc::PasswordHash>> =
    LazyLock::new(|| Argon2::default().hash_password(b"nobody's password").ok());

#[cfg(test)]
mod tests {
    use super::*;

    fn password(given: &str) -> Password {
        Password::new(given.to_owned(), "ada@example.com").unwrap()
    }

    #[test]
    fn a_password_verifies_with_its_own_hash_only() {
        let hash = password("correct horse").hash().unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(password("correct horse").verifies(Some(&hash)));
        assert!(!password("correct horsf").verifies(Some(&hash)));
        assert_ne!(password("correct horse").hash().unwrap(), hash);
    }

    #[test]
    fn nothing_verifies_without_a_hash_or_with_a_damaged_one() {
        for hash in [None, Some(""), Some("$argon2id$v=19$nonsense"), Some("plain")] {
            assert!(!password("nobody's password").verifies(hash), "{hash:?}");
        }
    }

    #[test]
    fn weak_passwords_are_refused_and_not_repeated() {
        let long = "x1".repeat(PASSWORD_BYTES_MAX);
        for bad in ["", "short", "aaaaaaaaaaaa", "x-Ada@Example.com-x", "has\0anultoo", &long] {
            let error = Password::new(bad.to_owned(), "ada@example.com").unwrap_err();
            assert!(bad.is_empty() || !error.to_string().contains(bad), "{error}");
        }
        assert!(Password::new("ünïcödé!".to_owned(), "ada@example.com").is_ok());
        assert!(Password::claimed(long).is_err() && Password::claimed("x".to_owned()).is_ok());
    }

    #[test]
    fn generated_passwords_are_long_and_differ() {
        let (one, other) = (Password::generate().unwrap(), Password::generate().unwrap());
        assert_eq!(one.reveal().expose().len(), 24);
        assert_ne!(one, other);
        assert!(Password::new(one.reveal().expose().clone(), "ada@example.com").is_ok());
    }

    #[test]
    fn a_password_never_prints_itself() {
        assert_eq!(format!("{:?}", password("correct horse")), "Password(Secret(…))");
    }
}
