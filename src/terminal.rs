//! What the command line says: data to standard output, everything else to standard error.

use std::io::Write;

use autostack_domain::Line;

/// Writes data. A closed pipe is the reader's way to say that it has seen enough.
pub(crate) fn data(text: &str) {
    let mut out = std::io::stdout().lock();
    let _closed = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Writes a line for people. Where standard error is closed there is nobody to tell.
pub(crate) fn say(line: &Line) {
    let _closed = writeln!(std::io::stderr().lock(), "{line}");
}

/// Says what went wrong and what to try next.
pub(crate) fn trouble(message: &str, hint: Option<&str>) {
    say(&Line::trouble(message));
    if let Some(hint) = hint {
        say(&Line::trouble(format!("Next: {hint}")));
    }
}
