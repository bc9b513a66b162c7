//! What a deployment asks a new instance of a function before a visitor does: whether the runtime starts and
//! finds the handler.

use http::{HeaderMap, HeaderValue, header};

use super::{
    answer::{FunctionError, is_time_out},
    event,
};

/// Where the emulator takes events: `POST` with the event as JSON.
pub const INVOCATION_PATH: &str = "/2015-03-31/functions/function/invocations";

/// Characters of a function's error message that are shown.
const MESSAGE_CHARS_MAX: usize = 300;

/// The event of `GET /` as a visitor of `host` (no port) would cause it at `time_ms` (since 1970), as JSON.
///
/// Send it to [`INVOCATION_PATH`] of an instance that is not published yet, and wait for the answer: the
/// emulator ends itself when a second event comes while it works on one.
pub fn probe_event(app: &str, host: &str, time_ms: i64) -> Vec<u8> {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static("autostack-health"));
    if let Ok(host) = HeaderValue::from_str(host) {
        headers.insert(header::HOST, host);
    }
    let request = event::Request {
        method: "GET",
        path: "/",
        query: "",
        protocol: "HTTP/1.1",
        headers: &headers,
        body: b"",
        host: host.as_bytes(),
        source_ip: "127.0.0.1",
        request_id: "health-check",
        app,
        time_ms,
    };
    // Strings and numbers only: it cannot fail.
    event::of(&request).unwrap_or_default()
}

/// Errors with which a runtime says that it will never handle an event, whatever the event.
const NEVER: [&str; 9] = [
    "Runtime.ImportModuleError",
    "Runtime.UserCodeSyntaxError",
    "Runtime.HandlerNotFound",
    "Runtime.NoSuchHandler",
    "Runtime.MalformedHandlerName",
    "Runtime.ExitError",
    "Runtime.InvalidEntrypoint",
    "Runtime.InvalidWorkingDir",
    "Extension.InitError",
];

/// Whether the answer to [`probe_event`] comes from a function that works: one that was found and invoked,
/// whatever it made of the event; an error of its own may be right for `GET /`.
///
/// # Errors
/// What was seen instead, as a fragment: the type and the message of the runtime's error.
pub fn judge(status: u16, body: &[u8]) -> Result<(), String> {
    if is_time_out(body) {
        return Err(shown(&String::from_utf8_lossy(body)));
    }
    match FunctionError::find(body) {
        // The emulator passes an error of the function on with 200, one of its own (and of the start) with 502.
        Some(error)
            if NEVER.contains(&error.kind.as_str()) || (status != 200 && !is_about_result(&error)) =>
        {
            let message = error.message.unwrap_or_default();
            Err(format!("{}: {}", shown(&error.kind), shown(&message)))
        }
        None if status != 200 => Err(format!("the runtime did not start the function (HTTP {status})")),
        Some(_) | None => Ok(()),
    }
}

/// Whether the function was invoked, and only its result could not be passed on.
fn is_about_result(error: &FunctionError) -> bool {
    error.kind == "Function.ResponseSizeTooLarge"
}

/// One line of what the function says, for a terminal.
fn shown(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|char| !char.is_control()).take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_function_that_cannot_be_found_is_not_healthy() {
        for (status, body, seen) in [
            (
                502,
                r#"{"errorMessage": "Unable to import module 'app': No module named 'app'", "errorType": "Runtime.ImportModuleError", "requestId": "", "stackTrace": []}"#,
                "Runtime.ImportModuleError: Unable to import module 'app': No module named 'app'",
            ),
            (
                200,
                r#"{"errorMessage": "Handler 'x' missing\n\u001b[2Jon module", "errorType": "Runtime.HandlerNotFound"}"#,
                "Runtime.HandlerNotFound: Handler 'x' missing [2Jon module",
            ),
            (
                502,
                r#"{"errorType":"java.lang.ClassNotFoundException"}"#,
                "java.lang.ClassNotFoundException: ",
            ),
            (502, "", "the runtime did not start the function (HTTP 502)"),
            (200, "Task timed out after 3.00 seconds", "Task timed out after 3.00 seconds"),
        ] {
            assert_eq!(judge(status, body.as_bytes()), Err(seen.to_owned()));
        }
    }

    #[test]
    fn whatever_a_function_makes_of_the_event_is_healthy() {
        for (status, body) in [
            (200, r#"{"statusCode": 404}"#),
            (200, "null"),
            (200, r#"{"errorMessage": "no such key", "errorType": "KeyError", "stackTrace": []}"#),
            (200, r#"{"errorMessage": "not JSON serializable", "errorType": "Runtime.MarshalError"}"#),
            (502, r#"{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"too large"}"#),
        ] {
            assert_eq!(judge(status, body.as_bytes()), Ok(()), "{body}");
        }
    }

    #[test]
    fn the_event_is_that_of_a_visit() {
        let event: Value = serde_json::from_slice(&probe_event("shop", "shop.localhost", 0)).unwrap();
        assert_eq!(event["rawPath"], json!("/"));
        assert_eq!(event["headers"]["host"], json!("shop.localhost"));
        assert_eq!(event["requestContext"]["http"]["method"], json!("GET"));
    }
}
