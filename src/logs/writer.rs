//! The one place of a stream that adds bytes: the newest segment, and what the stream knows.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use autostack_domain::{InstanceId, limits::LOG_LINE_BYTES_MAX};

use crate::{
    entry::{Entry, Origin},
    error::LogError,
    frame::{self, FRAME_OVERHEAD_BYTES, HEADER_BYTES, Salt},
    record::{LineRef, Record},
    recover::{Recovered, Sources},
    segment,
};

/// Capacity that the buffer keeps between appends; a larger batch gives its memory back.
const BUFFER_BYTES_KEPT: usize = 4 * 1024;
/// More than any record needs besides its text.
const RECORD_OVERHEAD_BYTES_MAX: usize = 512 + FRAME_OVERHEAD_BYTES;

/// What is guarded by the stream's lock.
#[derive(Debug)]
pub(crate) struct Writer {
    dir: PathBuf,
    segment_bytes_max: u64,
    /// Where the newest segment begins; `None` before the first line.
    newest: Option<u64>,
    /// The newest segment, once something was written since the stream was opened.
    file: Option<(File, Salt)>,
    /// The offset after the last record.
    end: u64,
    sources: Sources,
    buffer: Vec<u8>,
    is_used: bool,
}

impl Writer {
    /// Goes on where the files end.
    /// Its segments stand in another folder from now on.
    pub(crate) fn move_to(&mut self, dir: &Path) {
        dir.clone_into(&mut self.dir);
    }

    pub(crate) fn new(dir: &Path, segment_bytes_max: u64, recovered: Recovered) -> Self {
        Self {
            dir: dir.to_owned(),
            segment_bytes_max,
            newest: recovered.starts.last().copied(),
            file: None,
            end: recovered.end,
            sources: recovered.sources,
            buffer: Vec::new(),
            is_used: false,
        }
    }

    /// The offset after the last record.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Where the newest segment begins.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.newest
    }

    /// Where the output of an instance stands.
    pub(crate) fn source_end(&self, instance: &InstanceId) -> Option<u64> {
        self.sources.get(instance).copied()
    }

    /// Adds lines, all of them or none.
    pub(crate) fn add_lines(&mut self, entries: &[Entry]) -> Result<(), LogError> {
        let bytes: usize = entries.iter().map(|entry| bytes_at_most(entry.text.len())).sum();
        self.make_room(bytes as u64)?;
        self.write(|frames| {
            for piece in entries.iter().flat_map(|entry| LineRef::of(entry).pieces(LOG_LINE_BYTES_MAX)) {
                frames.put(Record::Line(piece));
            }
        })?;
        for entry in entries {
            if let Origin::Instance { instance, source_end, .. } = &entry.origin {
                match self.sources.get_mut(instance) {
                    Some(known) => *known = *source_end,
                    None => _ = self.sources.insert(instance.clone(), *source_end),
                }
            }
        }
        Ok(())
    }

    /// Adds the seal and makes the log durable.
    pub(crate) fn seal(&mut self) -> Result<(), LogError> {
        self.make_room(0)?;
        self.write(|frames| frames.put(Record::Sealed))?;
        self.sync();
        self.file = None;
        Ok(())
    }

    /// Drops what is known of an instance, here and in the file.
    pub(crate) fn forget(&mut self, instance: &InstanceId) -> Result<(), LogError> {
        if self.sources.remove(instance).is_none() {
            return Ok(());
        }
        self.make_room(0)?;
        self.write(|frames| frames.put(Record::Forgotten { instance: instance.as_str() }))
    }

    /// Begins a new segment although the newest one has room, and makes it durable: then every line can be
    /// removed, and the offset and the sources are still kept.
    pub(crate) fn begin_anew(&mut self) -> Result<(), LogError> {
        self.begin_segment()?;
        self.sync();
        Ok(())
    }

    /// Closes the file if nothing was written since the last call.
    pub(crate) fn close_if_idle(&mut self) {
        if !std::mem::take(&mut self.is_used) {
            self.file = None;
            self.buffer = Vec::new();
        }
    }

    /// Adds nothing more: the folder is gone.
    pub(crate) fn close(&mut self) {
        self.file = None;
        self.sources = Sources::new();
    }

    /// Has a segment open that takes `bytes` more. A batch that is larger than a segment gets one of its own.
    fn make_room(&mut self, bytes: u64) -> Result<(), LogError> {
        self.is_used = true;
        let Some(start) = self.newest.filter(|start| *start < self.end) else {
            return self.begin_segment();
        };
        if self.file.is_none() {
            self.file = segment::open(&self.dir, start)?;
        }
        let is_full = self.end - start + bytes > self.segment_bytes_max;
        if self.file.is_none() || (is_full && self.has_lines()) {
            self.sync();
            return self.begin_segment();
        }
        Ok(())
    }

    /// Whether the newest segment has more than what a segment begins with.
    pub(crate) fn has_lines(&self) -> bool {
        self.newest.is_some_and(|start| self.end.saturating_sub(start) > self.head_bytes())
    }

    /// Bytes that a segment begun now would have before its first line.
    fn head_bytes(&self) -> u64 {
        let marks: usize = self.sources.keys().map(|id| id.as_str().len() + 9 + FRAME_OVERHEAD_BYTES).sum();
        HEADER_BYTES + marks as u64
    }

    fn begin_segment(&mut self) -> Result<(), LogError> {
        let salt = Salt::random();
        let start = self.end;
        let mut frames = Frames { bytes: Vec::new(), salt, start: start + HEADER_BYTES };
        for (instance, &source_end) in &self.sources {
            frames.put(Record::Source { instance: instance.as_str(), source_end });
        }
        let file = segment::create(&self.dir, start, salt, &frames.bytes)?;
        self.end = start + HEADER_BYTES + frames.bytes.len() as u64;
        self.file = Some((file, salt));
        self.newest = Some(start);
        Ok(())
    }

    /// Writes frames behind the last record, all or none: what a failed write left is cut off again, and
    /// would be overwritten by the next one if even that failed.
    fn write(&mut self, fill: impl FnOnce(&mut Frames)) -> Result<(), LogError> {
        let (Some((file, salt)), Some(start)) = (&self.file, self.newest) else { return Ok(()) };
        let mut bytes = std::mem::take(&mut self.buffer);
        bytes.clear();
        let mut frames = Frames { bytes, salt: *salt, start: self.end };
        fill(&mut frames);
        let position = self.end - start;
        let written = file.write_all_at(&frames.bytes, position);
        if written.is_ok() {
            self.end += frames.bytes.len() as u64;
        } else if let Err(error) = file.set_len(position) {
            tracing::warn!(log = %self.dir.display(), %error, "a part of a record is left behind");
        }
        self.buffer = frames.bytes;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        written.map_err(|source| LogError::Write { path: segment::path(&self.dir, start), source })
    }

    /// Makes the newest segment durable. A failure is reported and loses nothing that is not lost already.
    pub(crate) fn sync(&self) {
        let Some((file, _)) = &self.file else { return };
        if let Err(error) = file.sync_all().and_then(|()| segment::sync_folder(&self.dir)) {
            tracing::warn!(log = %self.dir.display(), %error, "a log could not be synced");
        }
    }
}

/// An upper bound for what a line takes in a segment.
fn bytes_at_most(text: usize) -> usize {
    text + (text / (LOG_LINE_BYTES_MAX - 3) + 1) * RECORD_OVERHEAD_BYTES_MAX
}

/// Frames that are put together in memory, to be written in one go.
struct Frames {
    bytes: Vec<u8>,
    salt: Salt,
    /// Offset of the first one.
    start: u64,
}

impl Frames {
    fn put(&mut self, record: Record<'_>) {
        let offset = self.start + self.bytes.len() as u64;
        frame::put(&mut self.bytes, self.salt, offset, |out| record.put(out));
    }
}
