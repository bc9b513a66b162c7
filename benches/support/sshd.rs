//! The peer: OpenSSH's sshd, with bare repositories and nothing behind them.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use super::{
    Result,
    client::{Client, run},
    process::{SYSTEM_PATH, end, free_address, last_lines, wait_for},
};

const PROGRAM: &str = "/usr/sbin/sshd";

/// What the agent asks of git for each push: the fair peer checks the same.
pub(crate) const SAME_CHECKS: [(&str, &str); 4] = [
    ("receive.fsckObjects", "true"),
    ("transfer.unpackLimit", "1"),
    ("receive.autogc", "false"),
    ("receive.maxInputSize", "512m"),
];

/// A running sshd. Dropping it stops it.
pub(crate) struct Sshd {
    child: Child,
    folder: TempDir,
    user: String,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Sshd {
    /// Starts one that takes the client's key.
    pub(crate) fn start(client: &Client) -> Result<Self> {
        if !Path::new(PROGRAM).exists() {
            return Err(format!(
                "{PROGRAM} is not there: apt-get install openssh-server (no service is needed)"
            )
            .into());
        }
        let folder = tempfile::Builder::new().prefix("autostack-bench-sshd-").tempdir()?;
        let address = free_address()?;
        let key = folder.path().join("host_key");
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key))?;
        fs::write(folder.path().join("authorized_keys"), &client.public_key)?;
        let config = folder.path().join("sshd_config");
        fs::write(&config, settings(folder.path(), address))?;
        if nix::unistd::geteuid().is_root() {
            // Where a service would have made it: sshd as root does not start without.
            fs::create_dir_all("/run/sshd")?;
        }
        let log = folder.path().join("sshd.log");
        let mut child = Command::new(PROGRAM)
            .args(["-D", "-E"])
            .arg(&log)
            .arg("-f")
            .arg(&config)
            .env_clear()
            .env("PATH", SYSTEM_PATH)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let opened = wait_for("sshd accepts", Duration::from_secs(10), Duration::from_millis(5), || {
            let has_ended = matches!(child.try_wait(), Ok(Some(_)));
            (has_ended || TcpStream::connect(address).is_ok()).then_some(!has_ended)
        });
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid())?.ok_or("this user has no name")?.name;
        let sshd = Self { child, folder, user, address };
        match opened {
            Ok(true) => Ok(sshd),
            Ok(false) | Err(_) => Err(format!("sshd does not start\n{}", last_lines(&log, 20)?).into()),
        }
    }

    /// Makes a bare repository with these settings and returns its URL.
    pub(crate) fn repository(
        &self,
        client: &Client,
        name: &str,
        settings: &[(&str, &str)],
    ) -> Result<String> {
        let path = self.path(name);
        run(client.git(self.folder.path()).args(["init", "-q", "--bare"]).arg(&path))?;
        for (key, value) in settings {
            run(client.git(&path).args(["config", key, value]))?;
        }
        Ok(format!("ssh://{}@127.0.0.1:{}{}", self.user, self.address.port(), path.display()))
    }

    /// `ssh` to it, with a command for it.
    pub(crate) fn ssh(&self, client: &Client, command: &[&str]) -> Command {
        client.ssh_as(&self.user, self.address, command)
    }

    /// Removes a repository.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        Ok(fs::remove_dir_all(self.path(name))?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.git"))
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        end(&mut self.child, Duration::from_secs(5));
    }
}

/// What a distribution's sshd has, but for what needs a service or would slow it down for nothing: looking up
/// names, a greeting, and this user's own .bashrc, which bash reads for sshd unless it believes to be nested.
fn settings(folder: &Path, address: SocketAddr) -> String {
    let (folder, port) = (folder.display(), address.port());
    format!(
        "ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host_key\nAuthorizedKeysFile {folder}/authorized_keys\n\
         PidFile none\nStrictModes no\nUsePAM no\nUseDNS no\nPasswordAuthentication no\nPermitRootLogin yes\n\
         MaxStartups 200:30:400\nPrintMotd no\nSetEnv SHLVL=2\nLogLevel ERROR\n"
    )
}
