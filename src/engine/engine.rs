//! [`Engine`]: one engine, as one agent sees it.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    future::Future,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use autostack_base::tasks::Tasks;
use autostack_domain::AppName;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker, models::SystemVersion};
use http::HeaderValue;
use nix::sys::utsname::uname;
use tokio::time;
use tokio_util::sync::CancellationToken;

use crate::{
    EngineHost,
    about::{API_NEEDED, About, ApiVersion, product},
    classify::{classify, unreachable_at},
    error::EngineError,
    labels,
    mark::AgentMark,
};

/// What any call that is not a stream may take: an engine that hangs is an error, not a stuck agent.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// What bollard itself may wait for the head of an answer. Streams may begin late (a pull from a slow registry,
/// a stop with a long grace), so the bound is set around each call instead, and this one never comes first.
const HEAD_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// An engine. Cloning gives another handle on the same. Each call connects by itself, so an engine that comes
/// back is used at once, and nothing is held open in between.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    host: EngineHost,
    mark: AgentMark,
    tasks: Tasks,
    /// Names of containers that files of images are read from right now.
    in_use: Mutex<HashSet<String>>,
    /// What was found out at the first call, until one fails.
    known: Mutex<Option<Known>>,
}

#[derive(Clone)]
struct Known {
    docker: Docker,
    about: About,
}

impl Engine {
    /// An engine at an address. Nothing is connected to yet.
    pub fn new(host: EngineHost, mark: AgentMark) -> Self {
        Self {
            inner: Arc::new(Inner {
                host,
                mark,
                tasks: Tasks::new(),
                in_use: Mutex::default(),
                known: Mutex::new(None),
            }),
        }
    }

    /// Where it is.
    pub fn host(&self) -> &EngineHost {
        &self.inner.host
    }

    /// The mark that this agent puts on everything that it makes there.
    pub fn mark(&self) -> &AgentMark {
        &self.inner.mark
    }

    /// What goes on behind the scenes: wait for it before the process ends.
    pub fn tasks(&self) -> &Tasks {
        &self.inner.tasks
    }

    /// What the engine is and what it can; asked once and remembered until a call finds the engine gone.
    ///
    /// # Errors
    /// [`EngineError::Unreachable`], [`EngineError::Denied`], [`EngineError::TooOld`] and the others of a call.
    pub async fn about(&self) -> Result<About, EngineError> {
        Ok(self.known().await?.about)
    }

    /// Asks the engine now, whatever is remembered: is it there, and which is it?
    ///
    /// # Errors
    /// As [`Engine::about`].
    pub async fn ping(&self) -> Result<About, EngineError> {
        self.forget();
        self.about().await
    }

    /// The client of the API, for what this crate does not offer. It waits for an answer for ever: use it within
    /// [`Engine::call`], or bound it by other means, and give its errors to [`Engine::failed`].
    ///
    /// # Errors
    /// As [`Engine::about`].
    pub async fn docker(&self) -> Result<Docker, EngineError> {
        Ok(self.known().await?.docker)
    }

    /// The labels of everything that belongs to an app.
    pub fn labels(&self, app: &AppName) -> HashMap<String, String> {
        HashMap::from([self.mark_label(), (labels::APP.into(), app.to_string())])
    }

    /// The label of everything that is ours.
    pub fn mark_label(&self) -> (String, String) {
        (labels::AGENT.into(), self.inner.mark.to_string())
    }

    /// The filter by which a list shows only what is ours, of one app or of all.
    pub fn label_filter(&self, app: Option<&AppName>) -> HashMap<String, Vec<String>> {
        let mut wanted = vec![format!("{}={}", labels::AGENT, self.inner.mark)];
        wanted.extend(app.map(|app| format!("{}={app}", labels::APP)));
        HashMap::from([("label".into(), wanted)])
    }

    /// Does one call within [`CALL_TIMEOUT`]. `operation` is a verb with its object, as it stands behind "the
    /// container engine could not": `inspect the image`.
    ///
    /// # Errors
    /// What the engine said, sorted.
    pub async fn call<T, F, Fut>(&self, operation: &'static str, work: F) -> Result<T, EngineError>
    where
        F: FnOnce(Docker) -> Fut,
        Fut: Future<Output = Result<T, bollard::errors::Error>>,
    {
        self.call_within(CALL_TIMEOUT, operation, work).await
    }

    /// Does one call within a time of its own: a stop with a long grace, for one.
    ///
    /// # Errors
    /// What the engine said, sorted.
    pub async fn call_within<T, F, Fut>(
        &self,
        within: Duration,
        operation: &'static str,
        work: F,
    ) -> Result<T, EngineError>
    where
        F: FnOnce(Docker) -> Fut,
        Fut: Future<Output = Result<T, bollard::errors::Error>>,
    {
        let docker = self.docker().await?;
        match time::timeout(within, work(docker)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.failed_within(within, operation, error)),
            Err(_elapsed) => {
                self.forget();
                Err(EngineError::TimedOut { operation, within })
            }
        }
    }

    /// Sorts an error of the client, and forgets what is remembered of the engine when it went away: the one
    /// that comes back may be another.
    pub fn failed(&self, operation: &'static str, error: bollard::errors::Error) -> EngineError {
        self.failed_within(CALL_TIMEOUT, operation, error)
    }

    fn failed_within(
        &self,
        within: Duration,
        operation: &'static str,
        error: bollard::errors::Error,
    ) -> EngineError {
        let error = classify(&self.inner.host, operation, within, error);
        if error.is_away() {
            self.forget();
        }
        error
    }

    pub(crate) fn containers_in_use(&self) -> MutexGuard<'_, HashSet<String>> {
        self.inner.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remembered(&self) -> MutexGuard<'_, Option<Known>> {
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self) {
        *self.remembered() = None;
    }

    async fn known(&self) -> Result<Known, EngineError> {
        if let Some(known) = &*self.remembered() {
            return Ok(known.clone());
        }
        let operation = "say what it is";
        let asked = time::timeout(CALL_TIMEOUT, self.ask()).await;
        let known = asked.map_err(|_elapsed| EngineError::TimedOut { operation, within: CALL_TIMEOUT })??;
        *self.remembered() = Some(known.clone());
        Ok(known)
    }

    async fn ask(&self) -> Result<Known, EngineError> {
        let docker = self.connect()?;
        let version = docker.version().await.map_err(|error| self.failed("say its version", error))?;
        let api = usable_api(&version)?;
        let info = docker.info().await.map_err(|error| self.failed("say how it is set up", error))?;
        let is_local = is_this_machine(info.name.as_deref(), info.kernel_version.as_deref());
        let about = About::new(&version, &info, api, is_local);
        // Asks a second time, and keeps the version within the client.
        let docker = docker
            .negotiate_version()
            .await
            .map_err(|error| self.failed("agree on an API version", error))?;
        Ok(Known { docker, about })
    }

    fn connect(&self) -> Result<Docker, EngineError> {
        let host = &self.inner.host;
        let timeout_s = HEAD_TIMEOUT.as_secs();
        let client = match host {
            EngineHost::Unix(path) => {
                // Asked here, because the client says "not found" of a folder that may not be entered, too.
                path.symlink_metadata().map_err(|cause| unreachable_at(host, &cause))?;
                let path = path.to_str().ok_or_else(|| {
                    unreachable_at(host, &io::Error::other("the path of the socket is not UTF-8"))
                })?;
                Docker::connect_with_unix(path, timeout_s, API_DEFAULT_VERSION)
            }
            EngineHost::Tcp(address) => {
                Docker::connect_with_http(&format!("tcp://{address}"), timeout_s, API_DEFAULT_VERSION)
            }
        };
        let client = client.map_err(|error| self.failed("be connected to", error))?;
        Ok(client.with_request_modifier(with_url_safe_logins))
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("host", &self.inner.host).finish_non_exhaustive()
    }
}

/// Waits for an operation, but not longer than until it is cancelled; it is dropped then, and with it the
/// connection, which is what ends it in the engine.
pub(crate) async fn or_cancelled<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(EngineError::Cancelled),
        result = work => result,
    }
}

/// The API wants logins in the URL-safe alphabet of base64, bollard writes the other: an engine would take a
/// login with one of these two characters in it for none at all.
fn with_url_safe_logins(mut request: BollardRequest) -> BollardRequest {
    for name in ["x-registry-auth", "x-registry-config"] {
        let Some(value) = request.headers_mut().get_mut(name) else { continue };
        let safe: Vec<u8> = value
            .as_bytes()
            .iter()
            .map(|byte| match byte {
                b'+' => b'-',
                b'/' => b'_',
                byte => *byte,
            })
            .collect();
        if let Ok(mut safe) = HeaderValue::from_bytes(&safe) {
            safe.set_sensitive(true);
            *value = safe;
        }
    }
    request
}

/// The newest API that the engine offers, if the agent can work with it.
fn usable_api(version: &SystemVersion) -> Result<ApiVersion, EngineError> {
    let said = version.api_version.as_deref().unwrap_or_default();
    let api: ApiVersion = said.parse().map_err(|invalid: autostack_domain::Invalid| {
        EngineError::Unexpected { operation: "say its version", evidence: invalid.to_string() }
    })?;
    if api < API_NEEDED {
        return Err(EngineError::TooOld {
            product: product(version).to_string(),
            version: version.version.clone().unwrap_or_default(),
            api,
            needed: API_NEEDED,
        });
    }
    Ok(api)
}

/// Whether an engine of that host name and kernel runs here.
fn is_this_machine(name: Option<&str>, kernel: Option<&str>) -> bool {
    let Ok(here) = uname() else { return false };
    name.is_some_and(|name| *here.nodename() == *name) && kernel.is_some_and(|it| *here.release() == *it)
}
