//! Raw output of a tool, cut into lines.

use autostack_domain::limits::LOG_LINE_BYTES_MAX;

use crate::record::cut_at;

/// Keeps the incomplete last line, [`LOG_LINE_BYTES_MAX`] bytes at most. A carriage return goes back to
/// the line's beginning, as on a terminal: of a progress bar only the last state stays.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    line: Vec<u8>,
    /// The next byte, unless it ends the line, replaces the line.
    is_rewound: bool,
}

impl Lines {
    /// Takes bytes in, and gives every line that they end to `emit`, without its line end.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut emit: impl FnMut(Vec<u8>)) {
        while let Some(&first) = bytes.first() {
            match first {
                b'\n' => {
                    emit(std::mem::take(&mut self.line));
                    self.is_rewound = false;
                    bytes = &bytes[1..];
                }
                b'\r' => {
                    self.is_rewound = true;
                    bytes = &bytes[1..];
                }
                _ => {
                    if std::mem::take(&mut self.is_rewound) {
                        self.line.clear();
                    }
                    let run = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
                    // One byte too many shows whether the cut would fall into a character.
                    let room = LOG_LINE_BYTES_MAX + 1 - self.line.len();
                    let taken = run.unwrap_or(bytes.len()).min(room);
                    self.line.extend_from_slice(&bytes[..taken]);
                    bytes = &bytes[taken..];
                    if self.line.len() > LOG_LINE_BYTES_MAX {
                        let rest = self.line.split_off(cut_at(&self.line, LOG_LINE_BYTES_MAX));
                        emit(std::mem::replace(&mut self.line, rest));
                    }
                }
            }
        }
    }

    /// The incomplete last line, if there is one.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        self.is_rewound = false;
        let line = std::mem::take(&mut self.line);
        (!line.is_empty()).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pushes: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for push in pushes {
            lines.push(push, |line| found.push(line));
        }
        found.extend(lines.take());
        found.into_iter().map(|line| String::from_utf8_lossy(&line).into_owned()).collect()
    }

    #[test]
    fn lines_end_where_they_end_however_they_come() {
        assert_eq!(lines(&[b"a\nb\r\n\nc"]), ["a", "b", "", "c"]);
        assert_eq!(lines(&[b"a", b"\nb", b"\r", b"\n", b"\n", b"c"]), ["a", "b", "", "c"]);
        assert_eq!(lines(&[b"a\n"]), ["a"]);
        assert!(lines(&[b""]).is_empty());
    }

    #[test]
    fn of_a_progress_bar_the_last_state_stays() {
        assert_eq!(lines(&[b"10%\r55%", b"\r100%\n", b"done\r"]), ["100%", "done"]);
        assert_eq!(lines(&[b"10%\r", b"\r\r", b"\n"]), ["10%"]);
    }

    #[test]
    fn a_line_without_end_is_cut_between_characters() {
        let euros = "€".repeat(LOG_LINE_BYTES_MAX);
        let found = lines(&[euros.as_bytes()]);
        assert!(found.iter().all(|line| line.len() <= LOG_LINE_BYTES_MAX && !line.contains('\u{fffd}')));
        assert_eq!(found.concat(), euros);
        let full = "x".repeat(LOG_LINE_BYTES_MAX);
        assert_eq!(lines(&[full.as_bytes(), b"\n"]), [full.as_str()]);
    }
}
