//! A regular expression that lines must match. It is matched in time linear in the line, whatever it says.

use std::str::FromStr;

use autostack_domain::{
    Invalid,
    limits::{LOG_PATTERN_BYTES_MAX, LOG_PATTERN_COMPILED_BYTES_MAX},
};
use regex::bytes::{Regex, RegexBuilder};

/// A regular expression over the bytes of a line.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// Whether a line holds a match.
    pub(crate) fn fits(&self, text: &[u8]) -> bool {
        self.0.is_match(text)
    }
}

impl FromStr for Pattern {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let refuse = |why: String| Invalid::new("pattern", given, why);
        if given.len() > LOG_PATTERN_BYTES_MAX {
            return Err(refuse(format!(
                "it has {} bytes; the limit is {LOG_PATTERN_BYTES_MAX}",
                given.len()
            )));
        }
        let built = RegexBuilder::new(given)
            .size_limit(LOG_PATTERN_COMPILED_BYTES_MAX)
            .dfa_size_limit(LOG_PATTERN_COMPILED_BYTES_MAX)
            .build();
        built.map(Self).map_err(|error| {
            let text = error.to_string();
            // Of a drawing of several lines the last one says it.
            let last = text.lines().last().unwrap_or_default().trim();
            refuse(last.strip_prefix("error: ").unwrap_or(last).to_owned())
        })
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn patterns_are_regular_expressions_over_bytes() {
        let fits = |pattern: &str, text: &[u8]| pattern.parse::<Pattern>().unwrap().fits(text);
        assert!(fits("GET /[a-z]+ 5\\d\\d", b"GET /cart 502"));
        assert!(fits("(?i)error", "Ein ERROR \u{e4}".as_bytes()));
        assert!(!fits("^error", b"an error"));
        assert!(fits("b", b"\xff\xfeb"), "a line need not be UTF-8");
    }

    #[test]
    fn what_is_no_pattern_is_refused_in_one_sentence() {
        let long = "a".repeat(LOG_PATTERN_BYTES_MAX + 1);
        for bad in ["(", "[a", "a{5000}{5000}", "\\p{Nonsense}", &long] {
            let refused = bad.parse::<Pattern>().unwrap_err();
            assert!(!refused.why.is_empty() && !refused.why.contains('\n'), "{refused}");
        }
    }

    #[test]
    fn no_pattern_takes_long() {
        let line = vec![b'a'; autostack_domain::limits::LOG_LINE_BYTES_MAX];
        for pattern in ["(a+)+$", "(a|aa)+b", "(.*a){20}b", "a?".repeat(100).as_str()] {
            let pattern: Pattern = pattern.parse().unwrap();
            let begun = Instant::now();
            pattern.fits(&line);
            assert!(begun.elapsed() < Duration::from_secs(2), "{pattern:?} took {:?}", begun.elapsed());
        }
    }
}
