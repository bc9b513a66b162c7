//! [`OwnEngine`]: a second dockerd, which a story may stop, kill and start again.
//!
//! It has its own socket, data, networks and containerd, and leaves the packet filter of the host alone: the engine of
//! this host and what runs there notice nothing. Its containers are reached by their addresses.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Mutex,
    thread,
    time::Duration,
};

use nix::{
    mount::{MntFlags, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use super::{
    agent::PATH,
    engine::{BUSYBOX, Docker},
    live, processes, wait,
};

/// How long it may take to come up or to go, on a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);
/// Engines at once; the default network of each is `10.N.255.0/24` from this N on.
const SLOTS: u16 = 16;
const FIRST_NETWORK: u16 = 200;
/// Who listens on the first port and what follows has the slot of that number; below the ports of the worlds.
const FIRST_GUARD: u16 = 20_900;

/// An engine of a story's own.
pub(crate) struct OwnEngine {
    folder: TempDir,
    docker: Docker,
    bridge: String,
    containerd: Child,
    dockerd: Mutex<Option<Child>>,
    _slot: TcpListener,
}

impl OwnEngine {
    /// Starts one that has the busybox image.
    pub(crate) fn start() -> Self {
        let (number, slot) = take_slot();
        let folder = tempfile::Builder::new().prefix("autostack-engine-").tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let networks = FIRST_NETWORK + number;
        let bridge = format!("asit{networks}");
        make_bridge(&bridge, networks);
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {:?}\n",
            path("containerd"),
            path("containerd-state"),
            path("containerd.sock"),
        );
        fs::write(folder.path().join("containerd.toml"), config).unwrap();
        let containerd = daemon(
            "containerd",
            &["--config", &path("containerd.toml")],
            &folder.path().join("containerd.log"),
        );
        let engine = Self {
            docker: Docker::at(&format!("unix://{}", path("docker.sock"))),
            folder,
            bridge,
            containerd,
            dockerd: Mutex::new(None),
            _slot: slot,
        };
        engine.start_again();
        let archive = engine.folder.path().join("busybox.tar");
        Docker::of_this_host().ok(&["save", "--output", &archive.display().to_string(), BUSYBOX]);
        engine.docker.ok(&["load", "--input", &archive.display().to_string()]);
        engine
    }

    /// Its client.
    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> &Path {
        Path::new(self.docker.host().trim_start_matches("unix://"))
    }

    /// Starts it on the data that it had, and waits until it answers.
    #[track_caller]
    pub(crate) fn start_again(&self) {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        // One that was killed has left it, and its number may be another's by now.
        let _was_there = fs::remove_file(self.folder.path().join("docker.pid"));
        let (data, exec) = (path("data"), path("exec"));
        let (pidfile, containerd) = (path("docker.pid"), path("containerd.sock"));
        let words = [
            ["--host", self.docker.host()],
            ["--data-root", &data],
            ["--exec-root", &exec],
            ["--pidfile", &pidfile],
            ["--containerd", &containerd],
            ["--bridge", &self.bridge],
        ]
        .concat();
        // No address pool of its own either: at its second start it would remove the default bridge, which is that of
        // the engine of this host.
        let quiet = ["--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"];
        let mut running = self.dockerd.lock().unwrap();
        assert!(running.is_none(), "it runs");
        *running = Some(daemon("dockerd", &[&words[..], &quiet].concat(), &self.log()));
        let child = running.as_mut().unwrap();
        wait::until("dockerd to answer", LIMIT, || {
            let ended = child.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "dockerd ended:\n{}",
                fs::read_to_string(self.log()).unwrap_or_default()
            );
            (self.docker.run(&["version"]).code == Some(0)).then_some(())
        });
    }

    /// Ends it in good order, and so its containers.
    #[track_caller]
    pub(crate) fn stop(&self) {
        let mut child = self.dockerd.lock().unwrap().take().expect("it runs");
        kill(pid(&child), Signal::SIGTERM).unwrap();
        wait::until("dockerd to end", LIMIT, || child.try_wait().unwrap());
    }

    /// Ends it in one of both ways.
    #[track_caller]
    pub(crate) fn go_away(&self, is_killed: bool) {
        if is_killed {
            self.kill9();
        } else {
            self.stop();
        }
    }

    /// Kills it without a word; its containers run on.
    pub(crate) fn kill9(&self) {
        let mut child = self.dockerd.lock().unwrap().take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn log(&self) -> std::path::PathBuf {
        self.folder.path().join("docker.log")
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- the engine's log\n{}", lines[lines.len().saturating_sub(15)..].join("\n"));
        }
        if let Some(mut dockerd) = self.dockerd.lock().unwrap().take() {
            // Removes the bridges of its networks, which only it knows.
            let containers = self.docker.run(&["ps", "--all", "--quiet"]).stdout;
            let rm: Vec<&str> =
                ["rm", "--force", "--volumes"].into_iter().chain(containers.split_whitespace()).collect();
            let _may_be_none = self.docker.run(&rm);
            let _may_be_none = self.docker.run(&["network", "prune", "--force"]);
            end(&mut dockerd);
        }
        end(&mut self.containerd);
        // Of a dockerd that was killed: what its containers were started by.
        processes::inside(self.folder.path()).iter().for_each(|process| process.signal(Signal::SIGKILL));
        unmount_below(self.folder.path());
        let _gone_already = live::run(ip(&["link", "del", &self.bridge]), b"");
    }
}

fn take_slot() -> (u16, TcpListener) {
    let take = |number| Some((number, TcpListener::bind((Ipv4Addr::LOCALHOST, FIRST_GUARD + number)).ok()?));
    (0..SLOTS).find_map(take).unwrap_or_else(|| panic!("{SLOTS} engines run already"))
}

/// Commands of a build run on the engine's default network, which it makes itself only with the packet filter in hand.
fn make_bridge(name: &str, networks: u16) {
    // Of a story that was killed.
    let _gone_already = live::run(ip(&["link", "del", name]), b"");
    live::run(ip(&["link", "add", "name", name, "type", "bridge"]), b"").ok();
    live::run(ip(&["addr", "add", &format!("10.{networks}.255.1/24"), "dev", name]), b"").ok();
    live::run(ip(&["link", "set", name, "up"]), b"").ok();
}

fn ip(words: &[&str]) -> Command {
    let mut ip = Command::new("busybox");
    ip.env_clear().env("PATH", PATH).arg("ip").args(words);
    ip
}

fn daemon(program: &str, words: &[&str], log: &Path) -> Child {
    let log = File::options().create(true).append(true).open(log).unwrap();
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).args(words).stdin(Stdio::null());
    command.stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().unwrap_or_else(|error| panic!("{program}: {error} (tests/run installs it)"))
}

fn end(child: &mut Child) {
    let _ended_already = kill(pid(child), Signal::SIGTERM);
    let end = std::time::Instant::now() + LIMIT;
    while matches!(child.try_wait(), Ok(None)) {
        if std::time::Instant::now() > end {
            let _ended_already = child.kill();
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn unmount_below(folder: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().rev().filter_map(|line| line.split(' ').nth(1));
    for point in points.filter(|point| Path::new(point).starts_with(folder)) {
        let _gone_already = umount2(point, MntFlags::MNT_DETACH);
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}
