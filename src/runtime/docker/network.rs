//! The bridge network of each app: its instances reach one another, and no other app's.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use autostack_domain::AppName;
use autostack_engine::{
    Engine, EngineError,
    bollard::{
        models::NetworkCreateRequest,
        query_parameters::{InspectNetworkOptions, ListNetworksOptions},
    },
    labels,
};
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use super::labels::network_name;

/// The networks of all apps.
#[derive(Debug)]
pub(super) struct Networks {
    engine: Engine,
    apps: Mutex<HashMap<AppName, Arc<RwLock<Known>>>>,
}

/// The id of an app's network, once it is known to exist. Starts hold it for reading and a removal for writing,
/// so that no network goes away between its making and the first container in it.
type Known = Option<String>;

/// Keeps a network in place while a container is put into it.
#[derive(Debug)]
pub(super) struct Lease {
    known: OwnedRwLockReadGuard<Known>,
}

impl Lease {
    /// The id of the network.
    pub(super) fn id(&self) -> &str {
        self.known.as_deref().unwrap_or_default()
    }
}

impl Networks {
    pub(super) fn new(engine: Engine) -> Self {
        Self { engine, apps: Mutex::default() }
    }

    /// The network of an app, made if need be; it stays while the lease is held.
    pub(super) async fn lease(&self, app: &AppName) -> Result<Lease, EngineError> {
        let lock = self.lock_of(app);
        let known = Arc::clone(&lock).read_owned().await;
        if known.is_some() {
            return Ok(Lease { known });
        }
        drop(known);
        let mut known = lock.write_owned().await;
        if known.is_none() {
            *known = Some(self.find_or_make(app).await?);
        }
        Ok(Lease { known: known.downgrade() })
    }

    /// Forgets that the network of an app exists: somebody else has removed it.
    pub(super) async fn forget(&self, app: &AppName) {
        *self.lock_of(app).write().await = None;
    }

    /// Forgets all that is known: the engine may have been set up anew.
    pub(super) async fn forget_all(&self) {
        let all: Vec<_> = self.apps().values().map(Arc::clone).collect();
        for lock in all {
            *lock.write().await = None;
        }
    }

    /// Removes the network of an app, unless `is_used` says otherwise once no start is under way, or somebody has
    /// put a container of his own into it.
    pub(super) async fn remove(&self, app: &AppName, is_used: impl Fn() -> bool) -> Result<(), EngineError> {
        let lock = self.lock_of(app);
        let mut known = lock.write().await;
        if is_used() {
            return Ok(());
        }
        *known = None;
        for id in self.ids_of(Some(app)).await? {
            match self
                .engine
                .call("remove the network", async |docker| docker.remove_network(&id.1).await)
                .await
            {
                Err(error) if error.is_not_found() => {}
                Err(error) if is_in_use(&error) => {
                    tracing::info!(%app, "the app's network is kept: others use it");
                }
                removed => removed?,
            }
        }
        Ok(())
    }

    /// The apps that have a network.
    pub(super) async fn apps_with_one(&self) -> Result<Vec<AppName>, EngineError> {
        let mut apps: Vec<_> = self.ids_of(None).await?.into_iter().map(|(app, _)| app).collect();
        apps.sort_unstable();
        apps.dedup();
        Ok(apps)
    }

    async fn find_or_make(&self, app: &AppName) -> Result<String, EngineError> {
        if let Some((_, id)) = self.ids_of(Some(app)).await?.into_iter().next() {
            return Ok(id);
        }
        let request = NetworkCreateRequest {
            name: network_name(self.engine.mark(), app),
            driver: Some("bridge".to_owned()),
            labels: Some(self.engine.labels(app)),
            ..NetworkCreateRequest::default()
        };
        let made =
            self.engine.call("make the app's network", async |docker| docker.create_network(request).await);
        let name = network_name(self.engine.mark(), app);
        match made.await {
            Ok(made) if !made.id.is_empty() => Ok(made.id),
            // Some engines give no id.
            Ok(_) => self.id_by_name(&name).await,
            Err(error) if error.is_conflict() => self.id_by_name(&name).await,
            Err(error) => Err(error),
        }
    }

    async fn id_by_name(&self, name: &str) -> Result<String, EngineError> {
        let operation = "look at the app's network";
        let options = None::<InspectNetworkOptions>;
        let found =
            self.engine.call(operation, async |docker| docker.inspect_network(name, options).await).await?;
        found.id.ok_or(EngineError::Unexpected { operation, evidence: "no id".to_owned() })
    }

    /// App and id of our networks, of one app or of all.
    async fn ids_of(&self, app: Option<&AppName>) -> Result<Vec<(AppName, String)>, EngineError> {
        let options = ListNetworksOptions { filters: Some(self.engine.label_filter(app)) };
        let listed = self
            .engine
            .call("list networks", async |docker| docker.list_networks(Some(options)).await)
            .await?;
        let ours = listed.into_iter().filter_map(|network| {
            let app: AppName = network.labels?.get(labels::APP)?.parse().ok()?;
            let is_named = network.name? == network_name(self.engine.mark(), &app);
            is_named.then_some((app, network.id?))
        });
        Ok(ours.collect())
    }

    fn apps(&self) -> std::sync::MutexGuard<'_, HashMap<AppName, Arc<RwLock<Known>>>> {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_of(&self, app: &AppName) -> Arc<RwLock<Known>> {
        Arc::clone(self.apps().entry(app.clone()).or_default())
    }
}

/// Docker refuses with 403, Podman with 409 or 500; both say why.
fn is_in_use(error: &EngineError) -> bool {
    let said = error.to_string();
    said.contains("has active endpoints") || said.contains("is being used")
}
