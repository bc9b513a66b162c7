//! Where engines usually are: the places that are looked at when nobody says.

use std::{env, path::PathBuf};

use autostack_domain::EngineHost;

/// Docker's own place.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// Podman's, when it runs as root.
const PODMAN_SOCKET: &str = "/run/podman/podman.sock";

/// Looks for an engine at the usual places; the first socket that exists, whether or not it answers.
pub fn find() -> Option<EngineHost> {
    usual_sockets().into_iter().find(|path| path.exists()).map(EngineHost::Unix)
}

/// Where [`find`] looks, in order: Docker as root, Docker as this user, Podman as root, Podman as this user.
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
pub fn docker_default() -> EngineHost {
    EngineHost::Unix(DOCKER_SOCKET.into())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn dockers_own_socket_comes_first() {
        assert_eq!(usual_sockets()[0], Path::new(DOCKER_SOCKET));
        assert!(usual_sockets().contains(&PODMAN_SOCKET.into()));
    }
}
