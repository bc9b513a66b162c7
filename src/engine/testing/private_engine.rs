//! [`PrivateEngine`]: a second dockerd, which may be killed.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    mount::{MntFlags, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::{AgentMark, Engine, EngineHost};

/// How long it may take to answer.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long it may take to end in good order.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A dockerd on its own socket with its own data and in its own network, which leads nowhere. Ends when dropped,
/// its containers with it.
pub struct PrivateEngine {
    dir: TempDir,
    child: Option<Child>,
    arguments: Vec<String>,
}

impl PrivateEngine {
    /// Starts it and waits until it answers. More arguments may follow: `--host tcp://127.0.0.1:0`.
    ///
    /// # Panics
    /// When it is not installed, or does not come up.
    pub async fn start(arguments: &[&str]) -> Self {
        // Short, so that the sockets within fit: the paths of those are of 107 bytes at most.
        let dir = tempfile::Builder::new().prefix("as-engine").tempdir().unwrap();
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut engine = Self { dir, child: None, arguments };
        engine.start_again().await;
        engine
    }

    /// Where it listens.
    pub fn host(&self) -> EngineHost {
        EngineHost::Unix(self.path("docker.sock"))
    }

    /// Starts it once more on the same data.
    ///
    /// # Panics
    /// When it does not come up; with its log.
    pub async fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let path = |name: &str| self.path(name).display().to_string();
        // What the last one left is no sign of life.
        drop(fs::remove_file(self.path("docker.pid")));
        // In a network of its own: a second dockerd beside the first takes the bridge of that one over, or, told
        // to have none, removes it.
        let child = Command::new("unshare")
            .args(["--net", "--", "dockerd"])
            .args([
                "--host",
                &self.host().to_string(),
                "--data-root",
                &path("data"),
                "--exec-root",
                &path("exec"),
            ])
            .args(["--pidfile", &path("docker.pid"), "--iptables=false", "--ip6tables=false"])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("the test needs a container engine: apt-get install docker.io");
        self.child = Some(child);
        self.wait_for_answer().await;
    }

    /// Kills it as a crash would: no last words, containers stay behind.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        self.end_containerd();
    }

    /// Lets it end in good order.
    pub async fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        terminate(child.id());
        let deadline = Instant::now() + STOP_TIMEOUT;
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                drop(child.kill());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Freezes it (`true`) or lets it go on: a frozen engine takes connections and does not answer.
    pub fn freeze(&self, is_frozen: bool) {
        let signal = if is_frozen { Signal::SIGSTOP } else { Signal::SIGCONT };
        let child = self.child.as_ref().expect("it runs");
        kill(pid(child.id()), signal).unwrap();
    }

    async fn wait_for_answer(&mut self) {
        let engine = Engine::new(self.host(), AgentMark::random().unwrap());
        let deadline = Instant::now() + START_TIMEOUT;
        while engine.ping().await.is_err() {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "dockerd did not come up:\n{}",
                fs::read_to_string(self.path("log")).unwrap_or_default()
            );
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The containerd that it started is a child of its own. It ends with it, but a moment later, and as long as
    /// its process is there, dead or alive, the next dockerd takes it for its own.
    fn end_containerd(&self) {
        let file = self.path("exec/containerd/containerd.pid");
        let Some(id) = fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<u32>().ok()) else {
            return;
        };
        let deadline = std::time::Instant::now() + STOP_TIMEOUT;
        while std::time::Instant::now() < deadline {
            match fs::read(format!("/proc/{id}/cmdline")) {
                // It has ended, and its parent has not heard yet.
                Ok(command) if command.is_empty() => {}
                Ok(command) if self.is_named_in(&command) => terminate(id),
                // Its id is another's by now, or nobody's.
                Ok(_) | Err(_) => return,
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the containers that it left behind when it was killed for good.
    fn end_containers(&self) {
        for shim in processes().into_iter().filter(|id| self.is_ours(*id)) {
            let children =
                fs::read_to_string(format!("/proc/{shim}/task/{shim}/children")).unwrap_or_default();
            let children = children.split_ascii_whitespace().filter_map(|id| id.parse().ok());
            for id in children.chain([shim]) {
                let _may_have_ended = kill(pid(id), Signal::SIGKILL);
            }
        }
    }

    fn is_ours(&self, id: u32) -> bool {
        let command = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        command.windows(15).any(|word| word == b"containerd-shim") && self.is_named_in(&command)
    }

    fn is_named_in(&self, command: &[u8]) -> bool {
        String::from_utf8_lossy(command).contains(&*self.dir.path().to_string_lossy())
    }

    /// Lets go of the file systems of its containers, which keep the folder from being removed.
    fn unmount(&self) {
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        let ours = self.dir.path();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
        // What was mounted last lies on top.
        for point in points.filter(|point| point.starts_with(ours)).collect::<Vec<_>>().into_iter().rev() {
            let _may_be_gone = umount2(point, MntFlags::MNT_DETACH);
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _may_have_ended = kill(pid(child.id()), Signal::SIGCONT);
            terminate(child.id());
            let deadline = std::time::Instant::now() + STOP_TIMEOUT;
            while matches!(child.try_wait(), Ok(None)) && std::time::Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        self.kill();
        self.end_containers();
        self.unmount();
    }
}

fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn terminate(id: u32) {
    let _may_have_ended = kill(pid(id), Signal::SIGTERM);
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(id.try_into().unwrap())
}
