//! [`Settings`]: immutable, valid by construction; the only way to one is through the checks here.

use std::{
    ffi::OsString,
    io::Read,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use autostack_domain::Host;

use super::{
    error::{Place, SettingsError},
    keys::{self, Key},
    raw::{Given, Value, quoted},
    values::{BackendChoice, PortRange, Refusal, Signup},
};

/// Where the settings file of an installed agent is.
pub const DEFAULT_FILE: &str = "/etc/autostack/autostack.toml";
/// Bytes of a settings file: a file with every key and its comments has a hundredth of that.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

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
    /// Deployments.
    pub deploy: DeploySettings,
    /// Repositories.
    pub git: GitSettings,
    /// Releases.
    pub releases: ReleaseSettings,
    /// Logs of apps and builds.
    pub logs: LogSettings,
    /// Accounts and tokens.
    pub auth: AuthSettings,
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
}

/// `runtime.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeSettings {
    /// What runs instances.
    pub backend: BackendChoice,
    /// Ports given to instances.
    pub port_range: PortRange,
}

/// `build.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildSettings {
    /// How long one build may take.
    pub timeout: Duration,
    /// Builds at once, of all apps together; 1 at least.
    pub concurrency: usize,
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

impl Settings {
    /// Settings from the text of a TOML file alone: no environment, defaults as for root. `name` stands
    /// for the file in errors.
    ///
    /// # Errors
    /// Every mistake in the text.
    pub fn from_text(name: &str, text: &str) -> Result<Self, Vec<SettingsError>> {
        let sources = Sources::new(None, [], true);
        let (mut given, mut errors) = (Given::default(), Vec::new());
        given.add_file(Path::new(name), text, &mut errors);
        sources.checked(&given, errors)
    }
}

/// Checks a file by itself, without the `AUTOSTACK_` variables of the environment.
///
/// # Errors
/// Every mistake in the file.
pub fn check(file: &Path) -> Result<Settings, Vec<SettingsError>> {
    let no_settings = |name: &OsString| !name.as_encoded_bytes().starts_with(b"AUTOSTACK_");
    let environment = std::env::vars_os().filter(|(name, _)| no_settings(name));
    Sources::new(Some(file.to_owned()), environment, nix::unistd::geteuid().is_root()).load()
}

/// Where settings come from. The environment is taken once, so that a reload sees the same one.
#[derive(Debug, Clone)]
pub struct Sources {
    file: Option<PathBuf>,
    environment: Vec<(OsString, OsString)>,
    is_root: bool,
}

impl Sources {
    /// A file, if any, and a given environment.
    pub fn new(
        file: Option<PathBuf>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        is_root: bool,
    ) -> Self {
        Self { file, environment: environment.into_iter().collect(), is_root }
    }

    /// A file, if any, and the environment of this process.
    pub fn of_process(file: Option<PathBuf>) -> Self {
        Self::new(file, std::env::vars_os(), nix::unistd::geteuid().is_root())
    }

    /// The file, if any.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Reads and checks.
    ///
    /// # Errors
    /// Every mistake in file and environment.
    pub fn load(&self) -> Result<Settings, Vec<SettingsError>> {
        let text = self.read().map_err(|error| vec![error])?;
        self.resolve(text.as_deref()).map(|(_, settings)| settings)
    }

    /// The text of the file; none where there is no file to read.
    pub(super) fn read(&self) -> Result<Option<String>, SettingsError> {
        let Some(path) = self.file.clone() else { return Ok(None) };
        let mut bytes = Vec::new();
        let opened = std::fs::File::open(&path);
        match opened.and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)) {
            Ok(_) if bytes.len() as u64 > FILE_BYTES_MAX => {
                Err(SettingsError::TooLarge { path, bytes_max: FILE_BYTES_MAX })
            }
            Ok(_) => match String::from_utf8(bytes) {
                Ok(text) => Ok(Some(text)),
                Err(_) => Err(SettingsError::NotText { path }),
            },
            Err(source) => Err(SettingsError::Read { path, source }),
        }
    }

    /// What `text` and the environment say, unjudged and judged.
    pub(super) fn resolve(&self, text: Option<&str>) -> Result<(Given, Settings), Vec<SettingsError>> {
        let (mut given, mut errors) = (Given::default(), Vec::new());
        if let (Some(path), Some(text)) = (&self.file, text) {
            given.add_file(path, text, &mut errors);
        }
        given.add_environment(&self.environment, &mut errors);
        let settings = self.checked(&given, errors)?;
        Ok((given, settings))
    }

    /// Judges every value; `errors` are mistakes found before.
    pub(super) fn checked(
        &self,
        given: &Given,
        errors: Vec<SettingsError>,
    ) -> Result<Settings, Vec<SettingsError>> {
        let mut check = Check { given, errors };
        let settings = self.settings(&mut check);
        check.addresses_differ(settings.as_ref());
        check.errors.sort_by_key(SettingsError::line);
        match settings {
            Some(settings) if check.errors.is_empty() => Ok(settings),
            _ => Err(check.errors),
        }
    }

    fn settings(&self, check: &mut Check<'_>) -> Option<Settings> {
        // Every key is read before the first `?`, so that every mistake is found.
        let data_dir = self.data_dir(check);
        let domain = check.value(&keys::DOMAIN);
        let ssh = check.value(&keys::SSH_LISTEN).map(|listen| SshSettings { listen });
        let http = check.value(&keys::HTTP_LISTEN).map(|listen| HttpSettings { listen });
        let https_is_off = check.value(&keys::HTTPS_LISTEN);
        let (api, hostname) = (check.value(&keys::API_LISTEN), check.value(&keys::API_HOSTNAME));
        let backend = check.value(&keys::RUNTIME_BACKEND);
        let port_range = check.value(&keys::RUNTIME_PORT_RANGE);
        let (timeout, concurrency) =
            (check.value(&keys::BUILD_TIMEOUT), check.value(&keys::BUILD_CONCURRENCY));
        let start_timeout = check.value(&keys::DEPLOY_START_TIMEOUT);
        let drain_timeout = check.value(&keys::DEPLOY_DRAIN_TIMEOUT);
        let stop_timeout = check.value(&keys::DEPLOY_STOP_TIMEOUT);
        let pack_bytes_max = check.value(&keys::GIT_PACK_BYTES_MAX);
        let keep = check.value(&keys::RELEASES_KEEP);
        let app_bytes_max = check.value(&keys::LOGS_APP_BYTES_MAX);
        let app_age_max = check.value(&keys::LOGS_APP_AGE_MAX);
        let build_age_max = check.value(&keys::LOGS_BUILD_AGE_MAX);
        let signup = check.value(&keys::AUTH_SIGNUP);
        let access_token_ttl = check.value(&keys::AUTH_ACCESS_TOKEN_TTL);
        let refresh_token_ttl = check.value(&keys::AUTH_REFRESH_TOKEN_TTL);
        let () = https_is_off?;
        Some(Settings {
            data_dir: data_dir?,
            domain: domain?,
            ssh: ssh?,
            http: http?,
            api: ApiSettings { listen: api?, hostname: hostname? },
            runtime: RuntimeSettings { backend: backend?, port_range: port_range? },
            build: BuildSettings { timeout: timeout?, concurrency: concurrency? },
            deploy: DeploySettings {
                start_timeout: start_timeout?,
                drain_timeout: drain_timeout?,
                stop_timeout: stop_timeout?,
            },
            git: GitSettings { pack_bytes_max: pack_bytes_max? },
            releases: ReleaseSettings { keep: keep? },
            logs: LogSettings {
                app_bytes_max: app_bytes_max?,
                app_age_max: app_age_max?,
                build_age_max: build_age_max?,
            },
            auth: AuthSettings {
                signup: signup?,
                access_token_ttl: access_token_ttl?,
                refresh_token_ttl: refresh_token_ttl?,
            },
        })
    }

    fn data_dir(&self, check: &mut Check<'_>) -> Option<PathBuf> {
        if self.is_root || check.given.get(keys::DATA_DIR.info.name).is_some() {
            return check.value(&keys::DATA_DIR);
        }
        let Some(folder) = self.data_home() else {
            check.errors.push(SettingsError::NoDataDir);
            return None;
        };
        // A default from outside obeys the same rule as a given value.
        let text = folder.join("autostack").to_string_lossy().into_owned();
        check.parsed(&keys::DATA_DIR, &Value { text, place: Place::Default })
    }

    /// `XDG_DATA_HOME`, which counts only when absolute, else its default within `HOME`.
    fn data_home(&self) -> Option<PathBuf> {
        let variable = |name: &str| {
            let (_, value) = self.environment.iter().find(|(variable, _)| variable == name)?;
            Some(PathBuf::from(value)).filter(|path| path.is_absolute())
        };
        variable("XDG_DATA_HOME").or_else(|| Some(variable("HOME")?.join(".local/share")))
    }
}

/// Reads values of keys, and collects what is wrong with them.
struct Check<'a> {
    given: &'a Given,
    errors: Vec<SettingsError>,
}

impl Check<'_> {
    /// The value of a key, or its default; none, with the reason recorded, when it is not right.
    fn value<T>(&mut self, key: &Key<T>) -> Option<T> {
        let default = || Value { text: key.info.default.to_owned(), place: Place::Default };
        let value = self.given.get(key.info.name).cloned().unwrap_or_else(default);
        self.parsed(key, &value)
    }

    fn parsed<T>(&mut self, key: &Key<T>, value: &Value) -> Option<T> {
        let (place, found) = (value.place.clone(), quoted(&value.text));
        let error = match (key.kind.parse)(&value.text) {
            Ok(parsed) => return Some(parsed),
            Err(Refusal::Wrong) => {
                let (key, expected) = (key.info.name.to_owned(), key.info.expected);
                SettingsError::WrongValue { place, key, expected, found }
            }
            Err(Refusal::NotInThisVersion) => {
                SettingsError::NotInThisVersion { place, what: format!("{} = {found}", key.info.name) }
            }
        };
        self.errors.push(error);
        None
    }

    /// Doors need an address each; port 0 is a fresh one every time.
    fn addresses_differ(&mut self, settings: Option<&Settings>) {
        let Some(settings) = settings else { return };
        let doors = [
            (keys::SSH_LISTEN.info.name, settings.ssh.listen),
            (keys::HTTP_LISTEN.info.name, settings.http.listen),
            (keys::API_LISTEN.info.name, settings.api.listen),
        ];
        for (index, (key, address)) in doors.iter().enumerate() {
            let same = doors[..index].iter().find(|(_, other)| address.port() != 0 && other == address);
            if let Some((other, _)) = same {
                let place = self.given.get(key).map_or(Place::Default, |value| value.place.clone());
                self.errors.push(SettingsError::SameAddress { place, key, other });
            }
        }
    }
}
