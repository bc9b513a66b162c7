//! One log: append, follow, look at its end.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use autostack_domain::InstanceId;
use tokio::sync::watch;

use crate::{
    entry::{Entry, Offset, Origin},
    error::LogError,
    filter::Filter,
    reader::Reader,
};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Published {
    pub(crate) end: u64,
    pub(crate) sealed: bool,
}

/// The log of one app or one deployment.
#[derive(Debug)]
pub struct Stream {
    dir: PathBuf,
    held: Mutex<Held>,
    published: watch::Sender<Published>,
}

#[derive(Debug, Default)]
struct Held {
    entries: Vec<(Offset, Entry)>,
    sources: HashMap<InstanceId, u64>,
}

impl Stream {
    pub(crate) fn open(dir: PathBuf) -> Result<Self, LogError> {
        let (published, _) = watch::channel(Published { end: 0, sealed: false });
        Ok(Self { dir, held: Mutex::default(), published })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds entries, all or none, and wakes the readers. Returns the offset after the last of them.
    pub fn append(&self, entries: &[Entry]) -> Result<Offset, LogError> {
        let mut held = self.held();
        let now = *self.published.borrow();
        if now.sealed {
            return Err(LogError::Sealed { path: self.dir.clone() });
        }
        let mut end = now.end;
        for entry in entries {
            end += entry.text.len() as u64 + 16;
            if let Origin::Instance { instance, source_end, .. } = &entry.origin {
                held.sources.insert(instance.clone(), *source_end);
            }
            held.entries.push((Offset(end), entry.clone()));
        }
        self.published.send_modify(|published| published.end = end);
        Ok(Offset(end))
    }

    /// Ends the log: readers get `None` after its last entry. Does nothing the second time.
    pub fn seal(&self) -> Result<(), LogError> {
        self.published.send_modify(|published| published.sealed = true);
        Ok(())
    }

    /// Whether the log has ended.
    pub fn is_sealed(&self) -> bool {
        self.published.borrow().sealed
    }

    /// The offset after the last entry.
    pub fn end(&self) -> Offset {
        Offset(self.published.borrow().end)
    }

    /// Follows the log from an offset.
    pub fn reader(self: &Arc<Self>, from: Offset) -> Reader {
        Reader::new(Arc::clone(self), self.published.subscribe(), from)
    }

    /// The last `n` entries that fit, oldest first, and the offset from which to follow on.
    pub fn tail(&self, n: usize, filter: &Filter) -> Result<(Vec<(Offset, Entry)>, Offset), LogError> {
        let held = self.held();
        let mut found: Vec<_> =
            held.entries.iter().rev().filter(|(_, e)| filter.matches(e)).take(n).cloned().collect();
        found.reverse();
        Ok((found, self.end()))
    }

    /// Where the output of an instance stands in this log.
    pub fn last_source_end(&self, instance: &InstanceId) -> Option<u64> {
        self.held().sources.get(instance).copied()
    }

    /// Forgets where the output of an instance stood.
    pub fn forget_instance(&self, instance: &InstanceId) {
        self.held().sources.remove(instance);
    }

    pub(crate) fn after(&self, from: Offset) -> Option<(Offset, Entry)> {
        let held = self.held();
        let at = held.entries.partition_point(|(offset, _)| *offset <= from);
        held.entries.get(at).cloned()
    }
}
