//! What the log store promises, tried on real files.

mod build_log;
mod crash;
mod events;
mod follow;
mod no_space;
mod properties;
mod retention;
mod stream;

use std::{path::PathBuf, sync::Arc};

use autostack_domain::{
    AppName, DeploymentId, InstanceId, Line, LineKind, ProcessType, ReleaseNumber, UnixMillis,
};

use crate::{Entry, Filter, LogLimits, Logs, Offset, Origin, OutputStream, Reader, Stream};

/// A folder of logs that is gone with the test.
struct World {
    dir: tempfile::TempDir,
    limits: LogLimits,
}

impl World {
    /// With segments so small that tests cross many.
    fn new() -> Self {
        let limits = LogLimits { segment_bytes_max: 32 * 1024, ..LogLimits::default() };
        Self { dir: tempfile::tempdir().unwrap(), limits }
    }

    /// As after a start of the agent.
    fn open(&self) -> Logs {
        Logs::open(self.dir.path(), self.limits).unwrap()
    }

    /// The app's log as after a start of the agent.
    fn stream(&self) -> Arc<Stream> {
        self.open().app(&app()).unwrap()
    }

    fn app_dir(&self) -> PathBuf {
        self.dir.path().join("apps/shop")
    }

    /// The app's segments, the oldest first.
    fn segments(&self) -> Vec<PathBuf> {
        let Ok(listing) = std::fs::read_dir(self.app_dir()) else { return Vec::new() };
        let mut paths: Vec<_> = listing.map(|item| item.unwrap().path()).collect();
        paths.sort();
        paths
    }
}

fn app() -> AppName {
    "shop".parse().unwrap()
}

fn deployment() -> DeploymentId {
    "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap()
}

fn instance(index: u32) -> InstanceId {
    InstanceId::compose(&app(), &ProcessType::web(), index, 0xbeef)
}

fn said(text: impl Into<String>) -> Entry {
    Entry::platform(UnixMillis(1_000), Line::detail(text))
}

fn written_by(index: u32, text: impl Into<Vec<u8>>, source_end: u64) -> Entry {
    Entry {
        at: UnixMillis(2_000),
        origin: Origin::Instance {
            instance: instance(index),
            release: ReleaseNumber(3),
            dyno: format!("web.{index}"),
            stream: OutputStream::Stdout,
            source_end,
        },
        text: text.into(),
    }
}

/// Everything that is ready now.
fn drain(reader: &mut Reader) -> Vec<Entry> {
    std::iter::from_fn(|| reader.next_ready().unwrap()).map(|(_, entry)| entry).collect()
}

fn all(stream: &Arc<Stream>) -> Vec<Entry> {
    drain(&mut stream.reader(Offset::START))
}

fn texts(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| entry.text_lossy().into_owned()).collect()
}

fn tail_texts(stream: &Stream, n: usize, filter: &Filter) -> Vec<String> {
    let (found, _) = stream.tail(n, filter).unwrap();
    found.iter().map(|(_, entry)| entry.text_lossy().into_owned()).collect()
}

fn kind(entry: &Entry) -> Option<LineKind> {
    match entry.origin {
        Origin::Platform(kind) => Some(kind),
        Origin::Instance { .. } => None,
    }
}
