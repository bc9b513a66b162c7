//! How an app's operator wants the change from one release to the next: with checks, without, or with a gap; and
//! what is asked instead of what `app.json` says.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    health::{CheckKind, HealthCheck, Probe},
    limits,
    names::{Invalid, ProcessType},
};

/// How the instances of a process type are replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckMode {
    /// New instances start beside the old ones, and must be ready before those end.
    #[default]
    Enabled,
    /// They start beside the old ones and count as ready once they run.
    Skipped,
    /// The old ones end before the new ones start: nobody answers meanwhile.
    Disabled,
}

/// The checks of an app as its operator has set them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckSettings {
    /// For process types that have none of their own.
    pub everywhere: CheckMode,
    /// By process type.
    pub processes: BTreeMap<ProcessType, CheckMode>,
    /// Seconds that old instances get to finish what they were given, after the switch; `None` for the host's
    /// `deploy.drain_timeout`.
    pub wait_to_retire_seconds: Option<u32>,
    /// How often a check is asked before it counts as failed.
    pub attempts: Option<u32>,
    /// Seconds between two attempts.
    pub wait_seconds: Option<u32>,
    /// Seconds that one attempt may take.
    pub timeout_seconds: Option<u32>,
    /// The path that startup checks of `web` ask for, in place of those that `app.json` names.
    pub path: Option<String>,
}

/// What `checks:set` can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckProperty {
    /// `wait-to-retire`.
    WaitToRetire,
    /// `attempts`.
    Attempts,
    /// `wait`.
    Wait,
    /// `timeout`.
    Timeout,
    /// `path`.
    Path,
}

impl CheckProperty {
    /// All of them, in the order in which they are shown.
    pub const ALL: [CheckProperty; 5] = [
        CheckProperty::WaitToRetire,
        CheckProperty::Attempts,
        CheckProperty::Wait,
        CheckProperty::Timeout,
        CheckProperty::Path,
    ];

    /// The name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            CheckProperty::WaitToRetire => "wait-to-retire",
            CheckProperty::Attempts => "attempts",
            CheckProperty::Wait => "wait",
            CheckProperty::Timeout => "timeout",
            CheckProperty::Path => "path",
        }
    }

    /// The property of that name.
    ///
    /// # Errors
    /// Which ones there are.
    pub fn named(given: &str) -> Result<Self, Invalid> {
        Self::ALL.into_iter().find(|property| property.name() == given).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|property| property.name()).collect();
            Invalid::new("property of checks", given, format!("there are {}", names.join(", ")))
        })
    }
}

impl CheckSettings {
    /// How the instances of a process type are replaced.
    pub fn mode(&self, process: &ProcessType) -> CheckMode {
        self.processes.get(process).copied().unwrap_or(self.everywhere)
    }

    /// Sets the mode of some process types; of all, where none is named.
    pub fn set_mode(&mut self, mode: CheckMode, processes: &[ProcessType]) {
        if processes.is_empty() {
            self.everywhere = mode;
            self.processes.clear();
        }
        for process in processes {
            self.processes.insert(process.clone(), mode);
        }
        let everywhere = self.everywhere;
        self.processes.retain(|_, set| *set != everywhere);
    }

    /// The process types of a mode, as Dokku lists them: `none`, `_all_`, or names with commas between.
    pub fn list(&self, mode: CheckMode) -> String {
        let named: Vec<&str> = self
            .processes
            .iter()
            .filter(|(_, set)| **set == mode)
            .map(|(process, _)| process.as_str())
            .collect();
        match (self.everywhere == mode, named.is_empty()) {
            (true, _) => "_all_".to_owned(),
            (false, true) => "none".to_owned(),
            (false, false) => named.join(","),
        }
    }

    /// Sets a property as it is typed; an empty value takes it away.
    ///
    /// # Errors
    /// What its value must be.
    pub fn set(&mut self, property: CheckProperty, given: &str) -> Result<(), Invalid> {
        let number = |min, max| match given {
            "" => Ok(None),
            given => whole_number(property, given, min, max).map(Some),
        };
        let seconds_max = limits::CHECK_SECONDS_MAX;
        match property {
            CheckProperty::WaitToRetire => self.wait_to_retire_seconds = number(0, seconds_max)?,
            CheckProperty::Attempts => self.attempts = number(1, limits::CHECK_ATTEMPTS_MAX)?,
            CheckProperty::Wait => self.wait_seconds = number(0, seconds_max)?,
            CheckProperty::Timeout => self.timeout_seconds = number(1, seconds_max)?,
            CheckProperty::Path => self.path = path(given)?,
        }
        Ok(())
    }

    /// A property as it would be typed; empty where it is not set.
    pub fn shown(&self, property: CheckProperty) -> String {
        let number = |set: Option<u32>| set.map(|number| number.to_string()).unwrap_or_default();
        match property {
            CheckProperty::WaitToRetire => number(self.wait_to_retire_seconds),
            CheckProperty::Attempts => number(self.attempts),
            CheckProperty::Wait => number(self.wait_seconds),
            CheckProperty::Timeout => number(self.timeout_seconds),
            CheckProperty::Path => self.path.clone().unwrap_or_default(),
        }
    }

    /// How long old instances get to finish what they were given; `None` where the host decides.
    pub fn wait_to_retire(&self) -> Option<Duration> {
        self.wait_to_retire_seconds.map(|seconds| Duration::from_secs(u64::from(seconds)))
    }

    /// What is asked of an instance of a process type, where `asked` is what its release says.
    pub fn checks(&self, process: &ProcessType, asked: &[HealthCheck]) -> Vec<HealthCheck> {
        if self.mode(process) == CheckMode::Skipped {
            return Vec::new();
        }
        let mut checks = asked.to_vec();
        if let Some(path) = self.path.as_ref().filter(|_| process.is_web()) {
            let is_replaced = |check: &HealthCheck| {
                check.kind == CheckKind::Startup && matches!(check.probe, Probe::Http { .. })
            };
            checks.retain(|check| !is_replaced(check));
            checks.push(get(path));
        }
        for check in &mut checks {
            let seconds = |set: Option<u32>| set.map(|seconds| Duration::from_secs(u64::from(seconds)));
            check.attempts = self.attempts.unwrap_or(check.attempts);
            check.wait = seconds(self.wait_seconds).unwrap_or(check.wait);
            check.timeout = seconds(self.timeout_seconds).unwrap_or(check.timeout);
        }
        checks
    }
}

fn get(path: &str) -> HealthCheck {
    HealthCheck {
        name: format!("GET {path}"),
        kind: CheckKind::Startup,
        probe: Probe::Http { path: path.to_owned(), content: None, headers: Vec::new() },
        attempts: HealthCheck::ATTEMPTS_DEFAULT,
        wait: Duration::from_secs(HealthCheck::WAIT_SECONDS_DEFAULT),
        timeout: Duration::from_secs(HealthCheck::TIMEOUT_SECONDS_DEFAULT),
        initial_delay: Duration::ZERO,
    }
}

fn whole_number(property: CheckProperty, given: &str, min: u32, max: u32) -> Result<u32, Invalid> {
    let number = given.bytes().all(|byte| byte.is_ascii_digit()).then(|| given.parse().ok()).flatten();
    number.filter(|number| (min..=max).contains(number)).ok_or_else(|| {
        Invalid::new(property.name(), given, format!("expected a whole number from {min} to {max}"))
    })
}

/// A path that can stand in a request line as it is.
fn path(given: &str) -> Result<Option<String>, Invalid> {
    let fits = given.starts_with('/')
        && given.len() <= limits::CHECK_PATH_BYTES_MAX
        && given.bytes().all(|byte| byte.is_ascii_graphic());
    match given {
        "" => Ok(None),
        _ if fits => Ok(Some(given.to_owned())),
        _ => Err(Invalid::new("path", given, "it starts with / and holds printable ASCII without spaces")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(name: &str) -> ProcessType {
        name.parse().unwrap()
    }

    #[test]
    fn a_mode_counts_for_all_or_for_those_that_are_named() {
        let mut settings = CheckSettings::default();
        settings.set_mode(CheckMode::Disabled, &[]);
        settings.set_mode(CheckMode::Enabled, &[process("web")]);
        settings.set_mode(CheckMode::Skipped, &[process("worker")]);
        assert_eq!(settings.mode(&process("web")), CheckMode::Enabled);
        assert_eq!(settings.mode(&process("other")), CheckMode::Disabled);
        assert_eq!(settings.list(CheckMode::Disabled), "_all_");
        assert_eq!(settings.list(CheckMode::Skipped), "worker");
        settings.set_mode(CheckMode::Enabled, &[]);
        assert_eq!(settings, CheckSettings::default());
        assert_eq!(settings.list(CheckMode::Disabled), "none");
        settings.set_mode(CheckMode::Enabled, &[process("web")]);
        assert!(settings.processes.is_empty(), "what is as everywhere is not kept");
    }

    #[test]
    fn properties_are_read_back_as_they_were_typed() {
        let mut settings = CheckSettings::default();
        for (name, given) in
            [("wait-to-retire", "0"), ("attempts", "7"), ("timeout", "9"), ("path", "/up?a=b")]
        {
            let property = CheckProperty::named(name).unwrap();
            settings.set(property, given).unwrap();
            assert_eq!(settings.shown(property), given);
        }
        assert_eq!(settings.wait_to_retire(), Some(Duration::ZERO));
        settings.set(CheckProperty::WaitToRetire, "").unwrap();
        assert_eq!(settings.wait_to_retire(), None);
        for (property, bad) in [
            (CheckProperty::WaitToRetire, "-1"),
            (CheckProperty::WaitToRetire, "99999999999"),
            (CheckProperty::Attempts, "0"),
            (CheckProperty::Wait, "soon"),
            (CheckProperty::Path, "up"),
            (CheckProperty::Path, "/a b"),
            (CheckProperty::Path, "/a\r\nHost: x"),
        ] {
            assert!(settings.set(property, bad).is_err(), "{property:?} {bad:?}");
        }
        assert!(CheckProperty::named("colour").is_err());
    }

    #[test]
    fn what_the_operator_sets_wins_over_what_the_app_says() {
        let mut settings = CheckSettings::default();
        settings.set(CheckProperty::Attempts, "9").unwrap();
        settings.set(CheckProperty::Path, "/up").unwrap();
        let listening = HealthCheck { probe: Probe::Listening, ..get("/") };
        let checks = settings.checks(&process("web"), &[get("/old"), listening.clone()]);
        assert_eq!(checks.len(), 2);
        assert!(checks.iter().all(|check| check.attempts == 9));
        assert_eq!((&checks[0].probe, checks[1].name.as_str()), (&Probe::Listening, "GET /up"));
        assert_eq!(settings.checks(&process("worker"), &[listening]).len(), 1);
        settings.set_mode(CheckMode::Skipped, &[]);
        assert!(settings.checks(&process("web"), &[get("/old")]).is_empty());
    }
}
