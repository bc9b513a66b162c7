//! The kinds of value: how each is read, and the words for what it expects.

use std::{
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Component, Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use autostack_domain::{EngineHost, Host, ImageTemplate, cron::TimeZoneName, resources::MilliCpus};

use crate::zone::Zone;

/// A kind of value.
pub(super) struct Kind<T> {
    /// What a value must be, for people; goes behind "expected".
    pub expected: &'static str,
    /// Reads one value.
    pub parse: fn(&str) -> Result<T, Refusal>,
}

/// Why a value was refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is not what the kind expects.
    Wrong,
    /// It asks for what this version does not have.
    NotInThisVersion,
}

/// What runs instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendChoice {
    /// Containers where an engine answers when the agent starts, else processes.
    Auto,
    /// Plain processes, each under a shim of its own.
    Process,
    /// Containers of a Docker or Podman engine.
    Docker,
}

/// What builds images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuilderChoice {
    /// BuildKit where the engine has it, else the classic builder.
    Auto,
    /// BuildKit, or no build.
    BuildKit,
    /// The classic builder: no cache mounts and no secrets, but a memory limit on every host.
    Classic,
}

/// How containers are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointChoice {
    /// By their address where this host reaches it, else by a published port.
    Auto,
    /// By their address.
    Address,
    /// By a port of `runtime.port_range`, published on loopback.
    Port,
}

/// Who may make an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signup {
    /// Nobody: accounts are made on the host.
    Closed,
    /// Whoever an admin has invited.
    Invite,
    /// Everybody.
    Open,
}

/// Ports given to instances, first and last included; never empty, never port 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRange(pub RangeInclusive<u16>);

/// Longest duration that a setting takes: ten years; more is a slip of the finger.
const DURATION_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);
/// Largest size that a setting takes: what a signed 64-bit file offset can hold.
const SIZE_MAX: u64 = i64::MAX as u64;
/// The least memory that an engine lets a container have.
const MEMORY_BYTES_MIN: u64 = 6 << 20;
/// Processes and threads of a container: enough for a server, at most what Linux numbers (`PID_MAX_LIMIT`).
const PIDS_RANGE: RangeInclusive<u32> = 16..=4_194_304;
/// CPUs of a limit: what an engine takes, and more than any host has.
const MILLI_CPUS_RANGE: RangeInclusive<u32> = 10..=1_024_000;
/// Builds at once: more than any host bears.
const CONCURRENCY_MAX: usize = 64;
/// Releases kept for each app.
const KEEP_MAX: usize = 1_000;
/// Bytes of the data folder's path: the socket within it must fit `sun_path` (108 bytes with its NUL).
const FOLDER_BYTES_MAX: usize = 96;

pub(super) const DURATION: Kind<Duration> = Kind {
    expected: r#"a duration with its unit (ms, s, m, h, d), such as "30s", from 1ms to 3650d"#,
    parse: |text| duration(text).filter(|d| !d.is_zero()).ok_or(Refusal::Wrong),
};

pub(super) const DURATION_OR_ZERO: Kind<Duration> = Kind {
    expected: r#"a duration with its unit (ms, s, m, h, d), such as "30s", from 0s to 3650d"#,
    parse: |text| duration(text).ok_or(Refusal::Wrong),
};

pub(super) const SIZE: Kind<u64> = Kind {
    expected: r#"a size with its unit (B, KiB, MiB, GiB, TiB), such as "512MiB", 1B at least"#,
    parse: |text| size(text).ok_or(Refusal::Wrong),
};

pub(super) const SIZE_OR_OFF: Kind<Option<u64>> = Kind {
    expected: r#""off", or a size with its unit (B, KiB, MiB, GiB, TiB), such as "512MiB", 6MiB at least"#,
    parse: |text| match text {
        "off" => Ok(None),
        text => size(text).filter(|bytes| *bytes >= MEMORY_BYTES_MIN).map(Some).ok_or(Refusal::Wrong),
    },
};

pub(super) const CPUS_OR_OFF: Kind<Option<MilliCpus>> = Kind {
    expected: r#""off", or a number of CPUs with at most three decimals, such as "1.5", from 0.01 to 1024"#,
    parse: |text| match text {
        "off" => Ok(None),
        text => milli_cpus(text).map(Some).ok_or(Refusal::Wrong),
    },
};

pub(super) const PIDS: Kind<u32> = Kind {
    expected: "a whole number from 16 to 4194304",
    parse: |text| digits(text).filter(|number| PIDS_RANGE.contains(number)).ok_or(Refusal::Wrong),
};

pub(super) const TIME_ZONE: Kind<Option<TimeZoneName>> = Kind {
    expected: r#""host", or the name of a time zone that this host knows, such as "Europe/Berlin""#,
    parse: |text| match text {
        "host" => Ok(None),
        name => name.parse().ok().filter(|name| Zone::named(name).is_some()).map(Some).ok_or(Refusal::Wrong),
    },
};

pub(super) const ENGINE_HOST: Kind<Option<EngineHost>> = Kind {
    expected: r#""auto", "unix:///path/of/socket", or "tcp://127.0.0.1:PORT" on this machine's loopback"#,
    parse: |text| match text {
        "auto" => Ok(None),
        text => text.parse().map(Some).map_err(|_| Refusal::Wrong),
    },
};

pub(super) const BUILDER: Kind<BuilderChoice> = Kind {
    expected: r#""auto", "buildkit" or "classic""#,
    parse: |text| match text {
        "auto" => Ok(BuilderChoice::Auto),
        "buildkit" => Ok(BuilderChoice::BuildKit),
        "classic" => Ok(BuilderChoice::Classic),
        _ => Err(Refusal::Wrong),
    },
};

pub(super) const ENDPOINTS: Kind<EndpointChoice> = Kind {
    expected: r#""auto", "address" or "port""#,
    parse: |text| match text {
        "auto" => Ok(EndpointChoice::Auto),
        "address" => Ok(EndpointChoice::Address),
        "port" => Ok(EndpointChoice::Port),
        _ => Err(Refusal::Wrong),
    },
};

pub(super) const IMAGE: Kind<ImageTemplate> = Kind {
    expected: r#"the name of an image, such as "node:22-slim"; "{version}" in it is what the app asks for"#,
    parse: |text| text.parse().map_err(|_| Refusal::Wrong),
};

pub(super) const ADDRESS: Kind<SocketAddr> = Kind {
    expected: r#"an IP address with a port, such as "127.0.0.1:8080" or "[::]:8080""#,
    parse: |text| text.parse().map_err(|_| Refusal::Wrong),
};

pub(super) const FOLDER: Kind<PathBuf> = Kind {
    expected: "an absolute path without \"..\", of 96 bytes at most (a socket within it has a short limit)",
    parse: |text| folder(text).ok_or(Refusal::Wrong),
};

const HOST_EXPECTED: &str = "a host name of a-z, 0-9, - and dots, without a port";

pub(super) const HOST: Kind<Host> =
    Kind { expected: HOST_EXPECTED, parse: |text| text.parse().map_err(|_| Refusal::Wrong) };

pub(super) const HOST_OR_OFF: Kind<Option<Host>> = Kind {
    expected: r#""off", or a host name of a-z, 0-9, - and dots, without a port"#,
    parse: |text| match text {
        "off" => Ok(None),
        name => name.parse().map(Some).map_err(|_| Refusal::Wrong),
    },
};

pub(super) const HTTPS_OFF: Kind<()> = Kind {
    expected: r#""off""#,
    parse: |text| match text {
        "off" => Ok(()),
        _ => Err(Refusal::NotInThisVersion),
    },
};

pub(super) const BACKEND: Kind<BackendChoice> = Kind {
    expected: r#""auto", "process" or "docker""#,
    parse: |text| match text {
        "auto" => Ok(BackendChoice::Auto),
        "process" => Ok(BackendChoice::Process),
        "docker" => Ok(BackendChoice::Docker),
        "swarm" | "kubernetes" => Err(Refusal::NotInThisVersion),
        _ => Err(Refusal::Wrong),
    },
};

pub(super) const SIGNUP: Kind<Signup> = Kind {
    expected: r#""open", "invite" or "closed""#,
    parse: |text| match text {
        "closed" => Ok(Signup::Closed),
        "invite" => Ok(Signup::Invite),
        "open" => Ok(Signup::Open),
        _ => Err(Refusal::Wrong),
    },
};

pub(super) const PORT_RANGE: Kind<PortRange> = Kind {
    expected: r#"two ports with a dash between, such as "30000-39999", the first from 1024 on"#,
    parse: |text| port_range(text).ok_or(Refusal::Wrong),
};

pub(super) const CONCURRENCY: Kind<usize> =
    Kind { expected: "a whole number from 1 to 64", parse: |text| count(text, CONCURRENCY_MAX) };

pub(super) const KEEP: Kind<usize> =
    Kind { expected: "a whole number from 1 to 1000", parse: |text| count(text, KEEP_MAX) };

/// Splits `30s` into 30 and `s`; digits only, so neither signs nor fractions.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(unit_at);
    Some((digits.parse().ok()?, unit))
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let millis_each: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let duration = Duration::from_millis(number.checked_mul(millis_each)?);
    (duration <= DURATION_MAX).then_some(duration)
}

fn size(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let bytes_each: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(bytes_each).filter(|bytes| (1..=SIZE_MAX).contains(bytes))
}

fn folder(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    let plain = path.components().all(|part| part != Component::ParentDir);
    let fits = path.is_absolute() && plain && text.len() <= FOLDER_BYTES_MAX && !text.contains('\0');
    fits.then(|| path.to_owned())
}

/// Parses digits alone: `parse` would take a sign too.
fn digits<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn port_range(text: &str) -> Option<PortRange> {
    let (first, last) = text.split_once('-')?;
    let (first, last): (u16, u16) = (digits(first.trim())?, digits(last.trim())?);
    (1024 <= first && first <= last).then_some(PortRange(first..=last))
}

/// Reads `1.5` as 1500; digits and one point only.
fn milli_cpus(text: &str) -> Option<MilliCpus> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let thousandths = decimals.len() <= 3 && !decimals.is_empty();
    let whole: u32 = digits(whole).filter(|_| !whole.is_empty() && thousandths)?;
    let decimals: u32 = digits(&format!("{decimals:0<3}"))?;
    let milli = whole.checked_mul(1_000)?.checked_add(decimals)?;
    MILLI_CPUS_RANGE.contains(&milli).then_some(MilliCpus(milli))
}

fn count(text: &str, max: usize) -> Result<usize, Refusal> {
    digits(text).filter(|number| (1..=max).contains(number)).ok_or(Refusal::Wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads<T>(kind: &Kind<T>, text: &str) -> Option<T> {
        (kind.parse)(text).ok()
    }

    #[test]
    fn durations_need_a_unit_they_know() {
        let seconds = |text| reads(&DURATION, text).map(|d| d.as_millis());
        assert_eq!(seconds("250ms"), Some(250));
        assert_eq!(seconds("30s"), Some(30_000));
        assert_eq!(seconds("15m"), Some(900_000));
        assert_eq!(seconds("7d"), Some(604_800_000));
        assert_eq!(seconds("2h"), Some(7_200_000));
        for bad in ["", "30", "s", "-1s", "+1s", "1.5s", "1 s", "1S", "0s", "3651d", "99999999999999999999s"]
        {
            assert_eq!(seconds(bad), None, "{bad:?}");
        }
        assert_eq!(reads(&DURATION_OR_ZERO, "0s"), Some(Duration::ZERO));
    }

    #[test]
    fn sizes_need_a_unit_they_know() {
        assert_eq!(reads(&SIZE, "512MiB"), Some(512 << 20));
        assert_eq!(reads(&SIZE, "1B"), Some(1));
        assert_eq!(reads(&SIZE, "2TiB"), Some(2 << 40));
        for bad in ["", "512", "512MB", "512mib", "0B", "9223372036854775808B", "16777216TiB", "-1B"] {
            assert_eq!(reads(&SIZE, bad), None, "{bad:?}");
        }
    }

    #[test]
    fn cpus_are_numbers_with_three_decimals() {
        let milli = |text| reads(&CPUS_OR_OFF, text).flatten().map(|cpus| cpus.0);
        assert_eq!(milli("2"), Some(2_000));
        assert_eq!(milli("1.5"), Some(1_500));
        assert_eq!(milli("0.25"), Some(250));
        assert_eq!(milli("0.125"), Some(125));
        assert_eq!(reads(&CPUS_OR_OFF, "off"), Some(None));
        for bad in ["", ".5", "1.", "-1", "+1", "1.2345", "0", "0.001", "1025", "1e2", "99999999999"] {
            assert_eq!(milli(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_limit_of_memory_leaves_room_for_a_program() {
        assert_eq!(reads(&SIZE_OR_OFF, "64MiB"), Some(Some(64 << 20)));
        assert_eq!(reads(&SIZE_OR_OFF, "off"), Some(None));
        assert_eq!(reads(&SIZE_OR_OFF, "5MiB"), None);
    }

    #[test]
    fn the_data_folder_is_absolute_and_short_enough_for_its_socket() {
        assert_eq!(reads(&FOLDER, "/var/lib/autostack"), Some("/var/lib/autostack".into()));
        let long = format!("/{}", "x".repeat(96));
        for bad in ["", "var/lib", "~/data", "/a/../b", "/a\0b", &long] {
            assert_eq!(reads(&FOLDER, bad), None, "{bad:?}");
        }
    }

    #[test]
    fn port_ranges_are_two_ports_in_order() {
        assert_eq!(reads(&PORT_RANGE, "30000-30000"), Some(PortRange(30_000..=30_000)));
        for bad in ["", "30000", "2-1", "0-10", "1000-2000", "30000-70000", "a-b", "+30000-40000"] {
            assert_eq!(reads(&PORT_RANGE, bad), None, "{bad:?}");
        }
    }

    #[test]
    fn later_features_are_told_from_nonsense() {
        assert_eq!((BACKEND.parse)("kubernetes"), Err(Refusal::NotInThisVersion));
        assert_eq!((BACKEND.parse)("dokcer"), Err(Refusal::Wrong));
        assert_eq!((HTTPS_OFF.parse)("0.0.0.0:443"), Err(Refusal::NotInThisVersion));
        assert_eq!((SIGNUP.parse)("open"), Ok(Signup::Open));
    }

    #[test]
    fn counts_are_bounded() {
        assert_eq!(reads(&CONCURRENCY, "64"), Some(64));
        for bad in ["0", "65", "-1", "+1", "", "1.0", " 1"] {
            assert_eq!(reads(&CONCURRENCY, bad), None, "{bad:?}");
        }
    }
}
