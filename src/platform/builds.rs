//! Deployments looked at, listened to and cancelled, from any connection.

use std::{
    collections::HashMap,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::Duration,
};

use autostack_deploy::Job;
use autostack_domain::{
    AppName, Deployment, DeploymentId, DeploymentState, Failure, Invalid, ReleaseNumber, Source, StageRecord,
    UnixMillis,
    permission::{Action, Actor},
};
use autostack_logs::Stream;
use autostack_store::{DeploymentMark, DeploymentQuery, Store, StoreError};
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::{
    config::refused,
    error::{ErrorKind, PlatformError},
    platform::Platform,
};

/// How long a cancelled deployment may take to undo what it has made.
const CANCEL_LIMIT: Duration = Duration::from_secs(60);
/// Pause between two looks at it.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Deployments of one app that are looked through for a certain one.
const LOOKED_THROUGH_MAX: usize = autostack_domain::limits::FINISHED_DEPLOYMENTS_PER_APP_MAX * 2;

/// A deployment as its users see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct BuildView {
    /// Its id.
    pub id: DeploymentId,
    /// The app.
    pub app: AppName,
    /// How far it is.
    pub state: DeploymentState,
    /// What is deployed, as people name it.
    pub source: String,
    /// The ref that was pushed, where it came by a push.
    pub git_ref: Option<String>,
    /// The release that it made, once there is one.
    pub release: Option<ReleaseNumber>,
    /// When it was asked for.
    pub started_at: UnixMillis,
    /// When it reached its final state.
    pub ended_at: Option<UnixMillis>,
    /// Who asked for it; the id of somebody who is not known any more.
    #[serde(rename = "by")]
    pub who: String,
    /// Its stages so far.
    pub stages: Vec<StageRecord>,
    /// Why it did not go live.
    pub failure: Option<Failure>,
}

/// A page of deployments, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildPage {
    /// Those that fit.
    pub builds: Vec<BuildView>,
    /// Where the next page begins; `None` when there is no more.
    pub next: Option<DeploymentMark>,
}

/// Which deployment of an app somebody means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The one with this id.
    Id(DeploymentId),
    /// The one under way, or else the last one.
    Current,
    /// The one that made this release.
    Release(ReleaseNumber),
}

impl FromStr for Which {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        if given == "current" {
            return Ok(Which::Current);
        }
        if let Ok(release) = given.parse() {
            return Ok(Which::Release(release));
        }
        let id = given.parse().map(Which::Id);
        id.map_err(|_| {
            Invalid::new("build", given, "give its id (builds:list shows it), v1, v2 …, or current")
        })
    }
}

/// What became of a deployment that was to be cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancelled {
    /// The deployment.
    pub id: DeploymentId,
    /// How it ended: it may have been faster.
    pub state: DeploymentState,
}

/// The ways to end the deployments under way.
#[derive(Default)]
pub(crate) struct Builds(Mutex<HashMap<DeploymentId, UnderWay>>);

struct UnderWay {
    cancel: CancellationToken,
    /// Lives as long as the job.
    cancelled_by: Weak<OnceLock<String>>,
}

impl Builds {
    /// A job begins; it is forgotten after its end.
    pub(crate) fn begin(&self, job: &Job) {
        let mut map = self.map();
        map.retain(|_, known| known.cancelled_by.strong_count() > 0);
        let (cancel, cancelled_by) = (job.cancel.clone(), Arc::downgrade(&job.cancelled_by));
        map.insert(job.id.clone(), UnderWay { cancel, cancelled_by });
    }

    /// Ends a job in somebody's name; `false` where there is none of that id.
    fn cancel(&self, id: &DeploymentId, name: &str) -> bool {
        let map = self.map();
        let Some(under_way) = map.get(id) else { return false };
        let Some(cancelled_by) = under_way.cancelled_by.upgrade() else { return false };
        // Of several who end it, the first is named.
        let _named = cancelled_by.set(name.to_owned());
        under_way.cancel.cancel();
        true
    }

    fn map(&self) -> MutexGuard<'_, HashMap<DeploymentId, UnderWay>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Platform {
    /// The last deployments of an app, or of all apps that the actor may see, newest first.
    pub async fn builds(
        &self,
        actor: &Actor,
        app: Option<&AppName>,
        limit: usize,
    ) -> Result<Vec<BuildView>, PlatformError> {
        let apps = match app {
            Some(app) => vec![self.app_for(actor, app, Action::ViewApp, "see").await?.name],
            None => self.apps(actor).await?.into_iter().map(|app| app.name).collect(),
        };
        let read = move |store: &Store| {
            let mut found = Vec::new();
            for app in &apps {
                found.extend(store.deployments(app, limit)?);
            }
            found.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
            found.truncate(limit);
            views(store, found)
        };
        Ok(self.parts().store.call(read).await?)
    }

    /// A page of deployments, newest first; `query` names the apps, or none for all that the actor may see.
    pub async fn build_page(
        &self,
        actor: &Actor,
        mut query: DeploymentQuery,
    ) -> Result<BuildPage, PlatformError> {
        if query.apps.is_empty() {
            query.apps = self.apps(actor).await?.into_iter().map(|app| app.name).collect();
        } else {
            for app in &query.apps {
                self.app_for(actor, app, Action::ViewApp, "see").await?;
            }
        }
        let read = move |store: &Store| {
            let page = store.deployment_page(&query)?;
            Ok(BuildPage { builds: views(store, page.deployments)?, next: page.next })
        };
        Ok(self.parts().store.call(read).await?)
    }

    /// Forgets a deployment that has ended, with its log; that of the live release stays.
    pub async fn remove_build(&self, actor: &Actor, id: &DeploymentId) -> Result<(), PlatformError> {
        let found = self.find_build(actor, None, &Which::Id(id.clone()), Action::Push).await?;
        let gone = id.clone();
        self.parts()
            .store
            .call(move |store: &Store| store.remove_deployment(&gone))
            .await
            .map_err(refused)?;
        self.parts().logs.remove_deployment(id)?;
        self.event(actor, &found.app, "builds:remove", format!("{} ({id})", found.source));
        Ok(())
    }

    /// One deployment. Without an app it must be named by its id.
    pub async fn build(
        &self,
        actor: &Actor,
        app: Option<&AppName>,
        which: &Which,
    ) -> Result<BuildView, PlatformError> {
        let found = self.find_build(actor, app, which, Action::ViewApp).await?;
        let view = self.parts().store.call(move |store: &Store| views(store, vec![found])).await?;
        view.into_iter().next().ok_or_else(|| no_build(which))
    }

    /// The log of a deployment: it ends when the deployment does.
    pub async fn build_log(
        &self,
        actor: &Actor,
        app: Option<&AppName>,
        which: &Which,
    ) -> Result<(BuildView, Arc<Stream>), PlatformError> {
        let found = self.find_build(actor, app, which, Action::ReadLogs).await?;
        let log = self.parts().logs.deployment(&found.id)?;
        let view = self.parts().store.call(move |store: &Store| views(store, vec![found])).await?;
        let view = view.into_iter().next().ok_or_else(|| no_build(which))?;
        Ok((view, log))
    }

    /// Ends a deployment under way, waits until all that it made is undone, and says how it ended: it may have been
    /// faster. Without an id it is the oldest one of the app that has not ended.
    pub async fn cancel_build(
        &self,
        actor: &Actor,
        app: &AppName,
        id: Option<&DeploymentId>,
    ) -> Result<Cancelled, PlatformError> {
        self.app_for(actor, app, Action::Push, "cancel a build of").await?;
        let name = app.clone();
        let known =
            self.parts().store.call(move |store| store.deployments(&name, LOOKED_THROUGH_MAX)).await?;
        let found = match id {
            Some(id) => known.iter().find(|build| build.id == *id),
            None => known.iter().rev().find(|build| !build.state.is_final()),
        };
        let none = || {
            let message = format!("no build of {app} is under way");
            PlatformError::new(ErrorKind::Conflict, message)
                .hint(format!("builds:list {app} shows the last ones"))
        };
        let found = match (found, id) {
            (Some(found), _) => found,
            (None, Some(id)) => return Err(no_build(&Which::Id(id.clone()))),
            (None, None) => return Err(none()),
        };
        if found.state.is_final() {
            let message = format!("build {} has ended: {}", found.id, state_name(found.state));
            return Err(PlatformError::new(ErrorKind::Conflict, message));
        }
        if !self.0.builds.cancel(&found.id, &actor.name) {
            return Err(none());
        }
        self.event(actor, app, "builds:cancel", format!("{} ({})", found.source, found.id));
        let state = self.wait_for_end(&found.id).await?;
        Ok(Cancelled { id: found.id.clone(), state })
    }

    async fn wait_for_end(&self, id: &DeploymentId) -> Result<DeploymentState, PlatformError> {
        let give_up_at = Instant::now() + CANCEL_LIMIT;
        loop {
            let asked = id.clone();
            // Without a record its app was destroyed meanwhile.
            let found = self.parts().store.call(move |store| store.deployment(&asked)).await?;
            let state = found.map_or(DeploymentState::Cancelled, |build| build.state);
            if state.is_final() || Instant::now() > give_up_at {
                return Ok(state);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn find_build(
        &self,
        actor: &Actor,
        app: Option<&AppName>,
        which: &Which,
        action: Action,
    ) -> Result<Deployment, PlatformError> {
        let what = match action {
            Action::Push => "remove a deployment of",
            _ => "read the build logs of",
        };
        let Some(app) = app else {
            let Which::Id(id) = which else {
                return Err(PlatformError::new(ErrorKind::Invalid, "name the app, or the id of a build"));
            };
            let asked = id.clone();
            let found = self.parts().store.call(move |store| store.deployment(&asked)).await?;
            let found = found.ok_or_else(|| no_build(which))?;
            return match self.app_for(actor, &found.app, action, what).await {
                Ok(_) => Ok(found),
                // Nothing about apps that the actor may not see.
                Err(error) if error.kind == ErrorKind::NoApp => Err(no_build(which)),
                Err(error) => Err(error),
            };
        };
        self.app_for(actor, app, action, what).await?;
        let name = app.clone();
        let known =
            self.parts().store.call(move |store| store.deployments(&name, LOOKED_THROUGH_MAX)).await?;
        let found = match which {
            Which::Id(id) => known.into_iter().find(|build| build.id == *id),
            Which::Release(number) => known.into_iter().find(|build| build.release == Some(*number)),
            Which::Current => {
                let running = known.iter().rposition(|build| !build.state.is_final()).unwrap_or(0);
                known.into_iter().nth(running)
            }
        };
        found.ok_or_else(|| match which {
            Which::Current => {
                PlatformError::new(ErrorKind::Conflict, format!("the app {app} was never deployed"))
                    .hint("git push deploys it")
            }
            other => no_build(other),
        })
    }
}

/// The states as people read them.
pub fn state_name(state: DeploymentState) -> &'static str {
    match state {
        DeploymentState::Queued => "queued",
        DeploymentState::Running => "running",
        DeploymentState::Prepared => "prepared",
        DeploymentState::Success => "success",
        DeploymentState::Failed => "failed",
        DeploymentState::Cancelled => "cancelled",
    }
}

fn no_build(which: &Which) -> PlatformError {
    let what = match which {
        Which::Id(id) => format!("there is no build {id}"),
        Which::Release(number) => format!("no build that is still known has made {number}"),
        Which::Current => "there is no build".to_owned(),
    };
    PlatformError::new(ErrorKind::NotFound, what).hint("builds:list APP shows the last ones")
}

fn views(store: &Store, builds: Vec<Deployment>) -> Result<Vec<BuildView>, StoreError> {
    let mut names = HashMap::new();
    let mut seen = Vec::with_capacity(builds.len());
    for build in builds {
        let who = match names.get(&build.user) {
            Some(name) => String::clone(name),
            None => {
                let name = store.user(&build.user)?.map_or_else(|| build.user.to_string(), |user| user.email);
                names.insert(build.user.clone(), name.clone());
                name
            }
        };
        let git_ref = match &build.source {
            Source::Commit { git_ref, .. } => Some(git_ref.short().to_owned()),
            _ => None,
        };
        seen.push(BuildView {
            source: build.source.to_string(),
            id: build.id,
            app: build.app,
            state: build.state,
            git_ref,
            release: build.release,
            started_at: build.created_at,
            ended_at: build.ended_at,
            who,
            stages: build.stages,
            failure: build.failure,
        });
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_named_by_its_id_its_release_or_as_the_current_one() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(id.parse(), Ok(Which::Id(id.parse().unwrap())));
        assert_eq!("v3".parse(), Ok(Which::Release(ReleaseNumber(3))));
        assert_eq!("current".parse(), Ok(Which::Current));
        for bad in ["", "latest", "../x", "01890a5d"] {
            assert!(bad.parse::<Which>().is_err(), "{bad}");
        }
    }
}
