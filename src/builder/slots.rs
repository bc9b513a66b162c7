//! How many builds run at once: `build.concurrency`, also after it was changed.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The free places for builds.
#[derive(Debug)]
pub(crate) struct Slots {
    semaphore: Arc<Semaphore>,
    /// Places that exist, free or taken.
    size: Mutex<usize>,
}

/// A taken place; dropping it frees it.
#[derive(Debug)]
pub(crate) struct Slot {
    _permit: OwnedSemaphorePermit,
}

impl Slots {
    pub(crate) fn new() -> Self {
        Self { semaphore: Arc::new(Semaphore::new(0)), size: Mutex::new(0) }
    }

    /// Makes it `wanted` places, one at least. Fewer than are taken is reached as builds end and others ask.
    pub(crate) fn resize(&self, wanted: usize) {
        let wanted = wanted.clamp(1, Semaphore::MAX_PERMITS);
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted > *size {
            self.semaphore.add_permits(wanted - *size);
            *size = wanted;
        } else {
            *size -= self.semaphore.forget_permits(*size - wanted);
        }
    }

    /// A place, if one is free now.
    pub(crate) fn try_take(&self) -> Option<Slot> {
        Arc::clone(&self.semaphore).try_acquire_owned().ok().map(|permit| Slot { _permit: permit })
    }

    /// A place, in the order of asking. Never `None`: the semaphore is not closed while this lives.
    pub(crate) async fn take(&self) -> Option<Slot> {
        Arc::clone(&self.semaphore).acquire_owned().await.ok().map(|permit| Slot { _permit: permit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_number_of_places_follows_the_setting() {
        let slots = Slots::new();
        slots.resize(2);
        let first = slots.try_take().unwrap();
        let second = slots.try_take().unwrap();
        assert!(slots.try_take().is_none());
        slots.resize(1);
        drop(first);
        slots.resize(1);
        assert!(slots.try_take().is_none(), "one place is left, and it is taken");
        drop(second);
        assert!(slots.take().await.is_some());
        slots.resize(0);
        assert!(slots.try_take().is_some(), "there is always one place");
    }
}
