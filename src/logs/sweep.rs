//! Removal by age, for logs in use and for those that nobody has opened since the start.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use autostack_base::tasks::{Shutdown, Tasks};
use autostack_domain::{AppName, UnixMillis};

use crate::{error::LogError, logs::Logs, segment, stream::Stream};

/// How often [`Logs::keep_swept`] looks.
const SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);

impl Logs {
    /// Removes what is too old at `now`: lines of apps in whole segments, build logs in one piece unless
    /// somebody holds them; and closes the files of idle logs. Goes on after a failure, which it reports
    /// in the agent's own log. Reads folders: belongs on a blocking thread.
    pub fn sweep(&self, now: UnixMillis) {
        let app_cutoff = cutoff(now, self.limits().app_age_max);
        for dir in folders(&self.apps_folder()) {
            report(&dir, self.sweep_app(&dir, app_cutoff, Self::app));
        }
        for dir in folders(&self.access_folder()) {
            report(&dir, self.sweep_app(&dir, app_cutoff, Self::access));
        }
        let build_cutoff = cutoff(now, self.limits().build_age_max);
        for dir in folders(&self.deployments_folder()) {
            let is_old = newest_segment(&dir).is_none_or(|newest| is_older(&newest, build_cutoff))
                && is_older(&dir, build_cutoff);
            if is_old {
                report(&dir, self.remove_unheld(&dir).map(|_| ()));
            }
        }
    }

    /// Sweeps now and every hour, until the agent stops.
    pub async fn keep_swept(self, tasks: Tasks, shutdown: Shutdown) {
        let mut turn = tokio::time::interval(SWEEP_EVERY);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = turn.tick() => {}
            }
            let logs = self.clone();
            // A panic is reported by the task itself; the next hour tries again.
            let _ = tasks.blocking("sweep logs", move || logs.sweep(autostack_base::now())).await;
        }
    }

    fn sweep_app(
        &self,
        dir: &Path,
        cutoff: SystemTime,
        open: impl Fn(&Self, &AppName) -> Result<Arc<Stream>, LogError>,
    ) -> Result<(), LogError> {
        let name = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let Ok(app) = name.parse::<AppName>() else { return Ok(()) };
        let is_oldest_old =
            segment::list(dir)?.first().is_some_and(|oldest| is_older(&segment::path(dir, *oldest), cutoff));
        let stream = if is_oldest_old { Some(open(self, &app)?) } else { self.held(dir) };
        stream.map_or(Ok(()), |stream| stream.remove_older(|path| is_older(path, cutoff)))
    }
}

fn cutoff(now: UnixMillis, age_max: Duration) -> SystemTime {
    let now = UNIX_EPOCH + Duration::from_millis(u64::try_from(now.0).unwrap_or(0));
    now.checked_sub(age_max).unwrap_or(UNIX_EPOCH)
}

/// Whether a file or folder was last changed before the cutoff; one that cannot be asked is not old.
fn is_older(path: &Path, cutoff: SystemTime) -> bool {
    path.metadata().and_then(|metadata| metadata.modified()).is_ok_and(|changed| changed < cutoff)
}

fn newest_segment(dir: &Path) -> Option<PathBuf> {
    let newest = segment::list(dir).ok()?.last().copied()?;
    Some(segment::path(dir, newest))
}

/// The folders in a folder; none if it is missing.
fn folders(dir: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(dir)
        .and_then(|listing| listing.map(|item| item.map(|item| item.path())).collect::<io::Result<Vec<_>>>());
    match listed {
        Ok(paths) => paths,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            tracing::warn!(dir = %dir.display(), %error, "logs could not be swept");
            Vec::new()
        }
    }
}

fn report(dir: &Path, swept: Result<(), LogError>) {
    if let Err(error) = swept {
        let error: &(dyn std::error::Error + 'static) = &error;
        tracing::warn!(dir = %dir.display(), error, "a log could not be swept");
    }
}
