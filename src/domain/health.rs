//! When an instance counts as ready: Dokku's and Heroku's `healthchecks`, as data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When a check is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckKind {
    /// Before the instance gets its first request; the deployment fails when it does not pass.
    #[default]
    Startup,
    /// While it runs: whether it should get requests.
    Readiness,
    /// While it runs: whether it should be restarted.
    Liveness,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// GET `path` must answer 2xx or 3xx, and its body hold `content` where that is set.
    Http {
        /// The path with its query, starting with `/`.
        path: String,
        /// Text that the body must hold.
        content: Option<String>,
        /// Headers to send.
        headers: Vec<(String, String)>,
    },
    /// This command, run in the artifact with the instance's environment, must end with 0.
    Command(Vec<String>),
    /// The instance listens on `PORT`.
    Listening,
    /// The instance still runs after this many seconds.
    Uptime {
        /// Seconds since it started.
        seconds: u32,
    },
}

/// One check of a process type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What people call it; made up from the probe where `app.json` names none.
    pub name: String,
    /// When it is asked.
    pub kind: CheckKind,
    /// What is asked.
    pub probe: Probe,
    /// How often it is asked before it counts as failed; counted once the instance listens.
    pub attempts: u32,
    /// Pause between two attempts.
    #[serde(with = "millis")]
    pub wait: Duration,
    /// How long one attempt may take.
    #[serde(with = "millis")]
    pub timeout: Duration,
    /// Pause before the first attempt.
    #[serde(with = "millis")]
    pub initial_delay: Duration,
}

impl HealthCheck {
    /// Attempts of a check that names no number; Dokku's default.
    pub const ATTEMPTS_DEFAULT: u32 = 3;
    /// Seconds between attempts of a check that names no number; Dokku's default.
    pub const WAIT_SECONDS_DEFAULT: u64 = 5;
    /// Seconds that an attempt may take where the check names no number; Dokku's default.
    pub const TIMEOUT_SECONDS_DEFAULT: u64 = 5;
}

mod millis {
    //! A duration as whole milliseconds in stored records.
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
