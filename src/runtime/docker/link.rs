//! The connection that tells news: whether the engine is there, and which containers changed.
//!
//! At each connect everything is looked at once, so nothing is missed that happened before; then the engine's
//! events say what to look at again. Events only ever ask for a look: a lost or doubled one does no harm.

use std::{sync::Arc, time::Duration};

use autostack_base::{
    error_chain, now,
    tasks::{Backoff, Shutdown},
};
use autostack_engine::{
    EngineError,
    bollard::{models::EventMessage, query_parameters::EventsOptions},
    labels,
};
use futures_util::StreamExt;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use super::{backend::Inner, reconcile::reconcile};
use crate::backend::RuntimeError;

/// How often everything is looked at again although no event said so.
const LOOK_AGAIN_EVERY: Duration = Duration::from_secs(60);
/// How much of the past the engine is asked to tell, in seconds: as long as a look at everything may take, and what
/// its clock may be off.
const PAST_SECONDS: i64 = 15;
/// How long a caller waits for the first look at everything once the engine answers.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// What happens to a container that ends its instance, in the words of Docker and of Podman.
const ENDINGS: [&str; 4] = ["die", "destroy", "died", "remove"];
/// A command beside an instance has ended.
const EXEC_ENDINGS: [&str; 2] = ["exec_die", "exec_died"];

/// Whether the engine is there and all of ours is known.
#[derive(Debug)]
pub(super) struct Link {
    is_up: watch::Sender<bool>,
    /// Told when it is worth to try at once.
    hurry: Notify,
}

impl Link {
    pub(super) fn new() -> Self {
        Self { is_up: watch::Sender::new(false), hurry: Notify::new() }
    }

    pub(super) fn is_up(&self) -> bool {
        *self.is_up.borrow()
    }

    /// Resolves when it is up.
    pub(super) async fn up(&self) {
        // The sender is part of this struct: it cannot be gone.
        let _ = self.is_up.subscribe().wait_for(|is_up| *is_up).await;
    }

    /// Resolves when it is up, which it soon is where the engine answers.
    ///
    /// # Errors
    /// Why the engine does not.
    pub(super) async fn ready(&self, inner: &Inner) -> Result<(), RuntimeError> {
        const OPERATION: &str = "reach the container engine";
        if self.is_up() {
            return Ok(());
        }
        inner.engine.ping().await.map_err(RuntimeError::engine(OPERATION))?;
        self.hurry.notify_one();
        tokio::select! {
            up = timeout(LOOK_TIMEOUT, self.up()) => up.map_err(|_elapsed| RuntimeError::Engine {
                operation: OPERATION,
                source: EngineError::TimedOut { operation: "list what it runs", within: LOOK_TIMEOUT },
            }),
            () = inner.tasks.shutdown_token().cancelled_owned() => {
                Err(RuntimeError::Interrupted { operation: OPERATION })
            }
        }
    }
}

/// Keeps the link up until told to stop.
pub(super) async fn keep(inner: Arc<Inner>, until: Shutdown) {
    let mut pauses = Backoff::new(Duration::from_millis(50), Duration::from_secs(5), Duration::from_secs(10));
    let mut is_first = true;
    loop {
        let began = Instant::now();
        let lost = tokio::select! {
            biased;
            () = until.cancelled() => return,
            lost = hold(&inner, &mut is_first) => lost,
        };
        let was_up = inner.link.is_up.send_replace(false);
        let pause = pauses.after_failure(began.elapsed());
        if was_up || pauses.failures() == 1 {
            tracing::warn!(error = error_chain(&lost), "the container engine is away");
        }
        tokio::select! {
            () = until.cancelled() => return,
            () = inner.link.hurry.notified() => {}
            () = sleep(pause) => {}
        }
    }
}

/// Connects, looks at everything, and then at what the events name; gives why that ended.
async fn hold(inner: &Arc<Inner>, is_first: &mut bool) -> RuntimeError {
    match connected(inner, is_first).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn connected(
    inner: &Arc<Inner>,
    is_first: &mut bool,
) -> Result<std::convert::Infallible, RuntimeError> {
    let about = inner.engine.ping().await.map_err(RuntimeError::engine("reach the container engine"))?;
    let since = now().0 / 1000 - PAST_SECONDS;
    // It may be another one than before.
    inner.networks.forget_all().await;
    reconcile(inner, *is_first).await?;
    *is_first = false;
    inner.link.is_up.send_replace(true);
    tracing::info!(engine = %about, host = %inner.engine.host(), "the container engine is there");
    let docker = inner.engine.docker().await.map_err(RuntimeError::engine("watch the container engine"))?;
    let mut filters = inner.engine.label_filter(None);
    filters.insert("type".to_owned(), vec!["container".to_owned()]);
    filters.insert(
        "event".to_owned(),
        ENDINGS.iter().chain(&EXEC_ENDINGS).map(|&action| action.to_owned()).collect(),
    );
    let options =
        EventsOptions { since: Some(since.to_string()), filters: Some(filters), ..EventsOptions::default() };
    let mut events = std::pin::pin!(docker.events(Some(options)));
    let mut again = interval(LOOK_AGAIN_EVERY);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    again.reset();
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => tell(inner, &event),
                Some(Err(error)) => {
                    return Err(RuntimeError::engine("watch the container engine")(inner.engine.failed("tell its events", error)));
                }
                None => {
                    let source = EngineError::Gone { operation: "tell its events", evidence: String::new() };
                    return Err(RuntimeError::engine("watch the container engine")(source));
                }
            },
            _ = again.tick() => reconcile(inner, false).await?,
        }
    }
}

/// Wakes whoever follows what an event is about.
fn tell(inner: &Inner, event: &EventMessage) {
    if event.action.as_deref().is_some_and(|action| EXEC_ENDINGS.contains(&action)) {
        inner.exec_news.notify_waiters();
        return;
    }
    let attributes = event.actor.as_ref().and_then(|actor| actor.attributes.as_ref());
    let id = attributes.and_then(|attributes| attributes.get(labels::INSTANCE)?.parse().ok());
    if let Some(instance) = id.and_then(|id| inner.instance(&id)) {
        instance.news.notify_one();
    }
}
