//! The end of a log, read backwards: the last lines cost what they are long, not what the log is.

use std::{
    io,
    ops::ControlFlow::{self, Break, Continue},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use autostack_domain::UnixMillis;

use crate::{
    entry::{Entry, Offset},
    error::LogError,
    filter::Filter,
    frame::HEADER_BYTES,
    record::{LineRef, Record},
    scan::{Place, Scanner},
    segment,
    stream::{State, Stream},
};

/// Bytes of text that one [`Stream::tail`] brings into memory; whoever wants more takes a reader at
/// [`Stream::tail_start`].
pub(crate) const TAIL_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Files have the time of a coarser clock than lines have.
const CLOCK_SLACK: Duration = Duration::from_secs(2);

impl Stream {
    /// The last `n` entries that fit, oldest first, each with the offset after it; and the offset from
    /// which to follow on without a lost or repeated line. Fewer than `n` if their text has more than
    /// 8 MiB.
    ///
    /// # Errors
    /// When a segment cannot be read.
    pub fn tail(&self, n: usize, filter: &Filter) -> Result<(Vec<(Offset, Entry)>, Offset), LogError> {
        let mut found = Vec::new();
        let mut bytes = 0;
        let end = self.walk_back(filter, |_, after, line| {
            bytes += line.text.len();
            if found.len() == n || bytes > TAIL_BYTES_MAX {
                return Break(());
            }
            found.extend(line.to_entry().map(|entry| (after, entry)));
            Continue(())
        })?;
        found.reverse();
        Ok((found, end))
    }

    /// Where the last `n` entries that fit begin, and the end that this was found at: a reader from there,
    /// with the same filter, gives them without holding them all in memory.
    ///
    /// # Errors
    /// When a segment cannot be read.
    pub fn tail_start(&self, n: usize, filter: &Filter) -> Result<(Offset, Offset), LogError> {
        let mut start = None;
        let mut count = 0;
        let end = self.walk_back(filter, |before, _, _| {
            if count == n {
                return Break(());
            }
            count += 1;
            start = Some(before);
            Continue(())
        })?;
        Ok((start.unwrap_or(end), end))
    }

    /// An offset before every line that was written at or after a moment, found without reading a line: a reader from
    /// there with [`Filter::since`] passes over one segment at most.
    pub fn start_since(&self, since: UnixMillis) -> Offset {
        let starts = self.starts();
        let older = starts.iter().rev().find(|start| is_older(&segment::path(&self.dir(), **start), since));
        let next = older.and_then(|older| starts.iter().find(|start| *start > older).copied());
        match (older, next) {
            (None, _) => self.start(),
            (Some(_), Some(next)) => Offset(next),
            (Some(_), None) => self.end(),
        }
    }

    /// Shows the entries that fit, the newest first, each with the offset after it, until `visit` says that it has seen
    /// enough; gives the end from which this was.
    pub(crate) fn look_back(
        &self,
        filter: &Filter,
        mut visit: impl FnMut(Offset, Entry) -> bool,
    ) -> Result<Offset, LogError> {
        self.walk_back(filter, |_, after, line| match line.to_entry() {
            Some(entry) => {
                if visit(after, entry) {
                    Continue(())
                } else {
                    Break(())
                }
            }
            None => Continue(()),
        })
    }

    /// Shows every line that fits to `visit`, the newest first, with the offsets before and after it.
    fn walk_back(
        &self,
        filter: &Filter,
        mut visit: impl FnMut(Offset, Offset, LineRef<'_>) -> ControlFlow<()>,
    ) -> Result<Offset, LogError> {
        let published = self.published();
        if published.state == State::Removed {
            return Ok(Offset(published.end));
        }
        let mut end = published.end;
        for start in self.starts().into_iter().rev().filter(|start| *start < published.end) {
            let path = segment::path(&self.dir(), start);
            let mut visit_fitting = |before, after, line: LineRef<'_>| {
                if filter.fits(&line) { visit(Offset(before), Offset(after), line) } else { Continue(()) }
            };
            let walked = if filter.since.is_some_and(|since| is_older(&path, since)) {
                Ok(Break(()))
            } else {
                walk_segment(self, start, end, &mut visit_fitting)
            };
            match walked {
                Ok(Continue(())) => end = start,
                Ok(Break(())) => break,
                // Removed by size or age since we looked, and all before it too.
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(source) => return Err(LogError::Read { path, source }),
            }
        }
        Ok(Offset(published.end))
    }
}

/// Whether the last line of a segment was written before `since`.
fn is_older(segment: &std::path::Path, since: UnixMillis) -> bool {
    let since = UNIX_EPOCH + Duration::from_millis(u64::try_from(since.0).unwrap_or(0));
    let written: io::Result<SystemTime> = segment.metadata().and_then(|metadata| metadata.modified());
    written.is_ok_and(|written| written + CLOCK_SLACK < since)
}

fn walk_segment(
    stream: &Stream,
    start: u64,
    end: u64,
    visit: &mut impl FnMut(u64, u64, LineRef<'_>) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    let Some(mut scanner) = Scanner::open(&stream.dir(), start)? else { return Ok(Continue(())) };
    let mut look = |scanner: &mut Scanner, place: Place| {
        Ok::<_, io::Error>(match scanner.record(place)? {
            Record::Line(line) => visit(start + place.start, start + place.end, line),
            _ => Continue(()),
        })
    };
    let mut position = end - start;
    while position > HEADER_BYTES {
        let Some(place) = scanner.before(position)? else {
            // Damage: find the records before it from the head of the segment.
            for place in scanner.places(position)?.into_iter().rev() {
                if look(&mut scanner, place)?.is_break() {
                    return Ok(Break(()));
                }
            }
            break;
        };
        if look(&mut scanner, place)?.is_break() {
            return Ok(Break(()));
        }
        position = place.start;
    }
    Ok(Continue(()))
}
