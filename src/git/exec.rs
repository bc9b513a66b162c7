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
        (true, "lfs-authenticate" | "lfs-transfer") => {
            return refuse(
                "Git LFS is not kept here; commit the files themselves: git lfs migrate export --everything --include='*'",
            );
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_that_clients_send_are_understood() {
        let paths = ["shop", "/shop", "shop.git", "/shop.git"];
        for path in paths {
            for command in [
                format!("git-receive-pack '{path}'"),
                format!("git receive-pack '{path}'"),
                format!("git-receive-pack {path}"),
            ] {
                let (service, app) = parse_exec(&command).unwrap().unwrap();
                assert_eq!((service, app.as_str()), (Service::ReceivePack, "shop"), "{command}");
            }
            let (service, _) = parse_exec(&format!("git-upload-pack '{path}'")).unwrap().unwrap();
            assert_eq!(service, Service::UploadPack);
        }
    }

    #[test]
    fn commands_of_the_platform_are_not_gits() {
        for command in
            ["", "apps:list", "gitignore", "digit", "logs git-receive-pack", " git-receive-pack 'shop'"]
        {
            assert!(parse_exec(command).is_none(), "{command:?}");
        }
    }

    #[test]
    fn c4_git_archive_is_refused_in_so_many_words() {
        let refused = parse_exec("git-upload-archive 'shop'").unwrap().unwrap_err();
        assert!(refused.why.contains("git archive is not offered"), "{refused}");
    }

    /// Paths that must never become an app.
    const HOSTILE_PATHS: [&str; 44] = [
        "",
        " ",
        ".",
        "..",
        "/",
        "//shop",
        "shop/",
        "/shop/..",
        "../shop",
        "../../etc",
        "a/../b",
        "/etc/passwd",
        "/var/lib/autostack/repos/shop.git",
        "~",
        "~/shop",
        "~root",
        "-shop",
        "--upload-pack=id",
        "-oProxyCommand=id",
        "--receive-pack=id",
        "shop;id",
        "shop|id",
        "shop&id",
        "$(id)",
        "`id`",
        "${IFS}",
        "shop\0",
        "shop\n",
        "shop\r",
        "\u{1b}[2J",
        "SHOP",
        "shöp",
        "ѕhop",
        "shop.git.git",
        "shop.GIT",
        ".git",
        "shop'",
        "'shop",
        "sh\\op",
        "shop!",
        "shop\"",
        "%2e%2e",
        "con",
        "shop\u{200b}",
    ];

    #[test]
    fn c4_two_hundred_hostile_commands_are_refused() {
        let mut commands = Vec::new();
        for path in HOSTILE_PATHS {
            commands.push(format!("git-receive-pack '{path}'"));
            commands.push(format!("git-upload-pack '{path}'"));
            commands.push(format!("git receive-pack {path}"));
            commands.push(format!("git upload-pack \"{path}\""));
        }
        for verb in [
            "git",
            "git ",
            "git-",
            "git-receive-pack ",
            "git-shell -c",
            "git-shell",
            "git --exec-path=/tmp",
            "git -c core.sshCommand=id receive-pack",
            "git --upload-pack=id",
            "git-receive-pack --help",
            "git-receive-pack  'a'",
            "git-receive-pack\t'a'",
            "git\treceive-pack",
            "git\nreceive-pack 'a'",
            "git-receive-pack\0",
            "git-http-backend",
            "git daemon",
            "git-upload-pack --strict",
            "git-receive-pack -- ",
            "git-receive-pack 'a' ",
            "git-receive-pack 'a' 'b' ",
            "git-upload-pack 'a';id #",
            "git-upload-archive",
            "git-RECEIVE-pack",
            "git_receive-pack",
            "git  receive-pack",
        ] {
            commands.push(format!("{verb} 'shop'"));
        }
        commands.push(format!("git-receive-pack '{}'", "a".repeat(64 * 1024)));
        commands.push(format!("git-receive-pack '{}'", "a".repeat(64)));
        assert!(commands.len() >= 200, "{}", commands.len());
        for command in commands {
            assert!(!matches!(parse_exec(&command), Some(Ok(_))), "{command:?}");
        }
    }
}
