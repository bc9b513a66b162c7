//! From a spec to the container that the engine is asked for.

use std::collections::HashMap;

use autostack_domain::{Digest, EnvMap, InstanceSpec, Program};
use autostack_engine::{
    About, Engine,
    bollard::models::{
        ContainerCreateBody, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig,
        Mount, MountType, PortBinding, PortMap, RestartPolicy, RestartPolicyNameEnum,
    },
};

use super::{
    labels::{PORT, Purpose, labels_of},
    options::ContainerLimits,
    talk::sized,
    wished,
};
use crate::{backend::RuntimeError, process::shares};

/// What is kept of root's capabilities: what the entry points of usual images and the servers in them call for.
/// Gone are those that reach out of the container or look into its neighbours: raw sockets, device files, other
/// roots, tracing, kernel logs.
const CAPABILITIES: [&str; 7] = [
    // An entry point that starts as root hands the data folder to the app's user …
    "CHOWN",
    "FOWNER",       // … and reads and writes files of that user meanwhile …
    "DAC_OVERRIDE", // … before it becomes that user, for good.
    "SETUID",
    "SETGID", // A supervisor that stayed root ends workers that are not.
    "KILL",   // Images of web servers listen on 80.
    "NET_BIND_SERVICE",
];

/// Bytes of `/dev/shm`: the default of engines, said so that no configuration of theirs makes it more.
const SHM_BYTES: i64 = 64 * 1024 * 1024;
/// How much output the engine keeps for an agent that is away, as `max-size` and `max-file`: 64 MiB in all, as
/// much as the process runtime.
const LOG_FILE_SIZE: &str = "16m";
const LOG_FILES: &str = "4";
/// The size of `CpuPeriod` units: thousandths of a CPU as billionths.
const NANOS_PER_MILLI: i64 = 1_000_000;

/// Tells the init that Docker and Podman bring (tini, catatonit) to pass signals on to all processes of the app:
/// without it a shell that waits for a server would get SIGTERM alone, and the server none.
const TO_THE_GROUP: &str = "TINI_KILL_PROCESS_GROUP=1";

/// The app's line, in a shell that ends at SIGTERM only after what it waits for has ended: when the shell ends, so
/// does the container, with whatever still answers its last requests.
fn patient(line: &str) -> String {
    format!("trap 'exit 143' TERM\n{line}")
}

/// How somebody talks to a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Talk {
    /// By its standard input and its two outputs.
    Pipes,
    /// By a terminal.
    Terminal,
}

/// A container to be made.
#[derive(Debug)]
pub(super) struct Recipe<'a> {
    pub(super) spec: &'a InstanceSpec,
    pub(super) purpose: Purpose,
    pub(super) limits: ContainerLimits,
    /// The id of the app's network.
    pub(super) network: String,
    /// The port of loopback that leads to the program's own.
    pub(super) published: Option<u16>,
    /// Where somebody talks to it: how.
    pub(super) talk: Option<Talk>,
}

/// The parts of [`Program::Image`].
#[derive(Debug, Clone, Copy)]
pub(super) struct ImageProgram<'a> {
    pub(super) image: &'a Digest,
    pub(super) command: Option<&'a str>,
    pub(super) port: u16,
}

impl<'a> ImageProgram<'a> {
    /// The program of a spec, if it is one for containers.
    pub(super) fn of(spec: &'a InstanceSpec) -> Result<Self, RuntimeError> {
        match &spec.program {
            Program::Image { image, command, port } => {
                Ok(Self { image, command: command.as_deref(), port: *port })
            }
            Program::Folder { .. } => Err(refused(spec, "a folder does not run in a container")),
        }
    }
}

fn refused(spec: &InstanceSpec, why: impl Into<String>) -> RuntimeError {
    RuntimeError::Start { id: spec.id.clone(), why: why.into() }
}

impl Recipe<'_> {
    /// What the engine is asked for.
    ///
    /// # Errors
    /// When the spec asks for what no container can be given.
    pub(super) fn body(&self, engine: &Engine, about: &About) -> Result<ContainerCreateBody, RuntimeError> {
        let program = ImageProgram::of(self.spec)?;
        if !self.spec.mounts.is_empty() && !about.is_local {
            let why = "the container engine is on another machine, where the folders of this host are not";
            return Err(RuntimeError::Storage { id: self.spec.id.clone(), why: why.to_owned() });
        }
        let port = format!("{}/tcp", program.port);
        let line = program.command.map(|line| match self.talk {
            // It is killed when nobody talks to it any more, whatever it is at.
            Some(Talk::Pipes) => line.to_owned(),
            Some(Talk::Terminal) => sized(line),
            None => patient(line),
        });
        let line = line.map(|line| vec!["/bin/sh".to_owned(), "-c".to_owned(), line]);
        let mut body = ContainerCreateBody {
            image: Some(program.image.to_string()),
            // An entry point of ours drops the command of the image, too.
            entrypoint: line,
            env: Some(self.env(program.port)?),
            labels: Some(labels_of(engine, self.spec, self.purpose)),
            exposed_ports: self.published.map(|_| vec![port.clone()]),
            // Readiness is for whoever started it to find out; the engine's own checks would run for nobody.
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".to_owned()]),
                ..HealthConfig::default()
            }),
            host_config: Some(self.host_config(about, &port)),
            attach_stdin: self.talk.map(|_| true),
            attach_stdout: self.talk.map(|_| true),
            attach_stderr: self.talk.map(|_| true),
            open_stdin: self.talk.map(|_| true),
            stdin_once: self.talk.map(|_| true),
            tty: self.talk.map(|talk| talk == Talk::Terminal),
            ..ContainerCreateBody::default()
        };
        self.spec.options.iter().for_each(|option| wished::add(option, &mut body));
        Ok(body)
    }

    /// The environment, beneath which that of the image lies.
    fn env(&self, port: u16) -> Result<Vec<String>, RuntimeError> {
        let mut env: EnvMap = self.spec.env.clone();
        match self.purpose {
            Purpose::Instance => env.put(PORT, port.to_string()),
            // It serves nobody; a port that it was told is somebody else's to ask.
            Purpose::OneOff => {}
        }
        let entry = |(name, value): (&str, &[u8])| match std::str::from_utf8(value) {
            Ok(value) => Ok(format!("{name}={value}")),
            Err(_) => Err(refused(
                self.spec,
                format!("the value of {name} is not UTF-8, and a container engine takes nothing else"),
            )),
        };
        env.iter().map(entry).chain([Ok(TO_THE_GROUP.to_owned())]).collect()
    }

    fn host_config(&self, about: &About, port: &str) -> HostConfig {
        let Effective { limits, memory_reserved, cpu_shares } = Effective::of(self.limits, self.spec);
        let memory = limits.memory_bytes_max.filter(|_| about.limits_memory).map(clamped);
        let binding = |host_port: u16| PortBinding {
            host_ip: Some("127.0.0.1".to_owned()),
            host_port: Some(host_port.to_string()),
        };
        let port_bindings = self
            .published
            .map(|host_port| PortMap::from([(port.to_owned(), Some(vec![binding(host_port)]))]));
        HostConfig {
            // The program is not process 1, which gets no signal that it does not handle and must reap orphans.
            init: Some(about.has_init),
            network_mode: Some(self.network.clone()),
            port_bindings,
            publish_all_ports: Some(false),
            memory,
            // The same as memory: no swap on top.
            memory_swap: memory,
            memory_reservation: memory_reserved.filter(|_| about.limits_memory).map(clamped),
            nano_cpus: limits
                .cpus_max
                .filter(|_| about.limits_cpu)
                .map(|cpus| i64::from(cpus.0) * NANOS_PER_MILLI),
            cpu_shares: cpu_shares.filter(|_| about.limits_cpu).map(clamped),
            pids_limit: Some(i64::from(limits.pids_max)).filter(|_| about.limits_pids),
            mounts: Some(self.spec.mounts.iter().map(bind).collect()),
            shm_size: Some(SHM_BYTES),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: Some(CAPABILITIES.map(str::to_owned).to_vec()),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
            // What ends is started again by the supervisor, which knows why and how often.
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: None,
            }),
            // Said, because what the engine's configuration says may keep nothing that can be read again.
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                config: Some(HashMap::from([
                    ("max-size".to_owned(), LOG_FILE_SIZE.to_owned()),
                    ("max-file".to_owned(), LOG_FILES.to_owned()),
                ])),
            }),
            ..HostConfig::default()
        }
    }
}

/// What counts: the app's own limits within those of the host.
struct Effective {
    limits: ContainerLimits,
    memory_reserved: Option<u64>,
    cpu_shares: Option<u64>,
}

impl Effective {
    fn of(host: ContainerLimits, spec: &InstanceSpec) -> Self {
        let own = &spec.limits;
        let memory_bytes_max = tighter(host.memory_bytes_max, own.memory_bytes_max);
        let reserved = own.memory_bytes_reserved;
        Self {
            limits: ContainerLimits {
                memory_bytes_max,
                cpus_max: tighter(host.cpus_max, own.cpus_max),
                pids_max: host.pids_max.min(own.pids_max.unwrap_or(u32::MAX)),
            },
            // An engine refuses more than the limit.
            memory_reserved: reserved.map(|bytes| bytes.min(memory_bytes_max.unwrap_or(u64::MAX))),
            cpu_shares: own.cpus_reserved.map(shares),
        }
    }
}

/// The smaller of two limits, where there are two.
fn tighter<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// A bind mount whose folder must be there: an engine would make it otherwise, as root's.
fn bind(mount: &autostack_domain::storage::Mount) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(mount.host.display().to_string()),
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        ..Mount::default()
    }
}

fn clamped(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
