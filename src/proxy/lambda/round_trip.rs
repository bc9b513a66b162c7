//! Whatever a visitor sends to a function that gives back what it got, the visitor gets: through `event` and
//! `answer`, without the emulator between them.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::{
    answer::{self, Outcome},
    event,
};

fn event(headers: &HeaderMap, path: &str, query: &str, body: &[u8]) -> Value {
    let request = event::Request {
        method: "POST",
        path,
        query,
        protocol: "HTTP/1.1",
        headers,
        body,
        host: b"fn.localhost",
        source_ip: "127.0.0.1",
        request_id: "id",
        app: "fn",
        time_ms: 0,
    };
    serde_json::from_slice(&event::of(&request).unwrap()).unwrap()
}

/// What the visitor gets of a function that returns this.
fn answered(result: &Value) -> (StatusCode, HeaderMap, Vec<u8>) {
    match answer::read(StatusCode::OK, &serde_json::to_vec(result).unwrap()) {
        Outcome::Answer(parts, body) => (parts.status, parts.headers, body),
        other => panic!("{other:?}"),
    }
}

/// Names of fields that a function may set, and values that fields may have.
fn fields() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map("x-[a-z0-9-]{1,12}", "([!-~äß€]([ -~äß€]{0,20}[!-~äß€])?)?", 0..10)
}

fn kinds() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "text/plain",
        "application/json",
        "image/png",
        "application/x-www-form-urlencoded",
    ])
}

proptest! {
    #[test]
    fn a_body_comes_back_byte_for_byte(body in vec(any::<u8>(), 0..300), text in ".{0,100}", kind in kinds()) {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        for sent in [&body[..], text.as_bytes()] {
            let event = event(&headers, "/", "", sent);
            let echoed = json!({
                "statusCode": 200,
                "headers": {"Content-Type": event["headers"]["content-type"]},
                "body": event.get("body"),
                "isBase64Encoded": event["isBase64Encoded"],
            });
            let (status, got_headers, got) = answered(&echoed);
            prop_assert_eq!(status, StatusCode::OK);
            prop_assert_eq!(&got_headers[header::CONTENT_TYPE], kind);
            prop_assert_eq!(&got, sent);
        }
    }

    #[test]
    fn fields_and_cookies_come_back(fields in fields(), cookies in vec("[a-z]{1,5}=[!-:<-~]{0,10}", 0..5)) {
        let mut headers = HeaderMap::new();
        for (name, value) in &fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers.append(header::COOKIE, HeaderValue::from_str(&cookies.join("; ")).unwrap());
        let event = event(&headers, "/", "", b"");
        let echoed = json!({"statusCode": 200, "headers": event["headers"], "cookies": event.get("cookies")});
        let (_, got, body) = answered(&echoed);
        prop_assert!(body.is_empty());
        let set: Vec<_> = got.get_all(header::SET_COOKIE).iter().map(|cookie| cookie.to_str().unwrap()).collect();
        prop_assert_eq!(set, cookies);
        for (name, value) in &fields {
            prop_assert_eq!(got[name].as_bytes(), value.as_bytes());
        }
    }

    #[test]
    fn parameters_are_decoded(pairs in vec((".{1,8}", ".{0,8}"), 0..6)) {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let query: Vec<_> = pairs.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        let mut wanted = BTreeMap::<&str, Vec<&str>>::new();
        for (name, value) in &pairs {
            wanted.entry(name).or_default().push(value);
        }
        let wanted: BTreeMap<_, _> = wanted.into_iter().map(|(name, values)| (name, values.join(","))).collect();
        let event = event(&HeaderMap::new(), "/", &query.join("&"), b"");
        prop_assert_eq!(&event["rawQueryString"], &json!(query.join("&")));
        let got = event.get("queryStringParameters").cloned().unwrap_or(json!({}));
        prop_assert_eq!(got, json!(wanted));
    }

    #[test]
    fn whatever_a_function_returns_is_read(result in vec(any::<u8>(), 0..200), status in 100_u16..600) {
        let _ = answer::read(StatusCode::from_u16(status).unwrap(), &result);
    }

    #[test]
    fn what_has_a_status_is_an_answer_or_refused(
        status in any::<i32>(),
        name in ".{0,10}",
        value in ".{0,10}",
        body in ".{0,10}",
        is_base64 in any::<bool>(),
    ) {
        let result = json!({
            "statusCode": status, "headers": {name: value}, "body": body, "isBase64Encoded": is_base64,
        });
        match answer::read(StatusCode::OK, result.to_string().as_bytes()) {
            Outcome::Answer(parts, _) => prop_assert_eq!(i32::from(parts.status.as_u16()), status),
            Outcome::Malformed(_) => {}
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
