//! A line that somebody edits in a terminal: keys in, what the terminal shows out. It knows no connection.

use std::collections::VecDeque;

use super::keys::Key;

/// Lines that were entered and can be had again.
const HISTORY_LINES_MAX: usize = 500;
/// Bytes of a line; a command may have no more.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// Candidates of a completion that are shown.
const CANDIDATES_SHOWN_MAX: usize = 200;

/// What a key has brought about beyond the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Happened {
    /// A line was entered.
    Entered(String),
    /// There will be no more.
    Ended,
    /// The text before the cursor is to be completed: [`Editor::complete`].
    Completion(String),
}

/// A line, its cursor, and the lines before it.
#[derive(Debug)]
pub(crate) struct Editor {
    prompt: String,
    columns: usize,
    line: Vec<char>,
    /// The letter that the cursor is on.
    at: usize,
    history: VecDeque<String>,
    /// Which line of the history is shown; as many as there are for the one that is new.
    shown: usize,
    /// The new line, while one of the history is shown.
    new: Vec<char>,
    /// The last key asked for a completion, and several were possible.
    is_asked_again: bool,
}

impl Editor {
    /// An empty line behind a prompt.
    pub(crate) fn new(prompt: &str) -> Self {
        Self {
            prompt: prompt.to_owned(),
            columns: 80,
            line: Vec::new(),
            at: 0,
            history: VecDeque::new(),
            shown: 0,
            new: Vec::new(),
            is_asked_again: false,
        }
    }

    /// The terminal has so many columns now.
    pub(crate) fn resize(&mut self, columns: u16) {
        self.columns = usize::from(columns);
    }

    /// The lines that were entered, oldest first.
    pub(crate) fn history(&self) -> impl Iterator<Item = &str> {
        self.history.iter().map(String::as_str)
    }

    /// What shows the line as it is, on the row of the cursor. A line that is longer than the row is shown in part.
    pub(crate) fn draw(&self) -> String {
        let prompt = self.prompt.chars().count();
        // The last column stays free: some terminals begin a new row behind it.
        let room = self.columns.saturating_sub(prompt + 1).max(1);
        let from = (self.at + 1).saturating_sub(room);
        let part: String = self.line.iter().skip(from).take(room).collect();
        let cursor = prompt + self.at - from;
        let right = if cursor > 0 { format!("\x1b[{cursor}C") } else { String::new() };
        format!("\r{}{part}\x1b[K\r{right}", self.prompt)
    }

    /// Takes a key. `screen` gets what the terminal is to show.
    pub(crate) fn key(&mut self, key: Key, screen: &mut String) -> Option<Happened> {
        let was_asked = std::mem::take(&mut self.is_asked_again);
        match key {
            Key::Enter => return Some(self.enter(screen)),
            Key::Interrupt => {
                screen.push_str("^C\r\n");
                self.set(Vec::new());
                self.shown = self.history.len();
            }
            Key::EndOfInput if self.line.is_empty() => {
                screen.push_str("\r\n");
                return Some(Happened::Ended);
            }
            Key::Tab => {
                self.is_asked_again = was_asked;
                return Some(Happened::Completion(self.line[..self.at].iter().collect()));
            }
            Key::Clear => screen.push_str("\x1b[H\x1b[2J"),
            Key::Up => self.show(self.shown.checked_sub(1)),
            Key::Down => self.show(Some(self.shown + 1)),
            Key::Char(letter) => self.insert(letter),
            key => self.edit(key),
        }
        screen.push_str(&self.draw());
        None
    }

    /// Completes what stands before the cursor, by its last `length` letters. Several candidates are shown when it is
    /// asked for a second time.
    pub(crate) fn complete(&mut self, length: usize, candidates: &[String], screen: &mut String) {
        let Some(common) = common_beginning(candidates) else { return };
        let begun: String = self.line[self.at.saturating_sub(length)..self.at].iter().collect();
        if let Some(rest) = common.strip_prefix(&begun) {
            let end = if candidates.len() == 1 { " " } else { "" };
            rest.chars().chain(end.chars()).for_each(|letter| self.insert(letter));
        }
        if candidates.len() > 1 && common == begun {
            if std::mem::replace(&mut self.is_asked_again, true) {
                screen.push_str("\r\n");
                screen.push_str(&in_columns(candidates, self.columns));
            } else {
                screen.push('\x07');
            }
        }
        screen.push_str(&self.draw());
    }

    fn enter(&mut self, screen: &mut String) -> Happened {
        let line: String = std::mem::take(&mut self.line).into_iter().collect();
        self.at = 0;
        screen.push_str("\r\n");
        // As in a shell: a line that begins with a space is not kept, nor the same one twice.
        let is_kept = !line.trim().is_empty() && !line.starts_with(' ') && self.history.back() != Some(&line);
        if is_kept {
            if self.history.len() == HISTORY_LINES_MAX {
                self.history.pop_front();
            }
            self.history.push_back(line.clone());
        }
        self.shown = self.history.len();
        Happened::Entered(line)
    }

    fn edit(&mut self, key: Key) {
        match key {
            Key::Backspace if self.at > 0 => {
                self.at -= 1;
                self.line.remove(self.at);
            }
            Key::Delete | Key::EndOfInput if self.at < self.line.len() => drop(self.line.remove(self.at)),
            Key::Left => self.at = self.at.saturating_sub(1),
            Key::Right => self.at = (self.at + 1).min(self.line.len()),
            Key::Home => self.at = 0,
            Key::End => self.at = self.line.len(),
            Key::WordLeft => self.at = self.word_before(),
            Key::WordRight => self.at = self.word_after(),
            Key::KillToEnd => self.line.truncate(self.at),
            Key::KillToStart => {
                self.line.drain(..self.at);
                self.at = 0;
            }
            Key::KillWord => {
                let from = self.word_before();
                self.line.drain(from..self.at);
                self.at = from;
            }
            _ => {}
        }
    }

    fn insert(&mut self, letter: char) {
        let bytes: usize = self.line.iter().map(|letter| letter.len_utf8()).sum();
        if bytes + letter.len_utf8() <= LINE_BYTES_MAX {
            self.line.insert(self.at, letter);
            self.at += 1;
        }
    }

    fn set(&mut self, line: Vec<char>) {
        self.at = line.len();
        self.line = line;
    }

    /// Shows a line of the history, or the new one behind all of them.
    fn show(&mut self, which: Option<usize>) {
        let Some(which) = which.filter(|which| *which <= self.history.len()) else { return };
        if self.shown == self.history.len() {
            self.new.clone_from(&self.line);
        }
        let line = self.history.get(which).map_or_else(|| self.new.clone(), |line| line.chars().collect());
        self.set(line);
        self.shown = which;
    }

    fn word_before(&self) -> usize {
        let before = &self.line[..self.at];
        let word_end = before.iter().rposition(|letter| !letter.is_whitespace()).map_or(0, |at| at + 1);
        before[..word_end].iter().rposition(|letter| letter.is_whitespace()).map_or(0, |at| at + 1)
    }

    fn word_after(&self) -> usize {
        let after = &self.line[self.at..];
        let word = after.iter().position(|letter| !letter.is_whitespace()).unwrap_or(after.len());
        let end = after[word..].iter().position(|letter| letter.is_whitespace());
        self.at + end.map_or(after.len(), |end| word + end)
    }
}

/// What all of them begin with; `None` where there are none.
fn common_beginning(candidates: &[String]) -> Option<String> {
    let (first, rest) = candidates.split_first()?;
    let mut common = first.as_str();
    for candidate in rest {
        let same = common.char_indices().zip(candidate.chars()).find(|((_, one), other)| one != other);
        let end = same.map_or(common.len().min(candidate.len()), |((at, _), _)| at);
        common = &common[..end];
    }
    Some(common.to_owned())
}

/// The candidates side by side, as many in a row as fit.
fn in_columns(candidates: &[String], columns: usize) -> String {
    let width = candidates.iter().map(|one| one.chars().count()).max().unwrap_or(0) + 2;
    let in_row = (columns / width).max(1);
    let mut text = String::new();
    for row in candidates[..candidates.len().min(CANDIDATES_SHOWN_MAX)].chunks(in_row) {
        let row: String = row.iter().map(|one| format!("{one:width$}")).collect();
        text.push_str(row.trim_end());
        text.push_str("\r\n");
    }
    let left = candidates.len().saturating_sub(CANDIDATES_SHOWN_MAX);
    if left > 0 {
        text.push_str(&format!("... and {left} more\r\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prompt::keys::Keys;

    fn type_into(editor: &mut Editor, bytes: &[u8]) -> (Vec<Happened>, String) {
        let (mut keys, mut screen) = (Keys::default(), String::new());
        let happened = bytes.iter().filter_map(|byte| keys.take(*byte));
        (
            happened.collect::<Vec<_>>().into_iter().filter_map(|key| editor.key(key, &mut screen)).collect(),
            screen,
        )
    }

    fn entered(bytes: &[u8]) -> String {
        match type_into(&mut Editor::new("> "), bytes).0.as_slice() {
            [Happened::Entered(line)] => line.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_line_is_edited_as_in_a_shell() {
        assert_eq!(entered(b"lgs\x1b[D\x1b[Do\r"), "logs");
        assert_eq!(entered(b"logs shop\x17mall\r"), "logs mall");
        assert_eq!(entered(b"logs shop\x15apps:list\r"), "apps:list");
        assert_eq!(entered(b"xlogs shop\x01\x04\x05 -t\r"), "logs shop -t");
        assert_eq!(entered(b"a b c\x1bb\x1bb\x0bd\r"), "a d");
        assert_eq!(entered("zü\u{7f}u\r".as_bytes()), "zu");
        assert_eq!(entered(b"gone\x03kept\r"), "kept");
    }

    #[test]
    fn lines_come_back_from_the_history() {
        let mut editor = Editor::new("> ");
        type_into(&mut editor, b"one\rtwo\rtwo\r secret\r\r");
        assert_eq!(editor.history().collect::<Vec<_>>(), ["one", "two"]);
        let (happened, _) = type_into(&mut editor, b"new\x1b[A\x1b[A\x1b[A\x1b[B\x1b[B!\r");
        assert_eq!(happened, [Happened::Entered("new!".into())], "beyond the last stands what was begun");
        let (happened, _) = type_into(&mut editor, b"\x10\x10\r");
        assert_eq!(happened, [Happened::Entered("two".into())]);
    }

    #[test]
    fn ctrl_d_ends_an_empty_line_only() {
        assert_eq!(type_into(&mut Editor::new("> "), b"\x04").0, [Happened::Ended]);
        assert_eq!(type_into(&mut Editor::new("> "), b"a\x04").0, []);
    }

    #[test]
    fn a_word_is_completed_as_far_as_it_is_clear() {
        let mut editor = Editor::new("> ");
        let (happened, _) = type_into(&mut editor, b"apps:l\t");
        assert_eq!(happened, [Happened::Completion("apps:l".into())]);
        let (both, mut screen) = (["apps:list".to_owned(), "apps:lock".to_owned()], String::new());
        editor.complete(6, &both, &mut screen);
        assert!(screen.starts_with('\x07'), "{screen:?}");
        type_into(&mut editor, b"\t");
        screen.clear();
        editor.complete(6, &both, &mut screen);
        assert!(screen.contains("apps:list  apps:lock\r\n"), "{screen:?}");
        type_into(&mut editor, b"i");
        editor.complete(7, &both[..1], &mut screen);
        assert_eq!(type_into(&mut editor, b"\r").0, [Happened::Entered("apps:list ".into())]);
    }

    #[test]
    fn a_line_longer_than_the_row_is_shown_around_the_cursor() {
        let mut editor = Editor::new("> ");
        editor.resize(10);
        type_into(&mut editor, b"abcdefghijklm");
        assert_eq!(editor.draw(), "\r> hijklm\x1b[K\r\x1b[8C");
        type_into(&mut editor, b"\x01");
        assert_eq!(editor.draw(), "\r> abcdefg\x1b[K\r\x1b[2C");
    }

    proptest! {
        #[test]
        fn no_bytes_upset_it(bytes in proptest::collection::vec(any::<u8>(), 0..300), columns in 0u16..30) {
            let mut editor = Editor::new("> ");
            editor.resize(columns);
            let (happened, _) = type_into(&mut editor, &bytes);
            for one in happened {
                if let Happened::Completion(text) = one {
                    editor.complete(text.chars().count(), &["ab".into(), "ä".into()], &mut String::new());
                }
            }
            editor.draw();
        }
    }
}
