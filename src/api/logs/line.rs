//! [`LogLine`]: a line as clients read it.

use std::borrow::Cow;

use autostack_domain::{ReleaseNumber, UnixMillis};
use autostack_logs::{Entry, Offset, Origin, OutputStream};
use serde::Serialize;
use utoipa::ToSchema;

/// A line of a log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LogLine<'a> {
    /// Where the log stands after it: `from` of whoever goes on.
    offset: u64,
    /// When it was written.
    at: UnixMillis,
    /// The instance that wrote it: `web.1`; `null` for the platform's own word.
    process: Option<&'a str>,
    /// The release that the instance runs.
    release: Option<ReleaseNumber>,
    /// `stdout` or `stderr` of the instance.
    stream: Option<&'static str>,
    /// The text. Escape it for where it is shown: it is the app's own.
    #[schema(value_type = String)]
    text: Cow<'a, str>,
}

impl<'a> LogLine<'a> {
    pub(super) fn of(after: Offset, entry: &'a Entry) -> Self {
        let (process, release, stream) = match &entry.origin {
            Origin::Platform(_) => (None, None, None),
            Origin::Instance { dyno, release, stream, .. } => {
                let stream = match stream {
                    OutputStream::Stdout => "stdout",
                    OutputStream::Stderr => "stderr",
                };
                (Some(dyno.as_str()), Some(*release), Some(stream))
            }
        };
        Self { offset: after.0, at: entry.at, process, release, stream, text: entry.text_lossy() }
    }
}
