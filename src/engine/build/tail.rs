//! [`Tail`]: the end of what a command printed, bounded.

use std::collections::VecDeque;

use autostack_domain::{limits::EVIDENCE_LINES_MAX, screen::Printable};

/// Bytes that are kept: [`EVIDENCE_LINES_MAX`] lines of a width that is read.
const TAIL_BYTES_MAX: usize = 16 * 1024;

/// The last bytes of an output.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    bytes: VecDeque<u8>,
}

impl Tail {
    /// Adds what came.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(TAIL_BYTES_MAX)..];
        let over = (self.bytes.len() + kept.len()).saturating_sub(TAIL_BYTES_MAX);
        self.bytes.drain(..over);
        self.bytes.extend(kept);
    }

    /// What is kept.
    pub(crate) fn text(&self) -> String {
        let (head, rest) = self.bytes.as_slices();
        String::from_utf8_lossy(&[head, rest].concat()).into_owned()
    }

    /// The last lines that say something, harmless to a terminal.
    pub(crate) fn lines(&self) -> Vec<String> {
        last_lines(&self.text())
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
}
