//! Config encrypted at rest: AES-256-GCM, a random nonce for each sealing, and what the value belongs to
//! as associated data, so that a value which was moved elsewhere does not open.
//!
//! A sealed value is one byte of format, 12 bytes of nonce, the encrypted record, 16 bytes of tag.

use autostack_domain::{AppName, EnvMap, IdempotencyKey, RegistryName, ReleaseNumber, UserId};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use crate::{
    error::StoreError,
    record::{Record, decode, encode, first_version},
};

first_version!(EnvMap);

/// Bytes of the key.
pub(crate) const KEY_BYTES: usize = 32;
const FORMAT: u8 = 1;

/// What a sealed value is, and whose.
#[derive(Clone, Copy)]
pub(crate) enum Belonging<'a> {
    /// Proves that a key file belongs to a store.
    KeyCheck,
    /// The config of an app.
    Config(&'a AppName),
    /// The config that every app of the host gets.
    HostConfig,
    /// The config of one release of an app.
    ReleaseConfig(&'a AppName, ReleaseNumber),
    /// The login of an app, or of the host, at a registry.
    RegistryLogin(Option<&'a AppName>, &'a RegistryName),
    /// The certificate of an app, with its key.
    Certificate(&'a AppName),
    /// What a user proves themselves with besides keys.
    Credentials(&'a UserId),
    /// The keys that sign tokens.
    SigningKeys,
    /// What a request of a user came to.
    KeptAnswer(&'a UserId, &'a IdempotencyKey),
}

impl Belonging<'_> {
    fn what(self) -> &'static str {
        match self {
            Belonging::KeyCheck => "key check",
            Belonging::Config(_) | Belonging::HostConfig | Belonging::ReleaseConfig(..) => "config",
            Belonging::RegistryLogin(..) => "login",
            Belonging::Certificate(_) => "certificate",
            Belonging::Credentials(_) => "credentials",
            Belonging::SigningKeys => "signing keys",
            Belonging::KeptAnswer(..) => "kept answer",
        }
    }

    fn name(self) -> String {
        match self {
            Belonging::KeyCheck => "the store".into(),
            Belonging::Config(app) => app.to_string(),
            Belonging::HostConfig | Belonging::SigningKeys => "the host".into(),
            Belonging::ReleaseConfig(app, number) => format!("{app} {number}"),
            Belonging::RegistryLogin(_, registry) => registry.to_string(),
            Belonging::Certificate(app) => app.to_string(),
            Belonging::Credentials(user) | Belonging::KeptAnswer(user, _) => user.to_string(),
        }
    }

    /// Different for any two belongings: names hold no NUL.
    fn associated_data(self) -> String {
        match self {
            Belonging::KeyCheck => "autostack\0key-check".into(),
            Belonging::Config(app) => format!("autostack\0config\0{app}"),
            Belonging::HostConfig => "autostack\0host-config".into(),
            Belonging::ReleaseConfig(app, number) => {
                format!("autostack\0release-config\0{app}\0{}", number.0)
            }
            Belonging::Certificate(app) => format!("autostack\0certificate\0{app}"),
            Belonging::Credentials(user) => format!("autostack\0credentials\0{user}"),
            Belonging::SigningKeys => "autostack\0signing-keys".into(),
            Belonging::KeptAnswer(user, key) => format!("autostack\0kept-answer\0{user}\0{}", key.as_str()),
            Belonging::RegistryLogin(app, registry) => {
                format!("autostack\0registry-login\0{}\0{registry}", app.map_or("", AppName::as_str))
            }
        }
    }
}

/// Seals and opens with the key of the key file.
pub(crate) struct Sealer {
    key: RandomizedNonceKey,
}

impl Sealer {
    pub(crate) fn new(key: &[u8; KEY_BYTES]) -> Result<Self, StoreError> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| StoreError::Crypto)?;
        Ok(Self { key })
    }

    /// Encrypts.
    pub(crate) fn seal(&self, belonging: Belonging<'_>, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        // Sized for the tag beforehand: growing would leave a copy of the plain text behind.
        let mut text = Vec::with_capacity(plain.len() + AES_256_GCM.tag_len());
        text.extend_from_slice(plain);
        let aad = Aad::from(belonging.associated_data());
        let nonce = self.key.seal_in_place_append_tag(aad, &mut text).map_err(|_| StoreError::Crypto)?;
        Ok([&[FORMAT], nonce.as_ref().as_slice(), &text].concat())
    }

    /// Decrypts what was sealed for the same belonging with the same key.
    pub(crate) fn open(
        &self,
        belonging: Belonging<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let refuse = || StoreError::Unsealable { what: belonging.what(), name: belonging.name() };
        let (&FORMAT, sealed) = sealed.split_first().ok_or_else(refuse)? else { return Err(refuse()) };
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or_else(refuse)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| refuse())?;
        let mut text = Zeroizing::new(text.to_vec());
        let aad = Aad::from(belonging.associated_data());
        let length = self.key.open_in_place(nonce, aad, &mut text).map_err(|_| refuse())?.len();
        text.truncate(length);
        Ok(text)
    }

    /// Encrypts a record.
    pub(crate) fn seal_record<R: Record>(
        &self,
        belonging: Belonging<'_>,
        record: &R,
    ) -> Result<Vec<u8>, StoreError> {
        let plain = encode(record).map(Zeroizing::new);
        self.seal(belonging, &plain.map_err(|source| record_error(belonging, source))?)
    }

    /// Decrypts a record.
    pub(crate) fn open_record<R: Record>(
        &self,
        belonging: Belonging<'_>,
        sealed: &[u8],
    ) -> Result<R, StoreError> {
        let plain = self.open(belonging, sealed)?;
        decode(&plain).map_err(|source| record_error(belonging, source))
    }

    /// Encrypts a config.
    pub(crate) fn seal_env(&self, belonging: Belonging<'_>, env: &EnvMap) -> Result<Vec<u8>, StoreError> {
        self.seal_record(belonging, env)
    }

    /// Decrypts a config.
    pub(crate) fn open_env(&self, belonging: Belonging<'_>, sealed: &[u8]) -> Result<EnvMap, StoreError> {
        self.open_record(belonging, sealed)
    }
}

fn record_error(belonging: Belonging<'_>, source: crate::record::RecordError) -> StoreError {
    StoreError::Record { table: belonging.what(), key: belonging.name(), source }
}
