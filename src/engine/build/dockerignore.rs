//! [`DockerIgnore`]: which files of a commit the engine does not get.
//!
//! The meaning is Docker's own (`moby/patternmatcher`): lines in order, the last that matches decides, `!`
//! brings back, a folder that matches takes everything below it along.

use super::pattern::{BadPattern, Pattern};

/// The lines of a `.dockerignore`, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DockerIgnore {
    lines: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    /// `!…`: brings back.
    is_exception: bool,
    pattern: Pattern,
    text: String,
}

/// Which lines matched a folder: they match what is below it too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Matched(Vec<bool>);

impl DockerIgnore {
    /// Reads the file's text.
    ///
    /// # Errors
    /// [`BadPattern`] for the first line that Docker refuses.
    pub(crate) fn parse(text: &str) -> Result<Self, BadPattern> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self::from_patterns(text.lines().filter(|line| !line.starts_with('#')))
    }

    /// Takes patterns as BuildKit hands them over: without comments, in order.
    ///
    /// # Errors
    /// [`BadPattern`] for the first that Docker refuses.
    pub(crate) fn from_patterns<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, BadPattern> {
        let lines = patterns.into_iter().map(str::trim).filter(|line| !line.is_empty()).map(Line::parse);
        Ok(Self { lines: lines.collect::<Result<_, _>>()? })
    }

    /// Whether a line may bring back what is below a folder that is left out.
    pub(crate) fn has_exceptions(&self) -> bool {
        self.lines.iter().any(|line| line.is_exception)
    }

    /// Decides on a path, knowing what matched the folder that it is in ([`Matched::default`] at the top):
    /// whether it is left out, and which lines matched.
    pub(crate) fn decide(&self, path: &str, above: &Matched) -> (bool, Matched) {
        let mut is_out = false;
        let mut matched = vec![false; self.lines.len()];
        for (at, line) in self.lines.iter().enumerate() {
            let inherited = above.0.get(at).copied().unwrap_or(false);
            // A line that could not change the outcome is not tried, as in Docker: what is below the path
            // then does not inherit it either.
            let is_tried = line.is_exception == is_out;
            matched[at] = inherited || (is_tried && line.pattern.matches(path));
            if matched[at] {
                is_out = !line.is_exception;
            }
        }
        (is_out, Matched(matched))
    }

    /// Whether a path is left out, looked at from the top.
    pub(crate) fn leaves_out(&self, path: &str) -> bool {
        let mut above = Matched::default();
        let mut is_out = false;
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends {
            (is_out, above) = self.decide(&path[..end], &above);
        }
        is_out
    }

    /// The line that leaves a path out, for people.
    pub(crate) fn line_that_leaves_out(&self, path: &str) -> Option<&str> {
        if !self.leaves_out(path) {
            return None;
        }
        let ends: Vec<usize> = path.match_indices('/').map(|(at, _)| at).chain([path.len()]).collect();
        let hits = |line: &&Line| ends.iter().any(|end| line.pattern.matches(&path[..*end]));
        self.lines.iter().rev().filter(|line| !line.is_exception).find(hits).map(|line| line.text.as_str())
    }
}

impl Line {
    fn parse(text: &str) -> Result<Self, BadPattern> {
        let (is_exception, wanted) = match text.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, text),
        };
        if wanted.is_empty() {
            return Err(BadPattern(text.to_owned()));
        }
        let cleaned = clean(wanted);
        let relative = match cleaned.strip_prefix('/') {
            Some(rest) if !rest.is_empty() => rest,
            _ => &cleaned,
        };
        let pattern = Pattern::parse(relative).map_err(|_| BadPattern(text.to_owned()))?;
        Ok(Self { is_exception, pattern, text: text.to_owned() })
    }
}

/// Go's `filepath.Clean`: no empty parts, no `.`, `..` resolved as far as it can be.
fn clean(path: &str) -> String {
    let is_rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if is_rooted => {}
            other => parts.push(other),
        }
    }
    let joined = parts.join("/");
    match (is_rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file, a path, whether it is left out.
    const CASES: &[(&str, &str, bool)] = &[
        ("", "a", false),
        ("# a\n\n  \n", "a", false),
        ("#a", "#a", false),
        (" #a", "#a", true),
        ("a", "a", true),
        ("a", "a/b", true),
        ("a", "b/a", false),
        ("/a", "a", true),
        ("/a", "b/a", false),
        ("a/", "a", true),
        ("a/", "a/b/c", true),
        ("./a//b/../c", "a/c", true),
        ("  a  \r\n", "a", true),
        ("\u{feff}a", "a", true),
        ("*.md\n!README.md", "README.md", false),
        ("*.md\n!README.md", "b.md", true),
        ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true),
        ("*.md\nREADME-secret.md\n!README*.md", "README-secret.md", false),
        ("*\n!src", "src/main.rs", false),
        ("*\n!src", "other/main.rs", true),
        ("*\n!src/keep", "src/keep/a", false),
        ("*\n!src/keep", "src/drop/a", true),
        ("*\n! src", "src/main.rs", false),
        ("node_modules", "packages/a/node_modules/b", false),
        ("**/node_modules", "packages/a/node_modules/b", true),
        ("**/node_modules", "node_modules/b", true),
        ("*/temp*", "somedir/temporary.txt", true),
        ("*/temp*", "somedir/subdir/temporary.txt", false),
        ("*/*/temp*", "somedir/subdir/temporary.txt", true),
        ("temp?", "tempa", true),
        ("temp?", "temp", false),
        ("a/*\n!a/b", "a/b/c", false),
        ("a\n!a/b\na/b/c", "a/b/c", true),
        ("a\n!a/b\na/b/c", "a/b/d", false),
        ("../a", "a", false),
        (".", "a", false),
        ("/", "a", false),
        ("**", "a/b", true),
        ("**\n!**/*.rs", "a/b.rs", false),
        ("**\n!**/*.rs", "a/b.c", true),
    ];

    #[test]
    fn decides_as_docker_does() {
        for (file, path, expected) in CASES {
            let ignore = DockerIgnore::parse(file).unwrap();
            assert_eq!(ignore.leaves_out(path), *expected, "{file:?} on {path:?}");
            assert_eq!(ignore.line_that_leaves_out(path).is_some(), *expected, "{file:?} on {path:?}");
        }
    }

    #[test]
    fn a_line_that_is_no_pattern_is_named() {
        for (file, line) in [("a\n[b\n", "[b"), ("!", "!"), ("!  ", "!"), ("a\\", "a\\"), ("!a[", "!a[")] {
            assert_eq!(DockerIgnore::parse(file), Err(BadPattern(line.into())), "{file:?}");
        }
    }

    #[test]
    fn paths_are_cleaned_as_go_does() {
        for (path, expected) in [
            ("", "."),
            ("a//b", "a/b"),
            ("a/./b/", "a/b"),
            ("/../a", "/a"),
            ("../../a", "../../a"),
            ("a/../..", ".."),
            ("/", "/"),
        ] {
            assert_eq!(clean(path), expected, "{path:?}");
        }
    }

    #[test]
    fn the_line_that_decided_is_named() {
        let ignore = DockerIgnore::parse("*.log\ndist\n!dist/keep\n").unwrap();
        assert_eq!(ignore.line_that_leaves_out("dist/app.js"), Some("dist"));
        assert_eq!(ignore.line_that_leaves_out("dist/keep/a"), None);
        assert_eq!(ignore.line_that_leaves_out("a.log"), Some("*.log"));
    }
}
