//! [`World`]: the agent's life, and the operator's commands.

use std::{
    fs::{self, File},
    io,
    net::SocketAddr,
    ops::RangeInclusive,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use super::{
    ApiClient, Developer, Output, Response,
    engine::{self, Docker},
    http,
    live::{self, Live},
    ports::Slice,
    processes,
    service::Manager,
    wait,
};

/// The binary under test.
pub(crate) const AUTOSTACK: &str = env!("CARGO_BIN_EXE_autostack");
/// Where programs are found; the runner's own environment is not handed on.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long an agent may take to stop in good order.
const STOP_LIMIT: Duration = Duration::from_secs(90);

/// What is special about a world.
#[derive(Default)]
pub(crate) struct Options {
    settings: Vec<(String, String)>,
    file: Option<String>,
    data_dir: Option<PathBuf>,
    is_service: bool,
    engine: Option<Docker>,
    user: Option<u32>,
}

impl Options {
    /// Sets a key, by its name in the settings file.
    pub(crate) fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push((variable(key), value.to_owned()));
        self
    }

    /// Sets a variable of the agent's own environment.
    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives the agent a settings file with this text.
    pub(crate) fn file(mut self, text: &str) -> Self {
        self.file = Some(text.to_owned());
        self
    }

    /// Keeps the agent's data in this folder instead of one of the world's own.
    pub(crate) fn data_dir(mut self, folder: &Path) -> Self {
        self.data_dir = Some(folder.to_owned());
        self
    }

    /// Runs the agent as systemd does, with sockets that it is given.
    pub(crate) fn by_systemd(mut self) -> Self {
        self.is_service = true;
        self
    }

    /// Runs the agent as this user, who has no rights of his own, instead of the one who runs the tests.
    pub(crate) fn run_by(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }

    /// Lets the agent build images and run containers on this engine; recipes build on the images of `tests/images`.
    pub(crate) fn docker(mut self, engine: &Docker) -> Self {
        self.engine = Some(engine.clone());
        self.set("runtime.backend", "docker")
            .set("docker.host", engine.host())
            .set("images.node", engine::DEBIAN)
            .set("images.python", engine::DEBIAN)
            .set("images.run", engine::DEBIAN)
    }

    /// Starts the world.
    #[track_caller]
    pub(crate) fn start(self) -> World {
        World::with(self)
    }
}

/// The environment variable of a key of the settings file.
fn variable(key: &str) -> String {
    format!("AUTOSTACK_{}", key.to_uppercase().replace('.', "__"))
}

/// The binary where every user can reach it, as an installed one: the target directory may stand in somebody's home.
fn reachable_binary(folder: &Path) -> PathBuf {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let binary = folder.join("autostack");
    if fs::hard_link(AUTOSTACK, &binary).is_err() {
        fs::copy(AUTOSTACK, &binary).unwrap();
    }
    binary
}

/// A whole agent, and the people around it.
pub(crate) struct World {
    root: TempDir,
    data_dir: PathBuf,
    settings: Mutex<Vec<(String, String)>>,
    file: Option<PathBuf>,
    binary: PathBuf,
    user: Option<u32>,
    ports: Slice,
    manager: Option<Manager>,
    engine: Option<Docker>,
    running: Mutex<Running>,
}

struct Running {
    agent: Option<Child>,
    addresses: Addresses,
}

/// Where the doors listen.
#[derive(Debug, Clone, Copy)]
struct Addresses {
    ssh: SocketAddr,
    http: SocketAddr,
    api: SocketAddr,
}

impl World {
    /// A world with short stop and drain times, else as an operator gets it.
    #[track_caller]
    pub(crate) fn new() -> Self {
        Options::default().start()
    }

    #[track_caller]
    fn with(options: Options) -> Self {
        let root = tempfile::Builder::new().prefix("autostack-it-").tempdir().unwrap();
        let file = options.file.map(|text| {
            let path = root.path().join("autostack.toml");
            fs::write(&path, text).unwrap();
            path
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let addresses = Addresses { ssh: nowhere, http: nowhere, api: nowhere };
        let binary = options.user.map_or_else(|| AUTOSTACK.into(), |_| reachable_binary(root.path()));
        let world = Self {
            binary,
            data_dir: options.data_dir.unwrap_or_else(|| root.path().join("data")),
            manager: options.is_service.then(|| Manager::new(root.path())),
            user: options.user,
            root,
            settings: Mutex::new(options.settings),
            engine: options.engine,
            file,
            ports: Slice::take(),
            running: Mutex::new(Running { agent: None, addresses }),
        };
        world.start();
        world
    }

    /// Starts the agent, on the addresses that it had before, and waits until it answers.
    #[track_caller]
    pub(crate) fn start(&self) {
        self.spawn();
        let status = wait::soon("the agent to answer", || {
            assert!(self.exit_status().is_none(), "the agent ended at its start:\n{}", self.log());
            let is_there = self.data_dir.join("agent.sock").exists();
            let status = is_there.then(|| self.admin(&["status"], b""))?;
            (status.code == Some(0)).then_some(status.stdout)
        });
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let address = |door: &str| status["addresses"][door].as_str().unwrap().parse().unwrap();
        let addresses = Addresses { ssh: address("ssh"), http: address("http"), api: address("api") };
        self.running.lock().unwrap().addresses = addresses;
    }

    /// Starts the agent and waits for nothing.
    pub(crate) fn spawn(&self) {
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        let mut command = self.autostack();
        command.arg("serve").args(self.file.iter().flat_map(|file| [Path::new("--config"), file]));
        let mut running = self.running.lock().unwrap();
        let addresses = running.addresses;
        command.env("AUTOSTACK_SSH__LISTEN", addresses.ssh.to_string());
        command.env("AUTOSTACK_HTTP__LISTEN", addresses.http.to_string());
        command.env("AUTOSTACK_API__LISTEN", addresses.api.to_string());
        if let Some(manager) = &self.manager {
            command = manager.hand_over(&command);
        }
        if let Some(user) = self.user {
            fs::create_dir_all(&self.data_dir).unwrap();
            chown(&self.data_dir, Some(user), Some(user)).unwrap();
            command.uid(user).gid(user);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        running.agent = Some(command.spawn().unwrap());
    }

    /// The binary with the environment of this world.
    fn autostack(&self) -> Command {
        let mut command = Command::new(&self.binary);
        let own = [
            ("PATH", PATH),
            ("RUST_BACKTRACE", "1"),
            ("AUTOSTACK_RUNTIME__BACKEND", "process"),
            ("AUTOSTACK_DEPLOY__DRAIN_TIMEOUT", "10s"),
            ("AUTOSTACK_DEPLOY__STOP_TIMEOUT", "5s"),
        ];
        command.env_clear().envs(own).current_dir("/");
        command.env("AUTOSTACK_RUNTIME__PORT_RANGE", self.ports.setting());
        command.env("AUTOSTACK_DATA_DIR", &self.data_dir);
        command.envs(self.settings.lock().unwrap().iter().map(|(name, value)| (name, value)));
        command
    }

    /// Sets a key, by its name in the settings file, from the next start of the agent on.
    pub(crate) fn set(&self, key: &str, value: &str) {
        self.settings.lock().unwrap().push((variable(key), value.to_owned()));
    }

    /// Runs `autostack admin …`.
    pub(crate) fn admin(&self, words: &[&str], input: &[u8]) -> Output {
        let mut command = self.autostack();
        command.arg("admin").args(words);
        live::run(command, input)
    }

    /// Stops the agent as systemd does; the exit status it gave.
    #[track_caller]
    pub(crate) fn stop(&self) -> ExitStatus {
        kill(Pid::from_raw(self.agent_pid()), Signal::SIGTERM).unwrap();
        let status = wait::until("the agent to stop", STOP_LIMIT, || self.exit_status());
        self.running.lock().unwrap().agent = None;
        status
    }

    /// Kills the agent without a word.
    pub(crate) fn kill9(&self) {
        let mut running = self.running.lock().unwrap();
        let mut agent = running.agent.take().unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    /// Kills the agent without a word and starts it again.
    #[track_caller]
    pub(crate) fn kill9_and_restart(&self) {
        self.kill9();
        self.start();
    }

    /// A developer whose key the operator has added: an admin of the platform.
    pub(crate) fn developer(&self, name: &str) -> Developer<'_> {
        let developer = self.stranger(name);
        self.admin(&["key", "add", name], developer.public_key().as_bytes()).ok();
        developer
    }

    /// Somebody whose key the operator has added and who is no admin: what is not theirs, they do not see.
    pub(crate) fn person(&self, name: &str) -> Developer<'_> {
        let (person, email) = (self.stranger(name), format!("{name}@localhost"));
        self.admin(&["user", "add", &email], b"").ok();
        self.admin(&["key", "add", name, "--user", &email], person.public_key().as_bytes()).ok();
        person
    }

    /// Somebody with a key that nobody has added.
    pub(crate) fn stranger(&self, name: &str) -> Developer<'_> {
        Developer::new(self, name, &self.root.path().join("people").join(name))
    }

    /// A visitor's GET to an app.
    #[track_caller]
    pub(crate) fn get(&self, app: &str, path: &str) -> Response {
        self.try_get(app, path).unwrap_or_else(|error| panic!("GET {app}{path}: {error}"))
    }

    /// A visitor's GET to an app, which may find nobody there.
    pub(crate) fn try_get(&self, app: &str, path: &str) -> io::Result<Response> {
        http::get(self.http(), &self.host(app), path, &[])
    }

    /// The `Host` of an app.
    pub(crate) fn host(&self, app: &str) -> String {
        format!("{app}.localhost:{}", self.http().port())
    }

    /// The URL that the platform shows for an app.
    pub(crate) fn url(&self, app: &str) -> String {
        format!("http://{}", self.host(app))
    }

    /// What `/health` says.
    pub(crate) fn health(&self) -> serde_json::Value {
        let answer =
            http::get(self.running.lock().unwrap().addresses.api, "localhost", "/health", &[]).unwrap();
        serde_json::from_str(&answer.body).unwrap()
    }

    /// A program that speaks to the API, as nobody yet.
    pub(crate) fn api(&self) -> ApiClient {
        ApiClient::new(self.api_address())
    }

    /// Where the API listens.
    pub(crate) fn api_address(&self) -> SocketAddr {
        self.running.lock().unwrap().addresses.api
    }

    /// Where the proxy listens.
    pub(crate) fn http(&self) -> SocketAddr {
        self.running.lock().unwrap().addresses.http
    }

    /// Where the SSH door listens.
    pub(crate) fn ssh(&self) -> SocketAddr {
        self.running.lock().unwrap().addresses.ssh
    }

    /// The agent's process.
    pub(crate) fn agent_pid(&self) -> i32 {
        let running = self.running.lock().unwrap();
        running.agent.as_ref().map_or(0, |agent| i32::try_from(agent.id()).unwrap())
    }

    /// The agent's data directory.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The settings file, where the world has one.
    pub(crate) fn settings_file(&self) -> &Path {
        self.file.as_deref().unwrap()
    }

    /// Who holds the agent's sockets, where it runs as a service.
    pub(crate) fn manager(&self) -> &Manager {
        self.manager.as_ref().unwrap()
    }

    /// The engine on which the agent builds and runs, where it does.
    pub(crate) fn engine(&self) -> Option<&Docker> {
        self.engine.as_ref()
    }

    /// A folder of the world's own.
    pub(crate) fn folder(&self) -> &Path {
        self.root.path()
    }

    /// The ports of this world's instances.
    pub(crate) fn port_range(&self) -> RangeInclusive<u16> {
        self.ports.range()
    }

    /// What the agent has written.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    fn log_file(&self) -> PathBuf {
        self.root.path().join("agent.log")
    }

    fn exit_status(&self) -> Option<ExitStatus> {
        self.running.lock().unwrap().agent.as_mut().and_then(|agent| agent.try_wait().unwrap())
    }

    /// Ends every process that was started in this world.
    fn end_instances(&self) -> Result<(), String> {
        let end = Instant::now() + STOP_LIMIT;
        loop {
            let left = processes::inside(self.root.path());
            let left = left.into_iter().chain(processes::inside(&self.data_dir)).collect::<Vec<_>>();
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("these processes cannot be ended: {left:?}"));
            }
            left.iter().for_each(|process| process.signal(Signal::SIGKILL));
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn end(&self) -> Result<(), String> {
        let mut ended = Ok(());
        if self.agent_pid() != 0 && self.exit_status().is_none() {
            let _ended_meanwhile = kill(Pid::from_raw(self.agent_pid()), Signal::SIGTERM);
            let limit = Instant::now() + STOP_LIMIT;
            while self.exit_status().is_none() && Instant::now() < limit {
                thread::sleep(Duration::from_millis(5));
            }
            ended = match self.exit_status() {
                Some(status) if status.success() => Ok(()),
                Some(status) => Err(format!("the agent stopped with {status}")),
                None => Err("the agent did not stop".to_owned()),
            };
        }
        if let Some(mut agent) = self.running.lock().unwrap().agent.take() {
            let _ended_already = agent.kill();
            let _reaped = agent.wait();
        }
        let forgotten = match (&self.engine, self.mark()) {
            (Some(docker), Some(mark)) => docker.forget(&mark),
            _ => Ok(()),
        };
        ended.and(self.end_instances()).and(forgotten).and_then(|()| {
            let log = self.log();
            let panic = log.lines().find(|line| line.contains("panicked"));
            panic.map_or(Ok(()), |line| Err(format!("the agent panicked: {line}")))
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let outcome = self.end();
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- the agent's log\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
            if let Err(why) = outcome {
                eprintln!("--- {why}");
            }
        } else if let Err(why) = outcome {
            panic!("{why}\n--- the agent's log\n{}", self.log());
        }
    }
}

/// Runs the binary outside of any world.
pub(crate) fn autostack(words: &[&str], folder: &Path) -> Live {
    let mut command = Command::new(AUTOSTACK);
    command
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", folder)
        .env("TMPDIR", folder)
        .current_dir(folder)
        .args(words);
    Live::start(command)
}
