//! From chunks of bytes to lines.

use autostack_domain::limits::LOG_LINE_BYTES_MAX;

/// Holds the line that has no end yet.
#[derive(Debug, Default)]
pub(crate) struct LineBuffer {
    partial: Vec<u8>,
}

impl LineBuffer {
    /// Takes bytes in and gives each line that they complete, without its line end. A line longer than
    /// [`LOG_LINE_BYTES_MAX`] comes in several parts.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut line: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            let room = LOG_LINE_BYTES_MAX - self.partial.len();
            let window = &bytes[..bytes.len().min(room)];
            if let Some(end) = window.iter().position(|byte| *byte == b'\n') {
                self.partial.extend_from_slice(&window[..end]);
                line(self.partial.strip_suffix(b"\r").unwrap_or(&self.partial));
                self.partial.clear();
                bytes = &bytes[end + 1..];
            } else {
                self.partial.extend_from_slice(window);
                bytes = &bytes[window.len()..];
                if self.partial.len() == LOG_LINE_BYTES_MAX {
                    line(&self.partial);
                    self.partial.clear();
                }
            }
        }
    }

    /// Gives the line that will have no end any more, if there is one.
    pub(crate) fn finish(&mut self, mut line: impl FnMut(&[u8])) {
        if !self.partial.is_empty() {
            line(&self.partial);
            self.partial = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let mut buffer = LineBuffer::default();
        for chunk in chunks {
            buffer.feed(chunk, |line| found.push(line.to_vec()));
        }
        buffer.finish(|line| found.push(line.to_vec()));
        found
    }

    #[test]
    fn lines_are_put_together_from_chunks() {
        assert_eq!(lines(&[b"a\nb", b"c\n", b"\n\r\nd\r", b"\ne"]), [&b"a"[..], b"bc", b"", b"", b"d", b"e"]);
        assert!(lines(&[]).is_empty());
    }

    #[test]
    fn a_line_without_end_comes_in_parts() {
        let long = vec![b'x'; LOG_LINE_BYTES_MAX * 2 + 3];
        let lengths: Vec<usize> = lines(&[&long]).iter().map(Vec::len).collect();
        assert_eq!(lengths, [LOG_LINE_BYTES_MAX, LOG_LINE_BYTES_MAX, 3]);
    }
}
