//! The output of an instance on its way from the shim, which writes it, to the agent, which may be away.
//!
//! One stream of records, one record a line, cut into files `output.START` where START is the place of
//! the file's first byte in the stream. A place never means another one later, so an agent that knows how
//! far it has come goes on from there. Files that were read are removed by the agent; when it is away for
//! long the shim removes the oldest, which the reader sees as a gap.

mod lines;
mod reader;
mod record;
mod writer;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) use lines::LineBuffer;
pub(crate) use reader::{OutputReader, Piece};
pub(crate) use record::{Record, Source};
pub(crate) use writer::OutputWriter;

/// How much output is kept for an agent that is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutputLimits {
    /// Bytes after which the next file begins.
    pub(crate) file_bytes_max: u64,
    /// Bytes of all files together, give or take one file and what is read from a pipe at once; the oldest
    /// are removed beyond it.
    pub(crate) bytes_max: u64,
}

impl Default for OutputLimits {
    fn default() -> Self {
        Self { file_bytes_max: 4 * 1024 * 1024, bytes_max: 64 * 1024 * 1024 }
    }
}

fn file_of(dir: &Path, start: u64) -> PathBuf {
    dir.join(format!("output.{start:020}"))
}

/// Where the files in the folder start, in order.
fn starts(dir: &Path) -> std::io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        found.extend(name.to_str().and_then(|name| name.strip_prefix("output.")?.parse::<u64>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}
