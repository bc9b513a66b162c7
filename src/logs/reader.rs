//! A follower of a log: an offset that moves on.

use std::{io, sync::Arc};

use tokio::sync::watch;

use crate::{
    entry::{Entry, Offset},
    error::LogError,
    filter::Filter,
    record::Record,
    scan::{Scanner, Step},
    segment,
    stream::{Published, State, Stream},
};

/// Bytes of the log that a reader could not be given: removed by size or age before it came to them, or
/// damaged on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// How many.
    pub bytes: u64,
}

/// Follows a [`Stream`] from an offset. While it waits, or while nobody asks it, it holds an offset and at
/// most one small buffer: no file, no queue.
#[derive(Debug)]
pub struct Reader {
    stream: Arc<Stream>,
    published: watch::Receiver<Published>,
    offset: u64,
    /// The segment that the offset is in, while there is something to read.
    scanner: Option<Scanner>,
    /// Whether the offset is known to stand between two records.
    is_aligned: bool,
    gap_bytes: u64,
    filter: Filter,
}

impl Reader {
    pub(crate) fn new(stream: Arc<Stream>, published: watch::Receiver<Published>, from: u64) -> Self {
        let end = published.borrow().end;
        let is_aligned = from == 0 || from >= end;
        Self {
            stream,
            published,
            offset: from.min(end),
            scanner: None,
            is_aligned,
            gap_bytes: 0,
            filter: Filter::all(),
        }
    }

    /// Passes over every entry that does not fit; its offset still moves over them.
    #[must_use]
    pub fn only(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// The next entry and the offset after it, from which another reader would go on. Waits at the end of
    /// an open log; `None` at the end of a sealed one, and when the log was removed. Cancel-safe: a dropped
    /// future loses nothing. Ask [`Reader::take_gap`] whether something was missing before the entry.
    ///
    /// # Errors
    /// When a segment cannot be read; the next call tries again.
    pub async fn next(&mut self) -> Result<Option<(Offset, Entry)>, LogError> {
        // A log is often faster than its reader: let others have their turn.
        tokio::task::coop::consume_budget().await;
        loop {
            let published = *self.published.borrow_and_update();
            if let Some(found) = self.read(published)? {
                return Ok(Some(found));
            }
            if published.state != State::Open || self.published.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    /// The next entry if there is one now; `None` says nothing about what may follow.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub fn next_ready(&mut self) -> Result<Option<(Offset, Entry)>, LogError> {
        let published = *self.published.borrow();
        self.read(published)
    }

    /// Waits until something stands behind the offset, and reads nothing of it; `false` when nothing ever will.
    /// Cancel-safe.
    pub async fn ready(&mut self) -> bool {
        loop {
            let published = *self.published.borrow_and_update();
            if published.state != State::Removed && self.offset < published.end {
                return true;
            }
            if published.state != State::Open || self.published.changed().await.is_err() {
                return false;
            }
        }
    }

    /// Goes on behind an offset that came with an entry, without reading what is before it: somebody else has.
    pub fn go_on_from(&mut self, offset: Offset) {
        self.offset = self.offset.max(offset.0);
        self.is_aligned = true;
    }

    /// What was missing before the entry that came last, or before the end; says it once.
    pub fn take_gap(&mut self) -> Option<Gap> {
        let bytes = std::mem::take(&mut self.gap_bytes);
        (bytes > 0).then_some(Gap { bytes })
    }

    /// From where another reader would go on.
    pub fn offset(&self) -> Offset {
        Offset(self.offset)
    }

    /// The next line before what is known to be published, which may be less than what is there by now.
    pub(crate) fn read(&mut self, published: Published) -> Result<Option<(Offset, Entry)>, LogError> {
        while self.offset < published.end && published.state != State::Removed {
            let Some((start, next)) = self.stream.segment_at(self.offset) else { break };
            if self.offset < start {
                // Perhaps even behind what we know to be published: look again.
                self.skip(start - self.offset);
                continue;
            }
            let end = next.unwrap_or(published.end).min(published.end);
            match self.read_segment(start, end) {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.scanner = None;
                    if self.stream.published().state == State::Removed {
                        break;
                    }
                    // Removed by size or age since we looked, or else taken by somebody: go on behind it.
                    if self.stream.segment_at(self.offset).is_some_and(|(listed, _)| listed == start) {
                        self.skip(end - self.offset);
                    }
                }
                Err(source) => {
                    self.scanner = None;
                    return Err(LogError::Read { path: segment::path(&self.stream.dir(), start), source });
                }
            }
        }
        if let Some(scanner) = &mut self.scanner {
            scanner.release();
        }
        Ok(None)
    }

    /// The next line of a segment before the offset `end`.
    fn read_segment(&mut self, start: u64, end: u64) -> io::Result<Option<(Offset, Entry)>> {
        if self.scanner.as_ref().is_none_or(|scanner| scanner.start() != start) {
            self.scanner = Scanner::open(&self.stream.dir(), start)?;
        }
        let Some(scanner) = &mut self.scanner else {
            tracing::warn!(path = %segment::path(&self.stream.dir(), start).display(), "a damaged log segment is skipped");
            self.skip(end - self.offset);
            return Ok(None);
        };
        scanner.seek(self.offset - start);
        loop {
            let (skipped, place, entry) = match scanner.next(end - start)? {
                Step::Found { skipped, place, record } => {
                    let entry = match record {
                        Record::Line(line) if self.filter.fits(&line) => line.to_entry(),
                        _ => None,
                    };
                    (skipped, place.end, Some(entry))
                }
                Step::End { skipped } => (skipped, end - start, None),
            };
            self.offset = start + place;
            if skipped > 0 && self.is_aligned {
                tracing::warn!(path = %scanner.path().display(), bytes = skipped, "a damaged part of a log is skipped");
                self.gap_bytes += skipped;
            }
            self.is_aligned = true;
            match entry {
                Some(Some(entry)) => return Ok(Some((Offset(self.offset), entry))),
                Some(None) => {}
                None => return Ok(None),
            }
        }
    }

    fn skip(&mut self, bytes: u64) {
        self.offset += bytes;
        self.gap_bytes += bytes;
        self.is_aligned = true;
    }
}
