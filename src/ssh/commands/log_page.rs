//! Lines of a log on their way to a client: what is there, then what comes.

use std::sync::Arc;

use autostack_logs::{Filter, LogError, Offset, Reader, Stream};
use autostack_platform::PlatformError;

use crate::commands::{invocation::Invocation, log_style::Style, refusal::Refusal};

/// Text that is gathered before it is sent, in bytes, while more is there at once.
const BATCH_BYTES: usize = 32 * 1024;

/// A way through a log.
pub(crate) struct Page<'a> {
    pub(crate) invocation: &'a Invocation,
    pub(crate) style: Style,
    /// How to go on when the agent has stopped: a command without its offset.
    pub(crate) again: String,
}

impl Page<'_> {
    /// Shows what fits between two offsets; gives the reader, which stands there now.
    pub(crate) async fn show(
        &self,
        log: &Arc<Stream>,
        filter: Filter,
        from: Offset,
        end: Offset,
    ) -> Result<Reader, Refusal> {
        let mut reader = log.reader(from).only(filter);
        while reader.offset() < end {
            if self.invocation.gone.is_cancelled() {
                return Err(Refusal::Gone);
            }
            let style = self.style;
            // What fits may be rare: looking for it takes as long as the log is.
            let batch = move || {
                let mut text = String::new();
                let read = batch(&mut reader, style, end, &mut text);
                (reader, text, read)
            };
            let (back, text, read) = self
                .invocation
                .tasks
                .blocking("read log", batch)
                .await
                .map_err(|panic| Refusal::failed(format!("The log cannot be read: {panic}.")))?;
            reader = back;
            let is_end = read.map_err(unreadable)?;
            self.invocation.output.text(&text).await?;
            if is_end {
                break;
            }
        }
        Ok(reader)
    }

    /// Shows lines as they come, until the log, the server or the client ends.
    pub(crate) async fn follow(&self, mut reader: Reader) -> Result<(), Refusal> {
        loop {
            let next = tokio::select! {
                biased;
                () = self.invocation.gone.cancelled() => return Err(Refusal::Gone),
                () = self.invocation.stopping.cancelled() => return Err(self.stopping(reader.offset())),
                next = reader.next() => next.map_err(unreadable)?,
            };
            let mut text = String::new();
            let Some((after, entry)) = next else { return Ok(()) };
            put_gap(&mut reader, self.style, &mut text);
            self.style.put(&mut text, after, &entry);
            while text.len() < BATCH_BYTES
                && let Some((after, entry)) = reader.next_ready().map_err(unreadable)?
            {
                put_gap(&mut reader, self.style, &mut text);
                self.style.put(&mut text, after, &entry);
            }
            self.invocation.output.text(&text).await?;
        }
    }

    fn stopping(&self, offset: Offset) -> Refusal {
        let next = format!("Next: {} --from {offset} goes on without a lost line", self.again);
        Refusal::Said { lines: vec!["The agent is stopping.".to_owned(), next], exit_code: 1 }
    }
}

/// Reads until there is enough to send; says whether nothing more is there.
fn batch(reader: &mut Reader, style: Style, end: Offset, text: &mut String) -> Result<bool, LogError> {
    while text.len() < BATCH_BYTES && reader.offset() < end {
        let next = reader.next_ready()?;
        put_gap(reader, style, text);
        match next {
            Some((after, entry)) => style.put(text, after, &entry),
            None => return Ok(true),
        }
    }
    Ok(false)
}

fn put_gap(reader: &mut Reader, style: Style, text: &mut String) {
    if let Some(gap) = reader.take_gap() {
        style.put_note(text, &format!("{} bytes were removed by size or age", gap.bytes));
    }
}

pub(crate) fn unreadable(error: LogError) -> Refusal {
    Refusal::from(PlatformError::from(error))
}
