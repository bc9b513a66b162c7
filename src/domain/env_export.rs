//! A config as text for other programs, in the formats that Dokku's `config:export` knows. `env_import` reads
//! them back, byte for byte.

use std::{fmt, str::FromStr};

use serde_json::{Map, Value, json};

use crate::{env_map::EnvMap, names::Invalid, screen::Printable};

/// The shapes in which a config is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// `export NAME='value'`, a line each, for a shell to source.
    Exports,
    /// `NAME="value"`, a line each, as dotenv files are.
    Envfile,
    /// `--env=NAME='value' …` on one line, for a shell to hand to `docker run`.
    DockerArgs,
    /// `--env=NAME …`: the values stay in the environment of `docker run`.
    DockerArgsKeys,
    /// `NAME='value' …` on one line, to stand before a command.
    Shell,
    /// `NAME:  value` in columns, for people.
    Pretty,
    /// One JSON object.
    Json,
    /// A JSON list of objects with `name` and `value`.
    JsonList,
}

impl ExportFormat {
    /// Every format, in the order in which people are told of them.
    pub const ALL: [ExportFormat; 8] = [
        ExportFormat::Exports,
        ExportFormat::Envfile,
        ExportFormat::DockerArgs,
        ExportFormat::DockerArgsKeys,
        ExportFormat::Shell,
        ExportFormat::Pretty,
        ExportFormat::Json,
        ExportFormat::JsonList,
    ];

    /// Its name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            ExportFormat::Exports => "exports",
            ExportFormat::Envfile => "envfile",
            ExportFormat::DockerArgs => "docker-args",
            ExportFormat::DockerArgsKeys => "docker-args-keys",
            ExportFormat::Shell => "shell",
            ExportFormat::Pretty => "pretty",
            ExportFormat::Json => "json",
            ExportFormat::JsonList => "json-list",
        }
    }

    /// Writes a config. Text of several lines ends with a line end.
    ///
    /// # Errors
    /// JSON holds text only: a value that is not UTF-8 is refused, not bent.
    pub fn write(self, env: &EnvMap) -> Result<Vec<u8>, Invalid> {
        match self {
            ExportFormat::Exports => Ok(assignments(env, "export ", b"\n")),
            ExportFormat::Envfile => Ok(envfile(env)),
            ExportFormat::DockerArgs => Ok(assignments(env, "--env=", b" ")),
            ExportFormat::DockerArgsKeys => {
                let names: Vec<String> = env.iter().map(|(name, _)| format!("--env={name}")).collect();
                Ok(line(names.join(" ").into_bytes()))
            }
            ExportFormat::Shell => Ok(assignments(env, "", b" ")),
            ExportFormat::Pretty => Ok(pretty(env).into_bytes()),
            ExportFormat::Json => {
                let mut object = Map::new();
                for (name, value) in env.iter() {
                    object.insert(name.to_owned(), Value::from(text(name, value)?));
                }
                Ok(line(Value::Object(object).to_string().into_bytes()))
            }
            ExportFormat::JsonList => {
                let entry = |(name, value)| Ok(json!({ "name": name, "value": text(name, value)? }));
                let list = env.iter().map(entry).collect::<Result<Vec<Value>, Invalid>>()?;
                Ok(line(Value::Array(list).to_string().into_bytes()))
            }
        }
    }
}

impl FromStr for ExportFormat {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|format| format.name() == given);
        found.ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|format| format.name()).collect();
            Invalid::new("format", given, format!("choose one of {}", names.join(", ")))
        })
    }
}

impl fmt::Display for ExportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A value between single quotes, in which a shell takes every byte as it is but the quote itself.
pub fn single_quoted(value: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(value.len() + 2);
    quoted.push(b'\'');
    for byte in value {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\\''"),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

fn assignments(env: &EnvMap, prefix: &str, separator: &[u8]) -> Vec<u8> {
    let assign = |(name, value): (&str, &[u8])| {
        let mut assignment = format!("{prefix}{name}=").into_bytes();
        assignment.extend(single_quoted(value));
        assignment
    };
    line(env.iter().map(assign).collect::<Vec<_>>().join(separator))
}

/// With a line end, unless there is nothing.
fn line(mut text: Vec<u8>) -> Vec<u8> {
    if !text.is_empty() {
        text.push(b'\n');
    }
    text
}

/// Readers of dotenv files go line by line: an end of line inside a value is written as two letters.
fn envfile(env: &EnvMap) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in env.iter() {
        text.extend_from_slice(format!("{name}=\"").as_bytes());
        for byte in value {
            match byte {
                b'\n' => text.extend_from_slice(b"\\n"),
                b'\r' => text.extend_from_slice(b"\\r"),
                b'\\' | b'"' | b'$' | b'`' => text.extend_from_slice(&[b'\\', *byte]),
                byte => text.push(*byte),
            }
        }
        text.extend_from_slice(b"\"\n");
    }
    text
}

fn pretty(env: &EnvMap) -> String {
    let width = env.iter().map(|(name, _)| name.len() + 1).max().unwrap_or(0);
    let row = |(name, value): (&str, &[u8])| {
        let value = String::from_utf8_lossy(value);
        format!("{:width$}  {}\n", format!("{name}:"), Printable(&value))
    };
    env.iter().map(row).collect()
}

fn text(name: &str, value: &[u8]) -> Result<String, Invalid> {
    let why = "it is not UTF-8, which JSON cannot hold; choose --format exports or envfile";
    String::from_utf8(value.to_vec()).map_err(|_| Invalid::new("config value of", name, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &[u8])]) -> EnvMap {
        let mut env = EnvMap::new();
        for (name, value) in pairs {
            env.set(name, *value).unwrap();
        }
        env
    }

    fn written(format: ExportFormat, env: &EnvMap) -> String {
        String::from_utf8(format.write(env).unwrap()).unwrap()
    }

    #[test]
    fn the_shapes_are_those_that_scripts_expect() {
        let env = env(&[("A", b"it's \"$5\""), ("LONG", b"one\ntwo")]);
        let shapes = [
            (ExportFormat::Exports, "export A='it'\\''s \"$5\"'\nexport LONG='one\ntwo'\n"),
            (ExportFormat::Envfile, "A=\"it's \\\"\\$5\\\"\"\nLONG=\"one\\ntwo\"\n"),
            (ExportFormat::DockerArgs, "--env=A='it'\\''s \"$5\"' --env=LONG='one\ntwo'\n"),
            (ExportFormat::DockerArgsKeys, "--env=A --env=LONG\n"),
            (ExportFormat::Shell, "A='it'\\''s \"$5\"' LONG='one\ntwo'\n"),
            (ExportFormat::Pretty, "A:     it's \"$5\"\nLONG:  one\\u{a}two\n"),
            (ExportFormat::Json, "{\"A\":\"it's \\\"$5\\\"\",\"LONG\":\"one\\ntwo\"}\n"),
            (
                ExportFormat::JsonList,
                "[{\"name\":\"A\",\"value\":\"it's \\\"$5\\\"\"},{\"name\":\"LONG\",\"value\":\"one\\ntwo\"}]\n",
            ),
        ];
        for (format, expected) in shapes {
            assert_eq!(written(format, &env), expected, "{format}");
            assert_eq!(format.name().parse::<ExportFormat>().unwrap(), format);
        }
        assert!("yaml".parse::<ExportFormat>().is_err());
    }

    #[test]
    fn nothing_is_written_as_nothing() {
        for format in
            [ExportFormat::Exports, ExportFormat::Envfile, ExportFormat::Shell, ExportFormat::Pretty]
        {
            assert_eq!(written(format, &EnvMap::new()), "", "{format}");
        }
        assert_eq!(written(ExportFormat::Json, &EnvMap::new()), "{}\n");
        assert_eq!(written(ExportFormat::JsonList, &EnvMap::new()), "[]\n");
    }

    #[test]
    fn json_bends_no_bytes() {
        let env = env(&[("A", b"\xff\xfe")]);
        assert!(ExportFormat::Json.write(&env).is_err());
        assert!(ExportFormat::JsonList.write(&env).is_err());
        assert_eq!(ExportFormat::Exports.write(&env).unwrap(), b"export A='\xff\xfe'\n");
    }
}
