//! The files of a site, out of its image into the artifact's folder.

use std::{
    fs,
    io::{self, Read},
    path::Path,
    time::Duration,
};

use autostack_base::tasks::Tasks;
use autostack_domain::{Failure, FailureKind, Stage, image::Digest};
use autostack_engine::{Engine, EngineError, ImageFiles};
use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    executor::empty,
    failures::{cancelled, of_engine, timed_out},
    unpack::{Limits, UnpackError, unpack},
};
use crate::diagnose;

/// Pieces of the tar that wait to be unpacked; each some 10 KiB.
const PIECES_MAX: usize = 16;

/// Why the files could not be taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum SiteError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error("the files of the artifact could not be replaced")]
    Replace(#[source] io::Error),
    #[error("the task that unpacks has ended: {0}")]
    Task(String),
    #[error("cancelled")]
    Cancelled,
    #[error("too late")]
    TimedOut,
}

/// Files of an image, and where they belong.
pub(super) struct Files<'a> {
    pub(super) image: &'a Digest,
    /// The folder in the image, absolute.
    pub(super) from: &'a str,
    /// The folder that they replace what is in.
    pub(super) dir: &'a Path,
    /// Where below it they are put.
    pub(super) root: &'a str,
}

impl Files<'_> {
    /// Replaces what is in the folder by the files.
    pub(super) async fn take(
        &self,
        engine: &Engine,
        tasks: &Tasks,
        cancel: &CancellationToken,
        deadline: Instant,
    ) -> Result<(), SiteError> {
        let files = engine.files_of(self.image, self.from).await?;
        let (sender, receiver) = mpsc::channel(PIECES_MAX);
        let (dir, into) = (self.dir.to_owned(), self.dir.join(self.root));
        // The names in the tar begin with the last part of what was asked for.
        let top = self.from.rsplit('/').next().unwrap_or_default().to_owned();
        let unpacked = tasks.blocking("files of a site", move || {
            empty(&dir).and_then(|()| fs::create_dir_all(&into)).map_err(SiteError::Replace)?;
            Ok(unpack(Pieces::new(receiver), &top, &into, Limits::default())?)
        });
        let sent = send(files, sender, cancel, deadline).await;
        let unpacked = unpacked.await.map_err(|panicked| SiteError::Task(panicked.to_string()))?;
        sent.and(unpacked)
    }
}

/// Hands the tar on, piece by piece, to its end.
async fn send(
    mut files: ImageFiles,
    sender: Sender<io::Result<Bytes>>,
    cancel: &CancellationToken,
    deadline: Instant,
) -> Result<(), SiteError> {
    let copied = async {
        while let Some(piece) = files.next().await {
            if sender.send(piece).await.is_err() {
                break;
            }
        }
    };
    let ended = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(SiteError::Cancelled),
        ended = timeout_at(deadline, copied) => ended.map_err(|_elapsed| SiteError::TimedOut),
    };
    if ended.is_err() {
        // What was read so far must not look whole.
        let _ = sender.try_send(Err(io::ErrorKind::Interrupted.into()));
    }
    drop(sender);
    if let Err(error) = files.close().await {
        tracing::warn!(%error, "a container of files is left for the next clean-up");
    }
    ended
}

impl SiteError {
    pub(super) fn failure(self, limit: Duration) -> Failure {
        let internal = |cause: String| {
            Failure::new(Stage::Build, FailureKind::Internal, cause)
                .hint("ask the operator of the host to look at its log")
        };
        let of_disk = |what: String, source: &io::Error| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                diagnose::disk_full(Stage::Build, what)
            }
            _ => internal(what),
        };
        match self {
            SiteError::Cancelled => cancelled(),
            SiteError::TimedOut => timed_out(limit, "taking the files of the site", ""),
            SiteError::Engine(error) if error.is_not_found() => {
                Failure::new(Stage::Build, FailureKind::BuildFailed, "the build made no files for the site")
                    .hint("see what the build script writes, and where to")
            }
            SiteError::Engine(error) => of_engine(&error),
            SiteError::Replace(ref source) => of_disk(format!("{self}: {source}"), source),
            SiteError::Unpack(UnpackError::Write { ref path, ref source }) => {
                of_disk(format!("{path} cannot be written: {source}"), source)
            }
            SiteError::Unpack(UnpackError::Read(source)) => {
                internal(format!("the files of the image cannot be read: {source}"))
            }
            SiteError::Unpack(refused @ UnpackError::TooMuch { .. }) => {
                Failure::new(Stage::Build, FailureKind::OverLimit, refused.to_string())
                    .hint("let the build write fewer files into the folder of the site")
            }
            SiteError::Unpack(refused @ UnpackError::Refused { .. }) => {
                Failure::new(Stage::Build, FailureKind::BuildFailed, refused.to_string())
                    .hint("let the build write plain files into the folder of the site")
            }
            SiteError::Task(why) => internal(why),
        }
    }
}

/// Pieces from another task, read as one file.
struct Pieces {
    receiver: Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Pieces {
    fn new(receiver: Receiver<io::Result<Bytes>>) -> Self {
        Self { receiver, current: Bytes::new() }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
