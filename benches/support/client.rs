//! The developer's side: a key pair, `git` and `ssh`. Nothing of this user's own settings has a part in it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

use super::{Result, process::SYSTEM_PATH};

/// A developer with one key.
pub(crate) struct Client {
    home: TempDir,
    key: PathBuf,
    /// The line of the `.pub` file.
    pub(crate) public_key: String,
}

impl Client {
    /// Makes the key.
    pub(crate) fn new() -> Result<Self> {
        let home = tempfile::Builder::new().prefix("autostack-bench-client-").tempdir()?;
        let key = home.path().join("id_ed25519");
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f"]).arg(&key);
        run(&mut keygen)?;
        let public_key = fs::read_to_string(key.with_extension("pub"))?;
        Ok(Self { home, key, public_key })
    }

    /// `git` in a folder.
    pub(crate) fn git(&self, folder: &Path) -> Command {
        let ssh = format!("ssh {}", self.ssh_options().join(" "));
        let mut git = Command::new("git");
        git.current_dir(folder)
            .env_clear()
            .env("PATH", SYSTEM_PATH)
            .env("HOME", self.home.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_SSH_COMMAND", ssh)
            .env("GIT_TERMINAL_PROMPT", "0")
            .args(["-c", "user.name=Bench", "-c", "user.email=bench@localhost", "-c", "gc.auto=0"])
            .args(["-c", "init.defaultBranch=main", "-c", "push.default=current"])
            .stdin(Stdio::null());
        git
    }

    /// `ssh` to a server, with a command for it.
    pub(crate) fn ssh(&self, server: SocketAddr, command: &[&str]) -> Command {
        self.ssh_as("git", server, command)
    }

    /// The same as a user of the server's.
    pub(crate) fn ssh_as(&self, user: &str, server: SocketAddr, command: &[&str]) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.env_clear().env("PATH", SYSTEM_PATH).env("HOME", self.home.path());
        ssh.args(self.ssh_options()).args(["-p", &server.port().to_string(), &format!("{user}@127.0.0.1")]);
        ssh.args(command).stdin(Stdio::null());
        ssh
    }

    fn ssh_options(&self) -> Vec<String> {
        let options = [
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "BatchMode=yes",
        ];
        let mut words = vec!["-F".to_owned(), "/dev/null".to_owned(), "-i".to_owned()];
        words.push(self.key.display().to_string());
        words.extend(options.iter().flat_map(|option| ["-o".to_owned(), (*option).to_owned()]));
        words
    }
}

/// Runs a program to its end; what it said is part of the failure.
pub(crate) fn run(command: &mut Command) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{program} does not start: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let (said, cried) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(format!("{program} {}: {}\n{said}{cried}", words.join(" "), output.status).into())
}
