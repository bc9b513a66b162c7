//! Conditions and ranges of a request for a file (RFC 9110, 13 and 14): one range, or the whole.

use http::{HeaderMap, HeaderValue, header};

/// What of a file is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Nothing: the client has it.
    NotModified,
    /// All of it.
    Whole,
    /// The bytes from `first` to `last`, both included.
    Part { first: u64, last: u64 },
    /// A part that it does not have.
    Unsatisfiable,
}

/// Decides for a file of `len` bytes with this validator.
pub(crate) fn wanted(headers: &HeaderMap, len: u64, etag: &str) -> Wanted {
    if let Some(known) = headers.get(header::IF_NONE_MATCH)
        && matches_any(known, etag)
    {
        return Wanted::NotModified;
    }
    let Some(range) = headers.get(header::RANGE) else {
        return Wanted::Whole;
    };
    // A part of another version would not fit to what the client has.
    if headers.get(header::IF_RANGE).is_some_and(|version| version != etag) {
        return Wanted::Whole;
    }
    match range.to_str().ok().and_then(|range| range.strip_prefix("bytes=")) {
        Some(range) => part(range, len),
        None => Wanted::Whole,
    }
}

/// `first-last`, `first-` or `-count`; several ranges, or what is none, get the whole file.
fn part(range: &str, len: u64) -> Wanted {
    let Some((first, last)) = range.split_once('-') else {
        return Wanted::Whole;
    };
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let end = len.saturating_sub(1);
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => Wanted::Whole,
        (Some(first), _) if last.is_empty() || number(last).is_some() => {
            let last = number(last).unwrap_or(u64::MAX).min(end);
            if first < len { Wanted::Part { first, last } } else { Wanted::Unsatisfiable }
        }
        (None, Some(count)) if first.is_empty() => {
            if count == 0 || len == 0 {
                Wanted::Unsatisfiable
            } else {
                Wanted::Part { first: len.saturating_sub(count), last: end }
            }
        }
        _ => Wanted::Whole,
    }
}

/// Whether one of the validators in `If-None-Match` is this one, weakly compared.
fn matches_any(known: &HeaderValue, etag: &str) -> bool {
    let Ok(known) = known.to_str() else { return false };
    known.trim() == "*" || known.split(',').any(|one| one.trim().trim_start_matches("W/") == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(lines: &[(&'static str, &'static str)]) -> Wanted {
        let headers = lines
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        wanted(&headers, 100, "\"v1\"")
    }

    #[test]
    fn a_known_version_is_not_sent_again() {
        for known in ["\"v1\"", "W/\"v1\"", "\"v0\", \"v1\"", "*"] {
            assert_eq!(asked(&[("if-none-match", known)]), Wanted::NotModified, "{known}");
        }
        assert_eq!(asked(&[("if-none-match", "\"v0\"")]), Wanted::Whole);
    }

    #[test]
    fn one_range_is_cut_to_the_file() {
        let part = |first, last| Wanted::Part { first, last };
        for (range, expected) in [
            ("bytes=0-9", part(0, 9)),
            ("bytes=90-", part(90, 99)),
            ("bytes=-5", part(95, 99)),
            ("bytes=-500", part(0, 99)),
            ("bytes=50-5000", part(50, 99)),
            ("bytes=99-99999999999999999999999", part(99, 99)),
            ("bytes=100-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=9-0", Wanted::Whole),
            ("bytes=0-1,5-6", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("lines=0-9", Wanted::Whole),
        ] {
            assert_eq!(asked(&[("range", range)]), expected, "{range}");
        }
    }

    #[test]
    fn a_range_of_another_version_gets_the_whole() {
        assert_eq!(asked(&[("range", "bytes=0-9"), ("if-range", "\"v0\"")]), Wanted::Whole);
        let same = asked(&[("range", "bytes=0-9"), ("if-range", "\"v1\"")]);
        assert_eq!(same, Wanted::Part { first: 0, last: 9 });
    }
}
