//! `healthchecks` of an `app.json`: Dokku's keys, one probe a check.

use std::{collections::BTreeMap, time::Duration};

use super::read::Reader;
use crate::{
    health::{CheckKind, HealthCheck, Probe},
    names::ProcessType,
};

/// Checks that one process type may have.
const CHECKS_PER_PROCESS_MAX: usize = 32;
/// Attempts that a check may ask for.
const ATTEMPTS_MAX: u32 = 1_000;
/// Seconds that any duration of a check may have.
const SECONDS_MAX: u32 = 3_600;

type Checks = BTreeMap<ProcessType, Vec<HealthCheck>>;

/// Reads all checks; unused keys are added to `ignored`.
pub(super) fn read(healthchecks: &Reader, ignored: &mut Vec<String>) -> Result<Checks, String> {
    let mut checks = BTreeMap::new();
    for (name, list) in healthchecks.object()? {
        let process = list.process_type(name)?;
        let items = list.array()?;
        if items.len() > CHECKS_PER_PROCESS_MAX {
            return list.refuse(format!("has {} checks; the limit is {CHECKS_PER_PROCESS_MAX}", items.len()));
        }
        let read = items.iter().map(|item| read_check(item, ignored)).collect::<Result<_, _>>()?;
        checks.insert(process, read);
    }
    Ok(checks)
}

/// The keys of one check, before it is known which probe they make.
#[derive(Default)]
struct Fields {
    name: Option<String>,
    kind: CheckKind,
    path: Option<String>,
    content: Option<String>,
    headers: Vec<(String, String)>,
    command: Option<Vec<String>>,
    listening: bool,
    uptime: Option<u32>,
    attempts: Option<u32>,
    wait: Option<u32>,
    timeout: Option<u32>,
    initial_delay: u32,
}

fn read_check(check: &Reader, ignored: &mut Vec<String>) -> Result<HealthCheck, String> {
    let mut fields = Fields::default();
    for (key, entry) in check.object()? {
        match key {
            "name" => fields.name = Some(entry.text()?.to_owned()).filter(|name| !name.is_empty()),
            "description" => {}
            "type" => fields.kind = read_kind(&entry)?,
            "path" => fields.path = Some(read_path(&entry)?),
            "content" => fields.content = Some(entry.text()?.to_owned()).filter(|text| !text.is_empty()),
            "httpHeaders" => fields.headers = read_headers(&entry)?,
            "command" => fields.command = Some(read_command(&entry)?),
            "listening" => fields.listening = entry.flag()?,
            "uptime" => fields.uptime = Some(entry.whole_number(SECONDS_MAX)?).filter(|seconds| *seconds > 0),
            "attempts" => fields.attempts = Some(entry.number_between(1, ATTEMPTS_MAX)?),
            "wait" => fields.wait = Some(entry.whole_number(SECONDS_MAX)?),
            "timeout" => fields.timeout = Some(entry.number_between(1, SECONDS_MAX)?),
            "initialDelay" => fields.initial_delay = entry.whole_number(SECONDS_MAX)?,
            "scheme" if entry.text()?.eq_ignore_ascii_case("http") => {}
            "scheme" => return entry.refuse("is not supported but for http: TLS ends at the proxy"),
            "port" => {
                return entry.refuse("is not supported: a check asks the port that the instance got as PORT");
            }
            _ => ignored.push(entry.path().to_owned()),
        }
    }
    fields.into_check(check)
}

impl Fields {
    fn into_check(self, place: &Reader) -> Result<HealthCheck, String> {
        let asks_http = self.path.is_some() || self.content.is_some() || !self.headers.is_empty();
        let asked = [
            ("path", asks_http),
            ("command", self.command.is_some()),
            ("listening", self.listening),
            ("uptime", self.uptime.is_some()),
        ];
        let asked: Vec<_> = asked.iter().filter(|(_, is_asked)| *is_asked).map(|(key, _)| *key).collect();
        if asked.len() > 1 {
            let keys = asked.join(" and ");
            return place.refuse(format!("has {keys}; a check asks one thing, so make two checks of it"));
        }
        let (made_up_name, probe) = if let Some(command) = self.command {
            (format!("command {}", command.join(" ")), Probe::Command(command))
        } else if self.listening {
            ("listening on PORT".to_owned(), Probe::Listening)
        } else if let Some(seconds) = self.uptime {
            (format!("up for {seconds} s"), Probe::Uptime { seconds })
        } else {
            // Dokku: a check that says nothing else asks for `/`.
            let path = self.path.unwrap_or_else(|| "/".to_owned());
            (format!("GET {path}"), Probe::Http { path, content: self.content, headers: self.headers })
        };
        let seconds =
            |given: Option<u32>, default: u64| Duration::from_secs(given.map_or(default, u64::from));
        Ok(HealthCheck {
            name: self.name.unwrap_or(made_up_name),
            kind: self.kind,
            probe,
            attempts: self.attempts.unwrap_or(HealthCheck::ATTEMPTS_DEFAULT),
            wait: seconds(self.wait, HealthCheck::WAIT_SECONDS_DEFAULT),
            timeout: seconds(self.timeout, HealthCheck::TIMEOUT_SECONDS_DEFAULT),
            initial_delay: Duration::from_secs(u64::from(self.initial_delay)),
        })
    }
}

fn read_kind(entry: &Reader) -> Result<CheckKind, String> {
    match entry.text()? {
        "startup" | "" => Ok(CheckKind::Startup),
        "readiness" => Ok(CheckKind::Readiness),
        "liveness" => Ok(CheckKind::Liveness),
        _ => entry.refuse("must be \"startup\", \"readiness\" or \"liveness\""),
    }
}

/// A path that can stand in a request line as it is.
fn read_path(entry: &Reader) -> Result<String, String> {
    let path = entry.text()?;
    if !path.starts_with('/') {
        return entry.refuse("must start with /");
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return entry.refuse("must hold printable ASCII without spaces; encode others as %20");
    }
    Ok(path.to_owned())
}

fn read_command(entry: &Reader) -> Result<Vec<String>, String> {
    let words: Vec<String> =
        entry.array()?.iter().map(|word| word.text().map(str::to_owned)).collect::<Result<_, _>>()?;
    match words.first() {
        Some(program) if !program.is_empty() => Ok(words),
        _ => entry.refuse("must name a program"),
    }
}

/// `[{"name": "X-A", "value": "b"}]`; what could end a header early is refused.
fn read_headers(entry: &Reader) -> Result<Vec<(String, String)>, String> {
    let mut headers = Vec::new();
    for header in entry.array()? {
        let (mut name, mut value) = (None, "");
        for (key, field) in header.object()? {
            match key {
                "name" => name = Some(header_name(&field)?),
                "value" => value = header_value(&field)?,
                _ => return field.refuse("is not known; a header has a name and a value"),
            }
        }
        let Some(name) = name else {
            return header.refuse("must have a name");
        };
        headers.push((name.to_owned(), value.to_owned()));
    }
    Ok(headers)
}

fn header_name<'a>(field: &Reader<'a>) -> Result<&'a str, String> {
    let name = field.text()?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return field.refuse("must be a header name");
    }
    Ok(name)
}

fn header_value<'a>(field: &Reader<'a>) -> Result<&'a str, String> {
    let value = field.text()?;
    if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        return field.refuse("must not hold control characters");
    }
    Ok(value)
}
