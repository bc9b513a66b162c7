//! The pen of a build: lines of the platform and the raw output of tools, into the log of a deployment.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use autostack_domain::{Line, UnixMillis};

use crate::{entry::Entry, error::LogError, stream::Stream};

/// Writes the log of a deployment. Each clone has an incomplete line of its own, so the two outputs of a
/// tool go through two clones. Never fails a build: an error is counted and reported once.
#[derive(Debug)]
pub struct BuildLog {
    stream: Arc<Stream>,
    raw_bytes_max: u64,
    partial: Mutex<Vec<u8>>,
}

impl Clone for BuildLog {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.stream), self.raw_bytes_max)
    }
}

impl BuildLog {
    /// Writes to a stream.
    pub fn new(stream: Arc<Stream>, raw_bytes_max: u64) -> Self {
        Self { stream, raw_bytes_max, partial: Mutex::default() }
    }

    /// Writes a line.
    pub fn line(&self, line: Line) {
        self.flush();
        if let Err(error) = self.stream.append(&[Entry::platform(now(), line)]) {
            tracing::error!(error = &error as &dyn std::error::Error, "build log");
        }
    }

    /// Writes `-----> text`.
    pub fn step(&self, text: impl Into<String>) {
        self.line(Line::step(text));
    }

    /// Writes `=====> text`.
    pub fn result(&self, text: impl Into<String>) {
        self.line(Line::result(text));
    }

    /// Writes seven spaces and the text.
    pub fn detail(&self, text: impl Into<String>) {
        self.line(Line::detail(text));
    }

    /// Writes ` !     text`.
    pub fn trouble(&self, text: impl Into<String>) {
        self.line(Line::trouble(text));
    }

    /// Writes output of a tool as details, line by line; an incomplete last line waits for its end.
    pub fn raw(&self, bytes: &[u8]) {
        let mut lines = Vec::new();
        {
            let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
            for byte in bytes {
                if *byte == b'\n' {
                    lines.push(std::mem::take(&mut *partial));
                } else {
                    partial.push(*byte);
                }
            }
        }
        for line in lines {
            self.write_raw(&line);
        }
    }

    /// Writes the incomplete last line, if there is one.
    pub fn flush(&self) {
        let partial = std::mem::take(&mut *self.partial.lock().unwrap_or_else(PoisonError::into_inner));
        if !partial.is_empty() {
            self.write_raw(&partial);
        }
    }

    /// Ends the log.
    pub fn seal(&self) -> Result<(), LogError> {
        self.flush();
        self.stream.seal()
    }

    /// The log that it writes to.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    fn write_raw(&self, line: &[u8]) {
        let line = Line::detail(String::from_utf8_lossy(line));
        if let Err(error) = self.stream.append(&[Entry::platform(now(), line)]) {
            tracing::error!(error = &error as &dyn std::error::Error, "build log");
        }
    }
}

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
