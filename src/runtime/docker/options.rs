//! [`DockerOptions`]: what is chosen for all containers of an agent.

use std::{fmt, sync::Arc};

use autostack_base::settings::{EndpointChoice, MilliCpus, PortRange};
use autostack_engine::About;

/// What is chosen for all containers of an agent.
#[derive(Clone)]
pub struct DockerOptions {
    /// How instances are reached.
    pub endpoints: EndpointChoice,
    /// Where published ports are taken from.
    pub port_range: PortRange,
    /// Asked at each start, so that a changed setting holds for the next container. Must not block.
    pub limits: Arc<dyn Fn() -> ContainerLimits + Send + Sync>,
}

/// What one container may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerLimits {
    /// Memory in bytes, swap included; the engine takes no less than 6 MiB.
    pub memory_bytes_max: Option<u64>,
    /// CPU time.
    pub cpus_max: Option<MilliCpus>,
    /// Processes and threads.
    pub pids_max: u32,
}

impl fmt::Debug for DockerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoints, port_range, limits } = self;
        f.debug_struct("DockerOptions")
            .field("endpoints", endpoints)
            .field("port_range", port_range)
            .field("limits", &limits())
            .finish()
    }
}

/// How an instance is reached from this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// By the container's own address.
    Address,
    /// By a port that is published on loopback.
    Port,
}

impl Reach {
    /// What the choice means with this engine. Addresses of containers are routed on the engine's own host only,
    /// and not even there where the engine has a network namespace of its own.
    pub(super) fn of(choice: EndpointChoice, about: &About) -> Self {
        let is_routed = about.is_local && !about.is_rootless;
        match choice {
            EndpointChoice::Address => Reach::Address,
            EndpointChoice::Port => Reach::Port,
            EndpointChoice::Auto if is_routed => Reach::Address,
            EndpointChoice::Auto => Reach::Port,
        }
    }
}
