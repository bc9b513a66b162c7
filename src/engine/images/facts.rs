//! [`ImageFacts`]: what an engine knows of an image.

use std::{collections::BTreeMap, time::Duration};

use autostack_domain::image::{Digest, ImageReference};
use bollard::models::{HealthConfig, ImageInspect};

use crate::error::EngineError;

/// What the engine knows of an image that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// Its id in the engine.
    pub id: Digest,
    /// Names by manifest, `repository@sha256:…`, of the registries that it was pulled from or pushed to.
    pub repo_digests: Vec<String>,
    /// Names with a tag.
    pub tags: Vec<String>,
    /// TCP ports that it says it listens on (`EXPOSE`), in order.
    pub ports: Vec<u16>,
    /// `ENTRYPOINT`; empty for none.
    pub entrypoint: Vec<String>,
    /// `CMD`; empty for none.
    pub cmd: Vec<String>,
    /// `USER`; empty for root.
    pub user: String,
    /// `ENV`, each `NAME=VALUE`.
    pub env: Vec<String>,
    /// `WORKDIR`; empty for `/`.
    pub working_dir: String,
    /// `VOLUME`: folders that it wants outside of its own file system.
    pub volumes: Vec<String>,
    /// `STOPSIGNAL`; `None` for SIGTERM.
    pub stop_signal: Option<String>,
    /// `HEALTHCHECK`, where it has one.
    pub healthcheck: Option<ImageHealthcheck>,
    /// Operating system: `linux`.
    pub os: String,
    /// Processor, in the words of images: `amd64`.
    pub arch: String,
    /// Bytes of all its layers, those that it shares with others included.
    pub size_bytes: u64,
    /// `LABEL`.
    pub labels: BTreeMap<String, String>,
    /// The names that came to the engine with the very call that gives these facts, so that they are ours to
    /// take away again; empty where the image is only looked at.
    pub brought: Vec<String>,
}

/// A `HEALTHCHECK` of an image. A duration of zero means that the image leaves it to the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageHealthcheck {
    /// `["CMD", argument…]` or `["CMD-SHELL", command line]`.
    pub test: Vec<String>,
    /// Pause between two checks.
    pub interval: Duration,
    /// What one check may take.
    pub timeout: Duration,
    /// In which failures do not count yet.
    pub start_period: Duration,
    /// Failures in a row that make it unhealthy; zero leaves it to the engine.
    pub retries: u32,
}

impl ImageFacts {
    /// Reads the engine's answer.
    pub(super) fn of(image: ImageInspect) -> Result<Self, EngineError> {
        let unexpected =
            |evidence: String| EngineError::Unexpected { operation: "inspect the image", evidence };
        let id = image.id.unwrap_or_default();
        // Podman leaves the prefix away.
        let id = if id.contains(':') { id } else { format!("sha256:{id}") };
        let id = id.parse().map_err(|invalid: autostack_domain::Invalid| unexpected(invalid.to_string()))?;
        let config = image.config.unwrap_or_default();
        Ok(Self {
            id,
            repo_digests: image.repo_digests.unwrap_or_default(),
            tags: image.repo_tags.unwrap_or_default(),
            ports: tcp_ports(&config.exposed_ports.unwrap_or_default()),
            entrypoint: config.entrypoint.unwrap_or_default(),
            cmd: config.cmd.unwrap_or_default(),
            user: config.user.unwrap_or_default(),
            env: config.env.unwrap_or_default(),
            working_dir: config.working_dir.unwrap_or_default(),
            volumes: config.volumes.unwrap_or_default(),
            stop_signal: config.stop_signal.filter(|signal| !signal.is_empty()),
            healthcheck: config.healthcheck.and_then(healthcheck),
            os: image.os.unwrap_or_default(),
            arch: image.architecture.unwrap_or_default(),
            size_bytes: image.size.and_then(|bytes| bytes.try_into().ok()).unwrap_or_default(),
            labels: config.labels.unwrap_or_default().into_iter().collect(),
            brought: Vec::new(),
        })
    }

    /// The manifest by which the image of that name is pinned, whatever its tag says today.
    pub fn digest_for(&self, reference: &ImageReference) -> Option<Digest> {
        let wanted = full_name(reference);
        let names = self.repo_digests.iter().filter_map(|name| name.parse::<ImageReference>().ok());
        names.filter(|name| full_name(name) == wanted).find_map(|name| name.digest().cloned())
    }
}

/// Registry and path, with what Docker leaves away for its own.
fn full_name(reference: &ImageReference) -> (String, String) {
    let path = reference.path();
    let path = match reference.registry() {
        "docker.io" => path.strip_prefix("library/").unwrap_or(path),
        _ => path,
    };
    (reference.registry().to_owned(), path.to_owned())
}

fn tcp_ports(exposed: &[String]) -> Vec<u16> {
    let mut ports: Vec<u16> = exposed
        .iter()
        .filter_map(|port| match port.split_once('/') {
            Some((number, "tcp")) => number.parse().ok(),
            Some(_) => None,
            None => port.parse().ok(),
        })
        .filter(|port| *port != 0)
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn healthcheck(config: HealthConfig) -> Option<ImageHealthcheck> {
    let test = config.test.unwrap_or_default();
    if test.is_empty() || test.first().is_some_and(|word| word.is_empty() || word == "NONE") {
        return None;
    }
    let nanos =
        |nanos: Option<i64>| Duration::from_nanos(nanos.unwrap_or_default().try_into().unwrap_or_default());
    Some(ImageHealthcheck {
        test,
        interval: nanos(config.interval),
        timeout: nanos(config.timeout),
        start_period: nanos(config.start_period),
        retries: config.retries.unwrap_or_default().try_into().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use bollard::models::ImageConfig;

    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn image(config: ImageConfig) -> ImageFacts {
        let image = ImageInspect {
            id: Some(format!("sha256:{HEX}")),
            config: Some(config),
            ..ImageInspect::default()
        };
        ImageFacts::of(image).unwrap()
    }

    #[test]
    fn ports_are_tcp_and_in_order() {
        let exposed = ["8080/tcp", "53/udp", "80", "443/tcp", "0/tcp", "99999/tcp", "x"];
        let ports = exposed.map(str::to_owned).to_vec();
        let facts = image(ImageConfig { exposed_ports: Some(ports), ..ImageConfig::default() });
        assert_eq!(facts.ports, [80, 443, 8080]);
    }

    #[test]
    fn a_healthcheck_of_none_is_none() {
        let check = |test: &[&str]| {
            let test = Some(test.iter().map(|&word| word.to_owned()).collect());
            let config = HealthConfig { test, interval: Some(5_000_000_000), ..HealthConfig::default() };
            image(ImageConfig { healthcheck: Some(config), ..ImageConfig::default() }).healthcheck
        };
        assert_eq!(check(&["NONE"]), None);
        assert_eq!(check(&[]), None);
        assert_eq!(check(&["CMD", "/ok"]).unwrap().interval, Duration::from_secs(5));
    }

    #[test]
    fn the_digest_of_a_name_is_found_however_docker_writes_it() {
        let mut facts = image(ImageConfig::default());
        facts.repo_digests = vec![
            format!("127.0.0.1:5000/a@sha256:{}", HEX.replace('0', "1")),
            format!("busybox@sha256:{HEX}"),
        ];
        let of = |name: &str| facts.digest_for(&name.parse().unwrap()).map(|digest| digest.to_string());
        assert_eq!(of("docker.io/library/busybox:1.36"), Some(format!("sha256:{HEX}")));
        assert_eq!(of("127.0.0.1:5000/a"), Some(format!("sha256:{}", HEX.replace('0', "1"))));
        assert_eq!(of("127.0.0.1:5001/a"), None);
    }
}
