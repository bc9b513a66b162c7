//! A follower of a log: an offset that moves on.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{
    entry::{Entry, Offset},
    error::LogError,
    stream::{Published, Stream},
};

/// Bytes that were removed by size or age before the reader came to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// How many.
    pub bytes: u64,
}

/// Follows a [`Stream`] from an offset.
#[derive(Debug)]
pub struct Reader {
    stream: Arc<Stream>,
    published: watch::Receiver<Published>,
    offset: Offset,
    gap: Option<Gap>,
}

impl Reader {
    pub(crate) fn new(stream: Arc<Stream>, published: watch::Receiver<Published>, from: Offset) -> Self {
        Self { stream, published, offset: from, gap: None }
    }

    /// The next entry and the offset after it, from which another reader would go on. Waits at the end of
    /// an open log; `None` at the end of a sealed one. Cancel-safe: a dropped future loses nothing.
    pub async fn next(&mut self) -> Result<Option<(Offset, Entry)>, LogError> {
        loop {
            let sealed = self.published.borrow_and_update().sealed;
            if let Some(found) = self.next_ready()? {
                return Ok(Some(found));
            }
            if sealed || self.published.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    /// The next entry if there is one now.
    pub fn next_ready(&mut self) -> Result<Option<(Offset, Entry)>, LogError> {
        let found = self.stream.after(self.offset);
        if let Some((offset, _)) = &found {
            self.offset = *offset;
        }
        Ok(found)
    }

    /// What was missing before the entry that came last, once.
    pub fn take_gap(&mut self) -> Option<Gap> {
        self.gap.take()
    }

    /// From where another reader would go on.
    pub fn offset(&self) -> Offset {
        self.offset
    }
}
