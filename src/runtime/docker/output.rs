//! From the engine's stream of output to entries of a log: every line once, in order, whole.
//!
//! A line is told from every other by a number of its own, its place: the nanosecond at which the engine got its
//! end, or one more than the line before where that is later. So places grow strictly, and come out the same
//! whenever the stream is read again from a little earlier: a reader that knows the place of the last line that it
//! has kept skips to the next one.

use autostack_domain::{InstanceSpec, UnixMillis, limits::LOG_LINE_BYTES_MAX};
use autostack_engine::bollard::container::LogOutput;
use autostack_logs::{Entry, Origin, OutputStream};
use jiff::Timestamp;

/// How much earlier a stream is read again, in seconds. It covers lines whose times are out of order: two outputs
/// at once, and a clock that was set back by less.
const OVERLAP_SECONDS: u64 = 10;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A line of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) at: UnixMillis,
    pub(super) stream: OutputStream,
    pub(super) text: Vec<u8>,
    /// Its place.
    pub(super) place: u64,
}

impl Line {
    pub(super) fn into_entry(self, spec: &InstanceSpec) -> Entry {
        let origin = Origin::Instance {
            instance: spec.id.clone(),
            release: spec.release,
            dyno: spec.dyno(),
            stream: self.stream,
            source_end: self.place,
        };
        Entry { at: self.at, origin, text: self.text }
    }
}

/// A word of the engine's own within a stream of output: it cannot read its file, for one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Strange(pub(super) String);

/// Puts lines together from the frames of a stream that was opened at [`Lines::since`].
#[derive(Debug)]
pub(super) struct Lines {
    /// Lines up to this place are in the log.
    kept: u64,
    place: u64,
    stdout: Partial,
    stderr: Partial,
}

/// A line that has no end yet: engines cut long ones.
#[derive(Debug, Default)]
struct Partial {
    text: Vec<u8>,
    /// When its last part came, as nanoseconds.
    nanos: u64,
    /// Whether its head was given already.
    is_cut: bool,
}

impl Lines {
    /// Goes on behind the line at the place `kept`; 0 for from the beginning.
    pub(super) fn behind(kept: u64) -> Self {
        Self { kept, place: 0, stdout: Partial::default(), stderr: Partial::default() }
    }

    /// From when on the engine is to tell, in seconds since 1970.
    pub(super) fn since(&self) -> i32 {
        let seconds = (self.kept / NANOS_PER_SECOND).saturating_sub(OVERLAP_SECONDS);
        // The client's number ends in 2038: all output is read then, and what is known is skipped as ever.
        i32::try_from(seconds).unwrap_or_default()
    }

    /// Takes a frame in: a time, a blank, and a line or a part of one.
    pub(super) fn take(&mut self, frame: LogOutput, found: &mut Vec<Line>) -> Result<(), Strange> {
        let (stream, message) = match frame {
            LogOutput::StdOut { message } => (OutputStream::Stdout, message),
            LogOutput::StdErr { message } => (OutputStream::Stderr, message),
            LogOutput::Console { message } | LogOutput::StdIn { message } => return Err(strange(&message)),
        };
        let Some((nanos, text)) = split(&message) else { return Err(strange(&message)) };
        let ended = text.strip_suffix(b"\n");
        let mut partial = std::mem::take(self.partial(stream));
        partial.nanos = nanos;
        partial.text.extend_from_slice(ended.unwrap_or(text));
        while partial.text.len() > LOG_LINE_BYTES_MAX {
            let rest = partial.text.split_off(cut_at(&partial.text));
            let head = std::mem::replace(&mut partial.text, rest);
            partial.is_cut = true;
            self.give(stream, nanos, head, found);
        }
        if ended.is_some() {
            self.end(stream, partial, found);
        } else {
            *self.partial(stream) = partial;
        }
        Ok(())
    }

    /// Gives the lines that will have no end any more.
    pub(super) fn finish(&mut self, found: &mut Vec<Line>) {
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            let partial = std::mem::take(self.partial(stream));
            if !partial.text.is_empty() {
                self.end(stream, partial, found);
            }
        }
    }

    fn end(&mut self, stream: OutputStream, mut partial: Partial, found: &mut Vec<Line>) {
        if partial.text.last() == Some(&b'\r') {
            partial.text.pop();
        }
        if !(partial.is_cut && partial.text.is_empty()) {
            self.give(stream, partial.nanos, partial.text, found);
        }
    }

    fn give(&mut self, stream: OutputStream, nanos: u64, text: Vec<u8>, found: &mut Vec<Line>) {
        self.place = nanos.max(self.place + 1);
        if self.place > self.kept {
            let at = UnixMillis(i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX));
            found.push(Line { at, stream, text, place: self.place });
        }
    }

    fn partial(&mut self, stream: OutputStream) -> &mut Partial {
        match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        }
    }
}

fn strange(message: &[u8]) -> Strange {
    Strange(String::from_utf8_lossy(&message[..message.len().min(400)]).trim().to_owned())
}

/// When a frame was written, in nanoseconds since 1970, and what.
fn split(message: &[u8]) -> Option<(u64, &[u8])> {
    let blank = message.iter().position(|byte| *byte == b' ')?;
    let (time, text) = message.split_at(blank);
    Some((nanos(std::str::from_utf8(time).ok()?)?, text.get(1..)?))
}

/// A time as engines write it.
pub(super) fn nanos(time: &str) -> Option<u64> {
    u64::try_from(time.parse::<Timestamp>().ok()?.as_nanosecond()).ok()
}

/// Where a text that is too long is cut: between two characters, if it has any.
fn cut_at(text: &[u8]) -> usize {
    let is_boundary = |at: &usize| text.get(*at).is_none_or(|byte| byte & 0b1100_0000 != 0b1000_0000);
    (LOG_LINE_BYTES_MAX - 3..=LOG_LINE_BYTES_MAX).rev().find(is_boundary).unwrap_or(LOG_LINE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: OutputStream, time: &str, text: &[u8]) -> LogOutput {
        let message = [time.as_bytes(), b" ", text].concat().into();
        match stream {
            OutputStream::Stdout => LogOutput::StdOut { message },
            OutputStream::Stderr => LogOutput::StdErr { message },
        }
    }

    fn out(time: &str, text: &[u8]) -> LogOutput {
        frame(OutputStream::Stdout, time, text)
    }

    fn read(kept: u64, frames: &[LogOutput]) -> Vec<Line> {
        let (mut lines, mut found) = (Lines::behind(kept), Vec::new());
        for frame in frames {
            lines.take(frame.clone(), &mut found).unwrap();
        }
        lines.finish(&mut found);
        found
    }

    const T1: &str = "2026-11-24T00:00:01.000000001Z";
    const T2: &str = "2026-11-24T00:00:02.5Z";

    #[test]
    fn whatever_is_read_again_is_skipped() {
        let frames = [
            out(T1, b"a\n"),
            out(T1, b"b\n"),
            frame(OutputStream::Stderr, T2, b"c\n"),
            out(T1, b"late\n"),
            out(T2, b"\n"),
            out("2026-11-24T00:00:00Z", b"the clock went back\n"),
        ];
        let all = read(0, &frames);
        let texts: Vec<_> = all.iter().map(|line| String::from_utf8_lossy(&line.text)).collect();
        assert_eq!(texts, ["a", "b", "c", "late", "", "the clock went back"]);
        assert!(all.windows(2).all(|two| two[0].place < two[1].place), "places grow");
        for (count, line) in all.iter().enumerate() {
            assert_eq!(read(line.place, &frames), all[count + 1..], "behind {}", texts[count]);
        }
    }

    #[test]
    fn what_the_engine_cut_is_joined_and_both_outputs_stay_apart() {
        let chunk = vec![b'x'; LOG_LINE_BYTES_MAX];
        let short = |length: usize| vec![b'y'; length];
        let found = read(
            0,
            &[
                out(T1, &short(100)),
                frame(OutputStream::Stderr, T1, b"between\n"),
                out(T2, &[short(50), b"\n".to_vec()].concat()),
                // A line exactly as long as allowed, whose end came alone.
                out(T2, &chunk),
                out(T2, b"\n"),
                // A longer one.
                out(T2, &chunk),
                out(T2, b"rest\r\n"),
                out(T2, b"without end"),
            ],
        );
        let seen: Vec<_> = found.iter().map(|line| (line.stream, line.text.len())).collect();
        let (stdout, stderr) = (OutputStream::Stdout, OutputStream::Stderr);
        assert_eq!(
            seen,
            [
                (stderr, 7),
                (stdout, 150),
                (stdout, LOG_LINE_BYTES_MAX),
                (stdout, LOG_LINE_BYTES_MAX),
                (stdout, 4),
                (stdout, 11),
            ]
        );
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let text = "€".repeat(LOG_LINE_BYTES_MAX / 2);
        let found = read(0, &[out(T1, text.as_bytes()), out(T1, b"\n")]);
        assert!(found.iter().all(|line| std::str::from_utf8(&line.text).is_ok()));
        assert_eq!(found.iter().flat_map(|line| line.text.clone()).collect::<Vec<_>>(), text.as_bytes());
    }

    #[test]
    fn a_word_of_the_engine_is_no_line() {
        let mut lines = Lines::behind(0);
        for message in ["Error grabbing logs: invalid character", "", "2026 x"] {
            let frame = LogOutput::Console { message: message.into() };
            assert!(lines.take(frame, &mut Vec::new()).is_err());
            let frame = LogOutput::StdOut { message: message.into() };
            assert!(lines.take(frame, &mut Vec::new()).is_err(), "{message:?}");
        }
    }

    #[test]
    fn times_of_both_engines_are_read() {
        assert_eq!(nanos("1970-01-01T00:00:01.000000002Z"), Some(1_000_000_002));
        assert_eq!(nanos("1970-01-01T02:00:01.5+02:00"), Some(1_500_000_000));
        assert_eq!(nanos("0001-01-01T00:00:00Z"), None, "what Docker says of what never was");
        assert_eq!(nanos("x"), None);
    }

    #[test]
    fn a_stream_is_opened_a_little_earlier() {
        assert_eq!(Lines::behind(0).since(), 0);
        assert_eq!(Lines::behind(1_800_000_000 * NANOS_PER_SECOND + 5).since(), 1_799_999_990);
        assert_eq!(Lines::behind(u64::MAX).since(), 0, "after 2038");
    }
}
