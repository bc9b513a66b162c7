//! One running copy of a process type of a release.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    docker_options::DockerOption,
    env_map::EnvMap,
    image::Digest,
    names::{AppName, InstanceId, ProcessType, ReleaseNumber},
    resources::InstanceLimits,
    storage::Mount,
};

/// Everything a runtime needs to start an instance, and what it gives back when asked what runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSpec {
    /// Its id.
    pub id: InstanceId,
    /// The app.
    pub app: AppName,
    /// The release that it runs.
    pub release: ReleaseNumber,
    /// Its process type.
    pub process: ProcessType,
    /// Its place in the formation, from 1.
    pub index: u32,
    /// The round of restarts that it was started in; 0 until the first.
    #[serde(default)]
    pub round: u32,
    /// What runs, and in what.
    #[serde(flatten)]
    pub program: Program,
    /// Its whole environment but for `PORT`, which the runtime adds; beneath it lies that of the image.
    pub env: EnvMap,
    /// What it may use.
    #[serde(default, skip_serializing_if = "InstanceLimits::is_empty")]
    pub limits: InstanceLimits,
    /// Folders of the host that it sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// What else its container is to be like; a process is as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<DockerOption>,
}

/// What runs, and in what; decides which runtime runs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Program {
    /// A process of the host.
    Folder {
        /// The folder that it starts in: the artifact, absolute.
        dir: PathBuf,
        /// The app's own command line, for `/bin/sh -c`.
        command: String,
    },
    /// A container.
    Image {
        /// The image's id in the engine.
        image: Digest,
        /// The app's own command line, for the image's `/bin/sh -c`; `None` for the command of the image.
        command: Option<String>,
        /// The port that it serves on inside of its own network, which is also its `PORT`.
        port: u16,
    },
}

impl Program {
    /// The command line; `None` for the command of the image.
    pub fn command(&self) -> Option<&str> {
        match self {
            Program::Folder { command, .. } => Some(command),
            Program::Image { command, .. } => command.as_deref(),
        }
    }

    /// The same program with another command line.
    #[must_use]
    pub fn with_command(&self, line: String) -> Self {
        match self {
            Program::Folder { dir, .. } => Program::Folder { dir: dir.clone(), command: line },
            Program::Image { image, port, .. } => {
                Program::Image { image: image.clone(), command: Some(line), port: *port }
            }
        }
    }
}

impl fmt::Display for Program {
    /// The command line, as evidence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Program::Folder { command, .. } | Program::Image { command: Some(command), .. } => {
                f.write_str(command)
            }
            Program::Image { image, command: None, .. } => {
                write!(f, "the command of image {}", image.short())
            }
        }
    }
}

impl InstanceSpec {
    /// The name that people know it by: `web.1`.
    pub fn dyno(&self) -> String {
        format!("{}.{}", self.process, self.index)
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// The kernel killed it for using more memory than its limit.
    OutOfMemory {
        /// The limit.
        limit_bytes: u64,
    },
    /// The runtime lost sight of it: its record is gone (a power cut, a killed shim).
    Unknown,
}

impl Exit {
    /// Whether it ended by itself with code 0.
    pub fn is_success(self) -> bool {
        self == Exit::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exited with code {code}"),
            Exit::Signal(signal) => write!(f, "was killed by signal {signal}{}", signal_name(*signal)),
            Exit::OutOfMemory { limit_bytes } => {
                write!(f, "was killed: it used more than its memory limit of {} MiB", limit_bytes >> 20)
            }
            Exit::Unknown => f.write_str("ended without leaving a record"),
        }
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        6 => " (SIGABRT)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        15 => " (SIGTERM)",
        _ => "",
    }
}
