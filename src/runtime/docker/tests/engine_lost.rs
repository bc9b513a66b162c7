//! An engine that is away, restarts, or dies under its containers.

use std::{sync::Arc, time::Duration};

use autostack_base::{settings::EndpointChoice, tasks::Tasks};
use autostack_domain::{Exit, InstanceSpec};
use autostack_engine::{
    AgentMark, Engine, EngineHost,
    testing::{PrivateEngine, TestEngine},
};

use super::world::{GRACE, MODEST, SOON, World, left, open, open_logs, until};
use crate::{Backend, InstanceState, RuntimeError};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_engine_is_said_by_every_operation_and_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("docker.sock");
    let host: EngineHost = format!("unix://{}", link.display()).parse().unwrap();
    let engine = Engine::new(host, AgentMark::random().unwrap());
    let (logs, tasks) = (open_logs(dir.path()), Tasks::new());
    let limits = Arc::new(std::sync::Mutex::new(MODEST));
    let backend = open(&engine, EndpointChoice::Auto, &limits, &logs, &tasks).await;
    let world = World::new().await;
    let spec = world.spec("true");
    let refusals: [Result<(), RuntimeError>; 5] = [
        backend.list().await.map(drop),
        backend.start(&spec).await.map(drop),
        backend.stop(&spec.id, GRACE).await,
        backend.wait(&spec.id).await.map(drop),
        backend.ping().await,
    ];
    for refused in refusals {
        let error = refused.unwrap_err();
        assert!(error.is_engine_gone(), "{error:?}");
        assert!(autostack_base::error_chain(&error).contains("no container engine answers at"), "{error:?}");
    }
    assert!(!backend.is_reachable());
    // Here it comes.
    std::os::unix::fs::symlink(world.engine.host().socket().unwrap(), &link).unwrap();
    tokio::time::timeout(SOON, backend.reachable()).await.unwrap();
    assert!(backend.list().await.unwrap().is_empty());
    drop(backend);
    assert!(tasks.wait(SOON).await.is_empty());
}

async fn on_private(arguments: &[&str]) -> (PrivateEngine, World) {
    let private = PrivateEngine::start(arguments).await;
    let world = World::on(TestEngine::at(private.host()), EndpointChoice::Auto).await;
    (private, world)
}

/// Says a number every 20 ms, from 1, and nothing of the signals that it gets.
const COUNT: &str = "exec 2>/dev/null; i=1; while :; do echo $i; i=$((i+1)); usleep 20000; done";

fn assert_counted(found: &[String]) {
    let wrong = found.iter().enumerate().find(|(at, line)| **line != (at + 1).to_string());
    assert_eq!(wrong, None, "of {}", found.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_die_with_their_engine_are_seen_as_ended() {
    let (mut private, world) = on_private(&[]).await;
    for is_killed in [false, true] {
        let spec = world.start(COUNT).await;
        world.said(&spec, 20).await;
        if is_killed {
            private.kill();
        } else {
            private.stop().await;
        }
        until("it is seen", async || world.backend.list().await.is_err_and(|error| error.is_engine_gone()))
            .await;
        let stopped = world.backend.stop(&spec.id, Duration::ZERO).await;
        assert!(stopped.unwrap_err().is_engine_gone());
        private.start_again().await;
        let exit = tokio::time::timeout(SOON, world.backend.wait(&spec.id)).await.unwrap().unwrap();
        assert!(!exit.is_success(), "{exit:?}");
        let listed = world.backend.list().await.unwrap();
        assert_eq!((listed.len(), listed[0].state), (1, InstanceState::Exited(exit)));
        assert_counted(&world.lines(&spec));
        world.stop(&spec).await;
        // And life goes on.
        let next = world.start("echo up; exec sleep 600").await;
        world.said(&next, 1).await;
        world.stop(&next).await;
        world.assert_nothing_left().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_survive_their_engine_are_followed_on_without_a_gap() {
    let (mut private, world) = on_private(&["--live-restore"]).await;
    let spec = world.start(&format!("trap 'exit 6' USR1; {COUNT}")).await;
    for is_killed in [false, true] {
        let before = world.said(&spec, 20).await.len();
        if is_killed {
            private.kill();
        } else {
            private.stop().await;
        }
        private.start_again().await;
        world.said(&spec, before + 100).await;
        assert_eq!(world.backend.list().await.unwrap()[0].state, InstanceState::Running);
    }
    assert_counted(&world.lines(&spec));
    crate::docker::instance::kill(&world.engine, &world.container(&spec), "SIGUSR1").await.unwrap();
    let exit = tokio::time::timeout(SOON, world.backend.wait(&spec.id)).await.unwrap().unwrap();
    assert_eq!(exit, Exit::Code(6));
    assert_counted(&world.lines(&spec));
    world.stop(&spec).await;
    world.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_engine_that_dies_under_starts_leaves_only_what_is_listed() {
    let (mut private, world) = on_private(&[]).await;
    for pause_ms in [40, 150, 400] {
        let specs: Vec<InstanceSpec> = (0..6).map(|_| world.spec("exec sleep 600")).collect();
        let starting = futures_util::future::join_all(specs.iter().map(|spec| world.backend.start(spec)));
        let killing = async {
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            private.kill();
        };
        let (started, ()) = tokio::join!(starting, killing);
        private.start_again().await;
        tokio::time::timeout(SOON, world.backend.reachable()).await.unwrap();
        let expected: Vec<_> = specs
            .iter()
            .zip(&started)
            .filter(|(_, started)| started.is_ok())
            .map(|(spec, _)| world.container(spec))
            .collect();
        until("the engine has what is listed", async || {
            let Ok(listed) = world.backend.list().await else { return false };
            let listed: Vec<String> = listed.iter().map(|one| world.container(&one.spec)).collect();
            let mut there = left(&world.engine).await;
            there.retain(|name| name.contains(".web."));
            let mut there: Vec<String> = there.iter().map(|name| name[1..].to_owned()).collect();
            there.sort();
            there == listed && expected.iter().all(|name| listed.contains(name))
        })
        .await;
        for spec in &specs {
            world.backend.stop(&spec.id, Duration::ZERO).await.unwrap();
        }
        world.assert_nothing_left().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_one_off_whose_engine_dies_is_an_error_and_leaves_nothing() {
    let (mut private, world) = on_private(&[]).await;
    let output = world.logs.build_log(&"01890000-0000-7000-8000-00000000000a".parse().unwrap()).unwrap();
    let spec = world.spec("echo up; exec sleep 600");
    let cancel = tokio_util::sync::CancellationToken::new();
    let killing = async {
        until("it runs", async || output.stream().end().0 > 0).await;
        private.kill();
    };
    let (ended, ()) = tokio::join!(world.backend.run(&spec, &output, &cancel), killing);
    assert!(ended.as_ref().is_err_and(RuntimeError::is_engine_gone), "{ended:?}");
    private.start_again().await;
    world.assert_nothing_left().await;
}
