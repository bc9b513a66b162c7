//! Options for the engine that an operator may give an app's build and its containers: those of `docker build` and
//! `docker run` that let nothing out of the container. Everything else is refused with a reason.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

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

fn check(value: &str, is_allowed: impl Fn(u8) -> bool, why: &str) -> Result<(), String> {
    if value.is_empty() || value.starts_with('-') || !value.bytes().all(is_allowed) {
        Err(why.to_owned())
    } else {
        Ok(())
    }
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.'
}

fn address(value: &str) -> Result<IpAddr, String> {
    value.parse().map_err(|_| "give an address, such as 192.0.2.1".to_owned())
}

fn pair(value: &str, why: &str) -> Result<(String, String), String> {
    let (name, value) = value.split_once('=').ok_or(why)?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    check(name, is_name, why)?;
    Ok((name.to_owned(), value.to_owned()))
}

/// `host-gateway` would be a way to the host itself.
fn add_host(value: &str) -> Result<DockerOption, String> {
    let why = "say NAME:ADDRESS, such as db:192.0.2.1; host-gateway is not allowed";
    let (name, to) = value.split_once([':', '=']).ok_or(why)?;
    check(name, is_host_byte, why)?;
    Ok(DockerOption::AddHost(name.to_owned(), to.parse().map_err(|_| why)?))
}

/// By its own labels an agent knows what is its own.
fn label(value: &str) -> Result<DockerOption, String> {
    let (name, value) = pair(value, "say NAME=VALUE")?;
    let is_taken = ["autostack.", "com.docker.", "io.podman."]
        .iter()
        .any(|taken| name.to_ascii_lowercase().starts_with(taken));
    if is_taken {
        Err("labels of that name belong to the platform and to engines".to_owned())
    } else {
        Ok(DockerOption::Label(name, value))
    }
}

fn bytes(value: &str) -> Option<u64> {
    let lower = value.to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, shift) = match lower.as_bytes().last()? {
        b'k' => (&lower[..lower.len() - 1], 10),
        b'm' => (&lower[..lower.len() - 1], 20),
        b'g' => (&lower[..lower.len() - 1], 30),
        _ => (lower, 0),
    };
    digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse::<u64>().ok()?.checked_mul(1 << shift))?
}

fn shm_size(value: &str) -> Result<u64, String> {
    let most = limits::SHM_BYTES_MAX;
    match bytes(value) {
        Some(size) if (1..=most).contains(&size) => Ok(size),
        _ => Err(format!("give bytes, or 64m or 1g; {} MiB at most", most >> 20)),
    }
}

/// Where a folder of memory may be seen, and how.
fn tmpfs(value: &str) -> Result<DockerOption, String> {
    let (path, options) = value.split_once(':').unwrap_or((value, ""));
    let is_plain = path.starts_with('/')
        && path.len() > 1
        && path.split('/').skip(1).all(|part| !part.is_empty() && part != "." && part != "..");
    let is_system = ["/proc", "/sys", "/dev"]
        .iter()
        .any(|system| path.strip_prefix(system).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    if !is_plain || is_system || path.contains(',') {
        return Err("give an absolute path without `..`, outside of /proc, /sys and /dev".to_owned());
    }
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let is_allowed = match option.split_once('=') {
            None => ["ro", "rw", "noexec", "nosuid", "nodev"].contains(&option),
            Some(("size", size)) => bytes(size).is_some(),
            Some(("mode", mode)) => mode.len() <= 4 && mode.bytes().all(|byte| (b'0'..=b'7').contains(&byte)),
            Some(("uid" | "gid", id)) => id.parse::<u32>().is_ok(),
            Some(_) => false,
        };
        if !is_allowed {
            return Err(
                "of its options there are size, mode, uid, gid, ro, rw, noexec, nosuid and nodev".to_owned()
            );
        }
    }
    Ok(DockerOption::Tmpfs(path.to_owned(), options.to_owned()))
}

fn ulimit(value: &str) -> Result<DockerOption, String> {
    let why = format!(
        "say NAME=SOFT:HARD or NAME=BOTH, with one of core, fsize, memlock, nofile and stack; nofile {} at most",
        limits::NOFILE_MAX
    );
    let (name, numbers) = value.split_once('=').ok_or_else(|| why.clone())?;
    let (soft, hard) = numbers.split_once(':').unwrap_or((numbers, numbers));
    let number = |given: &str| given.parse::<u64>().ok().filter(|number| i64::try_from(*number).is_ok());
    match (name, number(soft), number(hard)) {
        ("nofile", _, Some(hard)) if hard > limits::NOFILE_MAX => Err(why),
        ("core" | "fsize" | "memlock" | "nofile" | "stack", Some(soft), Some(hard)) if soft <= hard => {
            Ok(DockerOption::Ulimit(name.to_owned(), soft, hard))
        }
        _ => Err(why),
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
mod tests {
    use super::*;

    fn read(line: &str, phase: Phase) -> Result<String, Invalid> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let found = DockerOption::read_all(&words, phase)?;
        for option in &found {
            let text = String::from(option.clone());
            assert_eq!(DockerOption::try_from(text).unwrap(), *option, "written as it is read");
        }
        Ok(found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn what_is_allowed_is_read_in_every_spelling() {
        for (given, phase, expected) in [
            ("--shm-size=64m", Phase::Deploy, "--shm-size=67108864"),
            ("--shm-size 1g --init", Phase::Run, "--shm-size=1073741824 --init"),
            ("-u 1000:1000", Phase::Deploy, "--user=1000:1000"),
            ("-u1000", Phase::Deploy, "--user=1000"),
            ("--read-only --tmpfs /tmp", Phase::Deploy, "--read-only --tmpfs=/tmp"),
            ("--read-only=true", Phase::Deploy, "--read-only"),
            ("--tmpfs /run:size=16m,mode=1777", Phase::Deploy, "--tmpfs=/run:size=16m,mode=1777"),
            ("--ulimit nofile=1024:2048", Phase::Deploy, "--ulimit=nofile=1024:2048"),
            ("--ulimit=core=0", Phase::Deploy, "--ulimit=core=0:0"),
            ("--add-host db:192.0.2.1", Phase::Deploy, "--add-host=db:192.0.2.1"),
            ("--add-host=db:2001:db8::1", Phase::Deploy, "--add-host=db:2001:db8::1"),
            (
                "--dns 192.0.2.53 --dns-search example.com",
                Phase::Run,
                "--dns=192.0.2.53 --dns-search=example.com",
            ),
            ("--label team=shop=x", Phase::Deploy, "--label=team=shop=x"),
            ("--hostname shop", Phase::Deploy, "--hostname=shop"),
            ("--cap-drop cap_chown", Phase::Deploy, "--cap-drop=CHOWN"),
            (
                "--build-arg NODE_ENV=production --target=final --no-cache",
                Phase::Build,
                "--build-arg=NODE_ENV=production --target=final --no-cache",
            ),
        ] {
            assert_eq!(read(given, phase).unwrap(), expected, "{given}");
        }
    }

    #[test]
    fn e1_nothing_lets_an_app_out_of_its_container_in_any_spelling() {
        let out = [
            ("--privileged", ""),
            ("--pid", "host"),
            ("--ipc", "host"),
            ("--uts", "host"),
            ("--userns", "host"),
            ("--network", "host"),
            ("--net", "host"),
            ("--cgroupns", "host"),
            ("--cgroup-parent", "/"),
            ("--cap-add", "SYS_ADMIN"),
            ("--device", "/dev/sda"),
            ("--gpus", "all"),
            ("--security-opt", "seccomp=unconfined"),
            ("--sysctl", "kernel.core_pattern=x"),
            ("--volume", "/:/host"),
            ("-v", "/var/run/docker.sock:/s"),
            ("--mount", "type=bind,source=/,target=/host"),
            ("--volumes-from", "other"),
            ("--volume-driver", "local"),
            ("--runtime", "other"),
            ("--group-add", "docker"),
            ("--oom-kill-disable", ""),
            ("--oom-score-adj", "-1000"),
            ("--link", "other"),
            ("--publish", "22:22"),
            ("-p", "22:22"),
            ("-P", ""),
            ("--restart", "always"),
            ("--env", "A=b"),
            ("-e", "A=b"),
            ("--env-file", "/etc/passwd"),
            ("--memory", "64g"),
            ("-m", "64g"),
            ("--secret", "id=x,src=/etc/shadow"),
            ("--ssh", "default"),
            ("--allow", "security.insecure"),
            ("--entrypoint", "/bin/sh"),
            ("--name", "x"),
            ("--rm", ""),
            ("-it", ""),
            ("--log-driver", "none"),
            ("busybox", ""),
        ];
        for (name, value) in out {
            for phase in Phase::ALL {
                for line in [
                    format!("{name} {value}"),
                    format!("{name}={value}"),
                    format!("--init {name} {value}"),
                    format!("{name}{value}"),
                ] {
                    if phase == Phase::Build && line.starts_with("--init") {
                        continue;
                    }
                    assert!(read(line.trim(), phase).is_err(), "{line} for {phase}");
                }
            }
        }
    }

    #[test]
    fn a_value_must_be_what_it_should_be() {
        for bad in [
            "--shm-size",
            "--shm-size=",
            "--shm-size=2t",
            "--shm-size=99g",
            "--shm-size=-1",
            "--ulimit nproc=1",
            "--ulimit nofile=2:1",
            "--ulimit nofile=99999999",
            "--tmpfs=/",
            "--tmpfs=/proc",
            "--tmpfs=/dev/x",
            "--tmpfs=/a/../proc",
            "--tmpfs=a",
            "--tmpfs=/a:exec",
            "--tmpfs=/a:suid,size=1m",
            "--add-host=db:host-gateway",
            "--add-host=db",
            "--dns=example.com",
            "--label=autostack.app=x",
            "--label=x",
            "--hostname=a/b",
            "--user=a;b",
            "--user=-x",
            "--cap-drop=",
            "--read-only=false",
            "--init=x",
        ] {
            assert!(read(bad, Phase::Deploy).is_err(), "{bad}");
        }
        for bad in ["--build-arg A", "--build-arg =x", "--target=", "--target=a b", "--shm-size=1m"] {
            assert!(read(bad, Phase::Build).is_err(), "{bad}");
        }
        assert!(read("--target=x", Phase::Run).is_err(), "a build's own");
        let long = format!("--label=a={}", "x".repeat(limits::DOCKER_OPTION_BYTES_MAX));
        assert!(read(&long, Phase::Deploy).is_err());
    }
}
