//! [`Chunk`]: lines on their way, encoded once for all who read the same part of a log.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use autostack_logs::{LogError, Offset, Reader, Stream};
use axum::extract::ws::Utf8Bytes;

use super::line::LogLine;

/// Bytes of text after which a chunk is sent.
const CHUNK_BYTES: usize = 16 * 1024;
/// Chunks of one log that are kept for readers who come a moment later: 1 MiB and the last line of each at most.
const CHUNKS_KEPT: usize = 64;

/// Lines on their way: `{"lines": […], "next": 77, "missing_bytes": 0}`.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    /// Where the log stands after them.
    pub(super) next: Offset,
    pub(super) json: Utf8Bytes,
    /// Whether there may be more already.
    pub(super) is_full: bool,
}

/// Reads what is there, a chunk at most; `None` where nothing of it fits the reader's filter.
pub(super) fn read(reader: &mut Reader) -> Result<Option<Chunk>, LogError> {
    let (mut json, mut count) = (String::from("{\"lines\":["), 0);
    let mut is_full = false;
    while let Some((after, entry)) = reader.next_ready()? {
        if count > 0 {
            json.push(',');
        }
        // Numbers and text: nothing that JSON could not hold.
        json.push_str(&serde_json::to_string(&LogLine::of(after, &entry)).unwrap_or_default());
        count += 1;
        if json.len() >= CHUNK_BYTES {
            is_full = true;
            break;
        }
    }
    let missing = reader.take_gap().map_or(0, |gap| gap.bytes);
    if count == 0 && missing == 0 {
        return Ok(None);
    }
    let next = reader.offset();
    json.push_str(&format!("],\"next\":{next},\"missing_bytes\":{missing}}}"));
    Ok(Some(Chunk { next, json: json.into(), is_full }))
}

/// The newest chunks of one log, for those who read all of it.
#[derive(Debug, Default)]
pub(super) struct Chunks(Mutex<VecDeque<(Offset, Chunk)>>);

impl Chunks {
    /// The chunk that begins where the reader stands: one that somebody else has read, or else read now.
    pub(super) fn next(&self, reader: &mut Reader) -> Result<Option<Chunk>, LogError> {
        let from = reader.offset();
        // Held while it is read: of a thousand readers one does the work.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, chunk)) = known.iter().rev().find(|(start, _)| *start == from) {
            reader.go_on_from(chunk.next);
            return Ok(Some(chunk.clone()));
        }
        let chunk = read(reader)?;
        if let Some(chunk) = &chunk {
            if known.len() == CHUNKS_KEPT {
                known.pop_front();
            }
            known.push_back((from, chunk.clone()));
        }
        Ok(chunk)
    }
}

/// The chunks of every log that is being read. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedChunks(Arc<Mutex<HashMap<usize, Shared>>>);

#[derive(Debug)]
struct Shared {
    log: Weak<Stream>,
    chunks: Weak<Chunks>,
}

impl SharedChunks {
    /// The chunks of a log, while anybody reads it.
    pub(super) fn of(&self, log: &Arc<Stream>) -> Arc<Chunks> {
        let mut logs = self.lock();
        // Where a log was, another one may stand by now.
        logs.retain(|_, shared| shared.log.strong_count() > 0 && shared.chunks.strong_count() > 0);
        let place = Arc::as_ptr(log).addr();
        if let Some(chunks) = logs.get(&place).and_then(|shared| shared.chunks.upgrade()) {
            return chunks;
        }
        let chunks = Arc::default();
        logs.insert(place, Shared { log: Arc::downgrade(log), chunks: Arc::downgrade(&chunks) });
        chunks
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Shared>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
