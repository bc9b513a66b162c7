//! The checks of what runs, asked because somebody wants to know.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use autostack_base::clock;
use autostack_domain::{App, Failure};
use autostack_runtime::{InstanceState, Observed, RuntimeError};
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::{
    adopt::load_live,
    beside,
    deployer::{Deployer, Parts},
    furnish,
    launch::Launchable,
    probe::Started,
    ready::{Wait, wait_until_ready},
};

/// How long the checks of one instance may take when somebody waits for them.
const LIMIT: Duration = Duration::from_secs(60);

/// How one instance did.
#[derive(Debug)]
pub struct Checked {
    /// `web.1`.
    pub dyno: String,
    /// What was seen, line by line.
    pub lines: Vec<String>,
    /// Why it did not pass.
    pub failure: Option<Failure>,
}

impl Deployer {
    /// Asks the running instances of the live release: all, those of a process type (`web`), or one (`web.1`).
    ///
    /// # Errors
    /// When what runs cannot be listed.
    pub async fn check_now(&self, app: &App, only: Option<&str>) -> Result<Vec<Checked>, RuntimeError> {
        let parts = &self.parts;
        let launch = match load_live(parts, app).await {
            Ok(Some((launch, _))) => launch,
            Ok(None) => return Ok(Vec::new()),
            Err(error) => {
                tracing::error!(app = %app.name, %error, "the live release cannot be read");
                return Ok(Vec::new());
            }
        };
        let is_meant = |found: &&Observed| {
            let spec = &found.spec;
            let is_named = only.is_none_or(|only| only == spec.process.as_str() || only == spec.dyno());
            let is_current = spec.release == launch.release.number
                && launch.release.processes.contains_key(&spec.process)
                && !spec.process.is_release();
            spec.app == app.name && found.state == InstanceState::Running && is_current && is_named
        };
        let listing = parts.runtime.listing().await?;
        let found: Vec<&Observed> = listing.observed.iter().filter(is_meant).collect();
        Ok(join_all(found.into_iter().map(|instance| ask(parts, &launch, instance))).await)
    }
}

async fn ask(parts: &Parts, launch: &Launchable, instance: &Observed) -> Checked {
    let spec = instance.spec.clone();
    let uptime = Duration::from_millis(clock::now().since(instance.started_at));
    let since = Instant::now().checked_sub(uptime).unwrap_or_else(Instant::now);
    let started = Started { spec, endpoint: instance.endpoint, since };
    let host = parts.host(&launch.release.app);
    // What is skipped in a deployment is what somebody asks for here.
    let asked = furnish::asked(parts, launch, &started.spec.process).await;
    let lines = Mutex::new(Vec::new());
    let wait = Wait {
        checks: &asked.checks,
        is_skipped: false,
        is_lambda: launch.is_function(&started.spec.process),
        host: host.as_str(),
        limit: LIMIT,
        uptime: beside::uptime(false),
        say: &|line| lines.lock().unwrap_or_else(PoisonError::into_inner).push(line),
    };
    let failure = wait_until_ready(parts, &started, &wait).await.err();
    let mut lines = lines.into_inner().unwrap_or_else(PoisonError::into_inner);
    if failure.is_none() && lines.is_empty() {
        lines.push(format!("{} runs and has no checks of its own", started.spec.dyno()));
    }
    Checked { dyno: started.spec.dyno(), lines, failure }
}
