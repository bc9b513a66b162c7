//! Images that come as a stream: archives of `docker save`, and plain file systems.

use std::{
    io::{self, Read, Write},
    pin::pin,
};

use autostack_base::tasks::TaskPanicked;
use autostack_domain::image::Digest;
use bollard::{
    body_try_stream,
    query_parameters::{CreateImageOptions, ImportImageOptions},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    ImageFacts,
    archive::{Stopped, without_names},
    names::split_name,
};
use crate::{Engine, EngineError, Output, Say, engine::or_cancelled, error::evidence};

/// Pieces of an archive that wait between its reader and the engine; a piece has 64 KiB at most on our side.
const PIECES_WAITING_MAX: usize = 16;
/// What Docker says of each image without a name that it has loaded, and Podman of all of them.
const LOADED: [&str; 2] = ["Loaded image ID: ", "Loaded image: "];

const LOAD: &str = "load the images";
const IMPORT: &str = "import the file system";

impl Engine {
    /// Loads the images of an archive made by `docker save`, as it streams in. The names in it are dropped: an
    /// image that was loaded has no name until [`Engine::adopt`] gives it one, and whatever had these names
    /// keeps them.
    ///
    /// # Errors
    /// [`EngineError::NotAnArchive`], [`EngineError::Input`] when the stream fails,
    /// [`EngineError::Cancelled`] within a second of `cancel`, and those of a call.
    pub async fn load<S>(
        &self,
        archive: S,
        say: &Say<'_>,
        cancel: &CancellationToken,
    ) -> Result<Vec<ImageFacts>, EngineError>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        say(Output::Step("Loading images"));
        let ids = or_cancelled(cancel, self.send_archive(archive)).await?;
        let mut images = Vec::new();
        for id in ids {
            let facts = or_cancelled(cancel, self.inspect_image(&id)).await?;
            let facts = facts.ok_or_else(|| EngineError::Unexpected {
                operation: LOAD,
                evidence: format!("it does not have {id} after the load"),
            })?;
            say(Output::Detail(&format!("Loaded {}", facts.id)));
            images.push(facts);
        }
        if images.is_empty() {
            return Err(EngineError::NotAnArchive { evidence: "it holds no image".into() });
        }
        Ok(images)
    }

    /// Makes an image of one layer from a tar of a file system, under a name of ours. `changes` are lines of a
    /// Dockerfile: `ENV`, `CMD`, `EXPOSE`, `LABEL` and so on.
    ///
    /// # Errors
    /// Those of a call.
    pub async fn import<S>(&self, tar: S, name: &str, changes: &[String]) -> Result<Digest, EngineError>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let docker = self.docker().await?;
        let (repository, tag) = split_name(name);
        let options = CreateImageOptions {
            from_src: Some("-".into()),
            repo: Some(repository.into()),
            tag: Some(tag.into()),
            changes: changes.to_vec(),
            ..CreateImageOptions::default()
        };
        let mut messages = docker.create_image(Some(options), Some(body_try_stream(tar)), None);
        while let Some(message) = messages.next().await {
            message.map_err(|error| self.failed(IMPORT, error))?;
        }
        let facts = self.inspect_image(name).await?;
        facts.map(|facts| facts.id).ok_or_else(|| EngineError::Unexpected {
            operation: IMPORT,
            evidence: format!("it does not have {name} after the import"),
        })
    }

    /// Sends the archive without its names, and gives the ids of the images that were in it.
    async fn send_archive<S>(&self, archive: S) -> Result<Vec<String>, EngineError>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let docker = self.docker().await?;
        let (to_copy, from_reader) = mpsc::channel(PIECES_WAITING_MAX);
        let (to_engine, from_copy) = mpsc::channel(PIECES_WAITING_MAX);
        let copied = self.tasks().blocking("copy an archive of images", move || {
            let result = without_names(
                PiecesIn { pieces: from_reader, piece: Bytes::new() },
                PiecesOut { pieces: &to_engine },
            );
            if result.is_err() {
                // Whoever still reads must not take it for the whole archive.
                let _nobody_reads = to_engine.blocking_send(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            result
        });
        let feeding = async move {
            let mut archive = pin!(archive);
            while let Some(piece) = archive.next().await {
                if to_copy.send(piece).await.is_err() {
                    break;
                }
            }
        };
        let loading = async {
            let body = received(from_copy);
            let options = ImportImageOptions { quiet: true, ..ImportImageOptions::default() };
            let mut messages = docker.import_image_stream(options, body, None);
            let mut ids = Vec::new();
            while let Some(message) = messages.next().await {
                let said = message?.stream.unwrap_or_default();
                ids.extend(loaded_ids(&said).map(str::to_owned));
            }
            Ok(ids)
        };
        let ((), copied, loaded) = tokio::join!(feeding, copied, loading);
        match stopped(copied) {
            Some(error) => Err(error),
            None => loaded.map_err(|error| self.failed(LOAD, error)),
        }
    }
}

/// The ids of images in what the engine says.
fn loaded_ids(said: &str) -> impl Iterator<Item = &str> {
    let rest = said.lines().filter_map(|line| LOADED.iter().find_map(|words| line.strip_prefix(words)));
    rest.flat_map(|ids| ids.split(',')).map(str::trim).filter(|id| id.starts_with("sha256:"))
}

/// Why the copy did not come to its end, where that explains it all.
fn stopped(copied: Result<Result<(), Stopped>, TaskPanicked>) -> Option<EngineError> {
    match copied {
        Ok(Err(Stopped::Refused(why))) => Some(EngineError::NotAnArchive { evidence: evidence(&why) }),
        Ok(Err(Stopped::Input(source))) => Some(EngineError::Input { operation: LOAD, source }),
        // The engine has the word: it stopped reading.
        Ok(Err(Stopped::Output) | Ok(())) => None,
        Err(panicked) => Some(EngineError::Input { operation: LOAD, source: io::Error::other(panicked) }),
    }
}

/// The receiving end of a channel as a stream.
fn received<T: Send + 'static>(mut pieces: mpsc::Receiver<T>) -> impl Stream<Item = T> + Send + 'static {
    stream::poll_fn(move |context| pieces.poll_recv(context))
}

/// Reads what comes in piece by piece.
struct PiecesIn {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for PiecesIn {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

/// Hands on what is written, piece by piece.
struct PiecesOut<'a> {
    pieces: &'a mpsc::Sender<io::Result<Bytes>>,
}

impl Write for PiecesOut<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let sent = self.pieces.blocking_send(Ok(Bytes::copy_from_slice(buffer)));
        sent.map(|()| buffer.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_say_in_their_own_words_what_they_loaded() {
        let ids = |said| loaded_ids(said).collect::<Vec<_>>();
        assert_eq!(ids("Loaded image ID: sha256:01\n"), ["sha256:01"]);
        assert_eq!(ids("Loaded image: sha256:01,sha256:02"), ["sha256:01", "sha256:02"]);
        assert_eq!(
            ids("Loaded image: node:24\n"),
            [] as [&str; 0],
            "a name is not taken for an image of ours"
        );
        assert_eq!(ids("Loading layer"), [] as [&str; 0]);
    }
}
