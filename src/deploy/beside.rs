//! Instances that are started beside whatever runs: for a deployment, a restart and a larger formation alike.

use std::time::Duration;

use autostack_domain::{Failure, InstanceId, LineKind, limits};
use autostack_logs::Filter;
use futures_util::future::{join_all, try_join_all};
use tokio::time::Instant;

use crate::{
    deployer::{Parts, Ready},
    furnish::{Asked, asked, furnish, unenforced},
    launch::{self, Launchable},
    plan::Slot,
    probe::Started,
    ready::{UPTIME_WITHOUT_CHECK, Wait, wait_until_ready},
};

/// A place, and the round of restarts that its instance is started in.
pub(crate) type Opening = (Slot, u32);

/// Starts an instance in each place. Whoever must be able to undo it is told the id of each beforehand.
pub(crate) async fn start_all(
    parts: &Parts,
    launch: &Launchable,
    openings: impl IntoIterator<Item = Opening>,
    will_start: &(dyn Fn(&InstanceId) + Send + Sync),
) -> Result<Vec<(Slot, Started)>, Failure> {
    let starts = openings.into_iter().map(|(slot, round)| async move {
        let spec = furnish(parts, launch.instance(&slot, round)).await;
        will_start(&spec.id);
        let started = launch::start(parts.runtime.as_ref(), &spec).await?;
        // From here on its program runs; an engine may have taken seconds to come so far.
        let since = Instant::now();
        Ok((slot, Started { spec, endpoint: started.endpoint, since }))
    });
    // Every start comes to its end, so that each instance can be stopped by its id when one of them failed.
    let started: Vec<(Slot, Started)> = join_all(starts).await.into_iter().collect::<Result<_, Failure>>()?;
    for line in unenforced(parts, &started).await {
        parts.say(&launch.release.app, LineKind::Trouble, line);
    }
    Ok(started)
}

/// An instance that did not get ready, and why.
pub(crate) type NotReady = (InstanceId, Failure);

/// Waits until all of them are ready; the first that fails ends the wait. `uptime` is how long one without port and
/// checks must have run.
pub(crate) async fn wait_for_all(
    parts: &Parts,
    launch: &Launchable,
    started: &[(Slot, Started)],
    uptime: Duration,
    say: &(dyn Fn(String) + Send + Sync),
) -> Result<Vec<(Slot, Ready)>, NotReady> {
    let host = parts.host(&launch.release.app);
    let limit = parts.settings().deploy.start_timeout;
    let waits = started.iter().map(|(slot, instance)| {
        let host = host.as_str();
        async move {
            let Asked { checks, is_skipped } = asked(parts, launch, &slot.process).await;
            let is_lambda = launch.is_function(&slot.process);
            let wait = Wait { checks: &checks, is_skipped, is_lambda, host, limit, uptime, say };
            let ready = wait_until_ready(parts, instance, &wait).await;
            let endpoint = ready.map_err(|failure| (instance.spec.id.clone(), failure))?;
            let took = instance.since.elapsed().as_secs_f32();
            let at =
                if slot.process.is_web() { format!(" on port {}", endpoint.port()) } else { String::new() };
            say(format!("{slot} is up{at} ({took:.2} s)"));
            Ok((slot.clone(), Ready { id: instance.spec.id.clone(), endpoint, since: instance.since }))
        }
    });
    try_join_all(waits).await
}

/// How long an instance without port and checks must have run to count as started.
pub(crate) fn uptime(is_proven: bool) -> Duration {
    if is_proven { UPTIME_PROVEN } else { UPTIME_WITHOUT_CHECK }
}

/// The same for code and config that have run here before: only what has changed around them could end it.
const UPTIME_PROVEN: Duration = Duration::from_millis(300);

/// The last lines that an instance wrote, as evidence. Only of a stopped one all are in the log.
pub(crate) fn last_lines(parts: &Parts, launch: &Launchable, instance: &InstanceId) -> Vec<String> {
    let filter = Filter { instance: Some(instance.clone()), ..Filter::default() };
    let stream = parts.logs.app(&launch.release.app);
    match stream.and_then(|stream| stream.tail(limits::EVIDENCE_LINES_MAX, &filter)) {
        Ok((entries, _)) if entries.is_empty() => vec!["the app wrote nothing".to_owned()],
        Ok((entries, _)) => {
            let lines = entries.iter().map(|(_, entry)| format!("| {}", entry.text_lossy()));
            std::iter::once("last lines of the app:".to_owned()).chain(lines).collect()
        }
        Err(error) => vec![format!("the app's log cannot be read: {error}")],
    }
}
