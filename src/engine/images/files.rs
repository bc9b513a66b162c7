//! [`ImageFiles`]: files out of an image, by a container that never runs.

use std::{
    collections::HashMap,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use autostack_domain::image::Digest;
use bollard::{
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{
        CreateContainerOptions, DownloadFromContainerOptions, ListContainersOptions, RemoveContainerOptions,
    },
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::{runtime::Handle, time};
use uuid::Uuid;

use crate::{AgentMark, Engine, EngineError, engine::CALL_TIMEOUT, labels};

const OPERATION: &str = "read files of the image";
/// The engine reads from its own disk: nothing for so long is no slow disk any more.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A tar of a file or a folder of an image, as it streams in. Ends with an error where the engine goes away, so
/// what has ended well is whole.
///
/// When it is dropped, the container that it was read from is removed behind the scenes; one that outlives the
/// agent is found by its label and removed by the next clean-up.
pub struct ImageFiles {
    /// Dropped before the container is removed: the engine does not let go of one that is read from.
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
        let container = Leftover::new(self);
        self.create_for_files(image, &container.name).await?;
        let docker = self.docker().await?;
        let options = DownloadFromContainerOptions { path: path.to_owned() };
        let mut tar = Box::pin(docker.download_from_container(&container.name, Some(options)));
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

    async fn create_for_files(&self, image: &Digest, name: &str) -> Result<(), EngineError> {
        let body = ContainerCreateBody {
            image: Some(image.to_string()),
            // Never executed; an image without a command could not be made a container of otherwise.
            entrypoint: Some(vec!["/".into()]),
            labels: Some([self.mark_label(), (labels::PURPOSE.into(), labels::PURPOSE_FILES.into())].into()),
            network_disabled: Some(true),
            host_config: Some(HostConfig { network_mode: Some("none".into()), ..HostConfig::default() }),
            ..ContainerCreateBody::default()
        };
        let options =
            CreateContainerOptions { name: Some(name.to_owned()), ..CreateContainerOptions::default() };
        self.call(OPERATION, |docker| async move { docker.create_container(Some(options), body).await })
            .await?;
        Ok(())
    }

    /// Removes the containers that files were read from when an agent was killed, or the engine went away; those
    /// that are read from right now stay. Gives how many went.
    ///
    /// # Errors
    /// Those of a call; what is left is for the next time.
    pub async fn remove_leftovers(&self) -> Result<usize, EngineError> {
        let purpose = format!("{}={}", labels::PURPOSE, labels::PURPOSE_FILES);
        let mut filters: HashMap<String, Vec<String>> = self.label_filter(None);
        filters.entry("label".into()).or_default().push(purpose);
        let options =
            ListContainersOptions { all: true, filters: Some(filters), ..ListContainersOptions::default() };
        let listed = self
            .call("list containers", |docker| async move { docker.list_containers(Some(options)).await })
            .await?;
        let mut removed = 0;
        for container in listed {
            let names = container.names.unwrap_or_default();
            let name = names.first().map(|name| name.trim_start_matches('/')).unwrap_or_default();
            // Labels are copied by `docker commit`; the name is not.
            if name.starts_with(&name_prefix(self.mark())) && !self.containers_in_use().contains(name) {
                self.remove_leftover(name).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

fn name_prefix(mark: &AgentMark) -> String {
    format!("autostack-{mark}-files-")
}

impl ImageFiles {
    /// Removes the container now, and says whether that worked; dropping does it without waiting.
    ///
    /// # Errors
    /// Those of a call.
    pub async fn close(self) -> Result<(), EngineError> {
        let Self { tar, mut container } = self;
        // As long as somebody reads from it, the engine does not let go of the container.
        drop(tar);
        let (engine, name) = (container.engine.clone(), container.name.clone());
        engine.remove_leftover(&name).await?;
        engine.containers_in_use().remove(&name);
        container.give_up();
        Ok(())
    }
}

impl Stream for ImageFiles {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.tar.as_mut().poll_next(context)
    }
}

/// A container, made or about to be made, that is removed when this is dropped.
struct Leftover {
    /// Empty once it is somebody else's to remove.
    name: String,
    engine: Engine,
}

impl Leftover {
    fn new(engine: &Engine) -> Self {
        let name = format!("{}{}", name_prefix(engine.mark()), Uuid::new_v4().simple());
        engine.containers_in_use().insert(name.clone());
        Self { name, engine: engine.clone() }
    }

    /// Gives the name to whoever removes it instead.
    fn give_up(&mut self) -> String {
        std::mem::take(&mut self.name)
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        let name = self.give_up();
        if name.is_empty() {
            return;
        }
        if Handle::try_current().is_err() {
            self.engine.containers_in_use().remove(&name);
            return;
        }
        let engine = self.engine.clone();
        self.engine.tasks().spawn("remove a container of files", async move {
            if let Err(error) = engine.remove_leftover(&name).await {
                tracing::warn!(container = name, error = %error, "left for the next clean-up");
            }
            engine.containers_in_use().remove(&name);
        });
    }
}

impl Engine {
    /// Removes a container that does not run, with its unnamed volumes; gone already is fine.
    async fn remove_leftover(&self, name: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptions { v: true, ..RemoveContainerOptions::default() };
        let name = name.to_owned();
        let removed = self
            .call("remove a container", |docker| async move {
                docker.remove_container(&name, Some(options)).await
            })
            .await;
        match removed {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}
