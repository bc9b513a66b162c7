//! What a stream finds when it is opened: where it ends, and what it knew.

use std::{collections::HashMap, fs, fs::OpenOptions, io, path::Path};

use autostack_domain::InstanceId;

use crate::{
    error::LogError,
    frame::HEADER_BYTES,
    record::{OriginRef, Record},
    scan::{Scanner, Step},
    segment,
};

/// Where the output of each instance stands.
pub(crate) type Sources = HashMap<InstanceId, u64>;

/// The state of a stream as its files tell it.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// Where its segments begin, the oldest first.
    pub(crate) starts: Vec<u64>,
    /// The offset after the last whole line.
    pub(crate) end: u64,
    /// Instances that were not forgotten.
    pub(crate) sources: Sources,
    /// Whether the last record is the seal.
    pub(crate) is_sealed: bool,
}

/// Reads the newest segment and cuts off what a crash left torn at its end: a part of a record, or the
/// first pieces of a long line. Older segments were complete and synced before the newest one began.
pub(crate) fn recover(dir: &Path) -> Result<Recovered, LogError> {
    let starts = segment::list(dir)?;
    let Some(&newest) = starts.last() else { return Ok(Recovered::default()) };
    let path = segment::path(dir, newest);
    let failed = |source| LogError::OpenSegment { path: path.clone(), source };
    let length = fs::metadata(&path).map_err(failed)?.len();
    let Some(mut scanner) = Scanner::open(dir, newest).map_err(failed)? else {
        tracing::warn!(path = %path.display(), bytes = length, "a log segment has no whole header");
        let sources = sources_before(dir, &starts)?;
        // Up to a header's size there was no record in it, so its place is used again; else it stays for as
        // long as the limits allow, and the stream goes on behind it.
        let end = if length <= HEADER_BYTES { newest } else { newest + length };
        return Ok(Recovered { starts, end, sources, is_sealed: false });
    };
    let mut state = replay(&mut scanner, length, Sources::new()).map_err(failed)?;
    if !state.has_whole_head {
        scanner.seek(0);
        state = replay(&mut scanner, length, sources_before(dir, &starts)?).map_err(failed)?;
    }
    if state.position < length {
        let bytes = length - state.position;
        tracing::warn!(path = %path.display(), bytes, "the torn end of a log is cut off");
        let file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
        file.set_len(state.position).map_err(failed)?;
    }
    let Replay { position, sources, is_sealed, .. } = state;
    Ok(Recovered { starts, end: newest + position, sources, is_sealed })
}

/// Where the outputs stood when the newest segment began, by the segment before it; for when the newest
/// one cannot be trusted to say it.
fn sources_before(dir: &Path, starts: &[u64]) -> Result<Sources, LogError> {
    let Some(&[previous, newest]) = starts.last_chunk() else { return Ok(Sources::new()) };
    let read = Scanner::open(dir, previous).and_then(|scanner| {
        let Some(mut scanner) = scanner else { return Ok(Sources::new()) };
        Ok(replay(&mut scanner, newest - previous, Sources::new())?.sources)
    });
    read.map_err(|source| LogError::OpenSegment { path: segment::path(dir, previous), source })
}

/// What the records of a segment add up to.
#[derive(Debug)]
struct Replay {
    /// Position in the file after the last whole line or mark.
    position: u64,
    sources: Sources,
    is_sealed: bool,
    /// Whether the marks at its head are all there: something was written behind them, and nothing is
    /// damaged.
    has_whole_head: bool,
}

fn replay(scanner: &mut Scanner, length: u64, sources: Sources) -> io::Result<Replay> {
    let path = scanner.path();
    let mut state = Replay { position: HEADER_BYTES, sources, is_sealed: false, has_whole_head: false };
    let mut is_damaged = false;
    while let Step::Found { skipped, place, record } = scanner.next(length)? {
        if skipped > 0 {
            let position = place.start - skipped;
            tracing::warn!(path = %path.display(), position, bytes = skipped, "a damaged part of a log is skipped");
            is_damaged = true;
        }
        if matches!(record, Record::Line(line) if line.continues) {
            continue;
        }
        state.position = place.end;
        state.take(record);
    }
    state.has_whole_head &= !is_damaged;
    Ok(state)
}

impl Replay {
    fn take(&mut self, record: Record<'_>) {
        self.has_whole_head |= !matches!(record, Record::Source { .. } | Record::Unknown);
        self.is_sealed = matches!(record, Record::Sealed);
        match record {
            Record::Line(line) => {
                if let OriginRef::Instance { instance, source_end, .. } = line.origin {
                    set(&mut self.sources, instance, source_end);
                }
            }
            Record::Source { instance, source_end } => set(&mut self.sources, instance, source_end),
            Record::Forgotten { instance } => {
                if let Ok(instance) = instance.parse::<InstanceId>() {
                    self.sources.remove(&instance);
                }
            }
            Record::Sealed | Record::Unknown => {}
        }
    }
}

fn set(sources: &mut Sources, instance: &str, source_end: u64) {
    if let Ok(instance) = instance.parse() {
        sources.insert(instance, source_end);
    }
}
