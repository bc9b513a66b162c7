//! [`About`]: what an engine is and what it can.

use std::{fmt, str::FromStr};

use autostack_domain::Invalid;
use bollard::models::{SystemInfo, SystemInfoCgroupVersionEnum, SystemVersion};

/// A version of the engine's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion {
    /// The number before the dot.
    pub major: u32,
    /// The number behind it.
    pub minor: u32,
}

/// The oldest API that the agent works with: Docker 20.10 and Podman 4.
pub const API_NEEDED: ApiVersion = ApiVersion { major: 1, minor: 41 };

/// Which engine it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// Docker, Moby and what calls itself so.
    Docker,
    /// Podman, by its service for Docker's API.
    Podman,
}

/// What an engine says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Which engine.
    pub product: Product,
    /// Its version, as it writes it: `20.10.24`.
    pub version: String,
    /// The newest API that it offers.
    pub api: ApiVersion,
    /// Operating system of its containers: `linux`.
    pub os: String,
    /// Processor of its containers, in the words of images: `amd64`.
    pub arch: String,
    /// Whether it runs without root: addresses of its containers are not reachable from the host then.
    pub is_rootless: bool,
    /// Whether it runs on this machine, as far as its name and kernel tell: not in a virtual machine and not
    /// behind a tunnel.
    pub is_local: bool,
    /// Whether it builds by BuildKit with a session of ours: Docker does, Podman does not.
    pub has_buildkit: bool,
    /// Whether it can put an init process in front of a container's own.
    pub has_init: bool,
    /// Version of the control groups: 1 or 2; 0 where it does not say.
    pub cgroup_version: u8,
    /// Who makes its control groups: `cgroupfs` (itself) or `systemd`; empty where it does not say.
    pub cgroup_driver: String,
    /// Whether it can limit memory.
    pub limits_memory: bool,
    /// Whether it can limit processors.
    pub limits_cpu: bool,
    /// Whether it can limit the number of processes.
    pub limits_pids: bool,
    /// The storage driver: `overlay2`.
    pub storage_driver: String,
    /// Where it keeps its data, on its own machine.
    pub root_dir: String,
    /// The version of what starts its containers, as it writes it: `runc v1.1.5`; empty where it does not say.
    pub runtime: String,
}

impl About {
    pub(crate) fn new(version: &SystemVersion, info: &SystemInfo, api: ApiVersion, is_local: bool) -> Self {
        let product = product(version);
        let said = |text: &Option<String>| text.clone().unwrap_or_default();
        let is = |flag: Option<bool>| flag.unwrap_or(false);
        let options = info.security_options.as_deref().unwrap_or_default();
        About {
            product,
            version: said(&version.version),
            api,
            os: said(&version.os),
            arch: said(&version.arch),
            is_rootless: options.iter().any(|option| option.contains("rootless")),
            is_local,
            has_buildkit: product == Product::Docker && version.os.as_deref() == Some("linux"),
            has_init: product == Product::Podman
                || info.init_binary.as_deref().is_some_and(|it| !it.is_empty()),
            cgroup_version: match info.cgroup_version {
                Some(SystemInfoCgroupVersionEnum::_1) => 1,
                Some(SystemInfoCgroupVersionEnum::_2) => 2,
                Some(SystemInfoCgroupVersionEnum::EMPTY) | None => 0,
            },
            cgroup_driver: info.cgroup_driver.map(|driver| driver.to_string()).unwrap_or_default(),
            limits_memory: is(info.memory_limit),
            limits_cpu: is(info.cpu_cfs_quota),
            limits_pids: is(info.pids_limit),
            storage_driver: said(&info.driver),
            root_dir: said(&info.docker_root_dir),
            runtime: runtime(version),
        }
    }
}

pub(crate) fn product(version: &SystemVersion) -> Product {
    let components = version.components.as_deref().unwrap_or_default();
    match components.iter().any(|component| component.name.contains("Podman")) {
        true => Product::Podman,
        false => Product::Docker,
    }
}

fn runtime(version: &SystemVersion) -> String {
    let components = version.components.as_deref().unwrap_or_default();
    let found = components.iter().find(|component| matches!(component.name.as_str(), "runc" | "crun"));
    found.map(|component| format!("{} {}", component.name, component.version)).unwrap_or_default()
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Product::Docker => "Docker",
            Product::Podman => "Podman",
        })
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ApiVersion {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let parts = given.split_once('.');
        let numbers = parts.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let (major, minor) = numbers
            .ok_or_else(|| Invalid::new("API version", given, "expected a number, a dot, a number"))?;
        Ok(Self { major, minor })
    }
}

/// One line for people: `Docker 20.10.24, API 1.41, overlay2`.
impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, API {}", self.product, self.version, self.api)?;
        if !self.storage_driver.is_empty() {
            write!(f, ", {}", self.storage_driver)?;
        }
        if self.is_rootless {
            f.write_str(", rootless")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_versions_compare_by_number() {
        let version = |text: &str| text.parse::<ApiVersion>().unwrap();
        assert!(version("1.9") < version("1.41"));
        assert!(version("2.0") > version("1.53"));
        assert_eq!(version("1.41").to_string(), "1.41");
        for bad in ["", "1", "1.", "v1.41", "1.41.2"] {
            assert!(bad.parse::<ApiVersion>().is_err(), "{bad:?}");
        }
    }
}
