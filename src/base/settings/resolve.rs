//! From what was given to [`Settings`]: every value is judged, every mistake collected.

use std::path::PathBuf;

use super::{
    checked::{
        ApiSettings, AuthSettings, BuildSettings, DeploySettings, GitSettings, HttpSettings, LogSettings,
        ReleaseSettings, RuntimeSettings, Settings, SshSettings,
    },
    error::{Place, SettingsError},
    keys::{self, Key},
    raw::{Given, Value, quoted},
    values::Refusal,
};

/// Judges every value of `given`. `default_data_dir` stands for `data_dir` where none was given; `errors` are
/// mistakes found before.
pub(super) fn resolve(
    given: &Given,
    default_data_dir: Option<&str>,
    errors: Vec<SettingsError>,
) -> Result<Settings, Vec<SettingsError>> {
    let mut check = Check { given, errors };
    let settings = settings(&mut check, default_data_dir);
    check.addresses_differ(settings.as_ref());
    check.errors.sort_by_key(SettingsError::line);
    match settings {
        Some(settings) if check.errors.is_empty() => Ok(settings),
        _ => Err(check.errors),
    }
}

fn settings(check: &mut Check<'_>, default_data_dir: Option<&str>) -> Option<Settings> {
    // Every key is read before the first `?`, so that every mistake is found.
    let data_dir = data_dir(check, default_data_dir);
    let domain = check.value(&keys::DOMAIN);
    let ssh = check.value(&keys::SSH_LISTEN).map(|listen| SshSettings { listen });
    let http = check.value(&keys::HTTP_LISTEN).map(|listen| HttpSettings { listen });
    let https_is_off = check.value(&keys::HTTPS_LISTEN);
    let (api, hostname) = (check.value(&keys::API_LISTEN), check.value(&keys::API_HOSTNAME));
    let backend = check.value(&keys::RUNTIME_BACKEND);
    let port_range = check.value(&keys::RUNTIME_PORT_RANGE);
    let (timeout, concurrency) = (check.value(&keys::BUILD_TIMEOUT), check.value(&keys::BUILD_CONCURRENCY));
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

fn data_dir(check: &mut Check<'_>, default: Option<&str>) -> Option<PathBuf> {
    if check.given.get(keys::DATA_DIR.info.name).is_some() {
        return check.value(&keys::DATA_DIR);
    }
    let Some(default) = default else {
        check.errors.push(SettingsError::NoDataDir);
        return None;
    };
    // A default from outside obeys the same rule as a given value.
    check.parsed(&keys::DATA_DIR, &Value { text: default.to_owned(), place: Place::Default })
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
