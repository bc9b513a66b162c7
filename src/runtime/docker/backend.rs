//! [`DockerBackend`]: the contract in terms of the parts.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use async_trait::async_trait;
use autostack_base::{error_chain, now, settings::PortRange, tasks::Tasks};
use autostack_domain::{AppName, Digest, Exit, InstanceId, InstanceSpec, UnixMillis};
use autostack_engine::Engine;
use autostack_logs::{BuildLog, Logs, Stream};
use tokio::{
    sync::{Notify, oneshot, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    attach,
    container::Container,
    create::ImageProgram,
    exec,
    follow::Follow,
    held::Held,
    instance::{self, Instance, State},
    labels::Purpose,
    launch::launch,
    link::{self, Link},
    network::Networks,
    one_off,
    options::{DockerOptions, Reach},
    refusal::is_port_taken,
    sockets, stats,
};
use crate::{
    backend::{Backend, Observed, RuntimeError, Started, Usage},
    exec::{ExecRequest, ExecSession, TerminalSize},
    ports::{PortClaim, Ports},
};

/// How long the first look waits for the last output of what ended while no agent was there.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Ports that are tried for a container where programs take them first.
const PORTS_TRIED_MAX: usize = 5;
/// Images that are remembered to have a shell.
const SHELLS_MAX: usize = 1_000;

/// Runs instances as containers of an engine. Dropping it stops following them; they run on.
#[derive(Debug)]
pub struct DockerBackend {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) engine: Engine,
    pub(super) options: DockerOptions,
    pub(super) ports: Arc<Ports>,
    pub(super) logs: Logs,
    pub(super) tasks: Tasks,
    pub(super) networks: Networks,
    pub(super) link: Link,
    pub(super) held: Arc<Held>,
    /// Told when a command beside an instance has ended.
    pub(super) exec_news: Notify,
    /// Images that are known to have a shell.
    shells: Mutex<HashSet<Digest>>,
}

impl DockerBackend {
    /// Opens the backend on an engine, which may be away: then it is looked for in the background, and every
    /// operation says why it is not there. Once it is, running instances are adopted, those that ended meanwhile
    /// have their last output moved, and what an agent that was killed left half done is removed.
    ///
    /// # Errors
    /// None today: what depends on the engine is told by the operations.
    pub async fn open(
        engine: Engine,
        options: DockerOptions,
        logs: Logs,
        tasks: Tasks,
    ) -> Result<Self, RuntimeError> {
        let tasks = tasks.child();
        let PortRange(range) = options.port_range.clone();
        let (seed, _) = uuid::Uuid::new_v4().as_u64_pair();
        let inner = Arc::new(Inner {
            networks: Networks::new(engine.clone()),
            engine,
            options,
            ports: Ports::new(range, u16::try_from(seed & 0xffff).unwrap_or_default()),
            logs,
            tasks,
            link: Link::new(),
            held: Arc::default(),
            exec_news: Notify::new(),
            shells: Mutex::default(),
        });
        let until = inner.tasks.shutdown_token();
        inner.tasks.spawn("watch the container engine", link::keep(Arc::clone(&inner), until));
        Ok(Self { inner })
    }

    /// Resolves when the engine answers and all that runs on it is known.
    pub async fn reachable(&self) {
        self.inner.link.up().await;
    }

    /// Whether the engine answered last, and all that runs on it is known.
    pub fn is_reachable(&self) -> bool {
        self.inner.link.is_up()
    }

    /// The engine that it runs instances on.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }
}

impl Drop for DockerBackend {
    fn drop(&mut self) {
        self.inner.tasks.shutdown_token().cancel();
    }
}

#[async_trait]
impl Backend for DockerBackend {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn is_up(&self) -> bool {
        self.is_reachable()
    }

    async fn start(&self, spec: &InstanceSpec) -> Result<Started, RuntimeError> {
        let (inner, spec) = (Arc::clone(&self.inner), spec.clone());
        // In a task of its own: a caller that gives up must not leave half an instance.
        let (reply, answer) = oneshot::channel();
        self.inner.tasks.spawn("start container", async move {
            let started = inner.start(&spec).await;
            if let Err(Ok(_unwanted)) = reply.send(started)
                && let Err(error) = inner.stop(&spec.id, Duration::ZERO).await
            {
                tracing::error!(instance = %spec.id, error = error_chain(&error), "unwanted");
            }
        });
        answer.await.unwrap_or(Err(RuntimeError::Interrupted { operation: "start" }))
    }

    async fn stop(&self, id: &InstanceId, grace: Duration) -> Result<(), RuntimeError> {
        let (inner, id) = (Arc::clone(&self.inner), id.clone());
        let (reply, answer) = oneshot::channel();
        self.inner.tasks.spawn("stop container", async move {
            let stopped = tokio::select! {
                stopped = inner.stop(&id, grace) => stopped,
                () = inner.tasks.shutdown_token().cancelled_owned() => {
                    Err(RuntimeError::Interrupted { operation: "stop" })
                }
            };
            let _ = reply.send(stopped);
        });
        answer.await.unwrap_or(Err(RuntimeError::Interrupted { operation: "stop" }))
    }

    async fn list(&self) -> Result<Vec<Observed>, RuntimeError> {
        self.inner.ready().await?;
        Ok(self.inner.all().iter().filter_map(|instance| instance.observed()).collect())
    }

    async fn wait(&self, id: &InstanceId) -> Result<Exit, RuntimeError> {
        // Not ended by a shutdown: the instance runs on, and nobody may take that for its end.
        self.inner.known(id).await?.ended().await
    }

    async fn listening(&self, id: &InstanceId) -> Result<Vec<SocketAddr>, RuntimeError> {
        let instance = self.inner.known(id).await?;
        sockets::listening(&self.inner, &instance).await
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
            let _ = reply.send(one_off::run(&inner, &spec, output, &cancel).await);
        });
        answer.await.unwrap_or(Err(RuntimeError::Interrupted { operation: "run" }))
    }

    async fn stats(&self, id: &InstanceId) -> Result<Usage, RuntimeError> {
        let instance = self.inner.known(id).await?;
        stats::usage(&self.inner, &instance).await
    }

    async fn exec(&self, id: &InstanceId, request: ExecRequest) -> Result<ExecSession, RuntimeError> {
        let instance = self.inner.known(id).await?;
        exec::exec(&self.inner, instance, request).await
    }

    async fn unenforced(&self, spec: &InstanceSpec) -> Vec<String> {
        let Ok(about) = self.inner.engine.about().await else { return Vec::new() };
        let limits = &spec.limits;
        let rows = [
            ("the memory limit", limits.memory_bytes_max.is_some() && !about.limits_memory),
            ("the memory reservation", limits.memory_bytes_reserved.is_some() && !about.limits_memory),
            ("the cpu limit", limits.cpus_max.is_some() && !about.limits_cpu),
            ("the cpu reservation", limits.cpus_reserved.is_some() && !about.limits_cpu),
            ("the pids limit", limits.pids_max.is_some() && !about.limits_pids),
        ];
        let missing = rows.into_iter().filter(|(_, is_missing)| *is_missing);
        missing.map(|(limit, _)| format!("{limit} cannot be enforced by the container engine here")).collect()
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
            let _ = reply.send(attach::attach(inner, spec, terminal).await);
        });
        answer.await.unwrap_or(Err(RuntimeError::Interrupted { operation: "attach" }))
    }

    async fn ping(&self) -> Result<(), RuntimeError> {
        let answered = self.inner.engine.ping().await;
        answered.map(drop).map_err(RuntimeError::engine("reach the container engine"))
    }
}

impl Inner {
    /// Waits until the engine is there, which fails at once where it does not answer.
    pub(super) async fn ready(&self) -> Result<(), RuntimeError> {
        self.link.ready(self).await
    }

    pub(super) fn instance(&self, id: &InstanceId) -> Option<Arc<Instance>> {
        self.held.get(id)
    }

    pub(super) fn all(&self) -> Vec<Arc<Instance>> {
        self.held.all()
    }

    /// An instance that exists. With the engine away only what was known before is.
    async fn known(&self, id: &InstanceId) -> Result<Arc<Instance>, RuntimeError> {
        if let Some(instance) = self.instance(id) {
            return Ok(instance);
        }
        self.ready().await?;
        self.instance(id).ok_or_else(|| RuntimeError::not_found(id))
    }

    pub(super) fn log_of(&self, spec: &InstanceSpec) -> Result<Arc<Stream>, RuntimeError> {
        self.logs.app(&spec.app).map_err(|source| RuntimeError::Log { id: spec.id.clone(), source })
    }

    async fn start(self: &Arc<Self>, spec: &InstanceSpec) -> Result<Started, RuntimeError> {
        ImageProgram::of(spec)?;
        self.ready().await?;
        let log = self.log_of(spec)?;
        let busy = self.held.begin(&spec.id, &spec.app);
        let busy = busy.ok_or_else(|| RuntimeError::AlreadyExists { id: spec.id.clone() })?;
        let started = match self.launch_on_a_port(spec).await {
            Ok((container, claim)) => {
                let started_at = container.started_at.unwrap_or_else(now);
                self.hold(spec.clone(), &container, started_at, claim, log)
            }
            Err(error) => Err(error),
        };
        drop(busy);
        if started.is_err() {
            self.drop_network(&spec.app).await;
        }
        started.map(|instance| Started { endpoint: instance.endpoint })
    }

    /// Starts a container, and another time on another port where a program was faster on the first.
    async fn launch_on_a_port(
        &self,
        spec: &InstanceSpec,
    ) -> Result<(Container, Option<PortClaim>), RuntimeError> {
        // Those that were taken: held until there is one that is not, so that none is tried twice.
        let mut taken = Vec::new();
        loop {
            let claim = self.claim().await?;
            let published = claim.as_ref().map(PortClaim::port);
            match launch(self, spec, Purpose::Instance, published).await {
                Ok(container) => return Ok((container, claim)),
                Err(error) if is_port_taken(&error) && taken.len() < PORTS_TRIED_MAX => {
                    tracing::info!(instance = %spec.id, port = published, "a port is taken; another one is tried");
                    taken.push(claim);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A port of loopback, where containers are not reached by their addresses.
    async fn claim(&self) -> Result<Option<PortClaim>, RuntimeError> {
        let about = self.engine.about().await.map_err(RuntimeError::engine("reach the container engine"))?;
        match Reach::of(self.options.endpoints, &about) {
            Reach::Address => Ok(None),
            Reach::Port => {
                let (first, last) = (self.ports.first(), self.ports.last());
                self.ports.claim().map(Some).ok_or(RuntimeError::NoPort { first, last })
            }
        }
    }

    /// Takes an instance into the list and follows it.
    pub(super) fn hold(
        &self,
        spec: InstanceSpec,
        container: &Container,
        started_at: UnixMillis,
        claim: Option<PortClaim>,
        log: Arc<Stream>,
    ) -> Result<Arc<Instance>, RuntimeError> {
        let endpoint = container.endpoint(ImageProgram::of(&spec)?.port);
        let instance = Arc::new(Instance {
            spec: Arc::new(spec),
            container: container.id.clone(),
            endpoint,
            address: container.address,
            started_at,
            pid: container.pid,
            stop_signal: container.stop_signal.clone(),
            memory_bytes_max: container.memory_bytes_max,
            log,
            state: watch::Sender::new(State::Running),
            news: Notify::new(),
            was_killed: AtomicBool::new(false),
            stopping: tokio::sync::Mutex::default(),
            claim: Mutex::new(claim),
        });
        self.held.insert(Arc::clone(&instance));
        let follow = Follow {
            engine: self.engine.clone(),
            instance: Arc::clone(&instance),
            tasks: self.tasks.clone(),
        };
        let (until, followed) = (self.tasks.shutdown_token(), Arc::clone(&instance));
        self.tasks.spawn("follow container", async move {
            if let Some(exit) = follow.run(&until).await {
                followed.exited(exit);
            }
        });
        Ok(instance)
    }

    /// Waits until what had ended before is known to have.
    pub(super) async fn settle_ended(&self, ended: Vec<Arc<Instance>>) {
        let all = async {
            for instance in ended {
                let _ = instance.ended().await;
            }
        };
        let _ = timeout(SETTLE_TIMEOUT, all).await;
    }

    async fn stop(&self, id: &InstanceId, grace: Duration) -> Result<(), RuntimeError> {
        let instance = match self.known(id).await {
            Ok(instance) => instance,
            Err(RuntimeError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let _turn = instance.stopping.lock().await;
        if *instance.state.borrow() == State::Gone {
            return Ok(());
        }
        instance.end(&self.engine, grace).await?;
        let removed = instance::remove(&self.engine, &instance.container).await;
        removed.map_err(RuntimeError::engine("remove the container"))?;
        instance.gone();
        self.held.remove(&instance);
        self.drop_network(&instance.spec.app).await;
        Ok(())
    }

    /// Removes the network of an app that runs nothing any more. One that stays is looked at again later.
    pub(super) async fn drop_network(&self, app: &AppName) {
        if self.held.uses(app) {
            return;
        }
        if let Err(error) = self.networks.remove(app, || self.held.uses(app)).await {
            tracing::warn!(%app, error = error_chain(&error), "the app's network is removed later");
        }
    }

    pub(super) fn has_shell(&self, image: &Digest) -> bool {
        self.shells().contains(image)
    }

    pub(super) fn remember_shell(&self, image: &Digest) {
        let mut shells = self.shells();
        if shells.len() >= SHELLS_MAX {
            shells.clear();
        }
        shells.insert(image.clone());
    }

    fn shells(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.shells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
