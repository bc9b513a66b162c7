//! A visitor's request as the event that API Gateway's HTTP APIs hand to a function, payload format 2.0.
//!
//! Where Amazon's own page leaves it open, this follows what was seen of the real thing: only `text/*` and
//! `application/json`, `application/xml`, `application/javascript` come as text, everything else, forms and bodies
//! of no type included, in base64; cookies are moved out of the headers; what would be empty is left out. Two
//! things differ, because Amazon's way loses data. A text that is not UTF-8 comes in base64. And the path stays as
//! the visitor wrote it (function URLs, which share the format, hand it over so): decoded, `/a%2Fb` and `/a/b`
//! would be one.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, header};
use percent_encoding::percent_decode;
use serde::Serialize;

use crate::head::split_port;

/// A request, as much of it as an event tells. The head is the one that an app would get.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    /// As in the request line, without the query.
    pub(super) path: &'a str,
    /// Without the `?`.
    pub(super) query: &'a str,
    /// `HTTP/1.1`.
    pub(super) protocol: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
    /// Host and port, as the visitor wrote them.
    pub(super) host: &'a [u8],
    pub(super) source_ip: &'a str,
    pub(super) request_id: &'a str,
    /// The app's name, in place of an API's id.
    pub(super) app: &'a str,
    /// When it came, in milliseconds since 1970.
    pub(super) time_ms: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    version: &'static str,
    route_key: &'static str,
    raw_path: &'a str,
    raw_query_string: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<Cow<'a, str>>,
    headers: BTreeMap<&'a str, Cow<'a, str>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    query_string_parameters: BTreeMap<String, String>,
    request_context: Context<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Cow<'a, str>>,
    is_base64_encoded: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Context<'a> {
    account_id: &'static str,
    api_id: &'a str,
    domain_name: &'a str,
    domain_prefix: &'a str,
    http: Http<'a>,
    request_id: &'a str,
    route_key: &'static str,
    stage: &'static str,
    time: String,
    time_epoch: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Http<'a> {
    method: &'a str,
    path: &'a str,
    protocol: &'a str,
    source_ip: &'a str,
    user_agent: Cow<'a, str>,
}

/// The one route and the one stage there is.
const DEFAULT: &str = "$default";
/// There are no accounts; twelve digits, as theirs have.
const ACCOUNT: &str = "000000000000";

/// The event as JSON.
///
/// # Errors
/// None that this data can have: every part of it is a string, a number or a map of strings.
pub(super) fn of(request: &Request<'_>) -> Result<Vec<u8>, serde_json::Error> {
    let domain = std::str::from_utf8(split_port(request.host).0).unwrap_or_default();
    let (body, is_base64_encoded) = body(request.headers, request.body);
    let user_agent = request.headers.get(header::USER_AGENT).map(|agent| text(agent.as_bytes()));
    let mut json = Vec::with_capacity(request.body.len() / 3 * 4 + 2048);
    let event = Event {
        version: "2.0",
        route_key: DEFAULT,
        raw_path: request.path,
        raw_query_string: request.query,
        cookies: cookies(request.headers),
        headers: headers(request.headers),
        query_string_parameters: parameters(request.query),
        request_context: Context {
            account_id: ACCOUNT,
            api_id: request.app,
            domain_name: domain,
            domain_prefix: domain.split('.').next().unwrap_or_default(),
            http: Http {
                method: request.method,
                path: request.path,
                protocol: request.protocol,
                source_ip: request.source_ip,
                user_agent: user_agent.unwrap_or_default(),
            },
            request_id: request.request_id,
            route_key: DEFAULT,
            stage: DEFAULT,
            time: log_time(request.time_ms),
            time_epoch: request.time_ms,
        },
        body,
        is_base64_encoded,
    };
    serde_json::to_writer(&mut json, &event)?;
    Ok(json)
}

/// `12/Mar/2020:19:03:58 +0000`.
fn log_time(time_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(time_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string()
}

/// Every field but cookies, those of one name joined by commas.
fn headers(headers: &HeaderMap) -> BTreeMap<&str, Cow<'_, str>> {
    let names = headers.keys().filter(|name| **name != header::COOKIE);
    names
        .map(|name| {
            let mut values = headers.get_all(name).iter().map(|value| text(value.as_bytes()));
            let first = values.next().unwrap_or_default();
            (name.as_str(), values.fold(first, |joined, value| Cow::Owned(format!("{joined},{value}"))))
        })
        .collect()
}

/// The pairs of all `Cookie` fields, one by one.
fn cookies(headers: &HeaderMap) -> Vec<Cow<'_, str>> {
    let pairs =
        headers.get_all(header::COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.map(|pair| text(pair.trim_ascii())).filter(|pair| !pair.is_empty()).collect()
}

/// The parameters of a query, decoded, those of one name joined by commas.
fn parameters(query: &str) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::<String, String>::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value);
        parameters
            .entry(decoded(name))
            .and_modify(|joined| {
                joined.push(',');
                joined.push_str(&value);
            })
            .or_insert(value);
    }
    parameters
}

fn decoded(part: &str) -> String {
    percent_decode(part.replace('+', " ").as_bytes()).decode_utf8_lossy().into_owned()
}

/// The body, and whether it is in base64.
fn body<'a>(headers: &HeaderMap, body: &'a [u8]) -> (Option<Cow<'a, str>>, bool) {
    if body.is_empty() {
        return (None, false);
    }
    match std::str::from_utf8(body) {
        Ok(text) if is_text(headers) => (Some(Cow::Borrowed(text)), false),
        _ => (Some(Cow::Owned(STANDARD.encode(body))), true),
    }
}

fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    kind.starts_with(b"text/")
        || matches!(&kind[..], b"application/json" | b"application/xml" | b"application/javascript")
}

/// A field's value: UTF-8 if it is, else each byte for the character of its number, as browsers take them.
fn text(value: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(value) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(value.iter().map(|byte| char::from(*byte)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use serde_json::{Value, json};

    use super::*;

    fn head(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let fields = lines.iter().map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        });
        fields.fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        })
    }

    fn event(headers: &HeaderMap, query: &str, body: &[u8]) -> Value {
        let request = Request {
            method: "POST",
            path: "/a%20b/%2F",
            query,
            protocol: "HTTP/1.1",
            headers,
            body,
            host: b"Shop.localhost:8080",
            source_ip: "203.0.113.9",
            request_id: "0123",
            app: "shop",
            time_ms: 1_583_348_638_390,
        };
        serde_json::from_slice(&of(&request).unwrap()).unwrap()
    }

    #[test]
    fn an_event_has_the_fields_of_format_2_0() {
        let headers = head(&[
            ("host", "Shop.localhost:8080"),
            ("user-agent", "curl/8"),
            ("x-twice", "a, b"),
            ("x-twice", "c"),
            ("cookie", "one=1; two=2"),
            ("cookie", "three=3;;"),
            ("content-type", "application/json"),
        ]);
        let wanted = json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": "/a%20b/%2F",
            "rawQueryString": "p=1&p=2&q=a+b%2Bc&r&%C3%A9=%ff",
            "cookies": ["one=1", "two=2", "three=3"],
            "headers": {
                "host": "Shop.localhost:8080",
                "user-agent": "curl/8",
                "x-twice": "a, b,c",
                "content-type": "application/json",
            },
            "queryStringParameters": {"p": "1,2", "q": "a b+c", "r": "", "é": "\u{fffd}"},
            "requestContext": {
                "accountId": "000000000000",
                "apiId": "shop",
                "domainName": "Shop.localhost",
                "domainPrefix": "Shop",
                "http": {
                    "method": "POST",
                    "path": "/a%20b/%2F",
                    "protocol": "HTTP/1.1",
                    "sourceIp": "203.0.113.9",
                    "userAgent": "curl/8",
                },
                "requestId": "0123",
                "routeKey": "$default",
                "stage": "$default",
                "time": "04/Mar/2020:19:03:58 +0000",
                "timeEpoch": 1_583_348_638_390_i64,
            },
            "body": "{\"a\":\"é\"}",
            "isBase64Encoded": false,
        });
        assert_eq!(event(&headers, "p=1&p=2&q=a+b%2Bc&r&%C3%A9=%ff", "{\"a\":\"é\"}".as_bytes()), wanted);
    }

    #[test]
    fn what_would_be_empty_is_left_out() {
        let event = event(&HeaderMap::new(), "", b"");
        for absent in ["cookies", "queryStringParameters", "body", "pathParameters", "stageVariables"] {
            assert_eq!(event.get(absent), None, "{absent}");
        }
        assert_eq!(event["isBase64Encoded"], json!(false));
        assert_eq!(event["rawQueryString"], json!(""));
    }

    #[test]
    fn what_is_not_text_comes_in_base64() {
        for (kind, is_text) in [
            ("text/plain", true),
            ("Text/CSV; charset=utf-8", true),
            ("application/json;charset=utf-8", true),
            ("application/xml", true),
            ("application/javascript", true),
            ("application/vnd.api+json", false),
            ("application/x-www-form-urlencoded", false),
            ("multipart/form-data; boundary=text/plain", false),
            ("application/octet-stream", false),
        ] {
            let event = event(&head(&[("content-type", kind)]), "", b"a=b");
            assert_eq!(event["isBase64Encoded"], json!(!is_text), "{kind}");
            assert_eq!(event["body"], json!(if is_text { "a=b" } else { "YT1i" }), "{kind}");
        }
        assert_eq!(event(&HeaderMap::new(), "", b"a=b")["body"], json!("YT1i"), "no type is not text");
        let mangled = event(&head(&[("content-type", "text/plain")]), "", b"\xff\xfe");
        assert_eq!((&mangled["body"], &mangled["isBase64Encoded"]), (&json!("//4="), &json!(true)));
    }
}
