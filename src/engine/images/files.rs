//! [`ImageFiles`]: files out of an image, by a container that never runs.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use autostack_domain::image::Digest;
use bollard::{
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{CreateContainerOptions, DownloadFromContainerOptions, RemoveContainerOptions},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::{runtime::Handle, time};

use crate::{Engine, EngineError, engine::CALL_TIMEOUT, labels};

const OPERATION: &str = "read files of the image";
/// The engine reads from its own disk: nothing for so long is no slow disk any more.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A tar of a file or a folder of an image, as it streams in. Ends with an error where the engine goes away, so
/// what has ended well is whole.
///
/// When it is dropped, the container that it was read from is removed behind the scenes; one that outlives the
/// agent is found by its label and removed by the next clean-up.
pub struct ImageFiles {
    tar: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>,
    container: Leftover,
}

impl Engine {
    /// Reads a file or a folder of an image as a tar, whose names start with the last part of `path`. Nothing of
    /// the image is run.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] when the image or the path does not exist, and those of a call.
    pub async fn files_of(&self, image: &Digest, path: &str) -> Result<ImageFiles, EngineError> {
        let container = self.create_for_files(image).await?;
        let docker = self.docker().await?;
        let options = DownloadFromContainerOptions { path: path.to_owned() };
        let mut tar = Box::pin(docker.download_from_container(&container.id, Some(options)));
        // The first piece says whether the path exists.
        let first = match time::timeout(CALL_TIMEOUT, tar.next()).await {
            Err(_elapsed) => {
                return Err(EngineError::TimedOut { operation: OPERATION, within: CALL_TIMEOUT });
            }
            Ok(Some(Err(error))) => return Err(self.failed(OPERATION, error)),
            Ok(first) => first.and_then(Result::ok),
        };
        let engine = self.clone();
        let rest = futures_util::stream::unfold((tar, engine), |(mut tar, engine)| async move {
            let piece = match time::timeout(SILENCE_MAX, tar.next()).await {
                Ok(piece) => piece?.map_err(|error| io::Error::other(engine.failed(OPERATION, error))),
                Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
            };
            Some((piece, (tar, engine)))
        });
        let tar = futures_util::stream::iter(first.map(Ok)).chain(rest);
        Ok(ImageFiles { tar: Box::pin(tar), container })
    }

    async fn create_for_files(&self, image: &Digest) -> Result<Leftover, EngineError> {
        let body = ContainerCreateBody {
            image: Some(image.to_string()),
            // Never executed; an image without a command could not be made a container of otherwise.
            entrypoint: Some(vec!["/".into()]),
            labels: Some([self.mark_label(), (labels::PURPOSE.into(), labels::PURPOSE_FILES.into())].into()),
            network_disabled: Some(true),
            host_config: Some(HostConfig { network_mode: Some("none".into()), ..HostConfig::default() }),
            ..ContainerCreateBody::default()
        };
        let created = self
            .call(OPERATION, |docker| async move {
                docker.create_container(None::<CreateContainerOptions>, body).await
            })
            .await?;
        Ok(Leftover { id: created.id, engine: self.clone() })
    }
}

impl ImageFiles {
    /// Removes the container now, and says whether that worked; dropping does it without waiting.
    ///
    /// # Errors
    /// Those of a call.
    pub async fn close(mut self) -> Result<(), EngineError> {
        let id = std::mem::take(&mut self.container.id);
        self.container.engine.remove_leftover(&id).await
    }
}

impl Stream for ImageFiles {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.tar.as_mut().poll_next(context)
    }
}

/// A container that is removed when this is dropped.
struct Leftover {
    /// Empty once it is somebody else's to remove.
    id: String,
    engine: Engine,
}

impl Drop for Leftover {
    fn drop(&mut self) {
        if self.id.is_empty() || Handle::try_current().is_err() {
            return;
        }
        let (engine, id) = (self.engine.clone(), std::mem::take(&mut self.id));
        self.engine.tasks().spawn("remove a container of files", async move {
            if let Err(error) = engine.remove_leftover(&id).await {
                tracing::warn!(container = id, error = %error, "left for the next clean-up");
            }
        });
    }
}

impl Engine {
    /// Removes a container that does not run, with its unnamed volumes; gone already is fine.
    pub(crate) async fn remove_leftover(&self, id: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptions { v: true, ..RemoveContainerOptions::default() };
        let id = id.to_owned();
        let removed =
            self.call("remove a container", |docker| async move {
                docker.remove_container(&id, Some(options)).await
            })
            .await;
        match removed {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}
