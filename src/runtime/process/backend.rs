//! [`ProcessBackend`]: the contract in terms of the parts.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use async_trait::async_trait;
use autostack_base::{now, settings::PortRange, tasks::Tasks};
use autostack_domain::{Exit, InstanceId, InstanceSpec, Program};
use autostack_logs::{BuildLog, Logs};
use tokio::{
    io::unix::AsyncFd,
    sync::{oneshot, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    adopt::{self, Found},
    follow::Follow,
    groups::Groups,
    handover::Stdio,
    instance::{Instance, State},
    launch,
    layout::{InstanceDir, Kind, Launch},
    links,
    output::OutputLimits,
    pidfd::PidFd,
    shim_command::ShimCommand,
    sockets,
    tail::Tail,
    usage,
    wake::Wakes,
};
use crate::{
    backend::{Backend, LocalBackend, Observed, RuntimeError, Started, Usage},
    exec::{ExecRequest, ExecSession, TerminalSize},
    ports::{PortClaim, Ports},
};

/// Runs instances as processes of this host. Dropping it stops following them; they run on.
#[derive(Debug)]
pub struct ProcessBackend {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) dir: PathBuf,
    shim: ShimCommand,
    ports: Arc<Ports>,
    logs: Logs,
    pub(super) tasks: Tasks,
    pub(super) wakes: Arc<Wakes>,
    pub(super) groups: Arc<Groups>,
    output: OutputLimits,
    instances: Mutex<BTreeMap<InstanceId, Arc<Instance>>>,
}

impl ProcessBackend {
    /// Opens `dir` (`DATA_DIR/instances`), making it where it is missing. Adopts the instances
    /// that still run, completes the record of those that ended meanwhile, ends what an agent that was
    /// killed left half done, and goes on with all output where the log stopped.
    ///
    /// # Errors
    /// When the folder cannot be read or watched, or the log of an app not be opened.
    pub async fn open(
        dir: impl AsRef<Path>,
        shim: ShimCommand,
        ports: PortRange,
        logs: Logs,
        tasks: Tasks,
    ) -> Result<Self, RuntimeError> {
        Self::open_with(dir.as_ref(), shim, ports, logs, &tasks, OutputLimits::default()).await
    }

    pub(super) async fn open_with(
        dir: &Path,
        shim: ShimCommand,
        PortRange(range): PortRange,
        logs: Logs,
        tasks: &Tasks,
        output: OutputLimits,
    ) -> Result<Self, RuntimeError> {
        let tasks = tasks.child();
        // A shim has another working directory.
        let dir = std::path::absolute(dir).map_err(RuntimeError::file("find", dir))?;
        let wakes = Wakes::start(&tasks).map_err(RuntimeError::system("watch instances"))?;
        let searched = dir.clone();
        let found = tasks.blocking("find instances", move || {
            make_private(&searched)?;
            let found = adopt::find(&searched)?;
            let groups = Groups::find(&searched);
            groups.sweep(&|id| found.iter().any(|one| one.launch.spec.id == *id));
            Ok((found, Arc::new(groups)))
        });
        let (found, groups) =
            found.await.map_err(|_lost| RuntimeError::Interrupted { operation: "open" })??;
        let (seed, _) = uuid::Uuid::new_v4().as_u64_pair();
        let ports = Ports::new(range, u16::try_from(seed & 0xffff).unwrap_or_default());
        let instances = Mutex::default();
        let inner = Inner { dir, shim, ports, logs, tasks, wakes, groups, output, instances };
        let backend = Self { inner: Arc::new(inner) };
        for one in found {
            backend.inner.adopt(one)?;
        }
        backend.inner.settle_ended().await;
        Ok(backend)
    }
}

impl Drop for ProcessBackend {
    fn drop(&mut self) {
        self.inner.tasks.shutdown_token().cancel();
    }
}

#[async_trait]
impl Backend for ProcessBackend {
    fn name(&self) -> &'static str {
        "process"
    }

    async fn start(&self, spec: &InstanceSpec) -> Result<Started, RuntimeError> {
        let (inner, spec) = (Arc::clone(&self.inner), spec.clone());
        // In a task of its own: a caller that gives up must not leave half an instance.
        let (reply, answer) = oneshot::channel();
        self.inner.tasks.spawn("start instance", async move {
            let started = inner.start(&spec).await;
            if let Err(Ok(_unwanted)) = reply.send(started)
                && let Err(error) = inner.stop(&spec.id, Duration::ZERO).await
            {
                tracing::error!(instance = %spec.id, error = &error as &dyn std::error::Error, "unwanted");
            }
        });
        answer.await.unwrap_or(Err(RuntimeError::Interrupted { operation: "start" }))
    }

    async fn stop(&self, id: &InstanceId, grace: Duration) -> Result<(), RuntimeError> {
        self.inner.stop(id, grace).await
    }

    async fn list(&self) -> Result<Vec<Observed>, RuntimeError> {
        Ok(self.inner.instances().values().filter_map(|instance| instance.observed()).collect())
    }

    async fn wait(&self, id: &InstanceId) -> Result<Exit, RuntimeError> {
        let instance = self.inner.instance(id).ok_or_else(|| RuntimeError::not_found(id))?;
        // Not ended by a shutdown: the instance runs on, and nobody may take that for its end.
        instance.ended().await
    }

    async fn listening(&self, id: &InstanceId) -> Result<Vec<SocketAddr>, RuntimeError> {
        let instance = self.inner.instance(id).ok_or_else(|| RuntimeError::not_found(id))?;
        let Some((_, pid)) = instance.shim else { return Ok(Vec::new()) };
        if *instance.state.borrow() != State::Running {
            return Ok(Vec::new());
        }
        let looked = self.inner.tasks.blocking("look at sockets", move || sockets::listening(pid)).await;
        let looked = looked.map_err(|_lost| RuntimeError::Interrupted { operation: "listening" })?;
        looked.map_err(RuntimeError::system("look at sockets"))
    }

    async fn run(
        &self,
        spec: &InstanceSpec,
        output: &BuildLog,
        cancel: &CancellationToken,
    ) -> Result<Exit, RuntimeError> {
        let (inner, spec, output) = (Arc::clone(&self.inner), spec.clone(), output.clone());
        let cancel = cancel.child_token();
        // A caller that gives up cancels.
        let _guard = cancel.clone().drop_guard();
        let (reply, answer) = oneshot::channel();
        self.inner.tasks.spawn("run one-off", async move {
            let _ = reply.send(inner.run(spec, output, &cancel).await);
        });
        answer.await.unwrap_or(Err(RuntimeError::Interrupted { operation: "run" }))
    }

    async fn stats(&self, id: &InstanceId) -> Result<Usage, RuntimeError> {
        let (instance, shim) = self.inner.running(id)?;
        let looked = self.inner.tasks.blocking("look at processes", move || usage::of(shim)).await;
        let looked = looked.map_err(|_lost| RuntimeError::Interrupted { operation: "stats" })?;
        let found = looked.map_err(RuntimeError::system("look at processes"))?;
        let memory_bytes_max = match self.inner.groups.unenforced(&instance.spec.limits).is_empty() {
            true => instance.spec.limits.memory_bytes_max,
            false => None,
        };
        Ok(Usage { cpu: instance.cpu_seen(found.cpu), memory_bytes_max, ..found })
    }

    async fn unenforced(&self, spec: &InstanceSpec) -> Vec<String> {
        self.inner.groups.unenforced(&spec.limits)
    }

    async fn exec(&self, id: &InstanceId, request: ExecRequest) -> Result<ExecSession, RuntimeError> {
        let (inner, (instance, _)) = (Arc::clone(&self.inner), self.inner.running(id)?);
        let (reply, answer) = oneshot::channel();
        self.inner.tasks.spawn("start command", async move {
            // A session that nobody takes ends as one that is dropped.
            let _ = reply.send(inner.exec(instance, &request).await);
        });
        answer.await.unwrap_or(Err(RuntimeError::Interrupted { operation: "exec" }))
    }

    async fn attach(
        &self,
        spec: &InstanceSpec,
        terminal: Option<TerminalSize>,
    ) -> Result<ExecSession, RuntimeError> {
        let (inner, spec) = (Arc::clone(&self.inner), spec.clone());
        let (reply, answer) = oneshot::channel();
        self.inner.tasks.spawn("start one-off", async move {
            // A session that nobody takes ends as one that is dropped.
            let _ = reply.send(inner.attach(spec, terminal).await);
        });
        answer.await.unwrap_or(Err(RuntimeError::Interrupted { operation: "attach" }))
    }
}

impl LocalBackend for ProcessBackend {
    fn holds(&self, id: &InstanceId) -> bool {
        self.inner.instances().contains_key(id)
    }
}

impl Inner {
    fn instances(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Arc<Instance>>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn instance(&self, id: &InstanceId) -> Option<Arc<Instance>> {
        self.instances().get(id).map(Arc::clone)
    }

    /// An instance that runs, and the pid of its shim.
    fn running(&self, id: &InstanceId) -> Result<(Arc<Instance>, i32), RuntimeError> {
        let instance = self.instance(id).ok_or_else(|| RuntimeError::not_found(id))?;
        let state = *instance.state.borrow();
        match (state, &instance.shim) {
            (State::Running, Some((_, pid))) => {
                let pid = *pid;
                Ok((instance, pid))
            }
            (State::Running | State::Exited(_), _) => Err(RuntimeError::NotRunning { id: id.clone() }),
            (State::Gone, _) => Err(RuntimeError::not_found(id)),
        }
    }

    pub(super) async fn shutdown(&self) {
        self.tasks.shutdown_token().cancelled().await;
    }

    async fn start(&self, spec: &InstanceSpec) -> Result<Started, RuntimeError> {
        let log = self.logs.app(&spec.app);
        let log = log.map_err(|source| RuntimeError::Log { id: spec.id.clone(), source })?;
        let (first, last) = (self.ports.first(), self.ports.last());
        let claim = self.ports.claim().ok_or(RuntimeError::NoPort { first, last })?;
        let launch = self.launch(Kind::Instance, spec.clone(), Some(claim.port()));
        let dir = InstanceDir::of(&self.dir, &spec.id);
        let (mut spawned, launch) = self.spawn(&dir, launch, None).await?;
        let record = match launch::ready(&mut spawned, &spec.id).await {
            Ok(record) => record,
            Err(error) => {
                self.undo(spawned, &dir, &spec.id).await;
                return Err(error);
            }
        };
        let found = Found { dir: dir.clone(), launch, record: Some(record), shim: Some(spawned.shim) };
        match self.hold(found, claim, log) {
            Ok(endpoint) => Ok(Started { endpoint }),
            Err(error) => {
                self.discard(&dir, &spec.id).await;
                Err(error)
            }
        }
    }

    pub(super) fn launch(&self, kind: Kind, spec: InstanceSpec, port: Option<u16>) -> Launch {
        Launch { kind, spec, port, tmp: None, groups: Vec::new(), output: self.output }
    }

    pub(super) async fn spawn(
        &self,
        dir: &InstanceDir,
        mut launch: Launch,
        stdio: Option<Stdio>,
    ) -> Result<(launch::Spawned, Launch), RuntimeError> {
        let Program::Folder { dir: app, .. } = &launch.spec.program else {
            return Err(RuntimeError::NoEngine { id: launch.spec.id });
        };
        let (command, dir, app, groups) =
            (self.shim.clone(), dir.clone(), app.clone(), Arc::clone(&self.groups));
        let work = move || {
            let id = launch.spec.id.clone();
            match launch.kind {
                Kind::Instance | Kind::OneOff => {
                    links::link(&app, &launch.spec.mounts)
                        .map_err(|error| RuntimeError::Storage { id: id.clone(), why: error.to_string() })?;
                    launch.groups = groups
                        .make(&id, &launch.spec.limits)
                        .map_err(RuntimeError::system("make the control group of an instance"))?;
                }
                // What it needs is there, with the instance.
                Kind::Exec { .. } => {}
            }
            let spawned = launch::spawn(&command, &dir, &launch, stdio.as_ref());
            if spawned.is_err() {
                groups.remove(&id);
            }
            Ok((spawned?, launch))
        };
        let spawned = self.tasks.blocking("spawn shim", work).await;
        spawned.map_err(|_lost| RuntimeError::Interrupted { operation: "start" })?
    }

    /// Ends and removes what cannot be followed.
    pub(super) async fn discard(&self, dir: &InstanceDir, id: &InstanceId) {
        let (dir, of, groups) = (dir.clone(), id.clone(), Arc::clone(&self.groups));
        let discard = move || launch::discard(&dir, &of).map(|()| groups.remove(&of));
        let discarded = self.tasks.blocking("discard instance", discard).await;
        if let Ok(Err(error)) = discarded {
            tracing::error!(instance = %id, %error, "a failed start left something behind");
        }
    }

    pub(super) async fn undo(&self, spawned: launch::Spawned, dir: &InstanceDir, id: &InstanceId) {
        let (dir, of, groups) = (dir.clone(), id.clone(), Arc::clone(&self.groups));
        let undo = move || launch::undo(&spawned, &dir, &of).map(|()| groups.remove(&of));
        let undone = self.tasks.blocking("undo start", undo).await;
        if let Ok(Err(error)) = undone {
            tracing::error!(instance = %id, %error, "a failed start left something behind");
        }
    }

    fn adopt(&self, found: Found) -> Result<(), RuntimeError> {
        let id = &found.launch.spec.id;
        let log = self.logs.app(&found.launch.spec.app);
        let log = log.map_err(|source| RuntimeError::Log { id: id.clone(), source })?;
        // An instance always has a port; port 0 is claimed by nobody and reached by nobody.
        let claim = self.ports.reclaim(found.launch.port.unwrap_or_default());
        tracing::info!(instance = %id, running = found.shim.is_some(), "adopted");
        self.hold(found, claim, log).map(drop)
    }

    /// Takes an instance into the list and follows it.
    fn hold(
        &self,
        found: Found,
        claim: PortClaim,
        log: Arc<autostack_logs::Stream>,
    ) -> Result<SocketAddr, RuntimeError> {
        let Found { dir, launch, record, shim } = found;
        let spec = Arc::new(launch.spec);
        let wake = self.wakes.watch(dir.path()).map_err(RuntimeError::file("watch", dir.path()))?;
        let shim = shim.map(async_pidfd).transpose()?;
        let tail = Some(Tail::to_app(&dir, Arc::clone(&log), Arc::clone(&spec)));
        let endpoint = SocketAddr::from((Ipv4Addr::LOCALHOST, claim.port()));
        let instance = Arc::new(Instance {
            spec: Arc::clone(&spec),
            endpoint,
            started_at: record.as_ref().map_or_else(now, |record| record.started_at),
            dir: dir.clone(),
            log,
            shim: shim.clone().zip(record.map(|record| record.shim.pid)),
            state: watch::Sender::new(State::Running),
            claim: Mutex::new(Some(claim)),
            commands: TaskTracker::new(),
            stopping: CancellationToken::new(),
            cpu_micros: AtomicU64::new(0),
        });
        self.instances().insert(spec.id.clone(), Arc::clone(&instance));
        let follow = Follow { id: spec.id.clone(), dir, shim, wake, tail, tasks: self.tasks.clone() };
        let (until, groups) = (self.tasks.shutdown_token(), Arc::clone(&self.groups));
        self.tasks.spawn("follow instance", async move {
            if let Some(exit) = follow.run(&until).await {
                let exit = groups.judge(&instance.spec.id, &instance.spec.limits, exit);
                tracing::info!(instance = %instance.spec.id, %exit, "instance ended");
                instance.state.send_replace(State::Exited(exit));
            }
        });
        Ok(endpoint)
    }

    /// Waits until what had ended before is known to have.
    async fn settle_ended(&self) {
        let ended: Vec<_> =
            self.instances().values().filter(|one| one.shim.is_none()).map(Arc::clone).collect();
        for instance in ended {
            let _ = instance.ended().await;
        }
    }

    async fn stop(&self, id: &InstanceId, grace: Duration) -> Result<(), RuntimeError> {
        let Some(instance) = self.instance(id) else { return Ok(()) };
        instance.commands.close();
        instance.stopping.cancel();
        tokio::select! {
            ended = instance.end(grace) => ended?,
            () = self.shutdown() => return Err(RuntimeError::Interrupted { operation: "stop" }),
        }
        instance.commands.wait().await;
        self.remove(&instance.dir, id).await?;
        instance.gone();
        let mut instances = self.instances();
        if instances.get(id).is_some_and(|held| Arc::ptr_eq(held, &instance)) {
            instances.remove(id);
        }
        Ok(())
    }

    pub(super) async fn remove(&self, dir: &InstanceDir, id: &InstanceId) -> Result<(), RuntimeError> {
        let (removed, id, groups) = (dir.clone(), id.clone(), Arc::clone(&self.groups));
        let remove = move || {
            groups.remove(&id);
            removed.remove()
        };
        let removed = self.tasks.blocking("remove instance", remove).await;
        let removed = removed.map_err(|_lost| RuntimeError::Interrupted { operation: "remove" })?;
        removed.map_err(RuntimeError::file("remove", dir.path()))
    }
}

pub(super) fn async_pidfd(shim: PidFd) -> Result<Arc<AsyncFd<PidFd>>, RuntimeError> {
    shim.into_async().map(Arc::new).map_err(RuntimeError::system("wait for a shim"))
}

fn make_private(dir: &Path) -> Result<(), RuntimeError> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(dir).map_err(RuntimeError::file("make", dir))
}
