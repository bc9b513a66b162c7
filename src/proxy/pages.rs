//! What a visitor reads when no app answers: what happened in one sentence, and what to do next. HTML for a
//! browser, JSON for a program that asks for it, text for everybody else; never cached.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{self, HeaderName},
};

use crate::{access::Said, body::ResponseBody, head::Refusal};

/// A page of the proxy's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    /// Stable, for programs.
    pub(crate) code: &'static str,
    /// One sentence, for people.
    pub(crate) message: String,
    /// What to do next.
    pub(crate) next: &'static str,
    /// Seconds after which another attempt makes sense.
    pub(crate) retry_after_s: Option<u8>,
    /// Further fields of the answer.
    pub(crate) allow: Option<&'static str>,
}

impl Page {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>, next: &'static str) -> Page {
        Page { status, code, message: message.into(), next, retry_after_s: None, allow: None }
    }

    /// No app has this host.
    pub(crate) fn no_app(host: &str) -> Page {
        let message = if host.is_empty() {
            "The request does not say which host it is for.".to_owned()
        } else {
            format!("There is no app at {host}.")
        };
        let next = "Check the address, or push an app of this name to make it live.";
        Page::new(StatusCode::NOT_FOUND, "app_not_found", message, next)
    }

    /// The folder has no such file.
    pub(crate) fn no_file() -> Page {
        let next = "Check the address, or go back to the start page.";
        Page::new(StatusCode::NOT_FOUND, "file_not_found", "This site has no page at this address.", next)
    }

    /// Files are only read.
    pub(crate) fn files_are_read_only() -> Page {
        let message = "This is a site of files: it answers GET and HEAD only.";
        let next = "Use GET, or deploy an app with a web process to receive data.";
        let page = Page::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message, next);
        Page { allow: Some("GET, HEAD"), ..page }
    }

    /// Reading a file went wrong on this side.
    pub(crate) fn file_failed() -> Page {
        let next = "Try again; if it persists, deploy the app again.";
        Page::new(StatusCode::INTERNAL_SERVER_ERROR, "file_unreadable", "The file could not be read.", next)
    }

    /// The app is being worked on.
    pub(crate) fn maintenance() -> Page {
        let message = "The site is down for maintenance.";
        let page =
            Page::new(StatusCode::SERVICE_UNAVAILABLE, "maintenance", message, "Try again in a while.");
        Page { retry_after_s: Some(60), ..page }
    }

    /// Only who has a password gets further.
    pub(crate) fn unauthorized() -> Page {
        let next = "Log in with the user name and password that you were given.";
        Page::new(StatusCode::UNAUTHORIZED, "unauthorized", "This site asks for a password.", next)
    }

    /// Wrong passwords came from there, one after another.
    pub(crate) fn too_many_attempts(seconds: u8) -> Page {
        let message = "Too many wrong passwords came from your address.";
        let page =
            Page::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", message, "Try again in a minute.");
        Page { retry_after_s: Some(seconds), ..page }
    }

    /// The app is published without an instance.
    pub(crate) fn no_instance() -> Page {
        let message = "The app has no running instance yet.";
        let next = "Try again in a few seconds; if it persists, read the app's log.";
        let page = Page::new(StatusCode::SERVICE_UNAVAILABLE, "no_instance", message, next);
        Page { retry_after_s: Some(5), ..page }
    }

    /// No instance takes connections.
    pub(crate) fn unreachable() -> Page {
        let message = "No instance of the app accepts connections.";
        let next = "Try again in a few seconds; if it persists, read the app's log.";
        let page = Page::new(StatusCode::SERVICE_UNAVAILABLE, "app_unreachable", message, next);
        Page { retry_after_s: Some(2), ..page }
    }

    /// The app hung up, or what it said was not HTTP.
    pub(crate) fn broken_answer() -> Page {
        let message = "The app closed the connection without a complete answer.";
        let next = "Read the app's log: it probably failed on this request.";
        Page::new(StatusCode::BAD_GATEWAY, "app_closed_connection", message, next)
    }

    /// The app said nothing for too long.
    pub(crate) fn late_answer(seconds: u64) -> Page {
        let message = format!("The app did not begin to answer within {seconds} seconds.");
        let next = "Read the app's log: it may be overloaded or waiting for something.";
        Page::new(StatusCode::GATEWAY_TIMEOUT, "app_timeout", message, next)
    }

    /// The function failed on this request.
    pub(crate) fn function_failed() -> Page {
        let next = "Read the app's log: the function says there what went wrong.";
        Page::new(StatusCode::BAD_GATEWAY, "function_failed", "The function failed on this request.", next)
    }

    /// The function, or the emulator around it, gave up.
    pub(crate) fn function_timed_out() -> Page {
        let message = "The function did not finish in its time.";
        let next = "Read the app's log: it may be waiting for something.";
        Page::new(StatusCode::GATEWAY_TIMEOUT, "function_timeout", message, next)
    }

    /// What the function returned is no HTTP response: `why` is a fragment.
    pub(crate) fn function_answer_malformed(why: &'static str) -> Page {
        let message = format!("What the function returned is not an HTTP response: {why}.");
        let next = "Return statusCode, headers, cookies, body and isBase64Encoded as API Gateway's payload format 2.0 has them.";
        Page::new(StatusCode::BAD_GATEWAY, "function_answer_malformed", message, next)
    }

    /// Every instance is at work and too many wait, or for too long.
    pub(crate) fn function_busy() -> Page {
        let message = "Every instance of the function is at work.";
        let next = "Try again in a few seconds; if it persists, scale the app up.";
        let page = Page::new(StatusCode::SERVICE_UNAVAILABLE, "function_busy", message, next);
        Page { retry_after_s: Some(2), ..page }
    }

    /// The event made of the request would be larger than a function may get.
    pub(crate) fn event_too_large() -> Page {
        let message =
            "The request is larger than a function can receive: 6 MiB, or 4.5 MiB of what is not text.";
        let next = "Send less at once, or upload large files to a store and send the address.";
        Page::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message, next)
    }

    /// A function answers requests; there is nobody to keep a connection.
    pub(crate) fn function_has_no_upgrade() -> Page {
        let message = "This app is a function: it answers requests and cannot keep a WebSocket open.";
        let next = "Use plain requests, or deploy an app with a web process for WebSockets.";
        Page::new(StatusCode::NOT_IMPLEMENTED, "websocket_not_supported", message, next)
    }

    /// The client's own body broke off.
    pub(crate) fn broken_request() -> Page {
        let message = "The request's body ended before its end.";
        Page::new(StatusCode::BAD_REQUEST, "incomplete_request", message, "Send the request again.")
    }

    /// The head was refused.
    pub(crate) fn refused(refusal: Refusal) -> Page {
        let (status, code) = match refusal {
            Refusal::Version => (StatusCode::HTTP_VERSION_NOT_SUPPORTED, "version_not_supported"),
            Refusal::Method => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Refusal::TooLarge => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large"),
            Refusal::Timeout => (StatusCode::REQUEST_TIMEOUT, "request_timeout"),
            Refusal::RequestLine
            | Refusal::Target
            | Refusal::Header
            | Refusal::Host
            | Refusal::HostMismatch
            | Refusal::ContentLength
            | Refusal::TransferEncoding => (StatusCode::BAD_REQUEST, "bad_request"),
        };
        let message = format!("The request was refused: {refusal}.");
        let page = Page::new(status, code, message, "Correct the request and send it again.");
        let allow = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
        Page { allow: (refusal == Refusal::Method).then_some(allow), ..page }
    }

    /// The page in the form that the request's `Accept` prefers.
    pub(crate) fn answer(&self, accept: Option<&HeaderValue>) -> Response<ResponseBody> {
        let (kind, text) = match Form::wanted(accept) {
            Form::Html => ("text/html; charset=utf-8", self.html()),
            Form::Json => ("application/json", self.json()),
            Form::Text => ("text/plain; charset=utf-8", format!("{}\n{}\n", self.message, self.next)),
        };
        let said = Said { code: self.code, desc: self.message.clone() };
        let mut response = Response::new(ResponseBody::page(Bytes::from(text), said));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let mut set =
            |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
        set(header::CONTENT_TYPE, kind);
        set(header::CACHE_CONTROL, "no-store");
        set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        set(header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'");
        if let Some(allow) = self.allow {
            set(header::ALLOW, allow);
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(u16::from(seconds)));
        }
        response
    }

    fn html(&self) -> String {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let status = self.status.as_u16();
        let (message, next) = (escaped(&self.message), escaped(self.next));
        format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>{status} {title}</title>\
             <style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:18vh auto 0;padding:0 1rem;\
             color:#222;background:#fff}}small{{color:#666}}@media(prefers-color-scheme:dark){{body{{color:#ddd;\
             background:#181818}}small{{color:#999}}}}</style>\
             <h1>{message}</h1><p>{next}</p><small>{status} {title}</small></html>\n"
        )
    }

    fn json(&self) -> String {
        let (message, next) = (json_text(&self.message), json_text(self.next));
        let code = self.code;
        format!(r#"{{"error":{{"code":"{code}","message":{message},"details":{{"next":{next}}}}}}}"#)
    }
}

enum Form {
    Html,
    Json,
    Text,
}

impl Form {
    fn wanted(accept: Option<&HeaderValue>) -> Form {
        let accept = accept.and_then(|value| value.to_str().ok()).unwrap_or_default();
        if accept.contains("text/html") {
            Form::Html
        } else if accept.contains("application/json") || accept.contains("+json") {
            Form::Json
        } else {
            Form::Text
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A JSON string. What is put into these pages has no control characters; if it had, they would be left out.
fn json_text(text: &str) -> String {
    let kept: String = text.chars().filter(|char| !char.is_control()).collect();
    format!("\"{}\"", kept.replace('\\', "\\\\").replace('"', "\\\""))
}
