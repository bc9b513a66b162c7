//! [`MemoryBackend`].

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use autostack_base::{now, tasks::Tasks};
use autostack_domain::{Exit, InstanceId, InstanceSpec};
use autostack_logs::{BuildLog, Logs, OutputStream};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

use super::{
    exec::{self, Counted},
    instance::{self, Instance},
    program::{Listens, Program},
};
use crate::{
    backend::{Backend, InstanceState, LocalBackend, Observed, RuntimeError, Started, Usage},
    exec::{ExecRequest, ExecSession, TerminalSize},
};

/// Keeps the contract without a process. A command that has no script is [`Program::server`].
#[derive(Debug)]
pub struct MemoryBackend {
    logs: Logs,
    tasks: Tasks,
    scripts: Mutex<HashMap<String, Program>>,
    instances: Mutex<BTreeMap<InstanceId, Instance>>,
    /// Commands that somebody talks to.
    commands: Arc<AtomicUsize>,
    /// The ids of those that have an instance of their own.
    attached: Arc<Mutex<HashSet<InstanceId>>>,
}

impl MemoryBackend {
    /// A backend without instances.
    pub fn new(logs: Logs, tasks: Tasks) -> Self {
        Self {
            logs,
            tasks,
            scripts: Mutex::default(),
            instances: Mutex::default(),
            commands: Arc::default(),
            attached: Arc::default(),
        }
    }

    /// Says what a command line does, from its next start on.
    pub fn script(&self, command: &str, program: Program) {
        locked(&self.scripts).insert(command.to_owned(), program);
    }

    /// How many commands run now that somebody talks to.
    pub fn commands(&self) -> usize {
        self.commands.load(Ordering::SeqCst)
    }

    fn program(&self, command: &str) -> Program {
        locked(&self.scripts).get(command).cloned().unwrap_or_else(Program::server)
    }

    fn exit_of(&self, id: &InstanceId) -> Result<watch::Receiver<Option<Exit>>, RuntimeError> {
        let instances = locked(&self.instances);
        instances.get(id).map(|found| found.exit.clone()).ok_or_else(|| RuntimeError::not_found(id))
    }
}

#[async_trait]
impl Backend for MemoryBackend {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn start(&self, spec: &InstanceSpec) -> Result<Started, RuntimeError> {
        let program = self.program(spec.program.command().unwrap_or_default());
        if let Some(why) = program.refuses {
            return Err(RuntimeError::Start { id: spec.id.clone(), why });
        }
        let log =
            self.logs.app(&spec.app).map_err(|source| RuntimeError::Log { id: spec.id.clone(), source })?;
        let sockets = Sockets::bind(program.listens).map_err(RuntimeError::system("bind a port"))?;
        let endpoint = sockets.endpoint;
        let (exit_sender, exit) = watch::channel(None);
        let (stop, stop_receiver) = watch::channel(None);
        {
            let mut instances = locked(&self.instances);
            if instances.contains_key(&spec.id) {
                return Err(RuntimeError::AlreadyExists { id: spec.id.clone() });
            }
            let listening = sockets.listening.clone();
            let started_at = now();
            let uses = (program.memory_bytes, program.cpus);
            let made = Instance { spec: spec.clone(), endpoint, listening, started_at, uses, exit, stop };
            instances.insert(spec.id.clone(), made);
        }
        if let Err(source) = instance::print(&program, spec, &log) {
            locked(&self.instances).remove(&spec.id);
            return Err(RuntimeError::Log { id: spec.id.clone(), source });
        }
        let body = spec.id.to_string();
        self.tasks.spawn("memory instance", async move {
            let Sockets { listener, held, .. } = sockets;
            let exit = instance::live(&program, &body, listener, stop_receiver).await;
            drop(held);
            exit_sender.send_replace(Some(exit));
        });
        Ok(Started { endpoint })
    }

    async fn stop(&self, id: &InstanceId, grace: Duration) -> Result<(), RuntimeError> {
        let Ok(mut exit) = self.exit_of(id) else { return Ok(()) };
        if let Some(found) = locked(&self.instances).get(id) {
            found.stop.send_modify(|asked| *asked = Some(asked.map_or(grace, |before| before.min(grace))));
        }
        let ended = exit.wait_for(Option::is_some).await.map(drop);
        ended.map_err(|_closed| RuntimeError::Interrupted { operation: "stop" })?;
        locked(&self.instances).remove(id);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Observed>, RuntimeError> {
        let observe = |found: &Instance| Observed {
            spec: found.spec.clone(),
            endpoint: found.endpoint,
            state: found.exit.borrow().map_or(InstanceState::Running, InstanceState::Exited),
            started_at: found.started_at,
        };
        Ok(locked(&self.instances).values().map(observe).collect())
    }

    async fn wait(&self, id: &InstanceId) -> Result<Exit, RuntimeError> {
        let mut exit = self.exit_of(id)?;
        let ended = exit.wait_for(Option::is_some).await.map(|ended| *ended);
        ended.ok().flatten().ok_or(RuntimeError::Interrupted { operation: "wait" })
    }

    async fn listening(&self, id: &InstanceId) -> Result<Vec<SocketAddr>, RuntimeError> {
        let instances = locked(&self.instances);
        let found = instances.get(id).ok_or_else(|| RuntimeError::not_found(id))?;
        let runs = found.exit.borrow().is_none();
        Ok(if runs { found.listening.clone() } else { Vec::new() })
    }

    async fn run(
        &self,
        spec: &InstanceSpec,
        output: &BuildLog,
        cancel: &CancellationToken,
    ) -> Result<Exit, RuntimeError> {
        let program = self.program(spec.program.command().unwrap_or_default());
        if let Some(why) = program.refuses {
            return Err(RuntimeError::Start { id: spec.id.clone(), why });
        }
        for (stream, text) in &program.prints {
            let line = [text.as_slice(), b"\n"].concat();
            match stream {
                OutputStream::Stdout | OutputStream::Stderr => output.raw(&line),
            }
        }
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(RuntimeError::Cancelled),
            exit = instance::ends(program.ends) => Ok(exit),
        }
    }

    async fn stats(&self, id: &InstanceId) -> Result<Usage, RuntimeError> {
        let instances = locked(&self.instances);
        let found = running(&instances, id)?;
        let (memory_bytes, cpus) = found.uses;
        let since = u64::try_from(now().0 - found.started_at.0).unwrap_or_default();
        Ok(Usage {
            memory_bytes,
            memory_bytes_max: None,
            cpu: Duration::from_millis(since) * cpus,
            processes: 1,
        })
    }

    async fn exec(&self, id: &InstanceId, request: ExecRequest) -> Result<ExecSession, RuntimeError> {
        let program = self.program(&request.command);
        let (mut env, exit) = {
            let instances = locked(&self.instances);
            let found = running(&instances, id)?;
            let mut env = found.spec.env.clone();
            env.put("PORT", found.endpoint.port().to_string());
            (env, found.exit.clone())
        };
        if let Some(why) = program.refuses {
            return Err(RuntimeError::Start { id: id.clone(), why });
        }
        env.extend(&request.env);
        let (session, ends) = ExecSession::new(request.terminal);
        let command = exec::live(program, env, ends, Some(exit), Counted::one(&self.commands));
        self.tasks.spawn("memory command", command);
        Ok(session)
    }

    async fn attach(
        &self,
        spec: &InstanceSpec,
        terminal: Option<TerminalSize>,
    ) -> Result<ExecSession, RuntimeError> {
        let program = self.program(spec.program.command().unwrap_or_default());
        if let Some(why) = program.refuses {
            return Err(RuntimeError::Start { id: spec.id.clone(), why });
        }
        let place = Place::take(&self.attached, &spec.id);
        let place = place.ok_or_else(|| RuntimeError::AlreadyExists { id: spec.id.clone() })?;
        let (session, ends) = ExecSession::new(terminal);
        let (env, counted) = (spec.env.clone(), Counted::one(&self.commands));
        self.tasks.spawn("memory one-off", async move {
            exec::live(program, env, ends, None, counted).await;
            drop(place);
        });
        Ok(session)
    }
}

impl LocalBackend for MemoryBackend {
    fn holds(&self, id: &InstanceId) -> bool {
        locked(&self.instances).contains_key(id)
    }
}

fn running<'a>(
    instances: &'a BTreeMap<InstanceId, Instance>,
    id: &InstanceId,
) -> Result<&'a Instance, RuntimeError> {
    let found = instances.get(id).ok_or_else(|| RuntimeError::not_found(id))?;
    let has_ended = found.exit.borrow().is_some();
    if has_ended { Err(RuntimeError::NotRunning { id: id.clone() }) } else { Ok(found) }
}

/// The ports of an instance: `PORT` is bound whether or not anybody listens on it, so that nobody else
/// gets it.
struct Sockets {
    endpoint: SocketAddr,
    listening: Vec<SocketAddr>,
    listener: Option<TcpListener>,
    held: Option<TcpSocket>,
}

impl Sockets {
    fn bind(listens: Listens) -> io::Result<Self> {
        let port = TcpSocket::new_v4()?;
        port.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let endpoint = port.local_addr()?;
        let (listener, held) = match listens {
            Listens::OnPort => (Some(port.listen(BACKLOG)?), None),
            Listens::Elsewhere => {
                let other = TcpSocket::new_v4()?;
                other.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
                (Some(other.listen(BACKLOG)?), Some(port))
            }
            Listens::Nowhere => (None, Some(port)),
        };
        let listening = listener.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
        Ok(Self { endpoint, listening, listener, held })
    }
}

/// The id of a one-off, until it has ended.
struct Place {
    taken: Arc<Mutex<HashSet<InstanceId>>>,
    id: InstanceId,
}

impl Place {
    fn take(taken: &Arc<Mutex<HashSet<InstanceId>>>, id: &InstanceId) -> Option<Self> {
        let is_free = locked(taken).insert(id.clone());
        is_free.then(|| Self { taken: Arc::clone(taken), id: id.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        locked(&self.taken).remove(&self.id);
    }
}

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 64;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
