//! The pusher's screen: where lines go, and a build log shown on it as it grows.

use std::{
    io,
    time::{Duration, Instant},
};

use autostack_domain::{DeploymentId, Line};
use autostack_logs::Reader;
use tokio_util::sync::CancellationToken;

use crate::error::PlatformError;

/// How long a pusher who reads slowly may hold up the switch with the build log.
const CATCH_UP: Duration = Duration::from_secs(3);

/// Where a push shows its lines: the pusher's screen, by way of the hook.
pub trait Screen: Send {
    /// Shows a line. An error means that nobody reads any more.
    fn show(&mut self, line: Line) -> impl Future<Output = io::Result<()>> + Send;

    /// What is shown from here on is of this deployment: it is recorded, and can be asked for by its id.
    fn begun(&mut self, _deployment: &DeploymentId) {}
}

/// Shows why a push is rejected; the answer to git is no.
pub(crate) async fn show_refusal(screen: &mut impl Screen, refusal: &PlatformError) -> bool {
    let mut lines = vec![Line::trouble(format!("Push rejected: {}.", refusal.message))];
    lines.extend(refusal.hint.iter().map(|hint| Line::trouble(format!("Next: {hint}"))));
    show_all(screen, lines).await
}

/// Shows the last lines of a rejected push; the answer to git is no.
pub(crate) async fn show_all(screen: &mut impl Screen, lines: Vec<Line>) -> bool {
    for line in lines {
        // A pusher who is gone cannot be told.
        let _reader_gone = screen.show(line).await;
    }
    false
}

/// Shows a build log as it grows, until what writes it has ended. A line that is being shown is always shown to its
/// end. When nobody reads any more, the push is cancelled.
pub(crate) async fn follow(
    reader: &mut Reader,
    screen: &mut impl Screen,
    ended: &CancellationToken,
    cancel: &CancellationToken,
) -> io::Result<()> {
    let mut catch_up_until = None;
    loop {
        if ended.is_cancelled()
            && *catch_up_until.get_or_insert_with(|| Instant::now() + CATCH_UP) < Instant::now()
        {
            // The rest is shown after the switch.
            return Ok(());
        }
        let next = tokio::select! {
            biased;
            next = reader.next() => next.map_err(io::Error::from)?,
            () = ended.cancelled() => reader.next_ready().map_err(io::Error::from)?,
        };
        let Some((_, entry)) = next else { return Ok(()) };
        if let Err(gone) = screen.show(entry.to_line()).await {
            cancel.cancel();
            return Err(gone);
        }
    }
}
