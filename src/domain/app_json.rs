//! `app.json`: what an app says about its checks, its formation, its config and its scripts. Keys are Heroku's and
//! Dokku's; comments and trailing commas are allowed.
//!
//! A key that is not used is named in [`AppJson::ignored`] and shown to the pusher; a key whose absence
//! would make a check ask something else (`port`, `scheme: https`) is refused.

mod checks;
mod cron;
mod env;
mod read;

use std::collections::BTreeMap;

use serde_json::Value;

use self::read::Reader;
use crate::{
    cron::CronTask,
    env_map,
    health::HealthCheck,
    limits,
    names::{Invalid, ProcessType},
};

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppJson {
    /// Checks by process type.
    pub checks: BTreeMap<ProcessType, Vec<HealthCheck>>,
    /// How many instances the app asks for.
    pub formation: BTreeMap<ProcessType, u32>,
    /// `scripts.dokku.predeploy`: a command line that finishes the artifact, after the build.
    pub predeploy: Option<String>,
    /// `scripts.dokku.postdeploy`: a command line that is run after each switch to a release of a push.
    pub postdeploy: Option<String>,
    /// `scripts.postdeploy`, as Heroku has it: a command line that is run after the app's first deployment.
    pub first_postdeploy: Option<String>,
    /// `autostack.processes`: command lines of process types, beneath those of a Procfile.
    pub processes: BTreeMap<ProcessType, String>,
    /// `autostack.build_args`: names of config that the build of a Dockerfile may have as `ARG`s. They stand in
    /// the image, readable for everybody who has it.
    pub build_args: Vec<String>,
    /// What is done at set times.
    pub cron: Vec<CronTask>,
    /// The variables that the app needs.
    pub env: BTreeMap<String, EnvAsked>,
    /// Keys that stand in the file and have no effect, as paths: `formation.web.size`.
    pub ignored: Vec<String>,
}

/// A variable of `env`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvAsked {
    /// Whether the app cannot run without it; so unless the file says otherwise.
    pub is_required: bool,
    /// Its value at the first deployment, where nobody has set one.
    pub default: Option<EnvDefault>,
}

/// Where the first value of a variable comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvDefault {
    /// It stands in the file.
    Value(String),
    /// `generator: secret`: it is random, and another one for every app.
    Secret,
}

/// Keys that describe the app to people and need no effect.
const DESCRIPTIVE: [&str; 9] =
    ["$schema", "description", "keywords", "logo", "name", "repository", "success_url", "version", "website"];

/// Reads an `app.json`. The refusal's `why` names the line or the key.
pub fn parse(text: &[u8]) -> Result<AppJson, Invalid> {
    parse_text(text).map_err(|why| Invalid::new("app.json", "", why))
}

fn parse_text(text: &[u8]) -> Result<AppJson, String> {
    if text.len() > limits::APP_JSON_BYTES_MAX {
        return Err(format!(
            "it has {} bytes; the limit is {} bytes",
            text.len(),
            limits::APP_JSON_BYTES_MAX
        ));
    }
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8 text".to_owned())?;
    let value: Option<Value> =
        jsonc_parser::parse_to_serde_value(text, &jsonc_parser::ParseOptions::default())
            .map_err(|error| uncapitalised(&error.to_string()))?;
    let mut app = AppJson::default();
    let root = Reader::root(value.as_ref().unwrap_or(&Value::Null));
    for (key, entry) in root.object()? {
        match key {
            "healthchecks" => app.checks = checks::read(&entry, &mut app.ignored)?,
            "formation" => app.formation = read_formation(&entry, &mut app.ignored)?,
            "scripts" => read_scripts(&entry, &mut app)?,
            "cron" => app.cron = cron::read(&entry, &mut app.ignored)?,
            "env" => app.env = env::read(&entry, &mut app.ignored)?,
            "autostack" => read_autostack(&entry, &mut app)?,
            key if DESCRIPTIVE.contains(&key) => {}
            _ => app.ignored.push(entry.path().to_owned()),
        }
    }
    Ok(app)
}

fn read_formation(
    formation: &Reader,
    ignored: &mut Vec<String>,
) -> Result<BTreeMap<ProcessType, u32>, String> {
    let mut quantities = BTreeMap::new();
    for (name, process) in formation.object()? {
        let name = process.process_type(name)?;
        for (key, entry) in process.object()? {
            match key {
                "quantity" => {
                    quantities.insert(name.clone(), entry.whole_number(limits::INSTANCES_PER_PROCESS_MAX)?);
                }
                _ => ignored.push(entry.path().to_owned()),
            }
        }
    }
    Ok(quantities)
}

fn read_scripts(scripts: &Reader, app: &mut AppJson) -> Result<(), String> {
    for (key, entry) in scripts.object()? {
        match key {
            "dokku" => {
                for (key, entry) in entry.object()? {
                    match key {
                        "predeploy" => app.predeploy = command_line(&entry)?,
                        "postdeploy" => app.postdeploy = command_line(&entry)?,
                        _ => app.ignored.push(entry.path().to_owned()),
                    }
                }
            }
            "postdeploy" => app.first_postdeploy = command_line(&entry)?,
            _ => app.ignored.push(entry.path().to_owned()),
        }
    }
    Ok(())
}

/// Nothing where it is blank.
fn command_line(entry: &Reader) -> Result<Option<String>, String> {
    Ok(Some(entry.text()?.to_owned()).filter(|line| !line.trim().is_empty()))
}

/// Keys of our own.
fn read_autostack(own: &Reader, app: &mut AppJson) -> Result<(), String> {
    for (key, entry) in own.object()? {
        match key {
            "processes" => {
                for (name, line) in entry.object()? {
                    let process = line.process_type(name)?;
                    if line.text()?.trim().is_empty() {
                        return line.refuse("must be a command line");
                    }
                    app.processes.insert(process, line.text()?.to_owned());
                }
            }
            "build_args" => {
                for name in entry.array()? {
                    let text = name.text()?;
                    if !env_map::is_name(text) {
                        return name.refuse("must be a name of config: letters, digits and _");
                    }
                    app.build_args.push(text.to_owned());
                }
            }
            _ => app.ignored.push(entry.path().to_owned()),
        }
    }
    Ok(())
}

/// The parser's messages start with a capital; ours go on from `app.json: …`.
fn uncapitalised(message: &str) -> String {
    let mut chars = message.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::health::{CheckKind, Probe};

    fn refusal(text: &str) -> String {
        parse(text.as_bytes()).unwrap_err().why
    }

    #[test]
    fn dokkus_example_is_read() {
        let text = r#"{
            // comments are allowed
            "name": "shop",
            "healthchecks": {
                "web": [
                    {"type": "startup", "name": "web check", "description": "Checking if the app responds",
                     "path": "/health", "content": "ok", "attempts": 7, "wait": 2, "timeout": 9,
                     "initialDelay": 1, "httpHeaders": [{"name": "X-A", "value": "b"}]},
                    {"listening": true}, {"uptime": 20},
                    {"type": "liveness", "command": ["./check.sh", "-q"]},
                ],
            },
            "formation": {"web": {"quantity": 2, "size": "m"}, "worker": {"quantity": 0}},
            "scripts": {"dokku": {"predeploy": "touch /app/x", "postdeploy": "curl x"}, "postdeploy": "y", "test": "z"},
            "autostack": {"processes": {"web": "./serve"}, "build_args": ["VERSION"], "cache": "off"},
            "cron": [],
        }"#;
        let app = parse(text.as_bytes()).unwrap();
        let web = &app.checks[&ProcessType::web()];
        assert_eq!(web[0].name, "web check");
        assert_eq!(
            web[0].probe,
            Probe::Http {
                path: "/health".into(),
                content: Some("ok".into()),
                headers: vec![("X-A".into(), "b".into())]
            }
        );
        assert_eq!((web[0].attempts, web[0].wait, web[0].timeout), (7, secs(2), secs(9)));
        assert_eq!((web[0].initial_delay, web[0].kind), (secs(1), CheckKind::Startup));
        assert_eq!((&web[1].probe, web[1].attempts), (&Probe::Listening, HealthCheck::ATTEMPTS_DEFAULT));
        assert_eq!(web[2].probe, Probe::Uptime { seconds: 20 });
        assert_eq!(web[3].probe, Probe::Command(vec!["./check.sh".into(), "-q".into()]));
        assert_eq!(web[3].kind, CheckKind::Liveness);
        assert_eq!(app.formation, BTreeMap::from([(ProcessType::web(), 2), ("worker".parse().unwrap(), 0)]));
        assert_eq!(app.predeploy.as_deref(), Some("touch /app/x"));
        assert_eq!(app.processes, BTreeMap::from([(ProcessType::web(), "./serve".into())]));
        assert_eq!(app.build_args, ["VERSION"]);
        assert_eq!(app.postdeploy.as_deref(), Some("curl x"));
        assert_eq!(app.first_postdeploy.as_deref(), Some("y"));
        assert_eq!(app.ignored, ["autostack.cache", "formation.web.size", "scripts.test"]);
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_wrong_is_said_with_its_key() {
        let check = |fields: &str| refusal(&format!(r#"{{"healthchecks": {{"web": [{{{fields}}}]}}}}"#));
        assert_eq!(check(r#""port": 80"#), {
            "healthchecks.web[0].port is not supported: a check asks the port that the instance got as PORT"
        });
        assert_eq!(
            check(r#""path": "/", "scheme": "https""#),
            "healthchecks.web[0].scheme is not supported but for http: TLS ends at the proxy"
        );
        assert_eq!(check(r#""path": "health""#), "healthchecks.web[0].path must start with /");
        assert_eq!(check(r#""path": "/a b""#), {
            "healthchecks.web[0].path must hold printable ASCII without spaces; encode others as %20"
        });
        assert_eq!(check(r#""path": 1"#), "healthchecks.web[0].path must be text");
        assert_eq!(
            check(r#""attempts": -1"#),
            "healthchecks.web[0].attempts must be a whole number from 1 to 1000"
        );
        assert_eq!(check(r#""type": "boot""#), {
            "healthchecks.web[0].type must be \"startup\", \"readiness\" or \"liveness\""
        });
        assert_eq!(check(r#""uptime": 3, "path": "/""#), {
            "healthchecks.web[0] has path and uptime; a check asks one thing, so make two checks of it"
        });
        assert_eq!(check(r#""command": []"#), "healthchecks.web[0].command must name a program");
        assert_eq!(
            check(r#""httpHeaders": [{"name": "a\nb", "value": "c"}]"#),
            "healthchecks.web[0].httpHeaders[0].name must be a header name"
        );
        assert_eq!(refusal(r#"{"formation": {"web": {"quantity": 101}}}"#), {
            "formation.web.quantity must be a whole number from 0 to 100"
        });
        assert!(refusal(r#"{"formation": {"a b": {}}}"#).starts_with("formation has a process type \"a b\""));
        assert_eq!(refusal(r#"{"autostack": {"processes": {"web": " "}}}"#), {
            "autostack.processes.web must be a command line"
        });
        assert_eq!(refusal(r#"{"autostack": {"build_args": ["A", "B C"]}}"#), {
            "autostack.build_args[1] must be a name of config: letters, digits and _"
        });
        assert_eq!(refusal("[]"), "it must be an object: { … }");
        assert!(refusal("{\n\"a\": }").contains("line 2"), "{}", refusal("{\n\"a\": }"));
        assert!(refusal(&"[".repeat(100_000)).contains("depth"));
        assert!(refusal(&" ".repeat(limits::APP_JSON_BYTES_MAX + 1)).contains("limit"));
    }

    #[test]
    fn an_empty_file_and_an_empty_object_ask_for_nothing() {
        assert_eq!(parse(b"{}").unwrap(), AppJson::default());
        assert_eq!(refusal(""), "it must be an object: { … }");
    }
}
