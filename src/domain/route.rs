//! Host names, and what stands behind them.

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    address::Address,
    names::{AppName, Invalid},
    traffic::Rules,
};

/// A host name in lower case without a port: letters, digits, `-` and `.`, 253 bytes at most (RFC 1123).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Host(String);

impl Host {
    /// Where an app is reached without a domain of its own: `APP.DOMAIN`.
    pub fn of_app(app: &AppName, domain: &Host) -> Host {
        Host(format!("{app}.{domain}"))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a name below `above`, however deep.
    pub fn is_below(&self, above: &Host) -> bool {
        self.0.strip_suffix(&above.0).is_some_and(|labels| labels.ends_with('.'))
    }
}

impl FromStr for Host {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let lower = given.to_ascii_lowercase();
        let label_fits = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if lower.len() <= 253 && lower.split('.').all(label_fits) {
            Ok(Self(lower))
        } else {
            Err(Invalid::new("host name", given, "use labels of a-z, 0-9 and - separated by dots"))
        }
    }
}

impl TryFrom<String> for Host {
    type Error = Invalid;

    fn try_from(given: String) -> Result<Self, Invalid> {
        given.parse()
    }
}

impl From<Host> for String {
    fn from(host: Host) -> String {
        host.0
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Host {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What answers for an app's hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Instances that have passed their checks; an empty list means that none has yet.
    Endpoints(Vec<SocketAddr>),
    /// Instances that do not serve HTTP but are invoked with events (AWS Lambda's runtime interface emulator); an
    /// empty list means that none is ready yet.
    Lambda(Vec<SocketAddr>),
    /// A folder of files.
    Static {
        /// The folder, absolute.
        root: PathBuf,
        /// The page for a path that is not there, inside `root`.
        not_found: Option<String>,
        /// Whether every path that is not a file gets `index.html`.
        single_page: bool,
    },
}

/// All addresses of one app and what answers for them; published and withdrawn as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppRoute {
    /// The app.
    pub app: AppName,
    /// Where it is reached, hosts that are only sent on from included.
    pub addresses: Vec<Address>,
    /// What answers.
    pub target: Target,
    /// What endpoints are called in the access log: `web.1`.
    pub dynos: BTreeMap<SocketAddr, String>,
    /// What happens before the app is asked.
    pub rules: Rules,
}

impl AppRoute {
    /// A route without rules.
    pub fn new(app: AppName, addresses: Vec<Address>, target: Target) -> Self {
        Self { app, addresses, target, dynos: BTreeMap::new(), rules: Rules::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_lower_case_labels() {
        assert_eq!("Shop.Example.COM".parse::<Host>().unwrap().as_str(), "shop.example.com");
        let of_app = Host::of_app(&"shop".parse().unwrap(), &"localhost".parse().unwrap());
        assert_eq!(of_app.as_str(), "shop.localhost");
    }

    #[test]
    fn d3_hosts_with_more_than_labels_are_refused() {
        for bad in
            ["", ".", "a..b", "a/b", "a@b", "a b", "a:80", "-a", "a-", "a_b", "*.a", "ä.de", "a.", "a\n"]
        {
            assert!(bad.parse::<Host>().is_err(), "{bad:?}");
        }
    }
}
