//! [`Settings`]: immutable, valid by construction; the only way to one is [`super::Sources`].

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use autostack_domain::{EngineHost, Host, ImageTemplate, Secret, cron::TimeZoneName, resources::MilliCpus};

use super::{
    elsewhere::{BaseUrl, MailSecurity, Origin},
    values::{BackendChoice, BuilderChoice, EndpointChoice, PortRange, Signup},
};

/// Everything that can be set, checked. What each key means, with its unit, stands in
/// `config/autostack.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Everything the agent keeps; absolute, short enough for a socket within it.
    pub data_dir: PathBuf,
    /// An app is reached at `APP.domain`.
    pub domain: Host,
    /// The SSH door.
    pub ssh: SshSettings,
    /// The proxy, plain HTTP.
    pub http: HttpSettings,
    /// API and dashboard.
    pub api: ApiSettings,
    /// What runs instances.
    pub runtime: RuntimeSettings,
    /// Builds.
    pub build: BuildSettings,
    /// The container engine.
    pub docker: DockerSettings,
    /// Base images of what recipes build.
    pub images: ImageSettings,
    /// Deployments.
    pub deploy: DeploySettings,
    /// Repositories.
    pub git: GitSettings,
    /// Releases.
    pub releases: ReleaseSettings,
    /// Cron tasks.
    pub cron: CronSettings,
    /// Logs of apps and builds.
    pub logs: LogSettings,
    /// Accounts and tokens.
    pub auth: AuthSettings,
    /// Sign-in by GitHub; none: nobody comes in that way.
    pub github: Option<GithubSettings>,
    /// Sign-in by Google; none: nobody comes in that way.
    pub google: Option<GoogleSettings>,
    /// How mail is sent; none: there is none.
    pub mail: Option<MailSettings>,
}

/// `ssh.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshSettings {
    /// Where the SSH door listens.
    pub listen: SocketAddr,
}

/// `http.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where the proxy listens.
    pub listen: SocketAddr,
}

/// `api.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiSettings {
    /// Where API and dashboard listen.
    pub listen: SocketAddr,
    /// The host name under which the proxy leads to them; none: they are not reached through it.
    pub hostname: Option<Host>,
    /// Where browsers reach it; none: by its host name, else by its address.
    pub url: Option<BaseUrl>,
    /// Where web pages come from that may read answers of the API, besides its own.
    pub cors_origins: Vec<Origin>,
}

/// `runtime.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeSettings {
    /// What runs instances.
    pub backend: BackendChoice,
    /// Ports given to instances.
    pub port_range: PortRange,
    /// Bytes of memory that one container may use.
    pub memory_bytes_max: Option<u64>,
    /// CPU time that one container may use in the same time.
    pub cpus_max: Option<MilliCpus>,
    /// Processes and threads that one container may have.
    pub pids_max: u32,
}

/// `build.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildSettings {
    /// How long one build may take.
    pub timeout: Duration,
    /// Builds at once, of all apps together; 1 at least.
    pub concurrency: usize,
    /// Bytes of memory that the commands of image builds may use.
    pub memory_bytes_max: Option<u64>,
    /// CPU time that the commands of image builds may use in the same time.
    pub cpus_max: Option<MilliCpus>,
}

/// `docker.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerSettings {
    /// Where the engine listens; none: it is looked for at the usual places.
    pub host: Option<EngineHost>,
    /// What builds images.
    pub builder: BuilderChoice,
    /// How containers are reached.
    pub endpoints: EndpointChoice,
    /// Bytes of build cache of this agent that the engine keeps.
    pub cache_bytes_max: u64,
}

/// `images.*`: what recipes build on and run in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSettings {
    /// Node.js with npm.
    pub node: ImageTemplate,
    /// Python with pip.
    pub python: ImageTemplate,
    /// Go.
    pub go: ImageTemplate,
    /// Rust with Cargo and a C compiler.
    pub rust: ImageTemplate,
    /// Ruby with Bundler.
    pub ruby: ImageTemplate,
    /// PHP.
    pub php: ImageTemplate,
    /// Composer, which is copied out of it.
    pub composer: ImageTemplate,
    /// Deno.
    pub deno: ImageTemplate,
    /// Bun.
    pub bun: ImageTemplate,
    /// A JDK with Maven.
    pub java: ImageTemplate,
    /// What runs programs that need no language: binaries, shell scripts, a plain Procfile.
    pub run: ImageTemplate,
}

/// `deploy.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploySettings {
    /// How long the instances of a new release may take until all have passed their checks.
    pub start_timeout: Duration,
    /// How long requests in flight may take to end after the switch; may be zero.
    pub drain_timeout: Duration,
    /// Time between SIGTERM and SIGKILL; may be zero.
    pub stop_timeout: Duration,
}

/// `git.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitSettings {
    /// Bytes of the pack that one push may send.
    pub pack_bytes_max: u64,
}

/// `releases.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseSettings {
    /// Artifacts of how many releases are kept for each app, the current one included; 1 at least.
    pub keep: usize,
}

/// `cron.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronSettings {
    /// The time zone of schedules; none: the host's.
    pub time_zone: Option<TimeZoneName>,
    /// How long one run may take.
    pub run_timeout: Duration,
}

/// `logs.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Bytes of the log of one app; the oldest part goes first.
    pub app_bytes_max: u64,
    /// Age of a log line of an app before it may go.
    pub app_age_max: Duration,
    /// Age of a build log before it goes.
    pub build_age_max: Duration,
}

/// `auth.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthSettings {
    /// Who may make an account.
    pub signup: Signup,
    /// Life of an access token.
    pub access_token_ttl: Duration,
    /// Life of a refresh token.
    pub refresh_token_ttl: Duration,
}

/// `mail.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailSettings {
    /// The server that takes mail for everybody.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is spoken to.
    pub security: MailSecurity,
    /// What it lets the agent in by; none: it asks for nothing.
    pub login: Option<(String, Secret<String>)>,
    /// Who mails come from.
    pub from: String,
}

/// What a provider of identities knows this host by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSettings {
    /// Its name there.
    pub id: String,
    /// Its secret there.
    pub secret: Secret<String>,
}

/// `github.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GithubSettings {
    /// What GitHub knows this host by.
    pub client: ClientSettings,
    /// Where people log in.
    pub url: BaseUrl,
    /// Where its API answers.
    pub api_url: BaseUrl,
}

/// `google.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoogleSettings {
    /// What Google knows this host by.
    pub client: ClientSettings,
    /// Whose discovery document says where everything is (OpenID Connect).
    pub issuer: BaseUrl,
}
