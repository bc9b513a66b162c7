//! [`Gauges`]: what there is at this moment, for whoever watches over the host.

use std::{collections::BTreeMap, time::Duration};

use autostack_domain::{AppName, DeploymentState, permission::Actor};
use autostack_proxy::MetricsSnapshot;
use autostack_runtime::InstanceState;
use autostack_store::{Store, StoreError};
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

use crate::{disk, error::PlatformError, keys::check_watcher, platform::Platform};

/// What there is at this moment.
#[derive(Debug, Clone)]
pub struct Gauges {
    /// The agent's version.
    pub version: &'static str,
    /// How many apps there are.
    pub apps: usize,
    /// Instances that run, by app and process type.
    pub instances: BTreeMap<(AppName, String), u32>,
    /// Deployments that wait for their turn.
    pub waiting: usize,
    /// Deployments that are under way.
    pub running: usize,
    /// Pushes that are under way.
    pub pushes: usize,
    /// Tasks that have panicked since the start.
    pub panics: u64,
    /// Bytes that are free where the agent keeps its data.
    pub disk_free_bytes: u64,
    /// What the proxy has counted since the start.
    pub proxy: MetricsSnapshot,
    /// The agent's own process.
    pub process: ProcessGauges,
}

/// The agent's own process, as the kernel counts it.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessGauges {
    /// CPU time of all its threads.
    pub cpu: Duration,
    /// Bytes of memory that it has in RAM.
    pub resident_bytes: u64,
    /// Bytes of its address space.
    pub virtual_bytes: u64,
    /// Open descriptors.
    pub open_descriptors: usize,
    /// Descriptors that it may open.
    pub descriptors_max: usize,
    /// When it started, in seconds since 1970.
    pub started_at: u64,
}

impl Platform {
    /// Looks. Without an actor the caller has proof that a program of the host itself asks.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](crate::ErrorKind::Denied) for who does not watch over the host.
    pub async fn gauges(&self, actor: Option<&Actor>) -> Result<Gauges, PlatformError> {
        actor.map_or(Ok(()), |actor| check_watcher(actor, "read the metrics of the host"))?;
        let parts = self.parts();
        let listing = parts.runtime.listing().await;
        let listing =
            listing.map_err(|error| PlatformError::internal("what runs cannot be listed", &error))?;
        let mut instances = BTreeMap::new();
        let running = listing.observed.iter().filter(|one| matches!(one.state, InstanceState::Running));
        for instance in running {
            let of = (instance.spec.app.clone(), instance.spec.process.to_string());
            *instances.entry(of).or_default() += 1;
        }
        let (apps, waiting, running) = parts.store.call(counts).await?;
        let process = parts.tasks.blocking("look at the own process", own_process).await;
        Ok(Gauges {
            version: self.version(),
            apps,
            instances,
            waiting,
            running,
            pushes: self.pushes(),
            panics: self.panics(),
            disk_free_bytes: disk::free_bytes(&parts.settings.borrow().data_dir).unwrap_or(0),
            proxy: parts.proxy.metrics(),
            process: process.unwrap_or_default(),
        })
    }

    /// What is counted while the agent runs.
    pub fn metrics(&self) -> &autostack_base::telemetry::metrics::Metrics {
        &self.parts().metrics
    }
}

/// How many apps there are, deployments that wait, and deployments that are under way.
fn counts(store: &Store) -> Result<(usize, usize, usize), StoreError> {
    let unfinished = store.unfinished_deployments()?;
    let waiting = unfinished.iter().filter(|one| one.state == DeploymentState::Queued).count();
    Ok((store.apps()?.len(), waiting, unfinished.len() - waiting))
}

fn own_process() -> ProcessGauges {
    let Ok(pid) = sysinfo::get_current_pid() else { return ProcessGauges::default() };
    let Ok(mut system) = System::new() else { return ProcessGauges::default() };
    let wanted = ProcessRefreshKind::nothing().with_cpu().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, wanted);
    let Some(process) = system.process(pid) else { return ProcessGauges::default() };
    ProcessGauges {
        cpu: Duration::from_millis(process.accumulated_cpu_time()),
        resident_bytes: process.memory(),
        virtual_bytes: process.virtual_memory(),
        open_descriptors: process.open_files().unwrap_or(0),
        descriptors_max: process.open_files_limit().unwrap_or(0),
        started_at: process.start_time(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_process_is_seen() {
        let seen = own_process();
        assert!(seen.resident_bytes > 1024 * 1024 && seen.virtual_bytes >= seen.resident_bytes, "{seen:?}");
        assert!(seen.open_descriptors > 2 && seen.descriptors_max >= seen.open_descriptors, "{seen:?}");
        assert!(seen.started_at > 1_700_000_000, "{seen:?}");
    }
}
