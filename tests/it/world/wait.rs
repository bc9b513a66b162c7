//! Waits for a value, with a bound; never for a time.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long anything may take that should happen about at once; generous, for a loaded machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Looks until there is a value, at most for [`SOON`].
#[track_caller]
pub(crate) fn soon<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until(what, SOON, look)
}

/// Looks until there is a value, at most for `limit`.
#[track_caller]
pub(crate) fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(Instant::now() < end, "waited {limit:?} for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
