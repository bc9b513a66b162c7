//! The task beside each instance: moves its output as it is written, and sees its end.

use std::{sync::Arc, time::Duration};

use autostack_base::tasks::{Backoff, Shutdown, Tasks};
use autostack_domain::Exit;
use autostack_engine::{
    Engine, EngineError,
    bollard::{self, container::LogOutput, query_parameters::LogsOptions},
};
use autostack_logs::{Entry, LogError};
use futures_util::StreamExt;
use tokio::time::{Instant, sleep};

use super::{
    container::{Container, Phase, inspect},
    instance::Instance,
    output::{Line, Lines},
};

/// Frames that are moved at once.
const FRAMES_MAX: usize = 256;
/// Failures in a row to move the last output after which it is given up, about ten seconds' worth.
const LAST_TRIES_MAX: u32 = 10;
/// How long the engine may take to say that a killed container was killed for its memory: it hears of the two from
/// different places.
const OOM_NEWS_TIMEOUT: Duration = Duration::from_millis(500);
const OOM_NEWS_PAUSE: Duration = Duration::from_millis(50);

/// What is followed.
#[derive(Debug)]
pub(super) struct Follow {
    pub(super) engine: Engine,
    pub(super) instance: Arc<Instance>,
    pub(super) tasks: Tasks,
}

/// Why output could not be moved; what is left is tried again.
#[derive(Debug, thiserror::Error)]
enum MoveError {
    #[error("read the output")]
    Read(#[from] EngineError),
    #[error("the container engine cannot read the output: {0}")]
    Strange(String),
    #[error("write to the log")]
    Write(#[from] LogError),
    #[error("a task was lost")]
    Lost,
}

type Frame = Result<LogOutput, bollard::errors::Error>;

/// How long output is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Until there is news of the container, or no more output can come.
    News,
    /// Until all that is there is moved.
    End,
}

/// Why moving has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moved {
    /// There is news.
    News,
    /// There is no more.
    End,
}

impl Follow {
    /// Follows until the container has ended and all output is moved; gives how it ended. `None` when `until` came
    /// first: everything goes on without us.
    pub(super) async fn run(self, until: &Shutdown) -> Option<Exit> {
        tokio::select! {
            biased;
            () = until.cancelled() => None,
            exit = self.to_the_end() => Some(exit),
        }
    }

    async fn to_the_end(&self) -> Exit {
        let mut pauses = pauses();
        loop {
            let began = Instant::now();
            let trouble: MoveError = match self.look().await {
                Ok(Some(Phase::Running)) => {
                    match self.move_output(Until::News).await {
                        Ok(Moved::News) => continue,
                        // It has ended, or the engine has.
                        Ok(Moved::End) => {
                            self.pause(&mut pauses, began).await;
                            continue;
                        }
                        Err(error) => error,
                    }
                }
                Ok(Some(Phase::Ended(exit))) => return self.settle(exit).await,
                // Gone, or as the engine has lost it.
                Ok(None | Some(Phase::Created)) => return Exit::Unknown,
                Err(error) => error.into(),
            };
            tracing::debug!(
                instance = %self.instance.spec.id,
                error = &trouble as &dyn std::error::Error,
                "output waits"
            );
            self.pause(&mut pauses, began).await;
        }
    }

    /// Waits a while, or for news.
    async fn pause(&self, pauses: &mut Backoff, began: Instant) {
        let pause = pauses.after_failure(began.elapsed());
        tokio::select! {
            () = self.instance.news.notified() => {}
            () = sleep(pause) => {}
        }
    }

    /// How far the container is; `None` where there is none.
    async fn look(&self) -> Result<Option<Phase>, EngineError> {
        match inspect(&self.engine, &self.instance.container).await {
            Ok(found) => Ok(Some(Container::read(&found).phase)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Moves what a container that has ended left behind.
    async fn settle(&self, exit: Exit) -> Exit {
        let mut pauses = pauses();
        loop {
            match self.move_output(Until::End).await {
                Ok(_) => break,
                // It keeps what it has until it is back.
                Err(MoveError::Read(error)) if error.is_away() => {}
                // Somebody has removed it meanwhile.
                Err(MoveError::Read(error)) if error.is_not_found() => break,
                Err(error) if pauses.failures() >= LAST_TRIES_MAX => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(instance = %self.instance.spec.id, error, "last output is lost");
                    break;
                }
                Err(_) => {}
            }
            self.pause(&mut pauses, Instant::now()).await;
        }
        match exit {
            Exit::Signal(9) => self.look_for_oom(exit).await,
            Exit::Signal(_) | Exit::Code(_) | Exit::OutOfMemory { .. } | Exit::Unknown => exit,
        }
    }

    /// Asks again how a container that was killed came to it.
    async fn look_for_oom(&self, exit: Exit) -> Exit {
        if self.instance.memory_bytes_max.is_none() || self.instance.was_killed() {
            return exit;
        }
        let deadline = Instant::now() + OOM_NEWS_TIMEOUT;
        while Instant::now() < deadline {
            match self.look().await {
                Ok(Some(Phase::Ended(found))) if found != exit => return found,
                Ok(Some(_)) => sleep(OOM_NEWS_PAUSE).await,
                Ok(None) | Err(_) => return exit,
            }
        }
        exit
    }

    /// Moves output from where the log stands: all that is there, and for [`Until::News`] all that comes, until
    /// the container or the engine ends. Given up in between only where nothing is on its way to the log.
    async fn move_output(&self, until: Until) -> Result<Moved, MoveError> {
        let Instance { spec, log, container, news, .. } = &*self.instance;
        let follow = until == Until::News;
        let mut lines = Lines::behind(log.last_source_end(&spec.id).unwrap_or_default());
        let options = LogsOptions {
            follow,
            stdout: true,
            stderr: true,
            since: lines.since(),
            timestamps: true,
            ..LogsOptions::default()
        };
        let docker = self.engine.docker().await?;
        let mut frames = docker.logs(container, Some(options)).ready_chunks(FRAMES_MAX);
        loop {
            let chunk = tokio::select! {
                biased;
                () = news.notified(), if follow => return Ok(Moved::News),
                chunk = frames.next() => chunk,
            };
            let Some(chunk) = chunk else { break };
            let (found, taken) = self.take(&mut lines, chunk);
            self.append(found).await?;
            taken?;
        }
        if !follow {
            let mut found = Vec::new();
            lines.finish(&mut found);
            self.append(found).await?;
        }
        Ok(Moved::End)
    }

    /// The lines of some frames, and what stood in the way of more.
    fn take(&self, lines: &mut Lines, frames: Vec<Frame>) -> (Vec<Line>, Result<(), MoveError>) {
        let mut found = Vec::new();
        for frame in frames {
            let taken = match frame {
                Ok(frame) => lines.take(frame, &mut found).map_err(|strange| MoveError::Strange(strange.0)),
                Err(error) => Err(self.engine.failed("give the output", error).into()),
            };
            if taken.is_err() {
                return (found, taken);
            }
        }
        (found, Ok(()))
    }

    async fn append(&self, lines: Vec<Line>) -> Result<(), MoveError> {
        if lines.is_empty() {
            return Ok(());
        }
        let Instance { spec, log, .. } = &*self.instance;
        let entries: Vec<Entry> = lines.into_iter().map(|line| line.into_entry(spec)).collect();
        let log = Arc::clone(log);
        let appended = self.tasks.blocking("move output", move || log.append(&entries)).await;
        match appended.map_err(|_lost| MoveError::Lost)? {
            // The app was destroyed: nobody will read this.
            Ok(_) | Err(LogError::Sealed { .. } | LogError::Removed { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn pauses() -> Backoff {
    Backoff::new(Duration::from_millis(20), Duration::from_secs(2), Duration::from_secs(10))
}
