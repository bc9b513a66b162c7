//! Bodies that are needed whole, within a bound for each and a bound for all of them together.

use std::{future::poll_fn, sync::Arc};

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::body::poll_data;

/// Memory is counted in pieces of this many bytes.
const PIECE_BYTES: usize = 1024;

/// The memory that all whole bodies share.
#[derive(Debug, Clone)]
pub(crate) struct Memory(Arc<Semaphore>);

impl Memory {
    pub(crate) fn new(bytes_max: usize) -> Memory {
        Memory(Arc::new(Semaphore::new(bytes_max / PIECE_BYTES)))
    }
}

/// A whole body, counted while it exists.
#[derive(Debug)]
pub(crate) struct Whole {
    bytes: Vec<u8>,
    held: Option<OwnedSemaphorePermit>,
}

impl Whole {
    /// Other bytes in place of these, counted as these were: what was made of them and is about as large.
    pub(crate) fn made_into(self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Whole { bytes, ..self })
    }

    /// Grows what is counted to `bytes`; false when there is not so much memory left.
    fn grow(&mut self, bytes: usize, memory: &Memory) -> bool {
        let pieces = |held: &OwnedSemaphorePermit| held.num_permits();
        let missing = bytes.div_ceil(PIECE_BYTES) - self.held.as_ref().map_or(0, pieces);
        if missing == 0 {
            return true;
        }
        let more = u32::try_from(missing)
            .ok()
            .and_then(|missing| Arc::clone(&memory.0).try_acquire_many_owned(missing).ok());
        match (more, &mut self.held) {
            (Some(more), Some(held)) => held.merge(more),
            (Some(more), none) => *none = Some(more),
            (None, _) => return false,
        }
        true
    }
}

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Why there is no whole body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectError {
    #[error("the body has more than {0} bytes")]
    TooLarge(usize),
    #[error("the memory for whole bodies is used up")]
    OutOfMemory,
    #[error("the body broke off: {0}")]
    BrokeOff(#[source] hyper::Error),
}

/// Reads a body to its end, `bytes_max` at most. One that says beforehand that it is longer is not read at all.
pub(crate) async fn collect(
    mut incoming: Incoming,
    bytes_max: usize,
    memory: &Memory,
) -> Result<Whole, CollectError> {
    if incoming.size_hint().lower() > bytes_max as u64 {
        return Err(CollectError::TooLarge(bytes_max));
    }
    let mut whole = Whole { bytes: Vec::new(), held: None };
    while let Some(frame) = poll_fn(|cx| poll_data(&mut incoming, cx)).await {
        let Ok(data) = frame.map_err(CollectError::BrokeOff)?.into_data() else { continue };
        let length = whole.bytes.len() + data.len();
        if length > bytes_max {
            return Err(CollectError::TooLarge(bytes_max));
        }
        if !whole.grow(length, memory) {
            return Err(CollectError::OutOfMemory);
        }
        whole.bytes.extend_from_slice(&data);
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_counted_until_it_is_dropped() {
        let memory = Memory::new(4 * PIECE_BYTES);
        let mut one = Whole { bytes: Vec::new(), held: None };
        assert!(one.grow(1, &memory) && one.grow(PIECE_BYTES, &memory) && one.grow(3 * PIECE_BYTES, &memory));
        assert_eq!(memory.0.available_permits(), 1);
        let mut two = Whole { bytes: Vec::new(), held: None };
        assert!(!two.grow(PIECE_BYTES + 1, &memory));
        let bytes = one.made_into(b"made of it".to_vec());
        let part = bytes.slice(5..7);
        drop(bytes);
        assert_eq!((&part[..], memory.0.available_permits()), (&b"of"[..], 1));
        drop(part);
        assert!(two.grow(PIECE_BYTES + 1, &memory));
    }
}
