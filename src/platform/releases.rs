//! Releases: what was live, a new one for another config, and back to an earlier one.

use std::collections::BTreeMap;

use autostack_deploy::{ConfigOf, Input};
use autostack_domain::{
    App, AppName, Artifact, EnvMap, Formation, ProcessType, Release, ReleaseNumber, UnixMillis,
    permission::{Action, Actor, allows},
};
use autostack_store::Store;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{
    deployments::Outcome,
    error::{ErrorKind, PlatformError},
    platform::Platform,
    screen::Screen,
};

/// A release as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ReleaseView {
    /// Its number: `v3`.
    pub version: ReleaseNumber,
    /// Whether visitors meet it.
    pub is_live: bool,
    /// Why it was made: `Deploy 3f9c2a1`, `Set DATABASE_URL`, `Rollback to v3`.
    pub description: String,
    /// What its artifact was made from: a commit or an image.
    pub source: String,
    /// The release whose artifact it runs again, where none was made for it.
    pub again: Option<ReleaseNumber>,
    /// Who made it; `None` where that is not recorded any more.
    pub by: Option<String>,
    /// When.
    pub created_at: UnixMillis,
}

/// A release in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ReleaseDetails {
    /// What the list says of it.
    #[serde(flatten)]
    pub view: ReleaseView,
    /// The deployment that made it, whose log is kept for a while.
    pub deployment: String,
    /// The deployment that built its artifact.
    pub built_by: String,
    /// `image`, `folder` or `static site`.
    pub artifact: &'static str,
    /// Command line of each process type; `None` for the command of the image.
    pub processes: BTreeMap<ProcessType, Option<String>>,
    /// How many of each were wanted when it was made. It is not gone back to: what is wanted now is the operator's.
    pub formation: Formation,
    /// Names of the variables that differ from the release before, for who may read the config; `+` new, `-` gone,
    /// `~` another value.
    pub config_changes: Option<Vec<String>>,
}

impl Platform {
    /// The releases that are kept, newest first.
    pub async fn releases(&self, actor: &Actor, name: &AppName) -> Result<Vec<ReleaseView>, PlatformError> {
        let app = self.app_for(actor, name, Action::ViewApp, "see").await?;
        let read = move |store: &Store| {
            let mut views = Vec::new();
            for release in store.releases(&app.name)? {
                // One that is being prepared is not one yet.
                if Some(release.number) <= app.current_release {
                    views.push(view(store, &app, release)?);
                }
            }
            views.reverse();
            Ok(views)
        };
        Ok(self.parts().store.call(read).await?)
    }

    /// One release in full; the live one without a number.
    pub async fn release(
        &self,
        actor: &Actor,
        name: &AppName,
        number: Option<ReleaseNumber>,
    ) -> Result<ReleaseDetails, PlatformError> {
        let (app, role) = self.find(actor, name).await?.ok_or_else(|| PlatformError::no_such_app(name))?;
        if !allows(actor, role, Action::ViewApp) {
            return Err(PlatformError::no_such_app(name));
        }
        let reads_config = allows(actor, role, Action::ManageConfig);
        let Some(number) = number.or(app.current_release) else {
            return Err(none_yet(name));
        };
        let read = move |store: &Store| {
            let all = store.releases(&app.name)?;
            let Some(at) = all.iter().position(|release| release.number == number) else { return Ok(None) };
            let Some(release) = all.get(at).cloned() else { return Ok(None) };
            let before = at.checked_sub(1).and_then(|at| all.get(at));
            let config_changes = if reads_config {
                let was = match before {
                    Some(before) => store.release_config(&app.name, before.number)?,
                    None => EnvMap::new(),
                };
                Some(changes(&was, &store.release_config(&app.name, number)?))
            } else {
                None
            };
            Ok(Some(ReleaseDetails {
                deployment: release.deployment.to_string(),
                built_by: release.artifact.built_by().to_string(),
                artifact: match &release.artifact {
                    artifact if artifact.static_site().is_some() => "static site",
                    Artifact::Directory { .. } => "folder",
                    Artifact::Image { .. } => "image",
                },
                processes: release.processes.clone(),
                formation: release.formation.clone(),
                config_changes,
                view: view(store, &app, release)?,
            }))
        };
        let found = self.parts().store.call(read).await?;
        let Some(details) = found else { return Err(self.no_such_release(name, number).await?) };
        Ok(details)
    }

    /// Goes back to code and config of an earlier release, which becomes a new one; nothing is built. Without a number
    /// to the one before the live one. The formation stays as it is.
    pub async fn rollback(
        &self,
        actor: &Actor,
        name: &AppName,
        to: Option<ReleaseNumber>,
        screen: &mut impl Screen,
        gone: &CancellationToken,
    ) -> Result<Outcome, PlatformError> {
        let app = self.app_for(actor, name, Action::Operate, "roll back").await?;
        let Some(live) = app.current_release else { return Err(none_yet(name)) };
        let owner = name.clone();
        let releases = self.parts().store.call(move |store: &Store| store.releases(&owner)).await?;
        let earlier = releases.iter().rev().find(|release| release.number < live);
        let target = match to {
            Some(number) if number == live => {
                let message = format!("{number} is live already");
                return Err(PlatformError::new(ErrorKind::Conflict, message)
                    .hint(format!("ps:restart {name} starts it anew")));
            }
            Some(number) => releases.iter().find(|release| release.number == number && number < live),
            None => earlier,
        };
        let target = match (target, to) {
            (Some(release), _) => release,
            (None, Some(number)) => return Err(self.no_such_release(name, number).await?),
            (None, None) => {
                let message = format!("the app {name} has no release before {live}");
                return Err(PlatformError::new(ErrorKind::Conflict, message).hint("push another commit"));
            }
        };
        if let Some(why) = self.missing(target).await? {
            let message = format!("release {} of {name} cannot be run again: {why}", target.number);
            let hint = self.others(&releases, live).await?;
            return Err(PlatformError::new(ErrorKind::Conflict, message).hint(hint));
        }
        self.event(actor, name, "rollback", format!("Rollback to {}", target.number));
        let input = Input::Again {
            of: Some(target.number),
            config: ConfigOf::Release,
            reason: format!("Rollback to {}", target.number),
        };
        self.deploy(actor, name, input, screen, gone).await
    }

    /// Makes a new release of what is live, with the config that the app has when its turn comes: nothing is built, the
    /// new instances start beside the old ones, and no request is lost. `reason` is for people: `Set DATABASE_URL`.
    /// `None` for an app without a release, whose first one gets the config anyway. The caller has asked whether the
    /// actor may.
    pub(crate) async fn redeploy(
        &self,
        actor: &Actor,
        app: &AppName,
        reason: impl Into<String>,
        screen: &mut impl Screen,
        gone: &CancellationToken,
    ) -> Result<Option<Outcome>, PlatformError> {
        let name = app.clone();
        let found = self.parts().store.call(move |store: &Store| store.app(&name)).await?;
        if found.ok_or_else(|| PlatformError::no_such_app(app))?.current_release.is_none() {
            return Ok(None);
        }
        let input = Input::Again { of: None, config: ConfigOf::App, reason: reason.into() };
        self.deploy(actor, app, input, screen, gone).await.map(Some)
    }

    /// What is missing of a release's artifact.
    async fn missing(&self, release: &Release) -> Result<Option<&'static str>, PlatformError> {
        self.0
            .deployer
            .missing(release)
            .await
            .map_err(|failure| PlatformError::new(ErrorKind::Conflict, failure.cause).hint(failure.hint))
    }

    /// Which releases can be gone back to, as a hint.
    async fn others(&self, releases: &[Release], live: ReleaseNumber) -> Result<String, PlatformError> {
        let mut there = Vec::new();
        for release in releases.iter().rev().filter(|release| release.number < live) {
            if self.missing(release).await?.is_none() {
                there.push(release.number.to_string());
            }
        }
        Ok(match there.as_slice() {
            [] => "there is no other to go back to; push the commit again".to_owned(),
            there => format!("you can go back to {}", there.join(", ")),
        })
    }

    async fn no_such_release(
        &self,
        name: &AppName,
        number: ReleaseNumber,
    ) -> Result<PlatformError, PlatformError> {
        let owner = name.clone();
        let read = move |store: &Store| Ok((store.app(&owner)?, store.releases(&owner)?));
        let (app, releases) = self.parts().store.call(read).await?;
        let message = format!("the app {name} has no release {number} (any more)");
        let error = PlatformError::new(ErrorKind::NotFound, message);
        Ok(match app.and_then(|app| app.current_release) {
            Some(live) => error.hint(self.others(&releases, live).await?),
            None => error.hint("push to it first"),
        })
    }
}

fn view(store: &Store, app: &App, release: Release) -> Result<ReleaseView, autostack_store::StoreError> {
    let by = match store.deployment(&release.deployment)? {
        Some(deployment) => store.user(&deployment.user)?.map(|user| user.email),
        None => None,
    };
    Ok(ReleaseView {
        version: release.number,
        is_live: app.current_release == Some(release.number),
        source: release.source.to_string(),
        description: release.description,
        again: release.again,
        by,
        created_at: release.created_at,
    })
}

/// Names of the variables that differ.
fn changes(before: &EnvMap, after: &EnvMap) -> Vec<String> {
    let gone =
        before.iter().filter(|(name, _)| after.get(name).is_none()).map(|(name, _)| format!("-{name}"));
    let set = after.iter().filter_map(|(name, value)| match before.get(name) {
        None => Some(format!("+{name}")),
        Some(was) if was != value => Some(format!("~{name}")),
        Some(_) => None,
    });
    let mut all: Vec<String> = gone.chain(set).collect();
    all.sort_by(|a, b| a.get(1..).cmp(&b.get(1..)));
    all
}

fn none_yet(name: &AppName) -> PlatformError {
    PlatformError::new(ErrorKind::Conflict, format!("the app {name} has no release yet"))
        .hint("push to it first")
}
