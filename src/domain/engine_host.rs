//! [`EngineHost`]: where a container engine listens.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::names::Invalid;

/// Where an engine listens: a Unix socket, or a TCP port of this machine's loopback. Nothing further away:
/// an engine that is reached unencrypted over a network is root for whoever reads along.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EngineHost {
    /// A Unix socket.
    Unix(PathBuf),
    /// A loopback address.
    Tcp(SocketAddr),
}

impl EngineHost {
    /// Bytes that the path of a socket may have (`sun_path`, less its NUL).
    pub const SOCKET_PATH_BYTES_MAX: usize = 107;

    /// The socket's path, where it is one.
    pub fn socket(&self) -> Option<&Path> {
        match self {
            EngineHost::Unix(path) => Some(path),
            EngineHost::Tcp(_) => None,
        }
    }
}

impl FromStr for EngineHost {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let invalid = |why| Invalid::new("engine address", given, why);
        if let Some(path) = given.strip_prefix("unix://") {
            let fits = path.starts_with('/') && path.len() <= Self::SOCKET_PATH_BYTES_MAX;
            return if fits && !path.contains('\0') {
                Ok(EngineHost::Unix(path.into()))
            } else {
                Err(invalid("expected unix:// and an absolute path of 107 bytes at most"))
            };
        }
        let address = given.strip_prefix("tcp://").and_then(|address| address.parse::<SocketAddr>().ok());
        match address {
            Some(address) if address.ip().is_loopback() && address.port() != 0 => {
                Ok(EngineHost::Tcp(address))
            }
            Some(_) => Err(invalid("only an address of this machine's loopback is taken")),
            None => Err(invalid("expected unix:///path/of/socket or tcp://127.0.0.1:PORT")),
        }
    }
}

impl fmt::Display for EngineHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EngineHost::Unix(path) => write!(f, "unix://{}", path.display()),
            EngineHost::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back() {
        for text in ["unix:///var/run/docker.sock", "tcp://127.0.0.1:2375", "tcp://[::1]:2375"] {
            assert_eq!(text.parse::<EngineHost>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_engine_across_the_network_is_refused() {
        let long = format!("unix:///{}", "x".repeat(107));
        for text in [
            "",
            "auto",
            "/var/run/docker.sock",
            "unix://docker.sock",
            "unix:///a\0b",
            "tcp://10.0.0.1:2375",
            "tcp://localhost:2375",
            "tcp://127.0.0.1",
            "tcp://127.0.0.1:0",
            "ssh://host",
            &long,
        ] {
            assert!(text.parse::<EngineHost>().is_err(), "{text:?}");
        }
    }
}
