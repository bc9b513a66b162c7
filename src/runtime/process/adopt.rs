//! What an agent finds when it comes back.

use std::{
    collections::HashSet,
    fs, io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use autostack_domain::InstanceId;

use super::{
    layout::{InstanceDir, Kind, Launch, ShimRecord},
    leftovers,
    pidfd::PidFd,
    procfs::{boot_id, mark_of, processes},
};
use crate::backend::RuntimeError;

/// How long a shim whose agent was killed in the middle of a start may take to say who it is.
const RECORD_BUDGET: Duration = Duration::from_secs(20);
/// Between two looks for it.
const RECORD_PAUSE: Duration = Duration::from_millis(5);

/// An instance that was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) dir: InstanceDir,
    pub(crate) launch: Launch,
    /// `None` where its shim was killed before it could write it.
    pub(crate) record: Option<ShimRecord>,
    /// The shim, if it still runs.
    pub(crate) shim: Option<PidFd>,
}

/// Finds the instances in the folder. What is none (a one-off, a start that never came to be) is ended and
/// removed, and so are processes whose shim was killed. Blocks.
pub(crate) fn find(instances: &Path) -> Result<Vec<Found>, RuntimeError> {
    let boot = boot_id().map_err(RuntimeError::system("read the boot id"))?;
    let (mut found, mut unwanted) = (Vec::new(), Vec::new());
    for (id, dir) in folders(instances).map_err(RuntimeError::file("list", instances))? {
        match dir.launch() {
            Ok(Some(launch)) if launch.kind == Kind::Instance && launch.spec.id == id => {
                found.push(look(dir, launch, &boot)?);
            }
            Ok(_) => unwanted.push((id, dir)),
            Err(error) => {
                tracing::error!(instance = %id, %error, "launch record cannot be read; ending the instance");
                unwanted.push((id, dir));
            }
        }
    }
    let orphaned = found.iter().filter(|one| one.shim.is_none()).map(|one| one.launch.spec.id.as_str());
    let doomed: HashSet<&str> = orphaned.chain(unwanted.iter().map(|(id, _)| id.as_str())).collect();
    if !doomed.is_empty() {
        end(&doomed)?;
    }
    for (_, dir) in unwanted {
        dir.remove().map_err(RuntimeError::file("remove", dir.path()))?;
    }
    Ok(found)
}

fn end(doomed: &HashSet<&str>) -> Result<(), RuntimeError> {
    let ended = leftovers::kill_marked(doomed).map_err(RuntimeError::system("look for processes"))?;
    if !ended {
        tracing::error!(instances = ?doomed, "processes are left that do not end");
    }
    Ok(())
}

/// The folders that are named like an instance; anything else is not ours to touch.
fn folders(instances: &Path) -> io::Result<Vec<(InstanceId, InstanceDir)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(instances)? {
        let entry = entry?;
        let id = entry.file_name().to_str().and_then(|name| name.parse::<InstanceId>().ok());
        match id {
            Some(id) if entry.file_type()?.is_dir() => found.push((id, InstanceDir::new(entry.path()))),
            _ => tracing::warn!(path = %entry.path().display(), "not an instance"),
        }
    }
    Ok(found)
}

fn look(dir: InstanceDir, launch: Launch, boot: &str) -> Result<Found, RuntimeError> {
    let id = &launch.spec.id;
    let record = record_of(&dir, id).unwrap_or_else(|error| {
        tracing::error!(instance = %id, %error, "shim record cannot be read");
        None
    });
    let shim = match &record {
        Some(record) if record.boot_id == boot => {
            PidFd::open(record.shim).map_err(RuntimeError::system("open a shim"))?
        }
        _ => None,
    };
    Ok(Found { dir, launch, record, shim })
}

/// The record of its shim. Where there is none but a process of the instance lives, the shim is just
/// starting.
fn record_of(dir: &InstanceDir, id: &InstanceId) -> io::Result<Option<ShimRecord>> {
    let deadline = Instant::now() + RECORD_BUDGET;
    let mut record = dir.shim_record()?;
    while record.is_none() && Instant::now() < deadline {
        // In this order, as it may write the record and end between the two looks.
        let lives = has_process(id)?;
        record = dir.shim_record()?;
        if !lives {
            break;
        }
        thread::sleep(RECORD_PAUSE);
    }
    Ok(record)
}

fn has_process(id: &InstanceId) -> io::Result<bool> {
    let all = processes()?;
    Ok(all.iter().any(|stat| mark_of(stat.pid).is_some_and(|mark| mark == id.as_str())))
}
