//! What an instance is held to, and the folders that it sees.

use std::fs;

use autostack_domain::{
    Exit,
    resources::{InstanceLimits, MilliCpus},
    storage::Mount,
};

use super::world::World;
use crate::{Backend, ExecRequest, RuntimeError, contract::Does};

const MEMORY: u64 = 64 << 20;

/// Whether the limits of a spec hold on this machine; where they do not, that is what must be said.
async fn hold(world: &World, limits: InstanceLimits) -> bool {
    let mut spec = world.spec("true");
    spec.limits = limits;
    let said = world.backend.unenforced(&spec).await;
    assert!(said.iter().all(|line| line.contains("cannot be enforced: ")), "{said:?}");
    said.is_empty()
}

/// The control groups that are left of an instance.
fn groups_of(id: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![std::path::PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let path = entry.path();
                if path.to_string_lossy().ends_with(id) {
                    found.push(path.display().to_string());
                }
                folders.push(path);
            }
        }
    }
    found
}

#[tokio::test]
async fn an_instance_that_takes_too_much_memory_is_said_to_have() {
    let world = World::new().await;
    let limits = InstanceLimits { memory_bytes_max: Some(MEMORY), ..InstanceLimits::default() };
    if !hold(&world, limits).await {
        return;
    }
    let mut spec = world.spec(&Does::use_in_shell(300));
    spec.limits = limits;
    let calm = {
        let mut calm = world.spec("sleep 600");
        calm.limits = limits;
        calm
    };
    world.backend.start(&calm).await.unwrap();
    world.backend.start(&spec).await.unwrap();
    assert_eq!(world.backend.stats(&calm.id).await.unwrap().memory_bytes_max, Some(MEMORY));
    let killed = Exit::OutOfMemory { limit_bytes: MEMORY };
    assert_eq!(world.backend.wait(&spec.id).await.unwrap(), killed);
    let world = world.reopened(|_| {}).await;
    assert_eq!(world.backend.wait(&spec.id).await.unwrap(), killed, "an agent that comes back knows it too");
    assert!(!groups_of(calm.id.as_str()).is_empty());
    for id in [&spec.id, &calm.id] {
        world.backend.stop(id, std::time::Duration::ZERO).await.unwrap();
        assert_eq!(groups_of(id.as_str()), Vec::<String>::new());
    }
}

#[tokio::test]
async fn what_runs_beside_an_instance_is_held_to_its_limits() {
    let world = World::new().await;
    let limits =
        InstanceLimits { pids_max: Some(20), cpus_max: Some(MilliCpus(500)), ..InstanceLimits::default() };
    if !hold(&world, limits).await {
        return;
    }
    let mut spec = world.spec("echo up; exec sleep 600");
    spec.limits = limits;
    world.backend.start(&spec).await.unwrap();
    world.said(&spec, 1).await;
    let bomb = "(for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do sleep 600 & done); echo survived";
    let request = ExecRequest { command: bomb.to_owned(), ..ExecRequest::default() };
    let mut session = world.backend.exec(&spec.id, request).await.unwrap();
    drop(session.take_stdin());
    while session.output().await.is_some() {
        assert!(world.backend.stats(&spec.id).await.map_or(0, |usage| usage.processes) <= 20);
    }
    drop(session);
    world.backend.stop(&spec.id, std::time::Duration::ZERO).await.unwrap();
    assert_eq!(groups_of(spec.id.as_str()), Vec::<String>::new());
}

#[tokio::test]
async fn a_folder_of_the_host_outlives_the_instance_that_wrote_into_it() {
    let world = World::new().await;
    let host = tempfile::tempdir().unwrap();
    let mount =
        |target: &str| Mount { host: host.path().to_owned(), target: target.into(), read_only: false };
    let mut spec = world.spec("echo kept > storage/file; exec sleep 600");
    spec.mounts = vec![mount("/app/storage")];
    world.backend.start(&spec).await.unwrap();
    super::world::until("the file", || {
        fs::read(host.path().join("file")).is_ok_and(|text| text == b"kept\n")
    });
    world.backend.stop(&spec.id, std::time::Duration::ZERO).await.unwrap();
    assert!(host.path().join("file").exists());
    let without = world.start("ls storage 2>/dev/null || echo gone").await;
    assert_eq!(world.said(&without, 1).await, ["gone"]);
    let mut elsewhere = world.spec("true");
    elsewhere.mounts = vec![mount("/data")];
    let refused = world.backend.start(&elsewhere).await.unwrap_err();
    assert!(matches!(&refused, RuntimeError::Storage { why, .. } if why.contains("/data")), "{refused:?}");
    assert!(!world.instance_dir(&elsewhere.id).exists());
}
