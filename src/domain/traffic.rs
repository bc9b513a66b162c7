//! How visitors reach an app and by which rules: what an operator has set, and who may claim which host.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    address::{Address, HostPattern},
    limits,
    names::{AppName, Invalid},
    route::Host,
};

/// What an operator has set about the visitors of one app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Addresses beside `APP.DOMAIN`.
    pub own: Vec<Address>,
    /// Whether the app is reached at `APP.DOMAIN`, for each domain of the host.
    pub has_global: bool,
    /// Whether it is reached by name at all.
    pub domains_enabled: bool,
    /// Whether the proxy leads visitors to it.
    pub proxy_enabled: bool,
    /// What the proxy does before it asks the app.
    pub rules: Rules,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            own: Vec::new(),
            has_global: true,
            domains_enabled: true,
            proxy_enabled: true,
            rules: Rules::default(),
        }
    }
}

/// What the proxy does with a request before it asks the app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rules {
    /// Whether visitors read that the app is being worked on.
    pub maintenance: bool,
    /// Hosts from which visitors are sent on; they are claimed like addresses.
    pub redirects: Vec<Redirect>,
    /// Who is let in; everybody where there is none. User → hash of the password, as [`PasswordHash`] has it.
    pub http_auth: BTreeMap<HttpUser, PasswordHash>,
}

impl Rules {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Rules::default()
    }

    /// Where visitors of `host` are sent on to: the rule for the very host, else the nearest wildcard. A rule that
    /// leads to the host itself sends nobody on.
    pub fn redirect_of(&self, host: &Host) -> Option<&Redirect> {
        let of_host = self.redirects.iter().filter(|redirect| redirect.from.matches(host));
        let nearest = of_host
            .max_by_key(|redirect| (!redirect.from.is_wildcard(), redirect.from.host().as_str().len()))?;
        (nearest.to.host != *host).then_some(nearest)
    }
}

impl Traffic {
    /// Everywhere that the app is reached, its own addresses first.
    pub fn addresses(&self, app: &AppName, global: &[Host]) -> Vec<Address> {
        if !self.domains_enabled || !self.proxy_enabled {
            return Vec::new();
        }
        let mut addresses = self.own.clone();
        if self.has_global {
            addresses.extend(global.iter().map(|domain| Address::from(Host::of_app(app, domain))));
        }
        addresses
    }

    /// Everywhere that the proxy answers for the app: its addresses and those that it sends on from.
    pub fn published(&self, app: &AppName, global: &[Host]) -> Vec<Address> {
        let mut published = self.addresses(app, global);
        if self.domains_enabled && self.proxy_enabled {
            for redirect in &self.rules.redirects {
                let address = Address::from(redirect.from.clone());
                if !published.iter().any(|known| known.is_same_place(&address)) {
                    published.push(address);
                }
            }
        }
        published
    }

    /// What nobody else may have, whether it is in use or not.
    pub fn claims(&self) -> impl Iterator<Item = Address> + '_ {
        let sources = self.rules.redirects.iter().map(|redirect| Address::from(redirect.from.clone()));
        self.own.iter().cloned().chain(sources)
    }

    /// Adds an address; one for the same hosts and paths is replaced. Whether it was new.
    ///
    /// # Errors
    /// One address too many.
    pub fn add(&mut self, app: &AppName, global: &[Host], address: Address) -> Result<bool, Invalid> {
        if global.iter().any(|domain| address == Address::from(Host::of_app(app, domain))) {
            return Ok(!std::mem::replace(&mut self.has_global, true));
        }
        if let Some(known) = self.own.iter_mut().find(|known| known.is_same_place(&address)) {
            let is_new = *known != address;
            *known = address;
            return Ok(is_new);
        }
        if self.own.len() >= limits::DOMAINS_PER_APP_MAX {
            let why = format!("an app has {} domains at most", limits::DOMAINS_PER_APP_MAX);
            return Err(Invalid::new("domain", &address.to_string(), why));
        }
        self.own.push(address);
        Ok(true)
    }

    /// Takes an address away. Whether it was there.
    pub fn remove(&mut self, app: &AppName, global: &[Host], address: &Address) -> bool {
        let count = self.own.len();
        self.own.retain(|known| !known.is_same_place(address));
        let is_global = global.iter().any(|domain| address.is_same_place(&Host::of_app(app, domain).into()));
        let had_global = is_global && std::mem::replace(&mut self.has_global, false);
        self.own.len() < count || had_global
    }
}

/// From one host to another, the path kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// Whose visitors are sent on.
    pub from: HostPattern,
    /// Where to.
    pub to: RedirectTarget,
    /// The status of the answer.
    pub code: RedirectCode,
}

/// Where a redirect leads: `example.com`, `example.com:8443`, `https://example.com`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RedirectTarget {
    /// `http` or `https`; the request's own where none is given.
    pub scheme: Option<String>,
    /// The host.
    pub host: Host,
    /// The port; the request's own where neither a port nor a scheme is given.
    pub port: Option<u16>,
}

impl FromStr for RedirectTarget {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let refuse = || {
            let why = "expected a host such as example.com, or https://example.com; the path of the request is kept";
            Invalid::new("redirect target", given, why)
        };
        let (scheme, rest) = match given.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (Some(scheme.to_owned()), rest),
            Some(_) => return Err(refuse()),
            None => (None, given),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.split_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
                (host, Some(port.parse().ok().filter(|port| *port > 0).ok_or_else(refuse)?))
            }
            Some(_) => return Err(refuse()),
            None => (rest, None),
        };
        Ok(Self { scheme, host: host.parse().map_err(|_| refuse())?, port })
    }
}

impl TryFrom<String> for RedirectTarget {
    type Error = Invalid;

    fn try_from(given: String) -> Result<Self, Invalid> {
        given.parse()
    }
}

impl From<RedirectTarget> for String {
    fn from(target: RedirectTarget) -> String {
        target.to_string()
    }
}

impl fmt::Display for RedirectTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = &self.scheme {
            write!(f, "{scheme}://")?;
        }
        write!(f, "{}", self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// The status of a redirect: 301, 302, 303, 307 or 308.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct RedirectCode(u16);

impl Default for RedirectCode {
    fn default() -> Self {
        Self(301)
    }
}

impl TryFrom<u16> for RedirectCode {
    type Error = Invalid;

    fn try_from(code: u16) -> Result<Self, Invalid> {
        if matches!(code, 301 | 302 | 303 | 307 | 308) {
            Ok(Self(code))
        } else {
            Err(Invalid::new("redirect code", &code.to_string(), "expected 301, 302, 303, 307 or 308"))
        }
    }
}

impl From<RedirectCode> for u16 {
    fn from(code: RedirectCode) -> u16 {
        code.0
    }
}

impl FromStr for RedirectCode {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let code: u16 = given
            .parse()
            .map_err(|_| Invalid::new("redirect code", given, "expected 301, 302, 303, 307 or 308"))?;
        code.try_into()
    }
}

impl fmt::Display for RedirectCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who may be asked for by HTTP authentication: no colon, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HttpUser(String);

impl HttpUser {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HttpUser {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let fits = (1..=limits::HTTP_USER_BYTES_MAX).contains(&given.len())
            && !given.contains(|c: char| c == ':' || c.is_control());
        if fits {
            Ok(Self(given.to_owned()))
        } else {
            let why = format!("1 to {} bytes without a colon", limits::HTTP_USER_BYTES_MAX);
            Err(Invalid::new("user name", given, why))
        }
    }
}

impl TryFrom<String> for HttpUser {
    type Error = Invalid;

    fn try_from(given: String) -> Result<Self, Invalid> {
        given.parse()
    }
}

impl From<HttpUser> for String {
    fn from(user: HttpUser) -> String {
        user.0
    }
}

impl std::borrow::Borrow<str> for HttpUser {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HttpUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The hash of a password with its parameters and salt (`$argon2id$…`). `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes what a hash function made.
    pub fn new(encoded: String) -> Self {
        Self(encoded)
    }

    /// The encoded form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// The hosts that are the platform's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostNames {
    /// Domains below which every app has a name.
    pub global: Vec<Host>,
    /// Where the API answers, if anywhere.
    pub api: Option<Host>,
}

impl HostNames {
    /// Why `app` cannot have an address there; `None` if it can as far as the platform is concerned. Below a domain of
    /// the platform each name belongs to the app of that name, whether there is one or not.
    pub fn refusal(&self, app: &AppName, claimed: &HostPattern) -> Option<String> {
        if let Some(api) = &self.api
            && (claimed.matches(api) || claimed.host() == api || claimed.host().is_below(api))
        {
            return Some(format!("{api} is the platform's own"));
        }
        self.global.iter().find_map(|domain| {
            if claimed.host() == domain || claimed.matches(domain) {
                return Some(format!("{domain} is the platform's own domain"));
            }
            let (above, _) = claimed
                .host()
                .as_str()
                .split_at_checked(claimed.host().as_str().len().checked_sub(domain.as_str().len() + 1)?)?;
            let owner = above.rsplit('.').next().unwrap_or(above);
            (claimed.host().is_below(domain) && owner != app.as_str())
                .then(|| format!("{owner}.{domain} belongs to the app {owner}"))
        })
    }
}

/// Whether the addresses that `app` wants are free. `others` are the claims of every other app, each with whether the
/// actor may operate that app: domains that touch may be shared only among apps of one hand.
///
/// # Errors
/// Why the first of them is not free.
pub fn check_free<'a>(
    wanted: &[Address],
    others: impl IntoIterator<Item = (&'a AppName, &'a Traffic, bool)>,
) -> Result<(), String> {
    for (other, traffic, is_ours) in others {
        for claim in traffic.claims() {
            for address in wanted {
                if is_ours && address.is_same_place(&claim) {
                    return Err(format!("{address} belongs to the app {other}"));
                }
                if !is_ours && address.host.touches(&claim.host) {
                    return Err(format!("{address} belongs to another app"));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
