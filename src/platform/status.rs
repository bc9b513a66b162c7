//! What the agent says of itself to the operator.

use autostack_base::health::Part;
use autostack_domain::{
    AppName, InstanceId, ReleaseNumber,
    permission::{Action, Actor, allows},
};
use autostack_runtime::{Backend, Observed};
use autostack_store::Store;
use futures_util::future::join_all;
use serde::Serialize;

use crate::{
    disk,
    error::PlatformError,
    platform::{Addresses, Platform},
};

/// A few figures and names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The agent's version.
    pub version: &'static str,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// Where the doors listen.
    pub addresses: Addresses,
    /// The runtime's name.
    pub runtime: &'static str,
    /// How many apps there are.
    pub apps: usize,
    /// How many instances run.
    pub instances: usize,
    /// What those use that could be asked.
    pub usage: Vec<InstanceUsage>,
    /// How many pushes are under way.
    pub pushes: usize,
    /// How many tasks have panicked since the start.
    pub panics: u64,
}

/// What one instance uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstanceUsage {
    /// The app.
    pub app: AppName,
    /// `web.1`.
    pub name: String,
    /// Its id.
    pub id: InstanceId,
    /// The release that it runs.
    pub release: ReleaseNumber,
    /// Bytes of memory now.
    pub memory_bytes: u64,
    /// Bytes of memory that it may use; `None` without a limit.
    pub memory_bytes_max: Option<u64>,
    /// CPU time since its start, in milliseconds.
    pub cpu_millis: u64,
    /// Its processes.
    pub processes: u32,
}

/// The host, as its users see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostFacts {
    /// The agent's version.
    pub version: &'static str,
    /// The domain below which apps have their names.
    pub domain: String,
    /// The runtime's name.
    pub runtime: &'static str,
    /// How many apps the caller may see.
    pub apps: usize,
    /// What only who runs the host is told.
    pub inner: Option<InnerFacts>,
}

/// The host, as who runs it sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InnerFacts {
    /// The container engine and its version; empty where there is none.
    pub engine: String,
    /// The kernel's release.
    pub kernel: String,
    /// Processors that the agent may use.
    pub cpus: usize,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes that are free where the agent keeps its data.
    pub disk_free_bytes: u64,
    /// Seconds since the agent started.
    pub uptime_seconds: u64,
    /// How many instances run.
    pub instances: usize,
    /// How many pushes are under way.
    pub pushes: usize,
}

impl Platform {
    /// The host, as far as the actor may know it.
    pub async fn host_facts(&self, actor: &Actor) -> Result<HostFacts, PlatformError> {
        let parts = self.parts();
        let inner = match allows(actor, None, Action::ManageHost) {
            true => Some(self.inner_facts().await?),
            false => None,
        };
        let domain = parts.settings.borrow().domain.to_string();
        let apps = self.apps(actor).await?.len();
        Ok(HostFacts { version: self.version(), domain, runtime: parts.runtime.name(), apps, inner })
    }

    async fn inner_facts(&self) -> Result<InnerFacts, PlatformError> {
        let Status { uptime_seconds, instances, pushes, .. } = self.status().await?;
        let engine = match &self.parts().engine {
            Some(engine) => match engine.about().await {
                Ok(about) => format!("{:?} {}", about.product, about.version),
                Err(_) => "does not answer".to_owned(),
            },
            None => String::new(),
        };
        Ok(InnerFacts {
            engine,
            kernel: read_trimmed("/proc/sys/kernel/osrelease").await,
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_bytes: memory_bytes(&read_trimmed("/proc/meminfo").await),
            disk_free_bytes: disk::free_bytes(&self.parts().settings.borrow().data_dir).unwrap_or(0),
            uptime_seconds,
            instances,
            pushes,
        })
    }

    /// How the parts below the doors are; quick, and without waiting.
    pub fn parts_health(&self) -> Vec<(&'static str, Part)> {
        let parts = self.parts();
        let store = match parts.store.unfinished_deployments() {
            Ok(_) => Part::ok(),
            Err(error) => Part::down(format!("the store cannot be read: {error}")),
        };
        let disk = self.check_space().map_or_else(|full| Part::degraded(full.message), |()| Part::ok());
        let runtime = if parts.runtime.is_up() {
            Part { detail: Some(parts.runtime.name().to_owned()), ..Part::ok() }
        } else {
            Part::degraded("the container engine does not answer: its apps wait for it")
        };
        let mut all = vec![("store", store), ("disk", disk), ("runtime", runtime)];
        if parts.settings.borrow().mail.is_some() {
            // Why stands in the log: anybody may read this.
            let failed = |_| Part::degraded("the last mail was not taken by its server: see the agent's log");
            all.push(("mail", self.0.mailing.failure().map_or_else(Part::ok, failed)));
        }
        all
    }

    /// Looks.
    pub async fn status(&self) -> Result<Status, PlatformError> {
        let parts = self.parts();
        let apps = parts.store.call(Store::apps).await?.len();
        let instances = parts.runtime.listing().await;
        let instances = instances
            .map_err(|error| PlatformError::internal("what runs cannot be listed", &error))?
            .observed;
        let usage = join_all(instances.iter().map(|instance| self.usage(instance))).await;
        Ok(Status {
            version: self.version(),
            uptime_seconds: self.0.started.elapsed().as_secs(),
            addresses: self.0.addresses,
            runtime: parts.runtime.name(),
            apps,
            instances: instances.len(),
            usage: usage.into_iter().flatten().collect(),
            pushes: self.0.pushes.count(),
            panics: parts.tasks.panics(),
        })
    }

    /// `None` for an instance that has ended, or whose runtime cannot tell.
    async fn usage(&self, instance: &Observed) -> Option<InstanceUsage> {
        let spec = &instance.spec;
        let used = self.parts().runtime.stats(&spec.id).await.ok()?;
        Some(InstanceUsage {
            app: spec.app.clone(),
            name: spec.dyno(),
            id: spec.id.clone(),
            release: spec.release,
            memory_bytes: used.memory_bytes,
            memory_bytes_max: used.memory_bytes_max,
            cpu_millis: u64::try_from(used.cpu.as_millis()).unwrap_or(u64::MAX),
            processes: used.processes,
        })
    }
}

/// A file of the kernel's; empty where it is not there.
async fn read_trimmed(path: &str) -> String {
    tokio::fs::read_to_string(path).await.map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// All memory of the host, from `/proc/meminfo`, which counts in KiB.
fn memory_bytes(meminfo: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|total| total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::memory_bytes;

    #[test]
    fn memory_is_read_from_the_kernels_own_words() {
        assert_eq!(memory_bytes("MemTotal:       24576 kB\nMemFree: 1 kB"), 24576 * 1024);
        assert_eq!(memory_bytes(""), 0);
    }
}
