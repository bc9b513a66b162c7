//! A config read from text: dotenv files, what a shell would source, JSON. Nothing is evaluated: `$NAME` and
//! `$(command)` are letters like any other.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{env_map::EnvMap, names::Invalid};

/// Reads a config from text in any of the formats of `env_export` that hold values, and dotenv files as people write
/// them: comments, `export`, values without quotes. Of a name that comes twice the last value counts.
///
/// # Errors
/// Says the line that cannot be read, and why.
pub fn parse(text: &[u8]) -> Result<EnvMap, Invalid> {
    match text.trim_ascii_start().first() {
        Some(b'{') => json_object(text),
        Some(b'[') => json_list(text),
        _ => Assignments { rest: text, line: 1 }.read(),
    }
}

fn json_object(text: &[u8]) -> Result<EnvMap, Invalid> {
    let values: BTreeMap<String, String> = serde_json::from_slice(text).map_err(|error| not_json(&error))?;
    collect(values)
}

fn json_list(text: &[u8]) -> Result<EnvMap, Invalid> {
    #[derive(Deserialize)]
    struct Variable {
        name: String,
        value: String,
    }
    let values: Vec<Variable> = serde_json::from_slice(text).map_err(|error| not_json(&error))?;
    collect(values.into_iter().map(|variable| (variable.name, variable.value)))
}

fn collect(values: impl IntoIterator<Item = (String, String)>) -> Result<EnvMap, Invalid> {
    let mut env = EnvMap::new();
    for (name, value) in values {
        env.set(&name, value)?;
    }
    Ok(env)
}

fn not_json(error: &serde_json::Error) -> Invalid {
    Invalid::new("config text", "JSON", format!("{error}; expected names with texts as values"))
}

/// `NAME=value`, one after the other.
struct Assignments<'a> {
    rest: &'a [u8],
    line: usize,
}

impl Assignments<'_> {
    fn read(mut self) -> Result<EnvMap, Invalid> {
        let mut env = EnvMap::new();
        loop {
            self.skip(|byte| byte.is_ascii_whitespace());
            match self.rest.first() {
                None => return Ok(env),
                Some(b'#') => self.skip(|byte| byte != b'\n'),
                Some(_) => {
                    let (name, value) = self.assignment()?;
                    env.set(&name, value)?;
                }
            }
        }
    }

    fn assignment(&mut self) -> Result<(String, Vec<u8>), Invalid> {
        for prefix in [&b"--env="[..], b"export "] {
            if self.rest.starts_with(prefix) {
                self.take(prefix.len());
                self.skip(|byte| byte == b' ');
            }
        }
        let end = self.rest.iter().position(|byte| matches!(byte, b'=' | b'\n')).unwrap_or(self.rest.len());
        if self.rest.get(end) != Some(&b'=') {
            return Err(self.refuse("expected NAME=VALUE"));
        }
        let name = String::from_utf8_lossy(self.take(end).trim_ascii()).into_owned();
        self.take(1);
        self.skip(|byte| matches!(byte, b' ' | b'\t'));
        let value = match self.rest.first() {
            Some(b'\'' | b'"') => self.quoted()?,
            _ => self.plain(),
        };
        Ok((name, value))
    }

    /// The rest of the line, without a comment.
    fn plain(&mut self) -> Vec<u8> {
        let end = self.rest.iter().position(|byte| *byte == b'\n').unwrap_or(self.rest.len());
        let line = self.take(end);
        let comment = (1..line.len()).find(|at| line[*at] == b'#' && line[at - 1].is_ascii_whitespace());
        line[..comment.unwrap_or(line.len())].trim_ascii().to_vec()
    }

    /// Quoted parts, one right after the other, as a shell joins them.
    fn quoted(&mut self) -> Result<Vec<u8>, Invalid> {
        let mut value = Vec::new();
        loop {
            match self.rest.first() {
                Some(b'\'') => {
                    self.take(1);
                    let end = self.rest.iter().position(|byte| *byte == b'\'');
                    let end = end.ok_or_else(|| self.refuse("a ' is not closed"))?;
                    value.extend_from_slice(self.take(end));
                    self.take(1);
                }
                Some(b'"') => {
                    self.take(1);
                    self.double_quoted(&mut value)?;
                }
                Some(b'\\') => {
                    self.take(1);
                    let taken = self.take(1);
                    if taken.is_empty() {
                        return Err(self.refuse("it ends with a backslash"));
                    }
                    value.extend_from_slice(taken);
                }
                None => return Ok(value),
                Some(byte) if byte.is_ascii_whitespace() => return Ok(value),
                Some(_) => return Err(self.refuse("a value goes on behind its closing quote")),
            }
        }
    }

    fn double_quoted(&mut self, value: &mut Vec<u8>) -> Result<(), Invalid> {
        loop {
            match self.take(1) {
                [] => return Err(self.refuse("a \" is not closed")),
                b"\"" => return Ok(()),
                b"\\" => match self.take(1) {
                    [] => return Err(self.refuse("a \" is not closed")),
                    b"n" => value.push(b'\n'),
                    b"r" => value.push(b'\r'),
                    [taken @ (b'"' | b'\\' | b'$' | b'`')] => value.push(*taken),
                    other => {
                        value.push(b'\\');
                        value.extend_from_slice(other);
                    }
                },
                plain => value.extend_from_slice(plain),
            }
        }
    }

    fn skip(&mut self, is_skipped: impl Fn(u8) -> bool) {
        let end = self.rest.iter().position(|byte| !is_skipped(*byte)).unwrap_or(self.rest.len());
        self.take(end);
    }
}

impl<'a> Assignments<'a> {
    /// As many bytes as are there, at most `count`.
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.line += taken.iter().filter(|byte| **byte == b'\n').count();
        self.rest = rest;
        taken
    }

    /// The text is not repeated: it may be a secret.
    fn refuse(&self, why: &str) -> Invalid {
        Invalid::new("config text", &format!("line {}", self.line), why)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;
    use crate::env_export::ExportFormat;

    fn read(text: &str) -> BTreeMap<String, String> {
        let env = parse(text.as_bytes()).unwrap();
        env.iter().map(|(name, value)| (name.into(), String::from_utf8(value.to_vec()).unwrap())).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn a_dotenv_file_as_people_write_it() {
        let text = "# comment\n\nexport A=1\nB = two words  # why\r\nC=\nD= 'x # y'\nE=\"a\\nb\\tc\" # yes\n\
                    F=$(id) `id` $HOME\nG=a#b\nA=2\nH=\"over\ntwo lines\"\n";
        let expected = [
            ("A", "2"),
            ("B", "two words"),
            ("C", ""),
            ("D", "x # y"),
            ("E", "a\nb\\tc"),
            ("F", "$(id) `id` $HOME"),
            ("G", "a#b"),
            ("H", "over\ntwo lines"),
        ];
        assert_eq!(read(text), pairs(&expected));
    }

    #[test]
    fn json_has_two_shapes() {
        assert_eq!(read(" {\"A\": \"1\", \"B\": \"x\\ny\"}"), pairs(&[("A", "1"), ("B", "x\ny")]));
        assert_eq!(read("[{\"name\": \"A\", \"value\": \"1\"}]"), pairs(&[("A", "1")]));
        assert_eq!(read("{}"), pairs(&[]));
    }

    #[test]
    fn what_cannot_be_read_names_its_line_and_repeats_no_secret() {
        for (text, line) in [
            ("A=1\nhunter2", "line 2"),
            ("A='hunter2", "line 1"),
            ("A=\"x\n\nhunter2", "line 3"),
            ("A='a'hunter2", "line 1"),
            ("{\"A\": 7}", "line 1"),
            ("{\"A\"", "line 1"),
            ("[{\"name\": \"A\"}]", "line 1"),
        ] {
            let refused = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(refused.contains(line) && !refused.contains("hunter2"), "{text:?}: {refused}");
        }
        assert!(parse(b"1A=x").is_err());
        assert!(parse(b"A=x\0y").is_err());
    }

    /// What a shell has in its environment after it was given this text.
    fn sh(script: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
        use std::io::Write;
        let mut shell = Command::new("/bin/sh");
        shell.env_clear().env("PATH", crate::env_map::SYSTEM_PATH);
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        shell.stdin.take().unwrap().write_all(script).unwrap();
        let output = shell.wait_with_output().unwrap();
        assert!(output.status.success());
        let split = |entry: &[u8]| {
            let at = entry.iter().position(|byte| *byte == b'=').unwrap();
            (entry[..at].to_vec(), entry[at + 1..].to_vec())
        };
        output.stdout.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()).map(split).collect()
    }

    fn any_config() -> impl Strategy<Value = EnvMap> {
        let hostile = prop_oneof![
            Just(b'\''),
            Just(b'"'),
            Just(b'\\'),
            Just(b'\n'),
            Just(b'\r'),
            Just(b'$'),
            Just(b'`'),
            Just(b'#'),
            Just(b' '),
            Just(b'='),
            Just(b'!'),
            Just(b'*'),
            1u8..=255,
        ];
        let value = proptest::collection::vec(hostile, 0..60);
        proptest::collection::btree_map("CFG_[A-Z0-9_]{0,8}", value, 0..6).prop_map(|values| {
            let mut env = EnvMap::new();
            for (name, value) in values {
                env.set(&name, value).unwrap();
            }
            env
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn what_is_written_is_read_back_byte_for_byte(env in any_config()) {
            for format in [
                ExportFormat::Exports, ExportFormat::Envfile, ExportFormat::DockerArgs, ExportFormat::Shell,
            ] {
                let text = format.write(&env).unwrap();
                prop_assert_eq!(&parse(&text).unwrap(), &env, "{}", format);
            }
        }

        #[test]
        fn json_is_read_back(values in proptest::collection::btree_map("[A-Z]{1,4}", "[^\0]{0,30}", 0..6)) {
            let env = collect(values).unwrap();
            for format in [ExportFormat::Json, ExportFormat::JsonList] {
                prop_assert_eq!(&parse(&format.write(&env).unwrap()).unwrap(), &env, "{}", format);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _read_or_refused = parse(&text);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn a_real_shell_reads_the_very_bytes(env in any_config()) {
            let wanted: BTreeMap<Vec<u8>, Vec<u8>> =
                env.iter().map(|(name, value)| (name.into(), value.to_vec())).collect();
            let mine = |found: BTreeMap<Vec<u8>, Vec<u8>>| -> BTreeMap<Vec<u8>, Vec<u8>> {
                found.into_iter().filter(|(name, _)| name.starts_with(b"CFG_")).collect()
            };
            let exports = ExportFormat::Exports.write(&env).unwrap();
            prop_assert_eq!(&mine(sh(&[&exports[..], b"env -0\n"].concat())), &wanted);
            let mut before_a_command = ExportFormat::Shell.write(&env).unwrap();
            before_a_command.pop();
            before_a_command.extend_from_slice(b" env -0\n");
            prop_assert_eq!(&mine(sh(&before_a_command)), &wanted);
        }
    }
}
