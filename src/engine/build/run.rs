//! [`Engine::build`]: chooses the builder, watches the clock and the cancel, and looks at what came of it.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use autostack_base::tasks::Tasks;
use autostack_domain::FailureKind;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::{self, Instant};
use tokio_util::sync::CancellationToken;

use super::{
    budget::BuildKitBudget,
    buildkit,
    classic::{self, ClassicProgress},
    diagnose::{self, Failed},
    error::BuildError,
    progress::{FailedStep, Progress},
    request::{Build, BuilderChoice, Built, Unenforced},
    script::Script,
    wire::BuildLine,
};
use crate::{Engine, about::About, error::EngineError, labels, output::Say};

/// Why a builder stopped.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The engine could not be worked with.
    Engine(EngineError),
    /// The builder said why.
    Said {
        /// In its own words.
        message: String,
        /// Exit code of the command that failed, where it says so beside the words.
        exit_code: Option<i64>,
    },
    /// The commit could not be read.
    Input(String),
    /// The caller gave it up.
    Cancelled,
    /// It took too long.
    TimedOut,
}

impl Broken {
    /// The failure that a line of the answer tells of.
    pub(crate) fn said(line: &BuildLine) -> Option<Self> {
        let detail = line.error_detail.clone().unwrap_or_default();
        let message = if detail.message.is_empty() { line.error.clone() } else { detail.message };
        (!message.is_empty()).then_some(Broken::Said { message, exit_code: detail.code })
    }
}

/// What a builder left behind.
struct Ended {
    outcome: Result<(), Broken>,
    /// The step that failed, or the one that ran when it was ended.
    step: Option<FailedStep>,
    warnings: Vec<String>,
    unenforced: Vec<Unenforced>,
    /// Bytes, where builds met their memory limit meanwhile.
    memory_met: Option<u64>,
}

impl Engine {
    /// Builds an image and looks at it. What the build says goes to `say` as it comes.
    ///
    /// Ends within a second of `cancel`, and at the time limit; then, and when the returned future is dropped, the
    /// engine ends what the build runs.
    ///
    /// # Errors
    /// Why there is no image, with evidence and a hint.
    pub async fn build(
        &self,
        build: Build<'_>,
        say: &Say<'_>,
        cancel: &CancellationToken,
    ) -> Result<Built, BuildError> {
        let clock = Clock { deadline: Instant::now() + build.time_limit, cancel };
        let limit = build.time_limit;
        let script = Arc::new(read_script(&build).await?);
        let about = match clock.watch(self.about()).await {
            Some(about) => about?,
            None => return Err(ended_by(&clock, limit, None)),
        };
        let ended = if uses_buildkit(&build, &about)? {
            self.by_buildkit(&build, &script, &about, say, &clock).await
        } else {
            classic::refuse_what_it_cannot(&build)?;
            self.by_classic(&build, &script, say, &clock).await
        };
        if let Err(broken) = ended.outcome {
            return Err(failure(broken, ended.step, ended.memory_met, &build, &script, limit));
        }
        let image = self.inspect_image(&build.tag).await?.ok_or_else(|| {
            BuildError::internal(format!("the engine built {} and does not have it", build.tag))
        })?;
        Ok(Built { image, warnings: ended.warnings, unenforced: ended.unenforced })
    }

    async fn by_buildkit(
        &self,
        build: &Build<'_>,
        script: &Script,
        about: &About,
        say: &Say<'_>,
        clock: &Clock<'_>,
    ) -> Ended {
        let (budget, about) = (build.budget, about.clone());
        let mut budget = BuildKitBudget::set(budget, &about);
        let mut progress = Progress::new(say);
        let labels = self.labels_of(build);
        let outcome = clock.ended(buildkit::build(self, build, script, &labels, &mut progress)).await;
        Ended {
            step: progress.failed().or_else(|| progress.running()),
            outcome,
            warnings: progress.warnings,
            memory_met: budget.killed_for(),
            unenforced: std::mem::take(&mut budget.unenforced),
        }
    }

    async fn by_classic(
        &self,
        build: &Build<'_>,
        script: &Script,
        say: &Say<'_>,
        clock: &Clock<'_>,
    ) -> Ended {
        let mut progress = ClassicProgress::new(say);
        let labels = self.labels_of(build);
        let outcome = clock.ended(classic::build(self, build, script, &labels, &mut progress)).await;
        match &outcome {
            Ok(()) => classic::name_stages(self, build, &progress.stages()).await,
            Err(_) => classic::remove_stages(self, progress.stages()),
        }
        Ended {
            step: progress.current(),
            outcome,
            warnings: progress.warnings,
            // Each command has a limit of its own, and nothing counts how often it was met: exit code 137 under
            // a limit is all that is seen.
            memory_met: build.budget.memory_bytes,
            unenforced: classic::unenforced(),
        }
    }

    fn labels_of(&self, build: &Build<'_>) -> HashMap<String, String> {
        let mut all = build.labels.clone();
        all.extend(self.labels(build.app));
        all.insert(labels::DEPLOYMENT.into(), build.deployment.to_string());
        all
    }
}

async fn read_script(build: &Build<'_>) -> Result<Script, BuildError> {
    let (context, dockerfile) = (build.context.to_owned(), build.dockerfile.clone());
    let read = Tasks::new().blocking("Dockerfile", move || Script::read(&context, &dockerfile)).await;
    read.map_err(|panicked| BuildError::internal(panicked.to_string()))?
}

fn uses_buildkit(build: &Build<'_>, about: &About) -> Result<bool, BuildError> {
    match build.builder {
        BuilderChoice::Auto => Ok(about.has_buildkit),
        BuilderChoice::Classic => Ok(false),
        BuilderChoice::BuildKit if about.has_buildkit => Ok(true),
        BuilderChoice::BuildKit => {
            let message = format!("docker.builder asks for BuildKit, and {about} has none");
            Err(BuildError::new(FailureKind::EngineUnavailable, message)
                .hint("set docker.builder to auto, or use Docker"))
        }
    }
}

fn failure(
    broken: Broken,
    step: Option<FailedStep>,
    memory_met: Option<u64>,
    build: &Build<'_>,
    script: &Script,
    limit: Duration,
) -> BuildError {
    let tail = |step: &Option<FailedStep>| step.as_ref().map(|step| step.tail.clone()).unwrap_or_default();
    match broken {
        Broken::Said { message, exit_code } => {
            diagnose::diagnose(&Failed { message: &message, exit_code, step, memory_met, build, script })
        }
        Broken::Engine(error) => {
            let lines = tail(&step);
            BuildError::from(error).evidence(lines)
        }
        Broken::Input(why) => diagnose::unreadable(&why),
        Broken::Cancelled => BuildError::cancelled(),
        Broken::TimedOut => {
            let name = step.as_ref().map(|step| diagnose::instruction(&step.name));
            BuildError::timed_out(limit, name.as_deref()).evidence(tail(&step))
        }
    }
}

fn ended_by(clock: &Clock<'_>, limit: Duration, during: Option<&str>) -> BuildError {
    match clock.cancel.is_cancelled() {
        true => BuildError::cancelled(),
        false => BuildError::timed_out(limit, during),
    }
}

/// What ends a build from outside.
struct Clock<'a> {
    deadline: Instant,
    cancel: &'a CancellationToken,
}

impl Clock<'_> {
    /// The value of `work`, unless it was ended.
    async fn watch<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => None,
            () = time::sleep_until(self.deadline) => None,
            value = work => Some(value),
        }
    }

    async fn ended(&self, work: impl Future<Output = Result<(), Broken>>) -> Result<(), Broken> {
        match self.watch(work).await {
            Some(outcome) => outcome,
            None if self.cancel.is_cancelled() => Err(Broken::Cancelled),
            None => Err(Broken::TimedOut),
        }
    }
}

/// The query of `POST /build`.
pub(crate) struct Query(String);

impl Query {
    /// What both builders take.
    pub(crate) fn of(build: &Build<'_>, labels: &HashMap<String, String>) -> Self {
        let mut query = Self(String::new());
        let args: HashMap<&String, &String> = build.args.iter().map(|(name, value)| (name, value)).collect();
        query.add("t", &build.tag);
        query.add("buildargs", &serde_json::json!(args).to_string());
        query.add("labels", &serde_json::json!(labels).to_string());
        if let Some(target) = &build.target {
            query.add("target", target);
        }
        if build.no_cache {
            query.add("nocache", "1");
        }
        query
    }

    /// Adds a parameter.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        self.0.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
    }

    /// The query, encoded.
    pub(crate) fn text(self) -> String {
        self.0
    }
}
