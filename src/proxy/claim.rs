//! Who is in flight: a count that a request joins before it is sent and leaves when its answer has ended,
//! and [`Retired`], which waits for the counts of what was replaced to reach zero.
//!
//! The race that matters: a request looks an endpoint up, the table is swapped, the request joins. Joining
//! adds to the count *and then* looks whether the endpoint was retired; retiring sets the mark *and then*
//! reads the count. Both in sequentially consistent order, so one of the two always sees the other: either
//! the request leaves again and looks up anew, or the drain waits for it.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{sync::Notify, time};

use crate::upstream::Endpoint;

/// How many are at work on one thing, and whether new ones are turned away.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    count: AtomicUsize,
    retired: AtomicBool,
    /// Told each time a retired count falls to zero.
    idle: Notify,
}

impl InFlight {
    /// Joins, unless it is retired.
    #[must_use]
    pub(crate) fn join(&self) -> bool {
        self.count.fetch_add(1, SeqCst);
        if self.retired.load(SeqCst) {
            self.leave();
            return false;
        }
        true
    }

    /// Joins whether retired or not: for what keeps a thing busy without being a new request.
    pub(crate) fn join_always(&self) {
        self.count.fetch_add(1, SeqCst);
    }

    /// Leaves; each successful join is followed by exactly one.
    pub(crate) fn leave(&self) {
        if self.count.fetch_sub(1, SeqCst) == 1 && self.retired.load(SeqCst) {
            self.idle.notify_waiters();
        }
    }

    /// Turns new ones away from now on, for ever.
    pub(crate) fn retire(&self) {
        self.retired.store(true, SeqCst);
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(SeqCst)
    }

    /// Waits until the count of a retired thing is zero.
    async fn idle(&self) {
        loop {
            let mut idle = pin!(self.idle.notified());
            // Registered before the look, so that the last leave between look and wait is not missed.
            idle.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            idle.await;
        }
    }
}

/// One request's place on an endpoint; dropping it is leaving.
#[derive(Debug)]
pub(crate) struct Claim {
    endpoint: Arc<Endpoint>,
}

impl Claim {
    /// A place on this endpoint, unless it was retired since it was looked up.
    pub(crate) fn on(endpoint: &Arc<Endpoint>) -> Option<Claim> {
        endpoint.requests.join().then(|| Claim { endpoint: Arc::clone(endpoint) })
    }

    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.endpoint.requests.leave();
    }
}

/// One request's place on a folder of files; dropping it is leaving.
#[derive(Debug)]
pub(crate) struct FilesClaim(Arc<InFlight>);

impl FilesClaim {
    /// A place, unless the folder was retired since it was looked up.
    pub(crate) fn on(files: &Arc<InFlight>) -> Option<FilesClaim> {
        files.join().then(|| FilesClaim(Arc::clone(files)))
    }
}

impl Drop for FilesClaim {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// What a change of the table took out of it: it gets no new request, and may still have old ones.
#[derive(Debug, Default)]
#[must_use = "what was replaced may only be stopped after `drained`"]
pub struct Retired {
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    pub(crate) files: Vec<Arc<InFlight>>,
}

impl Retired {
    /// Requests (upgraded connections included) that are in flight on it now.
    pub fn in_flight(&self) -> usize {
        let on_endpoints: usize = self.endpoints.iter().map(|endpoint| endpoint.requests.count()).sum();
        on_endpoints + self.files.iter().map(|files| files.count()).sum::<usize>()
    }

    /// Waits until nothing is in flight on it and every connection to it is closed, `budget` at most; gives
    /// the number of requests that are in flight still. Woken by the last request, not by a timer.
    pub async fn drained(self, budget: Duration) -> usize {
        let all = async {
            for files in &self.files {
                files.idle().await;
            }
            for endpoint in &self.endpoints {
                endpoint.requests.idle().await;
                endpoint.connections.idle().await;
            }
        };
        match time::timeout(budget, all).await {
            Ok(()) => 0,
            Err(_elapsed) => self.in_flight(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_retired_count_turns_away_and_wakes_at_zero() {
        let files = Arc::new(InFlight::default());
        let claim = FilesClaim::on(&files).unwrap();
        files.retire();
        assert!(FilesClaim::on(&files).is_none());
        let retired = || Retired { endpoints: Vec::new(), files: vec![Arc::clone(&files)] };
        assert_eq!(retired().drained(Duration::from_millis(10)).await, 1);
        let drained = retired().drained(Duration::from_secs(10));
        let (left, ()) = tokio::join!(drained, async {
            tokio::task::yield_now().await;
            drop(claim);
        });
        assert_eq!(left, 0);
    }

    #[test]
    fn a_join_and_a_retire_never_miss_each_other() {
        for _ in 0..2_000 {
            let count = Arc::new(InFlight::default());
            let joiner = {
                let count = Arc::clone(&count);
                std::thread::spawn(move || count.join())
            };
            count.retire();
            let seen_at_work = count.count() > 0;
            let joined = joiner.join().unwrap();
            assert!(seen_at_work || !joined, "the drain saw nobody, and yet a request went there");
            assert_eq!(count.count(), usize::from(joined));
        }
    }
}
