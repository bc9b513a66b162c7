//! What an agent finds when it comes back.

use std::time::Duration;

use autostack_base::settings::EndpointChoice;
use autostack_domain::{EnvMap, Exit, Program};
use autostack_engine::{
    AgentMark, Engine,
    bollard::{
        models::ContainerCreateBody,
        query_parameters::{CreateContainerOptions, RemoveContainerOptions},
    },
};

use super::world::{GRACE, PORT, World, left, until};
use crate::{
    Backend, InstanceState, RuntimeError,
    contract::connect,
    docker::labels::{Purpose, container_name, labels_of},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn running_instances_are_adopted_as_they_are() {
    for endpoints in [EndpointChoice::Auto, EndpointChoice::Port] {
        let world = World::with(endpoints).await;
        let mut spec = world.spec("exec httpd -f -p $PORT");
        for (name, value) in [("TOKEN", "a=b\nc, \"ü\""), ("EMPTY", ""), ("PORT", "77"), ("PATH", "/bin")] {
            spec.env.set(name, value).unwrap();
        }
        let endpoint = world.backend.start(&spec).await.unwrap().endpoint;
        connect(endpoint).await.unwrap();
        let before = world.backend.list().await.unwrap();
        assert_eq!(before[0].spec, spec);
        let world = world.reopened(async |_| {}).await;
        assert_eq!(world.backend.list().await.unwrap(), before);
        connect(endpoint).await.unwrap();
        assert_eq!(world.backend.listening(&spec.id).await.unwrap(), [endpoint]);
        assert!(world.backend.stats(&spec.id).await.unwrap().memory_bytes > 0);
        world.stop(&spec).await;
        world.assert_nothing_left().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_without_a_command_runs_that_of_its_image() {
    let world = World::new().await;
    let mut spec = world.spec("");
    // The shell, which ends at once as it has no input.
    spec.program = Program::Image { image: world.image.clone(), command: None, port: PORT };
    world.backend.start(&spec).await.unwrap();
    assert_eq!(world.backend.wait(&spec.id).await.unwrap(), Exit::Code(0));
    let world = world.reopened(async |_| {}).await;
    assert_eq!(world.backend.list().await.unwrap()[0].spec, spec);
    world.stop(&spec).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ended_meanwhile_is_told_with_its_last_words() {
    let world = World::new().await;
    let spec = world
        .start("exec 2>/dev/null; trap 'echo last; exit 9' USR1; echo first; while :; do usleep 20000; done")
        .await;
    world.said(&spec, 1).await;
    let container = world.container(&spec);
    let world = world
        .reopened(async |engine: &Engine| {
            crate::docker::instance::kill(engine, &container, "SIGUSR1").await.unwrap();
            let docker = engine.docker().await.unwrap();
            until("the container ends", async || {
                let found = docker.inspect_container(&container, None).await.unwrap();
                found.state.unwrap().running == Some(false)
            })
            .await;
        })
        .await;
    assert_eq!(world.lines(&spec), ["first", "last"], "there as soon as the backend is");
    let listed = world.backend.list().await.unwrap();
    assert_eq!(listed[0].state, InstanceState::Exited(Exit::Code(9)));
    let world = world.reopened(async |_| {}).await;
    assert_eq!(world.backend.wait(&spec.id).await.unwrap(), Exit::Code(9), "until it is stopped");
    world.stop(&spec).await;
    assert_eq!(world.lines(&spec), ["first", "last"]);
    let world = world.reopened(async |_| {}).await;
    assert!(world.backend.list().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adopted_instance_that_ends_later_is_seen() {
    let world = World::new().await;
    let spec = world
        .start("exec 2>/dev/null; trap 'echo last; exit 3' USR1; echo first; while :; do usleep 20000; done")
        .await;
    world.said(&spec, 1).await;
    let world = world.reopened(async |_| {}).await;
    assert_eq!(world.backend.list().await.unwrap()[0].state, InstanceState::Running);
    crate::docker::instance::kill(&world.engine, &world.container(&spec), "SIGUSR1").await.unwrap();
    assert_eq!(world.backend.wait(&spec.id).await.unwrap(), Exit::Code(3));
    assert_eq!(world.lines(&spec), ["first", "last"]);
    assert!(world.backend.listening(&spec.id).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn published_ports_of_adopted_instances_stay_theirs() {
    let world = World::with(EndpointChoice::Port).await;
    // It does not listen: the engine's own listener is all there is, and the claim.
    let spec = world.start("exec sleep 600").await;
    let port = world.backend.list().await.unwrap()[0].endpoint.port();
    let world = world.reopened(async |_| {}).await;
    let mut others = Vec::new();
    let refused = loop {
        let other = world.spec("exec sleep 600");
        match world.backend.start(&other).await {
            Ok(started) => assert_ne!(started.endpoint.port(), port),
            Err(error) => break error,
        }
        others.push(other);
    };
    assert!(matches!(refused, RuntimeError::NoPort { .. }), "{refused:?}");
    assert!(!others.is_empty());
    for one in others.iter().chain([&spec]) {
        world.backend.stop(&one.id, Duration::ZERO).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_start_and_a_one_off_that_nobody_waits_for_are_cleared_away() {
    let world = World::new().await;
    let (half, one_off) = (world.spec("true"), world.spec("exec sleep 600"));
    let image = world.image.to_string();
    let world = world
        .reopened(async |engine: &Engine| {
            let docker = engine.docker().await.unwrap();
            for (spec, purpose) in [(&half, Purpose::Instance), (&one_off, Purpose::OneOff)] {
                let name = container_name(engine.mark(), &spec.id);
                let body = ContainerCreateBody {
                    image: Some(image.clone()),
                    entrypoint: Some(vec!["sleep".into(), "600".into()]),
                    network_disabled: Some(true),
                    labels: Some(labels_of(engine, spec, purpose)),
                    ..Default::default()
                };
                let options = CreateContainerOptions { name: Some(name.clone()), ..Default::default() };
                docker.create_container(Some(options), body).await.unwrap();
                if purpose == Purpose::OneOff {
                    docker.start_container(&name, None).await.unwrap();
                }
            }
        })
        .await;
    assert!(world.backend.list().await.unwrap().is_empty());
    world.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_ours_is_left_alone() {
    let world = World::new().await;
    let (spec, image) = (world.spec("true"), world.image.to_string());
    let (mut own, mut foreign) = (String::new(), String::new());
    let other = Engine::new(world.engine.host().clone(), AgentMark::random().unwrap());
    let world = world
        .reopened(async |engine: &Engine| {
            let docker = engine.docker().await.unwrap();
            let body = |labels| ContainerCreateBody {
                image: Some(image.clone()),
                entrypoint: Some(vec!["sleep".into(), "600".into()]),
                labels: Some(labels),
                ..Default::default()
            };
            // Somebody ran a copy by hand: all labels are there, but not the name.
            let copy = body(labels_of(engine, &spec, Purpose::OneOff));
            own = docker.create_container(None, copy).await.unwrap().id;
            // An instance of another agent on the same engine.
            let name = Some(container_name(other.mark(), &spec.id));
            let options = CreateContainerOptions { name, ..Default::default() };
            let theirs = body(labels_of(&other, &spec, Purpose::OneOff));
            foreign = docker.create_container(Some(options), theirs).await.unwrap().id;
        })
        .await;
    assert!(world.backend.list().await.unwrap().is_empty());
    world.backend.start(&spec).await.unwrap();
    world.stop(&spec).await;
    let docker = world.engine.docker().await.unwrap();
    let forced = || Some(RemoveContainerOptions { force: true, ..Default::default() });
    let mut there = Vec::new();
    for id in [&own, &foreign] {
        there.push(docker.inspect_container(id, None).await.is_ok());
        let _ = docker.remove_container(id, forced()).await;
    }
    assert_eq!(there, [true, true]);
    assert!(left(&other).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_somebody_removed_has_ended_and_can_be_stopped() {
    let world = World::new().await;
    let spec = world.start("echo up; exec sleep 600").await;
    world.said(&spec, 1).await;
    crate::docker::instance::remove(&world.engine, &world.container(&spec)).await.unwrap();
    assert!(matches!(world.backend.wait(&spec.id).await.unwrap(), Exit::Unknown | Exit::Signal(9)));
    assert_eq!(world.backend.list().await.unwrap().len(), 1, "it is there until it is stopped");
    world.stop(&spec).await;
    assert!(world.backend.list().await.unwrap().is_empty());
    world.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_container_is_stopped_all_the_same() {
    let world = World::new().await;
    let spec = world.start("exec sleep 600").await;
    let docker = world.engine.docker().await.unwrap();
    for grace in [GRACE, Duration::ZERO] {
        docker.pause_container(&world.container(&spec)).await.unwrap();
        world.backend.stop(&spec.id, grace).await.unwrap();
        world.assert_nothing_left().await;
        if grace != Duration::ZERO {
            world.backend.start(&spec).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anonymous_volumes_go_with_their_container() {
    let world = World::new().await;
    let docker = world.engine.docker().await.unwrap();
    let image = {
        // What a Dockerfile's VOLUME makes of every container.
        let changes = ["VOLUME /data", "CMD [\"sh\"]"].map(str::to_owned);
        let name = format!("autostack-test/volume:{}", world.engine.mark());
        world.engine.also_remove(name.clone());
        let tar = autostack_engine::testing::tar_of(&[("data/x", b"x")]);
        let tar = futures_util::stream::iter([Ok(bytes::Bytes::from(tar))]);
        world.engine.import(tar, &name, &changes).await.unwrap()
    };
    let mut spec = world.spec("");
    spec.program = Program::Image { image, command: None, port: PORT };
    spec.env = EnvMap::new();
    // There is no program in it: it is made, and fails to start or ends at once.
    let _ = world.backend.start(&spec).await;
    let volumes = match docker.inspect_container(&world.container(&spec), None).await {
        Ok(found) => found.mounts.unwrap().into_iter().filter_map(|mount| mount.name).collect(),
        Err(_) => Vec::new(),
    };
    world.stop(&spec).await;
    world.assert_nothing_left().await;
    for volume in volumes {
        assert!(docker.inspect_volume(&volume).await.is_err(), "{volume}");
    }
}
