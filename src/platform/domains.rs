//! Where apps are reached: their own addresses and those below the domains of the host. Whose a host is, is decided in
//! one transaction over all apps.

use std::collections::HashSet;

use autostack_domain::{
    Address, App, AppName, Host, Traffic,
    permission::{Action, Actor, allows},
    traffic::HostNames,
};
use autostack_store::Store;

use crate::{
    config::refused,
    error::{ErrorKind, PlatformError},
    platform::Platform,
};

/// How one app is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The app.
    pub app: AppName,
    /// What its operators have set.
    pub traffic: Traffic,
    /// Every address, as it is published.
    pub addresses: Vec<Address>,
    /// Every URL.
    pub urls: Vec<String>,
    /// The domains of the host.
    pub global: Vec<Host>,
}

impl Platform {
    /// How an app is reached.
    pub async fn reached(&self, actor: &Actor, name: &AppName) -> Result<Reached, PlatformError> {
        let app = self.app_for(actor, name, Action::ViewApp, "see").await?;
        Ok(self.reach_of(app, &self.host_names().global))
    }

    /// How every app is reached that the actor may see, by name.
    pub async fn all_reached(&self, actor: &Actor) -> Result<Vec<Reached>, PlatformError> {
        let global = self.host_names().global;
        let apps = self.apps_that(actor, Action::ViewApp).await?;
        Ok(apps.into_iter().map(|app| self.reach_of(app, &global)).collect())
    }

    /// Every URL of an app, the one that people are shown first.
    pub async fn urls(&self, actor: &Actor, name: &AppName) -> Result<Vec<String>, PlatformError> {
        Ok(self.reached(actor, name).await?.urls)
    }

    /// Gives an app more addresses. Those that were new.
    pub async fn add_domains(
        &self,
        actor: &Actor,
        name: &AppName,
        addresses: Vec<Address>,
    ) -> Result<Vec<Address>, PlatformError> {
        let (app, event) = (name.clone(), ("domains:add", listed(&addresses)));
        let change = move |traffic: &mut Traffic, names: &HostNames| {
            let mut added = Vec::new();
            for address in addresses {
                if traffic.add(&app, &names.global, address.clone())? {
                    added.push(address);
                }
            }
            Ok(added)
        };
        self.change_traffic(actor, name, "change the domains of", event, change).await
    }

    /// Gives an app these addresses in place of those that it has.
    pub async fn set_domains(
        &self,
        actor: &Actor,
        name: &AppName,
        addresses: Vec<Address>,
    ) -> Result<(), PlatformError> {
        let (app, event) = (name.clone(), ("domains:set", listed(&addresses)));
        let change = move |traffic: &mut Traffic, names: &HostNames| {
            (traffic.own, traffic.has_global) = (Vec::new(), false);
            for address in addresses {
                traffic.add(&app, &names.global, address)?;
            }
            Ok(())
        };
        self.change_traffic(actor, name, "change the domains of", event, change).await
    }

    /// Takes addresses away from an app; refuses if one of them is not there.
    pub async fn remove_domains(
        &self,
        actor: &Actor,
        name: &AppName,
        addresses: Vec<Address>,
    ) -> Result<(), PlatformError> {
        let (app, event) = (name.clone(), ("domains:remove", listed(&addresses)));
        let change = move |traffic: &mut Traffic, names: &HostNames| {
            for address in addresses {
                if !traffic.remove(&app, &names.global, &address) {
                    let message = format!("the app {app} has no domain {address}");
                    return Err(PlatformError::new(ErrorKind::Conflict, message)
                        .hint(format!("domains:report {app} shows its domains")));
                }
            }
            Ok(())
        };
        self.change_traffic(actor, name, "change the domains of", event, change).await
    }

    /// Takes every address away from an app; with `to_default` it keeps those below the domains of the host.
    pub async fn clear_domains(
        &self,
        actor: &Actor,
        name: &AppName,
        to_default: bool,
    ) -> Result<(), PlatformError> {
        let kind = if to_default { "domains:reset" } else { "domains:clear" };
        let change = move |traffic: &mut Traffic, _: &HostNames| {
            (traffic.own, traffic.has_global) = (Vec::new(), to_default);
            Ok(())
        };
        self.change_traffic(actor, name, "change the domains of", (kind, String::new()), change).await
    }

    /// Whether an app is reached by name at all.
    pub async fn enable_domains(
        &self,
        actor: &Actor,
        name: &AppName,
        is_enabled: bool,
    ) -> Result<(), PlatformError> {
        let kind = if is_enabled { "domains:enable" } else { "domains:disable" };
        let change = move |traffic: &mut Traffic, _: &HostNames| {
            traffic.domains_enabled = is_enabled;
            Ok(())
        };
        self.change_traffic(actor, name, "change the domains of", (kind, String::new()), change).await
    }

    /// The domains of the host, for everybody.
    pub fn global_domains(&self) -> Vec<Host> {
        self.parts().global_domains()
    }

    /// Changes the domains below which every app has a name; none leaves it to the settings of the agent. `change` is
    /// given those that are set.
    pub async fn change_global_domains<T: Send + 'static>(
        &self,
        actor: &Actor,
        kind: &'static str,
        change: impl FnOnce(&mut Vec<Host>) -> Result<T, PlatformError> + Send + 'static,
    ) -> Result<T, PlatformError> {
        if !allows(actor, None, Action::ManageHost) {
            let message = "only an admin may change the domains of the host";
            return Err(PlatformError::new(ErrorKind::Denied, message).hint("name an app of yours instead"));
        }
        let _turn = self.0.creating.lock().await;
        let mut domains = self.global_domains();
        let said = change(&mut domains)?;
        let api = self.host_names().api;
        if let Some(taken) = domains.iter().find(|domain| api.as_ref().is_some_and(|api| api == *domain)) {
            return Err(PlatformError::new(ErrorKind::Conflict, format!("{taken} is the platform's own")));
        }
        let text = domains.iter().map(Host::as_str).collect::<Vec<_>>().join(", ");
        let set = move |store: &Store| store.set_global_domains(&domains);
        self.parts().store.call(set).await.map_err(refused)?;
        self.event(actor, None, kind, text);
        for app in self.parts().store.call(Store::apps).await? {
            self.0.deployer.refresh(&app.name).await;
        }
        Ok(said)
    }

    /// Changes how an app is reached: authorised, checked against every other app and the platform's own hosts,
    /// recorded in one transaction, published. A change that refuses writes nothing.
    pub(crate) async fn change_traffic<T: Send + 'static>(
        &self,
        actor: &Actor,
        name: &AppName,
        what: &str,
        (kind, told): (&'static str, String),
        change: impl FnOnce(&mut Traffic, &HostNames) -> Result<T, PlatformError> + Send + 'static,
    ) -> Result<T, PlatformError> {
        self.app_for(actor, name, Action::Operate, what).await?;
        self.0.leaving.check(name)?;
        let ours = self.apps_that(actor, Action::Operate).await?.into_iter().map(|app| app.name);
        let ours: HashSet<AppName> = ours.collect();
        let (app, names) = (name.clone(), self.host_names());
        let checked = move |traffic: &mut Traffic| {
            let before: Vec<Address> = traffic.claims().collect();
            let said = change(traffic, &names)?;
            for address in traffic.claims().filter(|address| !before.contains(address)) {
                if let Some(why) = names.refusal(&app, &address.host) {
                    let message = format!("{address} cannot be a domain of {app}: {why}");
                    return Err(PlatformError::new(ErrorKind::Conflict, message));
                }
            }
            Ok(said)
        };
        let app = name.clone();
        let update = move |store: &Store| store.change_traffic(&app, &ours, checked);
        let (_changed, said) = self.parts().store.call(update).await??;
        self.event(actor, name, kind, told);
        self.0.deployer.refresh(name).await;
        Ok(said)
    }

    /// The apps with which the actor may do that, by name.
    async fn apps_that(&self, actor: &Actor, action: Action) -> Result<Vec<App>, PlatformError> {
        let user = actor.user.clone();
        let with_roles = move |store: &Store| {
            let with_role = |app: App| Ok((store.role(&app.name, &user)?, app));
            store.apps()?.into_iter().map(with_role).collect::<Result<Vec<_>, _>>()
        };
        let apps = self.parts().store.call(with_roles).await?;
        Ok(apps.into_iter().filter(|(role, _)| allows(actor, *role, action)).map(|(_, app)| app).collect())
    }

    pub(crate) fn host_names(&self) -> HostNames {
        let api = self.parts().settings.borrow().api.hostname.clone();
        HostNames { global: self.global_domains(), api }
    }

    fn reach_of(&self, app: App, global: &[Host]) -> Reached {
        let urls = self.parts().urls(&app);
        let addresses = app.settings.traffic.addresses(&app.name, global);
        Reached { app: app.name, traffic: app.settings.traffic, addresses, urls, global: global.to_vec() }
    }
}

/// Addresses, as an event tells of them.
fn listed(addresses: &[Address]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
