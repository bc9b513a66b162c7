//! [`Feed`]: a way through a log: what is there, then what comes.

use std::{pin::Pin, sync::Arc, time::Duration};

use autostack_base::tasks::{TaskPanicked, Tasks};
use autostack_logs::{Filter, LogError, Offset, Reader, Stream};
use autostack_platform::PlatformError;
use tokio::time::{self, Instant};

use super::chunk::{self, Chunk, Chunks};

/// How long lines are gathered behind the last ones: a thousand lines a second are twenty messages.
const GATHER: Duration = Duration::from_millis(50);

/// A way through a log. It holds an offset, and while nobody asks it nothing else: a reader who stands still costs
/// nobody anything.
pub(super) struct Feed {
    way: Way,
    next_at: Instant,
}

enum Way {
    /// Everything, as others read it too.
    All(Reader, Arc<Chunks>),
    /// What fits a filter.
    Some(Filtered),
}

struct Filtered {
    tasks: Tasks,
    /// `None` while it is being read from.
    reader: Option<Reader>,
    reading: Option<Reading>,
}

type Read = (Reader, Result<Option<Chunk>, LogError>);
type Reading = Pin<Box<dyn Future<Output = Result<Read, TaskPanicked>> + Send>>;

impl Feed {
    /// Begins at an offset.
    pub(super) fn new(
        log: &Arc<Stream>,
        from: Offset,
        filter: Filter,
        chunks: Arc<Chunks>,
        tasks: Tasks,
    ) -> Self {
        let reader = log.reader(from);
        let way = if filter == Filter::all() {
            Way::All(reader, chunks)
        } else {
            Way::Some(Filtered { tasks, reader: Some(reader.only(filter)), reading: None })
        };
        Self { way, next_at: Instant::now() }
    }

    /// The next lines; waits for them. `None` when there will be none. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<Chunk>, PlatformError> {
        loop {
            if !self.way.ready().await {
                return Ok(None);
            }
            time::sleep_until(self.next_at).await;
            let chunk = match &mut self.way {
                Way::All(reader, chunks) => chunks.next(reader)?,
                Way::Some(filtered) => filtered.read().await?,
            };
            let is_full = chunk.as_ref().is_some_and(|chunk| chunk.is_full);
            self.next_at = Instant::now() + if is_full { Duration::ZERO } else { GATHER };
            if chunk.is_some() {
                return Ok(chunk);
            }
        }
    }
}

impl Way {
    async fn ready(&mut self) -> bool {
        match self {
            Way::All(reader, _) | Way::Some(Filtered { reader: Some(reader), .. }) => reader.ready().await,
            // What is being read is ready.
            Way::Some(Filtered { reader: None, .. }) => true,
        }
    }
}

impl Filtered {
    /// Reads on a thread of its own: what fits may be rare, and looking for it takes as long as the log is. Who gives
    /// up waiting finds the result at the next call.
    async fn read(&mut self) -> Result<Option<Chunk>, PlatformError> {
        if let Some(mut reader) = self.reader.take() {
            let read = move || {
                let chunk = chunk::read(&mut reader);
                (reader, chunk)
            };
            self.reading = Some(Box::pin(self.tasks.blocking("read log", read)));
        }
        let Some(reading) = &mut self.reading else { return Ok(None) };
        let ended = reading.as_mut().await;
        self.reading = None;
        let (reader, chunk) =
            ended.map_err(|panic| PlatformError::internal("the log cannot be read", &panic))?;
        self.reader = Some(reader);
        Ok(chunk?)
    }
}
