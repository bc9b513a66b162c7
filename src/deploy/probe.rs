//! One attempt of one health check, and what it saw.

use std::{net::SocketAddr, time::Duration};

use autostack_domain::{InstanceSpec, health::Probe};
use autostack_logs::BuildLog;
use autostack_proxy::lambda;
use autostack_runtime::{Backend, ExecRequest, RuntimeError};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response, StatusCode, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::Instant};

use crate::deployer::Parts;

/// Bytes of an answer that are searched for a check's `content`.
const CONTENT_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of what a function may return: as much as its visitors may get of it.
const RESULT_BYTES_MAX: usize = 6 * 1024 * 1024 + 100;
/// Characters of an answer that are shown.
const EXCERPT_CHARS_MAX: usize = 120;
/// Bytes that one attempt of a command check may write into the app's log.
const COMMAND_OUTPUT_BYTES_MAX: u64 = 16 * 1024;

/// An instance that was started and where it should listen.
#[derive(Debug, Clone)]
pub(crate) struct Started {
    /// What was asked for.
    pub(crate) spec: InstanceSpec,
    /// Where it was told to listen.
    pub(crate) endpoint: SocketAddr,
    /// When it was started.
    pub(crate) since: Instant,
}

/// Asks once. `Err` says what was seen instead, as a fragment: `HTTP 500`, `no answer: connection refused`.
pub(crate) async fn ask(parts: &Parts, instance: &Started, probe: &Probe, host: &str) -> Result<(), String> {
    match probe {
        Probe::Http { path, content, headers } => {
            let (status, body) =
                get(instance.endpoint, host, path, headers, |answer| whole(answer, CONTENT_BYTES_MAX))
                    .await?;
            judge(status, &body, content.as_deref())
        }
        Probe::Command(words) => run_command(parts, instance, words).await,
        Probe::Listening => {
            let connected = TcpStream::connect(instance.endpoint).await;
            connected.map(drop).map_err(|error| format!("it does not accept a connection: {error}"))
        }
        Probe::Uptime { seconds } => {
            tokio::time::sleep_until(instance.since + Duration::from_secs(u64::from(*seconds))).await;
            Ok(())
        }
    }
}

fn judge(status: StatusCode, body: &[u8], content: Option<&str>) -> Result<(), String> {
    if !(status.is_success() || status.is_redirection()) {
        return Err(format!("HTTP {}{}", status.as_u16(), excerpt(body)));
    }
    match content {
        Some(text) if !holds(body, text.as_bytes()) => {
            Err(format!("HTTP {}, but the answer does not hold {text:?}", status.as_u16()))
        }
        _ => Ok(()),
    }
}

/// The head of an answer's text, for people: what the app itself says is often the reason.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * EXCERPT_CHARS_MAX)]);
    let line: String =
        text.trim().lines().next().unwrap_or_default().trim_end().chars().take(EXCERPT_CHARS_MAX).collect();
    if line.is_empty() { line } else { format!(", it says {line:?}") }
}

fn holds(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}

/// Asks for `/` and takes any answer at all.
pub(crate) async fn answers(endpoint: SocketAddr, host: &str) -> Result<(), String> {
    get(endpoint, host, "/", &[], |_answer| async { Ok(()) }).await
}

/// Sends a function one event and judges what it makes of it.
pub(crate) async fn invoke(instance: &Started, host: &str) -> Result<(), String> {
    let event = lambda::probe_event(instance.spec.app.as_str(), host, autostack_base::now().0);
    let request = Request::post(lambda::INVOCATION_PATH)
        .header(header::HOST, instance.endpoint.to_string())
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(event));
    let (status, body) =
        exchange(instance.endpoint, request, |answer| whole(answer, RESULT_BYTES_MAX)).await?;
    lambda::judge(status.as_u16(), &body)
}

async fn whole(answer: Response<Incoming>, bytes_max: usize) -> Result<(StatusCode, Bytes), String> {
    let status = answer.status();
    let body = Limited::new(answer.into_body(), bytes_max).collect().await;
    let body = body.map_err(|error| format!("HTTP {}, then its body broke off: {error}", status.as_u16()))?;
    Ok((status, body.to_bytes()))
}

async fn get<T, F: Future<Output = Result<T, String>>>(
    endpoint: SocketAddr,
    host: &str,
    path: &str,
    headers: &[(String, String)],
    read: impl FnOnce(Response<Incoming>) -> F,
) -> Result<T, String> {
    let mut request =
        Request::get(path).header(header::HOST, host).header(header::USER_AGENT, "autostack-health-check");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    exchange(endpoint, request.body(Full::default()), read).await
}

/// Sends one request over a connection of its own.
async fn exchange<T, F: Future<Output = Result<T, String>>>(
    endpoint: SocketAddr,
    request: http::Result<Request<Full<Bytes>>>,
    read: impl FnOnce(Response<Incoming>) -> F,
) -> Result<T, String> {
    let no_answer =
        |error: &dyn std::error::Error| format!("no answer: {}", autostack_base::error_chain(error));
    let request = request.map_err(|error| format!("the check cannot be asked: {error}"))?;
    let stream = TcpStream::connect(endpoint).await.map_err(|error| no_answer(&error))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| no_answer(&error))?;
    let exchange =
        async { read(sender.send_request(request).await.map_err(|error| no_answer(&error))?).await };
    tokio::pin!(exchange, connection);
    tokio::select! {
        answer = &mut exchange => answer,
        // The connection may end before the answer was taken out of it.
        _ = &mut connection => exchange.await,
    }
}

/// Runs beside the instance, where it sees what the instance sees; its output goes to the app's log.
async fn run_command(parts: &Parts, instance: &Started, words: &[String]) -> Result<(), String> {
    let could_not = |error: &RuntimeError| {
        format!("its command could not be run: {}", autostack_base::error_chain(error))
    };
    let log = parts.logs.app(&instance.spec.app);
    let log = log.map_err(|error| format!("the app's log cannot be written: {error}"))?;
    let log = BuildLog::new(log, COMMAND_OUTPUT_BYTES_MAX);
    let command = words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    let request = ExecRequest { command, ..ExecRequest::default() };
    let session = parts.runtime.exec(&instance.spec.id, request).await;
    let mut session = session.map_err(|error| could_not(&error))?;
    drop(session.take_stdin());
    while let Some((_, bytes)) = session.output().await {
        log.raw(&bytes);
    }
    log.flush();
    match session.wait().await {
        Ok(exit) if exit.is_success() => Ok(()),
        Ok(exit) => Err(format!("its command {exit}")),
        Err(error) => Err(could_not(&error)),
    }
}

/// A word as `/bin/sh` reads it back unchanged.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_and_its_content_are_judged() {
        assert!(judge(StatusCode::OK, b"", None).is_ok());
        assert!(judge(StatusCode::FOUND, b"", None).is_ok());
        assert_eq!(judge(StatusCode::INTERNAL_SERVER_ERROR, b"", None).unwrap_err(), "HTTP 500");
        let told = judge(StatusCode::BAD_GATEWAY, b"\n no database \nat line 3", None).unwrap_err();
        assert_eq!(told, "HTTP 502, it says \"no database\"");
        assert!(judge(StatusCode::OK, b"all is well", Some("well")).is_ok());
        assert!(judge(StatusCode::OK, b"all is lost", Some("well")).unwrap_err().contains("\"well\""));
    }

    #[test]
    fn a2_a_word_of_a_command_stays_one_word() {
        assert_eq!(quoted("a b; $(id) `id`"), "'a b; $(id) `id`'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
