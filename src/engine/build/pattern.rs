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
    /// `**` or `**/` before something: nothing, or what [`Part::InFolders`] takes, which always follows.
    Folders,
    /// Anything that ends with `/`.
    InFolders,
    /// `**` at the end: anything.
    Rest,
    /// `[a-z]`, `[^a-z]`.
    Class { is_negated: bool, ranges: Vec<(char, char)> },
}

impl Pattern {
    /// Reads a pattern that is already cleaned: no `.` or `..` within, no `/` at either end.
    pub(crate) fn parse(text: &str) -> Result<Self, BadPattern> {
        let bad = || BadPattern(text.to_owned());
        let parts = Parser { chars: text.chars().collect(), at: 0 }.parts().ok_or_else(bad)?;
        let is_plain = |parts: &[Part]| parts.iter().all(|part| matches!(part, Part::Char(_)));
        if text.contains(['\\', '[', ']']) {
            return Ok(Pattern::General(parts));
        }
        Ok(match parts.as_slice() {
            plain if is_plain(plain) => Pattern::Exact(text.to_owned()),
            // The slash that `**/` swallowed stays in the text: it keeps `**/foo` from matching `barfoo`.
            [Part::Rest] => Pattern::Suffix(String::new()),
            [Part::Folders, Part::InFolders, end @ ..] if is_plain(end) => {
                Pattern::Suffix(text.chars().skip(2).collect())
            }
            [start @ .., Part::Rest] if is_plain(start) => {
                Pattern::Prefix(text.strip_suffix("**").unwrap_or(text).to_owned())
            }
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

/// Follows all ways through the parts at once: no pattern takes longer than parts × characters, whatever
/// its author intends.
fn run(parts: &[Part], path: &str) -> bool {
    let mut now = vec![false; parts.len() + 1];
    now[0] = true;
    pass_what_may_be_empty(parts, &mut now);
    for c in path.chars() {
        let mut next = vec![false; parts.len() + 1];
        for (at, part) in parts.iter().enumerate().filter(|(at, _)| now[*at]) {
            match part {
                Part::Char(wanted) => next[at + 1] |= c == *wanted,
                Part::Any => next[at + 1] |= c != '/',
                Part::Star => next[at] |= c != '/',
                Part::Rest => next[at] = true,
                Part::Folders => {}
                Part::InFolders => {
                    next[at] = true;
                    next[at + 1] |= c == '/';
                }
                Part::Class { is_negated, ranges } => {
                    let is_in = ranges.iter().any(|(from, to)| (*from..=*to).contains(&c));
                    next[at + 1] |= is_in != *is_negated;
                }
            }
        }
        pass_what_may_be_empty(parts, &mut next);
        now = next;
    }
    now[parts.len()]
}

fn pass_what_may_be_empty(parts: &[Part], states: &mut [bool]) {
    for (at, part) in parts.iter().enumerate() {
        if !states[at] {
            continue;
        }
        match part {
            Part::Star | Part::Rest => states[at + 1] = true,
            Part::Folders => {
                states[at + 1] = true;
                states[at + 2] = true;
            }
            Part::Char(_) | Part::Any | Part::InFolders | Part::Class { .. } => {}
        }
    }
}

struct Parser {
    chars: Vec<char>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek();
        self.at += usize::from(next.is_some());
        next
    }

    fn take(&mut self, wanted: char) -> bool {
        let is_there = self.peek() == Some(wanted);
        self.at += usize::from(is_there);
        is_there
    }

    /// `None` where the pattern is malformed.
    fn parts(mut self) -> Option<Vec<Part>> {
        let mut parts = Vec::new();
        while let Some(c) = self.next() {
            match c {
                '*' if self.take('*') => {
                    self.take('/');
                    if self.peek().is_none() {
                        parts.push(Part::Rest);
                    } else {
                        parts.extend([Part::Folders, Part::InFolders]);
                    }
                }
                '*' => parts.push(Part::Star),
                '?' => parts.push(Part::Any),
                '\\' => parts.push(Part::Char(self.next()?)),
                '[' => parts.push(self.class()?),
                other => parts.push(Part::Char(other)),
            }
        }
        Some(parts)
    }

    fn class(&mut self) -> Option<Part> {
        let is_negated = self.take('^');
        let mut ranges = Vec::new();
        while ranges.is_empty() || !self.take(']') {
            let from = self.end_of_range()?;
            let to = if self.take('-') { self.end_of_range()? } else { from };
            if to < from {
                return None;
            }
            ranges.push((from, to));
        }
        Some(Part::Class { is_negated, ranges })
    }

    fn end_of_range(&mut self) -> Option<char> {
        match self.next()? {
            '-' | ']' => None,
            '\\' => self.next(),
            other => Some(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pattern, path, whether it matches: the cases of moby's own test, and those around its quirks.
    const CASES: &[(&str, &str, bool)] = &[
        ("**", "file", true),
        ("**", "dir/file", true),
        ("**/", "file", true),
        ("**/**", "dir/file", true),
        ("dir/**", "dir/file", true),
        ("dir/**", "dir/dir2/file", true),
        ("dir/**", "dir", false),
        ("**/dir", "dir", true),
        ("**/dir2/*", "dir/dir2/file", true),
        ("**/dir2/*", "dir/dir2/dir2/file", true),
        ("**/dir2/**", "dir/dir2/dir2/file", true),
        ("**file", "file", true),
        ("**file", "dir/file", true),
        ("**file", "barfile", true),
        ("**/file", "dir/file", true),
        ("**/file", "barfile", false),
        ("**/file", "dir/dir/file", true),
        ("**/file*", "dir/dir/file.txt", true),
        ("**/file*txt", "dir/dir/file.txt", true),
        ("**/file*.txt", "dir/dir/file.txt", true),
        ("**/file*.txt*", "dir/dir/file.txt", true),
        ("**/**/*.txt", "dir/dir/file.txt", true),
        ("**/**/*.txt2", "dir/dir/file.txt", false),
        ("**/*.txt", "file.txt", true),
        ("**/**/*.txt", "file.txt", true),
        ("a**/*.txt", "a/file.txt", true),
        ("a**/*.txt", "a/dir/file.txt", true),
        ("a**/*.txt", "a/dir/dir/file.txt", true),
        ("a/*.txt", "a/dir/file.txt", false),
        ("a/*.txt", "a/file.txt", true),
        ("a/*.txt**", "a/file.txt", true),
        ("a[b-d]e", "ae", false),
        ("a[b-d]e", "ace", true),
        ("a[b-d]e", "aae", false),
        ("a[^b-d]e", "aze", true),
        (".*", ".foo", true),
        (".*", "foo", false),
        ("abc.def", "abcZdef", false),
        ("abc?def", "abcZdef", true),
        ("abc?def", "abc/def", false),
        ("a\\*b", "a*b", true),
        ("a\\b", "ab", true),
        ("a\\\\b", "a\\b", true),
        ("**/foo/bar", "foo/bar", true),
        ("**/foo/bar", "dir/foo/bar", true),
        ("abc/**", "abc/def/ghi", true),
        ("abc/**", "abc", false),
        ("**/.foo", "bar/.foo", true),
        ("**/.foo", "bar.foo", false),
        ("./bar.*", "bar.txt", false),
        ("a(b)c/d+e", "a(b)c/d+e", true),
        ("a.|)$(}+{bc", "a.|)$(}+{bc", true),
        ("dist/*/", "dist/x", false),
        ("ü?", "üö", true),
        ("", "", true),
    ];

    #[test]
    fn matches_as_docker_does() {
        for (pattern, path, expected) in CASES {
            let parsed = Pattern::parse(pattern).unwrap();
            assert_eq!(parsed.matches(path), *expected, "{pattern:?} on {path:?} as {parsed:?}");
        }
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for text in ["[", "[]", "[a", "[^", "[]a]", "[-]", "[x-]", "[-x]", "[b-a]", "a\\", "a[", "[\\"] {
            assert_eq!(Pattern::parse(text), Err(BadPattern(text.into())), "{text:?}");
        }
    }

    #[test]
    fn no_pattern_takes_exponential_time() {
        let pattern = Pattern::parse(&format!("{}b", "*a".repeat(500))).unwrap();
        assert!(!pattern.matches(&"a".repeat(2_000)));
    }
}
