//! Images of containers: how people name them, and how they are pinned.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{limits, names::Invalid};

/// The registry of a name that says none.
const DEFAULT_REGISTRY: &str = "docker.io";
/// The tag of a name that says neither tag nor digest.
const DEFAULT_TAG: &str = "latest";
/// Bytes of a tag, as the distribution specification bounds it.
const TAG_BYTES_MAX: usize = 128;

/// `sha256:` and 64 hexadecimal digits: the id of an image in an engine, or of a manifest in a registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// The digest as text, `sha256:` in front.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 hexadecimal digits, as engines show them to people.
    pub fn short(&self) -> &str {
        &self.0["sha256:".len()..][..12]
    }
}

impl FromStr for Digest {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let is_hex =
            |hex: &str| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match given.strip_prefix("sha256:") {
            Some(hex) if is_hex(hex) => Ok(Self(given.to_owned())),
            _ => Err(Invalid::new("digest", given, "expected sha256: and 64 characters of 0-9 and a-f")),
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = Invalid;

    fn try_from(given: String) -> Result<Self, Invalid> {
        given.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of an image as a person writes it: `[registry/]repository[:tag][@sha256:…]`, by the grammar of the
/// distribution specification. Prints as it was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageReference {
    registry: Option<String>,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl ImageReference {
    /// The registry that holds it: a host name, perhaps with a port; `docker.io` where none is written.
    pub fn registry(&self) -> &str {
        self.registry.as_deref().unwrap_or(DEFAULT_REGISTRY)
    }

    /// The name for an engine, without tag and digest: `registry/path`.
    pub fn repository(&self) -> String {
        match &self.registry {
            Some(registry) => format!("{registry}/{}", self.path),
            None => self.path.clone(),
        }
    }

    /// The path within the registry, as it was written: `team/app`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag; `latest` where neither tag nor digest is written.
    pub fn tag(&self) -> Option<&str> {
        match (&self.tag, &self.digest) {
            (Some(tag), _) => Some(tag),
            (None, None) => Some(DEFAULT_TAG),
            (None, Some(_)) => None,
        }
    }

    /// The manifest that it is pinned to.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same name, pinned to a manifest; the tag stays for people to read.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }
}

impl FromStr for ImageReference {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let refused = |why: &str| Invalid::new("image", given, why);
        if given.len() > limits::IMAGE_REFERENCE_BYTES_MAX {
            return Err(refused(&format!("it is longer than {} bytes", limits::IMAGE_REFERENCE_BYTES_MAX)));
        }
        let (name, digest) = match given.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse::<Digest>()?)),
            None => (given, None),
        };
        let last_slash = name.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match name[last_slash..].split_once(':') {
            Some((_, tag)) => (&name[..name.len() - tag.len() - 1], Some(tag)),
            None => (name, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((first, rest)) if is_registry(first) => (Some(first), rest),
            _ => (None, name),
        };
        if !registry.is_none_or(is_host_and_port) {
            return Err(refused("the registry must be a host name, with a port or without"));
        }
        if !path.split('/').all(is_component) {
            return Err(refused(
                "a name is made of a-z, 0-9 and single . _ - between them, in parts separated by /",
            ));
        }
        if !tag.is_none_or(is_tag) {
            return Err(refused("a tag is made of letters, digits, _ . and -, 128 characters at most"));
        }
        Ok(Self {
            registry: registry.map(str::to_owned),
            path: path.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

/// The first part names a registry if it could not be the name of a user: engines decide so.
fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

fn is_host_and_port(registry: &str) -> bool {
    let (host, port) = registry.split_once(':').map_or((registry, None), |(host, port)| (host, Some(port)));
    let port_fits =
        port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok());
    port_fits && host.parse::<crate::Host>().is_ok()
}

/// `[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*`
fn is_component(part: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let separators_fit = || {
        part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|b| b == b'-'))
    };
    let ends_fit = |ends: Option<u8>| ends.is_some_and(is_plain);
    ends_fit(part.bytes().next()) && ends_fit(part.bytes().last()) && separators_fit()
}

fn is_tag(tag: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    (1..=TAG_BYTES_MAX).contains(&tag.len()) && tag.bytes().all(fits) && !tag.starts_with(['.', '-'])
}

/// The name of a base image, with or without a place for the version that an app asks for:
/// `node:{version}-bookworm-slim`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageTemplate(String);

impl ImageTemplate {
    /// Where the version goes.
    pub const VERSION: &str = "{version}";

    /// Whether an app's version has a place in it.
    pub fn takes_version(&self) -> bool {
        self.0.contains(Self::VERSION)
    }

    /// The image for a version.
    ///
    /// # Errors
    /// The version holds what no tag may hold.
    pub fn with_version(&self, version: &str) -> Result<ImageReference, Invalid> {
        self.0.replace(Self::VERSION, version).parse()
    }
}

impl FromStr for ImageTemplate {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let template = Self(given.to_owned());
        // Whatever version comes later, the rest of the name must be right.
        template.with_version("1").map(|_| template)
    }
}

impl fmt::Display for ImageTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ImageReference {
    type Error = Invalid;

    fn try_from(given: String) -> Result<Self, Invalid> {
        given.parse()
    }
}

impl From<ImageReference> for String {
    fn from(reference: ImageReference) -> String {
        reference.to_string()
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository())?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn names_are_taken_apart_as_engines_do() {
        let parts = |given: &str| {
            let image: ImageReference = given.parse().unwrap();
            assert_eq!(image.to_string(), given);
            (image.registry().to_owned(), image.path().to_owned(), image.tag().map(str::to_owned))
        };
        let latest = || Some("latest".to_owned());
        assert_eq!(parts("busybox"), ("docker.io".into(), "busybox".into(), latest()));
        assert_eq!(parts("team/app:1.2"), ("docker.io".into(), "team/app".into(), Some("1.2".into())));
        assert_eq!(parts("localhost/app"), ("localhost".into(), "app".into(), latest()));
        assert_eq!(parts("127.0.0.1:5000/a/b"), ("127.0.0.1:5000".into(), "a/b".into(), latest()));
        assert_eq!(parts(&format!("r.example.com/x@sha256:{HEX}")).2, None);
        assert_eq!(parts("a--b/c__d.e"), ("docker.io".into(), "a--b/c__d.e".into(), latest()));
    }

    #[test]
    fn a_pinned_name_keeps_its_tag() {
        let image: ImageReference = "r.example.com/x:1".parse().unwrap();
        let pinned = image.with_digest(format!("sha256:{HEX}").parse().unwrap());
        assert_eq!(pinned.to_string(), format!("r.example.com/x:1@sha256:{HEX}"));
        assert_eq!(pinned.repository(), "r.example.com/x");
    }

    #[test]
    fn a1_names_with_more_than_a_name_are_refused() {
        let long = "a".repeat(600);
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "A",
            "a b",
            "a;b",
            "$(id)",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a:",
            "a:-b",
            "a:b:c",
            "a@sha256:12",
            "a@b",
            "r.example.com:99999/a",
            "r.example.com:x/a",
            "../a",
            "a\n",
            "--all",
            "ä",
            &long,
        ] {
            assert!(bad.parse::<ImageReference>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_template_takes_the_version_that_an_app_asks_for() {
        let template: ImageTemplate = "r.example.com:5000/node:{version}-slim".parse().unwrap();
        assert!(template.takes_version());
        assert_eq!(template.with_version("22").unwrap().to_string(), "r.example.com:5000/node:22-slim");
        assert!(template.with_version("22 --x").is_err());
        assert!(!"node:22".parse::<ImageTemplate>().unwrap().takes_version());
        assert!("node:{versoin}".parse::<ImageTemplate>().is_err());
    }

    #[test]
    fn digests_are_sha256_and_hex() {
        let digest: Digest = format!("sha256:{HEX}").parse().unwrap();
        assert_eq!(digest.short(), "0123456789ab");
        for bad in [
            HEX.to_owned(),
            format!("sha512:{HEX}"),
            format!("sha256:{}", &HEX[1..]),
            format!("sha256:{}G", &HEX[1..]),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad:?}");
        }
    }
}
