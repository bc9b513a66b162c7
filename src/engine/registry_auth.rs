//! [`RegistryAuth`]: how the agent logs in to a registry.

use std::fmt;

use autostack_domain::{RegistryLogin, Secret, image::ImageReference};
use bollard::auth::DockerCredentials;

/// A login at one registry. It is given to the engine with each pull and kept nowhere on its side.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryAuth {
    /// The user.
    pub username: String,
    /// The password, or the token that the registry takes in its place.
    pub password: Secret<String>,
    /// The registry: a host name, with a port or without, as [`ImageReference::registry`] says it.
    pub server: String,
}

impl From<RegistryLogin> for RegistryAuth {
    fn from(login: RegistryLogin) -> Self {
        Self { username: login.username, password: login.password, server: login.registry.to_string() }
    }
}

impl RegistryAuth {
    /// Whether it is for the registry of that image; a login is sent to no other.
    pub fn fits(&self, reference: &ImageReference) -> bool {
        let server = self.server.trim_start_matches("https://").trim_end_matches('/');
        server == reference.registry()
            || (reference.registry() == "docker.io"
                && matches!(server, "index.docker.io/v1" | "index.docker.io"))
    }

    /// In the words of the engine's API.
    pub(crate) fn credentials(&self) -> DockerCredentials {
        DockerCredentials {
            username: Some(self.username.clone()),
            password: Some(self.password.expose().clone()),
            serveraddress: Some(self.server.clone()),
            ..DockerCredentials::default()
        }
    }
}

impl fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryAuth")
            .field("username", &self.username)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}
