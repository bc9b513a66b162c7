//! [`Developer`]: a person with a key and a home of their own, who has the real `git` and the real `ssh`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    World,
    agent::PATH,
    apps::Files,
    live::{self, Live, Output},
    repo::Repo,
};

/// A person.
pub(crate) struct Developer<'w> {
    pub(crate) world: &'w World,
    name: String,
    home: PathBuf,
}

impl<'w> Developer<'w> {
    /// Makes a home with a key.
    pub(crate) fn new(world: &'w World, name: &str, home: &Path) -> Self {
        fs::create_dir_all(home).unwrap();
        let developer = Self { world, name: name.to_owned(), home: home.to_owned() };
        let mut keygen = developer.command("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(developer.key());
        live::run(keygen, b"").ok();
        let config = format!(
            "Host *\n  IdentityFile {}\n  IdentitiesOnly yes\n  UserKnownHostsFile {}\n  \
             StrictHostKeyChecking accept-new\n  BatchMode yes\n  LogLevel ERROR\n",
            developer.key().display(),
            home.join("known_hosts").display(),
        );
        fs::write(developer.ssh_config(), config).unwrap();
        let gitconfig = format!(
            "[user]\n\tname = {name}\n\temail = {name}@example.test\n[init]\n\tdefaultBranch = main\n\
             [advice]\n\tdetachedHead = false\n[protocol]\n\tversion = 2\n"
        );
        fs::write(home.join(".gitconfig"), gitconfig).unwrap();
        developer
    }

    /// The public key, as the operator is given it.
    pub(crate) fn public_key(&self) -> String {
        fs::read_to_string(self.key().with_extension("pub")).unwrap()
    }

    /// A new working copy with a sample app of `tests/fixtures/apps`, committed.
    pub(crate) fn app(&self, fixture: &str) -> Repo<'_> {
        let repo = self.empty();
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/apps").join(fixture);
        copy(&sample, repo.path());
        repo.commit();
        repo
    }

    /// A new working copy with these files, committed.
    pub(crate) fn app_of(&self, files: Files) -> Repo<'_> {
        let repo = self.empty();
        for (name, text) in files {
            repo.write(name, &text);
        }
        repo.commit();
        repo
    }

    /// A new working copy without a commit.
    pub(crate) fn empty(&self) -> Repo<'_> {
        let path = tempfile::Builder::new().prefix("work-").tempdir_in(&self.home).unwrap().keep();
        let repo = Repo::at(self, &path);
        repo.git(&["init", "--quiet"]);
        repo
    }

    /// Clones what the platform keeps of an app; the options go before the URL.
    pub(crate) fn clone_of(&self, app: &str, options: &[&str]) -> Repo<'_> {
        let path = tempfile::Builder::new().prefix("clone-").tempdir_in(&self.home).unwrap().keep();
        let mut git = self.command("git");
        git.arg("clone").args(options).arg(self.remote(app)).arg(&path);
        live::run(git, b"").ok();
        Repo::at(self, &path)
    }

    /// Runs a command of the platform over SSH, to its end.
    pub(crate) fn ssh(&self, words: &[&str]) -> Output {
        self.ssh_with(&[], words)
    }

    /// The same, with something to read on standard input.
    pub(crate) fn ssh_input(&self, words: &[&str], input: &[u8]) -> Output {
        live::run(self.ssh_command(&[], words), input)
    }

    /// The same, with options of `ssh` itself.
    pub(crate) fn ssh_with(&self, options: &[&str], words: &[&str]) -> Output {
        live::run(self.ssh_command(options, words), b"")
    }

    /// The same, while it runs.
    pub(crate) fn ssh_live(&self, words: &[&str]) -> Live {
        Live::start(self.ssh_command(&[], words))
    }

    /// The command line of an `ssh` to the platform.
    pub(crate) fn ssh_command(&self, options: &[&str], words: &[&str]) -> Command {
        let mut ssh = self.command("ssh");
        ssh.arg("-F").arg(self.ssh_config());
        ssh.args(["-p", &self.world.ssh().port().to_string()]).args(options);
        ssh.arg(format!("{}@127.0.0.1", self.name)).args(words);
        ssh
    }

    /// Where an app is pushed to.
    pub(crate) fn remote(&self, app: &str) -> String {
        format!("ssh://git@127.0.0.1:{}/{app}", self.world.ssh().port())
    }

    /// A program with this person's environment, and nobody else's.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", PATH).env("HOME", &self.home).env("LANG", "C.UTF-8");
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
        command.env("GIT_SSH_COMMAND", format!("ssh -F {}", self.ssh_config().display()));
        command.current_dir(&self.home);
        command
    }

    /// This person's home.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    fn key(&self) -> PathBuf {
        self.home.join("key")
    }

    pub(crate) fn ssh_config(&self) -> PathBuf {
        self.home.join("ssh_config")
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
