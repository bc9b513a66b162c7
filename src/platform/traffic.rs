//! What the proxy does before it asks an app: maintenance, redirects, passwords; and what it notes of each request.

use std::sync::Arc;

use autostack_domain::{
    AppName, Secret, Traffic, limits,
    permission::{Action, Actor},
    traffic::{HostNames, HttpUser, PasswordHash, Redirect},
};
use autostack_logs::Stream;
use autostack_proxy::http_auth;

use crate::{
    error::{ErrorKind, PlatformError},
    platform::Platform,
};

impl Platform {
    /// Whether the proxy leads visitors to an app.
    pub async fn enable_proxy(
        &self,
        actor: &Actor,
        name: &AppName,
        is_enabled: bool,
    ) -> Result<(), PlatformError> {
        let kind = if is_enabled { "proxy:enable" } else { "proxy:disable" };
        let change = move |traffic: &mut Traffic, _: &HostNames| {
            traffic.proxy_enabled = is_enabled;
            Ok(())
        };
        self.change_traffic(actor, name, "change the proxy of", (kind, String::new()), change).await
    }

    /// Tells the proxy anew how an app is reached.
    pub async fn publish_again(&self, actor: &Actor, name: &AppName) -> Result<(), PlatformError> {
        self.app_for(actor, name, Action::Operate, "change the proxy of").await?;
        self.0.deployer.refresh(name).await;
        Ok(())
    }

    /// Whether visitors of an app read that it is being worked on.
    pub async fn set_maintenance(
        &self,
        actor: &Actor,
        name: &AppName,
        is_on: bool,
    ) -> Result<(), PlatformError> {
        let kind = if is_on { "maintenance:on" } else { "maintenance:off" };
        let change = move |traffic: &mut Traffic, _: &HostNames| {
            traffic.rules.maintenance = is_on;
            Ok(())
        };
        self.change_traffic(actor, name, "change the maintenance of", (kind, String::new()), change).await
    }

    /// Sends visitors of one host on to another; one that is there for the same host is replaced. The host belongs to
    /// the app from then on, like an address of its own.
    pub async fn set_redirect(
        &self,
        actor: &Actor,
        name: &AppName,
        redirect: Redirect,
    ) -> Result<(), PlatformError> {
        if !redirect.from.is_wildcard() && redirect.from.host() == &redirect.to.host {
            let message = format!("a redirect from {} to itself leads nowhere", redirect.from);
            return Err(PlatformError::new(ErrorKind::Invalid, message));
        }
        let event = ("redirect:set", format!("{} to {}", redirect.from, redirect.to));
        let change = move |traffic: &mut Traffic, _: &HostNames| {
            let redirects = &mut traffic.rules.redirects;
            redirects.retain(|known| known.from != redirect.from);
            if redirects.len() >= limits::REDIRECTS_PER_APP_MAX {
                return Err(too_many("redirects", limits::REDIRECTS_PER_APP_MAX));
            }
            redirects.push(redirect);
            Ok(())
        };
        self.change_traffic(actor, name, "change the redirects of", event, change).await
    }

    /// Sends the visitors of a host on no more.
    pub async fn unset_redirect(
        &self,
        actor: &Actor,
        name: &AppName,
        from: autostack_domain::address::HostPattern,
    ) -> Result<(), PlatformError> {
        let (app, event) = (name.clone(), ("redirect:unset", from.to_string()));
        let change = move |traffic: &mut Traffic, _: &HostNames| {
            let count = traffic.rules.redirects.len();
            traffic.rules.redirects.retain(|known| known.from != from);
            if traffic.rules.redirects.len() == count {
                return Err(PlatformError::new(
                    ErrorKind::Conflict,
                    format!("the app {app} has no redirect from {from}"),
                )
                .hint(format!("redirect:report {app} shows its redirects")));
            }
            Ok(())
        };
        self.change_traffic(actor, name, "change the redirects of", event, change).await
    }

    /// Lets only who knows a password in to an app: adds a user, or gives one another password.
    pub async fn set_http_user(
        &self,
        actor: &Actor,
        name: &AppName,
        user: HttpUser,
        password: Secret<String>,
    ) -> Result<(), PlatformError> {
        self.app_for(actor, name, Action::Operate, "change the passwords of").await?;
        let length = password.expose().len();
        if !(1..=limits::HTTP_PASSWORD_BYTES_MAX).contains(&length)
            || password.expose().contains(char::is_control)
        {
            let most = limits::HTTP_PASSWORD_BYTES_MAX;
            let message = format!("a password has 1 to {most} bytes and no control characters");
            return Err(PlatformError::new(ErrorKind::Invalid, message));
        }
        let hashed = self.parts().tasks.blocking("hash password", move || http_auth::hash(&password)).await;
        let failed =
            |error: &dyn std::error::Error| PlatformError::internal("the password cannot be kept", error);
        let hash: PasswordHash = hashed.map_err(|panic| failed(&panic))?.map_err(|error| failed(&error))?;
        let event = ("http-auth:on", user.to_string());
        let change = move |traffic: &mut Traffic, _: &HostNames| {
            let users = &mut traffic.rules.http_auth;
            if users.len() >= limits::HTTP_USERS_PER_APP_MAX && !users.contains_key(&user) {
                return Err(too_many("users", limits::HTTP_USERS_PER_APP_MAX));
            }
            users.insert(user, hash);
            Ok(())
        };
        self.change_traffic(actor, name, "change the passwords of", event, change).await
    }

    /// Lets a user in no more. Who is the last one to go leaves the app locked no longer, so that is refused.
    pub async fn remove_http_user(
        &self,
        actor: &Actor,
        name: &AppName,
        user: HttpUser,
    ) -> Result<(), PlatformError> {
        let app = name.clone();
        let event = ("http-auth:remove-user", user.to_string());
        let change = move |traffic: &mut Traffic, _: &HostNames| {
            let users = &mut traffic.rules.http_auth;
            if users.len() == 1 && users.contains_key(&user) {
                let message =
                    format!("{user} is the only user: without one {app} would be open to everybody");
                return Err(PlatformError::new(ErrorKind::Conflict, message)
                    .hint(format!("http-auth:off {app} opens it")));
            }
            if users.remove(&user).is_none() {
                return Err(PlatformError::new(
                    ErrorKind::Conflict,
                    format!("the app {app} has no user {user}"),
                )
                .hint(format!("http-auth:report {app} shows its users")));
            }
            Ok(())
        };
        self.change_traffic(actor, name, "change the passwords of", event, change).await
    }

    /// Lets everybody in to an app, and forgets its users.
    pub async fn end_http_auth(&self, actor: &Actor, name: &AppName) -> Result<(), PlatformError> {
        let change = |traffic: &mut Traffic, _: &HostNames| {
            traffic.rules.http_auth.clear();
            Ok(())
        };
        self.change_traffic(actor, name, "change the passwords of", ("http-auth:off", String::new()), change)
            .await
    }

    /// The access log of an app, to read from any offset.
    pub async fn access_log(&self, actor: &Actor, name: &AppName) -> Result<Arc<Stream>, PlatformError> {
        self.app_for(actor, name, Action::ReadLogs, "read the logs of").await?;
        Ok(self.parts().logs.access(name)?)
    }

    /// The port on which visitors reach every app.
    pub fn http_port(&self) -> u16 {
        self.parts().site.http_port
    }
}

fn too_many(what: &str, most: usize) -> PlatformError {
    PlatformError::new(ErrorKind::Conflict, format!("an app has {most} {what} at most"))
}
