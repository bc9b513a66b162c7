//! A command that runs once, beside the formation, in an instance of its own: `run.3`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    cron::CronMark,
    names::{AppName, InstanceId, Invalid, ProcessType, ReleaseNumber},
    time::UnixMillis,
};

/// A one-off that has begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneOff {
    /// The app.
    pub app: AppName,
    /// Which of the app's it is; no two of an app ever have the same.
    pub number: OneOffNumber,
    /// Its instance.
    pub instance: InstanceId,
    /// The release whose artifact and config it has.
    pub release: ReleaseNumber,
    /// The command line; `None` for the command of the image.
    pub command: Option<String>,
    /// Who started it, as people see them.
    pub started_by: String,
    /// When.
    pub started_at: UnixMillis,
    /// Whether somebody talks to it: then it ends with its client and with the agent.
    pub is_attached: bool,
    /// The run of a cron task that it is, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<CronMark>,
}

/// Which one-off of an app: counted from 1 and shown as `run.1`, which is also its `DYNO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OneOffNumber(pub u32);

impl fmt::Display for OneOffNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", ProcessType::RUN, self.0)
    }
}

impl FromStr for OneOffNumber {
    type Err = Invalid;

    /// Reads `run.3`, `3` and, as Dokku shows it, `APP.run.3`.
    fn from_str(given: &str) -> Result<Self, Invalid> {
        let digits = match given.rsplit_once('.') {
            None => given,
            Some((ProcessType::RUN, digits)) => digits,
            Some((before, digits)) if before.ends_with(".run") => digits,
            Some(_) => "",
        };
        match digits.parse() {
            Ok(number) if number > 0 && digits.bytes().all(|b| b.is_ascii_digit()) => Ok(Self(number)),
            _ => Err(Invalid::new("one-off", given, "expected run.1, run.2 and so on")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_one_off_is_named_in_three_ways() {
        for name in ["run.3", "3", "shop.run.3"] {
            assert_eq!(name.parse::<OneOffNumber>().unwrap(), OneOffNumber(3), "{name}");
        }
        assert_eq!(OneOffNumber(3).to_string(), "run.3");
        for bad in ["", "run", "run.", "run.0", "0", "web.1", "run.x", "run.+1", "run.3.4", "../run.1/"] {
            assert!(bad.parse::<OneOffNumber>().is_err(), "{bad:?}");
        }
    }
}
