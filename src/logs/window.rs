//! A piece of a segment in memory, moved over the file as it is read. No file stays open in between: a
//! reader that waits holds neither a handle nor the disk space of a removed segment.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::PathBuf};

/// Bytes that one look at the file brings into memory; more only for a larger record.
const CHUNK_BYTES: u64 = 32 * 1024;

/// The piece.
#[derive(Debug)]
pub(crate) struct Window {
    path: PathBuf,
    /// Position of the first byte of `bytes` in the file.
    at: u64,
    bytes: Vec<u8>,
    /// Nothing is read behind it: there a writer may be at work.
    limit: u64,
    /// Where the file was found to end before `limit`; a damaged one is not asked again for each byte.
    file_end: u64,
}

impl Window {
    /// Over a file that is opened at the first look.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, at: 0, bytes: Vec::new(), limit: 0, file_end: u64::MAX }
    }

    /// The file.
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Sets how far the file may be read: up to where it will not change any more.
    pub(crate) fn set_limit(&mut self, limit: u64) {
        if limit != self.limit {
            self.limit = limit;
            self.file_end = u64::MAX;
        }
    }

    /// Gives the memory back.
    pub(crate) fn release(&mut self) {
        self.bytes = Vec::new();
    }

    /// Bytes `from..to`, and in one go what follows them; fewer at the end of the file.
    pub(crate) fn forward(&mut self, from: u64, to: u64) -> io::Result<&[u8]> {
        if !self.holds(from, to) {
            self.load(from, to.max(from + CHUNK_BYTES))?;
        }
        Ok(self.held(from, to))
    }

    /// Bytes `from..to`, and in one go what stands before them; fewer at the end of the file.
    pub(crate) fn backward(&mut self, from: u64, to: u64) -> io::Result<&[u8]> {
        if !self.holds(from, to) {
            self.load(from.min(to.saturating_sub(CHUNK_BYTES)), to)?;
        }
        Ok(self.held(from, to))
    }

    fn holds(&self, from: u64, to: u64) -> bool {
        let to = to.min(self.limit).min(self.file_end);
        from >= to || (from >= self.at && to <= self.at + self.bytes.len() as u64)
    }

    fn held(&self, from: u64, to: u64) -> &[u8] {
        let index = |position: u64| {
            let inside = usize::try_from(position.saturating_sub(self.at)).unwrap_or(usize::MAX);
            inside.min(self.bytes.len())
        };
        if from < self.at { &[] } else { &self.bytes[index(from)..index(to)] }
    }

    fn load(&mut self, from: u64, to: u64) -> io::Result<()> {
        let wanted = usize::try_from(to.min(self.limit).saturating_sub(from)).map_err(io::Error::other)?;
        self.at = from;
        self.bytes.clear();
        self.bytes.resize(wanted, 0);
        let read = read_up_to(&File::open(&self.path)?, &mut self.bytes, from);
        let filled = *read.as_ref().unwrap_or(&0);
        self.bytes.truncate(filled);
        if read.is_ok() && filled < wanted {
            self.file_end = from + filled as u64;
        }
        read.map(|_| ())
    }
}

/// Fills the buffer from `at` on, as far as the file goes.
fn read_up_to(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
