//! Verbs of the certificates of apps: chain and key, sealed.

use autostack_domain::{AppName, CertificatePem, EnvMap, Secret};
use redb::WriteTransaction;

use crate::{
    apps,
    error::StoreError,
    seal::Belonging,
    store::Store,
    tables::{APPS, CERTIFICATES},
};

/// A certificate is sealed as two variables.
const CHAIN: &str = "CHAIN";
const KEY: &str = "KEY";

impl Store {
    /// Keeps the certificate of an app; one that is there is replaced.
    pub fn set_certificate(&self, app: &AppName, certificate: &CertificatePem) -> Result<(), StoreError> {
        let mut env = EnvMap::new();
        env.put(CHAIN, &certificate.chain);
        env.put(KEY, certificate.key.expose());
        let sealed = self.sealer().seal_env(Belonging::Certificate(app), &env)?;
        self.write(|txn| {
            apps::get(txn, app)?;
            txn.open_table(CERTIFICATES)?.insert(app.as_str(), sealed.as_slice())?;
            Ok(())
        })
    }

    /// Forgets the certificate of an app. Whether there was one.
    pub fn remove_certificate(&self, app: &AppName) -> Result<bool, StoreError> {
        self.write(|txn| Ok(txn.open_table(CERTIFICATES)?.remove(app.as_str())?.is_some()))
    }

    /// The certificate of an app.
    pub fn certificate(&self, app: &AppName) -> Result<Option<CertificatePem>, StoreError> {
        self.read(|txn| {
            if APPS.read(txn)?.get(app.as_str())?.is_none() {
                return Err(StoreError::not_found("app", app));
            }
            let Some(sealed) = txn.open_table(CERTIFICATES)?.get(app.as_str())? else { return Ok(None) };
            let env = self.sealer().open_env(Belonging::Certificate(app), sealed.value())?;
            let text = |name| String::from_utf8_lossy(env.get(name).unwrap_or_default()).into_owned();
            Ok(Some(CertificatePem { chain: text(CHAIN), key: Secret::new(text(KEY)) }))
        })
    }

    /// Gives the certificate of an app that gets another name to the new one.
    pub(crate) fn move_certificate(
        &self,
        txn: &WriteTransaction,
        old: &AppName,
        new: &AppName,
    ) -> Result<(), StoreError> {
        let mut table = txn.open_table(CERTIFICATES)?;
        let taken = table.remove(old.as_str())?.map(|sealed| sealed.value().to_vec());
        if let Some(sealed) = taken {
            let plain = self.sealer().open(Belonging::Certificate(old), &sealed)?;
            let sealed = self.sealer().seal(Belonging::Certificate(new), &plain)?;
            table.insert(new.as_str(), sealed.as_slice())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use autostack_domain::{App, UnixMillis};

    use super::*;

    #[test]
    fn a_certificate_goes_with_its_app_and_its_key_is_not_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let store = Store::open(&path, &dir.path().join("key")).unwrap();
        let owner = "00000000-0000-0000-0000-000000000001".parse().unwrap();
        let (shop, other): (AppName, AppName) = ("shop".parse().unwrap(), "other".parse().unwrap());
        let certificate =
            CertificatePem { chain: "the-chain".into(), key: Secret::new("the-private-key".into()) };
        assert!(store.set_certificate(&shop, &certificate).is_err());
        store.create_app(&App::new(shop.clone(), owner, UnixMillis(0))).unwrap();
        assert_eq!(store.certificate(&shop).unwrap(), None);
        store.set_certificate(&shop, &certificate).unwrap();
        assert_eq!(store.certificate(&shop).unwrap(), Some(certificate.clone()));
        store.rename_app(&shop, &other).unwrap();
        assert_eq!(store.certificate(&other).unwrap(), Some(certificate.clone()));
        let file = std::fs::read(&path).unwrap();
        assert!(!file.windows(15).any(|window| window == b"the-private-key"));
        assert!(store.remove_certificate(&other).unwrap() && !store.remove_certificate(&other).unwrap());
        store.set_certificate(&other, &certificate).unwrap();
        store.destroy_app(&other).unwrap();
        assert!(!store.remove_certificate(&other).unwrap(), "it went with its app");
    }
}
