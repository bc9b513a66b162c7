//! What a function returned, as the answer to the visitor; the counterpart of `event`.
//!
//! Two forms, as in payload format 2.0: an object with `statusCode` says everything itself; any other JSON is the
//! body of a 200. And a third, which no visitor sees: the emulator hands an error of the function over as if it
//! were a result, and can only be told by the fields that the runtimes give it.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, response};
use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, Visitor},
};

use crate::limits::{HEAD_BYTES_MAX, HEADERS_MAX};

/// What came back of an invocation.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The head of an answer and its body.
    Answer(response::Parts, Vec<u8>),
    /// The function, or the runtime around it, failed: the type of the error.
    Failed(String),
    /// The function took longer than the emulator lets it.
    TimedOut,
    /// What it returned is not an answer: why, as a fragment.
    Malformed(&'static str),
}

/// Reads what the emulator answered.
pub(super) fn read(status: StatusCode, result: &[u8]) -> Outcome {
    if status == StatusCode::GATEWAY_TIMEOUT || is_time_out(result) {
        return Outcome::TimedOut;
    }
    if let Some(error) = FunctionError::find(result) {
        return Outcome::Failed(error.kind);
    }
    if status != StatusCode::OK {
        return Outcome::Failed(format!("HTTP {}", status.as_u16()));
    }
    shaped(result).or_else(|| inferred(result)).unwrap_or(Outcome::Malformed("it is not JSON"))
}

/// Whether this is the sentence with which the emulator ends a function; it is not JSON.
pub(super) fn is_time_out(result: &[u8]) -> bool {
    result.starts_with(b"Task timed out after ")
}

/// An error as the runtimes report it, and nothing else: a result that merely has such fields is a result.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FunctionError {
    #[serde(rename = "errorType")]
    pub(super) kind: String,
    #[serde(rename = "errorMessage")]
    pub(super) message: Option<String>,
    #[serde(rename = "requestId")]
    _request_id: Option<IgnoredAny>,
    #[serde(rename = "stackTrace")]
    _stack_trace: Option<IgnoredAny>,
    #[serde(rename = "trace")]
    _trace: Option<IgnoredAny>,
    #[serde(rename = "cause")]
    _cause: Option<IgnoredAny>,
}

impl FunctionError {
    pub(super) fn find(result: &[u8]) -> Option<FunctionError> {
        serde_json::from_slice(result).ok()
    }
}

/// The object with `statusCode`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shaped<'a> {
    status_code: Status,
    headers: Option<BTreeMap<String, Scalar>>,
    multi_value_headers: Option<BTreeMap<String, Vec<Scalar>>>,
    cookies: Option<Vec<String>>,
    #[serde(borrow)]
    body: Option<Cow<'a, str>>,
    is_base64_encoded: Option<bool>,
}

/// Only whether there is a `statusCode`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HasStatus {
    status_code: Option<IgnoredAny>,
}

/// The first form, if it is that.
fn shaped(result: &[u8]) -> Option<Outcome> {
    if !result.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    serde_json::from_slice::<HasStatus>(result).ok()?.status_code?;
    let Ok(shaped) = serde_json::from_slice::<Shaped<'_>>(result) else {
        return Some(Outcome::Malformed("a field is not of the type that it must have"));
    };
    Some(shaped.answer().unwrap_or_else(Outcome::Malformed))
}

/// The second form: the JSON itself, of a string its text.
fn inferred(result: &[u8]) -> Option<Outcome> {
    let result = result.trim_ascii();
    serde_json::from_slice::<IgnoredAny>(result).ok()?;
    let body = serde_json::from_slice::<String>(result).map_or_else(|_| result.to_vec(), String::into_bytes);
    let mut parts = head(StatusCode::OK);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Some(Outcome::Answer(parts, body))
}

impl Shaped<'_> {
    fn answer(self) -> Result<Outcome, &'static str> {
        let status = StatusCode::from_u16(self.status_code.0).map_err(|_| "statusCode is not a status")?;
        if !(200..=599).contains(&status.as_u16()) {
            return Err("statusCode is not between 200 and 599");
        }
        let mut parts = head(status);
        let single = self.headers.unwrap_or_default().into_iter().map(|(name, value)| (name, vec![value]));
        for (name, values) in single.chain(self.multi_value_headers.unwrap_or_default()) {
            add(&mut parts.headers, &name, values.into_iter().filter_map(|value| value.0))?;
        }
        add(&mut parts.headers, header::SET_COOKIE.as_str(), self.cookies.unwrap_or_default())?;
        // What frames the answer is known here, and only here.
        parts.headers.remove(header::CONTENT_LENGTH);
        let bytes = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
        if parts.headers.len() > HEADERS_MAX
            || parts.headers.iter().map(bytes).sum::<usize>() > HEAD_BYTES_MAX
        {
            return Err("it has too many headers, or they are too long");
        }
        let text = self.body.unwrap_or_default();
        let body = if self.is_base64_encoded == Some(true) {
            STANDARD
                .decode(text.as_bytes())
                .map_err(|_| "its body is not the base64 that isBase64Encoded announces")?
        } else {
            text.into_owned().into_bytes()
        };
        if matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED) {
            return Ok(Outcome::Answer(parts, Vec::new()));
        }
        if !body.is_empty() && !parts.headers.contains_key(header::CONTENT_TYPE) {
            let kind = HeaderValue::from_static("text/plain;charset=UTF-8");
            parts.headers.insert(header::CONTENT_TYPE, kind);
        }
        Ok(Outcome::Answer(parts, body))
    }
}

fn head(status: StatusCode) -> response::Parts {
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = status;
    parts
}

/// Adds a field for each value. A line break in one, with which it could add fields of its own, is refused.
fn add(
    headers: &mut HeaderMap,
    name: &str,
    values: impl IntoIterator<Item = String>,
) -> Result<(), &'static str> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "the name of a header is not valid")?;
    for value in values {
        let value =
            HeaderValue::from_bytes(value.as_bytes()).map_err(|_| "the value of a header is not valid")?;
        let added = headers.try_append(&name, value);
        added.map_err(|_| "it has too many headers, or they are too long")?;
    }
    Ok(())
}

/// A status as a number, or as a string of its digits.
struct Status(u16);

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = Status;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Status, E> {
                u16::try_from(number).map(Status).map_err(E::custom)
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Status, E> {
                // Lua, and JavaScript by way of some encoders, know no other numbers.
                let whole = (100..1000).find(|status| f64::from(*status) == number);
                whole.map(Status).ok_or_else(|| E::custom("not whole"))
            }

            fn visit_str<E: de::Error>(self, digits: &str) -> Result<Status, E> {
                digits.parse().map(Status).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Digits)
    }
}

/// A header's value: a string, or what has one obvious string; null is none.
struct Scalar(Option<String>);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Obvious;
        impl Visitor<'_> for Obvious {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a number or a truth value")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(Some(text.to_owned())))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Scalar, E> {
                Ok(Scalar(Some(number.to_string())))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar(Some(number.to_string())))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Scalar, E> {
                Ok(Scalar(Some(number.to_string())))
            }

            fn visit_bool<E: de::Error>(self, is_so: bool) -> Result<Scalar, E> {
                Ok(Scalar(Some(is_so.to_string())))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Scalar, E> {
                Ok(Scalar(None))
            }
        }
        deserializer.deserialize_any(Obvious)
    }
}
