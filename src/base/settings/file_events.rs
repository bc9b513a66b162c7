//! Which events of a folder mean that a file is new.
//!
//! Nothing here waits to see whether a writer has finished: a save ends with the close of a written file,
//! a rename over the old one, or a link put in its place, and those events are what starts a reload.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind},
};
use tokio::sync::Notify;

use super::error::SettingsError;

/// Watches the folder of the file, not the file: a rename puts another file under its name. Where the
/// name is a link, the folder that it leads to is watched too.
pub(super) fn watcher(file: &Path, changed: &Arc<Notify>) -> Result<RecommendedWatcher, SettingsError> {
    let tell = Arc::clone(changed);
    let on_event = move |event: notify::Result<Event>| {
        // An error means that events may be lost: better look once too often.
        if event.as_ref().map_or(true, ends_a_change) {
            tell.notify_one();
        }
    };
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| SettingsError::Watch { path, source }
    };
    let mut watcher = notify::recommended_watcher(on_event).map_err(failed(file))?;
    let folder = folder_of(file);
    watcher.watch(&folder, RecursiveMode::NonRecursive).map_err(failed(&folder))?;
    if let Ok(real) = file.canonicalize() {
        let real_folder = folder_of(&real);
        if folder.canonicalize().is_ok_and(|folder| folder != real_folder) {
            watcher.watch(&real_folder, RecursiveMode::NonRecursive).map_err(failed(&real_folder))?;
        }
    }
    Ok(watcher)
}

fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Whether after this event a file may have new content, all of it. Names are not compared: a link to the
/// file may change under another name, and a look too many costs little.
fn ends_a_change(event: &Event) -> bool {
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        // Reading causes these; a write in progress causes those, and ends with a close.
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Data(_)) => false,
        // A new file is written next, and closed; a new link is complete as it is.
        EventKind::Create(_) => event.paths.iter().any(|path| is_link(path)),
        EventKind::Any | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
    }
}

fn is_link(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_symlink() || found.nlink() > 1)
}
