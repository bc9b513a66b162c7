//! A clock for waits that are usually short. It starts when something first stands still and is cleared when
//! it moves; the timer wheel is touched only when the clock fires before its time or is asked for less.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// The clock of one thing that may stand still.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    since: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    /// It moved, or what is waited for has changed.
    pub(crate) fn moved(&mut self) {
        self.since = None;
    }

    /// It stands still: ready once it has done so for `limit`; until then the task is woken in time.
    pub(crate) fn poll_stuck(&mut self, limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let due = *self.since.get_or_insert_with(Instant::now) + limit;
        self.poll_until(due, cx)
    }

    /// Ready once `due` has passed; until then the task is woken at `due` or before, to ask again.
    pub(crate) fn poll_until(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if sleep.deadline() > due {
            sleep.as_mut().reset(due);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= due {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(40);

    /// Asks once, and does not wait.
    async fn is_stuck(stall: &mut Stall, limit: Duration) -> bool {
        poll_fn(|cx| Poll::Ready(stall.poll_stuck(limit, cx).is_ready())).await
    }

    #[tokio::test]
    async fn it_fires_when_nothing_moved_for_the_limit() {
        let mut stall = Stall::default();
        assert!(!is_stuck(&mut stall, LIMIT).await);
        tokio::time::sleep(LIMIT / 2).await;
        stall.moved();
        let moved_at = Instant::now();
        poll_fn(|cx| stall.poll_stuck(LIMIT, cx)).await;
        assert!(moved_at.elapsed() >= LIMIT);
    }

    #[tokio::test]
    async fn a_shorter_limit_counts_from_the_same_start() {
        let start = Instant::now();
        let mut stall = Stall::default();
        assert!(!is_stuck(&mut stall, LIMIT * 1_000).await);
        poll_fn(|cx| stall.poll_stuck(LIMIT, cx)).await;
        assert!((LIMIT..LIMIT * 500).contains(&start.elapsed()));
    }
}
