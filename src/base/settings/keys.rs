//! Every key on one screen. `config/autostack.toml` documents each; a test holds the two together.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use autostack_domain::{EngineHost, Host, ImageTemplate, Secret, cron::TimeZoneName, resources::MilliCpus};

use super::{
    elsewhere::{BaseUrl, MailSecurity, Origin},
    values::{BackendChoice, BuilderChoice, EndpointChoice, Kind, PortRange, Signup},
};

/// When a changed value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// At the next start of the agent; until then the running value stays in the settings.
    Restart,
    /// At the next use.
    Live,
}

/// What is the same for keys of every kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyInfo {
    /// The name in the file: `ssh.listen`.
    pub name: &'static str,
    /// The value of a key that is not given, written as in the file without quotes.
    pub default: &'static str,
    /// What a value must be, for people.
    pub expected: &'static str,
    /// When a changed value counts.
    pub effect: Effect,
}

/// A key, and how its value is read.
pub(super) struct Key<T> {
    pub info: KeyInfo,
    pub kind: Kind<T>,
}

mod kinds {
    pub(super) use crate::settings::{elsewhere::*, values::*};
}

macro_rules! keys {
    ($($key:ident: $type:ty = $name:literal, $default:literal, $kind:ident, $effect:ident;)*) => {
        $(pub(super) const $key: Key<$type> = Key {
            info: KeyInfo {
                name: $name,
                default: $default,
                expected: kinds::$kind.expected,
                effect: Effect::$effect,
            },
            kind: kinds::$kind,
        };)*

        /// All of them, in the order of `config/autostack.toml`.
        pub(super) const ALL: &[KeyInfo] = &[$($key.info),*];
    };
}

keys! {
    // For a user other than root the default of data_dir is found at start: see `Sources`.
    DATA_DIR: PathBuf = "data_dir", "/var/lib/autostack", FOLDER, Restart;
    DOMAIN: Host = "domain", "localhost", HOST, Live;
    SSH_LISTEN: SocketAddr = "ssh.listen", "0.0.0.0:2222", ADDRESS, Restart;
    HTTP_LISTEN: SocketAddr = "http.listen", "0.0.0.0:8080", ADDRESS, Restart;
    HTTPS_LISTEN: () = "https.listen", "off", HTTPS_OFF, Restart;
    API_LISTEN: SocketAddr = "api.listen", "127.0.0.1:8000", ADDRESS, Restart;
    API_HOSTNAME: Option<Host> = "api.hostname", "off", HOST_OR_OFF, Restart;
    API_URL: Option<BaseUrl> = "api.url", "auto", URL_OR_AUTO, Live;
    API_CORS_ORIGINS: Vec<Origin> = "api.cors_origins", "off", ORIGINS_OR_OFF, Live;
    RUNTIME_BACKEND: BackendChoice = "runtime.backend", "auto", BACKEND, Restart;
    RUNTIME_PORT_RANGE: PortRange = "runtime.port_range", "30000-39999", PORT_RANGE, Restart;
    RUNTIME_MEMORY_BYTES_MAX: Option<u64> = "runtime.memory_bytes_max", "1GiB", SIZE_OR_OFF, Live;
    RUNTIME_CPUS_MAX: Option<MilliCpus> = "runtime.cpus_max", "off", CPUS_OR_OFF, Live;
    RUNTIME_PIDS_MAX: u32 = "runtime.pids_max", "1024", PIDS, Live;
    BUILD_TIMEOUT: Duration = "build.timeout", "1200s", DURATION, Live;
    BUILD_CONCURRENCY: usize = "build.concurrency", "1", CONCURRENCY, Restart;
    BUILD_MEMORY_BYTES_MAX: Option<u64> = "build.memory_bytes_max", "off", SIZE_OR_OFF, Live;
    BUILD_CPUS_MAX: Option<MilliCpus> = "build.cpus_max", "off", CPUS_OR_OFF, Live;
    DOCKER_HOST: Option<EngineHost> = "docker.host", "auto", ENGINE_HOST, Restart;
    DOCKER_BUILDER: BuilderChoice = "docker.builder", "auto", BUILDER, Live;
    DOCKER_ENDPOINTS: EndpointChoice = "docker.endpoints", "auto", ENDPOINTS, Restart;
    DOCKER_CACHE_BYTES_MAX: u64 = "docker.cache_bytes_max", "10GiB", SIZE, Live;
    IMAGES_NODE: ImageTemplate = "images.node", "node:{version}-bookworm-slim", IMAGE, Live;
    IMAGES_PYTHON: ImageTemplate = "images.python", "python:{version}-slim-bookworm", IMAGE, Live;
    IMAGES_GO: ImageTemplate = "images.go", "golang:{version}-bookworm", IMAGE, Live;
    IMAGES_RUST: ImageTemplate = "images.rust", "rust:{version}-slim-bookworm", IMAGE, Live;
    IMAGES_RUBY: ImageTemplate = "images.ruby", "ruby:{version}-bookworm", IMAGE, Live;
    IMAGES_PHP: ImageTemplate = "images.php", "php:{version}-cli-bookworm", IMAGE, Live;
    IMAGES_COMPOSER: ImageTemplate = "images.composer", "composer:2", IMAGE, Live;
    IMAGES_DENO: ImageTemplate = "images.deno", "denoland/deno:debian-{version}", IMAGE, Live;
    IMAGES_BUN: ImageTemplate = "images.bun", "oven/bun:{version}-debian", IMAGE, Live;
    IMAGES_JAVA: ImageTemplate = "images.java", "maven:3-eclipse-temurin-{version}", IMAGE, Live;
    IMAGES_RUN: ImageTemplate = "images.run", "debian:bookworm-slim", IMAGE, Live;
    DEPLOY_START_TIMEOUT: Duration = "deploy.start_timeout", "600s", DURATION, Live;
    DEPLOY_DRAIN_TIMEOUT: Duration = "deploy.drain_timeout", "30s", DURATION_OR_ZERO, Live;
    DEPLOY_STOP_TIMEOUT: Duration = "deploy.stop_timeout", "30s", DURATION_OR_ZERO, Live;
    GIT_PACK_BYTES_MAX: u64 = "git.pack_bytes_max", "512MiB", SIZE, Live;
    RELEASES_KEEP: usize = "releases.keep", "10", KEEP, Live;
    CRON_TIME_ZONE: Option<TimeZoneName> = "cron.time_zone", "host", TIME_ZONE, Live;
    CRON_RUN_TIMEOUT: Duration = "cron.run_timeout", "24h", DURATION, Live;
    LOGS_APP_BYTES_MAX: u64 = "logs.app_bytes_max", "64MiB", SIZE, Restart;
    LOGS_APP_AGE_MAX: Duration = "logs.app_age_max", "30d", DURATION, Restart;
    LOGS_BUILD_AGE_MAX: Duration = "logs.build_age_max", "90d", DURATION, Restart;
    AUTH_SIGNUP: Signup = "auth.signup", "closed", SIGNUP, Live;
    AUTH_ACCESS_TOKEN_TTL: Duration = "auth.access_token_ttl", "15m", DURATION, Live;
    AUTH_REFRESH_TOKEN_TTL: Duration = "auth.refresh_token_ttl", "7d", DURATION, Live;
    GITHUB_CLIENT_ID: Option<String> = "github.client_id", "off", TEXT_OR_OFF, Live;
    GITHUB_CLIENT_SECRET: Option<Secret<String>> = "github.client_secret", "off", SECRET_OR_OFF, Live;
    GITHUB_URL: BaseUrl = "github.url", "https://github.com", URL, Live;
    GITHUB_API_URL: BaseUrl = "github.api_url", "https://api.github.com", URL, Live;
    GOOGLE_CLIENT_ID: Option<String> = "google.client_id", "off", TEXT_OR_OFF, Live;
    GOOGLE_CLIENT_SECRET: Option<Secret<String>> = "google.client_secret", "off", SECRET_OR_OFF, Live;
    GOOGLE_ISSUER: BaseUrl = "google.issuer", "https://accounts.google.com", URL, Live;
    MAIL_HOST: Option<String> = "mail.host", "off", SERVER_OR_OFF, Live;
    MAIL_PORT: Option<u16> = "mail.port", "auto", PORT_OR_AUTO, Live;
    MAIL_SECURITY: MailSecurity = "mail.security", "starttls", MAIL_SECURITY, Live;
    MAIL_USERNAME: Option<String> = "mail.username", "off", TEXT_OR_OFF, Live;
    MAIL_PASSWORD: Option<Secret<String>> = "mail.password", "off", SECRET_OR_OFF, Live;
    MAIL_FROM: Option<String> = "mail.from", "auto", ADDRESS_OR_AUTO, Live;
}

/// Tables of features that this version does not have, and what people call them.
pub(super) const NOT_IN_THIS_VERSION: [(&str, &str); 2] =
    [("jenkins", "Jenkins"), ("acme", "certificates by ACME")];

/// The feature behind a key's table, where this version does not have it.
pub(super) fn missing_feature(key: &str) -> Option<&'static str> {
    let table = key.split('.').next()?;
    NOT_IN_THIS_VERSION.iter().find(|(name, _)| *name == table).map(|(_, feature)| *feature)
}

/// A key by its name.
pub(super) fn find(name: &str) -> Option<&'static KeyInfo> {
    ALL.iter().find(|key| key.name == name)
}

/// Whether `name` is a table that holds keys.
pub(super) fn is_table(name: &str) -> bool {
    ALL.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

/// The known key that a mistyped one most likely means; none where nothing is near.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    // Longer input cannot be near any key, and would cost time.
    if name.len() > 64 {
        return None;
    }
    let near = |key: &KeyInfo| (edit_distance(name, key.name), key.name);
    let (distance, key) = ALL.iter().map(near).min()?;
    (distance <= 2.max(name.len() / 4)).then_some(key)
}

/// Characters to insert, remove or replace to make `b` of `a` (Levenshtein).
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, from) in a.chars().enumerate() {
        let mut diagonal = line;
        row[0] = line + 1;
        for (column, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_key_and_nonsense_finds_none() {
        assert_eq!(nearest("ssh.lisen"), Some("ssh.listen"));
        assert_eq!(nearest("domian"), Some("domain"));
        assert_eq!(nearest("runtime.portrange"), Some("runtime.port_range"));
        assert_eq!(nearest("colour"), None);
        assert_eq!(nearest(&"x".repeat(10_000)), None);
    }

    #[test]
    fn edit_distances_are_those_of_the_textbook() {
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("same", "same"), 0);
    }

    #[test]
    fn tables_are_told_from_keys() {
        assert!(is_table("ssh") && !is_table("ssh.listen") && !is_table("ss") && !is_table("data_dir"));
        assert_eq!(missing_feature("jenkins.url"), Some("Jenkins"));
        assert_eq!(missing_feature("jenkinses.url"), None);
    }
}
