//! The pen of a build: lines of the platform and the raw output of tools, into the log of a deployment.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use autostack_base::now;
use autostack_domain::{Line, LineKind};

use crate::{
    entry::{Entry, Origin},
    error::LogError,
    lines::Lines,
    stream::Stream,
};

/// Raw output that is written in one go.
const RAW_CHUNK_BYTES: usize = 64 * 1024;

/// Writes the log of a deployment. Cheap to clone; each clone has an incomplete line of its own, so the two
/// outputs of a tool go through two clones. Never fails a build: a line that cannot be written is counted,
/// the first one is reported in the agent's log, and the next line that can be written says how many are
/// missing. Dropped, it writes its incomplete line.
#[derive(Debug)]
pub struct BuildLog {
    shared: Arc<Shared>,
    lines: Mutex<Lines>,
}

#[derive(Debug)]
struct Shared {
    stream: Arc<Stream>,
    raw_bytes_max: u64,
    written: Mutex<Written>,
}

/// What all clones have written together.
#[derive(Debug, Default)]
struct Written {
    raw_bytes: u64,
    is_full: bool,
    /// Lines lost since the last one that was written.
    missing: u64,
    lost: u64,
}

impl Clone for BuildLog {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), lines: Mutex::default() }
    }
}

impl BuildLog {
    /// Writes to a stream; of raw output `raw_bytes_max` bytes at most, all clones together.
    pub fn new(stream: Arc<Stream>, raw_bytes_max: u64) -> Self {
        let shared = Shared { stream, raw_bytes_max, written: Mutex::default() };
        Self { shared: Arc::new(shared), lines: Mutex::default() }
    }

    /// Writes a line, behind this clone's incomplete one; a text of several lines as several.
    pub fn line(&self, line: Line) {
        self.flush();
        let at = now();
        let entries: Vec<_> = match line.text.split_once('\n') {
            None => vec![Entry::platform(at, line)],
            Some(_) => {
                let part = |text: &str| Line { kind: line.kind, text: text.to_owned() };
                line.text.lines().map(|text| Entry::platform(at, part(text))).collect()
            }
        };
        self.shared.write(&mut self.shared.lock(), entries);
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

    /// Writes output of a tool as details, line by line; an incomplete last line waits for its end. Of a
    /// line that carriage returns wrote over, the last state is kept. What exceeds the limit is dropped,
    /// and the log says so once.
    pub fn raw(&self, bytes: &[u8]) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in bytes.chunks(RAW_CHUNK_BYTES) {
            let mut found = Vec::new();
            lines.push(chunk, |line| found.push(line));
            self.shared.write_raw(found);
        }
    }

    /// Writes this clone's incomplete line, if there is one.
    pub fn flush(&self) {
        let line = self.lines.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.shared.write_raw(line.into_iter().collect());
    }

    /// Writes this clone's incomplete line and ends the log; see [`Stream::seal`].
    ///
    /// # Errors
    /// When the seal cannot be written; readers end all the same.
    pub fn seal(&self) -> Result<(), LogError> {
        self.flush();
        self.shared.stream.seal()
    }

    /// The log that it writes to.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.shared.stream
    }

    /// Lines that could not be written, those dropped for the limit not counted.
    pub fn lost(&self) -> u64 {
        self.shared.lock().lost
    }
}

impl Drop for BuildLog {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Shared {
    fn write_raw(&self, lines: Vec<Vec<u8>>) {
        if lines.is_empty() {
            return;
        }
        let at = now();
        let mut written = self.lock();
        let mut entries = Vec::with_capacity(lines.len());
        for text in lines {
            if written.is_full {
                break;
            }
            written.raw_bytes += text.len() as u64 + 1;
            if written.raw_bytes > self.raw_bytes_max {
                written.is_full = true;
                let text =
                    format!("output of more than {} is dropped from here on", size(self.raw_bytes_max));
                entries.push(Entry::platform(at, Line::trouble(text)));
            } else {
                entries.push(Entry { at, origin: Origin::Platform(LineKind::Detail), text });
            }
        }
        self.write(&mut written, entries);
    }

    fn write(&self, written: &mut Written, mut entries: Vec<Entry>) {
        if entries.is_empty() {
            return;
        }
        let count = entries.len() as u64;
        if written.missing > 0 {
            let text = format!("{} lines are missing here: the log could not be written", written.missing);
            entries.insert(0, Entry::platform(now(), Line::trouble(text)));
        }
        match self.stream.append(&entries) {
            Ok(_) => written.missing = 0,
            Err(error) => {
                if written.lost == 0 {
                    let error: &(dyn std::error::Error + 'static) = &error;
                    tracing::error!(error, "a build log cannot be written; its lines are lost until it can");
                }
                written.missing += count;
                written.lost += count;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A limit as people say it.
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}
