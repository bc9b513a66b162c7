//! One line of output as bytes: `length u32 | checksum u32 | time i64 | source u8 | text`, numbers little
//! endian. The checksum tells a record from what a crash leaves at the end of a file.

use autostack_domain::{UnixMillis, limits::LOG_LINE_BYTES_MAX};

/// Who wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
    /// The shim itself, about output that it could not keep.
    Shim,
}

/// One line without its line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) at: UnixMillis,
    pub(crate) source: Source,
    pub(crate) text: Vec<u8>,
}

const HEAD_BYTES: usize = 17;

/// Appends a record to `to`.
pub(super) fn encode(to: &mut Vec<u8>, at: UnixMillis, source: Source, text: &[u8]) {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let source = match source {
        Source::Stdout => 1u8,
        Source::Stderr => 2,
        Source::Shim => 3,
    };
    to.extend_from_slice(&length.to_le_bytes());
    to.extend_from_slice(&checksum(at.0, source, text).to_le_bytes());
    to.extend_from_slice(&at.0.to_le_bytes());
    to.push(source);
    to.extend_from_slice(text);
}

/// The record at the start of `bytes` and its length there; `None` where no whole record stands.
pub(super) fn decode(bytes: &[u8]) -> Option<(Record, usize)> {
    let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
    let text = rest.get(..usize::try_from(number(head, 0)).ok()?)?;
    let at = i64::from_le_bytes(head.get(8..16)?.try_into().ok()?);
    let code = *head.last()?;
    let source = match code {
        1 => Source::Stdout,
        2 => Source::Stderr,
        3 => Source::Shim,
        _ => return None,
    };
    let whole = text.len() <= LOG_LINE_BYTES_MAX && checksum(at, code, text) == number(head, 4);
    whole.then(|| (Record { at: UnixMillis(at), source, text: text.to_vec() }, HEAD_BYTES + text.len()))
}

/// The length of the whole records at the start of `bytes`, and how many they are.
pub(super) fn whole(bytes: &[u8]) -> (usize, u64) {
    let (mut end, mut count) = (0, 0);
    while let Some((_, length)) = bytes.get(end..).and_then(decode) {
        end += length;
        count += 1;
    }
    (end, count)
}

fn number(head: &[u8], at: usize) -> u32 {
    head.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(u32::MAX, u32::from_le_bytes)
}

/// FNV-1a.
fn checksum(at: i64, source: u8, text: &[u8]) -> u32 {
    let parts = at.to_le_bytes().into_iter().chain([source]).chain(text.iter().copied());
    parts.fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The longest that a record can be, in bytes.
pub(super) const RECORD_BYTES_MAX: usize = HEAD_BYTES + LOG_LINE_BYTES_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_and_a_torn_one_does_not() {
        let mut bytes = Vec::new();
        encode(&mut bytes, UnixMillis(-5), Source::Stderr, b"h\xffllo");
        let (record, length) = decode(&bytes).unwrap();
        assert_eq!(record, Record { at: UnixMillis(-5), source: Source::Stderr, text: b"h\xffllo".to_vec() });
        assert_eq!(length, bytes.len());
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), None, "{cut}");
        }
        for at in 0..bytes.len() {
            let mut torn = bytes.clone();
            torn[at] ^= 0x40;
            assert_eq!(decode(&torn), None, "{at}");
        }
        assert_eq!(decode(&[0; 64]), None);
        encode(&mut bytes, UnixMillis(1), Source::Stdout, b"");
        assert_eq!(whole(&bytes), (bytes.len(), 2));
        assert_eq!(whole(&bytes[..bytes.len() - 1]), (length, 1));
    }
}
