//! Row 2: the logs of apps and deployments: append-only streams in segment files, read by offset.
//!
//! A line of an instance or of a build is appended to its stream and the new length is published; a reader
//! is an offset that reads from the files up to the published length, then waits. So a slow reader costs
//! nothing and loses nothing, one that reconnects goes on where it was, and a restart of the agent loses no
//! line. Old segments are removed whole.
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | `entry` | a line, who wrote it, and where it stands |
//! | `logs`, `sweep` | all streams, by app and deployment; removal by age |
//! | `stream` | one log: append, seal, removal by size |
//! | `reader`, `tail`, `filter`, `pattern` | follow it, look at its end, choose lines |
//! | [`events`] | what happened on the host: append, look at the end, follow |
//! | `build_log`, `lines` | the pen of a build; raw output cut into lines |
//! | `writer`, `recover` | what adds bytes; what a crash left behind |
//! | `segment`, `scan`, `window` | the files, and walking over them past damage |
//! | `frame`, `record` | the bytes: checksummed frames, and what they say |
//! | `limits`, `error` | how much is kept; what can fail |
//!
//! Invariants:
//!
//! - An offset is a byte of the stream's whole life and names the same place for ever. A segment's file is
//!   named by the offset of its first byte, so position = offset − start.
//! - Below the published end nothing changes, so readers need no lock to read. Behind it only the writer's
//!   turn writes, and what a failed or torn write leaves there is cut off or overwritten.
//! - A batch is written whole or not at all; after a crash only whole lines at the end can be missing.
//! - A segment begins with where the output of each living instance stands, so the newest segment alone
//!   tells a stream what it knew.
//! - Damage costs the records that it hit, never the stream; nothing in a tenant's line can pass for a record.
//! - No lock is held across an await, and no file is open but the one that a stream last wrote to.

mod build_log;
mod entry;
mod error;
pub mod events;
mod filter;
mod frame;
mod limits;
mod lines;
mod logs;
mod pattern;
mod reader;
mod record;
mod recover;
mod scan;
mod segment;
mod stream;
mod sweep;
mod tail;
mod window;
mod writer;

#[cfg(test)]
mod tests;

pub use build_log::BuildLog;
pub use entry::{Entry, Offset, Origin, OutputStream};
pub use error::LogError;
pub use events::{EventReader, Events};
pub use filter::Filter;
pub use limits::LogLimits;
pub use logs::Logs;
pub use pattern::Pattern;
pub use reader::{Gap, Reader};
pub use stream::Stream;
