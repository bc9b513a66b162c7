//! [`TestEngine`]: the engine of this machine, and the broom.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use bollard::query_parameters::{
    ListContainersOptions, ListNetworksOptions, RemoveContainerOptions, RemoveImageOptions,
};

use tokio::time::timeout;

use crate::{AgentMark, Engine, EngineHost, host};

/// What the broom may take.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(60);

/// An engine with a new mark. When it is dropped, also by a failed test, everything that carries the mark is
/// removed: containers, networks, images; and the names given to [`TestEngine::also_remove`].
pub struct TestEngine {
    engine: Engine,
    names: Mutex<Vec<String>>,
}

impl TestEngine {
    /// The engine of this machine.
    ///
    /// # Panics
    /// When there is none: the test that needs one has failed then.
    pub fn find() -> Self {
        let host = host::find()
            .expect("the test needs a container engine: apt-get install docker.io, and start dockerd");
        Self::at(host)
    }

    /// The engine at an address.
    pub fn at(host: EngineHost) -> Self {
        let engine = Engine::new(host, AgentMark::random().unwrap());
        Self { engine, names: Mutex::default() }
    }

    /// Removes an image of that name, too; for names that are not ours.
    pub fn also_remove(&self, name: impl Into<String>) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).push(name.into());
    }
}

impl Deref for TestEngine {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl Drop for TestEngine {
    fn drop(&mut self) {
        let engine = Engine::new(self.engine.host().clone(), self.engine.mark().clone());
        let names = std::mem::take(&mut *self.names.lock().unwrap_or_else(PoisonError::into_inner));
        // A runtime of its own: the one of the test may be ending.
        let swept = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Ok(runtime) = runtime {
                // Bounded: the runtime of the test waits meanwhile, and what it holds open may be in the way.
                drop(runtime.block_on(async { timeout(SWEEP_TIMEOUT, sweep(&engine, &names)).await }));
            }
        });
        drop(swept.join());
    }
}

/// Removes what it can; what fails is no reason to fail a test that has told its story.
async fn sweep(engine: &Engine, names: &[String]) {
    let Ok(docker) = engine.docker().await else { return };
    let filters = engine.label_filter(None);
    let options = ListContainersOptions {
        all: true,
        filters: Some(filters.clone()),
        ..ListContainersOptions::default()
    };
    for container in docker.list_containers(Some(options)).await.unwrap_or_default() {
        let options = RemoveContainerOptions { force: true, v: true, link: false };
        drop(docker.remove_container(&container.id.unwrap_or_default(), Some(options)).await);
    }
    let options = ListNetworksOptions { filters: Some(filters) };
    for network in docker.list_networks(Some(options)).await.unwrap_or_default() {
        drop(docker.remove_network(&network.id.unwrap_or_default()).await);
    }
    let force = || Some(RemoveImageOptions { force: true, ..RemoveImageOptions::default() });
    let by_id: HashMap<String, Vec<String>> = engine
        .images_of_agent(None)
        .await
        .unwrap_or_default()
        .into_iter()
        .map(|image| (image.id.to_string(), image.tags))
        .collect();
    for (id, tags) in by_id {
        for name in if tags.is_empty() { vec![id] } else { tags } {
            drop(docker.remove_image(&name, force(), None).await);
        }
    }
    for name in names {
        drop(docker.remove_image(name, force(), None).await);
    }
}
