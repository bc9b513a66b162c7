//! What a container may and may not.

use autostack_domain::{
    Exit,
    resources::{InstanceLimits, MilliCpus},
    storage::Mount,
};
use autostack_engine::bollard::models::HostConfigCgroupnsModeEnum;

use super::world::{MODEST, World};
use crate::{Backend, ContainerLimits, contract::Does};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_takes_too_much_memory_is_said_to_have() {
    let world = World::new().await;
    let limit_bytes = 32 << 20;
    *world.limits.lock().unwrap() = ContainerLimits { memory_bytes_max: Some(limit_bytes), ..MODEST };
    let spec = world.start(&format!("echo up; {}", Does::use_in_shell(200))).await;
    assert_eq!(world.backend.wait(&spec.id).await.unwrap(), Exit::OutOfMemory { limit_bytes });
    let world = world.reopened(async |_| {}).await;
    assert_eq!(world.backend.wait(&spec.id).await.unwrap(), Exit::OutOfMemory { limit_bytes });
    world.stop(&spec).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_limit_holds_for_the_next_container() {
    let world = World::new().await;
    let first = world.start("exec sleep 600").await;
    let changed = ContainerLimits { memory_bytes_max: None, cpus_max: Some(MilliCpus(1_500)), pids_max: 50 };
    *world.limits.lock().unwrap() = changed;
    let second = world.start("exec sleep 600").await;
    let first_now = world.inspect(&first).await.host_config.unwrap();
    assert_eq!((first_now.memory, first_now.memory_swap), (Some(256 << 20), Some(256 << 20)));
    assert_eq!(first_now.pids_limit, Some(100));
    let second_now = world.inspect(&second).await.host_config.unwrap();
    assert_eq!((second_now.memory, second_now.nano_cpus), (Some(0), Some(1_500_000_000)));
    assert_eq!(second_now.pids_limit, Some(50));
    assert_eq!(world.backend.stats(&first.id).await.unwrap().memory_bytes_max, Some(256 << 20));
    assert_eq!(world.backend.stats(&second.id).await.unwrap().memory_bytes_max, None);
    world.stop(&first).await;
    world.stop(&second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e1_a_container_gets_nothing_of_the_host() {
    let world = World::new().await;
    let spec = world.start("grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status; exec sleep 600").await;
    let lines = world.said(&spec, 3).await;
    // CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID, NET_BIND_SERVICE.
    assert!(lines[0].ends_with("00000000000004eb") && lines[1].ends_with("00000000000004eb"), "{lines:?}");
    assert!(lines[2].ends_with('1'), "{lines:?}");
    let found = world.inspect(&spec).await;
    assert!(found.mounts.unwrap_or_default().is_empty());
    let config = found.host_config.unwrap();
    assert!(config.binds.unwrap_or_default().is_empty() && config.privileged != Some(true));
    assert_eq!(config.cgroupns_mode, Some(HostConfigCgroupnsModeEnum::PRIVATE));
    assert_eq!(config.init, Some(true));
    assert!(!matches!(config.network_mode.as_deref(), Some("host" | "bridge" | "default")));
    assert_eq!(config.log_config.unwrap().typ.as_deref(), Some("json-file"));
    world.stop(&spec).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_bomb_stays_within_its_container() {
    let world = World::new().await;
    *world.limits.lock().unwrap() = ContainerLimits { pids_max: 20, ..MODEST };
    let spec = world.start("(for i in $(seq 100); do sleep 600 & done); echo survived; exec sleep 600").await;
    let other = world.start("echo up; exec sleep 600").await;
    world.said(&other, 1).await;
    assert!(world.said(&spec, 1).await.contains(&"survived".to_owned()));
    assert!(world.backend.stats(&spec.id).await.unwrap().processes <= 20);
    world.backend.stop(&spec.id, std::time::Duration::ZERO).await.unwrap();
    world.stop(&other).await;
    world.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_apps_own_limits_count_within_those_of_the_host() {
    let world = World::new().await;
    let mut spec = world.spec("exec sleep 600");
    spec.limits = InstanceLimits {
        memory_bytes_max: Some(64 << 20),
        memory_bytes_reserved: Some(32 << 20),
        cpus_max: Some(MilliCpus(500)),
        cpus_reserved: Some(MilliCpus(250)),
        pids_max: Some(5_000),
    };
    world.backend.start(&spec).await.unwrap();
    let config = world.inspect(&spec).await.host_config.unwrap();
    assert_eq!((config.memory, config.memory_swap), (Some(64 << 20), Some(64 << 20)));
    assert_eq!(config.memory_reservation, Some(32 << 20));
    assert_eq!((config.nano_cpus, config.cpu_shares), (Some(500_000_000), Some(256)));
    assert_eq!(config.pids_limit, Some(100), "the host's limit is the tighter one");
    assert!(world.backend.unenforced(&spec).await.is_empty());
    assert_eq!(world.backend.list().await.unwrap()[0].spec.limits, spec.limits);
    world.stop(&spec).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_the_host_is_seen_where_it_should_be() {
    let world = World::new().await;
    let host = tempfile::tempdir().unwrap();
    std::fs::write(host.path().join("file"), "from the host").unwrap();
    let mount =
        |target: &str, read_only| Mount { host: host.path().to_owned(), target: target.into(), read_only };
    let mut spec = world
        .spec("cat /data/file; echo; echo x > /read/y || echo refused; echo kept > /data/z; exec sleep 600");
    spec.mounts = vec![mount("/data", false), mount("/read", true)];
    world.backend.start(&spec).await.unwrap();
    let said = world.said(&spec, 3).await;
    assert!(said.contains(&"from the host".to_owned()) && said.contains(&"refused".to_owned()), "{said:?}");
    super::world::until("the file", async || host.path().join("z").exists()).await;
    assert_eq!(world.backend.list().await.unwrap()[0].spec.mounts, spec.mounts);
    world.stop(&spec).await;
    let mut missing = world.spec("true");
    missing.mounts =
        vec![Mount { host: host.path().join("nothing"), target: "/data".into(), read_only: false }];
    assert!(world.backend.start(&missing).await.is_err(), "an engine would make it as root's");
    assert!(!host.path().join("nothing").exists());
}
