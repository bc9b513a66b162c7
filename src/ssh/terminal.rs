//! The terminal on the client's side of a session: its kind, and its size as it changes.

use autostack_platform::TerminalSize;
use tokio::sync::watch;

/// What is assumed of a terminal that does not say how large it is.
const USUAL: TerminalSize = TerminalSize { columns: 80, rows: 24 };

/// A client's terminal, in raw mode: what is a key there arrives as bytes here.
#[derive(Debug, Clone)]
pub(crate) struct Terminal {
    size: watch::Receiver<TerminalSize>,
    /// Whether keys that are signals reach the command as bytes; else Ctrl-C ends it, and Ctrl-D its input.
    takes_keys: bool,
}

impl Terminal {
    pub(crate) fn new(size: watch::Receiver<TerminalSize>, takes_keys: bool) -> Self {
        Self { size, takes_keys }
    }

    /// Its size now.
    pub(crate) fn size(&self) -> TerminalSize {
        *self.size.borrow()
    }

    /// Waits until it has another size; for ever where the client has gone. Cancel-safe.
    pub(crate) async fn resized(&mut self) -> TerminalSize {
        if self.size.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        *self.size.borrow_and_update()
    }

    /// The same terminal for a command of another kind.
    pub(crate) fn for_command(&self, takes_keys: bool) -> Self {
        Self { takes_keys, ..self.clone() }
    }

    /// Whether keys that are signals reach the command.
    pub(crate) fn takes_keys(&self) -> bool {
        self.takes_keys
    }
}

/// A size as a client says it: in characters, 0 where it does not know.
pub(crate) fn size(columns: u32, rows: u32) -> TerminalSize {
    let known = |given: u32, usual: u16| match u16::try_from(given) {
        Ok(0) => usual,
        Ok(given) => given,
        Err(_) => u16::MAX,
    };
    TerminalSize { columns: known(columns, USUAL.columns), rows: known(rows, USUAL.rows) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_always_one() {
        assert_eq!(size(0, 0), USUAL);
        assert_eq!(size(132, 50), TerminalSize { columns: 132, rows: 50 });
        assert_eq!(size(u32::MAX, 70_000), TerminalSize { columns: u16::MAX, rows: u16::MAX });
    }
}
