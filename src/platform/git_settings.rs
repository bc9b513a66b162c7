//! What operators say about an app's repository and its builds.

use autostack_domain::{
    App, AppName, AppSettings, BuildSettings, GitSettings, HostDefaults, RefName, Release,
    permission::{Action, Actor},
};
use autostack_store::Store;

use crate::{
    error::{ErrorKind, PlatformError},
    platform::Platform,
};

/// One setting of `git:set`, parsed; `None` sets it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GitSetting {
    /// The branch that is deployed.
    DeployBranch(Option<RefName>),
    /// Whether a build finds a `.git` folder.
    KeepGitDir(Option<bool>),
    /// The variable in which an app finds its commit.
    RevEnvVar(Option<String>),
}

impl GitSetting {
    fn told(&self) -> String {
        match self {
            GitSetting::DeployBranch(branch) => {
                format!("deploy-branch {}", branch.as_ref().map_or("", RefName::short))
            }
            GitSetting::KeepGitDir(keep) => {
                format!("keep-git-dir {}", keep.map(|keep| keep.to_string()).unwrap_or_default())
            }
            GitSetting::RevEnvVar(variable) => {
                format!("rev-env-var {}", variable.as_deref().unwrap_or_default())
            }
        }
    }

    /// The branch stands elsewhere.
    fn apply(self, settings: &mut GitSettings) {
        match self {
            GitSetting::DeployBranch(_) => {}
            GitSetting::KeepGitDir(keep) => settings.keep_git_dir = keep,
            GitSetting::RevEnvVar(variable) => settings.rev_env_var = variable,
        }
    }
}

/// What a report of an app's repository tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitView {
    /// The app.
    pub app: App,
    /// What holds where it says nothing itself.
    pub host: HostDefaults,
    /// What its deploy branch names, as far as somebody reads it.
    pub head: Option<String>,
    /// The release that visitors meet.
    pub live: Option<Release>,
}

impl Platform {
    /// Changes one setting of an app's repository or, without an app, of all that say nothing else.
    pub async fn set_git(
        &self,
        actor: &Actor,
        app: Option<&AppName>,
        setting: GitSetting,
    ) -> Result<(), PlatformError> {
        let told = setting.told();
        let Some(name) = app else {
            let change = |host: &mut HostDefaults| {
                match setting {
                    GitSetting::DeployBranch(branch) => {
                        host.deploy_branch = branch.map(|branch| branch.short().to_owned());
                    }
                    other => other.apply(&mut host.git),
                }
                Ok(())
            };
            return self.change_host_defaults(actor, ("git:set", told), change).await;
        };
        match setting {
            GitSetting::DeployBranch(branch) => self.set_deploy_branch(actor, name, branch).await?,
            other => {
                let change = move |settings: &mut AppSettings| {
                    other.apply(&mut settings.git);
                    Ok(())
                };
                self.change_app(actor, name, Action::Operate, "change", change).await?;
            }
        }
        self.event(actor, name, "git:set", told);
        Ok(())
    }

    /// The branch stands in the record of the app: the next push that goes live would set it, too.
    async fn set_deploy_branch(
        &self,
        actor: &Actor,
        name: &AppName,
        branch: Option<RefName>,
    ) -> Result<(), PlatformError> {
        self.app_for(actor, name, Action::Operate, "change").await?;
        self.0.leaving.check(name)?;
        let (app, short) = (name.clone(), branch.as_ref().map(|branch| branch.short().to_owned()));
        let change = move |store: &Store| store.update_app(&app, |app| app.deploy_branch = short).map(drop);
        self.parts().store.call(change).await?;
        if let Some(branch) = branch {
            let (repositories, app) = (self.parts().repositories.clone(), name.clone());
            let set =
                move || if repositories.exists(&app) { repositories.set_head(&app, &branch) } else { Ok(()) };
            let set = self.parts().tasks.blocking("set HEAD", set).await;
            set.map_err(|panic| PlatformError::internal("the app's repository cannot be used", &panic))??;
        }
        Ok(())
    }

    /// What holds for an app's repository.
    pub async fn git_view(&self, actor: &Actor, name: &AppName) -> Result<GitView, PlatformError> {
        let app = self.settings_of(actor, name).await?;
        let head = match app.deploy_branch.as_deref().map(RefName::of_branch) {
            Some(Ok(branch)) => {
                let (repositories, name) = (self.parts().repositories.clone(), name.clone());
                let read = self
                    .parts()
                    .tasks
                    .blocking("read ref", move || repositories.head_of(&name, &branch))
                    .await;
                let read = read.map_err(|panic| {
                    PlatformError::internal("the app's repository cannot be read", &panic)
                })?;
                read?.map(|commit| commit.to_string())
            }
            _ => None,
        };
        let host = self.parts().store.call(Store::host_defaults).await?;
        let live = self.live_release(&app).await?;
        Ok(GitView { app, host, head, live })
    }

    /// How an app is built: what it says itself, and what holds where it says nothing.
    pub async fn build_settings(
        &self,
        actor: &Actor,
        name: &AppName,
    ) -> Result<(BuildSettings, BuildSettings), PlatformError> {
        let own = self.settings_of(actor, name).await?.settings.build;
        let host = self.parts().store.call(Store::host_defaults).await?;
        Ok((own, host.build))
    }

    /// Changes how an app is built, from its next deployment on, or without an app, how all are that say nothing else;
    /// `told` is what the event says.
    pub async fn set_build(
        &self,
        actor: &Actor,
        app: Option<&AppName>,
        told: (&str, String),
        change: impl FnOnce(&mut BuildSettings) -> Result<(), PlatformError> + Send + 'static,
    ) -> Result<(), PlatformError> {
        let Some(name) = app else {
            return self.change_host_defaults(actor, told, move |host| change(&mut host.build)).await;
        };
        let change = move |settings: &mut AppSettings| change(&mut settings.build);
        self.change_app(actor, name, Action::Operate, "change", change).await?;
        self.event(actor, name, told.0, told.1);
        Ok(())
    }

    /// Forgets what builds have kept: the next one begins from nothing.
    pub async fn purge_cache(&self, actor: &Actor, name: &AppName) -> Result<(), PlatformError> {
        self.app_for(actor, name, Action::Operate, "change").await?;
        self.0.leaving.check(name)?;
        let (builder, app) = (self.parts().builder.clone(), name.clone());
        let purged = self.parts().tasks.blocking("purge cache", move || builder.remove_cache(&app)).await;
        purged
            .map_err(|panic| PlatformError::internal("the build cache cannot be removed", &panic))?
            .map_err(|error| PlatformError::internal("the build cache cannot be removed", &error))?;
        self.event(actor, name, "repo:purge-cache", "build cache removed");
        Ok(())
    }

    /// Packs an app's repository. Pushes may go on meanwhile. Gives its size before and after, in bytes.
    pub async fn collect_garbage(&self, actor: &Actor, name: &AppName) -> Result<(u64, u64), PlatformError> {
        self.app_for(actor, name, Action::Operate, "change").await?;
        self.0.leaving.check(name)?;
        if !self.parts().repositories.exists(name) {
            let message = format!("the app {name} has no code yet");
            return Err(PlatformError::new(ErrorKind::Conflict, message).hint("push to it first"));
        }
        let path = self.parts().repositories.path(name);
        let packed = autostack_git::gc::collect(&path).await;
        let (before, after) =
            packed.map_err(|error| PlatformError::internal("the repository cannot be packed", &error))?;
        self.event(actor, name, "repo:gc", format!("{before} bytes before, {after} after"));
        Ok((before, after))
    }
}
