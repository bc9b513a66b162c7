//! The strict check of a request's head, on the bytes as they came. hyper parses them again, more kindly:
//! it joins equal `Content-Length`s, drops one beside `Transfer-Encoding`, takes a bare line feed for a line
//! end. Where two parsers disagree, a second request hides in the first; so what is not exactly RFC 9112 is
//! refused before anybody interprets it.

use crate::limits::{HEAD_BYTES_MAX, HEADERS_MAX};

/// What the guard needs to know of a head that is fine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// How the body is framed.
    pub(crate) framing: Framing,
    /// Whether it asks for another protocol; only without a body.
    pub(crate) wants_upgrade: bool,
}

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes.
    Length(u64),
    /// Until the last chunk.
    Chunked,
}

/// Why a request is refused before routing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[repr(u8)]
pub(crate) enum Refusal {
    #[error("the request line is not of the form METHOD TARGET HTTP/1.1")]
    RequestLine = 1,
    #[error("the connection does not speak HTTP/1.1")]
    Version,
    #[error("the method is not allowed here")]
    Method,
    #[error("the request target is not valid")]
    Target,
    #[error("a header line is not valid")]
    Header,
    #[error("there are too many headers or they are too long")]
    TooLarge,
    #[error("the Host header is missing, repeated or not valid")]
    Host,
    #[error("the Host header and the request target name different hosts")]
    HostMismatch,
    #[error("the Content-Length header is repeated or not a number")]
    ContentLength,
    #[error("the Transfer-Encoding header is not exactly chunked, or not alone")]
    TransferEncoding,
    #[error("the request did not arrive in time")]
    Timeout,
}

impl Refusal {
    const ALL: [Refusal; 11] = [
        Refusal::RequestLine,
        Refusal::Version,
        Refusal::Method,
        Refusal::Target,
        Refusal::Header,
        Refusal::TooLarge,
        Refusal::Host,
        Refusal::HostMismatch,
        Refusal::ContentLength,
        Refusal::TransferEncoding,
        Refusal::Timeout,
    ];

    /// The refusal of this number, as `refusal as u8` gave it.
    pub(crate) fn from_number(number: u8) -> Option<Refusal> {
        Self::ALL.into_iter().find(|refusal| *refusal as u8 == number)
    }
}

/// Finds the end of a head that arrives in pieces, looking at each byte once.
#[derive(Debug, Default)]
pub(crate) struct EndFinder {
    scanned: usize,
    line_start: usize,
}

impl EndFinder {
    /// The number of bytes up to the end of the head, when it is there. `bytes` starts where the head does
    /// and only ever grows.
    pub(crate) fn find(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        // What is no letter of a method is no request: TLS, a port scan. It may never send a line end.
        if bytes.first().is_some_and(|first| !is_token(*first) && *first != b'\r') {
            return Err(Refusal::RequestLine);
        }
        while let Some(offset) = memchr::memchr(b'\n', &bytes[self.scanned..]) {
            let at = self.scanned + offset;
            if at == 0 || bytes[at - 1] != b'\r' {
                return Err(if self.line_start == 0 { Refusal::RequestLine } else { Refusal::Header });
            }
            let is_empty_line = at == self.line_start + 1;
            self.scanned = at + 1;
            // One empty line before the request line is allowed (RFC 9112, 2.2).
            let is_leading = self.line_start == 0;
            self.line_start = at + 1;
            if is_empty_line && !is_leading {
                return if at < HEAD_BYTES_MAX { Ok(Some(at + 1)) } else { Err(Refusal::TooLarge) };
            }
        }
        self.scanned = bytes.len();
        if bytes.len() >= HEAD_BYTES_MAX { Err(Refusal::TooLarge) } else { Ok(None) }
    }
}

/// Checks a whole head, the empty line at its end included.
pub(crate) fn check(bytes: &[u8]) -> Result<Head, Refusal> {
    let bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    let mut lines = Lines { rest: bytes };
    let line = request_line(lines.next().ok_or(Refusal::RequestLine)?)?;
    let mut fields = Fields::default();
    for text in lines {
        if text.is_empty() {
            break;
        }
        fields.take(text)?;
    }
    let framing = fields.framing(line.is_1_1)?;
    fields.check_host(&line)?;
    let wants_upgrade = fields.has_upgrade && line.is_1_1 && framing == Framing::Length(0);
    Ok(Head { framing, wants_upgrade })
}

/// Lines that end in CR LF; a line feed alone was refused by [`EndFinder`], a carriage return alone is
/// refused as an invalid byte.
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(b'\n', self.rest)?;
        let line = self.rest[..end].strip_suffix(b"\r")?;
        self.rest = &self.rest[end + 1..];
        Some(line)
    }
}

struct RequestLine<'a> {
    is_1_1: bool,
    /// Host and port of an absolute-form target.
    authority: Option<&'a [u8]>,
}

fn request_line(line: &[u8]) -> Result<RequestLine<'_>, Refusal> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::RequestLine);
    };
    let is_1_1 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        other if is_http_version(other) => return Err(Refusal::Version),
        _ => return Err(Refusal::RequestLine),
    };
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
        return Err(Refusal::RequestLine);
    }
    // Tunnels to anywhere, and echoes of a visitor's cookies, are nothing an app needs.
    if method == b"CONNECT" || method == b"TRACE" {
        return Err(Refusal::Method);
    }
    if !is_target(target) {
        return Err(Refusal::Target);
    }
    let authority = match target {
        [b'/', ..] => None,
        b"*" if method == b"OPTIONS" => None,
        _ => Some(authority_of(target).ok_or(Refusal::Target)?),
    };
    Ok(RequestLine { is_1_1, authority })
}

fn is_http_version(version: &[u8]) -> bool {
    let number = version.strip_prefix(b"HTTP/");
    number.is_some_and(|number| number.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.'))
}

/// Whether a target has only bytes that hyper takes: what RFC 3986 allows, and of the rest what browsers
/// send as it is. A fragment is for the client only.
fn is_target(target: &[u8]) -> bool {
    let query_at = memchr::memchr(b'?', target).unwrap_or(target.len());
    let (path, query) = target.split_at(query_at);
    let is_shared = |byte: u8| (0x21..=0x7e).contains(&byte) && !matches!(byte, b'#' | b'<' | b'>');
    path.iter().all(|byte| is_shared(*byte) && *byte != b'`')
        && query.iter().all(|byte| is_shared(*byte) && *byte != b'"')
}

/// Host and port of `http://HOST[:PORT][/…]`.
fn authority_of(target: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = target.split_at_checked(7)?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    (scheme.eq_ignore_ascii_case(b"http://") && is_host(&rest[..end])).then(|| &rest[..end])
}

/// What is remembered of the header lines.
#[derive(Default)]
struct Fields<'a> {
    count: usize,
    host: Option<&'a [u8]>,
    content_length: Option<u64>,
    is_chunked: bool,
    has_upgrade: bool,
}

impl<'a> Fields<'a> {
    fn take(&mut self, line: &'a [u8]) -> Result<(), Refusal> {
        self.count += 1;
        if self.count > HEADERS_MAX {
            return Err(Refusal::TooLarge);
        }
        // A line that starts with a blank (the folding of old) has no name and ends here.
        let colon = memchr::memchr(b':', line).ok_or(Refusal::Header)?;
        let (name, value) = (&line[..colon], trim_blanks(&line[colon + 1..]));
        let is_value = |byte: &u8| matches!(byte, b'\t' | 0x20..=0x7e | 0x80..=0xff);
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) || !value.iter().all(is_value) {
            return Err(Refusal::Header);
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.take_host(value),
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.has_upgrade = true;
                Ok(())
            }
            14 if is_named(name, b"content-length") => self.take_content_length(name, value),
            17 if is_named(name, b"transfer-encoding") => self.take_transfer_encoding(name, value),
            _ => Ok(()),
        }
    }

    fn take_host(&mut self, value: &'a [u8]) -> Result<(), Refusal> {
        if self.host.is_some() || !is_host(value) {
            return Err(Refusal::Host);
        }
        self.host = Some(value);
        Ok(())
    }

    fn take_content_length(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        let is_number = !value.is_empty() && value.len() <= 19 && value.iter().all(u8::is_ascii_digit);
        if self.content_length.is_some() || name.contains(&b'_') || !is_number {
            return Err(Refusal::ContentLength);
        }
        let number = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
        self.content_length = Some(number.ok_or(Refusal::ContentLength)?);
        Ok(())
    }

    fn take_transfer_encoding(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if self.is_chunked || name.contains(&b'_') || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::TransferEncoding);
        }
        self.is_chunked = true;
        Ok(())
    }

    fn framing(&self, is_1_1: bool) -> Result<Framing, Refusal> {
        match (self.is_chunked, self.content_length) {
            (true, Some(_)) => Err(Refusal::TransferEncoding),
            (true, None) if !is_1_1 => Err(Refusal::TransferEncoding),
            (true, None) => Ok(Framing::Chunked),
            (false, length) => Ok(Framing::Length(length.unwrap_or(0))),
        }
    }

    fn check_host(&self, line: &RequestLine<'_>) -> Result<(), Refusal> {
        match (self.host, line.authority) {
            (None, _) if line.is_1_1 => Err(Refusal::Host),
            (Some(host), Some(authority)) if !is_same_host(host, authority) => Err(Refusal::HostMismatch),
            _ => Ok(()),
        }
    }
}

/// Whether `name` is `wanted`, in any case, and with `_` for `-`: some servers hand both to the app under
/// one name.
fn is_named(name: &[u8], wanted: &[u8]) -> bool {
    name.iter()
        .zip(wanted)
        .all(|(got, wanted)| got.eq_ignore_ascii_case(wanted) || (*got == b'_' && *wanted == b'-'))
}

fn is_same_host(one: &[u8], other: &[u8]) -> bool {
    let (one, one_port) = split_port(one);
    let (other, other_port) = split_port(other);
    one.eq_ignore_ascii_case(other) && one_port.unwrap_or(b"80") == other_port.unwrap_or(b"80")
}

/// `HOST` or `HOST:PORT`, where the host is a name or an address that could be looked up. Which hosts exist
/// is the table's matter.
fn is_host(value: &[u8]) -> bool {
    let (host, port) = split_port(value);
    let is_port = |port: &[u8]| {
        let digits = port.len() <= 5 && !port.is_empty() && port.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(port).ok().and_then(|port| port.parse::<u16>().ok());
        digits && number.is_some_and(|number| number > 0)
    };
    let is_name = |host: &[u8]| {
        let host = host.strip_suffix(b".").unwrap_or(host);
        host.len() <= 253
            && !host.is_empty()
            && host.split(|byte| *byte == b'.').all(|label| {
                (1..=63).contains(&label.len())
                    && label.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            })
    };
    let is_address = |host: &[u8]| {
        let inner = host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
        let text = inner.and_then(|inner| std::str::from_utf8(inner).ok());
        text.is_some_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
    };
    port.is_none_or(is_port) && (is_name(host) || is_address(host))
}

/// Host and port of a valid `Host` value; the port without its colon.
pub(crate) fn split_port(value: &[u8]) -> (&[u8], Option<&[u8]>) {
    // The colons of an IPv6 address are inside its brackets.
    let after_address = value.iter().position(|byte| *byte == b']').map_or(0, |at| at + 1);
    match memchr::memchr(b':', &value[after_address..]) {
        Some(colon) => {
            let at = after_address + colon;
            (&value[..at], Some(&value[at + 1..]))
        }
        None => (value, None),
    }
}

/// Without the blanks around it: spaces and tabs, and nothing else that is white (RFC 9110, 5.6.3).
fn trim_blanks(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Bytes that may be in a method or a header name (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}
