//! Finding records in a segment, forwards and backwards, and past what is damaged.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    frame::{self, FRAME_HEAD_BYTES, FRAME_OVERHEAD_BYTES, HEADER_BYTES, Salt},
    record::Record,
    segment,
    window::Window,
};

const FRAME_BYTES_MIN: u64 = FRAME_OVERHEAD_BYTES as u64 + 1;

/// Where a frame stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Position of its first byte.
    pub(crate) start: u64,
    /// Position after its last byte.
    pub(crate) end: u64,
}

/// What a scanner came to.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// A record.
    Found {
        /// Damaged bytes before it.
        skipped: u64,
        /// Where it stands.
        place: Place,
        /// What it says.
        record: Record<'a>,
    },
    /// No record up to the limit.
    End {
        /// Damaged bytes before the limit.
        skipped: u64,
    },
}

/// Walks over one segment.
#[derive(Debug)]
pub(crate) struct Scanner {
    window: Window,
    /// Offset in the stream of the segment's first byte.
    start: u64,
    salt: Salt,
    position: u64,
}

impl Scanner {
    /// At the head of the segment that begins at `start`; `None` if its header is damaged.
    pub(crate) fn open(dir: &Path, start: u64) -> io::Result<Option<Self>> {
        let mut window = Window::new(segment::path(dir, start));
        let salt = segment::salt(&mut window)?;
        Ok(salt.map(|salt| Self { window, start, salt, position: HEADER_BYTES }))
    }

    /// Offset in the stream of the segment's first byte.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// The file.
    pub(crate) fn path(&self) -> PathBuf {
        self.window.path().to_owned()
    }

    /// Goes on from a position in the file.
    pub(crate) fn seek(&mut self, position: u64) {
        self.position = position.max(HEADER_BYTES);
    }

    /// Gives the memory back until the next look.
    pub(crate) fn release(&mut self) {
        self.window.release();
    }

    /// The next record that ends at or before `limit`, a position in the file.
    pub(crate) fn next(&mut self, limit: u64) -> io::Result<Step<'_>> {
        let from = self.position;
        match self.find(limit)? {
            None => {
                self.position = limit.max(from);
                Ok(Step::End { skipped: limit.saturating_sub(from) })
            }
            Some(place) => {
                self.position = place.end;
                let record = self.record(place)?;
                Ok(Step::Found { skipped: place.start - from, place, record })
            }
        }
    }

    /// The record before `end`, a position in the file; `None` at the head of the segment, or if there is
    /// damage right before `end`.
    pub(crate) fn before(&mut self, end: u64) -> io::Result<Option<Place>> {
        self.window.set_limit(end);
        let Some(trailer) = end.checked_sub(4) else { return Ok(None) };
        let length = frame::bytes_by_length(self.window.backward(trailer, end)?);
        let start = length.and_then(|length| end.checked_sub(length as u64));
        let Some(start) = start.filter(|start| *start >= HEADER_BYTES) else { return Ok(None) };
        let (salt, offset) = (self.salt, self.start + start);
        let whole = frame::is_whole(self.window.backward(start, end)?, salt, offset);
        Ok(whole.then_some(Place { start, end }))
    }

    /// All records between the head of the segment and `limit`, for a walk back past damage.
    pub(crate) fn places(&mut self, limit: u64) -> io::Result<Vec<Place>> {
        self.seek(HEADER_BYTES);
        let mut places = Vec::new();
        while let Some(place) = self.find(limit)? {
            self.position = place.end;
            places.push(place);
        }
        Ok(places)
    }

    /// What a record says.
    pub(crate) fn record(&mut self, place: Place) -> io::Result<Record<'_>> {
        let frame = self.window.backward(place.start, place.end)?;
        let body = frame.get(FRAME_HEAD_BYTES..frame.len().saturating_sub(4));
        Ok(body.map_or(Record::Unknown, Record::read))
    }

    /// The first whole frame from the position on. Usually it is right there; past damage it is searched
    /// for byte by byte.
    fn find(&mut self, limit: u64) -> io::Result<Option<Place>> {
        self.window.set_limit(limit);
        let mut start = self.position;
        while start + FRAME_BYTES_MIN <= limit {
            let head = self.window.forward(start, start + 4)?;
            if head.len() < 4 {
                return Ok(None);
            }
            if let Some(length) = frame::bytes_by_length(head) {
                let end = start + length as u64;
                let (salt, offset) = (self.salt, self.start + start);
                if end <= limit && frame::is_whole(self.window.forward(start, end)?, salt, offset) {
                    return Ok(Some(Place { start, end }));
                }
            }
            start += 1;
        }
        Ok(None)
    }
}
