//! Where code is fetched from: a URL of which every part is known to be what it seems, and which addresses its
//! host may have.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::{limits, names::Invalid};

/// How a host is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In clear, and only to a host that an admin has named.
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    /// As it stands in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// A host of a URL: a name in lower case, or an address in its one usual form. What a resolver would take for an
/// address (`0x7f.1`, `2130706433`) is neither.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RemoteHost {
    /// A name, to be resolved.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl FromStr for RemoteHost {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let refuse = || {
            let why =
                "expected a name such as git.example.com, or an address such as 192.0.2.1 or [2001:db8::1]";
            Invalid::new("host", given, why)
        };
        if let Some(inner) = given.strip_prefix('[') {
            let address: Ipv6Addr =
                inner.strip_suffix(']').and_then(|text| text.parse().ok()).ok_or_else(refuse)?;
            return Ok(Self::Address(address.into()));
        }
        if let Ok(address) = given.parse::<IpAddr>() {
            return Ok(Self::Address(address));
        }
        let name = given.to_ascii_lowercase();
        let label_fits = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        let last = name.rsplit('.').next().unwrap_or_default();
        // A last label that begins with a digit is an address to some resolvers.
        let is_name = name.len() <= 253
            && name.split('.').all(label_fits)
            && !last.starts_with(|c: char| c.is_ascii_digit());
        if is_name { Ok(Self::Name(name)) } else { Err(refuse()) }
    }
}

impl TryFrom<String> for RemoteHost {
    type Error = Invalid;

    fn try_from(given: String) -> Result<Self, Invalid> {
        given.parse()
    }
}

impl From<RemoteHost> for String {
    fn from(host: RemoteHost) -> String {
        host.to_string()
    }
}

impl fmt::Display for RemoteHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RemoteHost::Name(name) => f.write_str(name),
            RemoteHost::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            RemoteHost::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// `https://HOST[:PORT]/PATH`, or `http://` for the hosts of the operator's own network. No user and no password,
/// which would be read in logs; nothing that two parsers could read in two ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RemoteUrl {
    scheme: Scheme,
    host: RemoteHost,
    port: u16,
    /// Begins with a slash; with the query, if there is one.
    path: String,
}

impl RemoteUrl {
    /// How its host is spoken to.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Its host.
    pub fn host(&self) -> &RemoteHost {
        &self.host
    }

    /// Its port, also where it is the usual one.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Host and port, as a `Host` header has them.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The URL that `location` names when this one answers with it.
    pub fn join(&self, location: &str) -> Result<Self, Invalid> {
        if location.starts_with('/') && !location.starts_with("//") {
            return Ok(Self { path: check_path(location)?.to_owned(), ..self.clone() });
        }
        location.parse()
    }

    /// The same place with another path: the bare repository of `…/info/refs?service=…`.
    pub fn with_path(&self, path: &str) -> Result<Self, Invalid> {
        Ok(Self { path: check_path(path)?.to_owned(), ..self.clone() })
    }
}

fn check_path(path: &str) -> Result<&str, Invalid> {
    if path.bytes().all(|b| b.is_ascii_graphic() && !b"\\#\"<>`{}|^".contains(&b)) {
        Ok(path)
    } else {
        Err(Invalid::new("URL", path, "its path holds a character that must be written as %XX"))
    }
}

impl FromStr for RemoteUrl {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let refuse = |why: &str| Err(Invalid::new("URL", given, why));
        if given.len() > limits::REMOTE_URL_BYTES_MAX {
            return refuse("it is longer than 2048 bytes");
        }
        let Some((scheme, rest)) = given.split_once("://") else {
            return refuse("expected https://HOST/PATH");
        };
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => {
                return refuse("only https is spoken; for a repository that needs a login there is git:auth");
            }
        };
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return refuse(
                "leave name and password out of it: git:auth HOST NAME PASSWORD keeps them sealed",
            );
        }
        let (host, port) = split_port(authority);
        let port = match port {
            None => scheme.port(),
            Some(text) => match text.parse() {
                Ok(port) if port > 0 && text.bytes().all(|b| b.is_ascii_digit()) => port,
                _ => return refuse("its port is not a number from 1 to 65535"),
            },
        };
        let host = host.parse()?;
        let path = if path.is_empty() { "/" } else { path };
        if !path.starts_with('/') {
            return refuse("expected a path after the host");
        }
        Ok(Self { scheme, host, port, path: check_path(path)?.to_owned() })
    }
}

impl TryFrom<String> for RemoteUrl {
    type Error = Invalid;

    fn try_from(given: String) -> Result<Self, Invalid> {
        given.parse()
    }
}

impl From<RemoteUrl> for String {
    fn from(url: RemoteUrl) -> String {
        url.to_string()
    }
}

/// `[::1]:80` and `host:80`; a bare IPv6 address has no port.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let from = authority.find(']').unwrap_or(0);
    match authority[from..].find(':') {
        Some(at) => (&authority[..from + at], Some(&authority[from + at + 1..])),
        None => (authority, None),
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.as_str(), self.authority(), self.path)
    }
}

/// Whether an address is one of the public Internet: not of this host, not of its network, not one that only
/// leads to such (threat C12). What is not known to be public is not.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(inner) => is_public_v4(inner),
            None => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = match a {
        0 | 10 | 127 | 224.. => true,
        100 => (64..128).contains(&b),
        169 => b == 254,
        172 => (16..32).contains(&b),
        192 => matches!((b, c), (168, _) | (0, 0 | 2) | (88, 99)),
        198 => matches!((b, c), (18 | 19, _) | (51, 100)),
        203 => (b, c) == (0, 113),
        _ => false,
    };
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let is_global = a & 0xe000 == 0x2000;
    // Documentation, Teredo and other special blocks of 2001::/23, 6to4: each may carry an inner address.
    let is_special = (a == 0x2001 && (b < 0x200 || b == 0xdb8)) || a == 0x2002 || (a == 0x3fff && b < 0x1000);
    is_global && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_printed() {
        let cases = [
            ("https://github.com/a/b.git", "https://github.com/a/b.git"),
            ("HTTPS://GitHub.com", "https://github.com/"),
            ("https://a.test:443/x?y=1&z", "https://a.test/x?y=1&z"),
            ("https://a.test:8443/x", "https://a.test:8443/x"),
            ("http://127.0.0.1:3000/r", "http://127.0.0.1:3000/r"),
            ("http://[::1]:3000/r", "http://[::1]:3000/r"),
            ("https://[2001:db8::1]/r", "https://[2001:db8::1]/r"),
        ];
        for (given, printed) in cases {
            assert_eq!(given.parse::<RemoteUrl>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn c12_urls_that_mean_something_else_are_refused() {
        let hostile = [
            "",
            "github.com/a",
            "file:///etc",
            "ext::sh -c id",
            "ssh://-oProxyCommand=id/x",
            "git://a.test/x",
            "https://",
            "https:///x",
            "https://a@b/x",
            "https://a:b@c/x",
            "https://0x7f.1/x",
            "https://2130706433/",
            "https://127.1/",
            "https://0177.0.0.1/",
            "https://a.test:0/",
            "https://a.test:99999/",
            "https://a.test:+1/",
            "https://a.test\\@b/",
            "https://a test/",
            "https://a.test/ b",
            "https://a.test/\n",
            "https://-a.test/",
            "https://a..test/",
            "https://a.test./",
            "https://[::1/",
            "https://[fe80::1%25eth0]/",
            "https://é.test/",
            "https://a.test/#x",
            "https://a.test?x",
            "https://%31.test/",
            "-ohttps://a.test/",
        ];
        for url in hostile {
            assert!(url.parse::<RemoteUrl>().is_err(), "{url:?}");
        }
        let long = format!("https://a.test/{}", "x".repeat(limits::REMOTE_URL_BYTES_MAX));
        assert!(long.parse::<RemoteUrl>().is_err());
    }

    #[test]
    fn a_redirect_is_a_path_of_the_same_host_or_a_whole_url() {
        let url: RemoteUrl = "https://a.test:8443/x".parse().unwrap();
        assert_eq!(url.join("/y?z").unwrap().to_string(), "https://a.test:8443/y?z");
        assert_eq!(url.join("https://b.test/y").unwrap().to_string(), "https://b.test/y");
        for bad in ["//b.test/y", "y", "", "file:///etc", "/a b"] {
            assert!(url.join(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn c12_only_addresses_of_the_internet_are_public() {
        for private in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.0.1",
            "192.0.0.8",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "2001:db8::1",
            "2001::1",
            "2002:7f00:1::1",
            "3fff::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in [
            "1.1.1.1",
            "100.63.0.1",
            "172.32.0.1",
            "140.82.121.4",
            "2606:4700::1111",
            "2a01:4f8::1",
            "::ffff:1.1.1.1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }
}
