//! The shape of a line that a person reads: on the pusher's screen, in a build log, from a command.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a line is; the prefix follows from it (`contract.md`, SSH).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineKind {
    /// `-----> step`
    Step,
    /// `=====> result`
    Result,
    /// Seven spaces, then detail.
    Detail,
    /// ` !     ` then trouble; goes to stderr.
    Trouble,
}

impl LineKind {
    /// Seven characters that stand before the text.
    pub fn prefix(self) -> &'static str {
        match self {
            LineKind::Step => "-----> ",
            LineKind::Result => "=====> ",
            LineKind::Detail => "       ",
            LineKind::Trouble => " !     ",
        }
    }
}

/// One line without its line end. Text that came from a tenant is kept as it was; [`Line`]'s `Display`
/// escapes what a terminal would obey (threat E4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What the line is.
    pub kind: LineKind,
    /// The text, without prefix and line end.
    pub text: String,
}

impl Line {
    /// A step begins.
    pub fn step(text: impl Into<String>) -> Self {
        Self { kind: LineKind::Step, text: text.into() }
    }

    /// Something is reached.
    pub fn result(text: impl Into<String>) -> Self {
        Self { kind: LineKind::Result, text: text.into() }
    }

    /// Detail of the step.
    pub fn detail(text: impl Into<String>) -> Self {
        Self { kind: LineKind::Detail, text: text.into() }
    }

    /// Something is wrong.
    pub fn trouble(text: impl Into<String>) -> Self {
        Self { kind: LineKind::Trouble, text: text.into() }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind.prefix(), Printable(&self.text))
    }
}

/// Prints text with every control character escaped that could move a cursor, ring, set a title or turn
/// the reading direction; tabs and colour sequences (`ESC [ … m`) stay.
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(is_harmful) {
            f.write_str(&rest[..at])?;
            let tail = &rest[at..];
            let taken = match colour_sequence(tail) {
                Some(length) => {
                    f.write_str(&tail[..length])?;
                    length
                }
                None => {
                    let harmful = tail.chars().next().unwrap_or_default();
                    write!(f, "{}", harmful.escape_unicode())?;
                    harmful.len_utf8()
                }
            };
            rest = &tail[taken..];
        }
        f.write_str(rest)
    }
}

/// Whether a terminal would obey this character, or a reader be misled by it (threat E4). A tab is harmless.
pub fn is_harmful(c: char) -> bool {
    let bidi = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (c.is_control() && c != '\t') || bidi
}

/// The length of a colour sequence at the start of `text`: `ESC [ digits and ; m`.
fn colour_sequence(text: &str) -> Option<usize> {
    let inner = text.strip_prefix("\u{1b}[")?;
    let end = inner.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    (inner[end..].starts_with('m') && end <= 16).then_some(2 + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_seven_wide() {
        assert_eq!(Line::step("a").to_string(), "-----> a");
        assert_eq!(Line::result("a").to_string(), "=====> a");
        assert_eq!(Line::detail("a").to_string(), "       a");
        assert_eq!(Line::trouble("a").to_string(), " !     a");
    }

    #[test]
    fn e4_a_terminal_is_never_given_orders() {
        let hostile = "a\u{1b}]0;title\u{7}b\rc\u{202e}d\u{9b}2J";
        let shown = Line::detail(hostile).to_string();
        assert!(shown.chars().all(|c| !is_harmful(c)), "{shown:?}");
        assert!(shown.contains("\\u{1b}]0;title\\u{7}b"));
    }

    #[test]
    fn colours_and_tabs_stay() {
        let coloured = "\u{1b}[1;32mok\u{1b}[0m\tdone";
        assert_eq!(Printable(coloured).to_string(), coloured);
        assert_eq!(Printable("\u{1b}[2J").to_string(), "\\u{1b}[2J");
    }
}
