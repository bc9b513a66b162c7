//! A server with scripted commands, and OpenSSH's own client against it.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Output as Ended, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use autostack_base::tasks::{Shutdown, Tasks};
use autostack_domain::{Line, account::Reach, permission::Actor};
use bytes::Bytes;
use tokio::{net::TcpListener, process::Command, time::timeout};

use crate::{
    host_key::HostKey,
    limits::Limits,
    overflow::MakeFile,
    pump::{self, To},
    server::Acceptor,
    service::{Call, Service, Unavailable},
};

/// Longer than anything here should take, on a machine with other things to do.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// What scripted commands have seen.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<Vec<String>>);

impl Seen {
    pub(crate) fn note(&self, what: &str) {
        self.0.lock().unwrap().push(what.to_owned());
    }

    pub(crate) fn has(&self, what: &str) -> bool {
        self.0.lock().unwrap().iter().any(|seen| seen == what)
    }

    /// Waits until a command has noted it.
    pub(crate) async fn wait_for(&self, what: &str) {
        wait_until(what, || self.has(what)).await;
    }
}

/// Looks again until it is so.
pub(crate) async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let look = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, look).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}

pub(crate) struct Scripted {
    keys: HashMap<String, Actor>,
    pub(crate) seen: Arc<Seen>,
}

impl Service for Scripted {
    async fn authenticate(&self, fingerprint: &str) -> Result<Option<Actor>, Unavailable> {
        if self.seen.has("keys are out of reach") {
            return Err(Unavailable);
        }
        Ok(self.keys.get(fingerprint).cloned())
    }

    fn takes_keys(&self, command: Option<&str>) -> bool {
        command.is_some_and(|command| command.starts_with("keys"))
    }

    fn overflow(&self, command: Option<&str>) -> Option<MakeFile> {
        command
            .filter(|command| command.starts_with("child"))
            .map(|_| Box::new(tempfile::tempfile) as MakeFile)
    }

    async fn run(&self, call: Call) -> u8 {
        let Call { output, command, gone, mut input, .. } = call;
        let Some(command) = command else {
            output.text("hello\n").await.unwrap();
            return 0;
        };
        match command.split_once(' ').unwrap_or((&command, "")) {
            ("say", text) => output.text(&format!("{text}\n")).await.unwrap(),
            ("whoami", _) => output.text(&format!("{}\n", call.actor.name)).await.unwrap(),
            ("exit", code) => return code.parse().unwrap(),
            ("trouble", text) => output.line(&Line::trouble(text)).await.unwrap(),
            ("variable", name) => {
                let value = call.environment.get(name).unwrap_or("(unset)");
                output.text(&format!("{value}\n")).await.unwrap();
            }
            ("refusals", _) => output.text(&format!("{:?}\n", call.refusals)).await.unwrap(),
            ("panic", _) => panic!("on purpose"),
            ("count", _) => {
                let mut bytes = 0;
                while let Some(chunk) = input.next().await {
                    bytes += chunk.as_ref().len();
                }
                output.text(&format!("{bytes}\n")).await.unwrap();
            }
            ("ignore-input", _) => {
                drop(input);
                self.seen.note("ignoring");
                // Ends when the whole of the client's input has been thrown away, or at its leave.
                output.text("done\n").await.unwrap();
            }
            ("keep-input-unread", _) => {
                self.seen.note("holding");
                gone.cancelled().await;
                self.seen.note("let go");
                drop(input);
                return 3;
            }
            ("child", program) => return child(program, input, &output).await,
            ("send", bytes) => {
                let chunk = Bytes::from(vec![b'x'; 1024 * 1024]);
                for _ in 0..bytes.parse::<u64>().unwrap() / 1024 / 1024 {
                    if output.stdout(chunk.clone()).await.is_err() {
                        self.seen.note("nobody listens");
                        return 4;
                    }
                }
            }
            ("until-gone", _) => {
                output.text("waiting\n").await.unwrap();
                gone.cancelled().await;
                self.seen.note("gone");
            }
            ("until-stopping", _) => {
                output.text("waiting\n").await.unwrap();
                call.stopping.cancelled().await;
                output.text("stopped in order\n").await.unwrap();
            }
            (other, _) => {
                output.line(&Line::trouble(format!("unknown: {other}"))).await.unwrap();
                return 10;
            }
        }
        0
    }
}

async fn child(program: &str, input: pump::Intake, output: &crate::output::Output) -> u8 {
    let mut words = program.split(' ');
    let mut child = Command::new(words.next().unwrap());
    child.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let fill = pump::fill(child.stdin.take().unwrap(), input);
    let stdout = pump::drain(child.stdout.take().unwrap(), output, To::Stdout);
    let stderr = pump::drain(child.stderr.take().unwrap(), output, To::Stderr);
    let (_, stdout, stderr) = tokio::join!(fill, stdout, stderr);
    stdout.and(stderr).unwrap();
    u8::try_from(child.wait().await.unwrap().code().unwrap()).unwrap()
}

/// A running server, and the keys of its users.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    pub(crate) tasks: Tasks,
    pub(crate) stopping: Shutdown,
    pub(crate) serving: Option<tokio::task::JoinHandle<()>>,
    dir: tempfile::TempDir,
}

impl World {
    /// A server that knows the keys `ada` (an admin) and `bob`, and does not know `eve`.
    pub(crate) async fn new(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut keys = HashMap::new();
        for (at, name) in ["ada", "bob", "eve"].into_iter().enumerate() {
            let fingerprint = make_key(&dir.path().join(name), "ed25519").await;
            let user = format!("00000000-0000-0000-0000-00000000000{at}").parse().unwrap();
            if name != "eve" {
                keys.insert(
                    fingerprint,
                    Actor {
                        user,
                        is_admin: name == "ada",
                        name: name.into(),
                        from: None,
                        reach: Reach::Full,
                    },
                );
            }
        }
        let host_key = HostKey::open(&dir.path().join("host")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tasks, stopping, seen) = (Tasks::new(), Shutdown::new(), Arc::new(Seen::default()));
        let service = Scripted { keys, seen: Arc::clone(&seen) };
        let acceptor = Acceptor::new(service, &host_key, limits, &tasks, stopping.clone());
        let serving = tasks.spawn("ssh", acceptor.serve(listener));
        Self { address, seen, tasks, stopping, serving: Some(serving), dir }
    }

    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// OpenSSH's client with the key of `name`, as a script uses it; arguments follow.
    pub(crate) fn ssh(&self, name: &str) -> Command {
        let mut ssh = self.person(name);
        ssh.args(["-o", "BatchMode=yes"]);
        ssh
    }

    /// The same, as a person uses it: the client may ask.
    pub(crate) fn person(&self, name: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-p", &self.address.port().to_string(), "-l", "anyone"]);
        for option in ["StrictHostKeyChecking=accept-new", "IdentitiesOnly=yes", "ConnectTimeout=30"] {
            ssh.args(["-o", option]);
        }
        ssh.arg("-o").arg(format!("UserKnownHostsFile={}", self.key("known_hosts").display()));
        ssh.arg("-i").arg(self.key(name)).env_remove("SSH_AUTH_SOCK");
        ssh.env_remove("DISPLAY").kill_on_drop(true);
        ssh.stdin(Stdio::null());
        ssh
    }

    /// Runs `command` as `name`.
    pub(crate) async fn run(&self, name: &str, command: &str) -> Said {
        said(self.ssh(name).arg("127.0.0.1").arg(command)).await
    }

    /// Stops the server and expects that no task is left.
    pub(crate) async fn stop(mut self) {
        self.stopping.cancel();
        timeout(LONG, self.serving.take().unwrap()).await.unwrap().unwrap();
        assert!(self.tasks.wait(LONG).await.is_empty());
    }
}

/// What a client printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: Option<i32>,
}

/// Runs a client to its end.
pub(crate) async fn said(command: &mut Command) -> Said {
    let Ended { stdout, stderr, status } =
        timeout(LONG, command.output()).await.expect("the client hangs").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said { stdout: text(stdout), stderr: text(stderr), code: status.code() }
}

/// Makes a key pair with OpenSSH, gives its fingerprint.
pub(crate) async fn make_key(path: &Path, kind: &str) -> String {
    let mut keygen = Command::new("ssh-keygen");
    let made = said(keygen.args(["-q", "-N", "", "-t", kind, "-f"]).arg(path)).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    let shown = said(Command::new("ssh-keygen").arg("-lf").arg(path)).await;
    shown.stdout.split(' ').nth(1).unwrap().to_owned()
}
