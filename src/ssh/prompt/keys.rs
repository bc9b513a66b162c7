//! Bytes from a terminal in raw mode, as keys.

/// A key that somebody pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// A letter.
    Char(char),
    /// Enter.
    Enter,
    /// Takes the letter before the cursor away.
    Backspace,
    /// Takes the letter under the cursor away.
    Delete,
    /// To the left, by a letter.
    Left,
    /// To the right, by a letter.
    Right,
    /// To the left, by a word.
    WordLeft,
    /// To the right, by a word.
    WordRight,
    /// To the first letter.
    Home,
    /// Behind the last letter.
    End,
    /// To the line before, of those that were entered.
    Up,
    /// To the line after.
    Down,
    /// Takes all away from the cursor on.
    KillToEnd,
    /// Takes all away before the cursor.
    KillToStart,
    /// Takes the word before the cursor away.
    KillWord,
    /// Clears the screen.
    Clear,
    /// Completes the word before the cursor.
    Tab,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D.
    EndOfInput,
}

/// Bytes of an escape sequence at most; what is longer is no key.
const SEQUENCE_BYTES_MAX: usize = 16;

/// Puts keys together from bytes, which may come in any pieces.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    /// The beginning of a letter or of an escape sequence.
    begun: Vec<u8>,
}

impl Keys {
    /// Takes a byte; gives the key that ends with it.
    pub(crate) fn take(&mut self, byte: u8) -> Option<Key> {
        match self.begun.first() {
            None => self.begin(byte),
            Some(0x1b) => self.go_on_with_sequence(byte),
            Some(_) => self.go_on_with_letter(byte),
        }
    }

    fn begin(&mut self, byte: u8) -> Option<Key> {
        Some(match byte {
            0x01 => Key::Home,
            0x02 => Key::Left,
            0x03 => Key::Interrupt,
            0x04 => Key::EndOfInput,
            0x05 => Key::End,
            0x06 => Key::Right,
            0x08 | 0x7f => Key::Backspace,
            b'\t' => Key::Tab,
            b'\r' | b'\n' => Key::Enter,
            0x0b => Key::KillToEnd,
            0x0c => Key::Clear,
            0x0e => Key::Down,
            0x10 => Key::Up,
            0x15 => Key::KillToStart,
            0x17 => Key::KillWord,
            0x1b | 0xc2..=0xf4 => {
                self.begun.push(byte);
                return None;
            }
            b' '..=b'~' => Key::Char(char::from(byte)),
            // Other control bytes, and what begins no letter of UTF-8.
            _ => return None,
        })
    }

    fn go_on_with_letter(&mut self, byte: u8) -> Option<Key> {
        if !(0x80..0xc0).contains(&byte) {
            // The letter was cut off; this byte begins something of its own.
            self.begun.clear();
            return self.begin(byte);
        }
        self.begun.push(byte);
        let letter = match std::str::from_utf8(&self.begun) {
            Ok(text) => text.chars().next(),
            Err(error) if error.error_len().is_none() => return None,
            Err(_) => None,
        };
        self.begun.clear();
        // Controls of the second half of Latin-1 are no letters.
        letter.filter(|letter| !letter.is_control()).map(Key::Char)
    }

    fn go_on_with_sequence(&mut self, byte: u8) -> Option<Key> {
        if byte == 0x1b || self.begun.len() >= SEQUENCE_BYTES_MAX {
            self.begun = vec![0x1b];
            return None;
        }
        self.begun.push(byte);
        let is_open = match self.begun.get(1) {
            Some(b'[') => self.begun.len() == 2 || !(b'@'..=b'~').contains(&byte),
            Some(b'O') => self.begun.len() == 2,
            _ => false,
        };
        if is_open {
            return None;
        }
        let sequence = std::mem::take(&mut self.begun);
        sequence_key(sequence.get(1..).unwrap_or_default())
    }
}

/// The key that a terminal sends as this, after its escape.
fn sequence_key(sequence: &[u8]) -> Option<Key> {
    Some(match sequence {
        b"[A" | b"OA" => Key::Up,
        b"[B" | b"OB" => Key::Down,
        b"[C" | b"OC" => Key::Right,
        b"[D" | b"OD" => Key::Left,
        b"[H" | b"OH" | b"[1~" | b"[7~" => Key::Home,
        b"[F" | b"OF" | b"[4~" | b"[8~" => Key::End,
        b"[3~" => Key::Delete,
        b"b" | b"[1;5D" | b"[1;3D" => Key::WordLeft,
        b"f" | b"[1;5C" | b"[1;3C" => Key::WordRight,
        b"\x7f" => Key::KillWord,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut keys = Keys::default();
        bytes.iter().filter_map(|byte| keys.take(*byte)).collect()
    }

    #[test]
    fn letters_and_sequences_are_keys() {
        assert_eq!(keys("aä€🙂".as_bytes()), ['a', 'ä', '€', '🙂'].map(Key::Char));
        assert_eq!(
            keys(b"\x1b[A\x1bOB\x1b[3~\x1b[1;5C\x1bb"),
            [Key::Up, Key::Down, Key::Delete, Key::WordRight, Key::WordLeft]
        );
        assert_eq!(keys(b"x\x7f\r\x04"), [Key::Char('x'), Key::Backspace, Key::Enter, Key::EndOfInput]);
    }

    #[test]
    fn what_is_no_key_is_dropped_and_harms_nothing_after_it() {
        assert_eq!(
            keys(b"\xff\xc3a\x1b[99;99~b\x1b\x1b[Ac\xc2\x85d"),
            [Key::Char('a'), Key::Char('b'), Key::Up, Key::Char('c'), Key::Char('d')]
        );
        assert!(keys(&[b"\x1b[".as_slice(), &[b'1'; 100]].concat()).len() <= 100);
    }

    proptest! {
        #[test]
        fn any_bytes_are_keys_or_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let found = keys(&bytes);
            prop_assert!(found.len() <= bytes.len());
            for key in found {
                if let Key::Char(letter) = key {
                    prop_assert!(!letter.is_control());
                }
            }
        }
    }
}
