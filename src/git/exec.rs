//! The command line that an SSH client sends for git: exactly one service and one app, or refused.

use autostack_domain::{AppName, Invalid};

use crate::service::Service;

/// Longest command line that is looked at, in bytes; the longest good one has fewer than 100.
const BYTES_MAX: usize = 256;

/// Reads the command of an SSH exec request.
///
/// `None`: it is not git's at all, and may be a command of the platform. `Some(Err)`: it is git's, and is
/// refused. Accepted are `git-receive-pack` and `git-upload-pack` (also with a space after `git`) and one
/// argument, quoted as git quotes it or a bare word: `APP`, `/APP`, `APP.git`, `/APP.git`.
///
/// ```
/// # use autostack_git::{Service, parse_exec};
/// let (service, app) = parse_exec("git-receive-pack '/shop.git'").unwrap().unwrap();
/// assert_eq!((service, app.as_str()), (Service::ReceivePack, "shop"));
/// assert!(parse_exec("git-receive-pack '../etc'").unwrap().is_err());
/// assert!(parse_exec("apps:list").is_none());
/// ```
pub fn parse_exec(command: &str) -> Option<Result<(Service, AppName), Invalid>> {
    let rest = command.strip_prefix("git")?;
    match rest.bytes().next() {
        None | Some(b'-') => {}
        Some(b) if b.is_ascii_whitespace() || b.is_ascii_control() => {}
        Some(_) => return None,
    }
    Some(parse(command, rest))
}

fn parse(command: &str, rest: &str) -> Result<(Service, AppName), Invalid> {
    let refuse = |why: &str| Err(Invalid::new("git command", command, why));
    if command.len() > BYTES_MAX {
        return refuse("it is too long");
    }
    let (verb, argument) = match rest.get(1..).and_then(|words| words.split_once(' ')) {
        Some((verb, argument)) => (verb, argument),
        None => return refuse("expected git-receive-pack 'APP' or git-upload-pack 'APP'"),
    };
    let service = match (rest.starts_with(['-', ' ']), verb) {
        (true, "receive-pack") => Service::ReceivePack,
        (true, "upload-pack") => Service::UploadPack,
        (true, "upload-archive") => {
            return refuse("git archive is not offered here; use git clone --depth 1");
        }
        _ => return refuse("only git push, git fetch and git clone are offered"),
    };
    match unquote(argument) {
        Some(path) => Ok((service, app_of(path)?)),
        None => refuse("expected one app name, as in git-receive-pack 'APP'"),
    }
}

/// The one word of `argument`: in single quotes without another quote or escape inside, or bare.
fn unquote(argument: &str) -> Option<&str> {
    let quoted = argument.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    let word = quoted.unwrap_or(argument);
    let fits =
        word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/' | b'~'));
    (fits && !word.is_empty()).then_some(word)
}

fn app_of(path: &str) -> Result<AppName, Invalid> {
    let name = path.strip_prefix('/').unwrap_or(path);
    name.strip_suffix(".git").unwrap_or(name).parse()
}
