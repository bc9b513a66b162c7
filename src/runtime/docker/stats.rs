//! What an instance uses: from its control groups on this host, else from the engine.

use std::{fs, path::Path, time::Duration};

use autostack_engine::{
    EngineError,
    bollard::{models::ContainerStatsResponse, query_parameters::StatsOptions},
};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::{backend::Inner, instance::Instance};
use crate::{
    backend::{RuntimeError, Usage},
    cgroups::Cgroups,
};

const OPERATION: &str = "measure the container";
/// How long the engine may take: it measures over a second.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What an instance uses now.
pub(super) async fn usage(inner: &Inner, instance: &Instance) -> Result<Usage, RuntimeError> {
    let not_running = || RuntimeError::NotRunning { id: instance.spec.id.clone() };
    if !instance.is_running() {
        return Err(not_running());
    }
    let memory_bytes_max = instance.memory_bytes_max;
    if let Some(counts) = on_host(inner, instance).await? {
        return Ok(counts.usage(memory_bytes_max));
    }
    match from_engine(inner, &instance.container).await {
        Ok(Some(counts)) => Ok(counts.usage(memory_bytes_max)),
        Ok(None) => Err(not_running()),
        Err(error) if error.is_not_found() => Err(not_running()),
        Err(error) => Err(RuntimeError::engine(OPERATION)(error)),
    }
}

/// What the kernel counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) memory_bytes: u64,
    pub(super) cpu: Duration,
    pub(super) processes: u32,
}

impl Counts {
    fn usage(self, memory_bytes_max: Option<u64>) -> Usage {
        let Self { memory_bytes, cpu, processes } = self;
        Usage { memory_bytes, memory_bytes_max, cpu, processes }
    }
}

/// As the kernel of this host counts, where it does.
pub(super) async fn on_host(inner: &Inner, instance: &Instance) -> Result<Option<Counts>, RuntimeError> {
    let about = inner.engine.about().await.map_err(RuntimeError::engine(OPERATION))?;
    let Some(pid) = instance.pid.filter(|_| about.is_local) else { return Ok(None) };
    let container = instance.container.clone();
    let counted =
        inner.tasks.blocking("measure container", move || count(&Cgroups::of(pid, &container)?)).await;
    counted.map_err(|_lost| RuntimeError::Interrupted { operation: "stats" })
}

fn count(groups: &Cgroups) -> Option<Counts> {
    match groups.v2() {
        Some(group) => count_v2(&group),
        None => count_v1(groups),
    }
}

fn count_v2(group: &Path) -> Option<Counts> {
    let held = number(&group.join("memory.current"))?;
    let idle = field(&group.join("memory.stat"), "inactive_file").unwrap_or_default();
    let micros = field(&group.join("cpu.stat"), "usage_usec")?;
    Some(Counts {
        memory_bytes: held.saturating_sub(idle),
        cpu: Duration::from_micros(micros),
        processes: lines(&group.join("cgroup.procs"))?,
    })
}

fn count_v1(groups: &Cgroups) -> Option<Counts> {
    let memory = groups.v1("memory")?;
    let held = number(&memory.join("memory.usage_in_bytes"))?;
    let idle = field(&memory.join("memory.stat"), "total_inactive_file").unwrap_or_default();
    Some(Counts {
        // Pages of files that nobody has used lately are given back at once: no need of the app's.
        memory_bytes: held.saturating_sub(idle),
        cpu: Duration::from_nanos(number(&groups.v1("cpuacct")?.join("cpuacct.usage"))?),
        processes: lines(&memory.join("cgroup.procs"))?,
    })
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The number behind a name in a file of such lines.
fn field(file: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found?.trim().parse().ok()
}

fn lines(file: &Path) -> Option<u32> {
    u32::try_from(fs::read_to_string(file).ok()?.lines().count()).ok()
}

/// As the engine counts.
pub(super) async fn from_engine(inner: &Inner, container: &str) -> Result<Option<Counts>, EngineError> {
    let options = StatsOptions { stream: false, one_shot: true };
    let docker = inner.engine.docker().await?;
    let mut answers = docker.stats(container, Some(options));
    match timeout(ANSWER_TIMEOUT, answers.next()).await {
        Ok(Some(Ok(said))) => Ok(read(&said)),
        Ok(Some(Err(error))) => Err(inner.engine.failed(OPERATION, error)),
        Ok(None) => Ok(None),
        Err(_elapsed) => Err(EngineError::TimedOut { operation: OPERATION, within: ANSWER_TIMEOUT }),
    }
}

/// The same counts in the engine's words; `None` of a container that does not run.
fn read(said: &ContainerStatsResponse) -> Option<Counts> {
    let memory = said.memory_stats.as_ref()?;
    let idle = memory.stats.as_ref().and_then(|stats| {
        ["inactive_file", "total_inactive_file"].iter().find_map(|name| stats.get(*name).copied())
    });
    let held = memory.usage?;
    let nanos = said.cpu_stats.as_ref()?.cpu_usage.as_ref()?.total_usage?;
    let processes = said.pids_stats.as_ref().and_then(|pids| pids.current).unwrap_or_default();
    Some(Counts {
        memory_bytes: held.saturating_sub(idle.unwrap_or_default()),
        cpu: Duration::from_nanos(nanos),
        processes: u32::try_from(processes).unwrap_or(u32::MAX),
    })
}
