//! Pauses that grow: plain arithmetic, no clock and no timer.

use std::time::Duration;

/// How long to wait before the next attempt: doubles from `first` up to `cap`, and starts over once an
/// attempt has lived for `reset_after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    reset_after: Duration,
    failures: u32,
}

impl Backoff {
    /// A fresh one: the first pause is `first`, none is longer than `cap`.
    pub const fn new(first: Duration, cap: Duration, reset_after: Duration) -> Self {
        Self { first, cap, reset_after, failures: 0 }
    }

    /// Records that an attempt ended after `uptime`, and says how long to wait before the next one.
    pub fn after_failure(&mut self, uptime: Duration) -> Duration {
        if uptime >= self.reset_after {
            self.failures = 0;
        }
        let pause = self.pause_after(self.failures);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// Failures in a row since the last reset: what a crash loop is recognised by.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Starts over, as after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// The pause that follows `earlier` failures in a row.
    fn pause_after(&self, earlier: u32) -> Duration {
        let factor = 2u32.checked_pow(earlier).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn seconds(backoff: &mut Backoff, uptime: Duration, times: usize) -> Vec<u64> {
        (0..times).map(|_| backoff.after_failure(uptime).as_secs()).collect()
    }

    #[test]
    fn pauses_double_up_to_the_cap() {
        let mut backoff = Backoff::new(SECOND, 10 * SECOND, 60 * SECOND);
        assert_eq!(seconds(&mut backoff, SECOND, 6), [1, 2, 4, 8, 10, 10]);
        assert_eq!(backoff.failures(), 6);
    }

    #[test]
    fn a_long_life_starts_over() {
        let mut backoff = Backoff::new(SECOND, 10 * SECOND, 60 * SECOND);
        seconds(&mut backoff, SECOND, 5);
        assert_eq!(backoff.after_failure(60 * SECOND), SECOND);
        assert_eq!(backoff.failures(), 1);
        backoff.reset();
        assert_eq!(backoff.failures(), 0);
    }

    #[test]
    fn a_crash_loop_of_years_does_not_overflow() {
        let mut backoff = Backoff::new(SECOND, Duration::MAX, Duration::MAX);
        backoff.failures = u32::MAX;
        assert!(backoff.after_failure(SECOND) >= 1000 * SECOND);
        assert_eq!(backoff.failures(), u32::MAX);
    }
}
