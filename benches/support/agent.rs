//! `autostack serve` of this build, on loopback, with a fresh data directory.

use std::{
    fs::{self, File},
    io::Write,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use super::{
    Result,
    client::{Client, run},
    http,
    process::{SYSTEM_PATH, end, end_everything_in, free_address, last_lines, memory_bytes, wait_for},
};

const BINARY: &str = env!("CARGO_BIN_EXE_autostack");
const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(60);

/// A running agent. Dropping it stops it and its instances.
pub(crate) struct Agent {
    child: Child,
    folder: TempDir,
    config: PathBuf,
    /// The SSH door.
    pub(crate) ssh: SocketAddr,
    /// The proxy.
    pub(crate) http: SocketAddr,
}

impl Agent {
    /// Starts one that runs apps as processes and takes the client's key, and waits until it says that it is well.
    pub(crate) fn start(client: &Client) -> Result<Self> {
        Self::start_with(client, "process")
    }

    /// The same, with a `runtime.backend`.
    pub(crate) fn start_with(client: &Client, backend: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("autostack-bench-agent-").tempdir()?;
        let (ssh, http, api) = (free_address()?, free_address()?, free_address()?);
        let config = folder.path().join("autostack.toml");
        let data = folder.path().join("data");
        let settings = format!(
            "data_dir = \"{}\"\n[ssh]\nlisten = \"{ssh}\"\n[http]\nlisten = \"{http}\"\n[api]\nlisten = \"{api}\"\n\
             [runtime]\nbackend = \"{backend}\"\n",
            data.display()
        );
        fs::write(&config, settings)?;
        let log = File::create(folder.path().join("agent.log"))?;
        let child = Command::new(BINARY)
            .args(["serve", "--config"])
            .arg(&config)
            .env_clear()
            .env("PATH", SYSTEM_PATH)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut agent = Self { child, folder, config, ssh, http };
        agent.wait_until_well(api)?;
        agent.add_key(client)?;
        Ok(agent)
    }

    /// Where an app is pushed to.
    pub(crate) fn url(&self, app: &str) -> String {
        format!("ssh://git@127.0.0.1:{}/{app}", self.ssh.port())
    }

    /// A figure of its own memory, in bytes: `VmRSS`, `VmHWM`. Children have theirs.
    pub(crate) fn memory_bytes(&self, figure: &str) -> Result<u64> {
        memory_bytes(self.child.id(), figure)
    }

    fn wait_until_well(&mut self, api: SocketAddr) -> Result<()> {
        let log = self.folder.path().join("agent.log");
        let asked = wait_for("the agent's /health answers 200", START, Duration::from_millis(10), || {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(Err(format!("the agent ended: {status}")));
            }
            let answer = http::get(api, "localhost", "/health").ok()?;
            (answer.status == 200).then_some(Ok(()))
        });
        match asked {
            Ok(Ok(())) => Ok(()),
            Ok(Err(ended)) => Err(format!("{ended}\n{}", last_lines(&log, 20)?).into()),
            Err(late) => Err(format!("{late}\n{}", last_lines(&log, 20)?).into()),
        }
    }

    fn add_key(&self, client: &Client) -> Result<()> {
        let file = self.folder.path().join("client.pub");
        File::create(&file)?.write_all(client.public_key.as_bytes())?;
        let mut admin = Command::new(BINARY);
        admin.args(["admin", "--config"]).arg(&self.config).args(["key", "add", "bench"]);
        run(admin.env_clear().env("PATH", SYSTEM_PATH).stdin(File::open(&file)?))?;
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        end(&mut self.child, STOP);
        end_everything_in(self.folder.path());
    }
}
