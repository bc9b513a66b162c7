//! The wall clock: the one place that asks what time it is, so that rows below stay repeatable.

use std::time::{SystemTime, UNIX_EPOCH};

use autostack_domain::UnixMillis;

/// The moment of the call. A clock set before 1970 reads as 0.
pub fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_reads_milliseconds_of_this_century() {
        let first = now();
        assert!(first.0 > 1_700_000_000_000 && first.0 < 4_102_444_800_000, "{first:?}");
        assert!(now() >= first);
    }
}
