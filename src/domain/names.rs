//! Names and ids that become file names, host labels and arguments, so each is checked where it enters.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A value from outside that was refused: what it was meant to be, and why it is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {given:?} is not valid: {why}")]
pub struct Invalid {
    /// What was being parsed, as a person would say it: `app name`.
    pub what: &'static str,
    /// What was given, cut to [`Invalid::GIVEN_CHARS_MAX`] characters.
    pub given: String,
    /// The rule that it breaks.
    pub why: String,
}

impl Invalid {
    /// Longer input is cut before it is repeated to anybody.
    pub const GIVEN_CHARS_MAX: usize = 80;

    /// Records a refusal, keeping only the head of a long value.
    pub fn new(what: &'static str, given: &str, why: impl Into<String>) -> Self {
        let mut head: String = given.chars().take(Self::GIVEN_CHARS_MAX).collect();
        if head.len() < given.len() {
            head.push('…');
        }
        Self { what, given: head, why: why.into() }
    }
}

/// Makes a string newtype that parses by a rule, prints as it was written, and is serialised as a string.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schema(value_type = String)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(given: &str) -> Result<Self, Invalid> {
                let rule: fn(&str) -> Result<(), String> = $rule;
                rule(given).map_err(|why| Invalid::new($what, given, why))?;
                Ok(Self(given.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;

            fn try_from(given: String) -> Result<Self, Invalid> {
                given.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type!(
    /// The name of an app: `[a-z0-9][a-z0-9-]{0,62}`, so that it is a DNS label, a file name and a safe
    /// argument at once. Names that the platform itself answers under are reserved.
    AppName,
    "app name",
    app_name_rule
);

name_type!(
    /// A line of the Procfile: `web`, `worker`, `release`; `[A-Za-z0-9][A-Za-z0-9_-]{0,62}`.
    ProcessType,
    "process type",
    process_type_rule
);

name_type!(
    /// A deployment: a UUID version 7 in hexadecimal with dashes, so that ids sort by their time.
    DeploymentId,
    "deployment id",
    |given| id_rule(given, 36)
);

name_type!(
    /// An instance: `APP.PROCESS.INDEX.RANDOM`, a file name that a person can read in `ps`.
    InstanceId,
    "instance id",
    instance_id_rule
);

name_type!(
    /// A user: a UUID in hexadecimal with dashes.
    UserId,
    "user id",
    |given| id_rule(given, 36)
);

name_type!(
    /// A login that lasts: a UUID in hexadecimal with dashes.
    SessionId,
    "session id",
    |given| id_rule(given, 36)
);

name_type!(
    /// An API key, an invitation or a link in a mail: a UUID in hexadecimal with dashes.
    TokenId,
    "token id",
    |given| id_rule(given, 36)
);

/// Names that would collide with the platform's own hosts or with device names of some systems.
const RESERVED: [&str; 8] = ["admin", "api", "autostack", "con", "dashboard", "health", "localhost", "www"];

fn app_name_rule(given: &str) -> Result<(), String> {
    let shape = "use a-z, 0-9 and -, start with a letter or digit, 63 characters at most";
    let starts = given.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let rest = given.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !starts || !rest || given.len() > 63 {
        return Err(shape.into());
    }
    if RESERVED.contains(&given) {
        return Err(format!("{given} is reserved for the platform; choose another name"));
    }
    Ok(())
}

fn process_type_rule(given: &str) -> Result<(), String> {
    let starts = given.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    let rest = given.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if starts && rest && given.len() <= 63 {
        Ok(())
    } else {
        Err("use letters, digits, - and _, start with a letter or digit, 63 characters at most".into())
    }
}

fn id_rule(given: &str, length: usize) -> Result<(), String> {
    let fits = given.len() == length && given.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    if fits { Ok(()) } else { Err(format!("expected {length} characters of 0-9, a-f and -")) }
}

fn instance_id_rule(given: &str) -> Result<(), String> {
    let mut parts = given.split('.');
    let fits = (|| {
        app_name_rule(parts.next()?).ok()?;
        process_type_rule(parts.next()?).ok()?;
        parts.next()?.parse::<u32>().ok()?;
        let random = parts.next()?;
        (random.len() == 8 && random.bytes().all(|b| b.is_ascii_hexdigit()) && parts.next().is_none())
            .then_some(())
    })();
    fits.ok_or_else(|| "expected APP.PROCESS.INDEX.RANDOM".into())
}

impl ProcessType {
    /// The process type that visitors' requests go to.
    pub const WEB: &'static str = "web";
    /// The process type that runs once, before the new release starts.
    pub const RELEASE: &'static str = "release";

    /// What one-offs run as. A line of the Procfile that is called so is never part of the formation; it can be run.
    pub const RUN: &'static str = "run";

    /// `web`.
    pub fn web() -> Self {
        Self(Self::WEB.into())
    }

    /// Whether requests are routed to it.
    pub fn is_web(&self) -> bool {
        self.0 == Self::WEB
    }

    /// Whether it runs once at each deployment and is never part of the formation.
    pub fn is_release(&self) -> bool {
        self.0 == Self::RELEASE
    }

    /// `run`.
    pub fn run() -> Self {
        Self(Self::RUN.into())
    }

    /// Whether it is what one-offs run as.
    pub fn is_run(&self) -> bool {
        self.0 == Self::RUN
    }

    /// Whether it can be part of the formation.
    pub fn is_long_running(&self) -> bool {
        !self.is_release() && !self.is_run()
    }
}

impl InstanceId {
    /// Puts an id together; `random` tells apart the copies that a slot has had over time.
    pub fn compose(app: &AppName, process: &ProcessType, index: u32, random: u32) -> Self {
        Self(format!("{app}.{process}.{index}.{random:08x}"))
    }
}

/// The number of a release within its app, counted from 1 and shown as `v1`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct ReleaseNumber(pub u32);

impl fmt::Display for ReleaseNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl FromStr for ReleaseNumber {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let digits = given.strip_prefix('v').unwrap_or(given);
        match digits.parse() {
            Ok(number) if number > 0 && digits.bytes().all(|b| b.is_ascii_digit()) => Ok(Self(number)),
            _ => Err(Invalid::new("release", given, "expected v1, v2 and so on")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_names_of_the_contract_are_accepted() {
        for name in ["a", "0", "shop", "my-app-2", "a-", &"x".repeat(63)] {
            assert_eq!(name.parse::<AppName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn a1_hostile_app_names_are_refused() {
        let long = "x".repeat(64);
        let hostile = [
            "", "-a", ".", "..", "../x", "a;id", "$(id)", "`id`", "a/b", "A", "a b", "a\0b", "a\nb", "a%2eb",
            "ä", "а", "~", "con", "api", "admin", &long,
        ];
        for name in hostile {
            assert!(name.parse::<AppName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_refusal_repeats_only_the_head_of_a_long_name() {
        let refused = "y;".repeat(5000).parse::<AppName>().unwrap_err();
        assert!(refused.to_string().len() < 300);
    }

    #[test]
    fn instance_ids_read_back() {
        let id = InstanceId::compose(&"shop".parse().unwrap(), &ProcessType::web(), 1, 0xbeef);
        assert_eq!(id.as_str(), "shop.web.1.0000beef");
        assert_eq!(id.as_str().parse::<InstanceId>().unwrap(), id);
        assert!("shop.web.1".parse::<InstanceId>().is_err());
    }

    #[test]
    fn release_numbers_read_with_and_without_v() {
        assert_eq!("v3".parse::<ReleaseNumber>().unwrap(), ReleaseNumber(3));
        assert_eq!("3".parse::<ReleaseNumber>().unwrap(), ReleaseNumber(3));
        for bad in ["", "v", "v0", "0", "-1", "+1", "vv1"] {
            assert!(bad.parse::<ReleaseNumber>().is_err(), "{bad:?}");
        }
    }
}
