//! A stream with an end: a few bytes may unpack to any number.

use std::io::{self, Read};

use tokio_util::sync::CancellationToken;

use super::ArchiveError;
use crate::source::spoken_bytes;

/// Reads so many bytes, and refuses the next one.
pub(super) struct Bounded<'a, R> {
    inner: R,
    left: u64,
    bytes_max: u64,
    cancel: &'a CancellationToken,
}

impl<'a, R: Read> Bounded<'a, R> {
    pub(super) fn new(inner: R, bytes_max: u64, cancel: &'a CancellationToken) -> Self {
        Self { inner, left: bytes_max, bytes_max, cancel }
    }
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other(ArchiveError::Cancelled));
        }
        let read = self.inner.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => {
                let limit = spoken_bytes(self.bytes_max);
                let what = "more bytes when it is unpacked".to_owned();
                return Err(io::Error::other(ArchiveError::OverLimit { what, limit }));
            }
        }
        Ok(read)
    }
}
