//! `autostack demo`: the main job in one command. A fresh agent on free loopback ports, a key, a sample app, the real
//! `git push` over the real `ssh`, the live URL and the answer it gave. What it made is gone when it ends.

mod containers;

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::{Duration, Instant},
};

use autostack_base::{error_chain, settings::Sources};
use autostack_domain::{AppName, Invalid, Line, account::Reach, permission::Actor};
use autostack_engine::EngineError;
use autostack_platform::{Addresses, PlatformError};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    time::timeout,
};

use self::containers::Containers;
use crate::{
    agent::{self, Agent, AgentError, Layout, StopSignals},
    sockets::Passed,
    terminal,
};

/// What the app is called, and so the first part of its host name.
const APP: &str = "hello";
/// How long the app may take to answer once the push has ended.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of the answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// A sample app, and the program that it needs on the host.
struct Sample {
    needs: Option<&'static str>,
    what: &'static str,
    edit: &'static str,
    files: &'static [(&'static str, &'static str)],
}

/// The first that the host can run is taken; the last one needs nothing.
const SAMPLES: [Sample; 3] = [
    Sample {
        needs: Some("node"),
        what: "a Node.js app",
        edit: "server.js",
        files: &[
            ("package.json", include_str!("../tests/fixtures/demo/node/package.json")),
            ("server.js", include_str!("../tests/fixtures/demo/node/server.js")),
        ],
    },
    Sample {
        needs: Some("python3"),
        what: "a Python app",
        edit: "main.py",
        files: &[("main.py", include_str!("../tests/fixtures/demo/python/main.py"))],
    },
    Sample {
        needs: None,
        what: "a static site",
        edit: "index.html",
        files: &[
            ("index.html", include_str!("../tests/fixtures/demo/static/index.html")),
            ("404.html", include_str!("../tests/fixtures/demo/static/404.html")),
        ],
    },
];

/// What is pushed where there is an engine.
const DOCKERFILE: Sample = Sample {
    needs: None,
    what: "an app with a Dockerfile",
    edit: "www/index.html",
    files: &[
        ("Dockerfile", include_str!("../tests/fixtures/demo/docker/Dockerfile")),
        ("www/index.html", include_str!("../tests/fixtures/demo/docker/www/index.html")),
    ],
};

/// Why the demo did not show what it should.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error(transparent)]
    Platform(#[from] PlatformError),
    #[error(transparent)]
    Name(#[from] Invalid),
    #[error("{what} {}", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{program} is not installed, and the demo needs it: apt-get install {package}")]
    Missing { program: &'static str, package: &'static str },
    #[error("{program} could not be run")]
    Run { program: &'static str, source: io::Error },
    #[error("{command} failed")]
    Failed { command: String },
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(
        "the demo has nothing to build on: the engine has no image busybox, and this host no static busybox"
    )]
    NoBase(#[source] EngineError),
    #[error("interrupted before the app had answered; what the demo made is removed")]
    Interrupted,
    #[error("the app did not answer at {url}: {why}")]
    NoAnswer { url: String, why: String },
}

impl DemoError {
    /// What to try next.
    fn hint(&self) -> Option<String> {
        match self {
            DemoError::Engine(error) => Some(error.hint()).filter(|hint| !hint.is_empty()),
            DemoError::NoBase(_) => Some("apt-get install busybox-static".to_owned()),
            _ => None,
        }
    }
}

/// Runs the demo. With `once` it ends after the check: 0 when the app answered, else 1. With `docker` the app is built
/// into an image and runs as a container.
pub fn run(once: bool, docker: bool) -> ExitCode {
    if std::env::var_os("AUTOSTACK_LOG").is_some() {
        // Whoever asks for the agent's log sees it between the lines.
        if let Err(error) = autostack_base::telemetry::init() {
            terminal::trouble(&error_chain(&error), None);
            return ExitCode::from(2);
        }
    }
    let outcome = agent::block_on(async { Ok(show(once, docker).await) });
    match outcome.map_err(DemoError::from).and_then(|shown| shown) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::trouble(&error_chain(&error), error.hint().as_deref());
            ExitCode::FAILURE
        }
    }
}

async fn show(once: bool, docker: bool) -> Result<(), DemoError> {
    // Before anything is made: an early Ctrl-C cleans up too.
    let mut stop = StopSignals::listen()?;
    let place = Place::make()?;
    let containers = tokio::select! {
        found = find_containers(&place, docker) => found?,
        () = stop.received() => return Err(DemoError::Interrupted),
    };
    let agent = start_agent(&place, containers.as_ref()).await?;
    let shown = tokio::select! {
        shown = push_and_look(&place, &agent, containers.as_ref(), once) => shown,
        () = stop.received() => Err(DemoError::Interrupted),
    };
    if shown.is_ok() && !once {
        stop.received().await;
        terminal::say(&Line::step("Cleaning up"));
    }
    let mut cleaned = clean_up(agent).await;
    if let Some(containers) = containers {
        cleaned = cleaned.and(containers.clean_up().await);
    }
    drop(place);
    shown.and(cleaned)
}

async fn find_containers(place: &Place, docker: bool) -> Result<Option<Containers>, DemoError> {
    if !docker {
        return Ok(None);
    }
    Containers::find(&Layout::new(&place.data()).engine_mark()).await.map(Some)
}

/// The demo's folder; removed with everything in it when dropped.
struct Place(PathBuf);

impl Place {
    fn make() -> Result<Self, DemoError> {
        let path = std::env::temp_dir().join(format!("autostack-demo-{}", std::process::id()));
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|source| DemoError::File { what: "cannot make folder", path: path.clone(), source })?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The agent's data directory.
    fn data(&self) -> PathBuf {
        self.path("data")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            terminal::trouble(&format!("{} could not be removed: {error}", self.0.display()), None);
        }
    }
}

async fn start_agent(place: &Place, containers: Option<&Containers>) -> Result<Agent, DemoError> {
    terminal::say(&Line::step("Starting a fresh agent on loopback"));
    let data = place.data();
    let settings = [
        ("AUTOSTACK_DATA_DIR", data.as_os_str().to_owned()),
        ("AUTOSTACK_SSH__LISTEN", "127.0.0.1:0".into()),
        ("AUTOSTACK_HTTP__LISTEN", "127.0.0.1:0".into()),
        ("AUTOSTACK_API__LISTEN", "127.0.0.1:0".into()),
        ("AUTOSTACK_DEPLOY__STOP_TIMEOUT", "5s".into()),
        ("AUTOSTACK_RUNTIME__PORT_RANGE", port_range(std::process::id()).into()),
    ];
    let runs = match containers {
        Some(containers) => {
            vec![
                ("AUTOSTACK_RUNTIME__BACKEND", "docker".into()),
                ("AUTOSTACK_DOCKER__HOST", containers.host().into()),
            ]
        }
        None => vec![("AUTOSTACK_RUNTIME__BACKEND", "process".into())],
    };
    let settings = settings.into_iter().chain(runs).map(|(name, value)| (name.into(), value));
    let sources = Sources::new(None, settings, nix::unistd::geteuid().is_root());
    let agent = Agent::start(sources, Passed::none()).await?;
    let Addresses { ssh, http, .. } = agent.addresses();
    terminal::say(&Line::detail(format!(
        "git and ssh at {ssh}, visitors at {http}, data in {}",
        data.display()
    )));
    Ok(agent)
}

/// A hundred ports of the default range, by the demo's own pid: two demos at once do not give the same one.
fn port_range(pid: u32) -> String {
    let first = 30_000 + pid % 100 * 100;
    format!("{first}-{}", first + 99)
}

async fn push_and_look(
    place: &Place,
    agent: &Agent,
    containers: Option<&Containers>,
    once: bool,
) -> Result<(), DemoError> {
    terminal::say(&Line::step("Making a key and letting it in"));
    make_key(place, agent).await?;
    let sample = if containers.is_some() { &DOCKERFILE } else { choose_sample() };
    let because = sample.needs.map_or_else(String::new, |program| format!(" (this host has {program})"));
    terminal::say(&Line::step(format!("Making {}{because} and committing it", sample.what)));
    let repository = make_repository(place, sample, containers).await?;
    terminal::say(&Line::step(format!("git push autostack main   # the remote is autostack:{APP}")));
    let began = Instant::now();
    git(&repository, &["push", "autostack", "main"]).await?;
    let pushed = began.elapsed();
    let url = format!("http://{APP}.localhost:{}/", agent.addresses().http.port());
    let answer = fetch(agent, &url).await?;
    terminal::say(&Line::result(format!(
        "{url} answers, {:.1} s after the push began:",
        pushed.as_secs_f32()
    )));
    answer.lines().for_each(|line| terminal::say(&Line::detail(line)));
    terminal::data(&url);
    if !once {
        tell_what_is_next(place, &repository, sample, &url);
    }
    Ok(())
}

async fn make_key(place: &Place, agent: &Agent) -> Result<(), DemoError> {
    let key = place.path("key");
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "demo", "-f"]).arg(&key);
    status("ssh-keygen", "openssh-client", &mut keygen).await?;
    let public = place.path("key.pub");
    let line = fs::read_to_string(&public).map_err(|source| DemoError::File {
        what: "cannot read",
        path: public,
        source,
    })?;
    agent.platform().add_key("demo", None, &line).await?;
    let config = format!(
        "Host autostack\n  HostName 127.0.0.1\n  Port {}\n  User git\n  IdentityFile {}\n  IdentitiesOnly yes\n  \
         BatchMode yes\n  StrictHostKeyChecking accept-new\n  UserKnownHostsFile {}\n  LogLevel ERROR\n",
        agent.addresses().ssh.port(),
        key.display(),
        place.path("known_hosts").display(),
    );
    write(&place.path("ssh_config"), &config)
}

fn choose_sample() -> &'static Sample {
    let tools = autostack_builder::Toolchains::default();
    let fits = |sample: &&Sample| sample.needs.is_none_or(|program| tools.has(program));
    SAMPLES.iter().find(fits).unwrap_or(&SAMPLES[SAMPLES.len() - 1])
}

async fn make_repository(
    place: &Place,
    sample: &Sample,
    containers: Option<&Containers>,
) -> Result<PathBuf, DemoError> {
    let repository = place.path(APP);
    for (name, text) in sample.files {
        let path = repository.join(name);
        let folder = path.parent().unwrap_or(&repository).to_owned();
        fs::create_dir_all(&folder).map_err(|source| DemoError::File {
            what: "cannot make folder",
            path: folder,
            source,
        })?;
        write(&path, text)?;
    }
    if let Some(containers) = containers {
        containers.prepare(&repository)?;
    }
    let ssh = format!("ssh -F {}", place.path("ssh_config").display());
    let remote = format!("autostack:{APP}");
    let steps: [&[&str]; 8] = [
        &["init", "-q"],
        &["symbolic-ref", "HEAD", "refs/heads/main"],
        &["config", "user.name", "Demo"],
        &["config", "user.email", "demo@localhost"],
        &["config", "commit.gpgSign", "false"],
        &["config", "core.sshCommand", &ssh],
        &["remote", "add", "autostack", &remote],
        &["add", "."],
    ];
    for step in steps {
        git(&repository, step).await?;
    }
    git(&repository, &["commit", "-q", "-m", "A first version"]).await?;
    Ok(repository)
}

/// Runs git as the user would, without the user's own settings.
async fn git(repository: &Path, args: &[&str]) -> Result<(), DemoError> {
    let mut git = Command::new("git");
    git.current_dir(repository).args(args).env("GIT_CONFIG_GLOBAL", "/dev/null");
    for inherited in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_SSH", "GIT_SSH_COMMAND"] {
        git.env_remove(inherited);
    }
    status("git", "git", &mut git).await
}

async fn status(
    program: &'static str,
    package: &'static str,
    command: &mut Command,
) -> Result<(), DemoError> {
    let ended = command.stdin(Stdio::null()).kill_on_drop(true).status().await;
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => {
            let args = command.as_std().get_args().map(|arg| arg.to_string_lossy());
            let words: Vec<_> = std::iter::once(program.into()).chain(args).collect();
            Err(DemoError::Failed { command: words.join(" ") })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(DemoError::Missing { program, package }),
        Err(source) => Err(DemoError::Run { program, source }),
    }
}

/// Asks the app as a visitor would, and puts the answer in a few words.
async fn fetch(agent: &Agent, url: &str) -> Result<String, DemoError> {
    let no_answer = |why: String| DemoError::NoAnswer { url: url.to_owned(), why };
    let address = agent.addresses().http;
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let host = format!("{APP}.localhost:{}", address.port());
        stream
            .write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())
            .await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = timeout(ANSWER_TIMEOUT, exchange).await;
    let answer = answer.map_err(|_| no_answer(format!("nothing within {} s", ANSWER_TIMEOUT.as_secs())))?;
    let answer = answer.map_err(|error| no_answer(error.to_string()))?;
    let status = answer.lines().next().unwrap_or_default().to_owned();
    if !status.starts_with("HTTP/1.1 200") {
        return Err(no_answer(status));
    }
    Ok(match heading(&answer) {
        Some(heading) => format!("{status}\n“{heading}”"),
        None => status,
    })
}

/// The text of the page's first heading.
fn heading(page: &str) -> Option<&str> {
    let (_, after) = page.split_once("<h1>")?;
    Some(after.split_once("</h1>")?.0.trim())
}

fn tell_what_is_next(place: &Place, repository: &Path, sample: &Sample, url: &str) {
    let ssh = format!("ssh -F {} autostack", place.path("ssh_config").display());
    let lines = [
        format!("cd {}", repository.display()),
        format!("$EDITOR {} && git commit -am 'Change it' && git push autostack main", sample.edit),
        format!("curl {url}"),
        format!("{ssh} logs {APP} -t"),
        format!("{ssh} help"),
        "Ctrl-C ends the demo and removes what it made.".to_owned(),
    ];
    terminal::say(&Line::step("Try next, in another terminal:"));
    lines.into_iter().for_each(|line| terminal::say(&Line::detail(line)));
}

/// Instances outlive an agent, but not a demo.
async fn clean_up(agent: Agent) -> Result<(), DemoError> {
    let app: AppName = APP.parse()?;
    let operator = Actor {
        user: uuid::Uuid::nil().to_string().parse()?,
        is_admin: true,
        name: "demo".into(),
        from: None,
        reach: Reach::Full,
    };
    let destroyed = match agent.platform().destroy_app(&operator, &app).await {
        Err(error) if error.kind == autostack_platform::ErrorKind::NoApp => Ok(()),
        other => other,
    };
    agent.stop().await;
    Ok(destroyed?)
}

fn write(path: &Path, text: &str) -> Result<(), DemoError> {
    let written = fs::File::create(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source| DemoError::File { what: "cannot write", path: path.to_owned(), source })
}
