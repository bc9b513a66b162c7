//! A world for the tests of this crate: a server made of this crate, and the real `git` as its client.
//!
//! The client believes that it speaks to ssh; what it runs instead are two `cat` on named pipes, so that
//! every byte goes through a real [`GitChild`]. The hook is a script that asks the test.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use autostack_domain::{AppName, CommitId, RefName};
use nix::{
    sys::{
        signal::{Signal, killpg},
        stat::Mode,
    },
    unistd::{Pid, mkfifo},
};
use tempfile::TempDir;
use tokio::{io::AsyncReadExt, time::timeout};

use crate::{
    GitChild, Repositories, Service, Source, SourceError, SourceLimits, SourceReport, SpawnOptions, hooks,
    parse_exec, service,
};

/// Nothing here may take longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    dir: TempDir,
    pub(crate) repositories: Repositories,
    pub(crate) app: AppName,
    connections: AtomicU32,
}

/// A client that has been started, and its named pipes.
pub(crate) struct Client {
    process: std::process::Child,
    dir: PathBuf,
}

/// What came of a push or fetch.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) accepted: bool,
    /// What the client's screen shows.
    pub(crate) screen: String,
    /// What the inspection in `pre-receive` said of the first commit pushed.
    pub(crate) inspected: Option<Result<SourceReport, SourceError>>,
}

/// What the hook told the test.
pub(crate) struct Asked {
    pub(crate) quarantine: Option<PathBuf>,
    pub(crate) updates: String,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let repositories = Repositories::new(root.join("repos"), root.join("hooks"));
        let app: AppName = "shop".parse().unwrap();
        hooks::install_hooks(repositories.hooks_dir()).unwrap();
        repositories.ensure(&app).unwrap();
        let world = Self { dir, repositories, app, connections: AtomicU32::new(0) };
        world.client(&["init", "--quiet", "--initial-branch=main", "work"], &root);
        world
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.root().join("work")
    }

    pub(crate) fn bare(&self) -> PathBuf {
        self.repositories.path(&self.app)
    }

    /// Runs git in the work tree; its output without the last line end.
    pub(crate) fn git(&self, args: &[&str]) -> String {
        self.client(args, &self.work())
    }

    pub(crate) fn client(&self, args: &[&str], dir: &Path) -> String {
        let output = self.client_command(args, dir).output().unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    fn client_command(&self, args: &[&str], dir: &Path) -> Command {
        let mut command = Command::new("git");
        command.args(args).current_dir(dir).env("HOME", self.dir.path()).env("GIT_CONFIG_NOSYSTEM", "1");
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "Ada").env(format!("GIT_{role}_EMAIL"), "ada@shop.test");
        }
        command
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.work().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn commit(&self, message: &str) -> CommitId {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"]).parse().unwrap()
    }

    /// Writes any object, however wrong, into the client's repository.
    pub(crate) fn object(&self, kind: &str, content: &[u8]) -> String {
        let args = ["hash-object", "-t", kind, "-w", "--literally", "--stdin"];
        let mut child = self
            .client_command(&args, &self.work())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(content).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim_end().to_owned()
    }

    /// A tree object with these lines as they are.
    pub(crate) fn tree(&self, entries: &[(&str, &[u8], &str)]) -> String {
        self.object("tree", &raw_tree(entries))
    }

    pub(crate) fn commit_of(&self, tree: &str) -> CommitId {
        self.git(&["commit-tree", tree, "-m", "hostile"]).parse().unwrap()
    }

    pub(crate) fn head_of(&self, name: &str) -> Option<CommitId> {
        let name: RefName = name.parse().unwrap();
        self.repositories.head_of(&self.app, &name).unwrap()
    }

    /// Names of quarantines in the app's repository.
    pub(crate) fn quarantines(&self) -> Vec<String> {
        fs::read_dir(self.bare().join("objects"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("tmp_objdir"))
            .collect()
    }

    /// Starts a client from the work tree that will speak to [`serve`](Self::serve).
    pub(crate) fn start(&self, args: &[&str]) -> Client {
        self.start_in(args, &self.work())
    }

    pub(crate) fn start_in(&self, args: &[&str], cwd: &Path) -> Client {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let dir = self.root().join(format!("connection-{number}"));
        fs::create_dir(&dir).unwrap();
        for pipe in ["in", "out"] {
            mkfifo(&dir.join(pipe), Mode::from_bits_truncate(0o600)).unwrap();
        }
        let d = dir.display();
        script(
            &dir.join("ssh"),
            &format!(
                "cd {d}\nfor last; do :; done\nprintf %s \"$last\" > exec.new\nmv exec.new exec\n\
                 exec 3<&0\ncat <&3 > in &\nexec cat out\n"
            ),
        );
        script(
            &dir.join("agent"),
            &format!(
                "env > {d}/hook-env\n[ \"$2\" = pre-receive ] || exit 0\necho checking >&2\n\
                 {{ echo \"$GIT_QUARANTINE_PATH\"; cat; }} > {d}/asked.new\nmv {d}/asked.new {d}/asked\n\
                 until read verdict 2>/dev/null < {d}/verdict; do sleep 0.01; done\nexit \"$verdict\"\n"
            ),
        );
        let process = self
            .client_command(args, cwd)
            .env("GIT_SSH_COMMAND", dir.join("ssh"))
            .env("GIT_SSH_VARIANT", "ssh")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(dir.join("screen")).unwrap())
            .process_group(0)
            .spawn()
            .unwrap();
        Client { process, dir }
    }

    /// Starts what the client asked for, as the door would.
    pub(crate) async fn serve(&self, client: &Client) -> GitChild {
        let exec = client.exec().await;
        let (service, app) = parse_exec(&exec).unwrap().unwrap();
        assert_eq!(app, self.app);
        let options = SpawnOptions {
            hooks_dir: self.repositories.hooks_dir().to_owned(),
            hook_env: vec![
                (hooks::ENV_BINARY.into(), client.dir.join("agent").display().to_string()),
                (hooks::ENV_TOKEN.into(), "token-of-this-push".into()),
            ],
            protocol: (service == Service::UploadPack).then(|| "version=2".parse().unwrap()),
            pack_bytes_max: None,
        };
        service::start(service, &self.bare(), &options).await.unwrap()
    }

    /// Pushes from the work tree; the hook inspects the first commit and refuses it on an error.
    pub(crate) async fn push(&self, args: &[&str]) -> Outcome {
        self.run(&[&["push"], args].concat(), &self.work()).await
    }

    /// Runs a whole client, its server and, for a push, its hook.
    pub(crate) async fn run(&self, args: &[&str], cwd: &Path) -> Outcome {
        let client = self.start_in(args, cwd);
        let mut child = self.serve(&client).await;
        let mut inspected = None;
        let exchange = async {
            let pump = client.pump(&mut child, u64::MAX);
            tokio::pin!(pump);
            tokio::select! {
                () = &mut pump => return,
                asked = client.asked() => inspected = self.answer(&client, &asked),
            }
            pump.await;
        };
        timeout(PATIENCE, exchange).await.unwrap();
        timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
        let (accepted, screen) = client.finish();
        Outcome { accepted, screen, inspected }
    }

    /// The agent's part in `pre-receive`.
    fn answer(&self, client: &Client, asked: &Asked) -> Option<Result<SourceReport, SourceError>> {
        let commit: CommitId = asked.updates.split(' ').nth(1).unwrap().parse().unwrap();
        let inspected = (!commit.is_null()).then(|| {
            Source::open(&self.bare(), asked.quarantine.as_deref())?
                .inspect(&commit, &SourceLimits::default())
        });
        client.verdict(!matches!(inspected, Some(Err(_))));
        inspected
    }

    /// Looks through a commit that is already in the app's repository.
    pub(crate) fn inspect(&self, commit: &CommitId) -> Result<SourceReport, SourceError> {
        Source::open(&self.bare(), None)?.inspect(commit, &SourceLimits::default())
    }
}

impl Client {
    async fn exec(&self) -> String {
        appears(&self.dir.join("exec")).await
    }

    /// Moves bytes both ways until the child closes its output, or until `bytes_max` bytes came from the
    /// client; then the child keeps waiting for more.
    pub(crate) async fn pump(&self, child: &mut GitChild, bytes_max: u64) {
        let mut stdin = child.stdin.take().unwrap();
        let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (input, output) = (self.dir.join("in"), self.dir.join("out"));
        let up = async {
            let mut from = tokio::fs::File::open(input).await.unwrap().take(bytes_max);
            // A child that has ended does not read on.
            let _cut = tokio::io::copy(&mut from, &mut stdin).await;
            if from.limit() == 0 {
                child.stdin = Some(stdin);
                return;
            }
            drop(stdin);
            std::future::pending::<()>().await;
        };
        let down = async {
            let mut to = tokio::fs::OpenOptions::new().write(true).open(output).await.unwrap();
            let _cut = tokio::io::copy(&mut stdout, &mut to).await;
            let mut text = Vec::new();
            stderr.read_to_end(&mut text).await.unwrap();
            let mut screen = OpenOptions::new().append(true).open(self.dir.join("screen")).unwrap();
            screen.write_all(&text).unwrap();
        };
        tokio::select! {
            () = up => {}
            () = down => {}
        }
    }

    /// Waits until the hook asks.
    pub(crate) async fn asked(&self) -> Asked {
        let told = appears(&self.dir.join("asked")).await;
        let (quarantine, updates) = told.split_once('\n').unwrap();
        Asked { quarantine: (!quarantine.is_empty()).then(|| quarantine.into()), updates: updates.to_owned() }
    }

    /// Runs this instead of the usual hook, in the folder of this client.
    pub(crate) fn replace_hook(&self, body: &str) {
        script(&self.dir.join("agent"), &format!("cd {}\n{body}", self.dir.display()));
    }

    /// What the hook has been waiting for.
    pub(crate) fn verdict(&self, accept: bool) {
        let beside = self.dir.join("verdict.new");
        fs::write(&beside, if accept { "0\n" } else { "1\n" }).unwrap();
        fs::rename(beside, self.dir.join("verdict")).unwrap();
    }

    pub(crate) fn hook_env(&self) -> String {
        fs::read_to_string(self.dir.join("hook-env")).unwrap()
    }

    /// What the environment of this push's hook holds and no other's.
    pub(crate) fn hook_token(&self) -> String {
        format!("{}={}", hooks::ENV_BINARY, self.dir.join("agent").display())
    }

    /// What Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        killpg(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGKILL).unwrap();
    }

    pub(crate) fn finish(mut self) -> (bool, String) {
        let status = self.process.wait().unwrap();
        (status.success(), fs::read_to_string(self.dir.join("screen")).unwrap_or_default())
    }
}

/// The content of a file that another process puts there whole.
async fn appears(path: &Path) -> String {
    let written = async {
        loop {
            match fs::read_to_string(path) {
                Ok(content) => return content,
                Err(_not_yet) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    };
    timeout(PATIENCE, written).await.unwrap()
}

/// The bytes of a tree object.
pub(crate) fn raw_tree(entries: &[(&str, &[u8], &str)]) -> Vec<u8> {
    let mut raw = Vec::new();
    for (mode, name, id) in entries {
        raw.extend_from_slice(mode.as_bytes());
        raw.push(b' ');
        raw.extend_from_slice(name);
        raw.push(0);
        raw.extend_from_slice(git2::Oid::from_str(id).unwrap().as_bytes());
    }
    raw
}

fn script(path: &Path, body: &str) {
    fs::write(path, format!("#!/bin/sh\n{body}")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Where the client pushes to.
pub(crate) const REMOTE: &str = "ssh://git@host/shop";
