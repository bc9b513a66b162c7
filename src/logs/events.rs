//! What happened on the host, in one append-only stream: an event is a line of JSON.

use std::{sync::Arc, time::Duration};

use autostack_base::tasks::{Shutdown, Tasks};
use autostack_domain::{Event, Line};

use crate::{
    entry::{Entry, Offset},
    error::LogError,
    filter::Filter,
    logs::Logs,
    reader::Reader,
    stream::Stream,
};

/// Pause between two syncs: what a power cut may cost.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// The events of the host. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Events(Arc<Stream>);

impl Logs {
    /// Records an event. It is in the stream when this returns, safe from a crash of the agent; the disk has it within
    /// seconds ([`Logs::keep_events_synced`]). What was done is not undone because it cannot be recorded: a failure is
    /// reported in the agent's own log, with the event.
    pub fn record(&self, event: &Event) {
        tracing::info!(
            app = event.app.as_ref().map(autostack_domain::AppName::as_str),
            by = %event.by,
            from = event.by.address().map(tracing::field::display),
            kind = event.kind,
            what = event.text,
            "event"
        );
        let recorded = serde_json::to_string(event).map_err(|error| error.to_string()).and_then(|json| {
            let entry = Entry::platform(event.at, Line::detail(json));
            self.event_stream().and_then(|stream| stream.append(&[entry])).map_err(|error| error.to_string())
        });
        if let Err(error) = recorded {
            tracing::error!(%error, kind = event.kind, "an event could not be recorded");
        }
    }

    /// The events.
    ///
    /// # Errors
    /// When the stream cannot be opened.
    pub fn events(&self) -> Result<Events, LogError> {
        self.event_stream().map(Events)
    }

    /// Makes events durable soon after they were recorded, until the agent stops, and then once more.
    pub async fn keep_events_synced(self, tasks: Tasks, shutdown: Shutdown) {
        let mut synced = None;
        loop {
            let is_last = tokio::select! {
                () = shutdown.cancelled() => true,
                () = tokio::time::sleep(SYNC_EVERY) => false,
            };
            if let Some(stream) = self.opened_events()
                && synced != Some(stream.end())
            {
                synced = Some(stream.end());
                // A panic is reported by the task itself.
                let _ = tasks.blocking("sync events", move || stream.sync()).await;
            }
            if is_last {
                return;
            }
        }
    }
}

impl Events {
    /// The last `n` events that are wanted, oldest first, each with the offset after it; and the offset from which to
    /// follow on. Looks at every event until it has found enough: belongs on a blocking thread.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub fn last(
        &self,
        n: usize,
        mut wanted: impl FnMut(&Event) -> bool,
    ) -> Result<(Vec<(Offset, Event)>, Offset), LogError> {
        let mut found = Vec::new();
        let end = self.0.look_back(&Filter::all(), |after, entry| {
            if found.len() == n {
                return false;
            }
            found.extend(read(&entry).filter(|event| wanted(event)).map(|event| (after, event)));
            true
        })?;
        found.reverse();
        Ok((found, end))
    }

    /// Follows the events from an offset on.
    pub fn reader(&self, from: Offset) -> EventReader {
        EventReader(self.0.reader(from))
    }
}

/// A follower of the events.
#[derive(Debug)]
pub struct EventReader(Reader);

impl EventReader {
    /// The next event and the offset after it; waits for it. `None` when the stream was removed. Cancel-safe.
    ///
    /// # Errors
    /// When the stream cannot be read; the next call tries again.
    pub async fn next(&mut self) -> Result<Option<(Offset, Event)>, LogError> {
        loop {
            let Some((after, entry)) = self.0.next().await? else { return Ok(None) };
            if let Some(event) = read(&entry) {
                return Ok(Some((after, event)));
            }
        }
    }
}

/// What a later version has written in other words is passed over.
fn read(entry: &Entry) -> Option<Event> {
    serde_json::from_slice(&entry.text).ok()
}
