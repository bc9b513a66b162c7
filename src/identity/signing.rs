//! [`SigningKeys`]: the Ed25519 keys that sign tokens. The newest signs; older ones verify what they signed until that has
//! ended, so that a new key logs nobody out.

use std::cmp::Reverse;

use autostack_domain::{UnixMillis, account::KeptKey};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::{DecodingKey, EncodingKey};
use zeroize::Zeroizing;

use crate::opaque::{NoRandomness, digest_of};

/// Characters of a key's id.
const KEY_ID_CHARS: usize = 16;

/// The kept keys cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The host gives no random numbers.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// What is kept is no Ed25519 key.
    #[error("a kept signing key is damaged")]
    Damaged,
    /// There is none.
    #[error("there is no signing key")]
    None,
}

/// The keys, ready to use; the newest first.
pub struct SigningKeys(Vec<SigningKey>);

/// One key.
pub(crate) struct SigningKey {
    /// Stands in the header of what it signs; derived from its public half, so it is known by nobody before it is made.
    pub(crate) id: String,
    pub(crate) signs: EncodingKey,
    pub(crate) verifies: DecodingKey,
}

/// A new key, to be kept.
///
/// # Errors
/// When the host gives no random numbers.
pub fn new_key(now: UnixMillis) -> Result<KeptKey, KeyError> {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| NoRandomness)?;
    Ok(KeptKey { pkcs8: STANDARD.encode(pkcs8.as_ref()), created_at: now })
}

fn open(kept: &KeptKey) -> Result<SigningKey, KeyError> {
    let der = Zeroizing::new(STANDARD.decode(&kept.pkcs8).map_err(|_| KeyError::Damaged)?);
    let pair = Ed25519KeyPair::from_pkcs8(&der).map_err(|_| KeyError::Damaged)?;
    let public = pair.public_key().as_ref();
    let mut id = digest_of(public).0;
    id.truncate(KEY_ID_CHARS);
    Ok(SigningKey { id, signs: EncodingKey::from_ed_der(&der), verifies: DecodingKey::from_ed_der(public) })
}

impl SigningKeys {
    /// The keys that are kept, in any order.
    ///
    /// # Errors
    /// When there is none, or one is damaged.
    pub fn open(kept: &[KeptKey]) -> Result<Self, KeyError> {
        let mut newest_first: Vec<&KeptKey> = kept.iter().collect();
        newest_first.sort_by_key(|key| Reverse(key.created_at));
        let keys = newest_first.into_iter().map(open).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(KeyError::None) } else { Ok(Self(keys)) }
    }

    /// The one that signs.
    pub(crate) fn newest(&self) -> Option<&SigningKey> {
        self.0.first()
    }

    /// The one with that id.
    pub(crate) fn find(&self, id: &str) -> Option<&SigningKey> {
        self.0.iter().find(|key| key.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_key_signs_and_each_has_an_id_of_its_own() {
        let old = new_key(UnixMillis(1)).unwrap();
        let new = new_key(UnixMillis(2)).unwrap();
        let keys = SigningKeys::open(&[old.clone(), new.clone()]).unwrap();
        let id_of = |key: &KeptKey| open(key).unwrap().id;
        assert_eq!(keys.newest().unwrap().id, id_of(&new));
        assert_ne!(id_of(&new), id_of(&old));
        assert!(keys.find(&id_of(&old)).is_some() && keys.find("../etc/passwd").is_none());
    }

    #[test]
    fn a_damaged_key_and_no_key_are_told_apart() {
        let damaged = KeptKey { pkcs8: "AAAA".into(), created_at: UnixMillis(1) };
        assert_eq!(SigningKeys::open(&[damaged]).err(), Some(KeyError::Damaged));
        assert_eq!(SigningKeys::open(&[]).err(), Some(KeyError::None));
    }
}
