//! Everything that a push may leave behind: a story takes it before, and holds it against what is there after.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::{Repo, World, engine::Made, live, processes, wait};

/// What there is of one app, beside its logs and records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// Whatever runs for the agent: instances with their shims, builds, git and its hooks.
    pub(crate) processes: BTreeMap<i32, String>,
    /// Children of the agent that nobody has reaped.
    zombies: Vec<i32>,
    /// Ports of this world on which somebody listens.
    pub(crate) ports: BTreeSet<u16>,
    /// Folders of instances.
    pub(crate) instances: BTreeSet<String>,
    /// Artifacts of the app.
    pub(crate) artifacts: BTreeSet<String>,
    /// Temporary folders of builds.
    build_folders: BTreeSet<String>,
    /// What git has received and not accepted.
    quarantines: BTreeSet<String>,
    /// Every ref of the repository with its commit.
    pub(crate) refs: Vec<String>,
    /// What the agent has in its engine.
    pub(crate) made: Made,
}

impl World {
    /// What there is now.
    pub(crate) fn state(&self, app: &str) -> State {
        let data = self.data_dir();
        let agent = self.agent_pid();
        let running = processes::inside(data).into_iter().filter(|process| process.pid != agent);
        let repository = data.join("repos").join(format!("{app}.git"));
        State {
            processes: running.map(|process| (process.pid, process.command)).collect(),
            zombies: processes::zombies_of(agent),
            ports: processes::listening(&self.port_range()),
            instances: names(&data.join("instances")),
            artifacts: names(&data.join("artifacts").join(app)),
            build_folders: names(&data.join("cache").join(app).join("tmp")),
            quarantines: names(&repository.join("objects"))
                .into_iter()
                .filter(|name| name.starts_with("tmp_objdir") || name.starts_with("incoming"))
                .collect(),
            refs: refs(&repository),
            made: self.made(),
        }
    }

    /// Nothing of a failed push is left: all is as it was, within `limit`.
    #[track_caller]
    pub(crate) fn assert_nothing_left_within(&self, app: &str, before: &State, limit: Duration) {
        let end = Instant::now() + limit;
        loop {
            let now = self.state(app);
            if now == *before {
                return;
            }
            if Instant::now() > end {
                assert_eq!(
                    now, *before,
                    "after {limit:?} something is left (left) that was not there (right)"
                );
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Nothing of a failed push is left: all is as it was.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self, app: &str, before: &State) {
        // An engine under load takes its time to remove an image: it is nameless first, and gone later.
        let limit = if self.engine().is_some() { wait::SOON } else { Duration::from_secs(5) };
        self.assert_nothing_left_within(app, before, limit);
    }

    /// Pushes an app that says `web` as `shop`; what there is of it once it is live.
    #[track_caller]
    pub(crate) fn first_live(&self, repo: &Repo<'_>) -> State {
        repo.push("shop").accepted();
        assert_eq!(self.get("shop", "/").body, "web");
        self.settled("shop")
    }

    /// The app of [`World::first_live`] serves what it served, and nothing else is there.
    #[track_caller]
    pub(crate) fn assert_untouched(&self, before: &State) {
        assert_eq!(self.get("shop", "/").body, "web", "the release before keeps serving");
        self.assert_nothing_left("shop", before);
    }

    /// Waits until only one release runs and no push is under way.
    #[track_caller]
    pub(crate) fn settled(&self, app: &str) -> State {
        let end = Instant::now() + wait::SOON;
        loop {
            let state = self.state(app);
            if self.is_calm(app, &state) {
                return state;
            }
            assert!(
                Instant::now() < end,
                "waited {:?} for the old release to be gone: {state:#?}",
                wait::SOON
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_calm(&self, app: &str, state: &State) -> bool {
        let containers = &state.made.containers;
        state.processes.values().all(|command| !command.contains("git "))
            && state.zombies.is_empty()
            && state.instances.len() == self.wanted_instances(app)
            && state.ports.len() <= state.instances.len()
            && containers.iter().all(|it| it.state == "running" && it.release == newest(&state.made))
    }

    /// How many instances the newest release of the app has, by what runs.
    fn wanted_instances(&self, app: &str) -> usize {
        let revisions = self.instances(app).into_iter().filter_map(|process| {
            Some((process.variable("GIT_REV")?, process.variable("AUTOSTACK_INSTANCE")?))
        });
        let newest = self.head(app);
        revisions.filter(|(revision, _)| *revision == newest).map(|(_, id)| id).collect::<BTreeSet<_>>().len()
    }

    /// The programs that run for the app, shims left out.
    pub(crate) fn instances(&self, app: &str) -> Vec<processes::Process> {
        let mut found = processes::inside(self.data_dir());
        found.retain(|process| process.variable("APP_NAME").as_deref() == Some(app));
        found
    }

    /// The commit of the app's deploy branch.
    pub(crate) fn head(&self, app: &str) -> String {
        let repository = self.data_dir().join("repos").join(format!("{app}.git"));
        let mut git = Command::new("git");
        git.arg("-C").arg(repository).args(["rev-parse", "HEAD"]);
        live::run(git, b"").stdout.trim().to_owned()
    }
}

/// The newest release of which there is a container.
fn newest(made: &Made) -> String {
    let releases = made.containers.iter().filter_map(|it| it.release.parse::<u64>().ok());
    releases.max().map(|release| release.to_string()).unwrap_or_default()
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn refs(repository: &Path) -> Vec<String> {
    if !repository.exists() {
        return Vec::new();
    }
    let mut git = Command::new("git");
    git.arg("-C").arg(repository).arg("for-each-ref");
    let listed = live::run(git, b"");
    if !repository.exists() {
        // It went with its app between the two looks.
        return Vec::new();
    }
    listed.ok().lines().map(str::to_owned).collect()
}
