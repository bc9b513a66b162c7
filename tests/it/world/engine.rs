//! [`Docker`]: a container engine as an operator sees it, through its own client; what an agent has made there.

use std::{
    collections::BTreeSet,
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::{Duration, Instant},
};

use super::{
    World,
    agent::PATH,
    live::{self, Output},
    wait,
};

/// Made by `tests/images`: a static busybox, and a Debian with Node.js, npm and Python.
pub(crate) const BUSYBOX: &str = "autostack-test/busybox:1";
pub(crate) const DEBIAN: &str = "autostack-test/debian:1";
/// Made by `tests/images` and named as the base images of AWS are: a runtime of Lambda behind the emulator.
pub(crate) const LAMBDA_PYTHON: &str = "public.ecr.aws/lambda/python:autostack-test";

/// How long a clean-up may take; containers that ignore SIGTERM are killed at once.
const CLEAN_UP_LIMIT: Duration = Duration::from_secs(60);

/// An engine.
#[derive(Debug, Clone)]
pub(crate) struct Docker {
    host: String,
}

/// Everything that one agent has on an engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Made {
    /// Id, name and state of each.
    pub(crate) containers: BTreeSet<Container>,
    /// Names.
    pub(crate) networks: BTreeSet<String>,
    /// Names.
    pub(crate) volumes: BTreeSet<String>,
    /// Id and names of each.
    pub(crate) images: BTreeSet<String>,
}

/// A container of an agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) name: String,
    /// `running`, `exited`, `created` …
    pub(crate) state: String,
    pub(crate) app: String,
    pub(crate) release: String,
    pub(crate) process: String,
}

impl Docker {
    /// The engine of this host, with the base images in it.
    pub(crate) fn of_this_host() -> Self {
        static READY: OnceLock<String> = OnceLock::new();
        let host = READY.get_or_init(|| {
            let host = env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
            let mut images = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images"));
            images.env("DOCKER_HOST", &host);
            let made = live::run(images, b"");
            assert_eq!(
                made.code,
                Some(0),
                "the engine at {host} has no base images (tests/run starts one): {made}"
            );
            host
        });
        Self::at(host)
    }

    /// The engine there.
    pub(crate) fn at(host: &str) -> Self {
        Self { host: host.to_owned() }
    }

    /// Its address, as `docker.host` has it.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Runs its client, which must be content; standard output without the blanks around it.
    #[track_caller]
    pub(crate) fn ok(&self, words: &[&str]) -> String {
        self.run(words).ok().trim().to_owned()
    }

    /// Runs its client.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        live::run(self.command(words), b"")
    }

    /// The command line of its client.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut docker = Command::new("docker");
        docker.env_clear().env("PATH", PATH).env("HOME", "/nonexistent").env("DOCKER_HOST", &self.host);
        docker.args(words);
        docker
    }

    /// What an agent with this mark has here; why that cannot be said.
    pub(crate) fn made_by(&self, mark: &str) -> Result<Made, String> {
        let ours = format!("label=autostack.agent={mark}");
        let lines = |words: &[&str]| -> Result<BTreeSet<String>, String> {
            let output = self.run(words);
            let is_said = output.code == Some(0);
            is_said.then(|| output.stdout.lines().map(str::to_owned).collect()).ok_or(output.stderr)
        };
        let format = "{{.ID}}\t{{.Names}}\t{{.State}}\t{{.Label \"autostack.app\"}}\t{{.Label \"autostack.release\"}}\t{{.Label \"autostack.process\"}}";
        let containers = lines(&["ps", "--all", "--no-trunc", "--filter", &ours, "--format", format])?;
        let image = "{{.ID}} {{.Repository}}:{{.Tag}}";
        let mut images = lines(&["images", "--filter", &ours, "--format", image])?;
        let names = format!("reference=autostack-{mark}/*:*");
        images.extend(lines(&["images", "--filter", &names, "--format", image])?);
        Ok(Made {
            containers: containers.iter().map(|line| Container::read(line)).collect(),
            networks: lines(&["network", "ls", "--filter", &ours, "--format", "{{.Name}}"])?,
            volumes: lines(&["volume", "ls", "--filter", &ours, "--format", "{{.Name}}"])?,
            images,
        })
    }

    /// Removes everything of an agent with this mark, and says what could not be removed.
    pub(crate) fn forget(&self, mark: &str) -> Result<(), String> {
        let end = Instant::now() + CLEAN_UP_LIMIT;
        loop {
            let made = self.made_by(mark)?;
            if made == Made::default() {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("this is left in the engine: {made:#?}"));
            }
            // What is gone meanwhile, or still in use by what goes in this very round, is seen to in the next.
            let ids = made.images.iter().filter_map(|image| image.split(' ').next());
            let words = (made.containers.iter().map(|it| vec!["rm", "-f", "-v", &it.id]))
                .chain(made.networks.iter().map(|name| vec!["network", "rm", name]))
                .chain(made.volumes.iter().map(|name| vec!["volume", "rm", "-f", name]))
                .chain(ids.map(|id| vec!["rmi", "-f", id]));
            for words in words {
                // What is gone meanwhile is fine; what was still in use is seen to in the next round.
                let _gone_or_next = self.run(&words);
            }
        }
    }
}

impl Container {
    fn read(line: &str) -> Self {
        let mut words = line.split('\t').map(str::to_owned);
        let mut next = || words.next().unwrap_or_default();
        Self { id: next(), name: next(), state: next(), app: next(), release: next(), process: next() }
    }
}

impl World {
    /// A world whose agent builds images and runs containers on the engine of this host.
    #[track_caller]
    pub(crate) fn with_docker() -> Self {
        super::Options::default().docker(&Docker::of_this_host()).start()
    }

    /// The engine of this world.
    #[track_caller]
    pub(crate) fn docker(&self) -> &Docker {
        self.engine().expect("a story with containers asks for an engine")
    }

    /// What the agent has on its engine; nothing where it has no engine.
    pub(crate) fn made(&self) -> Made {
        match (self.engine(), self.mark()) {
            (Some(docker), Some(mark)) => docker.made_by(&mark).unwrap_or_else(|why| panic!("{why}")),
            _ => Made::default(),
        }
    }

    /// The containers of an app.
    pub(crate) fn containers(&self, app: &str) -> Vec<Container> {
        self.made().containers.into_iter().filter(|it| it.app == app).collect()
    }

    /// The only container of an app that runs.
    #[track_caller]
    pub(crate) fn container(&self, app: &str) -> Container {
        wait::soon("one container to be left", || {
            let mut running = self.containers(app);
            running.retain(|it| it.state == "running");
            (running.len() == 1).then(|| running.remove(0))
        })
    }

    /// Runs a command in a container; what it wrote.
    #[track_caller]
    pub(crate) fn inside(&self, container: &Container, command: &str) -> String {
        self.docker().ok(&["exec", &container.id, "sh", "-c", command])
    }

    /// The mark of the agent, once it has made one.
    pub(crate) fn mark(&self) -> Option<String> {
        let mark = std::fs::read_to_string(self.mark_file()).ok()?;
        Some(mark.trim().to_owned())
    }

    fn mark_file(&self) -> PathBuf {
        self.data_dir().join("keys/engine.id")
    }
}
