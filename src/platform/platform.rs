//! [`Platform`]: what the doors hold, and who somebody is.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use autostack_base::settings::SettingsWatch;
use autostack_deploy::{Deployer, Parts};
use autostack_domain::{
    App, AppName,
    account::Reach,
    permission::{Action, Actor, Role, allows},
};
use autostack_store::Store;
use serde::Serialize;

use crate::{
    accounts::{identity::Identity, mailed::Mailing, sign_in::SignIns},
    apps::Leaving,
    builds::Builds,
    error::PlatformError,
    monitor::Monitor,
    once::UnderWay,
    push::Pushes,
    revoked::Rights,
};

/// Every operation that a user can ask for. Cheap to clone.
#[derive(Clone)]
pub struct Platform(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) deployer: Deployer,
    pub(crate) hook_access: HookAccess,
    pub(crate) pushes: Pushes,
    pub(crate) builds: Builds,
    pub(crate) leaving: Leaving,
    pub(crate) rights: Rights,
    /// Held while a key is removed.
    pub(crate) removing_key: tokio::sync::Mutex<()>,
    pub(crate) identity: Identity,
    /// Held while an app is made.
    pub(crate) creating: tokio::sync::Mutex<()>,
    pub(crate) monitor: Monitor,
    pub(crate) under_way: UnderWay,
    pub(crate) mailing: Mailing,
    pub(crate) sign_ins: SignIns,
    pub(crate) addresses: Addresses,
    pub(crate) started: std::time::Instant,
}

/// Where the doors listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// Pushes and commands.
    pub ssh: SocketAddr,
    /// Visitors of the apps.
    pub http: SocketAddr,
    /// API and dashboard.
    pub api: SocketAddr,
}

/// How a hook, started by git, finds its way back to the agent.
#[derive(Debug, Clone)]
pub struct HookAccess {
    /// The agent's Unix socket.
    pub socket: PathBuf,
    /// The agent's own binary.
    pub binary: PathBuf,
}

impl Platform {
    /// A platform on top of a deployer that has recovered.
    pub fn new(deployer: Deployer, hook_access: HookAccess, addresses: Addresses) -> Self {
        let started = std::time::Instant::now();
        Self(Arc::new(Inner {
            deployer,
            hook_access,
            pushes: Pushes::default(),
            builds: Builds::default(),
            leaving: Leaving::default(),
            removing_key: tokio::sync::Mutex::default(),
            rights: Rights::default(),
            identity: Identity::default(),
            creating: tokio::sync::Mutex::default(),
            monitor: Monitor::default(),
            under_way: UnderWay::default(),
            mailing: Mailing::default(),
            sign_ins: SignIns::default(),
            addresses,
            started,
        }))
    }

    /// The settings in force.
    pub fn settings(&self) -> SettingsWatch {
        self.parts().settings.clone()
    }

    /// How many tasks have panicked since the start.
    pub fn panics(&self) -> u64 {
        self.parts().tasks.panics()
    }

    /// Who the owner of an SSH key is; `None` for a key that is not known. The caller has proof that the
    /// client holds the key.
    pub async fn authenticate_key(&self, fingerprint: &str) -> Result<Option<Actor>, PlatformError> {
        let fingerprint = fingerprint.to_owned();
        let found = move |store: &Store| {
            let Some(key) = store.key(&fingerprint)? else { return Ok(None) };
            Ok(store.user(&key.user)?.map(|user| (key, user)))
        };
        let found = self.parts().store.call(found).await?;
        Ok(found.map(|(key, user)| Actor {
            user: user.id,
            is_admin: user.is_admin,
            name: format!("{} ({})", user.email, key.name),
            from: None,
            reach: Reach::Full,
        }))
    }

    /// How many pushes are under way.
    pub fn pushes(&self) -> usize {
        self.0.pushes.count()
    }

    /// The version of the agent.
    pub fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// Finds an app and asks whether the actor may do that with it. An app that the actor may not even see
    /// is answered like one that is not there.
    pub(crate) async fn app_for(
        &self,
        actor: &Actor,
        name: &AppName,
        action: Action,
        what: &str,
    ) -> Result<App, PlatformError> {
        let Some((app, role)) = self.find(actor, name).await? else {
            return Err(PlatformError::no_such_app(name));
        };
        if allows(actor, role, action) {
            Ok(app)
        } else if allows(actor, role, Action::ViewApp) {
            Err(PlatformError::denied(name, what).of_reach(actor, action))
        } else {
            Err(PlatformError::no_such_app(name))
        }
    }

    /// Refuses who may not do that with an app, before anything is read for them.
    pub async fn check_right(
        &self,
        actor: &Actor,
        name: &AppName,
        action: Action,
        what: &str,
    ) -> Result<(), PlatformError> {
        self.app_for(actor, name, action, what).await.map(drop)
    }

    /// An app and the actor's role on it.
    pub(crate) async fn find(
        &self,
        actor: &Actor,
        name: &AppName,
    ) -> Result<Option<(App, Option<Role>)>, PlatformError> {
        let (name, user) = (name.clone(), actor.user.clone());
        let found = move |store: &Store| {
            let Some(app) = store.app(&name)? else { return Ok(None) };
            let role = if app.owner == user { Some(Role::Admin) } else { store.role(&name, &user)? };
            Ok(Some((app, role)))
        };
        Ok(self.parts().store.call(found).await?)
    }

    pub(crate) fn parts(&self) -> &Parts {
        self.0.deployer.parts()
    }
}
