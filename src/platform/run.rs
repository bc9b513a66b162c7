//! Commands with an app's code and config: one-offs beside its formation, and a look into a running instance.

use std::os::unix::fs::OpenOptionsExt;

use autostack_deploy::{Attached, OneOffError, Wanted};
use autostack_domain::{
    App, AppName, EnvMap, OneOff, OneOffNumber, ProcessType, limits,
    permission::{Action, Actor},
};
use autostack_runtime::{
    Backend, ExecRequest, ExecSession, InstanceState, Observed, RuntimeError, TerminalSize,
};
use autostack_store::Store;
use nix::fcntl::OFlag;

use crate::{
    error::{ErrorKind, PlatformError},
    platform::Platform,
};

/// The shell that somebody enters who names no command: the best that the app has.
const SHELL: &str = "if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi";

/// A command that somebody wants to run.
#[derive(Debug, Clone, Default)]
pub struct RunRequest {
    /// The command line, for the app's own shell; its first word may be the name of a process type.
    pub command: String,
    /// Variables on top of the app's own.
    pub env: EnvMap,
}

/// An instance as people name it: `web`, `web.2`, `run.3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The process type.
    pub process: ProcessType,
    /// The place in the formation; `None` for any.
    pub index: Option<u32>,
}

impl Platform {
    /// Runs a command once, in an instance of its own that somebody talks to: in a terminal of this size, or by pipes.
    pub async fn run_attached(
        &self,
        actor: &Actor,
        name: &AppName,
        request: RunRequest,
        terminal: Option<TerminalSize>,
    ) -> Result<Attached, PlatformError> {
        let (app, wanted) = self.wanted(actor, name, request).await?;
        let attached = self.0.deployer.attach_one_off(&app, wanted, terminal).await;
        let attached = attached.map_err(|error| could_not_run(name, &error))?;
        let number = attached.one_off().number;
        self.event(actor, name, "run", format!("started {number} and talks to it"));
        Ok(attached)
    }

    /// Runs a command once, in an instance of its own; its output goes to the app's log.
    pub async fn run_detached(
        &self,
        actor: &Actor,
        name: &AppName,
        request: RunRequest,
    ) -> Result<OneOff, PlatformError> {
        let (app, wanted) = self.wanted(actor, name, request).await?;
        let started = self.0.deployer.start_one_off(&app, wanted).await;
        let one_off = started.map_err(|error| could_not_run(name, &error))?;
        self.event(actor, name, "run:detached", format!("started {}", one_off.number));
        Ok(one_off)
    }

    /// The one-offs of an app that have not ended, oldest first.
    pub async fn one_offs(&self, actor: &Actor, name: &AppName) -> Result<Vec<OneOff>, PlatformError> {
        self.app_for(actor, name, Action::RunCommand, "see what runs once for").await?;
        let app = name.clone();
        Ok(self.parts().store.call(move |store: &Store| store.one_offs_of(&app)).await?)
    }

    /// Ends a one-off, or all of the app; gives those that were ended.
    pub async fn stop_one_offs(
        &self,
        actor: &Actor,
        name: &AppName,
        which: Option<OneOffNumber>,
    ) -> Result<Vec<OneOff>, PlatformError> {
        self.app_for(actor, name, Action::RunCommand, "end what runs once for").await?;
        let mut found = self.one_offs(actor, name).await?;
        if let Some(number) = which {
            found.retain(|one_off| one_off.number == number);
            if found.is_empty() {
                let message = format!("the app {name} has no {number} that runs");
                return Err(PlatformError::new(ErrorKind::Invalid, message)
                    .hint(format!("run:list {name} shows what runs")));
            }
        }
        let ends = found.iter().map(|one_off| self.0.deployer.stop_one_off(one_off));
        futures_util::future::join_all(ends).await;
        for one_off in &found {
            self.event(actor, name, "run:stop", format!("ended {}", one_off.number));
        }
        Ok(found)
    }

    /// Runs a command beside a running instance, with its environment; a shell where none is named. Without a place
    /// the first `web` instance is meant, or the first of all.
    pub async fn enter(
        &self,
        actor: &Actor,
        name: &AppName,
        place: Option<&Place>,
        request: RunRequest,
        terminal: Option<TerminalSize>,
    ) -> Result<ExecSession, PlatformError> {
        let app = self.app_for(actor, name, Action::RunCommand, "enter").await?;
        check(&request)?;
        let instance = self.instance_at(&app, place).await?;
        let command = if request.command.is_empty() { SHELL.to_owned() } else { request.command };
        let dyno = instance.spec.dyno();
        let asked = ExecRequest { command, env: request.env, terminal };
        let session = self.parts().runtime.exec(&instance.spec.id, asked).await;
        let session = session.map_err(|error| could_not_start(name, &error))?;
        self.event(actor, name, "enter", format!("entered {dyno}"));
        Ok(session)
    }

    /// A file beside the agent's data that has no name and is gone when it is closed, however the agent ends: for what a
    /// client sends faster than a program reads.
    pub fn nameless_file(&self) -> std::io::Result<std::fs::File> {
        self.check_space().map_err(std::io::Error::other)?;
        let folder = self.parts().settings.borrow().data_dir.clone();
        std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .mode(0o600)
            .custom_flags(OFlag::O_TMPFILE.bits())
            .open(folder)
    }

    async fn wanted(
        &self,
        actor: &Actor,
        name: &AppName,
        request: RunRequest,
    ) -> Result<(App, Wanted), PlatformError> {
        let app = self.app_for(actor, name, Action::RunCommand, "run commands for").await?;
        check(&request)?;
        self.0.leaving.check(name)?;
        let RunRequest { command, env } = request;
        Ok((app, Wanted { command, env, by: actor.name.clone(), cron: None }))
    }

    async fn instance_at(&self, app: &App, place: Option<&Place>) -> Result<Observed, PlatformError> {
        let listing = self.parts().runtime.listing().await;
        let listing = listing.map_err(|error| could_not_start(&app.name, &error))?;
        let is_there = |found: &Observed| {
            let process = &found.spec.process;
            let is_meant = match place {
                Some(place) => {
                    *process == place.process && place.index.is_none_or(|index| index == found.spec.index)
                }
                None => !process.is_run(),
            };
            let is_current = process.is_run() || Some(found.spec.release) == app.current_release;
            let is_up = matches!(found.state, InstanceState::Running);
            found.spec.app == app.name && is_meant && is_current && is_up
        };
        let found = listing.observed.into_iter().filter(is_there);
        found.min_by_key(|found| (!found.spec.process.is_web(), found.spec.index)).ok_or_else(|| {
            let what = place.map_or_else(|| "instance".to_owned(), ToString::to_string);
            let message = format!("{} has no {what} that runs", app.name);
            PlatformError::new(ErrorKind::Conflict, message).hint(format!(
                "ps:report {0} shows what runs; run {0} COMMAND starts something beside it",
                app.name
            ))
        })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.index {
            Some(index) => write!(f, "{}.{index}", self.process),
            None => write!(f, "{}", self.process),
        }
    }
}

impl std::str::FromStr for Place {
    type Err = autostack_domain::Invalid;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let (process, index) = match given.split_once('.') {
            Some((process, index)) => {
                let number = index.parse().ok().filter(|number| *number > 0);
                let wrong =
                    || Self::Err::new("instance", given, "expected a process type or web.1, web.2 and so on");
                (process, Some(number.ok_or_else(wrong)?))
            }
            None => (given, None),
        };
        Ok(Self { process: process.parse()?, index })
    }
}

fn check(request: &RunRequest) -> Result<(), PlatformError> {
    if request.command.len() > limits::ONE_OFF_COMMAND_BYTES_MAX {
        let max = limits::ONE_OFF_COMMAND_BYTES_MAX;
        let message = format!("the command has {} bytes; the limit is {max} bytes", request.command.len());
        return Err(PlatformError::new(ErrorKind::Invalid, message));
    }
    if request.command.contains('\0') {
        return Err(PlatformError::new(ErrorKind::Invalid, "a command cannot hold a zero byte"));
    }
    Ok(())
}

pub(crate) fn could_not_run(app: &AppName, error: &OneOffError) -> PlatformError {
    match error {
        OneOffError::NoRelease => PlatformError::new(
            ErrorKind::Conflict,
            format!("the app {app} has no release to run commands with"),
        )
        .hint(format!("push it first: git push ssh://git@HOST:PORT/{app} main")),
        OneOffError::RanAlready => PlatformError::new(ErrorKind::Conflict, "it has run already"),
        OneOffError::TooMany => {
            let max = limits::ONE_OFFS_PER_APP_MAX;
            PlatformError::new(ErrorKind::Conflict, format!("{max} one-offs of {app} run already"))
                .hint(format!("run:list {app} shows them, run:stop {app} run.N ends one"))
        }
        OneOffError::Store(error) if error.is_no_space() => PlatformError::no_space(),
        OneOffError::Store(error) => PlatformError::internal("the one-off cannot be recorded", error),
        OneOffError::Runtime(error) => could_not_start(app, error),
    }
}

fn could_not_start(app: &AppName, error: &RuntimeError) -> PlatformError {
    if error.is_no_space() {
        return PlatformError::no_space();
    }
    let message = match error {
        RuntimeError::Start { why, .. } => format!("the command of {app} cannot be started: {why}"),
        RuntimeError::NotFound { .. } | RuntimeError::NotRunning { .. } => {
            format!("the instance of {app} has ended")
        }
        RuntimeError::NoEngine { .. } => {
            format!("the app {app} runs in containers, and no container engine is there")
        }
        RuntimeError::Engine { .. } => {
            format!("the container engine did not run the command: {}", autostack_base::error_chain(error))
        }
        other => return PlatformError::internal("the command cannot be started", other),
    };
    PlatformError::new(ErrorKind::Conflict, message)
        .hint("try again; if it stays, look at the agent's log on the host")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_named_by_type_and_place() {
        let place: Place = "web.2".parse().unwrap();
        assert_eq!((place.process.as_str(), place.index), ("web", Some(2)));
        assert_eq!("worker".parse::<Place>().unwrap().index, None);
        for bad in ["", "web.", "web.0", "web.x", "web.1.2", "../web", "we b"] {
            assert!(bad.parse::<Place>().is_err(), "{bad:?}");
        }
    }
}
