//! The listeners: systemd's, where it has opened them, else our own.

use std::{io, net::SocketAddr};

use listenfd::ListenFd;
use tokio::net::TcpListener;

/// A listener could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({key}): {source}")]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// The setting that names it.
    pub key: &'static str,
    /// Why.
    pub source: io::Error,
}

/// The sockets that systemd passed on, by their `FileDescriptorName`.
pub struct Passed {
    fds: ListenFd,
    names: Vec<String>,
}

impl Passed {
    /// Takes over what the environment names. Call it once, before any thread reads the environment.
    pub fn from_environment() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        Self { fds: ListenFd::from_env(), names: names.split(':').map(str::to_owned).collect() }
    }

    /// None: every listener is a new one.
    pub fn none() -> Self {
        Self { fds: ListenFd::empty(), names: Vec::new() }
    }

    /// The passed socket called `name`, else a new one on `address`.
    pub fn listener(
        &mut self,
        name: &str,
        key: &'static str,
        address: SocketAddr,
    ) -> Result<TcpListener, ListenError> {
        let failed = |source| ListenError { address, key, source };
        let passed = match self.names.iter().position(|given| given == name) {
            Some(at) => self.fds.take_tcp_listener(at).map_err(failed)?,
            None => None,
        };
        let listener = match passed {
            Some(listener) => listener,
            None => std::net::TcpListener::bind(address).map_err(failed)?,
        };
        listener.set_nonblocking(true).map_err(failed)?;
        TcpListener::from_std(listener).map_err(failed)
    }
}
