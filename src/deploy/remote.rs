//! Whom an app may fetch from, and how it makes itself known there.

use std::collections::BTreeSet;

use autostack_domain::{AppName, RegistryLogin, RemoteHost, Secret};
use autostack_git::{Access, RemoteLogin};
use autostack_store::{Store, StoreError};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::deployer::Parts;

impl Parts {
    /// What holds for the fetches of an app: the hosts that an admin has named, and the logins that were kept.
    pub async fn access(&self, app: &AppName) -> Result<Access, StoreError> {
        let app = app.clone();
        let read = move |store: &Store| {
            let allowed: BTreeSet<RemoteHost> = store.git_hosts()?.into_iter().collect();
            // The app's own come first, and the first that fits is used.
            let mut logins = store.registry_logins(Some(&app))?;
            logins.extend(store.registry_logins(None)?);
            Ok((allowed, logins))
        };
        let (allowed, logins) = self.store.call(read).await?;
        Ok(Access { allowed, logins: logins.iter().map(header).collect() })
    }
}

fn header(login: &RegistryLogin) -> RemoteLogin {
    let pair = format!("{}:{}", login.username, login.password.expose());
    RemoteLogin {
        authority: login.registry.to_string(),
        header: Secret::new(format!("Basic {}", STANDARD.encode(pair))),
    }
}
