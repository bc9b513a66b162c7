//! What the engine says of one container.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use autostack_domain::{Exit, InstanceSpec, UnixMillis};
use autostack_engine::{
    Engine, EngineError,
    bollard::{
        models::{
            ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, ContainerSummary,
            EndpointSettings, HostConfig,
        },
        query_parameters::{InspectContainerOptions, ListContainersOptions},
    },
};
use tokio::time::{Instant, sleep};

use super::{labels::spec_of, output::nanos};

/// Exit codes above this say a signal: 128 + its number.
const SIGNAL_BASE: i64 = 128;
/// The highest number of a signal.
const SIGNAL_MAX: i64 = 64;
/// SIGKILL, as an exit code.
const KILLED: i64 = SIGNAL_BASE + 9;

/// How long Podman may take to clear up behind a container that has ended. Until then it calls the container
/// "stopped", which no client of Docker's understands: it is asked again.
const CLEARING_TIMEOUT: Duration = Duration::from_secs(10);
const CLEARING_PAUSE: Duration = Duration::from_millis(20);

/// What the engine says of one container.
///
/// # Errors
/// [`EngineError::NotFound`], and the others of a call.
pub(super) async fn inspect(
    engine: &Engine,
    container: &str,
) -> Result<ContainerInspectResponse, EngineError> {
    let deadline = Instant::now() + CLEARING_TIMEOUT;
    loop {
        let options = None::<InspectContainerOptions>;
        let said = engine
            .call("look at the container", async |docker| docker.inspect_container(container, options).await)
            .await;
        match said {
            Err(error) if is_being_cleared(&error) && Instant::now() < deadline => {
                sleep(CLEARING_PAUSE).await;
            }
            said => return said,
        }
    }
}

/// All containers that carry this agent's mark, whatever they are doing.
///
/// # Errors
/// Those of a call.
pub(super) async fn list_marked(engine: &Engine) -> Result<Vec<ContainerSummary>, EngineError> {
    let deadline = Instant::now() + CLEARING_TIMEOUT;
    loop {
        let options = ListContainersOptions {
            all: true,
            filters: Some(engine.label_filter(None)),
            ..ListContainersOptions::default()
        };
        let said = engine
            .call("list what it runs", async |docker| docker.list_containers(Some(options)).await)
            .await;
        match said {
            Err(error) if is_being_cleared(&error) && Instant::now() < deadline => {
                sleep(CLEARING_PAUSE).await;
            }
            said => return said,
        }
    }
}

fn is_being_cleared(error: &EngineError) -> bool {
    matches!(error, EngineError::Unexpected { evidence, .. } if evidence.contains("unknown variant `stopped`"))
}

/// A container as the engine sees it.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) id: String,
    pub(super) phase: Phase,
    /// Process 1 of it, as the engine's host counts; only while it runs.
    pub(super) pid: Option<i32>,
    pub(super) started_at: Option<UnixMillis>,
    /// Its address in the app's network; only while it runs.
    pub(super) address: Option<IpAddr>,
    /// The port of loopback that leads to the program's own.
    pub(super) published: Option<u16>,
    /// The signal that its image wants to be stopped with.
    pub(super) stop_signal: String,
    /// What it may use of memory, in bytes.
    pub(super) memory_bytes_max: Option<u64>,
}

/// How far a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It was never started.
    Created,
    /// It runs.
    Running,
    /// It has ended.
    Ended(Exit),
}

impl Container {
    /// Reads what the engine said.
    pub(super) fn read(said: &ContainerInspectResponse) -> Self {
        let state = said.state.clone().unwrap_or_default();
        let host_config = said.host_config.clone().unwrap_or_default();
        let memory_bytes_max =
            host_config.memory.and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0);
        let networks = said.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
        let address = networks.into_iter().flat_map(|networks| networks.values()).find_map(address_of);
        let stop_signal = said.config.as_ref().and_then(|config| config.stop_signal.clone());
        Self {
            id: said.id.clone().unwrap_or_default(),
            phase: phase(&state, memory_bytes_max),
            pid: state.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0),
            started_at: state.started_at.as_deref().and_then(nanos).map(millis),
            address,
            published: published(&host_config),
            stop_signal: stop_signal
                .filter(|signal| !signal.is_empty())
                .unwrap_or_else(|| "SIGTERM".to_owned()),
            memory_bytes_max,
        }
    }

    /// Where the program of `spec` is reached from this host. The address of a container that has ended is
    /// nobody's: 0.0.0.0.
    pub(super) fn endpoint(&self, port: u16) -> SocketAddr {
        match self.published {
            Some(published) => SocketAddr::from((Ipv4Addr::LOCALHOST, published)),
            None => SocketAddr::new(self.address.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), port),
        }
    }
}

/// A container of ours and what it was made from.
pub(super) fn read_ours(said: &ContainerInspectResponse) -> Option<(InstanceSpec, Container)> {
    Some((spec_of(said)?, Container::read(said)))
}

fn address_of(endpoint: &EndpointSettings) -> Option<IpAddr> {
    endpoint.ip_address.as_ref()?.parse().ok()
}

fn published(config: &HostConfig) -> Option<u16> {
    let bindings = config.port_bindings.as_ref()?.values().flatten().flatten();
    bindings.filter_map(|binding| binding.host_port.as_ref()?.parse().ok()).find(|port| *port != 0)
}

fn phase(state: &ContainerState, memory_bytes_max: Option<u64>) -> Phase {
    if state.running == Some(true) {
        return Phase::Running;
    }
    if state.status == Some(ContainerStateStatusEnum::CREATED) {
        return Phase::Created;
    }
    let code = state.exit_code.unwrap_or_default();
    Phase::Ended(match (state.oom_killed, memory_bytes_max) {
        // Only with the code of a kill: else it survived the loss of a process, and ended later for itself.
        (Some(true), Some(limit_bytes)) if code == KILLED => Exit::OutOfMemory { limit_bytes },
        _ => exit_of(code),
    })
}

/// An exit code in the words of the contract. Engines say 128 + N for signal N, and so does a program that ends by
/// itself with that code.
pub(super) fn exit_of(code: i64) -> Exit {
    match code - SIGNAL_BASE {
        signal @ 1..=SIGNAL_MAX => Exit::Signal(i32::try_from(signal).unwrap_or_default()),
        _ => Exit::Code(i32::try_from(code).unwrap_or(i32::MAX)),
    }
}

fn millis(nanos: u64) -> UnixMillis {
    UnixMillis(i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_tell_signals() {
        assert_eq!(exit_of(0), Exit::Code(0));
        assert_eq!(exit_of(128), Exit::Code(128));
        assert_eq!(exit_of(137), Exit::Signal(9));
        assert_eq!(exit_of(192), Exit::Signal(64));
        assert_eq!(exit_of(255), Exit::Code(255));
    }

    #[test]
    fn out_of_memory_is_told_from_other_kills() {
        let ended = |oom_killed, exit_code| ContainerState {
            status: Some(ContainerStateStatusEnum::EXITED),
            running: Some(false),
            oom_killed: Some(oom_killed),
            exit_code: Some(exit_code),
            ..ContainerState::default()
        };
        let limit = Some(1 << 20);
        assert_eq!(phase(&ended(true, 137), limit), Phase::Ended(Exit::OutOfMemory { limit_bytes: 1 << 20 }));
        assert_eq!(phase(&ended(false, 137), limit), Phase::Ended(Exit::Signal(9)));
        assert_eq!(phase(&ended(true, 0), limit), Phase::Ended(Exit::Code(0)), "it survived that");
        assert_eq!(
            phase(&ended(true, 137), None),
            Phase::Ended(Exit::Signal(9)),
            "the whole host was out of memory"
        );
        let created = ContainerState { status: Some(ContainerStateStatusEnum::CREATED), ..ended(false, 0) };
        assert_eq!(phase(&created, limit), Phase::Created);
    }
}
