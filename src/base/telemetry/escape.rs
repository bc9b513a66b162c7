//! [`Escaping`]: the last gate before the log leaves the process.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, Write},
};

use autostack_domain::screen::is_harmful;

use super::Format;

/// Writes events with every harmful character escaped, but for the line end that closes the event.
pub(super) struct Escaping<W> {
    out: W,
    format: Format,
}

impl<W: Write> Escaping<W> {
    /// Escapes as `format` needs it.
    pub(super) fn new(out: W, format: Format) -> Self {
        Self { out, format }
    }
}

impl<W: Write> Write for Escaping<W> {
    /// Takes one whole event, as `tracing-subscriber` hands it over.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let (body, end) = match text.strip_suffix('\n') {
            Some(body) => (body, "\n"),
            None => (&*text, ""),
        };
        let mut line = escaped(body, self.format).into_owned();
        line.push_str(end);
        // One call, so that lines of several threads do not mix.
        self.out.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn escaped(body: &str, format: Format) -> Cow<'_, str> {
    if !body.contains(is_harmful) {
        return Cow::Borrowed(body);
    }
    let mut safe = String::with_capacity(body.len() + 16);
    for c in body.chars() {
        if !is_harmful(c) {
            safe.push(c);
            continue;
        }
        // Writing to a string does not fail.
        let _ = match format {
            Format::Readable => write!(safe, "{}", c.escape_unicode()),
            // All harmful characters are in the basic plane, so that four digits do.
            Format::Json => write!(safe, "\\u{:04x}", u32::from(c)),
        };
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_text_is_not_copied() {
        assert!(matches!(escaped("ä\tb", Format::Readable), Cow::Borrowed(_)));
    }

    #[test]
    fn an_event_keeps_its_last_line_end_only() {
        let mut out = Vec::new();
        let event = b"one\ntwo\r\xff\n";
        assert_eq!(Escaping::new(&mut out, Format::Readable).write(event).unwrap(), event.len());
        assert_eq!(String::from_utf8(out).unwrap(), "one\\u{a}two\\u{d}\u{fffd}\n");
    }
}
