//! An artifact's `web` process, started as the runtime does, and asked.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use autostack_domain::ProcessType;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use super::launched;
use crate::{BuildPlan, Toolchains};

/// How long the slowest runtime may take to listen on a busy machine.
const LISTENS_WITHIN: Duration = Duration::from_secs(60);

/// A running `web` process; its whole group ends with this.
pub(super) struct Serving {
    child: Child,
    port: u16,
}

impl Serving {
    /// Starts `web` on a free port, and waits until it listens there.
    pub(super) fn start(artifact: &Path, plan: &BuildPlan, tools: &Toolchains) -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let home = artifact.join(".home");
        let web = plan.processes[&ProcessType::web()].as_deref().unwrap();
        let mut command = launched(artifact, plan, tools, web);
        command.env("PORT", port.to_string()).env("HOME", home).process_group(0);
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        let mut serving = Self { child, port };
        let deadline = Instant::now() + LISTENS_WITHIN;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let ended = serving.child.try_wait().unwrap();
            assert!(ended.is_none(), "{:?} ended: {ended:?}", plan.processes);
            assert!(Instant::now() < deadline, "{:?} does not listen", plan.processes);
            std::thread::sleep(Duration::from_millis(20));
        }
        serving
    }

    /// The status and the body of the answer for a path.
    pub(super) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(LISTENS_WITHIN)).unwrap();
        let request = format!("GET {path} HTTP/1.0\r\nhost: sample.test\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("{head:?}")), body.to_owned())
    }

    /// Asks everything that was started to end, as the runtime does, and waits for it.
    pub(super) fn ends_by_a_signal(mut self) {
        killpg(self.group(), Signal::SIGTERM).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let is_open = || TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok();
        while self.child.try_wait().unwrap().is_none() || is_open() {
            assert!(Instant::now() < deadline, "it does not hear SIGTERM");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn group(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may be gone already; a test that failed has said why.
        let _ = killpg(self.group(), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
