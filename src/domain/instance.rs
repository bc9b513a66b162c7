//! One running copy of a process type of a release.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    env_map::EnvMap,
    names::{AppName, InstanceId, ProcessType, ReleaseNumber},
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
    /// The app's own command line, for `/bin/sh -c`.
    pub command: String,
    /// The folder that it starts in: the artifact, absolute.
    pub dir: PathBuf,
    /// Its whole environment but for `PORT`, which the runtime adds.
    pub env: EnvMap,
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
