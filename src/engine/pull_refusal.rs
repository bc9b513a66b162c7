//! [`PullRefusal`]: the reasons why an image cannot be pulled, told apart by the engine's words.

use std::fmt;

/// Why an image cannot be pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullRefusal {
    /// The registry has no such image, or no such tag.
    NotFound,
    /// The registry wants a login, or refuses the one that was given. Some registries say the same of an image
    /// that does not exist.
    Denied,
    /// The registry counts pulls, and there were too many.
    RateLimited,
    /// The registry's name cannot be looked up.
    UnknownHost,
    /// The registry cannot be connected to, or does not answer.
    Unreachable,
    /// The registry speaks plain HTTP, or its certificate is not trusted.
    NotTrusted,
    /// The image exists, but not for the processor and system of the engine.
    WrongPlatform,
    /// Another reason; the evidence says it.
    Other,
}

impl PullRefusal {
    /// Tells the reason from what Docker, containerd or Podman say; the more special words first.
    pub(crate) fn of(message: &str) -> Self {
        let message = message.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        // As a word of its own: a port or a digest may have the same digits.
        let has_status = |status: &str| {
            message.split_whitespace().any(|word| word.trim_matches(|c: char| !c.is_alphanumeric()) == status)
        };
        if says(&["toomanyrequests", "too many requests", "rate limit"]) {
            PullRefusal::RateLimited
        } else if says(&[
            "no matching manifest",
            "no match for platform",
            "does not match the specified platform",
        ]) || says(&[
            "no image found in manifest list for architecture",
            "no image found in image index for",
        ]) {
            PullRefusal::WrongPlatform
        } else if says(&["no such host", "server misbehaving", "name resolution"]) {
            PullRefusal::UnknownHost
        } else if says(&["x509:", "server gave http response to https client", "tls: ", "certificate"]) {
            PullRefusal::NotTrusted
        } else if says(&["manifest unknown", "manifest for ", "name unknown", "repository name not known"])
            || says(&["not found: does not exist", "404 (not found)"])
        {
            PullRefusal::NotFound
        } else if says(&["denied", "unauthorized", "authentication required", "no basic auth credentials"])
            || says(&["incorrect username or password", "invalid username/password"])
            || has_status("401")
            || has_status("403")
        {
            PullRefusal::Denied
        } else if says(&["not found", "does not exist"]) {
            PullRefusal::NotFound
        } else if says(&[
            "connection refused",
            "connection reset",
            "timeout",
            "timed out",
            "no route to host",
        ]) || says(&[
            "network is unreachable",
            "deadline exceeded",
            "unexpected eof",
            "request canceled",
        ]) || says(&["bad gateway", "service unavailable", ": eof"])
        {
            PullRefusal::Unreachable
        } else {
            PullRefusal::Other
        }
    }

    /// What to try next.
    pub(crate) fn hint(self, reference: &str) -> String {
        let registry = reference.split_once('/').map(|(first, _)| first);
        let registry = registry
            .filter(|first| first.contains(['.', ':']) || *first == "localhost")
            .unwrap_or("docker.io");
        match self {
            PullRefusal::NotFound => format!("check name and tag of {reference}"),
            PullRefusal::Denied => {
                format!("check the name, and log in to {registry} with a user that may pull it")
            }
            PullRefusal::RateLimited => format!("wait a while, or log in to {registry}"),
            PullRefusal::UnknownHost => {
                format!("check the name of the registry, {registry}, and the DNS of the engine's host")
            }
            PullRefusal::Unreachable => {
                format!("check that {registry} is up and that the engine's host can connect to it")
            }
            PullRefusal::NotTrusted => format!(
                "give the engine the certificate of {registry} (/etc/docker/certs.d/{registry}/ca.crt), or list it in \
                 its insecure-registries"
            ),
            PullRefusal::WrongPlatform => {
                format!("build {reference} for the platform of this host, or for several")
            }
            PullRefusal::Other => format!("try `docker pull {reference}` on the host"),
        }
    }
}

impl fmt::Display for PullRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PullRefusal::NotFound => "the registry does not have it",
            PullRefusal::Denied => "the registry denies access to it",
            PullRefusal::RateLimited => "the registry's limit of pulls is reached",
            PullRefusal::UnknownHost => "the registry's name cannot be looked up",
            PullRefusal::Unreachable => "the registry does not answer",
            PullRefusal::NotTrusted => "the engine does not trust the registry's connection",
            PullRefusal::WrongPlatform => "it is not made for the platform of this host",
            PullRefusal::Other => "the engine refused",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_engines_are_told_apart() {
        let said = [
            (
                "manifest for 127.0.0.1:5000/a:b not found: manifest unknown: manifest unknown",
                PullRefusal::NotFound,
            ),
            (
                "failed to resolve reference \"docker.io/library/x:y\": docker.io/library/x:y: not found",
                PullRefusal::NotFound,
            ),
            (
                "reading manifest b in localhost:5000/a: name unknown: repository name not known to registry",
                PullRefusal::NotFound,
            ),
            (
                "pull access denied for nosuch, repository does not exist or may require 'docker login': denied: \
                 requested access to the resource is denied",
                PullRefusal::Denied,
            ),
            (
                "failed to resolve reference \"127.0.0.1:34033/x:1\": 127.0.0.1:34033/x:1: not found",
                PullRefusal::NotFound,
            ),
            (
                "unexpected status from HEAD request to https://r.example/v2/a/manifests/b: 403 Forbidden",
                PullRefusal::Denied,
            ),
            (
                "Get \"http://127.0.0.1:5000/v2/a/manifests/b\": no basic auth credentials",
                PullRefusal::Denied,
            ),
            ("unauthorized: incorrect username or password", PullRefusal::Denied),
            ("unable to retrieve auth token: invalid username/password: unauthorized", PullRefusal::Denied),
            (
                "toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating",
                PullRefusal::RateLimited,
            ),
            (
                "Get \"https://r.example/v2/\": dial tcp: lookup r.example on 10.0.0.1:53: no such host",
                PullRefusal::UnknownHost,
            ),
            (
                "Get \"https://r.example/v2/\": dial tcp: lookup r.example: Temporary failure in name resolution",
                PullRefusal::UnknownHost,
            ),
            (
                "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
                PullRefusal::Unreachable,
            ),
            (
                "Get \"https://10.0.0.1/v2/\": net/http: request canceled while waiting for connection (Client.Timeout \
                 exceeded while awaiting headers)",
                PullRefusal::Unreachable,
            ),
            ("http: server gave HTTP response to HTTPS client", PullRefusal::NotTrusted),
            ("x509: certificate signed by unknown authority", PullRefusal::NotTrusted),
            ("no matching manifest for linux/amd64 in the manifest list entries", PullRefusal::WrongPlatform),
            (
                "no image found in manifest list for architecture amd64, variant \"\", OS linux",
                PullRefusal::WrongPlatform,
            ),
            ("filesystem layer verification failed for digest sha256:12", PullRefusal::Other),
        ];
        for (message, expected) in said {
            assert_eq!(PullRefusal::of(message), expected, "{message}");
        }
    }

    #[test]
    fn hints_name_the_registry() {
        assert!(PullRefusal::Denied.hint("team/app").contains("docker.io"));
        assert!(PullRefusal::Denied.hint("r.example.com:5000/app").contains("r.example.com:5000"));
    }
}
