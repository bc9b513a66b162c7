//! [`Printed`]: the end of what a command printed, bounded.

use std::collections::VecDeque;

use autostack_domain::{limits::EVIDENCE_LINES_MAX, screen::Printable};

/// Bytes that are kept: [`EVIDENCE_LINES_MAX`] lines of a width that is read.
const TAIL_BYTES_MAX: usize = 16 * 1024;

/// The end of both outputs of a command.
#[derive(Debug, Default)]
pub(crate) struct Printed {
    both: Tail,
    /// That of the standard error alone: the two do not come in the order of their making, and what says why may be
    /// far above the end.
    errors: Tail,
}

/// Lines of the standard error that evidence has, where there are so many.
const ERROR_LINES: usize = 5;

impl Printed {
    /// Adds what came.
    pub(crate) fn push(&mut self, bytes: &[u8], is_error: bool) {
        self.both.push(bytes);
        if is_error {
            self.errors.push(bytes);
        }
    }

    /// The last lines, those that say why among them; at most [`EVIDENCE_LINES_MAX`].
    pub(crate) fn evidence(&self) -> Vec<String> {
        let (mut lines, mut errors) = (self.both.lines(), self.errors.lines());
        errors.drain(..errors.len().saturating_sub(ERROR_LINES));
        errors.retain(|error| !lines.contains(error));
        let over = (lines.len() + errors.len()).saturating_sub(EVIDENCE_LINES_MAX);
        lines.drain(..over);
        lines.extend(errors);
        lines
    }
}

/// The last bytes of an output.
#[derive(Debug, Default)]
struct Tail {
    bytes: VecDeque<u8>,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(TAIL_BYTES_MAX)..];
        let over = (self.bytes.len() + kept.len()).saturating_sub(TAIL_BYTES_MAX);
        self.bytes.drain(..over);
        self.bytes.extend(kept);
    }

    fn lines(&self) -> Vec<String> {
        let (head, rest) = self.bytes.as_slices();
        last_lines(&String::from_utf8_lossy(&[head, rest].concat()))
    }
}

/// The last lines of a text that say something, harmless to a terminal.
pub(crate) fn last_lines(text: &str) -> Vec<String> {
    // A progress bar rewrites its line: what stands behind the last carriage return is what is seen.
    let seen = |line: &str| {
        let seen = line.trim_end().rsplit('\r').next().unwrap_or_default().trim_end().to_owned();
        (!seen.is_empty()).then(|| Printable(&seen).to_string())
    };
    let lines: Vec<String> = text.lines().filter_map(seen).collect();
    lines[lines.len().saturating_sub(EVIDENCE_LINES_MAX)..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_kept() {
        let mut tail = Tail::default();
        tail.push(&vec![b'x'; 3 * TAIL_BYTES_MAX]);
        for number in 0..100_000 {
            tail.push(format!("line {number}\n").as_bytes());
        }
        assert!(tail.bytes.len() <= TAIL_BYTES_MAX);
        let lines = tail.lines();
        assert_eq!((lines.len(), lines.last().map(String::as_str)), (EVIDENCE_LINES_MAX, Some("line 99999")));
    }

    #[test]
    fn what_is_shown_is_what_was_seen() {
        let mut tail = Tail::default();
        tail.push(b"10 %\r90 %\rdone\n\n  \n\x1b]52;c;x\x07red\n");
        let lines = tail.lines();
        assert_eq!(lines[0], "done");
        assert!(!lines[1].contains('\x1b'), "{lines:?}");
    }

    #[test]
    fn what_says_why_is_shown_wherever_it_came() {
        let mut printed = Printed::default();
        printed.push(b"the reason\n", true);
        for number in 0..1_000 {
            printed.push(format!("{number}\n").as_bytes(), false);
        }
        let lines = printed.evidence();
        assert_eq!((lines.len(), lines.last().map(String::as_str)), (EVIDENCE_LINES_MAX, Some("the reason")));
        printed.push(b"again\n", true);
        assert_eq!(printed.evidence().iter().filter(|line| *line == "again").count(), 1);
    }
}
