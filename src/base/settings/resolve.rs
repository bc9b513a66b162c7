//! From what was given to [`Settings`]: every value is judged, every mistake collected.

use std::path::PathBuf;

use autostack_domain::{Host, Secret};

use super::{
    checked::{
        ApiSettings, AuthSettings, BuildSettings, ClientSettings, CronSettings, DeploySettings,
        DockerSettings, GitSettings, GithubSettings, GoogleSettings, HttpSettings, ImageSettings,
        LogSettings, MailSettings, ReleaseSettings, RuntimeSettings, Settings, SshSettings,
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
    let url = check.value(&keys::API_URL);
    let cors_origins = check.value(&keys::API_CORS_ORIGINS);
    let (runtime, build) = (runtime(check), build(check));
    let (docker, images) = (docker(check), images(check));
    let start_timeout = check.value(&keys::DEPLOY_START_TIMEOUT);
    let drain_timeout = check.value(&keys::DEPLOY_DRAIN_TIMEOUT);
    let stop_timeout = check.value(&keys::DEPLOY_STOP_TIMEOUT);
    let pack_bytes_max = check.value(&keys::GIT_PACK_BYTES_MAX);
    let keep = check.value(&keys::RELEASES_KEEP);
    let time_zone = check.value(&keys::CRON_TIME_ZONE);
    let run_timeout = check.value(&keys::CRON_RUN_TIMEOUT);
    let app_bytes_max = check.value(&keys::LOGS_APP_BYTES_MAX);
    let app_age_max = check.value(&keys::LOGS_APP_AGE_MAX);
    let build_age_max = check.value(&keys::LOGS_BUILD_AGE_MAX);
    let signup = check.value(&keys::AUTH_SIGNUP);
    let access_token_ttl = check.value(&keys::AUTH_ACCESS_TOKEN_TTL);
    let refresh_token_ttl = check.value(&keys::AUTH_REFRESH_TOKEN_TTL);
    let (github, google, mail) = (github(check), google(check), mail(check, domain.as_ref()));
    let () = https_is_off?;
    Some(Settings {
        data_dir: data_dir?,
        domain: domain?,
        ssh: ssh?,
        http: http?,
        api: ApiSettings { listen: api?, hostname: hostname?, url: url?, cors_origins: cors_origins? },
        runtime: runtime?,
        build: build?,
        docker: docker?,
        images: images?,
        deploy: DeploySettings {
            start_timeout: start_timeout?,
            drain_timeout: drain_timeout?,
            stop_timeout: stop_timeout?,
        },
        git: GitSettings { pack_bytes_max: pack_bytes_max? },
        releases: ReleaseSettings { keep: keep? },
        cron: CronSettings { time_zone: time_zone?, run_timeout: run_timeout? },
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
        github: github?,
        google: google?,
        mail: mail?,
    })
}

fn github(check: &mut Check<'_>) -> Option<Option<GithubSettings>> {
    let client = check.client(&keys::GITHUB_CLIENT_ID, &keys::GITHUB_CLIENT_SECRET);
    let (url, api_url) = (check.value(&keys::GITHUB_URL), check.value(&keys::GITHUB_API_URL));
    let (url, api_url) = (url?, api_url?);
    Some(client?.map(|client| GithubSettings { client, url, api_url }))
}

fn google(check: &mut Check<'_>) -> Option<Option<GoogleSettings>> {
    let client = check.client(&keys::GOOGLE_CLIENT_ID, &keys::GOOGLE_CLIENT_SECRET);
    let issuer = check.value(&keys::GOOGLE_ISSUER)?;
    Some(client?.map(|client| GoogleSettings { client, issuer }))
}

fn mail(check: &mut Check<'_>, domain: Option<&Host>) -> Option<Option<MailSettings>> {
    let (host, port) = (check.value(&keys::MAIL_HOST), check.value(&keys::MAIL_PORT));
    let security = check.value(&keys::MAIL_SECURITY);
    let login = check.pair(&keys::MAIL_USERNAME, &keys::MAIL_PASSWORD);
    let from = check.value(&keys::MAIL_FROM);
    let (port, security, login) = (port?, security?, login?);
    let from = from?.unwrap_or(format!("autostack@{}", domain?));
    let port = port.unwrap_or(security.port());
    Some(host?.map(|host| MailSettings { host, port, security, login, from }))
}

fn runtime(check: &mut Check<'_>) -> Option<RuntimeSettings> {
    let backend = check.value(&keys::RUNTIME_BACKEND);
    let port_range = check.value(&keys::RUNTIME_PORT_RANGE);
    let memory_bytes_max = check.value(&keys::RUNTIME_MEMORY_BYTES_MAX);
    let cpus_max = check.value(&keys::RUNTIME_CPUS_MAX);
    let pids_max = check.value(&keys::RUNTIME_PIDS_MAX);
    Some(RuntimeSettings {
        backend: backend?,
        port_range: port_range?,
        memory_bytes_max: memory_bytes_max?,
        cpus_max: cpus_max?,
        pids_max: pids_max?,
    })
}

fn build(check: &mut Check<'_>) -> Option<BuildSettings> {
    let (timeout, concurrency) = (check.value(&keys::BUILD_TIMEOUT), check.value(&keys::BUILD_CONCURRENCY));
    let memory_bytes_max = check.value(&keys::BUILD_MEMORY_BYTES_MAX);
    let cpus_max = check.value(&keys::BUILD_CPUS_MAX);
    Some(BuildSettings {
        timeout: timeout?,
        concurrency: concurrency?,
        memory_bytes_max: memory_bytes_max?,
        cpus_max: cpus_max?,
    })
}

fn docker(check: &mut Check<'_>) -> Option<DockerSettings> {
    let (host, builder) = (check.value(&keys::DOCKER_HOST), check.value(&keys::DOCKER_BUILDER));
    let endpoints = check.value(&keys::DOCKER_ENDPOINTS);
    let cache_bytes_max = check.value(&keys::DOCKER_CACHE_BYTES_MAX);
    Some(DockerSettings {
        host: host?,
        builder: builder?,
        endpoints: endpoints?,
        cache_bytes_max: cache_bytes_max?,
    })
}

fn images(check: &mut Check<'_>) -> Option<ImageSettings> {
    let (node, python) = (check.value(&keys::IMAGES_NODE), check.value(&keys::IMAGES_PYTHON));
    let (go, rust) = (check.value(&keys::IMAGES_GO), check.value(&keys::IMAGES_RUST));
    let (ruby, php) = (check.value(&keys::IMAGES_RUBY), check.value(&keys::IMAGES_PHP));
    let composer = check.value(&keys::IMAGES_COMPOSER);
    let (deno, bun) = (check.value(&keys::IMAGES_DENO), check.value(&keys::IMAGES_BUN));
    let (java, run) = (check.value(&keys::IMAGES_JAVA), check.value(&keys::IMAGES_RUN));
    Some(ImageSettings {
        node: node?,
        python: python?,
        go: go?,
        rust: rust?,
        ruby: ruby?,
        php: php?,
        composer: composer?,
        deno: deno?,
        bun: bun?,
        java: java?,
        run: run?,
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

    /// What a provider knows this host by: both, or neither.
    fn client(
        &mut self,
        id: &Key<Option<String>>,
        secret: &Key<Option<Secret<String>>>,
    ) -> Option<Option<ClientSettings>> {
        let both = self.pair(id, secret)?;
        Some(both.map(|(id, secret)| ClientSettings { id, secret }))
    }

    /// A name and its secret: both, or neither.
    fn pair(
        &mut self,
        name: &Key<Option<String>>,
        secret: &Key<Option<Secret<String>>>,
    ) -> Option<Option<(String, Secret<String>)>> {
        let (missing, there) = match (self.value(name)?, self.value(secret)?) {
            (Some(name), Some(secret)) => return Some(Some((name, secret))),
            (None, None) => return Some(None),
            (None, Some(_)) => (name.info.name, secret.info.name),
            (Some(_), None) => (secret.info.name, name.info.name),
        };
        let place = self.given.get(there).map_or(Place::Default, |value| value.place.clone());
        self.errors.push(SettingsError::Alone { place, key: there.to_owned(), missing });
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
