//! The lines of a Dockerfile → instructions, as BuildKit's own parser takes them apart.

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instruction {
    /// The line that it starts on, from 1.
    pub(crate) line: usize,
    /// In capitals: `FROM`.
    pub(crate) name: String,
    /// Words that start with `--` before the arguments, as written: `--from=build`.
    pub(crate) flags: Vec<String>,
    /// Everything behind them, on one line, without blanks at either end and without here-documents.
    pub(crate) arguments: String,
}

/// A whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parsed {
    /// The image that `# syntax=` names.
    pub(crate) syntax: Option<String>,
    /// The character of `# escape=`.
    pub(crate) escape: char,
    /// In the order of the file.
    pub(crate) instructions: Vec<Instruction>,
}

/// Why a file is no Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub(crate) struct BadDockerfile {
    /// The line, from 1.
    pub(crate) line: usize,
    /// What is wrong with it.
    pub(crate) why: String,
}

const KNOWN: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];
/// Instructions whose arguments may hold here-documents.
const WITH_HEREDOCS: [&str; 3] = ["ADD", "COPY", "RUN"];
/// The front end that knows no other instructions than these.
const OFFICIAL_SYNTAX: &str = "docker/dockerfile";

impl BadDockerfile {
    pub(crate) fn new(line: usize, why: impl Into<String>) -> Self {
        Self { line, why: why.into() }
    }
}

/// Takes a Dockerfile apart. Instructions of other front ends are let pass where `# syntax=` names one.
pub(crate) fn parse(text: &str) -> Result<Parsed, BadDockerfile> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = Lines { lines: text.lines().collect(), at: 0 };
    let (syntax, escape) = directives(&lines)?;
    let is_official = |image: &str| {
        image.trim_start_matches("docker.io/").split([':', '@', '-']).next() == Some(OFFICIAL_SYNTAX)
    };
    let is_open = syntax.as_deref().is_some_and(|image| !is_official(image));
    let mut instructions = Vec::new();
    while let Some((line, whole)) = lines.logical(escape) {
        let (name, rest) = whole.split_once(|c: char| c.is_whitespace()).unwrap_or((&whole, ""));
        let name = name.to_ascii_uppercase();
        if !KNOWN.contains(&name.as_str()) && !is_open {
            return Err(BadDockerfile::new(line, format!("unknown instruction: {name}")));
        }
        if rest.trim().is_empty() && !is_open {
            return Err(BadDockerfile::new(line, format!("{name} needs at least one argument")));
        }
        if WITH_HEREDOCS.contains(&name.as_str()) {
            lines.skip_heredocs(line, rest)?;
        }
        let (flags, arguments) = split_flags(rest);
        instructions.push(Instruction { line, name, flags, arguments });
    }
    if instructions.is_empty() {
        return Err(BadDockerfile::new(1, "it holds no instruction"));
    }
    Ok(Parsed { syntax, escape, instructions })
}

/// `# syntax=` and `# escape=` at the very top.
fn directives(lines: &Lines) -> Result<(Option<String>, char), BadDockerfile> {
    let (mut syntax, mut escape) = (None, '\\');
    for (at, line) in lines.lines.iter().enumerate() {
        let comment = line.trim().strip_prefix('#').map(str::trim);
        let Some((key, value)) = comment.and_then(|text| text.split_once('=')) else { break };
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "syntax" => syntax = value.split_ascii_whitespace().next().map(str::to_owned),
            "escape" => {
                escape = match value {
                    "\\" => '\\',
                    "`" => '`',
                    _ => return Err(BadDockerfile::new(at + 1, "escape must be \\ or `")),
                };
            }
            "check" => {}
            _ => break,
        }
    }
    Ok((syntax, escape))
}

/// `--mount=type=cache,target=/x npm ci` → its flags and the rest.
fn split_flags(text: &str) -> (Vec<String>, String) {
    let mut rest = text.trim();
    let mut flags = Vec::new();
    while rest.starts_with("--") {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        // A bare `--` ends them.
        if end == 2 {
            rest = rest[end..].trim_start();
            break;
        }
        flags.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    (flags, rest.to_owned())
}

struct Lines<'a> {
    lines: Vec<&'a str>,
    at: usize,
}

impl Lines<'_> {
    /// The next instruction with its continuation lines, and the line that it starts on.
    fn logical(&mut self, escape: char) -> Option<(usize, String)> {
        let mut whole = String::new();
        let mut start = None;
        while let Some(line) = self.lines.get(self.at).copied() {
            self.at += 1;
            let text = line.trim_start();
            // Comments and empty lines are left out, within an instruction too.
            if text.starts_with('#') || text.trim().is_empty() {
                continue;
            }
            let text = if start.is_none() { text } else { line };
            start.get_or_insert(self.at);
            match continued(text, escape) {
                Some(head) => whole.push_str(head),
                None => {
                    whole.push_str(text);
                    break;
                }
            }
        }
        start.map(|line| (line, whole.trim().to_owned()))
    }

    /// Passes the here-documents that the arguments begin.
    fn skip_heredocs(&mut self, line: usize, arguments: &str) -> Result<(), BadDockerfile> {
        for (name, strips_tabs) in heredocs(arguments) {
            let is_end = |text: &str| {
                let text = if strips_tabs { text.trim_start_matches('\t') } else { text };
                text.trim_end_matches('\r') == name
            };
            let length = self.lines[self.at..].iter().position(|text| is_end(text));
            let length = length.ok_or_else(|| BadDockerfile::new(line, format!("<<{name} has no end")))?;
            self.at += length + 1;
        }
        Ok(())
    }
}

/// The line without the character at its end that continues it.
fn continued(line: &str, escape: char) -> Option<&str> {
    let head = line.trim_end_matches([' ', '\t', '\r']).strip_suffix(escape)?;
    // An escaped one is a character of the last word.
    (!head.ends_with(escape)).then_some(head)
}

/// Names of the here-documents, `<<EOF` and `<<-"EOF"`, outside of quotes.
fn heredocs(arguments: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    for word in words_outside_quotes(arguments) {
        let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
        let Some(rest) = rest.strip_prefix("<<").filter(|rest| !rest.starts_with('<')) else { continue };
        let (strips_tabs, name) = match rest.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, rest),
        };
        let name = name.trim_matches(['"', '\'']);
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        if !name.is_empty() && is_name {
            found.push((name.to_owned(), strips_tabs));
        }
    }
    found
}

/// Words that do not start within quotes.
fn words_outside_quotes(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, c) if c.is_whitespace() => {
                words.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(word) = words.last_mut() {
            word.push(c);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<(usize, String, String)> {
        let parsed = parse(text).unwrap_or_else(|bad| panic!("{bad}\n{text}"));
        parsed.instructions.into_iter().map(|it| (it.line, it.name, it.arguments)).collect()
    }

    fn refusal(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn lines_are_continued_past_comments_and_blanks() {
        let text =
            "\u{feff}# hello\n\nfrom a\r\nRUN one \\\n# why\n\n   two \\ \n three\nCMD x\\\\\nUSER me\n";
        assert_eq!(
            names(text),
            [
                (3, "FROM".into(), "a".into()),
                (4, "RUN".into(), "one    two  three".into()),
                (9, "CMD".into(), "x\\\\".into()),
                (10, "USER".into(), "me".into()),
            ]
        );
    }

    #[test]
    fn directives_stand_at_the_top() {
        let parsed = parse("# syntax = docker/dockerfile:1\n# escape=`\nFROM a\nRUN b `\n c\\\n").unwrap();
        assert_eq!((parsed.syntax.as_deref(), parsed.escape), (Some("docker/dockerfile:1"), '`'));
        assert_eq!(parsed.instructions[1].arguments, "b  c\\");
        assert_eq!(parse("# first\n# syntax=x\nFROM a\n").unwrap().syntax, None);
        assert_eq!(refusal("# escape=/\nFROM a\n"), "line 1: escape must be \\ or `");
    }

    #[test]
    fn here_documents_are_no_instructions() {
        let text = "FROM a\nRUN <<EOF\nFORM b\nEOF\nCOPY <<-'A' <<B /x/\nfoo\n\tA\nbar\nB\nRUN echo $((1<<2)) '<<C'\nCMD d\n";
        let found: Vec<String> = names(text).into_iter().map(|(_, name, _)| name).collect();
        assert_eq!(found, ["FROM", "RUN", "COPY", "RUN", "CMD"]);
        assert_eq!(refusal("FROM a\nRUN <<EOF\nx\n"), "line 2: <<EOF has no end");
    }

    #[test]
    fn flags_stand_before_the_arguments() {
        let parsed =
            parse("FROM --platform=linux/amd64 a\nRUN --mount=type=cache,target=/x --network=none y --z\n");
        let run = parsed.unwrap().instructions.remove(1);
        assert_eq!(run.flags, ["--mount=type=cache,target=/x", "--network=none"]);
        assert_eq!(run.arguments, "y --z");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        assert_eq!(refusal("FROM a\n\nFORM b\n"), "line 3: unknown instruction: FORM");
        assert_eq!(refusal("FROM a\nCMD\n"), "line 2: CMD needs at least one argument");
        assert_eq!(refusal("# nothing\n"), "line 1: it holds no instruction");
        assert!(parse("# syntax=example.com/own:1\nINCLUDE x\n").is_ok());
        assert!(parse("# syntax=docker.io/docker/dockerfile:1\nINCLUDE x\n").is_err());
    }
}
