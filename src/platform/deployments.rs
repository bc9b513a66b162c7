//! Deployments that a command asks for: recorded, taken through the pipeline, shown as they go.

use std::sync::Arc;

use autostack_base::clock;
use autostack_deploy::{Input, Job};
use autostack_domain::{
    AppName, Deployment, DeploymentId, DeploymentState, ReleaseNumber, permission::Actor,
};
use autostack_logs::Offset;
use autostack_store::Store;
use tokio_util::sync::CancellationToken;

use crate::{
    error::{ErrorKind, PlatformError},
    platform::Platform,
    screen::{Screen, follow, show_all},
};

/// How a deployment ended that was shown while it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is live.
    Live(ReleaseNumber),
    /// It is not; the screen says why.
    Failed,
}

impl Platform {
    /// Records a deployment as queued and opens its log; refuses one of a locked app.
    pub(crate) async fn record_job(
        &self,
        actor: &Actor,
        app: &AppName,
        input: Input,
        cancel: CancellationToken,
    ) -> Result<Job, PlatformError> {
        self.check_lock(app).await?;
        let id: DeploymentId = uuid::Uuid::now_v7().to_string().parse()?;
        let log = self.parts().logs.build_log(&id)?;
        let (by, cancelled_by) = (Box::new(actor.into()), Arc::default());
        let job = Job { id: id.clone(), app: app.clone(), input, by, cancel, cancelled_by, log };
        let deployment = Deployment {
            id,
            app: app.clone(),
            user: actor.user.clone(),
            source: job.source(),
            state: DeploymentState::Queued,
            stages: Vec::new(),
            release: None,
            failure: None,
            created_at: clock::now(),
            ended_at: None,
        };
        let outdated =
            self.parts().store.call(move |store: &Store| store.create_deployment(&deployment)).await?;
        self.0.builds.begin(&job);
        self.event(actor, app, "deploy:start", format!("{} ({})", job.source(), job.id));
        for old in outdated {
            if let Err(error) = self.parts().logs.remove_deployment(&old) {
                tracing::warn!(deployment = %old, %error, "an old build log could not be removed");
            }
        }
        Ok(job)
    }

    /// Takes something live, and shows the build log as it grows. Ends it when `gone` says that nobody waits any more.
    pub(crate) async fn deploy(
        &self,
        actor: &Actor,
        app: &AppName,
        input: Input,
        screen: &mut impl Screen,
        gone: &CancellationToken,
    ) -> Result<Outcome, PlatformError> {
        self.check_space()?;
        self.0.leaving.check(app)?;
        let cancel = gone.child_token();
        let job = self.record_job(actor, app, input, cancel.clone()).await?;
        screen.begun(&job.id);
        let log = job.log.clone();
        let mut reader = log.stream().reader(Offset::START);
        let ended = CancellationToken::new();
        let live = async {
            let outcome = self.0.deployer.go_live(job).await;
            ended.cancel();
            outcome
        };
        let (outcome, shown) = tokio::join!(live, follow(&mut reader, screen, &ended, &cancel));
        match outcome {
            Ok(number) => Ok(Outcome::Live(number)),
            Err(failure) => {
                // The end of a log that was closed in order is the failure itself.
                if shown.is_err() || !log.stream().is_sealed() || log.lost() > 0 {
                    show_all(screen, failure.lines()).await;
                }
                Ok(Outcome::Failed)
            }
        }
    }

    /// Refuses what only a container engine can do.
    pub(crate) fn check_engine(&self) -> Result<(), PlatformError> {
        if self.parts().engine.is_some() {
            return Ok(());
        }
        let message =
            "this host runs no containers: it has no container engine, or runtime.backend says process";
        Err(PlatformError::new(ErrorKind::Conflict, message)
            .hint("ask the operator of the host to install Docker or Podman, and to set runtime.backend to \"docker\""))
    }
}
