//! The receive hooks: the scripts that git runs, and the words that a hook and the agent exchange.
//!
//! One connection carries one hook. The hook sends one [`HookRequest`]; the agent answers with any number of
//! [`HookReply::Line`] and one [`HookReply::Done`]. Each is one line of JSON.

use std::{
    fmt, fs,
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    str::FromStr,
};

use autostack_domain::{Invalid, Line, RefUpdate, limits};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::repository::write_beside;

/// How the name of every variable begins that the agent gives to a hook.
pub const ENV_PREFIX: &str = "AUTOSTACK_HOOK_";
/// The agent's own binary, which the scripts execute.
pub const ENV_BINARY: &str = "AUTOSTACK_HOOK_BINARY";
/// The agent's Unix socket.
pub const ENV_SOCKET: &str = "AUTOSTACK_HOOK_SOCKET";
/// The one-use token of this push.
pub const ENV_TOKEN: &str = "AUTOSTACK_HOOK_TOKEN";

/// Bytes of a token.
pub const TOKEN_BYTES_MAX: usize = 256;
/// Bytes of a request's line: 1,000 updates of at most 1 KiB and 32 push options that JSON may have
/// escaped to six times their size.
pub const REQUEST_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of a reply's line: a log line that JSON may have escaped to six times its size.
pub const REPLY_BYTES_MAX: usize = 128 * 1024;

/// Bytes that git may write on a hook's standard input: two ids and a name for each update.
const STDIN_BYTES_MAX: usize = limits::REF_UPDATES_PER_PUSH_MAX * 512;

const SCRIPTS: [(HookName, &str); 2] = [
    (HookName::PreReceive, include_str!("../../hooks/pre-receive")),
    (HookName::PostReceive, include_str!("../../hooks/post-receive")),
];

/// Which hook is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookName {
    /// Objects are in quarantine, no ref has moved; the answer decides.
    PreReceive,
    /// The refs have moved.
    PostReceive,
}

impl HookName {
    /// The name as git spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            HookName::PreReceive => "pre-receive",
            HookName::PostReceive => "post-receive",
        }
    }
}

impl fmt::Display for HookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for HookName {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        match given {
            "pre-receive" => Ok(HookName::PreReceive),
            "post-receive" => Ok(HookName::PostReceive),
            _ => Err(Invalid::new("hook", given, "expected pre-receive or post-receive")),
        }
    }
}

/// What a hook tells the agent.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRequest {
    /// Which hook it is.
    pub hook: HookName,
    /// The one-use token that the agent gave to this push.
    pub token: String,
    /// The refs of the push.
    pub updates: Vec<RefUpdate>,
    /// Where git keeps the objects of the push. Only in `pre-receive`, and not if none were sent.
    pub quarantine: Option<PathBuf>,
    /// What the pusher gave with `--push-option`.
    pub push_options: Vec<String>,
}

/// Never shows the token.
impl fmt::Debug for HookRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookRequest")
            .field("hook", &self.hook)
            .field("updates", &self.updates)
            .field("quarantine", &self.quarantine)
            .field("push_options", &self.push_options)
            .finish_non_exhaustive()
    }
}

/// What the agent tells a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookReply {
    /// A line for the pusher's screen.
    Line(Line),
    /// The end: whether git may go on.
    Done {
        /// The hook's exit code is 0 if so, else 1.
        accept: bool,
    },
}

/// The words of a hook do not hold together.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// Git did not start this program, or not for this agent.
    #[error("variable {name} is missing: this program is run by git, not by hand")]
    MissingVariable {
        /// Its name.
        name: &'static str,
    },
    /// The ref updates cannot be read from git.
    #[error("ref updates cannot be read from git")]
    Stdin(#[source] io::Error),
    /// A ref update or a push option that is not accepted.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// More than a push may carry.
    #[error("this push carries more than {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// A line of the socket that is too long.
    #[error("message of {bytes} bytes; the limit is {max} bytes")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// What it may have.
        max: usize,
    },
    /// A line of the socket that is not the JSON expected.
    #[error("message is not understood")]
    Json(#[from] serde_json::Error),
}

impl HookRequest {
    /// Puts the request together from what git gives a hook: its standard input, and variables by
    /// `variable`. Reads no more of `stdin` than a push may carry.
    pub fn from_hook(
        hook: HookName,
        stdin: impl Read,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, HookError> {
        let token = variable(ENV_TOKEN).ok_or(HookError::MissingVariable { name: ENV_TOKEN })?;
        let quarantine = match hook {
            HookName::PreReceive => variable("GIT_QUARANTINE_PATH").map(PathBuf::from),
            HookName::PostReceive => None,
        };
        let request = Self {
            hook,
            token,
            updates: read_updates(stdin)?,
            quarantine,
            push_options: read_push_options(&variable)?,
        };
        request.check()?;
        Ok(request)
    }

    /// The request as one line, with its line end.
    pub fn encode(&self) -> Result<Vec<u8>, HookError> {
        encode(self, REQUEST_BYTES_MAX)
    }

    /// Reads a line, with or without its line end, and holds it to every limit: the sender is believed in
    /// nothing.
    pub fn decode(line: &[u8]) -> Result<Self, HookError> {
        let request: Self = decode(line, REQUEST_BYTES_MAX)?;
        request.check()?;
        Ok(request)
    }

    fn check(&self) -> Result<(), HookError> {
        at_most(self.updates.len(), limits::REF_UPDATES_PER_PUSH_MAX, "ref updates")?;
        at_most(self.push_options.len(), limits::PUSH_OPTIONS_MAX, "push options")?;
        if self.token.is_empty() || self.token.len() > TOKEN_BYTES_MAX {
            return Err(Invalid::new("hook token", "", "its length is wrong").into());
        }
        match self.push_options.iter().find(|option| option.len() > limits::PUSH_OPTION_BYTES_MAX) {
            Some(long) => {
                let why = format!("{} bytes; the limit is {}", long.len(), limits::PUSH_OPTION_BYTES_MAX);
                Err(Invalid::new("push option", long, why).into())
            }
            None => Ok(()),
        }
    }
}

impl HookReply {
    /// The reply as one line, with its line end.
    pub fn encode(&self) -> Result<Vec<u8>, HookError> {
        encode(self, REPLY_BYTES_MAX)
    }

    /// Reads a line, with or without its line end.
    pub fn decode(line: &[u8]) -> Result<Self, HookError> {
        decode(line, REPLY_BYTES_MAX)
    }
}

fn encode(message: &impl Serialize, max: usize) -> Result<Vec<u8>, HookError> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    if line.len() > max { Err(HookError::TooLong { bytes: line.len(), max }) } else { Ok(line) }
}

fn decode<T: DeserializeOwned>(line: &[u8], max: usize) -> Result<T, HookError> {
    if line.len() > max {
        return Err(HookError::TooLong { bytes: line.len(), max });
    }
    Ok(serde_json::from_slice(line)?)
}

fn at_most(count: usize, max: usize, what: &'static str) -> Result<(), HookError> {
    if count > max { Err(HookError::TooMany { what, max }) } else { Ok(()) }
}

fn read_updates(stdin: impl Read) -> Result<Vec<RefUpdate>, HookError> {
    let mut given = Vec::new();
    stdin.take(STDIN_BYTES_MAX as u64 + 1).read_to_end(&mut given).map_err(HookError::Stdin)?;
    let too_many = HookError::TooMany { what: "ref updates", max: limits::REF_UPDATES_PER_PUSH_MAX };
    if given.len() > STDIN_BYTES_MAX {
        return Err(too_many);
    }
    let lines: Vec<&[u8]> = given.split(|b| *b == b'\n').filter(|line| !line.is_empty()).collect();
    if lines.len() > limits::REF_UPDATES_PER_PUSH_MAX {
        return Err(too_many);
    }
    lines.into_iter().map(|line| Ok(read_update(line)?)).collect()
}

fn read_update(line: &[u8]) -> Result<RefUpdate, Invalid> {
    match std::str::from_utf8(line) {
        Ok(text) => text.parse(),
        Err(_) => Err(Invalid::new("ref update", &String::from_utf8_lossy(line), "its name is not UTF-8")),
    }
}

fn read_push_options(variable: &impl Fn(&str) -> Option<String>) -> Result<Vec<String>, HookError> {
    let Some(count) = variable("GIT_PUSH_OPTION_COUNT") else { return Ok(Vec::new()) };
    let count: usize =
        count.parse().map_err(|_| Invalid::new("GIT_PUSH_OPTION_COUNT", &count, "expected a number"))?;
    at_most(count, limits::PUSH_OPTIONS_MAX, "push options")?;
    (0..count)
        .map(|number| {
            variable(&format!("GIT_PUSH_OPTION_{number}"))
                .ok_or(HookError::MissingVariable { name: "GIT_PUSH_OPTION_n" })
        })
        .collect()
}

/// Writes the hook scripts into `dir`, executable, unless they are there as they should be. Git finds them
/// by `core.hooksPath`, never inside a repository.
pub fn install_hooks(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    for (name, script) in SCRIPTS {
        let path = dir.join(name.as_str());
        let is_file = fs::symlink_metadata(&path)
            .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o777 == 0o755);
        if !is_file || fs::read(&path)? != script.as_bytes() {
            write_beside(&path, script.as_bytes(), 0o755)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    const ZERO: &str = "0000000000000000000000000000000000000000";
    const ONE: &str = "1111111111111111111111111111111111111111";

    fn variables(extra: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        let mut all = vec![(ENV_TOKEN.to_owned(), "token".to_owned())];
        all.extend(extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        move |wanted| all.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone())
    }

    #[test]
    fn a_request_is_put_together_from_what_git_gives() {
        let stdin = format!("{ZERO} {ONE} refs/heads/main\n{ONE} {ZERO} refs/heads/old\n");
        let env = variables(&[
            ("GIT_QUARANTINE_PATH", "/repos/shop.git/objects/tmp_objdir-incoming-x"),
            ("GIT_PUSH_OPTION_COUNT", "2"),
            ("GIT_PUSH_OPTION_0", "a=b"),
            ("GIT_PUSH_OPTION_1", ""),
        ]);
        let request = HookRequest::from_hook(HookName::PreReceive, stdin.as_bytes(), &env).unwrap();
        assert_eq!(request.updates.len(), 2);
        assert!(request.updates[1].new.is_null());
        assert_eq!(request.push_options, ["a=b", ""]);
        assert!(request.quarantine.is_some());
        let line = request.encode().unwrap();
        assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
        assert_eq!(HookRequest::decode(&line).unwrap(), request);
        assert!(!format!("{request:?}").contains("token"), "the token is not shown");

        let after = HookRequest::from_hook(HookName::PostReceive, stdin.as_bytes(), &env).unwrap();
        assert_eq!(after.quarantine, None);
    }

    #[test]
    fn replies_survive_the_socket() {
        for reply in [HookReply::Line(Line::step("a\nb\u{1b}")), HookReply::Done { accept: true }] {
            let line = reply.encode().unwrap();
            assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
            assert_eq!(HookReply::decode(&line).unwrap(), reply);
        }
        assert!(HookReply::decode(b"{\"done\":{}}").is_err());
        assert!(HookReply::decode(&vec![b' '; REPLY_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn more_than_a_push_may_carry_is_refused() {
        let read = |stdin: &str, extra: &[(&str, &str)]| {
            HookRequest::from_hook(HookName::PreReceive, stdin.as_bytes(), variables(extra))
        };
        let line = format!("{ZERO} {ONE} refs/heads/a\n");
        assert_eq!(read(&line.repeat(1_000), &[]).unwrap().updates.len(), 1_000);
        assert!(matches!(read(&line.repeat(1_001), &[]), Err(HookError::TooMany { .. })));
        assert!(matches!(read(&line.repeat(100_000), &[]), Err(HookError::TooMany { .. })));
        assert!(read("", &[("GIT_PUSH_OPTION_COUNT", "33")]).is_err());
        assert!(read("", &[("GIT_PUSH_OPTION_COUNT", "-1")]).is_err());
        assert!(read("", &[("GIT_PUSH_OPTION_COUNT", "1")]).is_err());
        let long = "x".repeat(limits::PUSH_OPTION_BYTES_MAX + 1);
        assert!(read("", &[("GIT_PUSH_OPTION_COUNT", "1"), ("GIT_PUSH_OPTION_0", &long)]).is_err());
        for bad in ["x", "0 1 refs/heads/a", &format!("{ZERO} {ONE} refs/heads/a..b")] {
            assert!(matches!(read(bad, &[]), Err(HookError::Invalid(_))), "{bad}");
        }
        let foreign = HookRequest::from_hook(HookName::PreReceive, &b""[..], |_| None);
        assert!(matches!(foreign, Err(HookError::MissingVariable { .. })));
    }

    #[test]
    fn hooks_are_installed_once_and_mended() {
        let dir = tempfile::tempdir().unwrap();
        let hooks = dir.path().join("hooks");
        install_hooks(&hooks).unwrap();
        let hook = hooks.join("pre-receive");
        let first = fs::metadata(&hook).unwrap();
        assert_eq!(first.permissions().mode() & 0o777, 0o755);
        install_hooks(&hooks).unwrap();
        assert_eq!(fs::metadata(&hook).unwrap().ino(), first.ino(), "left alone");
        fs::write(&hook, "#!/bin/sh\nexit 0\n").unwrap();
        install_hooks(&hooks).unwrap();
        assert_eq!(fs::read_to_string(&hook).unwrap(), SCRIPTS[0].1);
        assert_eq!(fs::read_dir(&hooks).unwrap().count(), 2, "nothing left beside");
        for (_, script) in SCRIPTS {
            assert_eq!(script.lines().count(), 3);
        }
    }
}
