//! [`Repo`]: a working copy, and [`Push`]: what a push of it said.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::{
    Developer,
    live::{self, Live, Output},
};

/// A working copy of a developer's.
pub(crate) struct Repo<'d> {
    developer: &'d Developer<'d>,
    path: PathBuf,
}

/// A push that has ended.
#[derive(Debug, Clone)]
pub(crate) struct Push {
    /// Whether git was content.
    pub(crate) ok: bool,
    /// Everything on the pusher's screen.
    pub(crate) screen: String,
}

impl Push {
    /// What the platform said, line by line, as it wrote it.
    pub(crate) fn said(&self) -> Vec<String> {
        let lines = self.screen.split(['\n', '\r']);
        lines
            .filter_map(|line| line.strip_prefix("remote: "))
            .map(|line| line.trim_end().to_owned())
            .collect()
    }

    /// The push must have been accepted.
    #[track_caller]
    pub(crate) fn accepted(self) -> Self {
        assert!(self.ok, "the push was rejected:\n{}", self.screen);
        self
    }

    /// The push must have been rejected, at this stage, and say why, what shows it and what to try next.
    #[track_caller]
    pub(crate) fn rejected_at(self, stage: &str, words: &[&str]) -> Self {
        assert!(!self.ok, "the push was accepted:\n{}", self.screen);
        let said = self.said();
        let failed = said.iter().position(|line| line.starts_with(&format!(" !     Failed at {stage}: ")));
        let failed = failed.unwrap_or_else(|| panic!("no failure at {stage} in\n{}", self.screen));
        let end = &said[failed..];
        assert!(
            end.iter().all(|line| line.starts_with(" !     ")),
            "the failure ends the output:\n{}",
            self.screen
        );
        assert!(
            end.last().is_some_and(|line| line.starts_with(" !     Next: ")),
            "a next step:\n{}",
            self.screen
        );
        let text = end.join("\n");
        for word in words {
            assert!(text.contains(word), "{word:?} is not said:\n{}", self.screen);
        }
        assert!(self.screen.contains("pre-receive hook declined"), "{}", self.screen);
        self
    }

    /// The push must have been rejected, with these words on the screen.
    #[track_caller]
    pub(crate) fn rejected(self, words: &[&str]) -> Self {
        assert!(!self.ok, "the push was accepted:\n{}", self.screen);
        self.says(words)
    }

    /// These words must be on the screen.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.screen.contains(word), "{word:?} is not said:\n{}", self.screen);
        }
        self
    }
}

impl<'d> Repo<'d> {
    /// The working copy that stands there.
    pub(crate) fn at(developer: &'d Developer<'d>, path: &Path) -> Self {
        Self { developer, path: path.to_owned() }
    }

    /// Where it stands.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, text: &str) -> &Self {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        if text.starts_with("#!") {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        self
    }

    /// Removes a file.
    pub(crate) fn remove(&self, name: &str) -> &Self {
        fs::remove_file(self.path.join(name)).unwrap();
        self
    }

    /// Reads a file.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path.join(name)).unwrap()
    }

    /// Commits everything, also nothing; gives the commit.
    pub(crate) fn commit(&self) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "A change"]);
        self.head()
    }

    /// The commit that is checked out.
    pub(crate) fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// Runs git, which must be content.
    #[track_caller]
    pub(crate) fn git(&self, words: &[&str]) -> String {
        self.try_git(words).ok()
    }

    /// Runs git.
    pub(crate) fn try_git(&self, words: &[&str]) -> Output {
        live::run(self.git_command(words), b"")
    }

    /// Pushes what is checked out to the app's `main`.
    pub(crate) fn push(&self, app: &str) -> Push {
        self.push_with(app, &[], &["HEAD:refs/heads/main"])
    }

    /// Pushes with these options and these refs.
    pub(crate) fn push_with(&self, app: &str, options: &[&str], refs: &[&str]) -> Push {
        Self::outcome(&live::run(self.push_command(app, options, refs), b""))
    }

    /// Begins to push what is checked out to the app's `main`.
    pub(crate) fn push_live(&self, app: &str) -> Live {
        Live::start(self.push_command(app, &[], &["HEAD:refs/heads/main"]))
    }

    /// What a push that was watched said in the end.
    pub(crate) fn outcome(output: &Output) -> Push {
        Push { ok: output.code == Some(0), screen: output.all() }
    }

    fn push_command(&self, app: &str, options: &[&str], refs: &[&str]) -> std::process::Command {
        let remote = self.developer.remote(app);
        let words: Vec<&str> = ["push"].iter().chain(options).copied().chain([remote.as_str()]).collect();
        self.git_command(&[&words[..], refs].concat())
    }

    fn git_command(&self, words: &[&str]) -> std::process::Command {
        let mut git = self.developer.command("git");
        git.current_dir(&self.path).args(words);
        git
    }
}
