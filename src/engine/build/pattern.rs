//! [`Pattern`]: one line of a `.dockerignore`, matched as Docker matches it.
//!
//! The rules are those of `moby/patternmatcher`: Go's `filepath.Match` plus `**`. Three shapes are compared as
//! text there, with results that the general form would not give (`**foo` matches `barfoo`); so they are here.

/// A line that Docker refuses: a bracket that is not closed, a range that is none, a lone `\` at the end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a pattern")]
pub(crate) struct BadPattern(pub(crate) String);

/// A pattern over whole paths: relative, separated by `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// The path itself.
    Exact(String),
    /// `text**`: every path that begins so.
    Prefix(String),
    /// `**text`: every path that ends so; `**/text` also `text` itself.
    Suffix(String),
    /// Anything else.
    General(Vec<Part>),
}

/// What a pattern is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// This very character.
    Char(char),
    /// `?`: one character, but not `/`.
    Any,
    /// `*`: any number of characters, none of them `/`.
    Star,
    /// `**` or `**/` before something: nothing, or anything that ends with `/`.
    Folders,
    /// `**` at the end: anything.
    Rest,
    /// `[a-z]`, `[^a-z]`.
    Class { is_negated: bool, ranges: Vec<(char, char)> },
}

impl Pattern {
    /// Reads a pattern that is already cleaned: no `.` or `..` within, no `/` at either end.
    pub(crate) fn parse(text: &str) -> Result<Self, BadPattern> {
        let parts = Parser { rest: text.chars().collect(), at: 0 }.parts().ok_or(BadPattern(text.into()))?;
        let is_plain = |parts: &[Part]| parts.iter().all(|part| matches!(part, Part::Char(_)));
        let has_escape = text.contains(['\\', '[', ']']);
        Ok(match parts.as_slice() {
            _ if has_escape => Pattern::General(parts),
            plain if is_plain(plain) => Pattern::Exact(text.into()),
            [start @ .., Part::Rest] if !start.is_empty() && is_plain(start) => {
                Pattern::Prefix(text_of(start))
            }
            // The slash that `**/` swallowed counts: it keeps `**/foo` from matching `barfoo`.
            [Part::Folders | Part::Rest, end @ ..] if is_plain(end) => Pattern::Suffix(text[2..].into()),
            _ => Pattern::General(parts),
        })
    }

    /// Whether the whole path matches.
    pub(crate) fn matches(&self, path: &str) -> bool {
        match self {
            Pattern::Exact(text) => path == text,
            Pattern::Prefix(text) => path.starts_with(text.as_str()),
            Pattern::Suffix(text) => path.ends_with(text.as_str()) || text.strip_prefix('/') == Some(path),
            Pattern::General(parts) => run(parts, path),
        }
    }
}

fn text_of(parts: &[Part]) -> String {
    parts.iter().filter_map(|part| if let Part::Char(c) = part { Some(*c) } else { None }).collect()
}

/// Follows all ways through the parts at once, so that no pattern takes more than parts × characters.
fn run(parts: &[Part], path: &str) -> bool {
    let mut now = vec![false; parts.len() + 1];
    now[0] = true;
    skip_empty(parts, &mut now);
    for c in path.chars() {
        let mut next = vec![false; parts.len() + 1];
        for (at, part) in parts.iter().enumerate().filter(|(at, _)| now[*at]) {
            match part {
                Part::Char(wanted) => next[at + 1] |= c == *wanted,
                Part::Any => next[at + 1] |= c != '/',
                Part::Star => next[at] |= c != '/',
                Part::Rest => next[at] = true,
                Part::Folders => {
                    next[at] = true;
                    next[at + 1] |= c == '/';
                }
                Part::Class { is_negated, ranges } => {
                    let is_in = ranges.iter().any(|(from, to)| (*from..=*to).contains(&c));
                    next[at + 1] |= is_in != *is_negated;
                }
            }
        }
        // Within `**/` only its beginning and what follows a slash may go on: see `skip_empty`.
        skip_stars(parts, &mut next);
        now = next;
    }
    now[parts.len()]
}

/// Before the first character, everything that may match nothing is passed.
fn skip_empty(parts: &[Part], states: &mut [bool]) {
    for (at, part) in parts.iter().enumerate() {
        if states[at] && matches!(part, Part::Star | Part::Rest | Part::Folders) {
            states[at + 1] = true;
        }
    }
}

fn skip_stars(parts: &[Part], states: &mut [bool]) {
    skip_empty(parts, states);
}

struct Parser {
    rest: Vec<char>,
    at: usize,
}
