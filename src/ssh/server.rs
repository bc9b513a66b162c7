//! The server: accepts, keeps the limits, ends what takes too long, and stops in order.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use autostack_base::tasks::{Backoff, Shutdown, Tasks};
use russh::{Disconnect, server::Config};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, sleep_until, timeout, timeout_at},
};

use autostack_platform::Platform;

use crate::{
    algorithms,
    commands::desk::Desk,
    door::Door,
    handler::{Connection, Signals},
    host_key::HostKey,
    limits::Limits,
    lobby::{Lobby, Place},
    service::Service,
    welcome::{Exchanged, welcome},
    wire::Wire,
};

/// Pauses after an `accept` that failed, as when no file descriptor is left.
const ACCEPT_PAUSE_FIRST: Duration = Duration::from_millis(10);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// What a client gets to take our goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// The SSH server of an agent.
pub struct Server {
    platform: Platform,
    host_key: HostKey,
    limits: Limits,
    tasks: Tasks,
}

impl Server {
    /// Binds nothing and spawns nothing yet; tasks will be spawned through `tasks`.
    pub fn new(platform: Platform, host_key: HostKey, limits: Limits, tasks: Tasks) -> Self {
        Self { platform, host_key, limits, tasks }
    }

    /// Accepts connections until `stopping` is cancelled. Then no session begins, those that run may finish
    /// within [`Limits::stop_budget`], and when this returns every connection has ended.
    pub async fn serve(self, listener: TcpListener, stopping: Shutdown) {
        let desk = Desk::new(self.platform, self.tasks.clone());
        Acceptor::new(desk, &self.host_key, self.limits, &self.tasks, stopping).serve(listener).await;
    }
}

/// Runs connections for one [`Service`].
pub(crate) struct Acceptor<S> {
    door: Arc<Door<S>>,
    config: Arc<Config>,
    lobby: Arc<Lobby>,
    connections: Arc<Semaphore>,
}

impl<S: Service> Acceptor<S> {
    /// Every task is spawned through `tasks`; `stopping` ends [`serve`](Self::serve).
    pub(crate) fn new(
        service: S,
        host_key: &HostKey,
        limits: Limits,
        tasks: &Tasks,
        stopping: Shutdown,
    ) -> Self {
        Self {
            config: algorithms::config(host_key, &limits),
            lobby: Lobby::new(limits.clone()),
            connections: Arc::new(Semaphore::new(limits.connections_max)),
            door: Arc::new(Door { service, limits, tasks: tasks.child(), stopping }),
        }
    }

    /// Accepts until told to stop; then no session begins, those that run finish within the budget, and
    /// every connection has ended when this returns.
    pub(crate) async fn serve(self, listener: TcpListener) {
        self.accept(&listener).await;
        drop(listener);
        let budget = self.door.limits.stop_budget + 4 * GOODBYE;
        let left = self.door.tasks.wait(budget).await;
        if !left.is_empty() {
            tracing::warn!(tasks = ?left, "ssh sessions did not end in time");
        }
    }

    async fn accept(&self, listener: &TcpListener) {
        let mut backoff = Backoff::new(ACCEPT_PAUSE_FIRST, ACCEPT_PAUSE_MAX, ACCEPT_PAUSE_MAX);
        let mut last_success = Instant::now();
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.door.stopping.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => {
                    last_success = Instant::now();
                    self.let_in(socket, peer);
                }
                // The peer gave up while it waited; the listener is well.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    let pause = backoff.after_failure(last_success.elapsed());
                    tracing::warn!(%error, ?pause, "cannot accept ssh connections");
                    tokio::select! {
                        () = self.door.stopping.cancelled() => return,
                        () = sleep(pause) => {}
                    }
                }
            }
        }
    }

    /// Lets a connection in, or closes it at once where there are too many.
    fn let_in(&self, socket: TcpStream, peer: SocketAddr) {
        let Ok(seat) = Arc::clone(&self.connections).try_acquire_owned() else {
            tracing::warn!(%peer, "too many ssh connections; closed one more");
            return;
        };
        let arrival = self.lobby.arrive(peer.ip());
        let (door, config) = (Arc::clone(&self.door), Arc::clone(&self.config));
        self.door.tasks.spawn("ssh-connection", async move {
            let _seat = seat;
            let mut socket = socket;
            // With Nagle's algorithm a short answer waits for the acknowledgement of the one before.
            if let Err(error) = socket.set_nodelay(true) {
                tracing::debug!(%peer, %error, "cannot switch off Nagle's algorithm");
            }
            let deadline = tokio::time::Instant::now() + door.limits.login_grace;
            let admitted = tokio::select! {
                biased;
                () = door.stopping.cancelled() => return,
                admitted = timeout_at(deadline, welcome(&mut socket, arrival, door.limits.first_words)) => admitted,
            };
            match admitted {
                Ok(Some((place, exchanged))) => {
                    let guest = Guest { socket, exchanged, peer, place, deadline };
                    converse(door, config, guest).await;
                }
                Ok(None) | Err(_) => tracing::debug!(%peer, "closed an ssh connection before login"),
            }
        });
    }
}

/// A connection that has its place, and until when it must have logged in.
struct Guest {
    socket: TcpStream,
    exchanged: Exchanged,
    peer: SocketAddr,
    place: Place,
    deadline: tokio::time::Instant,
}

async fn converse<S: Service>(door: Arc<Door<S>>, config: Arc<Config>, guest: Guest) {
    let Guest { socket, exchanged, peer, place, deadline } = guest;
    let signals = Signals::default();
    let leave = place.leave.clone();
    let (cut, heard_bytes) = (signals.cut.clone(), Arc::clone(&place.heard_bytes));
    let wire = Wire::new(socket, exchanged, cut, heard_bytes, door.limits.socket_stall);
    let connection = Connection::new(Arc::clone(&door), peer, place, signals.clone());
    let talk = talk(&door, config, wire, connection, &signals);
    let ended = watch(&door, &signals, &leave, deadline, talk).await;
    // Sessions that outlive the connection are told so, whatever ended it.
    signals.cut.cancel();
    match ended {
        Ok(()) => tracing::debug!(%peer, "ssh connection ended"),
        Err(russh::Error::Join(error)) => tracing::error!(%peer, %error, "an ssh connection failed"),
        Err(error) => tracing::debug!(%peer, %error, "ssh connection ended early"),
    }
}

/// Lets russh run the connection; says goodbye when the server stops.
async fn talk<S: Service>(
    door: &Door<S>,
    config: Arc<Config>,
    wire: Wire<TcpStream>,
    connection: Connection<S>,
    signals: &Signals,
) -> Result<(), russh::Error> {
    let mut running = russh::server::run_stream(config, wire, connection).await?;
    let handle = running.handle();
    tokio::select! {
        ended = &mut running => return ended,
        () = farewell(door, signals) => {}
    }
    // A client whose sessions have ended leaves by itself, once it has shown their last words; a goodbye
    // that came sooner would make OpenSSH drop them.
    if let Ok(ended) = timeout(GOODBYE, &mut running).await {
        return ended;
    }
    let goodbye = handle.disconnect(Disconnect::ByApplication, "the agent is stopping".into(), String::new());
    let _said = timeout(GOODBYE, goodbye).await;
    if let Ok(ended) = timeout(GOODBYE, &mut running).await {
        return ended;
    }
    signals.cut.cancel();
    running.await
}

/// Runs a connection under the two rules for those that have not logged in: their time, and their place.
async fn watch<S, T>(
    door: &Door<S>,
    signals: &Signals,
    leave: &Shutdown,
    deadline: tokio::time::Instant,
    talk: impl Future<Output = Result<T, russh::Error>>,
) -> Result<T, russh::Error> {
    let rules = async {
        tokio::select! {
            biased;
            () = signals.logged_in.cancelled() => {}
            () = leave.cancelled() => signals.cut.cancel(),
            () = sleep_until(deadline) => signals.cut.cancel(),
            () = door.stopping.cancelled() => signals.cut.cancel(),
        }
    };
    let ((), ended) = tokio::join!(rules, async {
        let ended = talk.await;
        signals.logged_in.cancel();
        ended
    });
    ended
}

/// Returns when the server stops and the connection's sessions have ended, or have used up the budget.
async fn farewell<S>(door: &Door<S>, signals: &Signals) {
    door.stopping.cancelled().await;
    let _in_time = timeout(door.limits.stop_budget, signals.running.idle()).await;
}
