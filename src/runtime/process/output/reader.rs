//! The agent's end of the output.

use std::{
    fs::{File, remove_file},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::PathBuf,
};

use super::{
    Record, file_of,
    record::{self, RECORD_BYTES_MAX},
    starts,
};

/// What stands next in the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A line, and where the output stands after it.
    Line(Record, u64),
    /// Bytes that were removed before anybody read them, and where the output goes on.
    Gap { bytes: u64, end: u64 },
}

/// Reads the output of one instance from a place on. Files that lie wholly before what it gave out last
/// are removed at the next call: by then the caller has put it where it belongs.
#[derive(Debug)]
pub(crate) struct OutputReader {
    dir: PathBuf,
    position: u64,
    current: Option<(File, u64)>,
    /// Where the output stood after the last call.
    given: u64,
}

/// Bytes that are read at once.
const READ_BYTES: usize = 4 * RECORD_BYTES_MAX;

impl OutputReader {
    pub(crate) fn new(dir: PathBuf, position: u64) -> Self {
        Self { dir, position, current: None, given: position }
    }

    /// The next pieces; none where nothing more is there now. The caller has dealt with all that it got
    /// before.
    pub(crate) fn read(&mut self) -> io::Result<Vec<Piece>> {
        self.given = self.position;
        loop {
            if let Some((file, start)) = &self.current {
                let mut bytes = vec![0; READ_BYTES];
                let taken = file.read_at(&mut bytes, self.position - start)?;
                let pieces = self.parse(&bytes[..taken]);
                if !pieces.is_empty() {
                    return Ok(pieces);
                }
            }
            match self.advance()? {
                Advance::End => return Ok(Vec::new()),
                Advance::Moved => {}
                Advance::Jumped { bytes } => return Ok(vec![Piece::Gap { bytes, end: self.position }]),
            }
        }
    }

    /// Goes back to where the last call began: its pieces could not be dealt with.
    pub(crate) fn rewind(&mut self) {
        self.position = self.given;
        self.current = None;
    }

    fn parse(&mut self, mut bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while let Some((record, length)) = record::decode(bytes) {
            self.position += length as u64;
            bytes = &bytes[length..];
            pieces.push(Piece::Line(record, self.position));
        }
        pieces
    }

    /// Moves to the file that holds the current position, or the next one after it.
    fn advance(&mut self) -> io::Result<Advance> {
        let current = self.current.as_ref().map(|(_, start)| *start);
        // The usual cases need no listing: nothing new, or the next file starts right here.
        if current != Some(self.position)
            && let Some(file) = self.open(self.position)?
        {
            self.leave_behind();
            self.current = Some((file, self.position));
            return Ok(Advance::Moved);
        }
        if self.is_current_complete()? {
            return Ok(Advance::End);
        }
        let starts = starts(&self.dir)?;
        let holding = starts.iter().rev().find(|start| **start <= self.position).copied();
        let next = starts.iter().find(|start| **start > self.position).copied();
        match (holding, next) {
            (Some(start), _) if current != Some(start) => {
                self.current = self.open(start)?.map(|file| (file, start));
                Ok(Advance::Moved)
            }
            // The current file will not grow any more once the next one is there, and it was looked at
            // again since: what is left of it is torn.
            (_, Some(next)) => self.jump(next),
            (_, None) => Ok(Advance::End),
        }
    }

    fn jump(&mut self, next: u64) -> io::Result<Advance> {
        if let Some((file, start)) = &self.current {
            let mut bytes = vec![0; RECORD_BYTES_MAX];
            let taken = file.read_at(&mut bytes, self.position - start)?;
            if record::decode(&bytes[..taken]).is_some() {
                return Ok(Advance::Moved);
            }
        }
        let bytes = next - self.position;
        self.leave_behind();
        self.current = self.open(next)?.map(|file| (file, next));
        self.position = next;
        Ok(Advance::Jumped { bytes })
    }

    /// Whether the current file is still there and was read to its end.
    fn is_current_complete(&self) -> io::Result<bool> {
        let Some((file, start)) = &self.current else { return Ok(false) };
        let metadata = file.metadata()?;
        Ok(metadata.nlink() > 0 && metadata.len() == self.position - start)
    }

    fn open(&self, start: u64) -> io::Result<Option<File>> {
        match File::open(file_of(&self.dir, start)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes the file that was read; all of it was given out by an earlier call.
    fn leave_behind(&mut self) {
        if let Some((_, start)) = self.current.take() {
            let _ = remove_file(file_of(&self.dir, start));
        }
    }
}

enum Advance {
    /// There is nothing more now.
    End,
    /// Another file is the current one.
    Moved,
    /// So many bytes were skipped.
    Jumped { bytes: u64 },
}
