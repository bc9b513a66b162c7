//! Config: the environment of an app, and what every app of the host gets beneath its own.

use autostack_domain::{
    AppName, EnvMap, Invalid, Line, ReleaseNumber,
    env_map::is_name,
    permission::{Action, Actor},
};
use autostack_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::{
    deployments::Outcome,
    error::{ErrorKind, PlatformError},
    keys::check_host,
    platform::Platform,
    screen::Screen,
};

/// What a change does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    /// Sets variables.
    Set(EnvMap),
    /// Removes variables; one that is not there is fine.
    Unset(Vec<String>),
    /// Sets these, and removes all others.
    Replace(EnvMap),
    /// Sets some and removes others, in one step.
    Edit {
        /// Those to set.
        set: EnvMap,
        /// Names of those to remove.
        unset: Vec<String>,
    },
}

/// How far a changed config has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// A new release runs with it.
    Live(ReleaseNumber),
    /// What runs has it already.
    AlreadyLive,
    /// There is no release yet; the first one gets it.
    NoRelease,
    /// The app is locked: the next deployment gets it.
    Locked,
    /// The release that would have it did not become ready, and the one before goes on; the screen says why.
    Failed,
}

fn check_names(names: &[String]) -> Result<(), Invalid> {
    match names.iter().find(|name| !is_name(name)) {
        Some(bad) => {
            Err(Invalid::new("config name", bad, "use letters, digits and _, and do not start with a digit"))
        }
        None => Ok(()),
    }
}

impl ConfigChange {
    /// Removes variables, whose names must be such.
    pub fn unset(names: Vec<String>) -> Result<Self, Invalid> {
        check_names(&names)?;
        Ok(Self::Unset(names))
    }

    /// Sets some variables and removes others, whose names must be such.
    pub fn edit(set: EnvMap, unset: Vec<String>) -> Result<Self, Invalid> {
        check_names(&unset)?;
        Ok(Self::Edit { set, unset })
    }

    fn apply(self, env: &mut EnvMap) {
        match self {
            ConfigChange::Set(values) => env.extend(&values),
            ConfigChange::Unset(names) => names.iter().for_each(|name| {
                env.remove(name);
            }),
            ConfigChange::Replace(values) => *env = values,
            ConfigChange::Edit { set, unset } => {
                Self::Unset(unset).apply(env);
                Self::Set(set).apply(env);
            }
        }
    }

    /// For people, and for the record: names, never values.
    pub fn summary(&self) -> String {
        let names = |env: &EnvMap| env.iter().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
        match self {
            ConfigChange::Set(values) => format!("Set {}", names(values)),
            ConfigChange::Unset(gone) => format!("Unset {}", gone.join(", ")),
            ConfigChange::Replace(values) if values.is_empty() => "Unset every variable".to_owned(),
            ConfigChange::Replace(values) => format!("Set {} and unset all others", names(values)),
            ConfigChange::Edit { set, unset } if unset.is_empty() => format!("Set {}", names(set)),
            ConfigChange::Edit { set, unset } if set.is_empty() => format!("Unset {}", unset.join(", ")),
            ConfigChange::Edit { set, unset } => format!("Set {} and unset {}", names(set), unset.join(", ")),
        }
    }
}

impl Platform {
    /// The config of an app, or of the host, values byte for byte. `merged` lays an app's over the host's, as its next
    /// release gets it.
    pub async fn config(
        &self,
        actor: &Actor,
        app: Option<&AppName>,
        merged: bool,
    ) -> Result<EnvMap, PlatformError> {
        self.may_manage_config(actor, app, "read the config of").await?;
        let app = app.cloned();
        let read = move |store: &Store| match &app {
            Some(app) if merged => store.merged_config(app),
            Some(app) => store.config(app),
            None => store.host_config(),
        };
        Ok(self.parts().store.call(read).await?)
    }

    /// Records a change of an app's config, or of the host's, as one. Whether it is another one afterwards. It counts
    /// from the next release on, which [`Platform::apply_config`] makes.
    pub async fn change_config(
        &self,
        actor: &Actor,
        app: Option<&AppName>,
        change: ConfigChange,
    ) -> Result<bool, PlatformError> {
        self.may_manage_config(actor, app, "change the config of").await?;
        let summary = change.summary();
        let scope = app.cloned();
        let update = move |store: &Store| store.update_config(scope.as_ref(), |env| change.apply(env));
        let is_new = self.parts().store.call(update).await.map_err(refused)?;
        if is_new {
            tracing::info!(app = app.map(AppName::as_str), by = actor.name, "config changed: {summary}");
            self.event(actor, app, "config:set", summary);
        }
        Ok(is_new)
    }

    /// Makes a new release of what is live, with the config as it is now, unless that is what runs already: nothing is
    /// built, and no request is lost.
    pub async fn apply_config(
        &self,
        actor: &Actor,
        app: &AppName,
        reason: &str,
        screen: &mut impl Screen,
        gone: &CancellationToken,
    ) -> Result<Applied, PlatformError> {
        let record = self.app_for(actor, app, Action::ManageConfig, "change the config of").await?;
        let Some(number) = record.current_release else { return Ok(Applied::NoRelease) };
        let name = app.clone();
        let compare =
            move |store: &Store| Ok(store.release_config(&name, number)? == store.merged_config(&name)?);
        if self.parts().store.call(compare).await? {
            return Ok(Applied::AlreadyLive);
        }
        if record.settings.lock.is_some() {
            return Ok(Applied::Locked);
        }
        Ok(match self.redeploy(actor, app, reason, screen, gone).await? {
            None => Applied::NoRelease,
            Some(Outcome::Live(number)) => Applied::Live(number),
            Some(Outcome::Failed) => Applied::Failed,
        })
    }

    /// Applies the host's config to every app, one after the other. How many could not be given it; the screen says
    /// which and why.
    pub async fn apply_host_config(
        &self,
        actor: &Actor,
        reason: &str,
        screen: &mut impl Screen,
        gone: &CancellationToken,
    ) -> Result<usize, PlatformError> {
        check_host(actor, "change the config of the host")?;
        let apps = self.parts().store.call(Store::apps).await?;
        let mut left = 0;
        for app in apps {
            let applied = self.apply_config(actor, &app.name, reason, screen, gone).await;
            let why = match applied {
                Ok(Applied::Live(_) | Applied::AlreadyLive | Applied::NoRelease) => continue,
                Ok(Applied::Locked) => format!("{} is locked: its next deployment gets it", app.name),
                Ok(Applied::Failed) => format!("{} goes on with its config before", app.name),
                // It was destroyed meanwhile.
                Err(error) if error.kind == ErrorKind::NoApp => continue,
                Err(error) => error.message,
            };
            left += 1;
            if screen.show(Line::trouble(why)).await.is_err() {
                // Nobody waits any more; what was recorded counts from the next deployment of the others on.
                break;
            }
        }
        Ok(left)
    }

    async fn may_manage_config(
        &self,
        actor: &Actor,
        app: Option<&AppName>,
        what: &str,
    ) -> Result<(), PlatformError> {
        match app {
            Some(app) => self.app_for(actor, app, Action::ManageConfig, what).await.map(drop),
            None => check_host(actor, &format!("{what} the host")),
        }
    }
}

/// What a change was refused for is told; everything else is the platform's own fault.
pub(crate) fn refused(error: StoreError) -> PlatformError {
    match error {
        StoreError::Conflict { what, name, why } => {
            PlatformError::new(ErrorKind::Conflict, format!("the {what} of {name} cannot be changed: {why}"))
        }
        error => error.into(),
    }
}
