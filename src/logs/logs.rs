//! All logs of the agent, by app and by deployment.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use autostack_domain::{AppName, DeploymentId, limits};

use crate::{
    build_log::BuildLog,
    error::LogError,
    limits::LogLimits,
    stream::{Shape, Stream, rename_folder},
};

const APPS: &str = "apps";
const ACCESS: &str = "access";
const DEPLOYMENTS: &str = "deployments";
const EVENTS: &str = "events";
/// What is moved here is no log any more; emptied at start.
const REMOVED: &str = "removed";

/// Logs that nobody holds are looked for when this many more are open.
const UNUSED_MAX: usize = 64;

/// All logs below one folder. Cheap to clone; one folder may be opened by one agent only.
///
/// A stream is in memory while somebody holds it, so hold the stream of a running app rather than ask for
/// it at each line.
#[derive(Debug, Clone)]
pub struct Logs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    limits: LogLimits,
    streams: Mutex<Streams>,
    removals: AtomicU64,
    /// Always held: it is written at each change.
    events: OnceLock<Arc<Stream>>,
}

/// Never two streams over one folder: a stream is opened under this lock.
#[derive(Debug, Default)]
struct Streams {
    open: HashMap<PathBuf, Weak<Stream>>,
    look_at_len: usize,
}

impl Logs {
    /// Opens the folder, making it where it is missing.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(dir: impl AsRef<Path>, limits: LogLimits) -> Result<Self, LogError> {
        let dir = dir.as_ref().to_owned();
        fs::create_dir_all(&dir).map_err(|source| LogError::OpenFolder { path: dir.clone(), source })?;
        let logs = Self(Arc::new(Inner {
            dir,
            limits,
            streams: Mutex::default(),
            removals: AtomicU64::new(0),
            events: OnceLock::new(),
        }));
        if let Err(error) = remove_folder(&logs.folder(REMOVED)) {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::warn!(error, "what is left of removed logs stays until the next start");
        }
        Ok(logs)
    }

    /// The log of an app. Makes no file before its first line.
    ///
    /// # Errors
    /// When its newest segment cannot be read, or its torn end not cut off.
    pub fn app(&self, app: &AppName) -> Result<Arc<Stream>, LogError> {
        let shape = Shape {
            segment_bytes_max: self.0.limits.segment_bytes_max,
            bytes_max: Some(self.0.limits.app_bytes_max),
        };
        self.stream(self.folder(APPS).join(app.as_str()), shape)
    }

    /// The access log of an app: a line for each request. Limited like [`Logs::app`], and apart from it, so that
    /// visitors cannot drive out what the app has written.
    ///
    /// # Errors
    /// As [`Logs::app`].
    pub fn access(&self, app: &AppName) -> Result<Arc<Stream>, LogError> {
        let shape = Shape {
            segment_bytes_max: self.0.limits.segment_bytes_max,
            bytes_max: Some(self.0.limits.app_bytes_max),
        };
        self.stream(self.folder(ACCESS).join(app.as_str()), shape)
    }

    /// The build log of a deployment.
    ///
    /// # Errors
    /// As [`Logs::app`].
    pub fn deployment(&self, id: &DeploymentId) -> Result<Arc<Stream>, LogError> {
        let shape = Shape { segment_bytes_max: self.0.limits.segment_bytes_max, bytes_max: None };
        self.stream(self.folder(DEPLOYMENTS).join(id.as_str()), shape)
    }

    /// A pen for the build log of a deployment.
    ///
    /// # Errors
    /// As [`Logs::app`].
    pub fn build_log(&self, id: &DeploymentId) -> Result<BuildLog, LogError> {
        Ok(BuildLog::new(self.deployment(id)?, self.0.limits.build_bytes_max))
    }

    /// The events of the host. Never removed by age.
    ///
    /// # Errors
    /// As [`Logs::app`].
    pub(crate) fn event_stream(&self) -> Result<Arc<Stream>, LogError> {
        if let Some(stream) = self.0.events.get() {
            return Ok(Arc::clone(stream));
        }
        let shape = Shape {
            segment_bytes_max: self.0.limits.segment_bytes_max,
            bytes_max: Some(limits::EVENTS_BYTES_MAX),
        };
        let stream = self.stream(self.folder(EVENTS), shape)?;
        Ok(Arc::clone(self.0.events.get_or_init(|| stream)))
    }

    /// The events, if they were opened since the start.
    pub(crate) fn opened_events(&self) -> Option<Arc<Stream>> {
        self.0.events.get().cloned()
    }

    /// Removes the log of an app and its access log, if there are. Whoever still holds it can add nothing more, and its
    /// readers end; an app of the same name begins with an empty log.
    ///
    /// # Errors
    /// When the folder cannot be moved away; one that could not be deleted then goes at the next start.
    pub fn remove_app(&self, app: &AppName) -> Result<(), LogError> {
        let access = self.remove(&self.folder(ACCESS).join(app.as_str()));
        self.remove(&self.folder(APPS).join(app.as_str())).and(access)
    }

    /// Moves the log of an app and its access log to another name, over what stands there. Whoever holds one goes on
    /// reading and writing.
    ///
    /// # Errors
    /// When a folder cannot be moved; then it stands where it was.
    pub fn rename_app(&self, old: &AppName, new: &AppName) -> Result<(), LogError> {
        self.remove_app(new)?;
        for folder in [ACCESS, APPS] {
            let folder = self.folder(folder);
            self.rename(&folder.join(old.as_str()), folder.join(new.as_str()))?;
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: PathBuf) -> Result<(), LogError> {
        let mut streams = self.lock_streams();
        match streams.open.get(from).and_then(Weak::upgrade) {
            Some(stream) => stream.move_to(&to)?,
            None => rename_folder(from, &to)?,
        }
        if let Some(stream) = streams.open.remove(from) {
            streams.open.insert(to, stream);
        }
        Ok(())
    }

    /// Removes the log of a deployment likewise.
    ///
    /// # Errors
    /// As [`Logs::remove_app`].
    pub fn remove_deployment(&self, id: &DeploymentId) -> Result<(), LogError> {
        self.remove(&self.folder(DEPLOYMENTS).join(id.as_str()))
    }

    pub(crate) fn limits(&self) -> &LogLimits {
        &self.0.limits
    }

    pub(crate) fn apps_folder(&self) -> PathBuf {
        self.folder(APPS)
    }

    pub(crate) fn access_folder(&self) -> PathBuf {
        self.folder(ACCESS)
    }

    pub(crate) fn deployments_folder(&self) -> PathBuf {
        self.folder(DEPLOYMENTS)
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.0.dir.join(name)
    }

    fn stream(&self, dir: PathBuf, shape: Shape) -> Result<Arc<Stream>, LogError> {
        let mut streams = self.lock_streams();
        if let Some(stream) = streams.open.get(&dir).and_then(Weak::upgrade) {
            return Ok(stream);
        }
        if streams.open.len() >= streams.look_at_len {
            streams.open.retain(|_, stream| stream.strong_count() > 0);
            streams.look_at_len = streams.open.len() * 2 + UNUSED_MAX;
        }
        let stream = Arc::new(Stream::open(dir.clone(), shape)?);
        streams.open.insert(dir, Arc::downgrade(&stream));
        Ok(stream)
    }

    /// The stream of a folder if somebody holds it.
    pub(crate) fn held(&self, dir: &Path) -> Option<Arc<Stream>> {
        self.lock_streams().open.get(dir).and_then(Weak::upgrade)
    }

    /// Removes a log that nobody holds; says whether it did.
    pub(crate) fn remove_unheld(&self, dir: &Path) -> Result<bool, LogError> {
        let streams = self.lock_streams();
        let is_held = streams.open.get(dir).is_some_and(|stream| stream.strong_count() > 0);
        if is_held {
            return Ok(false);
        }
        let moved = self.move_away(dir)?;
        drop(streams);
        moved.map_or(Ok(()), |moved| remove_folder(&moved)).map(|()| true)
    }

    fn remove(&self, dir: &Path) -> Result<(), LogError> {
        let mut streams = self.lock_streams();
        if let Some(stream) = streams.open.remove(dir).and_then(|stream| stream.upgrade()) {
            stream.mark_removed();
        }
        let moved = self.move_away(dir)?;
        drop(streams);
        moved.map_or(Ok(()), |moved| remove_folder(&moved))
    }

    /// Takes a log out of its place in one step, so that a crash cannot leave half of it there.
    fn move_away(&self, dir: &Path) -> Result<Option<PathBuf>, LogError> {
        let removed = self.folder(REMOVED);
        fs::create_dir_all(&removed)
            .map_err(|source| LogError::OpenFolder { path: removed.clone(), source })?;
        let mut name = dir.file_name().map(OsString::from).unwrap_or_default();
        name.push(format!(".{}", self.0.removals.fetch_add(1, Ordering::Relaxed)));
        let moved = removed.join(name);
        match fs::rename(dir, &moved) {
            Ok(()) => Ok(Some(moved)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LogError::Remove { path: dir.to_owned(), source }),
        }
    }

    fn lock_streams(&self) -> MutexGuard<'_, Streams> {
        self.0.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove_folder(dir: &Path) -> Result<(), LogError> {
    match fs::remove_dir_all(dir) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(LogError::Remove { path: dir.to_owned(), source })
        }
        _ => Ok(()),
    }
}
