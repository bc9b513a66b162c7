//! [`SettingsHandle`]: follows the settings file, and keeps the last good settings.

use std::{io, path::Path, sync::Arc, time::Duration};

use autostack_domain::UnixMillis;
use notify::RecommendedWatcher;
use tokio::{
    sync::{Notify, watch},
    time,
};

use super::{
    checked::Settings, error::SettingsError, file_events::watcher, keys::Effect, raw::Given, sources::Sources,
};
use crate::{
    clock, error_chain,
    tasks::{Shutdown, Tasks},
};

/// The settings as they change. Keys that wait for a restart never change in it.
pub type SettingsWatch = watch::Receiver<Arc<Settings>>;

/// How long a file may be away before that counts: editors rename the old one before they write the new.
const AWAY_MAX: Duration = Duration::from_secs(1);

/// Whether the file, as it is now, is what the settings say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileState {
    /// It is; or there is no file.
    Ok,
    /// It cannot be used; the last good settings stay.
    Rejected {
        /// Why, one mistake behind the other.
        reason: String,
        /// Since when.
        at: UnixMillis,
    },
}

/// The current settings, and the state of the file that they come from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SettingsHandle {
    settings: Arc<watch::Sender<Arc<Settings>>>,
    state: Arc<watch::Sender<FileState>>,
}

impl SettingsHandle {
    /// Settings that never change, for a program that has no file.
    pub fn fixed(settings: Settings) -> Self {
        let settings = Arc::new(watch::Sender::new(Arc::new(settings)));
        Self { settings, state: Arc::new(watch::Sender::new(FileState::Ok)) }
    }

    /// Loads, and follows the file, if there is one, until the stop of `tasks`.
    ///
    /// # Errors
    /// Every mistake in file and environment; a folder that cannot be watched.
    pub fn start(sources: Sources, tasks: &Tasks) -> Result<Self, Vec<SettingsError>> {
        let changed = Arc::new(Notify::new());
        // The watch begins before the first look, so that no change falls between the two.
        let watcher = match sources.file() {
            Some(file) => Some(watcher(file, &changed).map_err(|error| vec![error])?),
            None => None,
        };
        let text = sources.read().map_err(|error| vec![error])?;
        let (given, settings) = sources.resolve(text.as_deref())?;
        let handle = Self::fixed(settings);
        if let Some(watcher) = watcher {
            let (handle, tasks_of_follower) = (handle.clone(), tasks.clone());
            let follower = Follower {
                sources,
                changed,
                handle,
                given,
                seen: text,
                tasks: tasks_of_follower,
                _watcher: watcher,
            };
            tasks.spawn("settings watch", follower.run(tasks.shutdown_token()));
        }
        Ok(handle)
    }

    /// The settings now.
    pub fn current(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// The settings as they change.
    pub fn watch(&self) -> SettingsWatch {
        self.settings.subscribe()
    }

    /// The state of the file.
    pub fn state(&self) -> FileState {
        self.state.borrow().clone()
    }

    /// Why the file cannot be used, while it cannot.
    pub fn problem(&self) -> Option<String> {
        match self.state() {
            FileState::Ok => None,
            FileState::Rejected { reason, .. } => Some(reason),
        }
    }
}

/// The task behind a handle.
struct Follower {
    sources: Sources,
    changed: Arc<Notify>,
    handle: SettingsHandle,
    /// What the current settings come from.
    given: Given,
    /// The text that was judged last; none while the file cannot be read.
    seen: Option<String>,
    tasks: Tasks,
    /// Dropping it ends the watch.
    _watcher: RecommendedWatcher,
}

impl Follower {
    async fn run(mut self, stop: Shutdown) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.changed.notified() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.look() => {}
            }
        }
    }

    /// Reads the file, and takes it or says why not.
    async fn look(&mut self) {
        match self.read_settled().await {
            Ok(text) if text == self.seen && self.handle.problem().is_none() => {}
            Ok(text) => {
                let taken = self.sources.resolve(text.as_deref()).and_then(|(given, _)| self.take(&given));
                self.seen = text;
                match taken {
                    Ok(()) => self.accept(),
                    Err(errors) => self.reject(&errors),
                }
            }
            Err(error) => self.reject(&[error]),
        }
    }

    /// The text of the file. One that is away is given the time that an editor needs between moving the
    /// old file and writing the new one.
    async fn read_settled(&self) -> Result<Option<String>, SettingsError> {
        loop {
            let sources = self.sources.clone();
            let read = self.tasks.blocking("settings read", move || sources.read()).await;
            match read {
                Ok(Err(SettingsError::Read { source, .. })) if source.kind() == io::ErrorKind::NotFound => {
                    let came = time::timeout(AWAY_MAX, self.changed.notified()).await;
                    if came.is_err() {
                        return self.sources.read();
                    }
                }
                Ok(read) => return read,
                Err(panicked) => return Err(self.unreadable(io::Error::other(panicked))),
            }
        }
    }

    fn unreadable(&self, source: io::Error) -> SettingsError {
        SettingsError::Read { path: self.sources.file().unwrap_or(Path::new("")).to_owned(), source }
    }

    /// Makes new values current, but for those that wait for a restart.
    fn take(&mut self, given: &Given) -> Result<(), Vec<SettingsError>> {
        let waiting = given.differing(&self.given, Effect::Restart);
        let merged = given.with_restart_keys_of(&self.given);
        let changed = merged.differing(&self.given, Effect::Live);
        let settings = Arc::new(self.sources.checked(&merged, Vec::new())?);
        for key in waiting {
            tracing::warn!(key, "setting changed; it takes effect after a restart");
        }
        if !changed.is_empty() {
            tracing::info!(keys = changed.join(" "), "settings changed");
        }
        self.given = merged;
        self.handle.settings.send_if_modified(|current| {
            let differs = *current != settings;
            *current = settings;
            differs
        });
        Ok(())
    }

    fn accept(&self) {
        let mended = self.handle.state.send_if_modified(|state| {
            let was_bad = *state != FileState::Ok;
            *state = FileState::Ok;
            was_bad
        });
        if mended {
            tracing::info!("the settings file is good again");
        }
    }

    fn reject(&self, errors: &[SettingsError]) {
        let reason = errors.iter().map(|error| error_chain(error)).collect::<Vec<_>>().join("; ");
        if self.handle.problem().as_ref() == Some(&reason) {
            return;
        }
        tracing::error!(reason, "settings file rejected; the last good settings stay");
        self.handle.state.send_replace(FileState::Rejected { reason, at: clock::now() });
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    const BOUND: Duration = Duration::from_secs(10);

    struct World {
        folder: tempfile::TempDir,
        tasks: Tasks,
        handle: SettingsHandle,
    }

    impl World {
        fn new(text: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("autostack.toml"), text).unwrap();
            Self::of(folder)
        }

        fn of(folder: tempfile::TempDir) -> Self {
            let tasks = Tasks::new();
            let sources = Sources::new(Some(folder.path().join("autostack.toml")), [], true);
            let handle = SettingsHandle::start(sources, &tasks).unwrap();
            Self { folder, tasks, handle }
        }

        fn file(&self) -> PathBuf {
            self.folder.path().join("autostack.toml")
        }

        async fn build_timeout_becomes(&self, seconds: u64) {
            let mut watch = self.handle.watch();
            let wanted = |settings: &Arc<Settings>| settings.build.timeout == Duration::from_secs(seconds);
            time::timeout(BOUND, watch.wait_for(wanted)).await.unwrap().unwrap();
        }

        async fn state_becomes(&self, wanted: impl FnMut(&FileState) -> bool) -> FileState {
            let mut watch = self.handle.state.subscribe();
            time::timeout(BOUND, watch.wait_for(wanted)).await.unwrap().unwrap().clone()
        }

        async fn is_rejected(&self) -> FileState {
            self.state_becomes(|state| matches!(state, FileState::Rejected { .. })).await
        }

        async fn ends(self) {
            assert!(self.tasks.stop(BOUND).await.is_empty());
            assert_eq!(self.tasks.panics(), 0);
        }
    }

    #[tokio::test]
    async fn a_file_written_in_place_is_taken() {
        let world = World::new("");
        fs::write(world.file(), "build.timeout = \"7s\"").unwrap();
        world.build_timeout_becomes(7).await;
        world.ends().await;
    }

    #[tokio::test]
    async fn a_file_renamed_over_the_old_one_is_taken_again_and_again() {
        let world = World::new("");
        for seconds in [7, 8, 9] {
            let beside = world.folder.path().join("new");
            fs::write(&beside, format!("build.timeout = \"{seconds}s\"")).unwrap();
            fs::rename(&beside, world.file()).unwrap();
            world.build_timeout_becomes(seconds).await;
        }
        world.ends().await;
    }

    #[tokio::test]
    async fn a_save_by_way_of_a_backup_is_never_rejected() {
        let world = World::new("");
        let states = world.handle.state.subscribe();
        fs::rename(world.file(), world.folder.path().join("autostack.toml~")).unwrap();
        fs::write(world.file(), "build.timeout = \"7s\"").unwrap();
        world.build_timeout_becomes(7).await;
        assert!(!states.has_changed().unwrap(), "the gap was judged");
        world.ends().await;
    }

    #[tokio::test]
    async fn a_half_written_file_is_not_looked_at() {
        use std::io::Write;
        let world = World::new("build.timeout = \"5s\"");
        let states = world.handle.state.subscribe();
        let mut half = fs::File::create(world.file()).unwrap();
        half.write_all(b"build.timeout = \"7s\"\n[dep").unwrap();
        half.flush().unwrap();
        half.write_all(b"loy]\nstop_timeout = \"3s\"\n").unwrap();
        drop(half);
        world.build_timeout_becomes(7).await;
        assert_eq!(world.handle.current().deploy.stop_timeout, Duration::from_secs(3));
        assert!(!states.has_changed().unwrap(), "the half was judged");
        world.ends().await;
    }

    #[tokio::test]
    async fn a_link_moved_to_another_file_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        for seconds in ["5", "7"] {
            let versions = folder.path().join(seconds);
            fs::create_dir(&versions).unwrap();
            fs::write(versions.join("real.toml"), format!("build.timeout = \"{seconds}s\"")).unwrap();
        }
        let link = folder.path().join("autostack.toml");
        std::os::unix::fs::symlink("5/real.toml", &link).unwrap();
        let world = World::of(folder);
        // The file behind the link changes in its own folder.
        fs::write(world.folder.path().join("5/real.toml"), "build.timeout = \"6s\"").unwrap();
        world.build_timeout_becomes(6).await;
        let beside = world.folder.path().join("beside");
        std::os::unix::fs::symlink("7/real.toml", &beside).unwrap();
        fs::rename(&beside, &link).unwrap();
        world.build_timeout_becomes(7).await;
        world.ends().await;
    }

    #[tokio::test]
    async fn a_bad_file_keeps_the_last_good_settings_and_says_why() {
        let world = World::new("build.timeout = \"5s\"");
        let before = clock::now();
        fs::write(world.file(), "build.timeout = \"soon\"\ncolour = 1").unwrap();
        let FileState::Rejected { reason, at } = world.is_rejected().await else { unreachable!() };
        assert!(reason.contains("autostack.toml:1: build.timeout: expected a duration"), "{reason}");
        assert!(reason.contains("autostack.toml:2: colour is not a known key"), "{reason}");
        assert!(at >= before && at <= clock::now());
        assert_eq!(world.handle.problem(), Some(reason));
        assert_eq!(world.handle.current().build.timeout, Duration::from_secs(5));
        // The same text as before is good again.
        fs::write(world.file(), "build.timeout = \"5s\"").unwrap();
        world.state_becomes(|state| *state == FileState::Ok).await;
        assert_eq!(world.handle.problem(), None);
        world.ends().await;
    }

    #[tokio::test]
    async fn a_file_that_went_away_is_reported_and_taken_when_it_comes_back() {
        let world = World::new("build.timeout = \"5s\"");
        fs::remove_file(world.file()).unwrap();
        let FileState::Rejected { reason, .. } = world.is_rejected().await else { unreachable!() };
        assert!(reason.contains("cannot be read: No such file"), "{reason}");
        assert_eq!(world.handle.current().build.timeout, Duration::from_secs(5));
        fs::write(world.file(), "build.timeout = \"5s\"").unwrap();
        world.state_becomes(|state| *state == FileState::Ok).await;
        world.ends().await;
    }

    #[tokio::test]
    async fn keys_that_wait_for_a_restart_keep_their_running_value() {
        let world = World::new("ssh.listen = \"127.0.0.1:2200\"");
        fs::write(
            world.file(),
            "data_dir = \"/elsewhere\"\nssh.listen = \"127.0.0.1:2201\"\nbuild.timeout = \"7s\"",
        )
        .unwrap();
        world.build_timeout_becomes(7).await;
        let settings = world.handle.current();
        assert_eq!(settings.ssh.listen.port(), 2200);
        assert_eq!(settings.data_dir, Path::new("/var/lib/autostack"));
        world.ends().await;
    }

    #[tokio::test]
    async fn without_a_file_nothing_is_watched() {
        let tasks = Tasks::new();
        let handle = SettingsHandle::start(Sources::new(None, [], true), &tasks).unwrap();
        assert!(tasks.running().is_empty());
        assert_eq!(handle.state(), FileState::Ok);
        assert_eq!(handle.current().domain.as_str(), "localhost");
    }

    #[tokio::test]
    async fn a_bad_file_at_the_start_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("autostack.toml");
        let start = || SettingsHandle::start(Sources::new(Some(file.clone()), [], true), &Tasks::new());
        assert!(start().is_err_and(|errors| matches!(errors[..], [SettingsError::Read { .. }])));
        fs::write(&file, "domain = 1.5").unwrap();
        assert!(start().is_err_and(|errors| matches!(errors[..], [SettingsError::WrongValue { .. }])));
    }
}
