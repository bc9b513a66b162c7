//! Where visitors reach an app: a host, or every host below one, and how the path begins.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{limits, names::Invalid, route::Host};

/// One host, or, written `*.example.com`, every host below one, however deep.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern {
    host: Host,
    is_wildcard: bool,
}

impl HostPattern {
    /// The host itself, or the one that those meant are below of.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Whether every host below is meant.
    pub fn is_wildcard(&self) -> bool {
        self.is_wildcard
    }

    /// Whether a request for `host` is meant.
    pub fn matches(&self, host: &Host) -> bool {
        if self.is_wildcard { host.is_below(&self.host) } else { *host == self.host }
    }

    /// Whether one of the two names the other or lies below it: then they are one domain's, and only who may
    /// operate both apps may give them to two.
    pub fn touches(&self, other: &HostPattern) -> bool {
        self.host == other.host || self.host.is_below(&other.host) || other.host.is_below(&self.host)
    }
}

impl From<Host> for HostPattern {
    fn from(host: Host) -> Self {
        Self { host, is_wildcard: false }
    }
}

impl FromStr for HostPattern {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let (name, is_wildcard) = given.strip_prefix("*.").map_or((given, false), |name| (name, true));
        let refuse = |why: &str| Err(Invalid::new("domain", given, why));
        let host: Host = match name.parse() {
            Ok(host) => host,
            Err(_) => return refuse("expected a host name such as www.example.com or *.example.com"),
        };
        if is_wildcard && !name.contains('.') {
            return refuse("a wildcard stands below a domain of its own, such as *.example.com");
        }
        Ok(Self { host, is_wildcard })
    }
}

impl TryFrom<String> for HostPattern {
    type Error = Invalid;

    fn try_from(given: String) -> Result<Self, Invalid> {
        given.parse()
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> String {
        pattern.to_string()
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.is_wildcard { "*." } else { "" };
        write!(f, "{star}{}", self.host)
    }
}

/// How a path begins: `/` for all of them, or whole parts such as `/api` or `/api/v2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathPrefix(String);

impl PathPrefix {
    /// Every path.
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// Whether every path is meant.
    pub fn is_root(&self) -> bool {
        self.0 == "/"
    }

    /// The prefix as text, with `/` at its begin and none at its end, but for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is left of a path behind the prefix, from a `/` on; `None` for a path that does not begin with it. `/api`
    /// is the begin of `/api` and of `/api/x`, not of `/apix`.
    pub fn rest_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        if self.is_root() {
            return Some(path);
        }
        let rest = path.strip_prefix(self.as_str())?;
        match rest.as_bytes().first() {
            None => Some("/"),
            Some(b'/') => Some(rest),
            Some(_) => None,
        }
    }
}

impl FromStr for PathPrefix {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let refuse = |why: &str| Err(Invalid::new("path", given, why));
        if given == "/" {
            return Ok(Self::root());
        }
        if given.len() > limits::PATH_PREFIX_BYTES_MAX {
            return refuse("it is too long");
        }
        let Some(parts) = given.strip_prefix('/') else { return refuse("it begins with /") };
        let parts = parts.strip_suffix('/').unwrap_or(parts);
        let fits = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&b))
        };
        if parts.split('/').all(fits) {
            Ok(Self(format!("/{parts}")))
        } else {
            refuse("expected whole parts such as /api or /api/v2, without . and ..")
        }
    }
}

impl TryFrom<String> for PathPrefix {
    type Error = Invalid;

    fn try_from(given: String) -> Result<Self, Invalid> {
        given.parse()
    }
}

impl From<PathPrefix> for String {
    fn from(prefix: PathPrefix) -> String {
        prefix.0
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One address of an app, as people write it: `shop.example.com`, `*.example.com`, `example.com/api`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address {
    /// Which hosts.
    pub host: HostPattern,
    /// Which paths.
    pub prefix: PathPrefix,
    /// Whether the app gets paths without the prefix; `X-Forwarded-Prefix` tells it what was taken off.
    #[serde(default)]
    pub strip_prefix: bool,
}

impl Address {
    /// Whether both name the same hosts and paths.
    pub fn is_same_place(&self, other: &Address) -> bool {
        self.host == other.host && self.prefix == other.prefix
    }
}

impl From<HostPattern> for Address {
    fn from(host: HostPattern) -> Self {
        Self { host, prefix: PathPrefix::root(), strip_prefix: false }
    }
}

impl From<Host> for Address {
    fn from(host: Host) -> Self {
        HostPattern::from(host).into()
    }
}

impl FromStr for Address {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        if given.contains("://") {
            return Err(Invalid::new("domain", given, "leave http:// and https:// away"));
        }
        let at = given.find('/').unwrap_or(given.len());
        let (host, path) = given.split_at(at);
        let prefix = if path.is_empty() { PathPrefix::root() } else { path.parse()? };
        Ok(Self { host: host.parse()?, prefix, strip_prefix: false })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.prefix.is_root() { "" } else { self.prefix.as_str() };
        write!(f, "{}{prefix}", self.host)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> HostPattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_wildcard_is_every_host_below_and_not_the_host_itself() {
        let host = |text: &str| text.parse::<Host>().unwrap();
        assert!(pattern("*.example.com").matches(&host("a.example.com")));
        assert!(pattern("*.example.com").matches(&host("b.a.example.com")));
        assert!(!pattern("*.example.com").matches(&host("example.com")));
        assert!(!pattern("*.example.com").matches(&host("notexample.com")));
        assert!(pattern("example.com").matches(&host("example.com")));
        assert!(!pattern("example.com").matches(&host("a.example.com")));
    }

    #[test]
    fn d3_domains_that_lie_in_one_another_touch() {
        for (one, other) in [
            ("example.com", "example.com"),
            ("*.example.com", "example.com"),
            ("*.example.com", "shop.example.com"),
            ("shop.example.com", "example.com"),
            ("*.a.example.com", "*.example.com"),
        ] {
            assert!(
                pattern(one).touches(&pattern(other)) && pattern(other).touches(&pattern(one)),
                "{one} {other}"
            );
        }
        for (one, other) in [("a.example.com", "b.example.com"), ("example.com", "notexample.com")] {
            assert!(!pattern(one).touches(&pattern(other)), "{one} {other}");
        }
    }

    #[test]
    fn a_prefix_is_whole_parts_of_a_path() {
        let prefix: PathPrefix = "/api/".parse().unwrap();
        assert_eq!(prefix.as_str(), "/api");
        assert_eq!(prefix.rest_of("/api"), Some("/"));
        assert_eq!(prefix.rest_of("/api/"), Some("/"));
        assert_eq!(prefix.rest_of("/api/v1"), Some("/v1"));
        assert_eq!(prefix.rest_of("/apix"), None);
        assert_eq!(prefix.rest_of("/"), None);
        assert_eq!(PathPrefix::root().rest_of("/x"), Some("/x"));
    }

    #[test]
    fn addresses_are_written_as_people_write_them() {
        for text in ["example.com", "*.example.com", "example.com/api", "a.example.com/api/v2"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("Example.COM/".parse::<Address>().unwrap().to_string(), "example.com");
        for bad in [
            "",
            "*",
            "*.",
            "*.com",
            "a.*.com",
            "http://example.com",
            "example.com:80",
            "example.com/../x",
            "example.com//x",
            "example.com/a b",
            "example.com/%2e",
            "example.com/?x",
            "$(id).com",
            "a\n.com",
            "exa mple.com",
            "example.com/\u{1b}",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad:?}");
        }
        assert!(format!("example.com/{}", "x".repeat(300)).parse::<Address>().is_err());
    }

    proptest! {
        #[test]
        fn what_was_parsed_is_parsed_again(text in ".{0,40}", plain in "(\\*\\.)?[a-z]{1,8}(\\.[a-z]{1,8}){1,3}(/[a-z.]{1,5}){0,3}") {
            for given in [text, plain] {
                if let Ok(address) = given.parse::<Address>() {
                    prop_assert_eq!(address.to_string().parse::<Address>().unwrap(), address.clone());
                    let stored = serde_json::to_string(&address).unwrap();
                    prop_assert_eq!(serde_json::from_str::<Address>(&stored).unwrap(), address);
                }
            }
        }
    }
}
