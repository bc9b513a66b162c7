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
        return without_header(dir, starts, newest, length);
    };
    let mut state = replay(&mut scanner, length).map_err(failed)?;
    if state.position < length {
        let bytes = length - state.position;
        tracing::warn!(path = %path.display(), bytes, "the torn end of a log is cut off");
        OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_len(state.position))
            .map_err(failed)?;
    }
    let end = newest + state.position;
    Ok(Recovered { starts, end, sources: std::mem::take(&mut state.sources), is_sealed: state.is_sealed })
}

/// The newest segment has no whole header: the power went when it was made, or it is damaged. The
/// segment before it tells what the instances had written.
fn without_header(dir: &Path, starts: Vec<u64>, newest: u64, length: u64) -> Result<Recovered, LogError> {
    tracing::warn!(path = %segment::path(dir, newest).display(), bytes = length, "a log segment cannot be read");
    let mut sources = Sources::new();
    if let Some(&[previous, next]) = starts.last_chunk() {
        let path = segment::path(dir, previous);
        let failed = |source| LogError::OpenSegment { path: path.clone(), source };
        if let Some(mut scanner) = Scanner::open(dir, previous).map_err(failed)? {
            sources = replay(&mut scanner, next - previous).map_err(failed)?.sources;
        }
    }
    // Up to a header's size there was no record in it, so its place is used again; else it stays for as
    // long as the limits allow, and the stream goes on behind it.
    let end = if length <= HEADER_BYTES { newest } else { newest + length };
    Ok(Recovered { starts, end, sources, is_sealed: false })
}

/// What the records of a segment add up to.
#[derive(Debug)]
struct Replay {
    /// Position in the file after the last whole line or mark.
    position: u64,
    sources: Sources,
    is_sealed: bool,
}

fn replay(scanner: &mut Scanner, length: u64) -> io::Result<Replay> {
    let path = scanner.path();
    let mut state = Replay { position: HEADER_BYTES, sources: Sources::new(), is_sealed: false };
    while let Step::Found { skipped, place, record } = scanner.next(length)? {
        if skipped > 0 {
            tracing::warn!(path = %path.display(), bytes = skipped, position = place.start - skipped, "a damaged part of a log is skipped");
        }
        if matches!(record, Record::Line(line) if line.continues) {
            continue;
        }
        state.position = place.end;
        state.is_sealed = false;
        match record {
            Record::Line(line) => {
                if let OriginRef::Instance { instance, source_end, .. } = line.origin {
                    set(&mut state.sources, instance, source_end);
                }
            }
            Record::Source { instance, source_end } => set(&mut state.sources, instance, source_end),
            Record::Forgotten { instance } => {
                if let Ok(instance) = instance.parse::<InstanceId>() {
                    state.sources.remove(&instance);
                }
            }
            Record::Sealed => state.is_sealed = true,
            Record::Unknown => {}
        }
    }
    Ok(state)
}

fn set(sources: &mut Sources, instance: &str, source_end: u64) {
    if let Ok(instance) = instance.parse() {
        sources.insert(instance, source_end);
    }
}
