//! A command beside a running instance: `autostack run`, a check, a look at sockets.

use std::{sync::Arc, time::Duration};

use autostack_base::error_chain;
use autostack_domain::Exit;
use autostack_engine::{
    EngineError,
    bollard::models::{ExecConfig, ExecInspectResponse},
};
use autostack_logs::OutputStream;
use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    backend::Inner,
    container::exit_of,
    hijack::{self, Input, Output},
    host,
    instance::Instance,
    refusal::not_found_or,
    talk::{self, Terminal, sized},
};
use crate::{
    backend::RuntimeError,
    exec::{ExecEnds, ExecRequest, ExecSession},
};

/// The variable that marks a command and all that it starts.
const MARK: &str = "AUTOSTACK_EXEC";
/// How long the last output is waited for once no process is left.
const LAST_OUTPUT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often it is asked for the end of a command of which no event has told.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long the engine may take to say how a command ended whose output has ended.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);
const EXIT_PAUSE: Duration = Duration::from_millis(20);
/// How long a command inside of a container may take that the agent itself needs.
const OWN_COMMAND_TIMEOUT: Duration = Duration::from_secs(20);
/// Kills, within the container, what carries the mark that it is given. Nothing of it stands in the environment of
/// the shell itself.
const KILL_SCRIPT: &str = "n=0; while [ $n -lt 50 ]; do n=$((n+1)); k=; for p in /proc/[0-9]*; do \
                           if grep -qs \"$0\" \"$p/environ\"; then kill -9 \"${p#/proc/}\" && k=1; fi; done; \
                           [ -n \"$k\" ] || exit 0; done; exit 1";

/// Runs the command of a request.
pub(super) async fn exec(
    inner: &Arc<Inner>,
    instance: Arc<Instance>,
    request: ExecRequest,
) -> Result<ExecSession, RuntimeError> {
    let mark = format!("{MARK}={}", uuid::Uuid::new_v4());
    let mut env = vec![mark.clone()];
    for (name, value) in request.env.iter() {
        let value = std::str::from_utf8(value).map_err(|_not_utf8| RuntimeError::Start {
            id: instance.spec.id.clone(),
            why: format!("the value of {name} is not UTF-8, and a container engine takes nothing else"),
        })?;
        env.push(format!("{name}={value}"));
    }
    let is_terminal = request.terminal.is_some();
    let line = if is_terminal { sized(&request.command) } else { request.command.clone() };
    let command = vec!["/bin/sh".to_owned(), "-c".to_owned(), line];
    let config = ExecConfig {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(is_terminal),
        env: Some(env),
        cmd: Some(command),
        ..ExecConfig::default()
    };
    let exec = make(inner, &instance, config).await?;
    let (input, output) = begin(inner, &instance, &exec, is_terminal).await?;
    let (session, ends) = ExecSession::new(request.terminal);
    let running = Running { inner: Arc::clone(inner), instance, exec, mark };
    inner.tasks.spawn("exec", running.accompany(input, output, ends));
    Ok(session)
}

async fn make(inner: &Inner, instance: &Instance, config: ExecConfig) -> Result<String, RuntimeError> {
    if !instance.is_running() {
        return Err(RuntimeError::NotRunning { id: instance.spec.id.clone() });
    }
    let container = &instance.container;
    let made = inner
        .engine
        .call("make the command", async |docker| docker.create_exec(container, config).await)
        .await;
    made.map(|made| made.id).map_err(|error| ended_or(instance, error))
}

async fn begin(
    inner: &Inner,
    instance: &Instance,
    exec: &str,
    is_terminal: bool,
) -> Result<(Input, Output), RuntimeError> {
    let begun = hijack::start(&inner.engine, exec, is_terminal).await;
    begun.map_err(|error| ended_or(instance, error))
}

/// Engines say of a container that does not run that the command conflicts with it.
fn ended_or(instance: &Instance, error: EngineError) -> RuntimeError {
    let id = &instance.spec.id;
    match error.is_conflict() {
        true => RuntimeError::NotRunning { id: id.clone() },
        false => not_found_or(id, "run a command beside it")(error),
    }
}

/// What a command of the agent's own says on its standard output, run beside an instance, and how it ends.
pub(super) async fn said_by(
    inner: &Inner,
    instance: &Instance,
    command: Vec<String>,
    bytes_max: usize,
) -> Result<(Vec<u8>, Exit), RuntimeError> {
    let config = ExecConfig {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(command),
        ..ExecConfig::default()
    };
    let operation = "run a command beside it";
    let exec = make(inner, instance, config).await?;
    let (_input, mut output) = begin(inner, instance, &exec, false).await?;
    let reading = async {
        let mut said = Vec::new();
        while let Some((stream, piece)) = output.next().await.map_err(RuntimeError::system(operation))? {
            if stream == OutputStream::Stdout && said.len() + piece.len() <= bytes_max {
                said.extend_from_slice(&piece);
            }
        }
        Ok(said)
    };
    let elapsed = |_| {
        RuntimeError::engine(operation)(EngineError::TimedOut {
            operation: "run a command in a container",
            within: OWN_COMMAND_TIMEOUT,
        })
    };
    let said = timeout(OWN_COMMAND_TIMEOUT, reading).await.map_err(elapsed)??;
    Ok((said, exit(inner, &exec).await?))
}

/// How a command ended whose output has.
async fn exit(inner: &Inner, exec: &str) -> Result<Exit, RuntimeError> {
    let ended = async {
        loop {
            match look(inner, exec).await.map(|found| found.exit_code) {
                Ok(Some(code)) => return Ok(exit_of(code)),
                Ok(None) => sleep(EXIT_PAUSE).await,
                // It went with its container.
                Err(RuntimeError::Engine { source, .. }) if source.is_not_found() => {
                    return Ok(Exit::Unknown);
                }
                Err(error) => return Err(error),
            }
        }
    };
    timeout(EXIT_TIMEOUT, ended).await.unwrap_or(Ok(Exit::Unknown))
}

async fn look(inner: &Inner, exec: &str) -> Result<ExecInspectResponse, RuntimeError> {
    let operation = "look at the command";
    let looked = inner.engine.call(operation, async |docker| docker.inspect_exec(exec).await).await;
    looked
        .map(|mut found| {
            // Podman says 0 of one that runs.
            found.exit_code = found.exit_code.filter(|_| found.running != Some(true));
            found
        })
        .map_err(RuntimeError::engine(operation))
}

/// A command that runs.
struct Running {
    inner: Arc<Inner>,
    instance: Arc<Instance>,
    exec: String,
    mark: String,
}

impl Running {
    async fn accompany(self, input: Input, mut output: Output, ends: ExecEnds) {
        let ExecEnds { stdin, output: pieces, size, exit, end } = ends;
        let over = CancellationToken::new();
        let is_terminal = size.borrow().is_some();
        self.inner.tasks.spawn("feed exec", talk::feed(stdin, input, is_terminal, over.clone()));
        let terminal = Terminal::OfExec(self.exec.clone());
        self.inner
            .tasks
            .spawn("resize exec", talk::resize(Arc::clone(&self.inner), terminal, size, over.clone()));
        let stop = self.inner.tasks.shutdown_token();
        let has_ended = tokio::select! {
            () = end.cancelled() => false,
            () = stop.cancelled() => false,
            _ = self.instance.ended() => true,
            () = self.forward(&mut output, &pieces) => true,
        };
        if !has_ended {
            tracing::debug!(instance = %self.instance.spec.id, "a command beside it is ended");
        }
        // What it has started and left behind goes with it, and whoever holds its outputs open.
        self.kill_rest().await;
        let rest = async {
            while let Ok(Some(piece)) = output.next().await
                && pieces.send(piece).await.is_ok()
            {}
        };
        tokio::select! {
            _ = timeout(LAST_OUTPUT_TIMEOUT, rest) => {}
            () = end.cancelled() => {}
        }
        over.cancel();
        drop(pieces);
        // Nobody listens where the session was dropped.
        let _ = exit.send(self::exit(&self.inner, &self.exec).await);
    }

    /// Hands output on until there is no more or the command itself has ended, whatever it left behind.
    async fn forward(&self, output: &mut Output, pieces: &mpsc::Sender<(OutputStream, Bytes)>) {
        loop {
            // Registered before the look, so that an end between look and wait is not missed.
            let mut news = std::pin::pin!(self.inner.exec_news.notified());
            news.as_mut().enable();
            match look(&self.inner, &self.exec).await {
                Ok(found) if found.exit_code.is_none() => {}
                Ok(_) => return,
                Err(error) => tracing::debug!(error = error_chain(&error), "a command is out of sight"),
            }
            let mut again = std::pin::pin!(sleep(LOOK_EVERY));
            loop {
                tokio::select! {
                    piece = output.next() => match piece {
                        Ok(Some(piece)) => {
                            if pieces.send(piece).await.is_err() {
                                return;
                            }
                        }
                        Ok(None) | Err(_) => return,
                    },
                    () = &mut news => break,
                    () = &mut again => break,
                }
            }
        }
    }

    /// Kills every process of the command that is left: on the host where those are its own, else from within.
    async fn kill_rest(&self) {
        if !self.instance.is_running() {
            return;
        }
        let is_local = self.inner.engine.about().await.is_ok_and(|about| about.is_local);
        if is_local && self.kill_on_host().await {
            return;
        }
        kill_inside(&self.inner, &self.instance, &self.mark).await;
    }

    async fn kill_on_host(&self) -> bool {
        // Not root: processes of others can be neither looked into nor killed.
        if !nix::unistd::geteuid().is_root() || self.instance.pid.is_none() {
            return false;
        }
        let (container, mark) = (self.instance.container.clone(), self.mark.clone());
        let killed =
            self.inner.tasks.blocking("kill exec", move || host::kill_marked(&container, &mark)).await;
        matches!(killed, Ok(Ok(true)))
    }
}

/// Kills what carries a mark from within the container.
pub(super) async fn kill_inside(inner: &Inner, instance: &Instance, mark: &str) {
    let command = ["/bin/sh", "-c", KILL_SCRIPT, mark].map(str::to_owned).to_vec();
    let killed = said_by(inner, instance, command, 0).await;
    let trouble = match &killed {
        Ok((_, exit)) if exit.is_success() => return,
        // The container has ended, and all in it.
        _ if !instance.is_running() => return,
        Ok((_, exit)) => exit.to_string(),
        Err(error) => error_chain(error),
    };
    tracing::warn!(instance = %instance.spec.id, trouble, "a command beside it may have left processes");
}
