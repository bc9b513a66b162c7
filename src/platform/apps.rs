//! Apps: create, list, destroy, where one is reached and what it wrote.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use autostack_base::clock;
use autostack_domain::{
    App, AppName, ReleaseNumber, UnixMillis,
    permission::{Action, Actor, Role, allows},
};
use autostack_logs::Stream;
use autostack_store::Store;
use serde::Serialize;

use crate::{
    disk,
    error::{ErrorKind, PlatformError},
    platform::Platform,
};

/// An app as its users see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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

/// The apps that are being destroyed: until all of one is gone, its name is not given away again.
#[derive(Default)]
pub(crate) struct Leaving(Mutex<HashSet<AppName>>);

impl Leaving {
    /// Refuses what would begin for an app that is being destroyed.
    pub(crate) fn check(&self, name: &AppName) -> Result<(), PlatformError> {
        if self.names().contains(name) {
            let message = format!("{name} is being destroyed");
            return Err(PlatformError::new(ErrorKind::Conflict, message).hint("try again in a moment"));
        }
        Ok(())
    }

    fn begin(&self, name: &AppName) -> Result<Departure<'_>, PlatformError> {
        self.check(name)?;
        self.names().insert(name.clone());
        Ok(Departure { leaving: self, name: name.clone() })
    }

    fn names(&self) -> MutexGuard<'_, HashSet<AppName>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One app on its way out; dropped when all of it is gone.
struct Departure<'a> {
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
            return Err(PlatformError::denied(name, "create"));
        }
        self.0.leaving.check(name)?;
        self.check_space()?;
        let app = App::new(name.clone(), actor.user.clone(), clock::now());
        let record = app.clone();
        let exists = move |store: &Store| {
            if store.app(&record.name)?.is_some() {
                return Ok(true);
            }
            store.create_app(&record).map(|()| false)
        };
        if self.parts().store.call(exists).await? {
            return Err(PlatformError::new(ErrorKind::Conflict, format!("the name {name} is taken"))
                .hint("choose another name"));
        }
        let repositories = self.parts().repositories.clone();
        let ensured = name.clone();
        let made =
            self.parts().tasks.blocking("make repository", move || repositories.ensure(&ensured)).await;
        made.map_err(|panic| PlatformError::internal("the app's repository cannot be made", &panic))??;
        tracing::info!(app = %name, by = actor.name, "app created");
        Ok(self.view(&app))
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

    /// Removes an app with its releases, config, code, logs and everything that runs for it.
    pub async fn destroy_app(&self, actor: &Actor, name: &AppName) -> Result<(), PlatformError> {
        self.app_for(actor, name, Action::DestroyApp, "destroy").await?;
        tracing::info!(app = %name, by = actor.name, "app destroyed");
        self.remove_app(name).await
    }

    /// What is recorded goes first: after a crash in the middle the rest belongs to no app and is swept when the
    /// agent starts.
    pub(crate) async fn remove_app(&self, name: &AppName) -> Result<(), PlatformError> {
        let _departure = self.0.leaving.begin(name)?;
        self.cancel_pushes(name);
        let gone = name.clone();
        let deployments = self.parts().store.call(move |store| store.destroy_app(&gone)).await?;
        if let Err(failure) = self.0.deployer.destroy(name).await {
            return Err(PlatformError::new(ErrorKind::Internal, failure.cause));
        }
        let (name, logs) = (name.clone(), self.parts().logs.clone());
        let (repositories, builder) = (self.parts().repositories.clone(), self.parts().builder.clone());
        let remove = move || -> Result<(), PlatformError> {
            repositories.remove(&name)?;
            builder
                .remove_cache(&name)
                .map_err(|error| PlatformError::internal("the build cache cannot be removed", &error))?;
            logs.remove_app(&name)?;
            deployments.iter().try_for_each(|id| logs.remove_deployment(id))?;
            Ok(())
        };
        let removed = self.parts().tasks.blocking("remove app", remove).await;
        removed.map_err(|panic| PlatformError::internal("the app's files cannot be removed", &panic))?
    }

    /// Where visitors reach the app.
    pub async fn url(&self, actor: &Actor, name: &AppName) -> Result<String, PlatformError> {
        self.app_for(actor, name, Action::ViewApp, "see").await?;
        Ok(self.parts().url(name))
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
