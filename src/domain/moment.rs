//! A moment as people say it: so long ago, or a date and time.

use std::str::FromStr;

use crate::{names::Invalid, time::UnixMillis};

/// Bytes that any moment takes to say.
const GIVEN_BYTES_MAX: usize = 64;
/// Milliseconds of a hundred years: nothing here is older.
const AGO_MILLIS_MAX: i64 = 100 * 365 * DAY;
const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;

/// What somebody gave for `--since` or `--until`: `10m`, `1h30m`, `2026-11-24`, `2026-11-24T10:00` (UTC) or RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// So many milliseconds before now.
    Ago(i64),
    /// At that time.
    At(UnixMillis),
}

impl Moment {
    /// The moment itself.
    pub fn resolve(self, now: UnixMillis) -> UnixMillis {
        match self {
            Moment::Ago(millis) => UnixMillis(now.0.saturating_sub(millis)),
            Moment::At(at) => at,
        }
    }
}

impl FromStr for Moment {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let found = if given.len() > GIVEN_BYTES_MAX { None } else { ago(given).or_else(|| at(given)) };
        found.ok_or_else(|| {
            let why = "say how long ago (90s, 10m, 2h, 3d, 1h30m), or when (2026-11-24T10:00 in UTC, 2026-11-24T10:00:00+01:00)";
            Invalid::new("moment", given, why)
        })
    }
}

/// Numbers, each with its unit.
fn ago(given: &str) -> Option<Moment> {
    let mut rest = given;
    let mut millis = 0_i64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let mut units = tail.chars();
        let unit = match units.next()? {
            's' => SECOND,
            'm' => MINUTE,
            'h' => HOUR,
            'd' => DAY,
            'w' => WEEK,
            _ => return None,
        };
        millis = millis.checked_add(number.parse::<i64>().ok()?.checked_mul(unit)?)?;
        rest = units.as_str();
    }
    (!given.is_empty() && millis <= AGO_MILLIS_MAX).then_some(Moment::Ago(millis))
}

/// With an offset from UTC, or without one for UTC itself.
fn at(given: &str) -> Option<Moment> {
    let timestamp = match given.parse::<jiff::Timestamp>() {
        Ok(timestamp) => timestamp,
        Err(_) => {
            let is_plain = given.bytes().all(|byte| byte.is_ascii_digit() || b"-:. Tt".contains(&byte));
            let has_date = given.bytes().filter(|byte| *byte == b'-').count() == 2;
            let civil = given.parse::<jiff::civil::DateTime>().ok().filter(|_| is_plain && has_date)?;
            jiff::tz::TimeZone::UTC.to_timestamp(civil).ok()?
        }
    };
    Some(Moment::At(UnixMillis(timestamp.as_millisecond())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(given: &str) -> Moment {
        given.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn so_long_ago() {
        assert_eq!(parse("10m"), Moment::Ago(600_000));
        assert_eq!(parse("1h30m"), Moment::Ago(5_400_000));
        assert_eq!(parse("0s"), Moment::Ago(0));
        assert_eq!(parse("2w1d"), Moment::Ago(15 * DAY));
        assert_eq!(parse("90s").resolve(UnixMillis(100_000)), UnixMillis(10_000));
    }

    #[test]
    fn at_a_time() {
        let ten = Moment::At(UnixMillis(1_795_514_400_000));
        for same in [
            "2026-11-24T10:00",
            "2026-11-24 10:00:00",
            "2026-11-24T10:00:00Z",
            "2026-11-24T11:00:00+01:00",
            "2026-11-24T10:00:00.000Z",
        ] {
            assert_eq!(parse(same), ten, "{same}");
        }
        assert_eq!(parse("2026-11-24"), Moment::At(UnixMillis(1_795_514_400_000 - 10 * HOUR)));
        assert_eq!(ten.resolve(UnixMillis(1)), UnixMillis(1_795_514_400_000));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        let long = "1s".repeat(GIVEN_BYTES_MAX);
        for bad in [
            "",
            "m",
            "10",
            "10x",
            "-5m",
            "5m-",
            "1.5h",
            "yesterday",
            "2026-13-01",
            "2026-11-24T25:00",
            "10:00",
            "2026-11-24T10:00[Europe/Berlin]",
            "99999999999999999999s",
            "9999999w",
            "$(id)",
            &long,
        ] {
            assert!(bad.parse::<Moment>().is_err(), "{bad:?}");
        }
    }
}
