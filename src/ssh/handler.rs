//! What russh tells of a connection, handed on: to [`Login`] before it is known who it is, to its
//! [`Session`] after. Nothing is worked on here; an error would end the connection without a word, so
//! there is none.
//!
//! Whatever is not offered is refused with a failure reply (russh's own default is silence), and the
//! session stays alive. Requests without a callback here are refused by russh: TCP and Unix forwarding,
//! channels for it, for X11 and for agents (threat C5).

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use autostack_base::tasks::Shutdown;
use autostack_domain::{Line, permission::Actor};
use russh::{
    Channel, ChannelId, ChannelOpenFailure, Error, Pty, Sig,
    server::{
        Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Response, Session as Wire, VerifiedPublicKey,
    },
};
use tokio::time::timeout;

use crate::{
    door::{Door, Sessions},
    lobby::Place,
    login::{self, Login},
    output,
    service::Service,
    session::{Caller, Session},
    terminal,
};

/// What a command that runs gets to end when the key that it came with is taken away.
const LAST_COMMAND: Duration = Duration::from_secs(2);

/// What its client then gets to take the answer.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// One connection.
pub(crate) struct Connection<S> {
    door: Arc<Door<S>>,
    peer: SocketAddr,
    login: Login,
    /// Given back when it is known who it is.
    place: Option<Place>,
    /// Cancelled then, which ends the login grace.
    logged_in: Shutdown,
    sessions: HashMap<ChannelId, Session<S>>,
    running: Sessions,
    /// Cut from outside; every session's own signal is a child of it.
    cut: Shutdown,
    /// Cancelled when the key was taken away: no session begins any more.
    locked_out: Shutdown,
}

/// The signals between a connection's handler and its task.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals {
    pub(crate) logged_in: Shutdown,
    pub(crate) cut: Shutdown,
    pub(crate) running: Sessions,
}

impl<S: Service> Connection<S> {
    pub(crate) fn new(door: Arc<Door<S>>, peer: SocketAddr, place: Place, signals: Signals) -> Self {
        Self {
            login: Login::new(door.limits.keys_refused_max),
            door,
            peer,
            place: Some(place),
            logged_in: signals.logged_in,
            sessions: HashMap::new(),
            running: signals.running,
            cut: signals.cut,
            locked_out: Shutdown::new(),
        }
    }

    /// Ends the connection once its key is taken away. A command that runs gets a moment: it may be the one that
    /// took the key away.
    fn watch_key(&self) {
        let Some((actor, fingerprint)) = self.login.proved().cloned() else { return };
        let (door, running) = (Arc::clone(&self.door), self.running.clone());
        let (cut, locked_out, peer) = (self.cut.clone(), self.locked_out.clone(), self.peer);
        self.door.tasks.spawn("ssh-key-watch", async move {
            tokio::select! {
                biased;
                () = cut.cancelled() => return,
                () = door.service.locked_out(&fingerprint, &actor) => {}
            }
            tracing::info!(%peer, by = actor.name, "the key of an open ssh connection was taken away");
            locked_out.cancel();
            let _in_time = timeout(LAST_COMMAND, running.idle()).await;
            // A client that has its last words leaves by itself.
            let _left = timeout(LAST_WORDS, cut.cancelled()).await;
            cut.cancel();
        });
    }

    fn start(&mut self, channel: ChannelId, command: Option<String>, wire: &mut Wire) -> Result<(), Error> {
        if self.locked_out.is_cancelled() {
            return answer(wire, channel, false);
        }
        let peer = self.peer;
        let caller = self.login.actor().map(|actor| {
            let actor = Actor { from: Some(peer.ip().to_canonical()), ..actor.clone() };
            Caller { actor, peer, busy: self.running.begin() }
        });
        let started = match (self.sessions.get_mut(&channel), caller) {
            (Some(session), Some(caller)) => session.start(caller, command),
            _ => false,
        };
        answer(wire, channel, started)
    }
}

fn answer(wire: &mut Wire, channel: ChannelId, granted: bool) -> Result<(), Error> {
    if granted { wire.channel_success(channel) } else { wire.channel_failure(channel) }
}

impl<S: Service> Handler for Connection<S> {
    type Error = Error;

    async fn auth_publickey_offered(
        &mut self,
        _user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Error> {
        let Some(fingerprint) = login::fingerprint(offer.public_key, offer.algorithm) else {
            return Ok(login::not_accepted());
        };
        let known = self.door.service.authenticate(&fingerprint).await;
        Ok(self.login.offered(fingerprint, &known))
    }

    async fn auth_publickey(&mut self, _user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Error> {
        let Some(fingerprint) = login::fingerprint(key.public_key, key.algorithm) else {
            return Ok(login::not_accepted());
        };
        let known = self.door.service.authenticate(&fingerprint).await;
        Ok(self.login.verified(fingerprint, known))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Error> {
        Ok(self.login.explain(response.is_some()))
    }

    async fn auth_succeeded(&mut self, _wire: &mut Wire) -> Result<(), Error> {
        let name = self.login.actor().map(|actor| actor.name.as_str());
        tracing::debug!(peer = %self.peer, name, "logged in over ssh");
        self.place = None;
        self.logged_in.cancel();
        self.watch_key();
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _wire: &mut Wire,
    ) -> Result<(), Error> {
        if self.sessions.len() >= self.door.limits.sessions_per_connection_max {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        // Data comes by `data` below: a reading half that nobody reads would stop the connection.
        let (_dropped, channel) = channel.split();
        let id = channel.id();
        self.sessions.insert(id, Session::new(Arc::clone(&self.door), channel, self.cut.child_token()));
        reply.accept().await;
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _wire: &mut Wire) -> Result<(), Error> {
        self.sessions.remove(&channel);
        Ok(())
    }

    async fn channel_eof(&mut self, channel: ChannelId, _wire: &mut Wire) -> Result<(), Error> {
        if let Some(session) = self.sessions.get_mut(&channel) {
            session.end_of_input();
        }
        Ok(())
    }

    async fn data(&mut self, channel: ChannelId, data: &[u8], _wire: &mut Wire) -> Result<(), Error> {
        if let Some(session) = self.sessions.get_mut(&channel) {
            session.input(data).await;
        }
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        term: &str,
        columns: u32,
        rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        wire: &mut Wire,
    ) -> Result<(), Error> {
        let size = terminal::size(columns, rows);
        let session = self.sessions.get_mut(&channel);
        let granted = session.is_some_and(|session| session.use_terminal(term, size));
        answer(wire, channel, granted)
    }

    async fn window_change_request(
        &mut self,
        channel: ChannelId,
        columns: u32,
        rows: u32,
        _width: u32,
        _height: u32,
        wire: &mut Wire,
    ) -> Result<(), Error> {
        let size = terminal::size(columns, rows);
        let done = self.sessions.get(&channel).is_some_and(|session| session.resize(size));
        answer(wire, channel, done)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        wire: &mut Wire,
    ) -> Result<(), Error> {
        let kept = self.sessions.get_mut(&channel).is_some_and(|session| session.set_variable(name, value));
        answer(wire, channel, kept)
    }

    async fn exec_request(&mut self, channel: ChannelId, data: &[u8], wire: &mut Wire) -> Result<(), Error> {
        let command =
            std::str::from_utf8(data).ok().filter(|text| text.len() <= self.door.limits.command_bytes_max);
        match command {
            Some(command) => self.start(channel, Some(command.to_owned()), wire),
            None => {
                let session = self.sessions.get_mut(&channel);
                let declined =
                    session.is_some_and(|session| session.decline("The command is too long, or not UTF-8."));
                answer(wire, channel, declined)
            }
        }
    }

    async fn shell_request(&mut self, channel: ChannelId, wire: &mut Wire) -> Result<(), Error> {
        self.start(channel, None, wire)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        wire: &mut Wire,
    ) -> Result<(), Error> {
        // Said before the refusal, after which OpenSSH listens no more.
        let sorry = Line::trouble("Subsystems such as sftp are not offered here; push with git.");
        wire.extended_data(channel, output::STDERR, format!("{sorry}\n"))?;
        answer(wire, channel, false)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _single_connection: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        wire: &mut Wire,
    ) -> Result<(), Error> {
        if let Some(session) = self.sessions.get_mut(&channel) {
            session.refuse("X11 forwarding is not offered here.");
        }
        answer(wire, channel, false)
    }

    async fn agent_request(&mut self, channel: ChannelId, _wire: &mut Wire) -> Result<bool, Error> {
        if let Some(session) = self.sessions.get_mut(&channel) {
            session.refuse("Forwarding of your ssh-agent is not offered here.");
        }
        Ok(false)
    }

    async fn signal(&mut self, channel: ChannelId, signal: Sig, _wire: &mut Wire) -> Result<(), Error> {
        let ends = matches!(signal, Sig::INT | Sig::TERM | Sig::HUP | Sig::QUIT | Sig::KILL);
        if let Some(session) = self.sessions.get_mut(&channel).filter(|_| ends) {
            session.interrupt();
        }
        Ok(())
    }
}
