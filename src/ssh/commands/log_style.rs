//! How a line of a log looks: bare, plain, or coloured for a terminal; and the time of it.

use std::fmt::Write;

use autostack_domain::{UnixMillis, screen::Printable};
use autostack_logs::{Entry, Offset, Origin, OutputStream};
use serde_json::json;

use crate::commands::{command::Flag, invocation::Invocation, refusal::Refusal};

/// Colours of process types, as parameters of an SGR sequence; `web` has the first.
const COLOURS: [&str; 6] = ["36", "33", "35", "32", "34", "96"];
const DIM: &str = "\u{1b}[2m";
const RESET: &str = "\u{1b}[0m";

/// `--color`, on commands that show lines.
pub(crate) const COLOR: Flag = Flag {
    long: "--color",
    short: None,
    value: Some("WHEN"),
    summary: "always, never, or auto: on a terminal (ssh -t)",
};

/// What a line is shown with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    /// What is made of an entry.
    pub(crate) shape: Shape,
    /// Whether process types have colours.
    pub(crate) colour: bool,
    /// Whether a line begins with the offset after it.
    pub(crate) offsets: bool,
}

/// What is made of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Time, who, and the text.
    Line,
    /// The text alone.
    Bare,
    /// An object of JSON.
    Json,
}

/// Whether to colour, by what was asked for and by where it is shown.
pub(crate) fn wants_colour(invocation: &Invocation) -> Result<bool, Refusal> {
    match invocation.value("--color") {
        None | Some("auto") => Ok(invocation.output.is_terminal()),
        Some("always") => Ok(true),
        Some("never") => Ok(false),
        Some(other) => {
            let other = Printable(other);
            Err(invocation.usage(format!("--color takes always, never or auto, not {other}.")))
        }
    }
}

impl Style {
    /// Adds a line for an entry, with what a terminal would obey escaped (threat E4).
    pub(crate) fn put(self, out: &mut String, after: Offset, entry: &Entry) {
        match self.shape {
            Shape::Json => put_json(out, after, entry),
            Shape::Bare | Shape::Line => self.put_text(out, after, entry),
        }
        out.push('\n');
    }

    /// Adds a line about the log itself.
    pub(crate) fn put_note(self, out: &mut String, note: &str) {
        let (begin, end) = if self.colour { (DIM, RESET) } else { ("", "") };
        // Writing to a string cannot fail.
        let _ = match self.shape {
            Shape::Json => writeln!(out, "{}", json!({ "note": note })),
            Shape::Bare | Shape::Line => writeln!(out, "{begin}... {note} ...{end}"),
        };
    }

    fn put_text(self, out: &mut String, after: Offset, entry: &Entry) {
        let text = entry.text_lossy();
        let text = Printable(&text);
        if self.offsets {
            let _ = write!(out, "{after} ");
        }
        if self.shape == Shape::Bare {
            let _ = write!(out, "{text}");
            return;
        }
        let at = time(entry.at);
        let _ = match (&entry.origin, self.colour) {
            (Origin::Platform(_), false) => write!(out, "{at} autostack: {text}"),
            (Origin::Platform(_), true) => write!(out, "{DIM}{at} autostack: {text}{RESET}"),
            (Origin::Instance { dyno, .. }, false) => write!(out, "{at} app[{dyno}]: {text}"),
            (Origin::Instance { dyno, .. }, true) => {
                // A colour that the app has left on ends with its line.
                write!(out, "\u{1b}[{}m{at} app[{dyno}]:{RESET} {text}{RESET}", colour_of(dyno))
            }
        };
    }
}

/// The colour of a process type; the same on every day and in every app.
fn colour_of(dyno: &str) -> &'static str {
    let process = dyno.rsplit_once('.').map_or(dyno, |(process, _)| process);
    if process == "web" {
        return COLOURS[0];
    }
    let sum: usize = process.bytes().map(usize::from).sum();
    COLOURS[1 + sum % (COLOURS.len() - 1)]
}

fn put_json(out: &mut String, after: Offset, entry: &Entry) {
    let (process, release, stream) = match &entry.origin {
        Origin::Platform(_) => (None, None, None),
        Origin::Instance { dyno, release, stream, .. } => {
            let stream = match stream {
                OutputStream::Stdout => "stdout",
                OutputStream::Stderr => "stderr",
            };
            (Some(dyno.as_str()), Some(release.to_string()), Some(stream))
        }
    };
    let object = json!({
        "at": time(entry.at),
        "offset": after,
        "process": process,
        "release": release,
        "stream": stream,
        "text": entry.text_lossy(),
    });
    let _ = write!(out, "{object}");
}

/// A moment as RFC 3339 in UTC, to the millisecond.
pub(crate) fn time(at: UnixMillis) -> String {
    // A clock beyond the year 9999 is shown as the number that it is.
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| at.0.to_string(), |at| format!("{at:.3}"))
}

/// `0.3 s`, `12 s`, `2 m 05 s`.
pub(crate) fn duration(millis: u64) -> String {
    match millis {
        0..10_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        10_000..60_000 => format!("{} s", millis / 1_000),
        _ => format!("{} m {:02} s", millis / 60_000, millis % 60_000 / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use autostack_domain::{Line, ReleaseNumber};

    use super::*;

    const PLAIN: Style = Style { shape: Shape::Line, colour: false, offsets: false };

    fn instance(dyno: &str, text: &str) -> Entry {
        Entry {
            at: UnixMillis(1_795_468_056_007),
            origin: Origin::Instance {
                instance: "shop.web.1.0000beef".parse().unwrap(),
                release: ReleaseNumber(1),
                dyno: dyno.into(),
                stream: OutputStream::Stdout,
                source_end: 0,
            },
            text: text.into(),
        }
    }

    fn shown(style: Style, entry: &Entry) -> String {
        let mut out = String::new();
        style.put(&mut out, Offset(77), entry);
        out
    }

    #[test]
    fn a_line_says_when_and_who() {
        assert_eq!(shown(PLAIN, &instance("web.1", "up")), "2026-11-23T21:07:36.007Z app[web.1]: up\n");
        let platform = Entry::platform(UnixMillis(0), Line::detail("web.1 crashed"));
        assert_eq!(shown(PLAIN, &platform), "1970-01-01T00:00:00.000Z autostack: web.1 crashed\n");
        let with_offset = Style { offsets: true, ..PLAIN };
        assert!(shown(with_offset, &instance("web.1", "up")).starts_with("77 2026-"));
        assert_eq!(shown(Style { shape: Shape::Bare, ..PLAIN }, &instance("web.1", "up")), "up\n");
    }

    #[test]
    fn e4_a_tenants_line_gives_no_orders() {
        let hostile = instance("web.1", "\u{1b}]52;c;aGk=\u{7}\u{1b}[31mred\u{202e}");
        for shape in [Shape::Line, Shape::Bare] {
            for colour in [false, true] {
                let line = shown(Style { shape, colour, offsets: false }, &hostile);
                assert!(line.contains("\\u{1b}]52;c;aGk=\\u{7}\u{1b}[31mred\\u{202e}"), "{line:?}");
            }
        }
        let json = shown(Style { shape: Shape::Json, ..PLAIN }, &hostile);
        assert!(json.contains("\\u001b]52") && !json.contains('\u{1b}') && json.ends_with("}\n"), "{json:?}");
    }

    #[test]
    fn a_terminal_has_a_colour_for_each_process_type() {
        let style = Style { colour: true, ..PLAIN };
        let web = shown(style, &instance("web.1", "\u{1b}[31mred"));
        assert!(web.starts_with("\u{1b}[36m2026-") && web.ends_with("\u{1b}[31mred\u{1b}[0m\n"), "{web:?}");
        assert_eq!(colour_of("worker.1"), colour_of("worker.22"));
        assert_ne!(colour_of("worker.1"), colour_of("web.1"));
        let platform = shown(style, &Entry::platform(UnixMillis(0), Line::detail("x")));
        assert!(platform.starts_with(DIM) && platform.ends_with("x\u{1b}[0m\n"), "{platform:?}");
    }

    #[test]
    fn durations_are_for_people() {
        let said = [(0, "0.0 s"), (1_250, "1.2 s"), (59_999, "59 s"), (125_000, "2 m 05 s")];
        for (millis, text) in said {
            assert_eq!(duration(millis), text);
        }
    }
}
