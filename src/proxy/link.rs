//! What the guard of a connection and the service on it tell one another. They run in one task, but hyper
//! lies between them and calls each when it sees fit; so what they say is tied to the number of a request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    task::Context,
    time::Duration,
};

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use crate::head::Refusal;

/// What is known of one connection on both sides of hyper.
#[derive(Debug)]
pub(crate) struct Link {
    started: Instant,
    /// Requests being answered: one at most, but for the moment between two.
    busy: AtomicUsize,
    /// When the last answer ended, in milliseconds since the start.
    quiet_since_ms: AtomicU64,
    /// Number of the [`Refusal`] that the next request stands for; 0 for none.
    refusal: AtomicU8,
    /// Requests that the service was called with.
    called: AtomicUsize,
    /// The request, counted from 1, up to which it is known that what follows is HTTP.
    plain_up_to: AtomicUsize,
    /// Whether what follows the last request is no longer HTTP.
    has_switched: AtomicBool,
    /// Wakes the guard when it waits for what the two above say.
    decided: AtomicWaker,
}

impl Link {
    pub(crate) fn new() -> Arc<Link> {
        Arc::new(Link {
            started: Instant::now(),
            busy: AtomicUsize::new(0),
            quiet_since_ms: AtomicU64::new(0),
            refusal: AtomicU8::new(0),
            called: AtomicUsize::new(0),
            plain_up_to: AtomicUsize::new(0),
            has_switched: AtomicBool::new(false),
            decided: AtomicWaker::new(),
        })
    }

    /// Notes that the service was called with a request. To be called before anything else is done, and
    /// without waiting: a refusal belongs to the request that hyper was given last.
    pub(crate) fn begin(self: &Arc<Self>) -> Call {
        self.busy.fetch_add(1, Ordering::Relaxed);
        let number = self.called.fetch_add(1, Ordering::Relaxed) + 1;
        let refusal = Refusal::from_number(self.refusal.load(Ordering::Acquire));
        Call { refusal, number, busy: Busy(Arc::clone(self)) }
    }

    /// The next request stands for this refusal.
    pub(crate) fn refuse(&self, refusal: Refusal) {
        self.refusal.store(refusal as u8, Ordering::Release);
    }

    /// What follows the request of this number, once that is known; until then the task is woken when it is.
    pub(crate) fn what_follows(&self, number: usize, cx: &Context<'_>) -> Option<Follows> {
        // hyper thinks that only the socket can wake it here.
        self.decided.register(cx.waker());
        if self.plain_up_to.load(Ordering::Acquire) < number {
            return None;
        }
        let has_switched = self.has_switched.load(Ordering::Acquire);
        Some(if has_switched { Follows::AnotherProtocol } else { Follows::Http })
    }

    /// Since when the client has had all its answers; none while it waits for one.
    pub(crate) fn quiet_since(&self) -> Option<Instant> {
        let is_busy = self.busy.load(Ordering::Relaxed) > 0;
        let since = Duration::from_millis(self.quiet_since_ms.load(Ordering::Relaxed));
        (!is_busy).then(|| self.started + since)
    }
}

/// What the bytes behind a request that asked for an upgrade are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follows {
    /// The next request.
    Http,
    /// The app granted the upgrade.
    AnotherProtocol,
}

/// One call of the service.
#[derive(Debug)]
pub(crate) struct Call {
    /// The refusal that the request stands for.
    pub(crate) refusal: Option<Refusal>,
    number: usize,
    busy: Busy,
}

impl Call {
    /// The app switched protocols: what follows the request is no longer HTTP.
    pub(crate) fn grant_upgrade(&self) {
        self.busy.0.has_switched.store(true, Ordering::Release);
    }

    /// The head of the answer is known. What follows the request is HTTP, unless an upgrade was granted.
    pub(crate) fn answered(self) -> Busy {
        let link = &self.busy.0;
        link.plain_up_to.store(self.number, Ordering::Release);
        // Costs next to nothing when the guard does not wait.
        link.decided.wake();
        self.busy
    }
}

/// A request is being answered: the client's idle clock stands still.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Link>);

impl Drop for Busy {
    fn drop(&mut self) {
        let now = u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.quiet_since_ms.store(now, Ordering::Relaxed);
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}
