//! Output → log, every line once.

use std::sync::Arc;

use autostack_base::now;
use autostack_domain::InstanceSpec;
use autostack_logs::{BuildLog, Entry, LogError, Origin, OutputStream, Stream};

use super::{
    layout::InstanceDir,
    output::{OutputReader, Piece, Source},
};

/// Moves the output of one instance to where it is read.
#[derive(Debug)]
pub(crate) struct Tail {
    reader: OutputReader,
    sink: Sink,
}

/// Reads of at most 64 KiB after which somebody else may have the thread.
const READS_PER_PUMP: usize = 32;

/// Where output goes.
#[derive(Debug)]
enum Sink {
    /// The log of an app.
    App { stream: Arc<Stream>, spec: Arc<InstanceSpec> },
    /// The log of a deployment.
    Build(BuildLog),
}

/// Why output could not be moved; what is left is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TailError {
    #[error("read output")]
    Read(#[source] std::io::Error),
    #[error("write to the log")]
    Write(#[source] LogError),
}

impl Tail {
    /// Goes on where the log of the app stopped.
    pub(crate) fn to_app(dir: &InstanceDir, stream: Arc<Stream>, spec: Arc<InstanceSpec>) -> Self {
        let from = stream.last_source_end(&spec.id).unwrap_or(0);
        let reader = OutputReader::new(dir.path().to_owned(), from);
        Self { reader, sink: Sink::App { stream, spec } }
    }

    /// From the beginning.
    pub(crate) fn to_build(dir: &InstanceDir, log: BuildLog) -> Self {
        Self { reader: OutputReader::new(dir.path().to_owned(), 0), sink: Sink::Build(log) }
    }

    /// Moves what is there now, or a good part of it; whether there may be more. Blocks; may be called
    /// again after an error.
    pub(crate) fn pump(&mut self) -> Result<bool, TailError> {
        for _ in 0..READS_PER_PUMP {
            let pieces = self.reader.read().map_err(TailError::Read)?;
            if pieces.is_empty() {
                return Ok(false);
            }
            if let Err(error) = self.sink.take(pieces) {
                self.reader.rewind();
                return Err(TailError::Write(error));
            }
        }
        Ok(true)
    }
}

impl Sink {
    fn take(&self, pieces: Vec<Piece>) -> Result<(), LogError> {
        match self {
            Sink::App { stream, spec } => {
                let entries: Vec<Entry> = pieces.into_iter().map(|piece| entry(spec, piece)).collect();
                match stream.append(&entries) {
                    // The app was destroyed: nobody will read this.
                    Ok(_) | Err(LogError::Sealed { .. } | LogError::Removed { .. }) => Ok(()),
                    Err(error) => Err(error),
                }
            }
            Sink::Build(log) => {
                for piece in pieces {
                    let mut line = text(piece);
                    line.push(b'\n');
                    log.raw(&line);
                }
                Ok(())
            }
        }
    }
}

fn entry(spec: &InstanceSpec, piece: Piece) -> Entry {
    let (at, stream, source_end) = match &piece {
        Piece::Line(record, end) => {
            let stream = match record.source {
                Source::Stdout => OutputStream::Stdout,
                Source::Stderr | Source::Shim => OutputStream::Stderr,
            };
            (record.at, stream, *end)
        }
        Piece::Gap { end, .. } => (now(), OutputStream::Stderr, *end),
    };
    let origin = Origin::Instance {
        instance: spec.id.clone(),
        release: spec.release,
        dyno: spec.dyno(),
        stream,
        source_end,
    };
    Entry { at, origin, text: text(piece) }
}

/// The line; one that is not the app's own says so.
fn text(piece: Piece) -> Vec<u8> {
    match piece {
        Piece::Line(record, _) if record.source == Source::Shim => {
            [b"autostack: ".as_slice(), &record.text].concat()
        }
        Piece::Line(record, _) => record.text,
        Piece::Gap { bytes, .. } => {
            format!("autostack: {bytes} bytes of output are missing here: the agent was away too long")
                .into_bytes()
        }
    }
}
