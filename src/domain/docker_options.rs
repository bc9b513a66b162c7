//! Options for the engine that an operator may give an app's build and its containers: those of `docker build` and
//! `docker run` that let nothing out of the container. Everything else is refused with a reason.

mod values;

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use self::values::{add_host, address, check, is_host_byte, label, pair, shm_size, tmpfs, ulimit};
use crate::{limits, names::Invalid};

/// When an option counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// While the image is built from the app's Dockerfile.
    Build,
    /// For instances.
    Deploy,
    /// For one-offs: `run`, cron, scripts of `app.json`.
    Run,
}

impl Phase {
    /// Every phase, in their order.
    pub const ALL: [Phase; 3] = [Phase::Build, Phase::Deploy, Phase::Run];

    /// Its name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Build => "build",
            Phase::Deploy => "deploy",
            Phase::Run => "run",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Phase {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|phase| phase.name() == given);
        found.ok_or_else(|| {
            Invalid::new("phase", given, "choose build, deploy or run, with commas between several")
        })
    }
}

/// An option that is allowed, with its value checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DockerOption {
    /// `--add-host=NAME:ADDRESS`: a line of the container's `/etc/hosts`.
    AddHost(String, IpAddr),
    /// `--build-arg=NAME=VALUE`.
    BuildArg(String, String),
    /// `--cap-drop=CAPABILITY`, without `CAP_`; `ALL` drops every one.
    CapDrop(String),
    /// `--dns=ADDRESS`.
    Dns(IpAddr),
    /// `--dns-search=DOMAIN`.
    DnsSearch(String),
    /// `--hostname=NAME`.
    Hostname(String),
    /// `--init`: every container has one anyway.
    Init,
    /// `--label=NAME=VALUE`.
    Label(String, String),
    /// `--no-cache`.
    NoCache,
    /// `--read-only`: the container's own file system.
    ReadOnly,
    /// `--shm-size=BYTES`.
    ShmSize(u64),
    /// `--target=STAGE` of the Dockerfile.
    Target(String),
    /// `--tmpfs=PATH[:OPTIONS]`.
    Tmpfs(String, String),
    /// `--ulimit=NAME=SOFT:HARD`.
    Ulimit(String, u64, u64),
    /// `--user=USER[:GROUP]`.
    User(String),
}

/// Names that stand for one of the allowed.
const ALIASES: [(&str, &str); 3] = [("-h", "--hostname"), ("-l", "--label"), ("-u", "--user")];
/// Those without a value.
const FLAGS: [&str; 3] = ["--init", "--no-cache", "--read-only"];
/// Those that count for a build; the others count for containers.
const OF_BUILDS: [&str; 3] = ["--build-arg", "--no-cache", "--target"];
/// Every one that is allowed, for people.
const ALLOWED: &str = "for build there are --build-arg, --no-cache and --target; for deploy and run --add-host, --cap-drop, \
                       --dns, --dns-search, --hostname, --init, --label, --read-only, --shm-size, --tmpfs, --ulimit and --user";

/// What is refused and better said elsewhere, or never.
const ELSEWHERE: [(&[&str], &str); 9] = [
    (&["-v", "--volume", "--mount"], "folders of the host are mounted with storage:mount"),
    (
        &[
            "-m",
            "--memory",
            "--memory-swap",
            "--memory-reservation",
            "--cpus",
            "--cpu-shares",
            "-c",
            "--pids-limit",
        ],
        "resource:limit and resource:reserve say what an instance may use",
    ),
    (
        &["-p", "--publish", "-P", "--publish-all", "--expose"],
        "the proxy brings visitors; ports:report shows how",
    ),
    (&["-e", "--env", "--env-file"], "config:set sets variables"),
    (&["--restart"], "what ends is started again by the platform, with a growing pause"),
    (&["-f", "--file"], "builder-dockerfile:set APP dockerfile-path names the Dockerfile"),
    (
        &["--net", "--network", "--link", "--network-alias", "--ip", "--ip6", "--mac-address"],
        "each app has a network of its own",
    ),
    (
        &[
            "--privileged",
            "--cap-add",
            "--device",
            "--device-cgroup-rule",
            "--gpus",
            "--security-opt",
            "--pid",
            "--ipc",
            "--uts",
            "--userns",
            "--cgroupns",
            "--cgroup-parent",
            "--runtime",
            "--volumes-from",
            "--volume-driver",
            "--group-add",
            "--sysctl",
            "--oom-kill-disable",
            "--oom-score-adj",
            "--isolation",
            "--storage-opt",
            "--blkio-weight",
            "--device-read-bps",
            "--cpu-rt-runtime",
            "--secret",
            "--ssh",
            "--allow",
            "--build-context",
        ],
        "it would let the app out of its container, or at its neighbours",
    ),
    (
        &["--health-cmd", "--no-healthcheck", "--health-interval", "--health-retries", "--health-timeout"],
        "checks:set and app.json say how the app is checked",
    ),
];

impl DockerOption {
    /// Reads options, one after the other: `--shm-size=64m`, `--shm-size 64m`, `-u 1000`.
    pub fn read_all(words: &[String], phase: Phase) -> Result<Vec<Self>, Invalid> {
        let mut words = words.iter();
        let mut found = Vec::new();
        while let Some(word) = words.next() {
            let (name, attached) = cut(word)?;
            let value = match (attached, FLAGS.contains(&name)) {
                (None | Some("true"), true) => String::new(),
                (Some(_), true) => return Err(Invalid::new("docker option", word, "it takes no value")),
                (Some(value), false) => value.to_owned(),
                (None, false) => {
                    let next = words.next();
                    next.cloned()
                        .ok_or_else(|| Invalid::new("docker option", word, "its value is missing"))?
                }
            };
            if OF_BUILDS.contains(&name) != (phase == Phase::Build) {
                let why = format!("it does not count for {phase}: {ALLOWED}");
                return Err(Invalid::new("docker option", word, why));
            }
            found.push(Self::of(name, &value).map_err(|why| Invalid::new("docker option", word, why))?);
        }
        Ok(found)
    }

    /// As it is told in logs and events: a build argument without its value, which may be somebody's secret.
    pub fn summary(&self) -> String {
        match self {
            Self::BuildArg(name, _) => format!("--build-arg={name}=…"),
            other => other.to_string(),
        }
    }

    fn of(name: &str, value: &str) -> Result<Self, String> {
        if value.len() > limits::DOCKER_OPTION_BYTES_MAX {
            return Err(format!("its value has more than {} bytes", limits::DOCKER_OPTION_BYTES_MAX));
        }
        if value.chars().any(char::is_control) {
            return Err("its value holds a control character".to_owned());
        }
        Ok(match name {
            "--add-host" => add_host(value)?,
            "--build-arg" => {
                let (name, value) =
                    pair(value, "say NAME=VALUE: nothing is taken from the platform's own environment")?;
                Self::BuildArg(name, value)
            }
            "--cap-drop" => {
                let name = value.to_ascii_uppercase();
                let name = name.strip_prefix("CAP_").unwrap_or(&name);
                check(
                    name,
                    |byte| byte.is_ascii_uppercase() || byte == b'_',
                    "name a capability, such as NET_BIND_SERVICE",
                )?;
                Self::CapDrop(name.to_owned())
            }
            "--dns" => Self::Dns(address(value)?),
            "--dns-search" => {
                check(value, is_host_byte, "name a domain")?;
                Self::DnsSearch(value.to_owned())
            }
            "--hostname" => {
                check(value, is_host_byte, "use letters, digits, - and .")?;
                Self::Hostname(value.to_owned())
            }
            "--init" => Self::Init,
            "--label" => label(value)?,
            "--no-cache" => Self::NoCache,
            "--read-only" => Self::ReadOnly,
            "--shm-size" => Self::ShmSize(shm_size(value)?),
            "--target" => {
                check(value, |byte| is_host_byte(byte) || byte == b'_', "name a stage of the Dockerfile")?;
                Self::Target(value.to_owned())
            }
            "--tmpfs" => tmpfs(value)?,
            "--ulimit" => ulimit(value)?,
            "--user" => {
                let is_user = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte);
                check(value, is_user, "give a user, or a user and a group as USER:GROUP")?;
                Self::User(value.to_owned())
            }
            _ => return Err(ALLOWED.to_owned()),
        })
    }
}

/// The name of an option, and the value that hangs on it.
fn cut(word: &str) -> Result<(&str, Option<&str>), Invalid> {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) if word.starts_with("--") => (name, Some(value)),
        // `-u1000` and `-u=1000`.
        _ if word.starts_with('-')
            && !word.starts_with("--")
            && word.len() > 2
            && word.is_char_boundary(2) =>
        {
            let (name, value) = word.split_at(2);
            (name, Some(value.strip_prefix('=').unwrap_or(value)))
        }
        _ => (word, None),
    };
    let name = ALIASES.iter().find(|(short, _)| *short == name).map_or(name, |(_, long)| long);
    if let Some((_, why)) = ELSEWHERE.iter().find(|(names, _)| names.contains(&name)) {
        return Err(Invalid::new("docker option", name, *why));
    }
    let is_known = FLAGS.contains(&name)
        || OF_BUILDS.contains(&name)
        || [
            "--add-host",
            "--cap-drop",
            "--dns",
            "--dns-search",
            "--hostname",
            "--label",
            "--shm-size",
            "--tmpfs",
            "--ulimit",
            "--user",
        ]
        .contains(&name);
    if is_known {
        Ok((name, value))
    } else {
        Err(Invalid::new("docker option", name, format!("it is not allowed: {ALLOWED}")))
    }
}

impl fmt::Display for DockerOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddHost(name, to) => write!(f, "--add-host={name}:{to}"),
            Self::BuildArg(name, value) => write!(f, "--build-arg={name}={value}"),
            Self::CapDrop(name) => write!(f, "--cap-drop={name}"),
            Self::Dns(address) => write!(f, "--dns={address}"),
            Self::DnsSearch(domain) => write!(f, "--dns-search={domain}"),
            Self::Hostname(name) => write!(f, "--hostname={name}"),
            Self::Init => f.write_str("--init"),
            Self::Label(name, value) => write!(f, "--label={name}={value}"),
            Self::NoCache => f.write_str("--no-cache"),
            Self::ReadOnly => f.write_str("--read-only"),
            Self::ShmSize(bytes) => write!(f, "--shm-size={bytes}"),
            Self::Target(stage) => write!(f, "--target={stage}"),
            Self::Tmpfs(path, options) if options.is_empty() => write!(f, "--tmpfs={path}"),
            Self::Tmpfs(path, options) => write!(f, "--tmpfs={path}:{options}"),
            Self::Ulimit(name, soft, hard) => write!(f, "--ulimit={name}={soft}:{hard}"),
            Self::User(user) => write!(f, "--user={user}"),
        }
    }
}

impl From<DockerOption> for String {
    fn from(option: DockerOption) -> String {
        option.to_string()
    }
}

impl TryFrom<String> for DockerOption {
    type Error = Invalid;

    fn try_from(given: String) -> Result<Self, Invalid> {
        let (name, value) = cut(&given)?;
        Self::of(name, value.unwrap_or_default()).map_err(|why| Invalid::new("docker option", &given, why))
    }
}

/// The options of an app, by phase, in the order in which they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DockerOptions {
    /// For the build.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub build: Vec<DockerOption>,
    /// For instances.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deploy: Vec<DockerOption>,
    /// For one-offs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub run: Vec<DockerOption>,
}

impl DockerOptions {
    /// Those of a phase.
    pub fn of(&self, phase: Phase) -> &[DockerOption] {
        match phase {
            Phase::Build => &self.build,
            Phase::Deploy => &self.deploy,
            Phase::Run => &self.run,
        }
    }

    /// Those of a phase, to be changed.
    pub fn of_mut(&mut self, phase: Phase) -> &mut Vec<DockerOption> {
        match phase {
            Phase::Build => &mut self.build,
            Phase::Deploy => &mut self.deploy,
            Phase::Run => &mut self.run,
        }
    }
}

#[cfg(test)]
mod tests;
