//! [`EngineHost`]: where the engine is, and which places are looked at when nobody says.

use std::{
    env, fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use autostack_domain::Invalid;

/// Where an engine listens: a Unix socket, or a TCP port of this machine's loopback. Nothing further away:
/// an engine that is reached unencrypted over a network is root for whoever reads along.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EngineHost {
    /// A Unix socket.
    Unix(PathBuf),
    /// A loopback address.
    Tcp(SocketAddr),
}

/// Docker's own place.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// Podman's, when it runs as root.
const PODMAN_SOCKET: &str = "/run/podman/podman.sock";

impl EngineHost {
    /// Bytes that the path of a socket may have (`sun_path`, less its NUL).
    pub const SOCKET_PATH_BYTES_MAX: usize = 107;

    /// Looks for an engine at the usual places; the first socket that exists, whether or not it answers.
    pub fn find() -> Option<Self> {
        Self::usual_sockets().into_iter().find(|path| path.exists()).map(EngineHost::Unix)
    }

    /// Where [`EngineHost::find`] looks, in order: Docker as root, Docker as this user, Podman as root, Podman
    /// as this user.
    pub fn usual_sockets() -> Vec<PathBuf> {
        let runtime_dir = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
        let own = |name: &str| runtime_dir.as_ref().map(|dir| dir.join(name));
        let sockets = [
            Some(PathBuf::from(DOCKER_SOCKET)),
            own("docker.sock"),
            Some(PathBuf::from(PODMAN_SOCKET)),
            own("podman/podman.sock"),
        ];
        sockets.into_iter().flatten().collect()
    }

    /// Docker's own place, where its absence is reported when nothing was found anywhere.
    pub fn docker_default() -> Self {
        EngineHost::Unix(DOCKER_SOCKET.into())
    }

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

    #[test]
    fn dockers_own_socket_comes_first() {
        assert_eq!(EngineHost::usual_sockets()[0], Path::new(DOCKER_SOCKET));
        assert!(EngineHost::usual_sockets().contains(&PODMAN_SOCKET.into()));
    }
}
