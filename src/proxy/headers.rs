//! What of a head is passed on, and what the proxy says about the client.
//!
//! Fields that belong to one connection (hop by hop, and those that `Connection` names) are removed *before*
//! the proxy's own are added, so that a client cannot have those removed. Fields in which a proxy vouches
//! for something are never taken from a client, in any spelling: some servers hand `X_Forwarded_For` to the
//! app under the name of `X-Forwarded-For`.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, Entry},
};

pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// What was taken off the path on the way to the app.
pub(crate) const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the proxy knows about a client connection, as header values made once.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    ip: IpAddr,
    address: HeaderValue,
    is_encrypted: bool,
}

impl Client {
    pub(crate) fn new(address: IpAddr, is_encrypted: bool) -> Self {
        // An address prints as visible ASCII; the fallback is never taken.
        let ip = address.to_canonical();
        let text = ip.to_string();
        let address = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("unknown"));
        Self { ip, address, is_encrypted }
    }

    /// Where it connects from.
    pub(crate) fn address(&self) -> IpAddr {
        self.ip
    }

    /// The same as the value of a header.
    pub(crate) fn address_text(&self) -> &HeaderValue {
        &self.address
    }
}

/// Makes the head of a client's request one for the app. `host` is the `Host` that it came with.
pub(crate) fn to_app(headers: &mut HeaderMap, client: &Client, host: &HeaderValue, request_id: HeaderValue) {
    remove_hop_by_hop(headers);
    remove_all(headers, is_not_for_clients);
    // hyper answers an expectation itself, as soon as the app's side reads the body.
    headers.remove(header::EXPECT);
    let (proto, default_port) = if client.is_encrypted { ("https", "443") } else { ("http", "80") };
    let port = match crate::head::split_port(host.as_bytes()).1 {
        Some(port) => HeaderValue::from_bytes(port).unwrap_or(HeaderValue::from_static(default_port)),
        None => HeaderValue::from_static(default_port),
    };
    headers.insert(X_FORWARDED_FOR, client.address.clone());
    headers.insert(X_FORWARDED_HOST, host.clone());
    headers.insert(X_FORWARDED_PORT, port);
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
    headers.insert(X_REQUEST_ID, request_id);
    headers.insert(header::HOST, host.clone());
}

/// Makes the head of an app's answer one for the client.
pub(crate) fn to_client(headers: &mut HeaderMap, request_id: HeaderValue) {
    // Beside a transfer coding the length means nothing (RFC 9112, 6.3); repeated it was found equal.
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    } else if headers.get_all(header::CONTENT_LENGTH).iter().nth(1).is_some()
        && let Some(length) = headers.remove(header::CONTENT_LENGTH)
    {
        headers.insert(header::CONTENT_LENGTH, length);
    }
    remove_hop_by_hop(headers);
    if let Entry::Vacant(free) = headers.entry(X_REQUEST_ID) {
        free.insert(request_id);
    }
}

/// Removes what belongs to one connection only.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if let Entry::Occupied(connection) = headers.entry(header::CONNECTION) {
        let named: Vec<HeaderName> = connection.iter().flat_map(names_in).collect();
        connection.remove_entry_mult();
        for name in named {
            headers.remove(name);
        }
    }
    remove_all(headers, is_hop_by_hop);
}

/// The header names in a `Connection` value. Those without which the message would be another one stay.
fn names_in(value: &HeaderValue) -> impl Iterator<Item = HeaderName> {
    let is_kept = |name: &HeaderName| {
        matches!(
            *name,
            header::HOST | header::CONTENT_LENGTH | header::CONTENT_TYPE | header::TRANSFER_ENCODING
        )
    };
    let tokens = value.as_bytes().split(|byte| *byte == b',');
    tokens
        .map(|token| token.trim_ascii())
        // What most connections say names no field.
        .filter(|token| !token.eq_ignore_ascii_case(b"keep-alive") && !token.eq_ignore_ascii_case(b"close"))
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .filter(move |name| !is_kept(name))
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    match *name {
        header::CONNECTION
        | header::PROXY_AUTHORIZATION
        | header::TE
        | header::TRAILER
        | header::TRANSFER_ENCODING
        | header::UPGRADE => true,
        _ => matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings"),
    }
}

/// Fields that only a proxy may set, in any spelling; and `Proxy`, which CGI takes for a setting.
fn is_not_for_clients(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    match name.first() {
        Some(b'x') => {
            starts_with(name, b"x-forwarded")
                || is_spelled(name, b"x-real-ip")
                || is_spelled(name, b"x-request-id")
                || is_spelled(name, b"x-request-start")
        }
        Some(b'f') => is_spelled(name, b"forwarded"),
        Some(b'p') => name == b"proxy",
        _ => false,
    }
}

/// Whether `name` begins with `prefix`, `_` counting as `-`.
fn starts_with(name: &[u8], prefix: &[u8]) -> bool {
    name.len() >= prefix.len()
        && name.iter().zip(prefix).all(|(got, wanted)| got == wanted || (*got == b'_' && *wanted == b'-'))
}

fn is_spelled(name: &[u8], wanted: &[u8]) -> bool {
    name.len() == wanted.len() && starts_with(name, wanted)
}

fn remove_all(headers: &mut HeaderMap, is_removed: fn(&HeaderName) -> bool) {
    while let Some(name) = headers.keys().find(|name| is_removed(name)).cloned() {
        headers.remove(name);
    }
}

/// Makes request ids: 32 hexadecimal digits, never twice in one run, unlikely ever.
#[derive(Debug)]
pub(crate) struct RequestIds {
    seed: [u64; 2],
    count: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
        Self { seed: [high, low], count: AtomicU64::new(0) }
    }

    pub(crate) fn next(&self) -> HeaderValue {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let mut text = [0; 32];
        for (half, seed) in text.chunks_exact_mut(16).zip(self.seed) {
            let mut number = mixed(seed.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            for digit in half.iter_mut().rev() {
                *digit = b"0123456789abcdef"[(number & 15) as usize];
                number >>= 4;
            }
        }
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("unknown"))
    }
}

/// The finaliser of splitmix64: one to one, so different counts give different ids.
fn mixed(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn sent(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers: HeaderMap = lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .fold(HeaderMap::new(), |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            });
        let client = Client::new("203.0.113.9".parse().unwrap(), false);
        let host = HeaderValue::from_static("shop.localhost:8080");
        to_app(&mut headers, &client, &host, HeaderValue::from_static("id"));
        headers
    }

    #[test]
    fn a9_what_a_proxy_vouches_for_is_never_the_clients() {
        let own = [
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-port",
            "x-forwarded-proto",
            "x-request-id",
            "host",
        ];
        let headers = sent(&[
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "7.7.7.7"),
            ("x_forwarded_for", "6.6.6.6"),
            ("x-forwarded_proto", "https"),
            ("x-forwarded-user", "admin"),
            ("x-forwarded-ssl", "on"),
            ("x-real-ip", "6.6.6.6"),
            ("x_real_ip", "6.6.6.6"),
            ("x-request-id", "forged"),
            ("forwarded", "for=6.6.6.6"),
            ("proxy", "http://evil.test"),
            ("connection", "x-forwarded-for, x-request-id, host"),
        ]);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        let mut wanted = own.to_vec();
        wanted.sort_unstable();
        assert_eq!(left, wanted);
        assert_eq!(headers["x-forwarded-for"], "203.0.113.9");
        assert_eq!(headers.get_all("x-forwarded-for").iter().count(), 1);
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-forwarded-port"], "8080");
        assert_eq!(headers["x-forwarded-host"], "shop.localhost:8080");
        assert_eq!(headers["x-request-id"], "id");
    }

    #[test]
    fn d7_hop_by_hop_and_nominated_fields_end_here() {
        let headers = sent(&[
            ("connection", "close, X-Auth"),
            ("connection", "x-more , content-length"),
            ("x-auth", "1"),
            ("x-more", "1"),
            ("content-length", "3"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic eA=="),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AA"),
            ("expect", "100-continue"),
            ("accept", "*/*"),
            ("x-custom", "kept"),
        ]);
        let left: HashSet<_> =
            headers.keys().map(HeaderName::as_str).filter(|name| !name.starts_with("x-f")).collect();
        assert_eq!(left, HashSet::from(["content-length", "accept", "x-custom", "x-request-id", "host"]));
    }

    #[test]
    fn a_mapped_address_is_the_one_it_maps() {
        let client = Client::new("::ffff:192.0.2.1".parse().unwrap(), false);
        assert_eq!(client.address, "192.0.2.1");
    }

    #[test]
    fn request_ids_differ() {
        let ids = RequestIds::new();
        let many: HashSet<_> = (0..10_000).map(|_| ids.next().to_str().unwrap().to_owned()).collect();
        assert_eq!(many.len(), 10_000);
        assert!(many.iter().all(|id| id.len() == 32));
    }
}
