//! What an agent finds when it comes back.

use std::{fs, net::SocketAddr, process::Command, time::Duration};

use autostack_domain::{Exit, UnixMillis};

use super::{
    tree::{kill, shim_of},
    world::{World, marked, until},
};
use crate::{
    Backend, InstanceState,
    contract::{Does, Subject, connect},
    process::{layout::InstanceDir, procfs::Identity},
};

#[tokio::test]
async fn running_instances_are_adopted_as_they_are() {
    let world = World::new().await;
    let program = world.program(&Does::Serve);
    let mut spec = world.spec("");
    spec.program = program;
    spec.env.set("TOKEN", b"\xfe".to_vec()).unwrap();
    let endpoint = world.backend.start(&spec).await.unwrap().endpoint;
    connect(endpoint).await.unwrap();
    let before = world.backend.list().await.unwrap();
    let world = world.reopened(|_| {}).await;
    assert_eq!(world.backend.list().await.unwrap(), before);
    connect(endpoint).await.unwrap();
    assert_eq!(world.backend.listening(&spec.id).await.unwrap(), [endpoint]);
    world.backend.stop(&spec.id, Duration::from_secs(10)).await.unwrap();
    assert!(marked(&spec.id).is_empty());
    assert!(!world.instance_dir(&spec.id).exists());
}

#[tokio::test]
async fn ports_of_adopted_instances_stay_theirs() {
    let world = World::new().await;
    // It does not listen, so that nothing but the claim keeps others away.
    let spec = world.spec("exec sleep 600");
    let port = world.backend.start(&spec).await.unwrap().endpoint.port();
    let world = world.reopened(|_| {}).await;
    let mut others = Vec::new();
    loop {
        let other = world.spec("exec sleep 600");
        match world.backend.start(&other).await {
            Ok(started) => assert_ne!(started.endpoint.port(), port),
            Err(_) => break,
        }
        others.push(other);
    }
    for one in others.iter().chain([&spec]) {
        world.backend.stop(&one.id, Duration::ZERO).await.unwrap();
    }
}

#[tokio::test]
async fn what_ended_meanwhile_is_told_with_its_last_words() {
    let world = World::new().await;
    let spec = world.start("echo first; while [ ! -e go ]; do sleep 0.02; done; echo last; exit 9").await;
    world.said(&spec, 1).await;
    let id = spec.id.clone();
    let world = world
        .reopened(move |dir| {
            fs::write(dir.join("app/go"), "").unwrap();
            until("the instance ends", || marked(&id).is_empty());
        })
        .await;
    // Its shim may still write down how it ended.
    assert_eq!(world.backend.wait(&spec.id).await.unwrap(), Exit::Code(9));
    let listed = world.backend.list().await.unwrap();
    assert_eq!(listed[0].state, InstanceState::Exited(Exit::Code(9)));
    assert!(listed[0].started_at > UnixMillis(0));
    assert_eq!(world.lines(&spec), ["first", "last"]);
    let world = world.reopened(|_| {}).await;
    assert_eq!(world.backend.wait(&spec.id).await.unwrap(), Exit::Code(9), "until it is stopped");
    world.backend.stop(&spec.id, Duration::ZERO).await.unwrap();
    assert_eq!(world.lines(&spec), ["first", "last"]);
    let world = world.reopened(|_| {}).await;
    assert!(world.backend.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_shim_that_was_killed_meanwhile_leaves_no_process() {
    let world = World::new().await;
    let spec = world.start("trap '' TERM; setsid sleep 600 & echo up; while :; do sleep 600; done").await;
    world.said(&spec, 1).await;
    let shim = shim_of(&world, &spec.id);
    let world = world.reopened(|_| kill(shim)).await;
    assert_eq!(world.backend.wait(&spec.id).await.unwrap(), Exit::Unknown);
    assert!(marked(&spec.id).is_empty());
    world.backend.stop(&spec.id, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_recycled_pid_is_left_alone() {
    let world = World::new().await;
    let spec = world.start("exit 0").await;
    world.backend.wait(&spec.id).await.unwrap();
    let mut innocent = Command::new("sleep").arg("600").spawn().unwrap();
    let pid = i32::try_from(innocent.id()).unwrap();
    // The shim's pid is another process's now, which started later.
    let dir = InstanceDir::new(world.instance_dir(&spec.id));
    let mut record = dir.shim_record().unwrap().unwrap();
    let earlier = Identity::of(pid).unwrap().start_ticks - 1;
    record.shim = Identity { pid, start_ticks: earlier };
    record.child = record.shim;
    dir.write_shim_record(&serde_json::to_vec(&record).unwrap()).unwrap();
    fs::remove_file(dir.path().join("exit.json")).unwrap();
    let world = world.reopened(|_| {}).await;
    assert_eq!(world.backend.wait(&spec.id).await.unwrap(), Exit::Unknown);
    assert!(world.backend.listening(&spec.id).await.unwrap().is_empty());
    world.backend.stop(&spec.id, Duration::ZERO).await.unwrap();
    assert!(innocent.try_wait().unwrap().is_none(), "the innocent process lives");
    innocent.kill().unwrap();
    innocent.wait().unwrap();
}

#[tokio::test]
async fn the_same_pid_after_another_boot_is_another_process() {
    let world = World::new().await;
    let spec = world.start("exec sleep 600").await;
    let dir = InstanceDir::new(world.instance_dir(&spec.id));
    let mut record = dir.shim_record().unwrap().unwrap();
    record.boot_id = "another boot".to_owned();
    dir.write_shim_record(&serde_json::to_vec(&record).unwrap()).unwrap();
    let world = world.reopened(|_| {}).await;
    assert_eq!(world.backend.wait(&spec.id).await.unwrap(), Exit::Unknown);
    world.backend.stop(&spec.id, Duration::ZERO).await.unwrap();
    assert!(marked(&spec.id).is_empty());
}

#[tokio::test]
async fn half_a_start_is_cleared_away() {
    let world = World::new().await;
    let (empty, spec_only, torn) = (world.spec("true"), world.spec("true"), world.spec("true"));
    let done = world.start("exit 0").await;
    world.backend.wait(&done.id).await.unwrap();
    let dirs = [&empty, &spec_only, &torn, &done].map(|spec| world.instance_dir(&spec.id));
    let world = world
        .reopened(move |_| {
            let [empty, spec_only, torn, done] = dirs;
            for dir in [&empty, &spec_only, &torn] {
                fs::create_dir(dir).unwrap();
            }
            let mut launch: serde_json::Value =
                serde_json::from_slice(&fs::read(done.join("spec.json")).unwrap()).unwrap();
            launch["spec"]["id"] = spec_only.file_name().unwrap().to_str().unwrap().into();
            fs::write(spec_only.join("spec.json"), launch.to_string()).unwrap();
            fs::write(torn.join("spec.json"), "{\"kind\":").unwrap();
        })
        .await;
    let listed = world.backend.list().await.unwrap();
    let mut states: Vec<_> = listed.iter().map(|one| (one.spec.id.clone(), one.state)).collect();
    states.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut expected = vec![
        (done.id.clone(), InstanceState::Exited(Exit::Code(0))),
        (spec_only.id.clone(), InstanceState::Exited(Exit::Unknown)),
    ];
    expected.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert_eq!(states, expected);
    assert!(!world.instance_dir(&empty.id).exists());
    assert!(!world.instance_dir(&torn.id).exists());
}

#[tokio::test]
async fn what_is_no_instance_is_left_alone() {
    let world = World::new().await;
    let stranger = world.dir.path().join("instances/lost+found");
    let kept = stranger.clone();
    let world = world.reopened(move |_| fs::create_dir(stranger).unwrap()).await;
    assert!(kept.is_dir());
    assert!(world.backend.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_adopted_instance_that_ends_later_is_seen() {
    let world = World::new().await;
    let spec = world.start("while [ ! -e go ]; do sleep 0.02; done; echo last; exit 3").await;
    let world = world.reopened(|_| {}).await;
    assert_eq!(world.backend.list().await.unwrap()[0].state, InstanceState::Running);
    fs::write(world.dir.path().join("app/go"), "").unwrap();
    assert_eq!(world.backend.wait(&spec.id).await.unwrap(), Exit::Code(3));
    assert_eq!(world.lines(&spec), ["last"]);
    let nobody: Vec<SocketAddr> = Vec::new();
    assert_eq!(world.backend.listening(&spec.id).await.unwrap(), nobody);
}
