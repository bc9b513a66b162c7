//! Certificates of apps: looked at before anything changes, kept sealed, shown.

use autostack_base::clock;
use autostack_domain::{
    AppName, CertificatePem,
    address::HostPattern,
    permission::{Action, Actor},
};
use autostack_proxy::certificate::{self, CertificateError, Facts};
use autostack_store::Store;

use crate::{
    error::{ErrorKind, PlatformError},
    platform::Platform,
};

/// What is known of the certificate of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateView {
    /// What it says.
    pub facts: Facts,
    /// Addresses of the app that it does not cover.
    pub not_covered: Vec<String>,
}

impl Platform {
    /// Keeps a certificate for an app, once it is sure that chain and key belong together, that the chain is in order,
    /// that its time is right, and that it is for a host of the app. With `replaces` there must be one already.
    pub async fn set_certificate(
        &self,
        actor: &Actor,
        name: &AppName,
        pem: CertificatePem,
        replaces: bool,
    ) -> Result<CertificateView, PlatformError> {
        let hosts = self.hosts_to_cover(actor, name).await?;
        if replaces {
            self.stored(name).await?.ok_or_else(|| none(name))?;
        }
        let facts = certificate::check(&pem, clock::now()).map_err(|error| unusable(&error))?;
        let view = view(facts, &hosts);
        if !hosts.is_empty() && view.not_covered.len() == hosts.len() {
            let named = view.facts.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let message = format!("the certificate is for {named}, and {name} is not reached there");
            return Err(PlatformError::new(ErrorKind::Conflict, message)
                .hint(format!("domains:add {name} HOST first, or bring the certificate of its domains")));
        }
        self.keep_certificate(actor, name, pem, if replaces { "certs:update" } else { "certs:add" }).await?;
        Ok(view)
    }

    /// Makes a certificate that only its owner vouches for: for one host, or for every host of the app.
    pub async fn generate_certificate(
        &self,
        actor: &Actor,
        name: &AppName,
        host: Option<HostPattern>,
    ) -> Result<CertificateView, PlatformError> {
        let hosts = self.hosts_to_cover(actor, name).await?;
        let wanted = match host {
            Some(host) if hosts.contains(&host) => vec![host],
            Some(host) => {
                let message = format!("the app {name} is not reached at {host}");
                return Err(PlatformError::new(ErrorKind::Conflict, message)
                    .hint(format!("domains:add {name} {host}")));
            }
            None if hosts.is_empty() => {
                let message = format!("the app {name} has no domain that a certificate could be for");
                return Err(
                    PlatformError::new(ErrorKind::Conflict, message).hint(format!("domains:add {name} HOST"))
                );
            }
            None => hosts.clone(),
        };
        let now = clock::now();
        let make = move || {
            let pem = certificate::generate(&wanted, now)?;
            certificate::check(&pem, now).map(|facts| (pem, facts))
        };
        let made = self.parts().tasks.blocking("generate certificate", make).await;
        let made = made.map_err(|panic| PlatformError::internal("no certificate can be made", &panic))?;
        let (pem, facts) = made.map_err(|error| unusable(&error))?;
        self.keep_certificate(actor, name, pem, "certs:generate").await?;
        Ok(view(facts, &hosts))
    }

    /// Forgets the certificate of an app.
    pub async fn remove_certificate(&self, actor: &Actor, name: &AppName) -> Result<(), PlatformError> {
        self.app_for(actor, name, Action::Operate, "change the certificate of").await?;
        let app = name.clone();
        if !self.parts().store.call(move |store| store.remove_certificate(&app)).await? {
            return Err(none(name));
        }
        self.event(actor, name, "certs:remove", "");
        Ok(())
    }

    /// What is known of the certificate of an app; `None` where there is none.
    pub async fn certificate(
        &self,
        actor: &Actor,
        name: &AppName,
    ) -> Result<Option<CertificateView>, PlatformError> {
        let reached = self.reached(actor, name).await?;
        let hosts: Vec<_> = reached.addresses.into_iter().map(|address| address.host).collect();
        let Some(pem) = self.stored(name).await? else { return Ok(None) };
        Ok(Some(view(certificate::facts(&pem).map_err(|error| unusable(&error))?, &hosts)))
    }

    /// The certificate of an app itself; with its key, so only for who may operate the app.
    pub async fn certificate_pem(
        &self,
        actor: &Actor,
        name: &AppName,
    ) -> Result<CertificatePem, PlatformError> {
        self.app_for(actor, name, Action::Operate, "read the certificate of").await?;
        self.stored(name).await?.ok_or_else(|| none(name))
    }

    async fn keep_certificate(
        &self,
        actor: &Actor,
        name: &AppName,
        pem: CertificatePem,
        kind: &str,
    ) -> Result<(), PlatformError> {
        self.0.leaving.check(name)?;
        let app = name.clone();
        self.parts().store.call(move |store: &Store| store.set_certificate(&app, &pem)).await?;
        self.event(actor, name, kind, "");
        Ok(())
    }

    async fn stored(&self, name: &AppName) -> Result<Option<CertificatePem>, PlatformError> {
        let app = name.clone();
        Ok(self.parts().store.call(move |store| store.certificate(&app)).await?)
    }

    /// The hosts of an app, for who may change its certificate.
    async fn hosts_to_cover(&self, actor: &Actor, name: &AppName) -> Result<Vec<HostPattern>, PlatformError> {
        self.app_for(actor, name, Action::Operate, "change the certificate of").await?;
        let mut hosts: Vec<_> =
            self.reached(actor, name).await?.addresses.into_iter().map(|address| address.host).collect();
        hosts.sort();
        hosts.dedup();
        Ok(hosts)
    }
}

fn view(facts: Facts, hosts: &[HostPattern]) -> CertificateView {
    let not_covered = hosts.iter().filter(|host| !facts.covers(host)).map(ToString::to_string).collect();
    CertificateView { facts, not_covered }
}

fn none(name: &AppName) -> PlatformError {
    PlatformError::new(ErrorKind::Conflict, format!("the app {name} has no certificate"))
        .hint(format!("certs:add {name} < chain-and-key.pem"))
}

fn unusable(error: &CertificateError) -> PlatformError {
    let hint = match error {
        CertificateError::WrongOrder { .. } => "cat certificate.pem issuer.pem key.pem",
        CertificateError::WrongKey(_) => "bring the key with which the certificate was asked for",
        CertificateError::Expired { .. } | CertificateError::NotYet { .. } => {
            "bring one that is valid today; certs:generate makes one for tests"
        }
        _ => "send the chain and the private key in PEM, without a passphrase",
    };
    PlatformError::new(ErrorKind::Invalid, error.to_string()).hint(hint)
}
