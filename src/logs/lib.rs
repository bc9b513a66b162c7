//! Row 2: the logs of apps and deployments as append-only streams that are read by offset.

mod build_log;
mod entry;
mod error;
mod filter;
mod limits;
mod logs;
mod reader;
mod stream;

pub use build_log::BuildLog;
pub use entry::{Entry, Offset, Origin, OutputStream};
pub use error::LogError;
pub use filter::Filter;
pub use limits::LogLimits;
pub use logs::Logs;
pub use reader::{Gap, Reader};
pub use stream::Stream;
