//! Registries of images, and the logins that they ask for.

use std::{fmt, str::FromStr};

use crate::{Host, ImageReference, Invalid, Secret, limits};

/// A registry as it stands in the name of an image: a host, with a port or without; `docker.io` for the one that is
/// meant where a name says none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryName(String);

impl RegistryName {
    /// The registry that holds an image.
    pub fn of(image: &ImageReference) -> Self {
        Self(image.registry().to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RegistryName {
    type Err = Invalid;

    /// Takes what people copy, too: `https://index.docker.io/v1/` is Docker Hub, and a scheme or a last slash is left away.
    fn from_str(given: &str) -> Result<Self, Invalid> {
        let name = given.strip_prefix("https://").unwrap_or(given);
        let name = name.strip_suffix('/').unwrap_or(name);
        if matches!(name, "index.docker.io/v1" | "index.docker.io" | "registry-1.docker.io") {
            return Ok(Self("docker.io".to_owned()));
        }
        let (host, port) = name.split_once(':').map_or((name, None), |(host, port)| (host, Some(port)));
        let port_fits =
            port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok());
        if port_fits && host.parse::<Host>().is_ok() && (name.contains(['.', ':']) || name == "localhost") {
            Ok(Self(name.to_ascii_lowercase()))
        } else {
            Err(Invalid::new(
                "registry",
                given,
                "expected a host name such as ghcr.io or registry.example.com:5000",
            ))
        }
    }
}

impl fmt::Display for RegistryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A login at one registry; sent to no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryLogin {
    /// Where it is valid.
    pub registry: RegistryName,
    /// The user.
    pub username: String,
    /// The password, or the token that the registry takes in its place.
    pub password: Secret<String>,
}

impl RegistryLogin {
    /// A login from outside.
    ///
    /// # Errors
    /// An empty, overlong or unprintable user or password.
    pub fn new(registry: RegistryName, username: &str, password: &str) -> Result<Self, Invalid> {
        let fits = |text: &str| {
            (1..=limits::REGISTRY_LOGIN_BYTES_MAX).contains(&text.len())
                && !text.contains(|c: char| c.is_control())
        };
        let why = || format!("1 to {} bytes without line breaks", limits::REGISTRY_LOGIN_BYTES_MAX);
        if !fits(username) {
            return Err(Invalid::new("user of a registry", username, why()));
        }
        if !fits(password) {
            // Never repeated.
            return Err(Invalid::new("password of a registry", "", why()));
        }
        Ok(Self { registry, username: username.to_owned(), password: Secret::new(password.to_owned()) })
    }

    /// Whether it is for the registry of that image.
    pub fn fits(&self, image: &ImageReference) -> bool {
        self.registry == RegistryName::of(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_hosts_as_people_copy_them() {
        let name = |given: &str| given.parse::<RegistryName>().map(|name| name.to_string());
        assert_eq!(name("ghcr.io").unwrap(), "ghcr.io");
        assert_eq!(name("https://Registry.Example.com:5000/").unwrap(), "registry.example.com:5000");
        assert_eq!(name("https://index.docker.io/v1/").unwrap(), "docker.io");
        assert_eq!(name("localhost").unwrap(), "localhost");
        for bad in [
            "",
            "ghcr",
            "a b.io",
            "ghcr.io/team",
            "http://ghcr.io",
            "ghcr.io:x",
            "-x.io",
            "x.io:99999",
            "$(id).io",
        ] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_login_shows_neither_in_its_debug_nor_in_a_refusal() {
        let registry: RegistryName = "ghcr.io".parse().unwrap();
        let login = RegistryLogin::new(registry.clone(), "ada", "hunter2").unwrap();
        assert!(!format!("{login:?}").contains("hunter2"));
        let refused = RegistryLogin::new(registry.clone(), "ada", "hunter2\n").unwrap_err();
        assert!(!refused.to_string().contains("hunter2"));
        assert!(RegistryLogin::new(registry, "", "x").is_err());
    }
}
