//! One log: append, follow, look at its end.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use autostack_domain::InstanceId;
use tokio::sync::watch;

use crate::{
    entry::{Entry, Offset},
    error::LogError,
    reader::Reader,
    recover::recover,
    segment,
    writer::Writer,
};

/// Smallest segment, whatever the limits say: one long line must fit.
const SEGMENT_BYTES_MIN: u64 = 32 * 1024;

/// How large a stream may become.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Bytes of a segment.
    pub(crate) segment_bytes_max: u64,
    /// Bytes of the whole stream.
    pub(crate) bytes_max: Option<u64>,
}

/// What readers know of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Published {
    /// The offset after the last record; below it nothing changes any more.
    pub(crate) end: u64,
    /// Whether anything can follow.
    pub(crate) state: State,
}

/// Whether a stream can grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It can.
    Open,
    /// It has ended.
    Sealed,
    /// Its files are gone.
    Removed,
}

/// The log of one app or one deployment. Holds no file open until something is written.
///
/// Its methods read and write files, usually in the page cache, and never wait for another task but for
/// the short turn of another writer; a [`Stream::tail`] with a filter that rarely fits may read the whole
/// log and belongs on a blocking thread.
#[derive(Debug)]
pub struct Stream {
    /// Replaced when the app gets another name.
    dir: RwLock<Arc<Path>>,
    shape: Shape,
    writer: Mutex<Writer>,
    /// Where the segments begin, the oldest first. A lock of its own: readers never wait for a write.
    starts: Mutex<VecDeque<u64>>,
    published: watch::Sender<Published>,
}

impl Stream {
    pub(crate) fn open(dir: PathBuf, shape: Shape) -> Result<Self, LogError> {
        let roof = shape.bytes_max.map_or(u64::MAX, |bytes| bytes / 2);
        let segment_bytes_max = shape.segment_bytes_max.min(roof).max(SEGMENT_BYTES_MIN);
        let shape = Shape { segment_bytes_max, ..shape };
        let recovered = recover(&dir)?;
        let state = if recovered.is_sealed { State::Sealed } else { State::Open };
        let (published, _) = watch::channel(Published { end: recovered.end, state });
        Ok(Self {
            starts: Mutex::new(recovered.starts.iter().copied().collect()),
            writer: Mutex::new(Writer::new(&dir, segment_bytes_max, recovered)),
            dir: RwLock::new(dir.into()),
            shape,
            published,
        })
    }

    /// Adds entries, all or none, and wakes the readers; returns the offset after the last of them. The
    /// whole batch is held in memory once more, so keep it to some hundred lines. It is safe from a crash
    /// of the agent when this returns, but not yet from a power cut.
    ///
    /// # Errors
    /// [`LogError::Write`] leaves the log as it was; see [`LogError::is_no_space`] for when to try again.
    /// [`LogError::Sealed`] and [`LogError::Removed`] are final.
    pub fn append(&self, entries: &[Entry]) -> Result<Offset, LogError> {
        self.with_open_writer(|writer| if entries.is_empty() { Ok(()) } else { writer.add_lines(entries) })
    }

    /// Ends the log and makes it durable: readers get `None` after its last entry, also after a restart.
    /// Does nothing the second time.
    ///
    /// # Errors
    /// Even then readers end now, but the seal will be missing after a restart.
    pub fn seal(&self) -> Result<(), LogError> {
        let mut writer = self.lock_writer();
        if self.published().state != State::Open {
            return Ok(());
        }
        let sealed = writer.seal();
        self.publish(&writer, State::Sealed);
        sealed
    }

    /// Makes everything written so far safe from a power cut too; waits for the disk.
    pub fn sync(&self) {
        self.lock_writer().sync();
    }

    /// Whether the log has ended.
    pub fn is_sealed(&self) -> bool {
        self.published().state == State::Sealed
    }

    /// The oldest offset that is still there.
    pub fn start(&self) -> Offset {
        Offset(self.lock_starts().front().copied().unwrap_or_default())
    }

    /// The offset after the last entry: from here a reader sees only what is yet to come.
    pub fn end(&self) -> Offset {
        Offset(self.published().end)
    }

    /// Follows the log from an offset: [`Offset::START`], one that came with an entry, or
    /// [`Stream::end`]. One behind the end means the end, one that was removed the oldest entry, one
    /// inside an entry the next.
    pub fn reader(self: &Arc<Self>, from: Offset) -> Reader {
        Reader::new(Arc::clone(self), self.published.subscribe(), from.0)
    }

    /// Where the output of an instance stands in this log: the `source_end` of its last line, for as long
    /// as it is not forgotten, also after a restart and when its lines were removed.
    pub fn last_source_end(&self, instance: &InstanceId) -> Option<u64> {
        self.lock_writer().source_end(instance)
    }

    /// Forgets where the output of an instance stood; call it when all of its output is in the log and it
    /// will never write again.
    pub fn forget_instance(&self, instance: &InstanceId) {
        if let Err(error) = self.with_open_writer(|writer| writer.forget(instance)) {
            // Forgotten now; known again after a restart, which costs some bytes and nothing else.
            tracing::debug!(%instance, %error, "an instance is forgotten only until the restart");
        }
    }

    /// Removes segments that are old; `is_old` is asked for the file. A log of which every line is old
    /// becomes empty and keeps its offset. Closes the file of an idle log.
    pub(crate) fn remove_older(&self, is_old: impl Fn(&Path) -> bool) -> Result<(), LogError> {
        let mut writer = self.lock_writer();
        if self.published().state == State::Removed {
            return Ok(());
        }
        writer.close_if_idle();
        let newest = writer.newest().filter(|_| writer.has_lines());
        let all_old = newest.is_some_and(|start| is_old(&segment::path(&self.dir(), start)));
        if all_old && self.published().state == State::Open {
            let begun = writer.begin_anew();
            self.publish(&writer, State::Open);
            begun?;
        }
        let is_oldest_old = |start: u64, _: u64| is_old(&segment::path(&self.dir(), start));
        self.remove_oldest_while(is_oldest_old)
    }

    /// Ends it for everybody who still holds it, because its files are about to go.
    pub(crate) fn mark_removed(&self) {
        let mut writer = self.lock_writer();
        writer.close();
        self.publish(&writer, State::Removed);
    }

    /// Where its segments are.
    pub(crate) fn dir(&self) -> Arc<Path> {
        Arc::clone(&self.dir.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Moves its segments to another folder; whoever holds it goes on reading and writing there.
    pub(crate) fn move_to(&self, to: &Path) -> Result<(), LogError> {
        let mut writer = self.lock_writer();
        let mut dir = self.dir.write().unwrap_or_else(PoisonError::into_inner);
        rename_folder(&dir, to)?;
        writer.move_to(to);
        *dir = to.into();
        Ok(())
    }

    pub(crate) fn published(&self) -> Published {
        *self.published.borrow()
    }

    /// Where the segments begin, the oldest first.
    pub(crate) fn starts(&self) -> VecDeque<u64> {
        self.lock_starts().clone()
    }

    /// The segment that holds an offset: where it begins, and where the next one does. The oldest one if
    /// the offset was removed.
    pub(crate) fn segment_at(&self, offset: u64) -> Option<(u64, Option<u64>)> {
        let starts = self.lock_starts();
        let index = starts.partition_point(|start| *start <= offset).saturating_sub(1);
        Some((*starts.get(index)?, starts.get(index + 1).copied()))
    }

    fn with_open_writer(
        &self,
        act: impl FnOnce(&mut Writer) -> Result<(), LogError>,
    ) -> Result<Offset, LogError> {
        let mut writer = self.lock_writer();
        match self.published().state {
            State::Open => {}
            State::Sealed => return Err(LogError::Sealed { path: self.dir().to_path_buf() }),
            State::Removed => return Err(LogError::Removed { path: self.dir().to_path_buf() }),
        }
        let done = act(&mut writer);
        self.publish(&writer, State::Open);
        done.map(|()| Offset(writer.end()))
    }

    /// Tells readers how far they may read; a new segment first makes room among the old ones.
    fn publish(&self, writer: &Writer, state: State) {
        let is_new = {
            let mut starts = self.lock_starts();
            let newest = writer.newest().filter(|newest| starts.back() != Some(newest));
            starts.extend(newest);
            newest.is_some()
        };
        let now = Published { end: writer.end(), state };
        self.published.send_if_modified(|published| std::mem::replace(published, now) != now);
        if let (true, Some(bytes_max)) = (is_new, self.shape.bytes_max) {
            let room = self.shape.segment_bytes_max;
            let removed = self.remove_oldest_while(|oldest, end| end - oldest + room > bytes_max);
            if let Err(error) = removed {
                tracing::warn!(log = %self.dir().display(), %error, "an old log segment stays");
            }
        }
    }

    /// Removes the oldest segment again and again, but never the newest. `is_surplus` is given where it
    /// begins and where the stream ends.
    fn remove_oldest_while(&self, is_surplus: impl Fn(u64, u64) -> bool) -> Result<(), LogError> {
        let end = self.published().end;
        loop {
            let oldest = {
                let mut starts = self.lock_starts();
                let removable = starts.len() > 1 && is_surplus(starts[0], end);
                if removable { starts.pop_front() } else { None }
            };
            let Some(oldest) = oldest else { return Ok(()) };
            let path = segment::path(&self.dir(), oldest);
            match std::fs::remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(LogError::Remove { path, source });
                }
                _ => {}
            }
        }
    }

    fn lock_writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_starts(&self) -> MutexGuard<'_, VecDeque<u64>> {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves a folder; one that is not there has no line yet.
pub(crate) fn rename_folder(from: &Path, to: &Path) -> Result<(), LogError> {
    match std::fs::rename(from, to) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(LogError::OpenFolder { path: from.to_owned(), source })
        }
        _ => Ok(()),
    }
}
