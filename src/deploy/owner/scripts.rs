//! What the `app.json` of a release has done once after the switch: in its environment, beside its instances. It is live
//! whatever comes of it.

use std::sync::Arc;

use autostack_domain::{LineKind, ProcessType};
use tokio_util::sync::CancellationToken;

use super::Owner;
use crate::{
    deployer::{Job, Parts, Script},
    ending,
    furnish::furnish,
    launch::{self, Launchable},
    once::run_once,
};

impl Owner {
    /// Runs the scripts one after the other, then ends the build log. The token is cancelled once that is done.
    pub(super) fn run_scripts(
        &mut self,
        scripts: Vec<Script>,
        launch: Arc<Launchable>,
        job: Box<Job>,
    ) -> CancellationToken {
        let ended = CancellationToken::new();
        if scripts.is_empty() {
            ending::seal(&job);
            ended.cancel();
            return ended;
        }
        let (parts, stop) = (Arc::clone(&self.supervision.parts), self.scripts.clone());
        let told = ended.clone().drop_guard();
        let running = self.parts().tasks.spawn("postdeploy", async move {
            let _told_whatever_happens = told;
            for script in &scripts {
                if stop.is_cancelled() {
                    break;
                }
                job.log.step(format!("Running {}: {}", script.key, script.command));
                if let Err(why) = run(script, &launch, &job, &parts, &stop).await {
                    let text =
                        format!("{} of {} {why}; the release is live", script.key, launch.release.number);
                    job.log.trouble(text.clone());
                    parts.say(&job.app, LineKind::Trouble, text.clone());
                    ending::record(&job, &parts, "deploy:postdeploy", &format!("is live, but {text}"));
                }
            }
            ending::seal(&job);
        });
        self.remember(running);
        ended
    }
}

/// Runs one; the refusal says what was wrong with it.
async fn run(
    script: &Script,
    launch: &Launchable,
    job: &Job,
    parts: &Parts,
    stop: &CancellationToken,
) -> Result<(), String> {
    let spec = furnish(parts, launch.one_off(&ProcessType::run(), script.command.clone())).await;
    let limit = parts.settings().build.timeout;
    match run_once(parts, &spec, &job.log, stop, limit).await {
        Some(Ok(exit)) if exit.is_success() => Ok(()),
        Some(_) if stop.is_cancelled() => Err("was ended with the app or the agent".to_owned()),
        Some(Ok(exit)) => Err(exit.to_string()),
        Some(Err(error)) => {
            let failure = launch::start_failure(autostack_domain::Stage::Switch, script.key, &error);
            Err(format!("did not run: {}", failure.cause))
        }
        None => Err(format!("did not end within {} s and was ended", limit.as_secs())),
    }
}
