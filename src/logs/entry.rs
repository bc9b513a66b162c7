//! What a log holds: an [`Entry`], where it came from ([`Origin`]), and where it stands ([`Offset`]).

use std::{fmt, num::ParseIntError, str::FromStr};

use autostack_domain::{InstanceId, Line, LineKind, ReleaseNumber, UnixMillis};
use serde::{Deserialize, Serialize};

/// A place in a stream, in bytes since the stream's first record; it never means another place later,
/// however often the agent restarts or old segments are removed. [`Offset::START`] is the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(pub u64);

impl Offset {
    /// Before the first record that the stream ever had.
    pub const START: Offset = Offset(0);
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Offset {
    type Err = ParseIntError;

    fn from_str(given: &str) -> Result<Self, ParseIntError> {
        given.parse().map(Self)
    }
}

/// Which of its two outputs an instance wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputStream {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

/// Who wrote a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The platform: a build log, or a word about an app (`web.1 crashed`).
    Platform(LineKind),
    /// A running instance.
    Instance {
        /// Which copy.
        instance: InstanceId,
        /// The release that it runs.
        release: ReleaseNumber,
        /// Its name for people: `web.1`.
        dyno: String,
        /// Which of its outputs.
        stream: OutputStream,
        /// Where the instance's own output stands after this line, in bytes: from there a tailer goes on
        /// after a restart of the agent ([`crate::Stream::last_source_end`]).
        source_end: u64,
    },
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it was written, or read from whoever wrote it.
    pub at: UnixMillis,
    /// Who wrote it.
    pub origin: Origin,
    /// The line without its line end, byte for byte as it came; whoever shows it escapes it. One that is
    /// longer than [`autostack_domain::limits::LOG_LINE_BYTES_MAX`] is kept as several entries.
    pub text: Vec<u8>,
}

impl Entry {
    /// A line of the platform.
    pub fn platform(at: UnixMillis, line: Line) -> Self {
        Self { at, origin: Origin::Platform(line.kind), text: line.text.into_bytes() }
    }

    /// The text for a person; bytes that are not UTF-8 become `U+FFFD`. Not escaped for a terminal.
    pub fn text_lossy(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.text)
    }

    /// The line as a screen shows it: the platform's with its own prefix, an instance's as detail.
    pub fn to_line(&self) -> Line {
        let kind = match self.origin {
            Origin::Platform(kind) => kind,
            Origin::Instance { .. } => LineKind::Detail,
        };
        Line { kind, text: self.text_lossy().into_owned() }
    }
}
