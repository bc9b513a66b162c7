//! The framing of records in a segment: what makes a torn or damaged one visible.
//!
//! ```text
//! segment = header frame*
//! header  = magic (8) salt (4) checksum of both (4)
//! frame   = length of body (4) checksum (4) body length of body again (4)
//! ```
//!
//! All numbers are little-endian. The checksum covers the segment's salt, the frame's own offset in the
//! stream, and the body: a stale block of another file, or a line of a tenant that imitates a frame, is
//! never taken for a record. The second length lets a reader walk backwards.

use std::hash::{BuildHasher, RandomState};

use autostack_domain::limits::LOG_LINE_BYTES_MAX;

/// Bytes before the first frame of a segment.
pub(crate) const HEADER_BYTES: u64 = 16;
/// Bytes of a frame besides its body.
pub(crate) const FRAME_OVERHEAD_BYTES: usize = 12;
/// Bytes before the body.
pub(crate) const FRAME_HEAD_BYTES: usize = 8;
/// Bytes of a body: a line, and who wrote it.
pub(crate) const BODY_BYTES_MAX: usize = LOG_LINE_BYTES_MAX + 512;

/// Its last byte is the version of the format.
const MAGIC: [u8; 8] = *b"aslog\0\0\x01";

/// A number that nobody outside can guess, one for each segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Salt(u32);

impl Salt {
    /// A fresh one, from the random keys that the standard library gives its hash maps.
    pub(crate) fn random() -> Self {
        let random = RandomState::new().hash_one(HEADER_BYTES).to_le_bytes();
        Self(word(&random, 0).unwrap_or_default())
    }
}

/// The first bytes of a segment.
pub(crate) fn header(salt: Salt) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&salt.0.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..12]);
    bytes[12..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The salt of a segment that begins with these bytes; `None` if this is no whole header.
pub(crate) fn salt_of(header: &[u8]) -> Option<Salt> {
    let whole = header.get(..8)? == MAGIC && word(header, 12)? == crc32fast::hash(header.get(..12)?);
    whole.then_some(Salt(word(header, 8)?))
}

/// Adds a frame that will stand at `offset` of the stream; `body` writes its body.
pub(crate) fn put(out: &mut Vec<u8>, salt: Salt, offset: u64, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_HEAD_BYTES]);
    body(out);
    let written = &out[start + FRAME_HEAD_BYTES..];
    debug_assert!(!written.is_empty() && written.len() <= BODY_BYTES_MAX);
    let length = u32::try_from(written.len()).unwrap_or(u32::MAX).to_le_bytes();
    let checksum = checksum(salt, offset, written).to_le_bytes();
    out[start..start + 4].copy_from_slice(&length);
    out[start + 4..start + 8].copy_from_slice(&checksum);
    out.extend_from_slice(&length);
}

/// Bytes of the whole frame whose length field (first or last) is this; `None` if no frame has it.
pub(crate) fn bytes_by_length(field: &[u8]) -> Option<usize> {
    let body = usize::try_from(word(field, 0)?).ok()?;
    (1..=BODY_BYTES_MAX).contains(&body).then_some(body + FRAME_OVERHEAD_BYTES)
}

/// Whether these bytes are one whole frame that was written at `offset`.
pub(crate) fn is_whole(frame: &[u8], salt: Salt, offset: u64) -> bool {
    let Some(trailer) = frame.len().checked_sub(4) else { return false };
    bytes_by_length(frame) == Some(frame.len())
        && frame[..4] == frame[trailer..]
        && word(frame, 4) == Some(checksum(salt, offset, &frame[FRAME_HEAD_BYTES..trailer]))
}

fn checksum(salt: Salt, offset: u64, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.0.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(salt: Salt, offset: u64, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, salt, offset, |out| out.extend_from_slice(body));
        out
    }

    #[test]
    fn a_frame_is_whole_only_where_it_was_written() {
        let salt = Salt(7);
        let whole = frame(salt, 100, b"hello");
        assert_eq!(whole.len(), 5 + FRAME_OVERHEAD_BYTES);
        assert!(is_whole(&whole, salt, 100));
        assert!(!is_whole(&whole, salt, 101), "moved");
        assert!(!is_whole(&whole, Salt(8), 100), "of another segment");
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let salt = Salt::random();
        let whole = frame(salt, 0, b"some line");
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_whole(&damaged, salt, 0), "bit {bit}");
        }
        for cut in 0..whole.len() {
            assert!(!is_whole(&whole[..cut], salt, 0), "cut at {cut}");
        }
    }

    #[test]
    fn a_header_reads_back_or_not_at_all() {
        let salt = Salt::random();
        let header = header(salt);
        assert_eq!(salt_of(&header), Some(salt));
        assert_eq!(salt_of(&header[..15]), None);
        assert_eq!(salt_of(&[0; 16]), None);
    }
}
