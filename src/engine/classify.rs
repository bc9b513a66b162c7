//! From what bollard reports to [`EngineError`]: where it went wrong decides, then the status, then the words.

use std::{io, time::Duration};

use bollard::errors::Error;
use nix::unistd::{Group, User, geteuid};

use crate::{
    EngineHost,
    error::{EngineError, evidence},
};

/// Statuses of the engine's API.
const NOT_FOUND: u16 = 404;
const CONFLICT: u16 = 409;
/// The status of an answer that began well and turned into an error.
const IN_STREAM: u16 = 200;

/// Says what went wrong in `operation`, of which the engine had `within` to answer.
pub(crate) fn classify(
    host: &EngineHost,
    operation: &'static str,
    within: Duration,
    error: Error,
) -> EngineError {
    match error {
        Error::SocketNotFoundError(_) => unreachable_at(host, &io::Error::from(io::ErrorKind::NotFound)),
        Error::RequestTimeoutError => EngineError::TimedOut { operation, within },
        Error::DockerResponseServerError { status_code, message } => {
            refused(operation, status_code, &message)
        }
        Error::DockerStreamError { error } | Error::DockerContainerWaitError { error, .. } => {
            refused(operation, IN_STREAM, &error)
        }
        Error::HyperLegacyError { err } if err.is_connect() => match io_cause(&err) {
            Some(cause) => unreachable_at(host, cause),
            None => EngineError::Unreachable { host: host.clone(), why: err.to_string() },
        },
        Error::HyperLegacyError { err } => gone(operation, &err),
        Error::HyperResponseError { err } => gone(operation, &err),
        // The body of an answer: nothing else is read with an `io::Error` here.
        Error::IOError { err } => gone(operation, &err),
        other => EngineError::Unexpected { operation, evidence: evidence(&other.to_string()) },
    }
}

/// Why nobody could be connected to.
pub(crate) fn unreachable_at(host: &EngineHost, cause: &io::Error) -> EngineError {
    let why = match cause.kind() {
        io::ErrorKind::PermissionDenied => return denied(host),
        io::ErrorKind::NotFound => "the socket does not exist".to_owned(),
        io::ErrorKind::ConnectionRefused => match host {
            EngineHost::Unix(_) => "nobody listens on the socket".to_owned(),
            EngineHost::Tcp(_) => "nobody listens on the port".to_owned(),
        },
        _ => cause.to_string(),
    };
    EngineError::Unreachable { host: host.clone(), why }
}

fn denied(host: &EngineHost) -> EngineError {
    use std::os::unix::fs::MetadataExt;
    let id = geteuid();
    let user = User::from_uid(id).ok().flatten().map_or_else(|| id.to_string(), |user| user.name);
    let owner = host.socket().and_then(|path| std::fs::metadata(path).ok()).map(|metadata| metadata.gid());
    let group = owner.map(|gid| {
        let group = Group::from_gid(gid.into()).ok().flatten();
        group.map_or_else(|| gid.to_string(), |group| group.name)
    });
    EngineError::Denied { host: host.clone(), user, group }
}

/// Sorts a refusal of the engine itself.
pub(crate) fn refused(operation: &'static str, status: u16, message: &str) -> EngineError {
    let evidence = evidence(message);
    if is_no_space(message) {
        return EngineError::NoSpace { operation, evidence };
    }
    match status {
        NOT_FOUND => EngineError::NotFound { operation, evidence },
        CONFLICT => EngineError::Conflict { operation, evidence },
        status => EngineError::Refused { operation, status, evidence },
    }
}

/// Whether the engine speaks of a full disk, in a refusal or in the middle of a stream.
pub fn is_no_space(message: &str) -> bool {
    let message = message.to_lowercase();
    ["no space left on device", "disk quota exceeded", "not enough space"]
        .iter()
        .any(|words| message.contains(words))
}

fn gone(operation: &'static str, error: &(dyn std::error::Error + 'static)) -> EngineError {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        words = format!("{words}: {inner}");
        cause = inner.source();
    }
    EngineError::Gone { operation, evidence: evidence(&words) }
}

/// The error of the system that stands behind one of the HTTP client.
fn io_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(found) = inner.downcast_ref::<io::Error>() {
            return Some(found);
        }
        cause = inner.source();
    }
    None
}
