//! Random secrets that somebody holds and the host knows by their digest: API keys, invitations, links in mails, recovery
//! codes. A secret is `PREFIX_ID_RANDOM`: the prefix says what it is, also to programs that look for leaked secrets, the id
//! finds its record, and the random part proves it.

use std::fmt::Write as _;

use autostack_domain::{Invalid, Secret, TokenId, account::SecretDigest};
use aws_lc_rs::{
    digest::{SHA256, digest},
    rand,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

/// Bytes of the random part: as many as its digest has.
const RANDOM_BYTES: usize = 32;
/// Characters of the random part in base64.
const RANDOM_CHARS: usize = 43;

/// The host gives no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host gives no random numbers")]
pub struct NoRandomness;

/// What a secret is for; stands in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A key for programs.
    ApiKey,
    /// Lets one person make an account.
    Invitation,
    /// A link in a mail.
    MailedLink,
    /// Opens one WebSocket.
    Ticket,
}

impl Kind {
    /// What a secret of this kind begins with.
    pub fn prefix(self) -> &'static str {
        match self {
            Kind::ApiKey => "ask_",
            Kind::Invitation => "asi_",
            Kind::MailedLink => "asm_",
            Kind::Ticket => "ast_",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Kind::ApiKey => "API key",
            Kind::Invitation => "invitation",
            Kind::MailedLink => "link",
            Kind::Ticket => "ticket",
        }
    }
}

/// A secret that somebody is given once, and shows later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opaque {
    /// Whose record it is.
    pub id: TokenId,
    random: Secret<String>,
}

impl Opaque {
    /// A new secret for the record with that id.
    ///
    /// # Errors
    /// When the host gives no random numbers.
    pub fn new(id: TokenId) -> Result<Self, NoRandomness> {
        let mut bytes = [0; RANDOM_BYTES];
        rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Self { id, random: Secret::new(URL_SAFE_NO_PAD.encode(bytes)) })
    }

    /// Reads a secret that somebody shows.
    ///
    /// # Errors
    /// When it has not the form of one of that kind; it is not repeated.
    pub fn parse(kind: Kind, given: &str) -> Result<Self, Invalid> {
        let read = || {
            let (id, random) = given.strip_prefix(kind.prefix())?.split_once('_')?;
            let is_base64 = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            let fits = random.len() == RANDOM_CHARS && random.bytes().all(is_base64);
            fits.then(|| Some(Self { id: id.parse().ok()?, random: Secret::new(random.to_owned()) }))?
        };
        read().ok_or_else(|| Invalid::new(kind.what(), "…", format!("expected {}ID_SECRET", kind.prefix())))
    }

    /// What its holder is shown, once.
    pub fn reveal(&self, kind: Kind) -> Secret<String> {
        Secret::new(format!("{}{}_{}", kind.prefix(), self.id, self.random.expose()))
    }

    /// What is kept of it.
    pub fn digest(&self) -> SecretDigest {
        digest_of(self.random.expose().as_bytes())
    }

    /// Whether it is the one of that digest; in constant time.
    pub fn fits(&self, known: &SecretDigest) -> bool {
        same(&self.digest(), known)
    }
}

/// The digest of a secret that is random enough to need no salt.
pub(crate) fn digest_of(secret: &[u8]) -> SecretDigest {
    let mut hex = String::with_capacity(2 * RANDOM_BYTES);
    for byte in digest(&SHA256, secret).as_ref() {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    SecretDigest(hex)
}

/// Compares in constant time.
pub(crate) fn same(one: &SecretDigest, other: &SecretDigest) -> bool {
    one.0.as_bytes().ct_eq(other.0.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> TokenId {
        "00000000-0000-7000-8000-000000000001".parse().unwrap()
    }

    #[test]
    fn a_secret_is_shown_read_and_known_by_its_digest() {
        let made = Opaque::new(id()).unwrap();
        let shown = made.reveal(Kind::ApiKey);
        assert!(shown.expose().starts_with("ask_00000000-0000-7000-8000-000000000001_"));
        let read = Opaque::parse(Kind::ApiKey, shown.expose()).unwrap();
        assert_eq!(read, made);
        assert!(read.fits(&made.digest()) && !read.fits(&Opaque::new(id()).unwrap().digest()));
        assert!(!made.digest().0.contains(made.random.expose().as_str()));
    }

    #[test]
    fn what_is_not_of_the_kind_or_the_form_is_refused_and_not_repeated() {
        let shown = Opaque::new(id()).unwrap().reveal(Kind::ApiKey);
        let shown = shown.expose();
        assert!(Opaque::parse(Kind::Invitation, shown).is_err());
        let longer = format!("{shown}x");
        for bad in [
            "",
            "ask_",
            "ask__",
            "ask_x_y",
            &shown[..shown.len() - 1],
            &longer,
            &shown.replace("ask_", "ASK_"),
        ] {
            let error = Opaque::parse(Kind::ApiKey, bad).unwrap_err();
            assert!(bad.len() < 8 || !error.to_string().contains(bad), "{error}");
        }
        assert!(!format!("{:?}", Opaque::parse(Kind::ApiKey, shown).unwrap()).contains(&shown[45..]));
    }
}
