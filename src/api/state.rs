//! [`Api`]: what handlers share.

use std::sync::Arc;

use autostack_base::{health::HealthSource, tasks::Tasks};
use autostack_platform::Platform;
use tokio::sync::Semaphore;

use crate::{limits::Limits, logs::SharedChunks, tickets::Tickets};

/// Feeds that are open at once.
const FEEDS_MAX: usize = 2000;

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    /// Every operation.
    pub platform: Platform,
    /// How the agent is.
    pub health: HealthSource,
    /// What goes on when a client has gone.
    pub tasks: Tasks,
    pub(crate) limits: Limits,
    pub(crate) tickets: Tickets,
    pub(crate) chunks: SharedChunks,
    /// A permit for each feed.
    pub(crate) feeds: Arc<Semaphore>,
}

impl Api {
    /// How many feeds are open.
    pub(crate) fn open_feeds(&self) -> usize {
        FEEDS_MAX.saturating_sub(self.feeds.available_permits())
    }

    /// What the handlers of one door share.
    pub fn new(platform: Platform, health: HealthSource, tasks: Tasks) -> Self {
        Self {
            platform,
            health,
            tasks,
            limits: Limits::default(),
            tickets: Tickets::default(),
            chunks: SharedChunks::default(),
            feeds: Arc::new(Semaphore::new(FEEDS_MAX)),
        }
    }
}
