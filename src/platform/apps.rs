//! Apps: create, list, destroy, where one is reached and what it wrote.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use autostack_base::clock;
use autostack_deploy::first_to_open;
use autostack_domain::{
    App, AppName, AppSettings, DeploymentId, ReleaseNumber, ReleaseSource, UnixMillis,
    permission::{Action, Actor, Role, allows},
};
use autostack_logs::Stream;
use autostack_store::Store;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    disk,
    error::{ErrorKind, PlatformError},
    platform::Platform,
    users::short_name,
};

/// An app as its users see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AppView {
    /// Its name.
    pub name: AppName,
    /// Where visitors reach it.
    pub url: String,
    /// The release that is live; `None` before the first deployment.
    pub release: Option<ReleaseNumber>,
    /// When it was created.
    pub created_at: UnixMillis,
}

/// An app with how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AppDetails {
    /// What the list says of it.
    #[serde(flatten)]
    pub view: AppView,
    /// Whose it is: an address, or a name where the user was made without one.
    pub owner: String,
    /// What the caller may do with it; `null` for an admin of the host who has no role.
    pub role: Option<Role>,
    /// The branch whose pushes are deployed; `null` before the first deployment.
    pub deploy_branch: Option<String>,
    /// Whether an operator has stopped it.
    pub is_stopped: bool,
    /// Whether nothing may be deployed to it.
    pub is_locked: bool,
    /// Whether visitors are told that it is being worked on.
    pub is_in_maintenance: bool,
}

/// What is known of an app as such.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppFacts {
    /// The record.
    pub app: App,
    /// Whose it is.
    pub owner: String,
    /// Where its code comes from: what was noted, else what its live release was made from.
    pub source: Option<String>,
    /// Which one of those.
    pub source_metadata: Option<String>,
}

/// The apps that are being destroyed: until all of one is gone, its name is not given away again.
#[derive(Default)]
pub(crate) struct Leaving(Mutex<HashSet<AppName>>);

impl Leaving {
    /// Refuses what would begin for an app that is being destroyed.
    pub(crate) fn check(&self, name: &AppName) -> Result<(), PlatformError> {
        if self.names().contains(name) { Err(Self::refusal(name)) } else { Ok(()) }
    }

    fn refusal(name: &AppName) -> PlatformError {
        let message = format!("the app {name} is being destroyed or renamed");
        PlatformError::new(ErrorKind::Conflict, message).hint("try again in a moment")
    }

    pub(crate) fn begin(&self, name: &AppName) -> Result<Departure<'_>, PlatformError> {
        if !self.names().insert(name.clone()) {
            return Err(Self::refusal(name));
        }
        Ok(Departure { leaving: self, name: name.clone() })
    }

    fn names(&self) -> MutexGuard<'_, HashSet<AppName>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One app on its way out; dropped when all of it is gone.
pub(crate) struct Departure<'a> {
    leaving: &'a Leaving,
    name: AppName,
}

impl Drop for Departure<'_> {
    fn drop(&mut self) {
        self.leaving.names().remove(&self.name);
    }
}

impl Platform {
    /// Creates an app that belongs to the actor.
    pub async fn create_app(&self, actor: &Actor, name: &AppName) -> Result<AppView, PlatformError> {
        if !allows(actor, None, Action::CreateApp) {
            return Err(PlatformError::denied(name, "create").of_reach(actor, Action::CreateApp));
        }
        self.check_space()?;
        // One at a time, so that a name is never given away while what stood under it before is still being removed.
        let _turn = self.0.creating.lock().await;
        self.0.leaving.check(name)?;
        let app = App::new(name.clone(), actor.user.clone(), clock::now());
        let record = app.clone();
        let is_taken = move |store: &Store| Ok(store.app(&record.name)?.is_some());
        if self.parts().store.call(is_taken).await? {
            return Err(PlatformError::new(ErrorKind::Conflict, format!("the name {name} is taken"))
                .hint("choose another name"));
        }
        // What a crash left behind of an earlier app of this name is nobody's business.
        self.remove_files(name, Vec::new()).await?;
        let record = app.clone();
        self.parts().store.call(move |store| store.create_app(&record)).await?;
        self.make_repository(name).await?;
        self.event(actor, name, "apps:create", "");
        Ok(self.view(&app))
    }

    /// Makes the app's repository, unless it is there.
    pub(crate) async fn make_repository(&self, name: &AppName) -> Result<(), PlatformError> {
        if self.parts().repositories.exists(name) {
            return Ok(());
        }
        let (repositories, name) = (self.parts().repositories.clone(), name.clone());
        let made = self.parts().tasks.blocking("make repository", move || repositories.ensure(&name)).await;
        Ok(made.map_err(|panic| PlatformError::internal("the app's repository cannot be made", &panic))??)
    }

    /// The apps that the actor may see, by name.
    pub async fn apps(&self, actor: &Actor) -> Result<Vec<AppView>, PlatformError> {
        let user = actor.user.clone();
        let with_roles = move |store: &Store| {
            let role_of = |app: App| {
                let role =
                    if app.owner == user { Some(Role::Admin) } else { store.role(&app.name, &user)? };
                Ok((app, role))
            };
            store.apps()?.into_iter().map(role_of).collect::<Result<Vec<_>, _>>()
        };
        let apps = self.parts().store.call(with_roles).await?;
        let visible = apps.iter().filter(|(_, role)| allows(actor, *role, Action::ViewApp));
        Ok(visible.map(|(app, _)| self.view(app)).collect())
    }

    /// One app with how it is.
    pub async fn app(&self, actor: &Actor, name: &AppName) -> Result<AppDetails, PlatformError> {
        self.app_for(actor, name, Action::ViewApp, "see").await?;
        let Some((app, role)) = self.find(actor, name).await? else {
            return Err(PlatformError::no_such_app(name));
        };
        let owner = app.owner.clone();
        let owner = self.parts().store.call(move |store: &Store| store.user(&owner)).await?;
        Ok(AppDetails {
            view: self.view(&app),
            owner: owner.map(|user| short_name(&user.email).to_owned()).unwrap_or_default(),
            role,
            deploy_branch: app.deploy_branch,
            is_stopped: app.is_stopped,
            is_locked: app.settings.lock.is_some(),
            is_in_maintenance: app.settings.traffic.rules.maintenance,
        })
    }

    /// What is known of one app, or of every app that the actor may see.
    pub async fn app_facts(
        &self,
        actor: &Actor,
        name: Option<&AppName>,
    ) -> Result<Vec<AppFacts>, PlatformError> {
        let names = match name {
            Some(name) => vec![self.app_for(actor, name, Action::ViewApp, "see").await?.name],
            None => self.apps(actor).await?.into_iter().map(|app| app.name).collect(),
        };
        let read = move |store: &Store| {
            let facts = |name: &AppName| {
                let Some(app) = store.app(name)? else { return Ok(None) };
                let owner = store.user(&app.owner)?.map(|user| user.email).unwrap_or_default();
                let release = match app.current_release {
                    Some(number) => store.release(name, number)?,
                    None => None,
                };
                Ok(Some(facts_of(app, &owner, release.as_ref().map(|release| &release.source))))
            };
            names.iter().map(facts).collect::<Result<Vec<_>, _>>()
        };
        Ok(self.parts().store.call(read).await?.into_iter().flatten().collect())
    }

    /// Notes where an app's code comes from; an empty value takes the note away.
    pub async fn note_origin(
        &self,
        actor: &Actor,
        name: &AppName,
        key: String,
        value: String,
    ) -> Result<(), PlatformError> {
        let noted = key.clone();
        let change = move |settings: &mut AppSettings| Ok(settings.origin.set(&key, &value)?);
        self.change_app(actor, name, Action::Operate, "change", change).await?;
        self.event(actor, name, "apps:set", noted);
        Ok(())
    }

    /// Removes an app with its releases, config, code, logs and everything that runs for it.
    pub async fn destroy_app(&self, actor: &Actor, name: &AppName) -> Result<(), PlatformError> {
        self.app_for(actor, name, Action::DestroyApp, "destroy").await?;
        let departure = self.0.leaving.begin(name)?;
        self.event(actor, name, "apps:destroy", "");
        self.remove_app(name, departure).await
    }

    /// What is recorded goes first: after a crash in the middle the rest belongs to no app, and is swept when the
    /// agent starts. Every step is tried; the first error is told.
    pub(crate) async fn remove_app(
        &self,
        name: &AppName,
        departure: Departure<'_>,
    ) -> Result<(), PlatformError> {
        // A creation under way ends first.
        drop(self.0.creating.lock().await);
        self.cancel_pushes(name);
        let gone = name.clone();
        let deployments = self.parts().store.call(move |store| store.destroy_app(&gone)).await?;
        self.rights_changed();
        let stopped = self.0.deployer.destroy(name).await;
        let removed = self.remove_files(name, deployments).await;
        drop(departure);
        stopped.map_err(|failure| PlatformError::new(ErrorKind::Internal, failure.cause))?;
        removed
    }

    /// Removes code, logs and caches that stand under a name.
    pub(crate) async fn remove_files(
        &self,
        name: &AppName,
        deployments: Vec<DeploymentId>,
    ) -> Result<(), PlatformError> {
        let (name, logs) = (name.clone(), self.parts().logs.clone());
        let (repositories, builder) = (self.parts().repositories.clone(), self.parts().builder.clone());
        let remove = move || {
            let code = repositories.remove(&name).map_err(PlatformError::from);
            let cache = builder
                .remove_cache(&name)
                .map_err(|error| PlatformError::internal("the build cache cannot be removed", &error));
            let log = logs.remove_app(&name).map_err(PlatformError::from);
            let builds = deployments.iter().map(|id| logs.remove_deployment(id).map_err(PlatformError::from));
            [code, cache, log].into_iter().chain(builds).collect::<Vec<_>>().into_iter().collect()
        };
        let removed = self.parts().tasks.blocking("remove app files", remove).await;
        removed.map_err(|panic| PlatformError::internal("the app's files cannot be removed", &panic))?
    }

    /// Where visitors reach the app: the address that people are shown.
    pub async fn url(&self, actor: &Actor, name: &AppName) -> Result<String, PlatformError> {
        first_to_open(self.urls(actor, name).await?).ok_or_else(|| {
            PlatformError::new(ErrorKind::Conflict, format!("the app {name} has no address"))
                .hint(format!("domains:add {name} HOST gives it one"))
        })
    }

    /// The app's log, to read from any offset.
    pub async fn app_log(&self, actor: &Actor, name: &AppName) -> Result<Arc<Stream>, PlatformError> {
        self.app_for(actor, name, Action::ReadLogs, "read the logs of").await?;
        Ok(self.parts().logs.app(name)?)
    }

    pub(crate) fn view(&self, app: &App) -> AppView {
        AppView {
            name: app.name.clone(),
            url: self.parts().url(&app.name),
            release: app.current_release,
            created_at: app.created_at,
        }
    }

    /// Refuses what would write while the disk is about full.
    pub(crate) fn check_space(&self) -> Result<(), PlatformError> {
        disk::check_space(&self.parts().settings.borrow().data_dir)
    }
}

fn facts_of(app: App, owner: &str, made_from: Option<&ReleaseSource>) -> AppFacts {
    let (kind, which) = match made_from {
        Some(ReleaseSource::Commit { .. }) => (Some("git-push"), app.deploy_branch.clone()),
        Some(ReleaseSource::Image { reference }) => (Some("docker-image"), Some(reference.to_string())),
        None => (None, None),
    };
    let origin = app.settings.origin.clone();
    AppFacts {
        owner: short_name(owner).to_owned(),
        source: origin.source.or_else(|| kind.map(str::to_owned)),
        source_metadata: origin.metadata.or(which),
        app,
    }
}
