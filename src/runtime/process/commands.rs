//! What ends with the agent: a command that runs once, and one that somebody talks to.

use std::{future::Future, sync::Arc};

use autostack_base::tasks::Shutdown;
use autostack_domain::{Exit, InstanceId, InstanceSpec};
use autostack_logs::BuildLog;
use nix::sys::signal::Signal;
use tokio::{io::unix::AsyncFd, sync::Notify, time::timeout};
use tokio_util::{sync::CancellationToken, task::task_tracker::TaskTrackerToken};

use super::{
    ONE_OFF_GRACE,
    backend::{Inner, async_pidfd},
    follow::Follow,
    instance::Instance,
    launch::{self, Spawned},
    layout::{InstanceDir, Kind, Launch},
    pidfd::PidFd,
    tail::Tail,
    wires::Wires,
};
use crate::{
    backend::RuntimeError,
    exec::{ExecEnds, ExecRequest, ExecSession, TerminalSize},
};

/// What a program that knows no terminal is told that it has, as container engines do.
const TERM: &str = "xterm";

/// How a command ended.
struct Ended {
    exit: Exit,
    /// It was told to.
    was_told: bool,
}

impl Inner {
    /// Runs a command once; its output goes to a build log.
    pub(super) async fn run(
        &self,
        spec: InstanceSpec,
        output: BuildLog,
        cancel: &CancellationToken,
    ) -> Result<Exit, RuntimeError> {
        let (id, limits) = (spec.id.clone(), spec.limits);
        let dir = InstanceDir::of(&self.dir, &id);
        if cancel.is_cancelled() {
            return Err(RuntimeError::Cancelled);
        }
        let (mut spawned, _) = self.spawn(&dir, self.launch(Kind::OneOff, spec, None), None).await?;
        let ready = tokio::select! {
            ready = launch::ready(&mut spawned, &id) => ready,
            () = cancel.cancelled() => Err(RuntimeError::Cancelled),
        };
        let ready =
            ready.and_then(|_| self.wakes.watch(dir.path()).map_err(RuntimeError::file("watch", dir.path())));
        let wake = match ready {
            Ok(wake) => wake,
            Err(error) => {
                self.undo(spawned, &dir, &id).await;
                return Err(error);
            }
        };
        let (shim, lifeline) = self.handle(spawned, &dir, &id).await?;
        let (tail, tasks) = (Some(Tail::to_build(&dir, output)), self.tasks.clone());
        let shim_of = Some(Arc::clone(&shim));
        let follow = Follow { id: id.clone(), dir: dir.clone(), shim: shim_of, wake, tail, tasks };
        let ended = self.follow_until(follow, shim.get_ref(), cancel.cancelled()).await;
        drop(lifeline);
        let judge = |ended: Ended| Ended { exit: self.groups.judge(&id, &limits, ended.exit), ..ended };
        let ended = ended.map(judge);
        self.remove(&dir, &id).await?;
        let ended = ended?;
        if ended.was_told { Err(RuntimeError::Cancelled) } else { Ok(ended.exit) }
    }

    /// Starts a command beside an instance; a task of its own goes with it to its end.
    pub(super) async fn exec(
        self: Arc<Self>,
        instance: Arc<Instance>,
        request: &ExecRequest,
    ) -> Result<ExecSession, RuntimeError> {
        // Taken before the look: a stop that came first is seen, one that comes now waits for this.
        let place = instance.commands.token();
        if instance.commands.is_closed() {
            return Err(RuntimeError::NotRunning { id: instance.spec.id.clone() });
        }
        let launch = self.beside(&instance, request);
        self.talk(launch, request.terminal, Some(Neighbour { instance, _place: place })).await
    }

    /// Starts the program of a spec with somebody at its input and output; a task of its own goes with it to its end.
    pub(super) async fn attach(
        self: Arc<Self>,
        mut spec: InstanceSpec,
        terminal: Option<TerminalSize>,
    ) -> Result<ExecSession, RuntimeError> {
        if terminal.is_some() && spec.env.get("TERM").is_none() {
            spec.env.put("TERM", TERM);
        }
        let launch = self.launch(Kind::Exec { terminal: terminal.is_some() }, spec, None);
        self.talk(launch, terminal, None).await
    }

    async fn talk(
        self: Arc<Self>,
        launch: Launch,
        terminal: Option<TerminalSize>,
        beside: Option<Neighbour>,
    ) -> Result<ExecSession, RuntimeError> {
        let id = launch.spec.id.clone();
        let dir = InstanceDir::of(&self.dir, &id);
        let (wires, stdio) = Wires::make(terminal)?;
        let (mut spawned, _) = self.spawn(&dir, launch, Some(stdio)).await?;
        if let Err(error) = launch::ready(&mut spawned, &id).await {
            self.undo(spawned, &dir, &id).await;
            return Err(error);
        }
        let (shim, lifeline) = self.handle(spawned, &dir, &id).await?;
        let (session, ends) = ExecSession::new(terminal);
        let command = Command { id, dir, shim, beside, _lifeline: lifeline };
        let tasks = self.tasks.clone();
        tasks.spawn("follow command", async move { command.follow(&self, wires, ends).await });
        Ok(session)
    }

    /// What a command beside an instance is: all of the instance but for its id, by which it is found and
    /// ended without the instance.
    fn beside(&self, instance: &Instance, request: &ExecRequest) -> Launch {
        let mut spec = InstanceSpec::clone(&instance.spec);
        let random = uuid::Uuid::new_v4().as_fields().0;
        spec.id = InstanceId::compose(&spec.app, &spec.process, spec.index, random);
        spec.program = spec.program.with_command(request.command.clone());
        if request.terminal.is_some() && spec.env.get("TERM").is_none() {
            spec.env.put("TERM", TERM);
        }
        spec.env.extend(&request.env);
        let kind = Kind::Exec { terminal: request.terminal.is_some() };
        let port = request.env.get("PORT").is_none().then(|| instance.endpoint.port());
        let groups = self.groups.doors(&instance.spec.id, &instance.spec.limits);
        let launch = self.launch(kind, spec, port);
        Launch { tmp: Some(instance.dir.tmp()), groups, ..launch }
    }

    /// A handle on a shim that is ready, to be waited for; and what ends it with the agent.
    async fn handle(
        &self,
        Spawned { shim, lifeline, .. }: Spawned,
        dir: &InstanceDir,
        id: &InstanceId,
    ) -> Result<(Arc<AsyncFd<PidFd>>, Lifeline), RuntimeError> {
        match async_pidfd(shim) {
            Ok(shim) => Ok((shim, lifeline)),
            Err(error) => {
                self.discard(dir, id).await;
                Err(error)
            }
        }
    }

    /// Follows to the end, which `until` or the agent's own end brings about.
    async fn follow_until(
        &self,
        follow: Follow,
        shim: &PidFd,
        until: impl Future<Output = ()>,
    ) -> Result<Ended, RuntimeError> {
        let never = Shutdown::new();
        let mut ended = std::pin::pin!(follow.run(&never));
        let lost = || RuntimeError::Interrupted { operation: "run" };
        tokio::select! {
            exit = &mut ended => return Ok(Ended { exit: exit.ok_or_else(lost)?, was_told: false }),
            () = until => {}
            () = self.shutdown() => {}
        }
        let millis = usize::try_from(ONE_OFF_GRACE.as_millis()).unwrap_or(usize::MAX);
        shim.signal_with(Signal::SIGTERM, millis).map_err(RuntimeError::system("signal a shim"))?;
        let exit = match timeout(2 * ONE_OFF_GRACE, &mut ended).await {
            Ok(exit) => exit,
            Err(_elapsed) => {
                shim.signal(Signal::SIGKILL).map_err(RuntimeError::system("kill a shim"))?;
                ended.await
            }
        };
        Ok(Ended { exit: exit.ok_or_else(lost)?, was_told: true })
    }
}

type Lifeline = Option<std::os::unix::net::UnixStream>;

/// The instance that a command runs beside.
struct Neighbour {
    instance: Arc<Instance>,
    /// A stop of the instance waits until this is given back.
    _place: TaskTrackerToken,
}

impl Neighbour {
    async fn ends(&self) {
        tokio::select! {
            () = self.instance.stopping.cancelled() => {}
            _ = self.instance.ended() => {}
        }
    }
}

/// A command that somebody talks to.
struct Command {
    id: InstanceId,
    dir: InstanceDir,
    shim: Arc<AsyncFd<PidFd>>,
    beside: Option<Neighbour>,
    _lifeline: Lifeline,
}

impl Command {
    /// Goes with it until nothing of it is left and all that it said was taken.
    async fn follow(self, inner: &Inner, wires: Wires, ends: ExecEnds) {
        let ExecEnds { stdin, output, size, exit, end } = ends;
        let is_over = CancellationToken::new();
        let talk = wires.serve(stdin, output, size, &is_over, &end);
        let life = async {
            // Also when this is cut short.
            let _over = is_over.clone().drop_guard();
            self.live(inner, &end).await
        };
        let (ended, ()) = tokio::join!(life, talk);
        if let Err(Err(error)) = exit.send(ended) {
            tracing::warn!(error = &error as &dyn std::error::Error, "a command was not ended cleanly");
        }
    }

    /// Until no process and no file of it is left.
    async fn live(self, inner: &Inner, end: &CancellationToken) -> Result<Exit, RuntimeError> {
        let Self { id, dir, shim, beside, .. } = &self;
        let follow = Follow {
            id: id.clone(),
            dir: dir.clone(),
            shim: Some(Arc::clone(shim)),
            // It writes nothing down.
            wake: Arc::new(Notify::new()),
            tail: None,
            tasks: inner.tasks.clone(),
        };
        let told = async {
            match beside {
                Some(neighbour) => tokio::select! {
                    () = end.cancelled() => {}
                    () = neighbour.ends() => {}
                },
                None => end.cancelled().await,
            }
        };
        let ended = inner.follow_until(follow, shim.get_ref(), told).await;
        inner.remove(dir, id).await?;
        ended.map(|ended| ended.exit)
    }
}
