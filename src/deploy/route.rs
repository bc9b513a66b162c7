//! Where an app is reached: what its operators have set, as the proxy is told and as people are shown.

use std::{collections::BTreeMap, net::SocketAddr};

use autostack_domain::{
    Address, App, AppName, Host, Rules,
    route::{AppRoute, Target},
};
use autostack_proxy::Retired;
use autostack_store::StoreError;

use crate::deployer::Parts;

impl Parts {
    /// The domains below which every app has a name, the first the one that people are shown.
    pub fn global_domains(&self) -> Vec<Host> {
        let set = self.store.global_domains().unwrap_or_else(|error| {
            tracing::error!(%error, "the domains of the host cannot be read; the settings' own is used");
            Vec::new()
        });
        if set.is_empty() { vec![self.settings().domain.clone()] } else { set }
    }

    /// Every URL at which visitors reach an app, the one that people are shown first.
    pub fn urls(&self, app: &App) -> Vec<String> {
        let port = match self.site.http_port {
            80 => String::new(),
            port => format!(":{port}"),
        };
        let url = |address: Address| {
            let prefix = if address.prefix.is_root() { "" } else { address.prefix.as_str() };
            format!("http://{}{port}{prefix}", address.host)
        };
        app.settings.traffic.addresses(&app.name, &self.global_domains()).into_iter().map(url).collect()
    }

    /// The URL that people are shown, or words for an app that has none.
    pub fn url(&self, app: &AppName) -> String {
        match self.store.app(app) {
            Ok(Some(app)) => first_to_open(self.urls(&app)),
            Ok(None) => None,
            Err(error) => {
                tracing::error!(%app, %error, "where an app is reached cannot be read");
                None
            }
        }
        .unwrap_or_else(|| format!("nowhere yet: domains:add {app} HOST gives it an address"))
    }

    /// Puts the route of the app into the table as its record says; what left the table is given back to be drained.
    /// Where the record cannot be read the addresses and rules that are published stay: nothing opens by mistake.
    pub(crate) fn publish(
        &self,
        app: &AppName,
        target: Target,
        dynos: BTreeMap<SocketAddr, String>,
    ) -> Retired {
        let (addresses, rules) = match self.reached(app) {
            Ok(reached) => reached,
            Err(error) => {
                tracing::error!(%app, %error, "how an app is reached cannot be read; what is published stays");
                let published = self.proxy.routes().into_iter().find(|route| route.app == *app);
                published.map(|route| (route.addresses, route.rules)).unwrap_or_default()
            }
        };
        self.proxy.publish(AppRoute { app: app.clone(), addresses, target, dynos, rules })
    }

    fn reached(&self, app: &AppName) -> Result<(Vec<Address>, Rules), StoreError> {
        let Some(record) = self.store.app(app)? else { return Ok((Vec::new(), Rules::default())) };
        let traffic = record.settings.traffic;
        Ok((traffic.published(app, &self.global_domains()), traffic.rules))
    }
}

/// One that can be opened as it is comes before one that stands for many.
pub fn first_to_open(mut urls: Vec<String>) -> Option<String> {
    let at = urls.iter().position(|url| !url.contains('*')).unwrap_or(0);
    (at < urls.len()).then(|| urls.swap_remove(at))
}
