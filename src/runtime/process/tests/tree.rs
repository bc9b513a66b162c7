//! The end of all that descends from a shim.

use std::{
    fs,
    time::{Duration, Instant},
};

use autostack_domain::Exit;
use autostack_logs::BuildLog;
use tokio_util::sync::CancellationToken;

use super::world::{SOON, World, marked, until};
use crate::{Backend, RuntimeError, process::procfs::Stat};

/// A program with children, a grandchild in a session of its own, and one whose parent is gone; all are
/// deaf to SIGTERM. Says `ready` when all run.
const DEAF_TREE: &str = "trap '' TERM
    deaf() { trap '' TERM; while :; do sleep 600; done; }
    deaf & deaf &
    setsid sh -c 'trap \"\" TERM; sh -c \"while :; do sleep 600; done\" & echo setsid; while :; do sleep 600; done' &
    (setsid sh -c 'trap \"\" TERM; echo orphan; while :; do sleep 600; done' &)
    echo main
    while :; do sleep 600; done";

#[tokio::test]
async fn a_deaf_tree_is_killed_to_the_last_grandchild() {
    let world = World::new().await;
    let spec = world.start(DEAF_TREE).await;
    world.said(&spec, 3).await;
    assert!(marked(&spec.id).len() >= 8, "{:?}", marked(&spec.id));
    let shim = shim_of(&world, &spec.id);
    let began = Instant::now();
    world.backend.stop(&spec.id, Duration::from_millis(300)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(marked(&spec.id).is_empty());
    assert!(Stat::read(shim).is_err(), "the shim was waited for");
    assert!(!world.instance_dir(&spec.id).exists());
}

#[tokio::test]
async fn sigterm_reaches_all_of_the_tree() {
    let world = World::new().await;
    let command = "polite() { trap \"echo $1 ends; exit 0\" TERM; echo $1; while :; do sleep 0.05; done; }
        polite child & setsid sh -c 'trap \"echo session ends; exit 0\" TERM; echo session; while :; do sleep 0.05; done' &
        trap 'wait; echo main ends; exit 5' TERM; echo main; while :; do sleep 0.05; done";
    let spec = world.start(command).await;
    world.said(&spec, 3).await;
    world.backend.stop(&spec.id, Duration::from_secs(10)).await.unwrap();
    let mut said = world.lines(&spec);
    said.drain(..3);
    // What the shells say of their own sleeping children.
    said.retain(|line| line != "Terminated");
    said.sort();
    assert_eq!(said, ["child ends", "main ends", "session ends"]);
}

#[tokio::test]
async fn what_a_program_leaves_running_ends_with_it() {
    let world = World::new().await;
    let spec = world.start("trap '' TERM; setsid sleep 600 & sleep 600 & echo done; exit 4").await;
    assert_eq!(world.backend.wait(&spec.id).await.unwrap(), Exit::Code(4));
    assert!(marked(&spec.id).is_empty());
    assert_eq!(world.lines(&spec), ["done"]);
}

#[tokio::test]
async fn a_stopped_process_still_hears_the_question() {
    let world = World::new().await;
    let spec = world
        .start("trap 'echo bye; exit 0' TERM; echo up; kill -STOP $$; while :; do sleep 0.05; done")
        .await;
    world.said(&spec, 1).await;
    let began = Instant::now();
    world.backend.stop(&spec.id, Duration::from_secs(15)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(world.lines(&spec), ["up", "bye"]);
}

#[tokio::test]
async fn a_later_stop_may_shorten_the_grace() {
    let world = World::new().await;
    let spec = world.start("trap '' TERM; echo deaf; while :; do sleep 600; done").await;
    world.said(&spec, 1).await;
    let began = Instant::now();
    let patient = world.backend.stop(&spec.id, Duration::from_secs(600));
    let hasty = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        world.backend.stop(&spec.id, Duration::ZERO).await
    };
    let (first, second) = tokio::join!(patient, hasty);
    first.unwrap();
    second.unwrap();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_fork_storm_is_ended() {
    let world = World::new().await;
    // Each round starts a new process and ends the old one; none lives long enough to be asked.
    let storm = "trap '' TERM; echo up; round() { trap '' TERM; round & sleep 0.01; }; round & while :; do sleep 600; done";
    let spec = world.start(storm).await;
    world.said(&spec, 1).await;
    world.backend.stop(&spec.id, Duration::from_millis(50)).await.unwrap();
    assert!(marked(&spec.id).is_empty());
}

#[tokio::test]
async fn a_killed_shim_takes_its_tree_along() {
    let world = World::new().await;
    let spec = world.start(DEAF_TREE).await;
    world.said(&spec, 3).await;
    kill(shim_of(&world, &spec.id));
    assert_eq!(world.backend.wait(&spec.id).await.unwrap(), Exit::Unknown);
    assert!(marked(&spec.id).is_empty());
    assert_eq!(world.said(&spec, 3).await.len(), 3);
    world.backend.stop(&spec.id, Duration::ZERO).await.unwrap();
    assert!(!world.instance_dir(&spec.id).exists());
}

#[tokio::test]
async fn a_frozen_shim_does_not_hold_up_a_stop_for_ever() {
    let world = World::new().await;
    let spec = world.start("exec sleep 600").await;
    let shim = shim_of(&world, &spec.id);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim), nix::sys::signal::Signal::SIGSTOP).unwrap();
    world.backend.stop(&spec.id, Duration::ZERO).await.unwrap();
    assert!(marked(&spec.id).is_empty());
}

#[tokio::test]
async fn a_cancelled_command_leaves_nothing() {
    let world = World::new().await;
    let (log, cancel) = (build_log(&world), CancellationToken::new());
    let spec = world.spec(DEAF_TREE);
    let running = world.backend.run(&spec, &log, &cancel);
    let cancelling = async {
        until_async(|| marked(&spec.id).len() >= 8).await;
        cancel.cancel();
    };
    let (ended, ()) = tokio::join!(running, cancelling);
    assert!(matches!(ended, Err(RuntimeError::Cancelled)), "{ended:?}");
    assert!(marked(&spec.id).is_empty());
    assert!(!world.instance_dir(&spec.id).exists());
}

#[tokio::test]
async fn a_dropped_command_leaves_nothing() {
    let world = World::new().await;
    let (log, cancel) = (build_log(&world), CancellationToken::new());
    let spec = world.spec(DEAF_TREE);
    {
        let running = world.backend.run(&spec, &log, &cancel);
        tokio::select! {
            ended = running => panic!("{ended:?}"),
            () = until_async(|| marked(&spec.id).len() >= 8) => {}
        }
    }
    until_async(|| marked(&spec.id).is_empty() && !world.instance_dir(&spec.id).exists()).await;
}

#[test]
fn a_command_ends_with_its_agent() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (world, spec) = runtime.block_on(async {
        let world = World::new().await;
        let (log, cancel) = (build_log(&world), CancellationToken::new());
        let spec = world.spec(DEAF_TREE);
        tokio::select! {
            ended = world.backend.run(&spec, &log, &cancel) => panic!("{ended:?}"),
            // Nobody gets to cancel: the runtime goes down with everything in it, below.
            () = until_async(|| marked(&spec.id).len() >= 8) => std::mem::forget(cancel),
        }
        (world, spec)
    });
    runtime.shutdown_timeout(SOON);
    until("the tree outlives the agent", || marked(&spec.id).is_empty());
    drop(world);
}

#[tokio::test]
async fn dropped_starts_leave_nothing() {
    let world = World::new().await;
    for micros in [0, 100, 400, 1_500, 2_500, 4_000, 8_000] {
        let spec = world.spec("exec sleep 600");
        let started = tokio::time::timeout(Duration::from_micros(micros), world.backend.start(&spec)).await;
        if started.is_ok() {
            world.backend.stop(&spec.id, Duration::ZERO).await.unwrap();
        }
    }
    let instances = world.dir.path().join("instances");
    until_async(|| world.tasks.running() == ["watch instances"]).await;
    assert_eq!(fs::read_dir(instances).unwrap().count(), 0);
    assert!(world.backend.list().await.unwrap().is_empty());
}

fn build_log(world: &World) -> BuildLog {
    world.logs.build_log(&"01890000-0000-7000-8000-000000000003".parse().unwrap()).unwrap()
}

pub(super) fn shim_of(world: &World, id: &autostack_domain::InstanceId) -> i32 {
    let dir = crate::process::layout::InstanceDir::new(world.instance_dir(id));
    dir.shim_record().unwrap().unwrap().shim.pid
}

/// Only for shims of this test's own instances.
pub(super) fn kill(pid: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
}

async fn until_async(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came to be");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
