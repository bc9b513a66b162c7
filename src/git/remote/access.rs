//! Whom the agent may speak to, and how it makes itself known there.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use autostack_domain::{
    RemoteHost, RemoteUrl, Secret,
    remote_url::{Scheme, is_public},
};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::RemoteError;

/// How long one address may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What holds for one fetch.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Hosts that an admin has named: they may have any address, and be spoken to in clear.
    pub allowed: BTreeSet<RemoteHost>,
    /// Logins; each is sent to its own host alone.
    pub logins: Vec<RemoteLogin>,
}

/// A login at a host.
#[derive(Debug, Clone)]
pub struct RemoteLogin {
    /// The host, with its port where that is not the usual one, as a URL has it.
    pub authority: String,
    /// The value of the header `Authorization`.
    pub header: Secret<String>,
}

impl Access {
    /// The addresses of a URL's host, all of them checked. Whoever connects uses one of these and asks no resolver
    /// again: a name may lead elsewhere the next time.
    pub(super) async fn resolve(&self, url: &RemoteUrl) -> Result<Vec<SocketAddr>, RemoteError> {
        let host = url.host();
        let is_allowed = self.allowed.contains(host);
        if url.scheme() == Scheme::Http && !is_allowed {
            return Err(RemoteError::Clear { host: host.clone() });
        }
        let addresses: Vec<SocketAddr> = match host {
            RemoteHost::Address(address) => vec![SocketAddr::new(*address, url.port())],
            RemoteHost::Name(name) => {
                let unreachable = |source| RemoteError::Unreachable { host: host.clone(), source };
                let looked_up = timeout(CONNECT_TIMEOUT, lookup_host((name.as_str(), url.port()))).await;
                looked_up
                    .map_err(|_| unreachable(io::ErrorKind::TimedOut.into()))?
                    .map_err(unreachable)?
                    .collect()
            }
        };
        if let Some(address) =
            addresses.iter().map(SocketAddr::ip).find(|address| !is_allowed && !is_public(*address))
        {
            return Err(RemoteError::Private { host: host.clone(), address });
        }
        if addresses.is_empty() {
            let source = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
            return Err(RemoteError::Unreachable { host: host.clone(), source });
        }
        Ok(addresses)
    }

    /// The login for the host of a URL.
    pub(super) fn login(&self, url: &RemoteUrl) -> Option<&RemoteLogin> {
        let authority = url.authority();
        self.logins.iter().find(|login| login.authority == authority)
    }
}

/// Connects to the first address that answers.
pub(super) async fn connect(host: &RemoteHost, addresses: &[SocketAddr]) -> Result<TcpStream, RemoteError> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_elapsed) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(RemoteError::Unreachable { host: host.clone(), source: last })
}

/// Addresses as curl is told of them: `HOST:PORT:ADDRESS,ADDRESS`.
pub(super) fn pinned(url: &RemoteUrl, addresses: &[SocketAddr]) -> String {
    let spelled = |address: &SocketAddr| match address.ip() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let all: Vec<String> = addresses.iter().map(spelled).collect();
    format!("{}:{}:{}", url.host(), url.port(), all.join(","))
}
