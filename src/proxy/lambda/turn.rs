//! One invocation at a time on each instance: the emulator ends itself when a second event comes while it works
//! on one. So an instance is *taken* before an event goes there, and given back when its answer has come, not
//! when the visitor has left. Who finds none free stands in line, first come, first served.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use autostack_domain::AppName;
use tokio::{
    sync::{Mutex, Notify},
    time::{self, Instant},
};

use crate::{claim::Claim, pages::Page, upstream::Endpoint};

/// What the proxy keeps about one function, from one route table to the next.
#[derive(Debug)]
pub(crate) struct Function {
    /// The app that it is.
    pub(crate) app: AppName,
    /// Held by who is first in line; the lock is fair, so the others follow in the order in which they came.
    head: Mutex<()>,
    /// How many stand in line, the first included.
    waiting: AtomicUsize,
    /// Told when an instance was given back or the route was replaced. Only the first in line listens; what is
    /// told while nobody does is kept for the next.
    changed: Notify,
}

impl Function {
    pub(crate) fn new(app: AppName) -> Arc<Function> {
        Arc::new(Function {
            app,
            head: Mutex::default(),
            waiting: AtomicUsize::default(),
            changed: Notify::new(),
        })
    }

    /// Wakes the first in line to look again.
    pub(crate) fn changed(&self) {
        self.changed.notify_one();
    }

    /// Stands in line until `look` gives something else than "not yet", for no longer than until `due` and
    /// only if fewer than `waiting_max` stand there.
    pub(crate) async fn wait<T>(
        &self,
        waiting_max: usize,
        due: Instant,
        mut look: impl FnMut() -> Option<Result<T, Page>>,
    ) -> Result<T, Page> {
        let _counted = Waiting::among(&self.waiting, waiting_max).ok_or_else(Page::function_busy)?;
        let first_then_found = async {
            let _first = self.head.lock().await;
            loop {
                if let Some(found) = look() {
                    return found;
                }
                self.changed.notified().await;
            }
        };
        time::timeout_at(due, first_then_found).await.unwrap_or_else(|_elapsed| Err(Page::function_busy()))
    }
}

/// A place in line, counted; dropping it is leaving.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn among(count: &'a AtomicUsize, max: usize) -> Option<Waiting<'a>> {
        let place = Waiting(count);
        (count.fetch_add(1, Ordering::Relaxed) < max).then_some(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether an instance is at work. Part of each endpoint; only those of functions use it.
#[derive(Debug, Default)]
pub(crate) struct AtWork(AtomicBool);

/// An instance that was retired between the look-up and the claim.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WasRetired;

/// An instance taken for one invocation, and the claim that a drain waits for. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Turn {
    claim: Claim,
    function: Arc<Function>,
}

impl Turn {
    /// Takes the instance; none when it is at work.
    pub(crate) fn on(endpoint: &Arc<Endpoint>, function: &Arc<Function>) -> Option<Result<Turn, WasRetired>> {
        if endpoint.at_work.0.swap(true, Ordering::Acquire) {
            return None;
        }
        let Some(claim) = Claim::on(endpoint) else {
            endpoint.at_work.0.store(false, Ordering::Release);
            return Some(Err(WasRetired));
        };
        Some(Ok(Turn { claim, function: Arc::clone(function) }))
    }

    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        self.claim.endpoint()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.endpoint().at_work.0.store(false, Ordering::Release);
        self.function.changed();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex as Lock, time::Duration};

    use super::*;

    fn function() -> Arc<Function> {
        Function::new("fn".parse().unwrap())
    }

    #[tokio::test]
    async fn those_in_line_are_served_as_they_came() {
        let function = function();
        let endpoint = Arc::new(Endpoint::new(([127, 0, 0, 1], 1).into(), None));
        let first = Turn::on(&endpoint, &function).unwrap().unwrap();
        assert!(Turn::on(&endpoint, &function).is_none());
        let served = Lock::new(Vec::new());
        let due = Instant::now() + Duration::from_secs(20);
        let visitor = |number: usize| {
            let (function, endpoint, served) = (&function, &endpoint, &served);
            async move {
                let turn = function
                    .wait(9, due, || Turn::on(endpoint, function).map(|turn| Ok(turn.unwrap())))
                    .await;
                served.lock().unwrap().push(number);
                tokio::task::yield_now().await;
                drop(turn.unwrap());
            }
        };
        tokio::join!(biased; visitor(1), visitor(2), visitor(3), async {
            tokio::task::yield_now().await;
            drop(first);
        });
        assert_eq!(*served.lock().unwrap(), [1, 2, 3]);
        assert_eq!(function.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn the_line_has_an_end_and_the_wait_too() {
        let function = function();
        let due = Instant::now() + Duration::from_millis(100);
        let wait = || function.wait::<()>(2, due, || None);
        let (one, two, three) = tokio::join!(biased; wait(), wait(), wait());
        for refused in [one, two, three] {
            assert_eq!(refused.unwrap_err(), Page::function_busy());
        }
        assert!(Instant::now() >= due, "two waited to the end");
        assert_eq!(function.waiting.load(Ordering::Relaxed), 0);
    }
}
