//! [`Monitor`]: how busy the host and the instances are, and were during the last day. Kept in memory: a new agent
//! begins anew.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use autostack_base::{
    clock,
    tasks::{Shutdown, Tasks},
};
use autostack_domain::{
    AppName, InstanceId, UnixMillis,
    permission::{Action, Actor},
};
use serde::Serialize;
use sysinfo::{Networks, System};
use tokio::time::{MissedTickBehavior, interval};
use utoipa::ToSchema;

use crate::{disk, error::PlatformError, keys::check_watcher, platform::Platform, status::InstanceUsage};

/// Time between two samples.
const SAMPLE_EVERY: Duration = Duration::from_secs(60);
/// Samples that are kept: a day.
const SAMPLES_MAX: usize = 24 * 60;
/// Instances whose samples are kept; the ones that are gone go first.
const INSTANCES_MAX: usize = 2000;

/// The host at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct HostSample {
    /// When.
    pub at: UnixMillis,
    /// CPU time of all processors since the sample before, in percent of what they have.
    pub cpu_percent: f32,
    /// Processes that want to run, in the mean of 1, 5 and 15 minutes.
    pub load: [f64; 3],
    /// Bytes of memory in use.
    pub memory_used_bytes: u64,
    /// Bytes of swap in use.
    pub swap_used_bytes: u64,
    /// Bytes that are free where the agent keeps its data.
    pub disk_free_bytes: u64,
    /// Bytes received since the host started, over all interfaces but loopback.
    pub network_received_bytes: u64,
    /// Bytes sent, likewise.
    pub network_sent_bytes: u64,
}

/// One instance at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct InstanceSample {
    /// When.
    pub at: UnixMillis,
    /// CPU time since the sample before, in percent of one processor.
    pub cpu_percent: f32,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

/// The host, now and during the last day.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct HostMetrics {
    /// Processors.
    pub cpus: usize,
    /// Bytes of memory that there are.
    pub memory_bytes: u64,
    /// Bytes of swap that there are.
    pub swap_bytes: u64,
    /// Bytes of the disk where the agent keeps its data.
    pub disk_bytes: u64,
    /// Seconds since the host started.
    pub uptime_seconds: u64,
    /// Now.
    pub now: HostSample,
    /// A sample a minute, the oldest first.
    pub history: Vec<HostSample>,
}

/// An instance, now and during the last day.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct InstanceMetrics {
    /// `web.1`.
    pub name: String,
    /// Its id.
    pub id: InstanceId,
    /// Bytes of memory that it may use; `null` without a limit.
    pub memory_bytes_max: Option<u64>,
    /// Whether it is there still.
    pub is_there: bool,
    /// A sample a minute, the oldest first.
    pub history: Vec<InstanceSample>,
}

/// What was seen of the host and of the instances.
#[derive(Default)]
pub(crate) struct Monitor(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// `None` until it is looked at for the first time, and where the kernel tells nothing.
    system: Option<System>,
    networks: Option<Networks>,
    host: VecDeque<HostSample>,
    instances: HashMap<InstanceId, SeenInstance>,
}

struct SeenInstance {
    app: AppName,
    name: String,
    memory_bytes_max: Option<u64>,
    /// CPU time at the last sample.
    cpu_millis: u64,
    is_there: bool,
    history: VecDeque<InstanceSample>,
}

impl Monitor {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Platform {
    /// Takes samples until the end; a task of the agent.
    pub async fn keep_monitoring(self, tasks: Tasks, stop: Shutdown) {
        let mut tick = interval(SAMPLE_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            let instances = match self.status().await {
                Ok(status) => status.usage,
                Err(error) => {
                    tracing::debug!(%error, "what runs is not sampled");
                    Vec::new()
                }
            };
            let platform = self.clone();
            let sample = tasks.blocking("sample", move || {
                let at = clock::now();
                let mut seen = platform.0.monitor.lock();
                let host = seen.sample(at, &platform);
                push(&mut seen.host, host);
                seen.note(at, &instances);
            });
            // A panic was logged, and the next sample is tried anyway.
            let _sampled = sample.await;
        }
    }

    /// How busy the host is, and was.
    pub async fn host_metrics(&self, actor: &Actor) -> Result<HostMetrics, PlatformError> {
        check_watcher(actor, "see how busy the host is")?;
        let platform = self.clone();
        let read = self.parts().tasks.blocking("sample", move || {
            let mut seen = platform.0.monitor.lock();
            let now = seen.sample(clock::now(), &platform);
            let data_dir = platform.parts().settings.borrow().data_dir.clone();
            HostMetrics {
                cpus: seen.system.as_ref().map_or(0, |system| system.cpus().len()),
                memory_bytes: seen.system.as_ref().map_or(0, System::total_memory),
                swap_bytes: seen.system.as_ref().map_or(0, System::total_swap),
                disk_bytes: disk::total_bytes(&data_dir).unwrap_or(0),
                uptime_seconds: System::uptime().unwrap_or(0),
                now,
                history: seen.host.iter().cloned().collect(),
            }
        });
        read.await.map_err(|panic| PlatformError::internal("the host cannot be looked at", &panic))
    }

    /// How busy the instances of an app are, and were: those that are there, and those of the last day.
    pub async fn instance_metrics(
        &self,
        actor: &Actor,
        name: &AppName,
    ) -> Result<Vec<InstanceMetrics>, PlatformError> {
        self.app_for(actor, name, Action::ViewApp, "see").await?;
        let seen = self.0.monitor.lock();
        let mine = seen.instances.iter().filter(|(_, instance)| instance.app == *name);
        let mut metrics: Vec<InstanceMetrics> = mine
            .map(|(id, instance)| InstanceMetrics {
                name: instance.name.clone(),
                id: id.clone(),
                memory_bytes_max: instance.memory_bytes_max,
                is_there: instance.is_there,
                history: instance.history.iter().cloned().collect(),
            })
            .collect();
        metrics.sort_by(|a, b| (!a.is_there, &a.name, &a.id).cmp(&(!b.is_there, &b.name, &b.id)));
        Ok(metrics)
    }
}

impl Seen {
    fn sample(&mut self, at: UnixMillis, platform: &Platform) -> HostSample {
        if self.system.is_none() {
            self.system = System::new().ok();
            self.networks = Networks::new().ok();
        }
        if let Some(system) = &mut self.system {
            system.refresh_cpu_usage();
            system.refresh_memory();
        }
        if let Some(networks) = &mut self.networks {
            networks.refresh(true);
        }
        let system = self.system.as_ref();
        let outside =
            || self.networks.iter().flat_map(|networks| networks.iter()).filter(|(name, _)| *name != "lo");
        let data_dir = platform.parts().settings.borrow().data_dir.clone();
        HostSample {
            at,
            cpu_percent: system.map_or(0.0, System::global_cpu_usage),
            load: System::load_average().map_or([0.0; 3], |load| [load.one, load.five, load.fifteen]),
            memory_used_bytes: system.map_or(0, System::used_memory),
            swap_used_bytes: system.map_or(0, System::used_swap),
            disk_free_bytes: disk::free_bytes(&data_dir).unwrap_or(0),
            network_received_bytes: outside().map(|(_, data)| data.total_received()).sum(),
            network_sent_bytes: outside().map(|(_, data)| data.total_transmitted()).sum(),
        }
    }

    fn note(&mut self, at: UnixMillis, instances: &[InstanceUsage]) {
        for instance in self.instances.values_mut() {
            instance.is_there = false;
        }
        for usage in instances {
            let seen = self.instances.entry(usage.id.clone()).or_insert_with(|| SeenInstance {
                app: usage.app.clone(),
                name: usage.name.clone(),
                memory_bytes_max: None,
                cpu_millis: usage.cpu_millis,
                is_there: true,
                history: VecDeque::new(),
            });
            (seen.is_there, seen.memory_bytes_max) = (true, usage.memory_bytes_max);
            let before = seen.history.back().map_or(at, |sample| sample.at);
            let spent =
                usage.cpu_millis.saturating_sub(std::mem::replace(&mut seen.cpu_millis, usage.cpu_millis));
            let sample = InstanceSample {
                at,
                cpu_percent: percent(spent, at.since(before)),
                memory_bytes: usage.memory_bytes,
            };
            push(&mut seen.history, sample);
        }
        let day_ago = UnixMillis(at.0 - i64::try_from(SAMPLE_EVERY.as_millis()).unwrap_or(0) * 24 * 60);
        self.instances.retain(|_, seen| {
            seen.is_there || seen.history.back().is_some_and(|sample| sample.at >= day_ago)
        });
        while self.instances.len() > INSTANCES_MAX {
            let oldest =
                self.instances.iter().min_by_key(|(_, seen)| seen.history.back().map(|sample| sample.at));
            let Some(id) = oldest.map(|(id, _)| id.clone()) else { break };
            self.instances.remove(&id);
        }
    }
}

fn push<T>(history: &mut VecDeque<T>, sample: T) {
    if history.len() == SAMPLES_MAX {
        history.pop_front();
    }
    history.push_back(sample);
}

/// Milliseconds of `spent` in percent of those of `passed`.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a percentage needs no more digits"
)]
fn percent(spent: u64, passed: u64) -> f32 {
    if passed == 0 { 0.0 } else { (spent as f64 * 100.0 / passed as f64) as f32 }
}

#[cfg(test)]
mod tests {
    use autostack_domain::{ProcessType, ReleaseNumber};

    use super::*;

    fn usage(id: &str, cpu_millis: u64) -> InstanceUsage {
        InstanceUsage {
            app: "shop".parse().unwrap(),
            name: format!("{}.1", ProcessType::web()),
            id: id.parse().unwrap(),
            release: ReleaseNumber(1),
            memory_bytes: 7,
            memory_bytes_max: None,
            cpu_millis,
            processes: 1,
        }
    }

    #[test]
    fn instances_are_seen_for_a_day_and_then_forgotten() {
        let (mut seen, minute) = (Seen::default(), 60_000);
        let (one, two) = ("shop.web.1.0000beef", "shop.web.1.0000cafe");
        seen.note(UnixMillis(minute), &[usage(one, 100)]);
        seen.note(UnixMillis(2 * minute), &[usage(one, 30_100), usage(two, 0)]);
        let history = &seen.instances[&one.parse().unwrap()].history;
        let of_cpu: Vec<f32> = history.iter().map(|sample| sample.cpu_percent).collect();
        assert_eq!(of_cpu, [0.0, 50.0]);
        seen.note(UnixMillis(3 * minute), &[usage(two, 0)]);
        assert!(!seen.instances[&one.parse().unwrap()].is_there);
        seen.note(UnixMillis((24 * 60 + 3) * minute), &[usage(two, 0)]);
        assert_eq!(seen.instances.len(), 1);
    }

    #[test]
    fn a_day_is_kept_and_no_more() {
        let mut history = VecDeque::new();
        for number in 0..SAMPLES_MAX + 5 {
            push(&mut history, number);
        }
        assert_eq!((history.len(), history.front()), (SAMPLES_MAX, Some(&5)));
    }
}
