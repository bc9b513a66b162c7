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
        let reached = self.reached(app).unwrap_or_else(|error| {
            tracing::error!(%app, %error, "how an app is reached cannot be read; what is published stays");
            Reached::default()
        });
        let (addresses, rules) = reached.as_recorded.unwrap_or_else(|| {
            let published = self.proxy.routes().into_iter().find(|route| route.app == *app);
            published.map(|route| (route.addresses, route.rules)).unwrap_or_default()
        });
        let route = AppRoute { app: app.clone(), addresses, target, dynos, rules };
        match &reached.was {
            Some(old) => self.proxy.publish_in_place_of(route, old),
            None => self.proxy.publish(route),
        }
    }

    fn reached(&self, app: &AppName) -> Result<Reached, StoreError> {
        let was =
            self.store.unfinished_renames()?.into_iter().find(|(_, new)| new == app).map(|(old, _)| old);
        let as_recorded = self.store.app(app)?.map(|record| {
            let traffic = record.settings.traffic;
            (traffic.published(app, &self.global_domains()), traffic.rules)
        });
        Ok(Reached { as_recorded, was })
    }
}

/// What is recorded of how an app is reached.
#[derive(Default)]
struct Reached {
    /// Its addresses and rules; `None` for one that has got another name and goes on until its instances are replaced.
    as_recorded: Option<(Vec<Address>, Rules)>,
    /// The name that it had, while it gets another.
    was: Option<AppName>,
}

/// One that can be opened as it is comes before one that stands for many.
pub fn first_to_open(mut urls: Vec<String>) -> Option<String> {
    let at = urls.iter().position(|url| !url.contains('*')).unwrap_or(0);
    (at < urls.len()).then(|| urls.swap_remove(at))
}
