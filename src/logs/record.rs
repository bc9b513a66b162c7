//! The records of a stream as bytes: lines, and the marks by which a stream finds its state again.

use autostack_domain::{InstanceId, LineKind, ReleaseNumber, UnixMillis};

use crate::entry::{Entry, Origin, OutputStream};

const PLATFORM: u8 = 1;
const INSTANCE: u8 = 2;
const SOURCE: u8 = 3;
const FORGOTTEN: u8 = 4;
const SEALED: u8 = 5;
/// Set on every piece but the last of a line that was too long for one record.
const CONTINUES: u8 = 0x80;

/// One record, borrowed from the bytes that it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    /// A line, or a piece of one.
    Line(LineRef<'a>),
    /// At the head of a segment: where the output of an instance stood when the segment began.
    Source {
        /// Its id.
        instance: &'a str,
        /// Bytes of its output that are in the log.
        source_end: u64,
    },
    /// An instance is gone for good.
    Forgotten {
        /// Its id.
        instance: &'a str,
    },
    /// Nothing follows.
    Sealed,
    /// Written by a later version of the agent, or nonsense.
    Unknown,
}

/// A line, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineRef<'a> {
    /// When it was written.
    pub(crate) at: UnixMillis,
    /// Who wrote it.
    pub(crate) origin: OriginRef<'a>,
    /// The text of this piece.
    pub(crate) text: &'a [u8],
    /// Whether the next record holds more of the same line.
    pub(crate) continues: bool,
}

/// An origin, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OriginRef<'a> {
    /// See [`Origin::Platform`].
    Platform(LineKind),
    /// See [`Origin::Instance`].
    Instance {
        /// Its id.
        instance: &'a str,
        /// Its release.
        release: ReleaseNumber,
        /// Its name for people.
        dyno: &'a str,
        /// Which output.
        stream: OutputStream,
        /// Where its output stands after the line.
        source_end: u64,
    },
}

impl<'a> LineRef<'a> {
    /// Borrows an entry, as one whole line.
    pub(crate) fn of(entry: &'a Entry) -> Self {
        let origin = match &entry.origin {
            Origin::Platform(kind) => OriginRef::Platform(*kind),
            Origin::Instance { instance, release, dyno, stream, source_end } => OriginRef::Instance {
                instance: instance.as_str(),
                release: *release,
                dyno,
                stream: *stream,
                source_end: *source_end,
            },
        };
        Self { at: entry.at, origin, text: &entry.text, continues: false }
    }

    /// An entry of its own; `None` if its instance's id is not one.
    pub(crate) fn to_entry(self) -> Option<Entry> {
        let origin = match self.origin {
            OriginRef::Platform(kind) => Origin::Platform(kind),
            OriginRef::Instance { instance, release, dyno, stream, source_end } => Origin::Instance {
                instance: instance.parse::<InstanceId>().ok()?,
                release,
                dyno: dyno.to_owned(),
                stream,
                source_end,
            },
        };
        Some(Entry { at: self.at, origin, text: self.text.to_owned() })
    }

    /// Splits a line into pieces of at most `bytes_max` bytes, not inside a UTF-8 character where there is one.
    pub(crate) fn pieces(self, bytes_max: usize) -> impl Iterator<Item = LineRef<'a>> {
        let mut rest = Some(self.text);
        std::iter::from_fn(move || {
            let text = rest.take()?;
            let cut = cut_at(text, bytes_max);
            let continues = cut < text.len();
            if continues {
                rest = Some(&text[cut..]);
            }
            Some(LineRef { text: &text[..cut], continues, ..self })
        })
    }
}

/// Where to cut a text so that the head has at most `bytes_max` bytes and ends with a whole character.
pub(crate) fn cut_at(text: &[u8], bytes_max: usize) -> usize {
    if text.len() <= bytes_max {
        return text.len();
    }
    let is_boundary = |at: &usize| text[*at] & 0b1100_0000 != 0b1000_0000;
    (bytes_max.saturating_sub(3)..=bytes_max).rev().find(is_boundary).unwrap_or(bytes_max).max(1)
}

impl<'a> Record<'a> {
    /// Writes the record.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match *self {
            Record::Line(line) => put_line(out, line),
            Record::Source { instance, source_end } => {
                out.push(SOURCE);
                out.extend_from_slice(&source_end.to_le_bytes());
                out.extend_from_slice(instance.as_bytes());
            }
            Record::Forgotten { instance } => {
                out.push(FORGOTTEN);
                out.extend_from_slice(instance.as_bytes());
            }
            Record::Sealed => out.push(SEALED),
            Record::Unknown => out.push(0),
        }
    }

    /// Reads a record; what it cannot read is [`Record::Unknown`].
    pub(crate) fn read(body: &'a [u8]) -> Self {
        Self::try_read(body).unwrap_or(Record::Unknown)
    }

    fn try_read(body: &'a [u8]) -> Option<Self> {
        let mut input = Input(body);
        let kind = input.byte()?;
        let continues = kind & CONTINUES != 0;
        Some(match kind & !CONTINUES {
            PLATFORM => {
                let at = input.moment()?;
                let origin = OriginRef::Platform(line_kind(input.byte()?)?);
                Record::Line(LineRef { at, origin, text: input.0, continues })
            }
            INSTANCE => {
                let at = input.moment()?;
                let origin = OriginRef::Instance {
                    stream: output_stream(input.byte()?)?,
                    release: ReleaseNumber(u32::from_le_bytes(input.array()?)),
                    source_end: u64::from_le_bytes(input.array()?),
                    dyno: input.short_text()?,
                    instance: input.short_text()?,
                };
                Record::Line(LineRef { at, origin, text: input.0, continues })
            }
            SOURCE => {
                let source_end = u64::from_le_bytes(input.array()?);
                Record::Source { instance: std::str::from_utf8(input.0).ok()?, source_end }
            }
            FORGOTTEN => Record::Forgotten { instance: std::str::from_utf8(input.0).ok()? },
            SEALED => Record::Sealed,
            _ => return None,
        })
    }
}

fn put_line(out: &mut Vec<u8>, line: LineRef<'_>) {
    let flag = if line.continues { CONTINUES } else { 0 };
    match line.origin {
        OriginRef::Platform(kind) => {
            out.push(PLATFORM | flag);
            out.extend_from_slice(&line.at.0.to_le_bytes());
            out.push(match kind {
                LineKind::Step => 0,
                LineKind::Result => 1,
                LineKind::Detail => 2,
                LineKind::Trouble => 3,
            });
        }
        OriginRef::Instance { instance, release, dyno, stream, source_end } => {
            out.push(INSTANCE | flag);
            out.extend_from_slice(&line.at.0.to_le_bytes());
            out.push(match stream {
                OutputStream::Stdout => 1,
                OutputStream::Stderr => 2,
            });
            out.extend_from_slice(&release.0.to_le_bytes());
            out.extend_from_slice(&source_end.to_le_bytes());
            put_short_text(out, dyno);
            put_short_text(out, instance);
        }
    }
    out.extend_from_slice(line.text);
}

/// Names have fewer than 256 bytes by their own rules; a longer one is cut rather than refused.
fn put_short_text(out: &mut Vec<u8>, text: &str) {
    let text = &text.as_bytes()[..cut_at(text.as_bytes(), 255)];
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(text);
}

fn line_kind(byte: u8) -> Option<LineKind> {
    [LineKind::Step, LineKind::Result, LineKind::Detail, LineKind::Trouble].get(usize::from(byte)).copied()
}

fn output_stream(byte: u8) -> Option<OutputStream> {
    match byte {
        1 => Some(OutputStream::Stdout),
        2 => Some(OutputStream::Stderr),
        _ => None,
    }
}

/// What is left of the bytes to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn moment(&mut self) -> Option<UnixMillis> {
        self.array().map(|bytes| UnixMillis(i64::from_le_bytes(bytes)))
    }

    fn short_text(&mut self) -> Option<&'a str> {
        let length = usize::from(self.byte()?);
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(head).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(record: Record<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        record.put(&mut out);
        out
    }

    #[test]
    fn every_record_reads_back() {
        let platform = OriginRef::Platform(LineKind::Trouble);
        let instance = OriginRef::Instance {
            instance: "shop.web.1.0000beef",
            release: ReleaseNumber(7),
            dyno: "web.1",
            stream: OutputStream::Stderr,
            source_end: u64::MAX,
        };
        for origin in [platform, instance] {
            for continues in [false, true] {
                for text in [&b""[..], b"a\xffb\0"] {
                    let record = Record::Line(LineRef { at: UnixMillis(-3), origin, text, continues });
                    assert_eq!(Record::read(&written(record)), record);
                }
            }
        }
        let source = Record::Source { instance: "shop.web.1.0000beef", source_end: 9 };
        for record in [source, Record::Forgotten { instance: "shop.web.1.0000beef" }, Record::Sealed] {
            assert_eq!(Record::read(&written(record)), record);
        }
    }

    #[test]
    fn nonsense_is_unknown() {
        for body in [&b""[..], &[1], &[1, 0, 0], &[2; 9], &[99], &[3, 1], &[1, 0, 0, 0, 0, 0, 0, 0, 0, 9]] {
            assert_eq!(Record::read(body), Record::Unknown, "{body:?}");
        }
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let entry = Entry::platform(UnixMillis(1), autostack_domain::Line::detail("ab€cd€"));
        let pieces: Vec<_> = LineRef::of(&entry).pieces(4).map(|p| (p.text, p.continues)).collect();
        assert_eq!(pieces, [(&b"ab"[..], true), ("€c".as_bytes(), true), ("d€".as_bytes(), false)]);
        let noise = Entry { text: vec![0x80; 10], ..entry };
        let lengths: Vec<_> = LineRef::of(&noise).pieces(4).map(|p| p.text.len()).collect();
        assert_eq!(lengths, [4, 4, 2]);
    }
}
