//! What an instance may use of the host, and what is kept for it: limits and reservations by process type.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    limits,
    names::{Invalid, ProcessType},
};

/// CPU time in thousandths of one CPU; 1 at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MilliCpus(pub u32);

impl fmt::Display for MilliCpus {
    /// `1.5`, as it is typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, thousandths) = (self.0 / 1_000, self.0 % 1_000);
        if thousandths == 0 {
            return write!(f, "{whole}");
        }
        let decimals = format!("{thousandths:03}");
        write!(f, "{whole}.{}", decimals.trim_end_matches('0'))
    }
}

impl FromStr for MilliCpus {
    type Err = Invalid;

    /// Reads `2`, `1.5` or `500m`.
    fn from_str(given: &str) -> Result<Self, Invalid> {
        let thousandths = match given.strip_suffix('m') {
            Some(millis) => digits(millis),
            None => decimal(given),
        };
        let (min, max) = (limits::MILLI_CPUS_MIN, limits::MILLI_CPUS_MAX);
        thousandths.filter(|milli| (min..=max).contains(milli)).map(Self).ok_or_else(|| {
            let why = "expected a number of CPUs from 0.01 to 1024, such as 1.5 or 500m";
            Invalid::new("cpu", given, why)
        })
    }
}

/// A kind of resource that a process type has an amount of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// CPU time.
    Cpu,
    /// Memory, swap included.
    Memory,
    /// Processes and threads.
    Pids,
}

impl Resource {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Resource; 3] = [Resource::Cpu, Resource::Memory, Resource::Pids];

    /// The name on a command line: `memory`.
    pub fn name(self) -> &'static str {
        match self {
            Resource::Cpu => "cpu",
            Resource::Memory => "memory",
            Resource::Pids => "pids",
        }
    }
}

/// Amounts of resources; `None` where nothing is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Amounts {
    /// CPU time.
    pub cpus: Option<MilliCpus>,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

impl Amounts {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Sets one amount as it is typed: `512` and `512m` of memory are MiB, `1.5` are CPUs; `clear` takes it away.
    ///
    /// # Errors
    /// What the amount must be.
    pub fn set(&mut self, resource: Resource, given: &str) -> Result<(), Invalid> {
        let is_cleared = given.is_empty() || given == "clear";
        match resource {
            Resource::Cpu => self.cpus = if is_cleared { None } else { Some(given.parse()?) },
            Resource::Memory => self.memory_bytes = if is_cleared { None } else { Some(memory(given)?) },
            Resource::Pids => self.pids = if is_cleared { None } else { Some(pids(given)?) },
        }
        Ok(())
    }

    /// One amount as it would be typed; empty where nothing is said.
    pub fn shown(&self, resource: Resource) -> String {
        match resource {
            Resource::Cpu => self.cpus.map(|cpus| cpus.to_string()),
            Resource::Memory => self.memory_bytes.map(shown_memory),
            Resource::Pids => self.pids.map(|pids| pids.to_string()),
        }
        .unwrap_or_default()
    }

    /// These amounts, and those of `beneath` where nothing is said here.
    #[must_use]
    fn or(self, beneath: Amounts) -> Amounts {
        Amounts {
            cpus: self.cpus.or(beneath.cpus),
            memory_bytes: self.memory_bytes.or(beneath.memory_bytes),
            pids: self.pids.or(beneath.pids),
        }
    }
}

/// What is said for one process type, or for all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessResources {
    /// What an instance may use at most.
    pub limit: Amounts,
    /// What an instance shall have where others want it too.
    pub reserve: Amounts,
}

/// Which of the two is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// What may be used at most.
    Limit,
    /// What is kept.
    Reserve,
}

impl Bound {
    /// In reports: `limit`.
    pub fn name(self) -> &'static str {
        match self {
            Bound::Limit => "limit",
            Bound::Reserve => "reserve",
        }
    }
}

/// The resources of an app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceSettings {
    /// For process types that have none of their own.
    pub everywhere: ProcessResources,
    /// By process type; what is not said there is as everywhere.
    pub processes: BTreeMap<ProcessType, ProcessResources>,
}

impl ResourceSettings {
    /// The amounts that are set, for a process type or for all, to be changed.
    pub fn amounts_mut(&mut self, process: Option<&ProcessType>, bound: Bound) -> &mut Amounts {
        let resources = match process {
            Some(process) => self.processes.entry(process.clone()).or_default(),
            None => &mut self.everywhere,
        };
        match bound {
            Bound::Limit => &mut resources.limit,
            Bound::Reserve => &mut resources.reserve,
        }
    }

    /// The amounts that are set for a process type alone, or for all.
    pub fn amounts(&self, process: Option<&ProcessType>, bound: Bound) -> Amounts {
        let resources = match process {
            Some(process) => self.processes.get(process).copied().unwrap_or_default(),
            None => self.everywhere,
        };
        match bound {
            Bound::Limit => resources.limit,
            Bound::Reserve => resources.reserve,
        }
    }

    /// Forgets process types of which nothing is said any more.
    pub fn tidy(&mut self) {
        self.processes.retain(|_, set| !(set.limit.is_empty() && set.reserve.is_empty()));
    }

    /// What counts for the instances of a process type.
    pub fn of(&self, process: &ProcessType) -> InstanceLimits {
        let set = |bound| self.amounts(Some(process), bound).or(self.amounts(None, bound));
        let (limit, reserve) = (set(Bound::Limit), set(Bound::Reserve));
        InstanceLimits {
            memory_bytes_max: limit.memory_bytes,
            memory_bytes_reserved: reserve.memory_bytes,
            cpus_max: limit.cpus,
            cpus_reserved: reserve.cpus,
            pids_max: limit.pids,
        }
    }
}

/// What one instance may use, and what is kept for it; `None` where the app says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceLimits {
    /// Memory in bytes, swap included; an instance that needs more is killed.
    pub memory_bytes_max: Option<u64>,
    /// Memory in bytes that is taken from it last when the host runs short.
    pub memory_bytes_reserved: Option<u64>,
    /// CPU time in the same time; an instance that wants more waits.
    pub cpus_max: Option<MilliCpus>,
    /// Its share of the CPUs where more is wanted than there is.
    pub cpus_reserved: Option<MilliCpus>,
    /// Processes and threads; one more cannot be made.
    pub pids_max: Option<u32>,
}

impl InstanceLimits {
    /// Whether the app says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn memory(given: &str) -> Result<u64, Invalid> {
    let unit_at = given.find(|c: char| !c.is_ascii_digit()).unwrap_or(given.len());
    let (number, unit) = given.split_at(unit_at);
    // A number alone is MiB, as with Dokku; every unit is a power of 1024, as with Docker.
    let shift = match unit.to_ascii_lowercase().as_str() {
        "b" => Some(0),
        "k" | "kb" | "ki" | "kib" => Some(10),
        "" | "m" | "mb" | "mi" | "mib" => Some(20),
        "g" | "gb" | "gi" | "gib" => Some(30),
        _ => None,
    };
    let number = digits::<u64>(number);
    let bytes = number.zip(shift).and_then(|(number, shift)| number.checked_mul(1 << shift));
    let (min, max) = (limits::MEMORY_LIMIT_BYTES_MIN, limits::MEMORY_LIMIT_BYTES_MAX);
    bytes.filter(|bytes| (min..=max).contains(bytes)).ok_or_else(|| {
        let why = "expected MiB, or a size with its unit (b, k, m, g), such as 512 or 2g, 6m at least";
        Invalid::new("memory", given, why)
    })
}

/// As it would be typed: MiB, or bytes where it is no whole number of them.
fn shown_memory(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 20) { (bytes >> 20).to_string() } else { format!("{bytes}b") }
}

fn pids(given: &str) -> Result<u32, Invalid> {
    let (min, max) = (limits::PIDS_LIMIT_MIN, limits::PIDS_LIMIT_MAX);
    digits(given).filter(|pids| (min..=max).contains(pids)).ok_or_else(|| {
        Invalid::new("pids", given, format!("expected a whole number of processes from {min} to {max}"))
    })
}

/// Digits alone: `parse` would take a sign too.
fn digits<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Reads `1.5` as 1500; digits and one point only, three decimals at most.
fn decimal(text: &str) -> Option<u32> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let fits = !whole.is_empty() && !decimals.is_empty() && decimals.len() <= 3;
    let whole: u32 = digits(whole).filter(|_| fits)?;
    let decimals: u32 = digits(&format!("{decimals:0<3}"))?;
    whole.checked_mul(1_000)?.checked_add(decimals)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(resource: Resource, given: &str) -> Option<Amounts> {
        let mut amounts = Amounts::default();
        amounts.set(resource, given).ok().map(|()| amounts)
    }

    #[test]
    fn amounts_are_read_as_dokku_and_docker_write_them() {
        let memory = |given| set(Resource::Memory, given)?.memory_bytes;
        for (given, bytes) in [
            ("512", 512 << 20),
            ("512m", 512 << 20),
            ("512MB", 512 << 20),
            ("2g", 2 << 30),
            ("2Gi", 2 << 30),
            ("10240k", 10 << 20),
            ("6291457b", (6 << 20) + 1),
        ] {
            assert_eq!(memory(given), Some(bytes), "{given}");
        }
        let cpu = |given| set(Resource::Cpu, given)?.cpus.map(|cpus| cpus.0);
        for (given, milli) in [("1", 1_000), ("1.5", 1_500), ("0.125", 125), ("500m", 500), ("100", 100_000)]
        {
            assert_eq!(cpu(given), Some(milli), "{given}");
        }
        assert_eq!(set(Resource::Pids, "64").unwrap().pids, Some(64));
        for bad in ["-1", "+1", "1 g", "5", "1t", "m", "512;id", "99999999999999999999", "0x10", "1.5g"] {
            assert_eq!(memory(bad), None, "{bad}");
        }
        for bad in ["-1", "+1", "0", ".5", "1.", "1.2345", "1025", "1e2", "m", "1.5m"] {
            assert_eq!(cpu(bad), None, "{bad}");
        }
        for bad in ["1", "-20", "a", "4194305"] {
            assert_eq!(set(Resource::Pids, bad), None, "{bad}");
        }
    }

    #[test]
    fn a_process_type_has_its_own_and_the_rest_of_all() {
        let (web, worker): (ProcessType, ProcessType) = ("web".parse().unwrap(), "worker".parse().unwrap());
        let mut settings = ResourceSettings::default();
        settings.amounts_mut(None, Bound::Limit).set(Resource::Memory, "256").unwrap();
        settings.amounts_mut(None, Bound::Limit).set(Resource::Cpu, "2").unwrap();
        settings.amounts_mut(Some(&web), Bound::Limit).set(Resource::Memory, "1g").unwrap();
        settings.amounts_mut(Some(&web), Bound::Reserve).set(Resource::Cpu, "0.5").unwrap();
        let limits = settings.of(&web);
        assert_eq!((limits.memory_bytes_max, limits.cpus_max), (Some(1 << 30), Some(MilliCpus(2_000))));
        assert_eq!(limits.cpus_reserved, Some(MilliCpus(500)));
        assert_eq!(settings.of(&worker).memory_bytes_max, Some(256 << 20));
        for bound in [Bound::Limit, Bound::Reserve] {
            *settings.amounts_mut(Some(&web), bound) = Amounts::default();
        }
        settings.tidy();
        assert!(settings.processes.is_empty());
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(milli in 10u32..=1_024_000, bytes in (6u64 << 20)..(1 << 45)) {
            let amounts = Amounts { cpus: Some(MilliCpus(milli)), memory_bytes: Some(bytes), pids: Some(99) };
            let mut read = Amounts::default();
            for resource in Resource::ALL {
                read.set(resource, &amounts.shown(resource)).unwrap();
            }
            prop_assert_eq!(read, amounts);
        }
    }
}
