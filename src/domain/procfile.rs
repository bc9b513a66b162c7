//! The Procfile: one process type a line, `web: node server.js`.
//!
//! Read as Heroku and Dokku read it (blank lines and lines that start with `#` are skipped, CRLF and a byte
//! order mark are accepted), but where they skip a line that they do not understand, this says which one:
//! a worker that silently never starts is found too late.

use std::collections::BTreeMap;

use crate::{
    limits,
    names::{Invalid, ProcessType},
};

/// Command line of each process type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Procfile(pub BTreeMap<ProcessType, String>);

/// Reads a Procfile. The refusal's `given` is the line, its `why` begins with the line number.
pub fn parse(text: &[u8]) -> Result<Procfile, Invalid> {
    if text.len() > limits::PROCFILE_BYTES_MAX {
        let why = format!("it has {} bytes; the limit is {} bytes", text.len(), limits::PROCFILE_BYTES_MAX);
        return Err(Invalid::new("Procfile", "", why));
    }
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let text = std::str::from_utf8(text).map_err(|error| not_utf8(text, &error))?;

    let mut processes = BTreeMap::new();
    let mut lines_of = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (process, command) =
            parse_line(line).map_err(|why| Invalid::new("Procfile", line, format!("line {number} {why}")))?;
        if let Some(first) = lines_of.insert(process.clone(), number) {
            let why = format!("line {number} defines {process} again; line {first} already does");
            return Err(Invalid::new("Procfile", line, why));
        }
        processes.insert(process, command.to_owned());
        if processes.len() > limits::PROCESS_TYPES_MAX {
            let why = format!("line {number} is process type {}; the limit is {}", processes.len(), {
                limits::PROCESS_TYPES_MAX
            });
            return Err(Invalid::new("Procfile", line, why));
        }
    }
    Ok(Procfile(processes))
}

/// One trimmed line that is neither blank nor a comment; an error goes on from `line 3 …`.
fn parse_line(line: &str) -> Result<(ProcessType, &str), String> {
    if is_merge_conflict_marker(line) {
        return Err("is a merge-conflict marker; resolve the conflict and commit the result".into());
    }
    let Some((name, command)) = line.split_once(':') else {
        return Err("has no colon; write it as `web: command`".into());
    };
    let process = name.trim_end().parse::<ProcessType>().map_err(|refused| {
        format!("names a process type {:?} that is not valid: {}", refused.given, refused.why)
    })?;
    let command = command.trim();
    if command.is_empty() {
        return Err(format!("has no command after `{process}:`"));
    }
    if command.contains('\0') {
        return Err("holds a NUL byte".into());
    }
    Ok((process, command))
}

/// Git writes seven of one character, then the end of the line or a space and a label.
fn is_merge_conflict_marker(line: &str) -> bool {
    ["<<<<<<<", "=======", ">>>>>>>", "|||||||"].iter().any(|marker| {
        line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
    })
}

fn not_utf8(text: &[u8], error: &std::str::Utf8Error) -> Invalid {
    let line = 1 + text[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
    Invalid::new("Procfile", "", format!("line {line} is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn commands(text: &str) -> Vec<(String, String)> {
        parse(text.as_bytes()).unwrap().0.into_iter().map(|(name, line)| (name.into(), line)).collect()
    }

    fn refusal(text: &[u8]) -> String {
        parse(text).unwrap_err().why
    }

    #[test]
    fn comments_blank_lines_crlf_and_a_byte_order_mark_are_accepted() {
        let text =
            "\u{feff}# all of it\r\n\r\nweb: node server.js --url=http://x:1\r\n  worker :python3 w.py  \r\n";
        let expected = [("web", "node server.js --url=http://x:1"), ("worker", "python3 w.py")];
        assert_eq!(commands(text), expected.map(|(name, line)| (name.to_owned(), line.to_owned())));
        assert_eq!(commands(""), []);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        assert_eq!(
            refusal(b"web: a\n<<<<<<< HEAD\nworker: b\n=======\n"),
            "line 2 is a merge-conflict marker; resolve the conflict and commit the result"
        );
        assert_eq!(refusal(b"web: a\n\nweb: b\n"), "line 3 defines web again; line 1 already does");
        assert_eq!(refusal(b"web: a\nnode server.js\n"), "line 2 has no colon; write it as `web: command`");
        assert_eq!(refusal(b"web:  \n"), "line 1 has no command after `web:`");
        assert_eq!(refusal(b"web: a\nworker: \xff\n"), "line 2 is not UTF-8 text");
        assert_eq!(refusal(b"web: a\0b\n"), "line 1 holds a NUL byte");
        assert!(
            refusal(b"my app: x\n").starts_with("line 1 names a process type \"my app\" that is not valid")
        );
        assert!(refusal(b"../x: y\n").starts_with("line 1 names a process type"));
    }

    #[test]
    fn equals_signs_of_a_heading_are_no_conflict_marker_unless_git_wrote_them() {
        assert_eq!(commands("# ======= processes\nweb: a"), [("web".to_owned(), "a".to_owned())]);
        assert!(refusal(b"========\n").contains("no colon"));
    }

    #[test]
    fn limits_hold() {
        let long = "x".repeat(limits::PROCFILE_BYTES_MAX + 1);
        assert!(refusal(long.as_bytes()).contains("the limit is 65536 bytes"));
        let many: String = (0..=limits::PROCESS_TYPES_MAX).map(|n| format!("p{n}: x\n")).collect();
        assert_eq!(refusal(many.as_bytes()), "line 65 is process type 65; the limit is 64");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&text);
        }

        #[test]
        fn a_command_is_kept_as_it_was_written(command in "[!-~][ -~]{0,60}[!-~]") {
            let read = parse(format!("web: {command}\n").as_bytes()).unwrap();
            prop_assert_eq!(read.0.get(&ProcessType::web()), Some(&command));
        }
    }
}
