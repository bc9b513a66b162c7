//! The shim's end of the output. Never fails: what cannot be written is counted, and said once it can.

use std::{
    fs::{File, OpenOptions, remove_file},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::PathBuf,
};

use autostack_domain::UnixMillis;

use super::{
    OutputLimits, file_of,
    record::{self, Source},
    starts,
};

/// Appends records to the output of one instance.
#[derive(Debug)]
pub(crate) struct OutputWriter {
    dir: PathBuf,
    limits: OutputLimits,
    file: Option<File>,
    /// Where the current file starts in the stream, and how many bytes of whole records it holds.
    start: u64,
    length: u64,
    /// Records that wait for [`OutputWriter::flush`].
    pending: Vec<u8>,
    /// Lines that could not be written since the last word about it.
    lost: u64,
}

/// Bytes of the buffer that are kept between two flushes.
const PENDING_BYTES_KEPT: usize = 64 * 1024;

impl OutputWriter {
    pub(crate) fn new(dir: PathBuf, limits: OutputLimits) -> Self {
        Self { dir, limits, file: None, start: 0, length: 0, pending: Vec::new(), lost: 0 }
    }

    /// Adds a line to what the next [`OutputWriter::flush`] writes.
    pub(crate) fn push(&mut self, at: UnixMillis, source: Source, text: &[u8]) {
        record::encode(&mut self.pending, at, source, text);
    }

    /// Writes what was pushed, in one piece.
    pub(crate) fn flush(&mut self, at: UnixMillis) {
        if self.pending.is_empty() {
            return;
        }
        let mut pending = std::mem::take(&mut self.pending);
        if self.lost > 0 {
            let mut with_note = Vec::new();
            let note = format!("{} lines are missing here: they could not be written to disk", self.lost);
            record::encode(&mut with_note, at, Source::Shim, note.as_bytes());
            // A note that cannot be written either is no line of the app's: it is not counted.
            if self.write(&with_note) == 1 {
                self.lost = 0;
            }
        }
        let (_, count) = record::whole(&pending);
        let written = if self.lost == 0 { self.write(&pending) } else { 0 };
        self.lost += count - written;
        pending.clear();
        pending.shrink_to(PENDING_BYTES_KEPT);
        self.pending = pending;
    }

    /// Writes records; gives the number of those that are whole on disk.
    fn write(&mut self, records: &[u8]) -> u64 {
        if self.open().is_err() {
            return 0;
        }
        let Some(file) = &self.file else { return 0 };
        let mut done = 0;
        while done < records.len() {
            match file.write_at(&records[done..], self.length + done as u64) {
                Ok(0) => break,
                Ok(more) => done += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let (end, count) = record::whole(&records[..done]);
        self.length += end as u64;
        if end < done {
            // A reader stops before the torn record in any case; cutting it off frees its space.
            let _ = file.set_len(self.length);
        }
        count
    }

    /// Makes the file that the next records go to, where it is time for one.
    fn open(&mut self) -> io::Result<()> {
        if self.file.is_none() || self.length >= self.limits.file_bytes_max {
            let start = self.start + self.length;
            let path = file_of(&self.dir, start);
            let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
            (self.start, self.length) = (start, 0);
            self.file = Some(opened);
            self.forget_oldest();
        }
        Ok(())
    }

    fn forget_oldest(&self) {
        let oldest_wanted = self.start.saturating_sub(self.limits.bytes_max);
        for start in starts(&self.dir).unwrap_or_default() {
            if start < oldest_wanted {
                let _ = remove_file(file_of(&self.dir, start));
            }
        }
    }
}

#[cfg(test)]
impl OutputWriter {
    /// Takes the file that has the right name now.
    pub(crate) fn reopen_for_test(&mut self) {
        self.file = None;
    }
}
