//! What this host shows of containers, and the same asked of an engine that runs elsewhere.

use std::time::Duration;

use super::world::{World, until};
use crate::{
    Backend, ExecRequest,
    contract::connect,
    docker::{exec, sockets, stats},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_are_the_same_from_within() {
    let world = World::new().await;
    let spec = world.spec("exec httpd -f -p $PORT");
    connect(world.backend.start(&spec).await.unwrap().endpoint).await.unwrap();
    let inner = &world.backend.inner;
    let instance = inner.instance(&spec.id).unwrap();
    let tables = sockets::inside(inner, &instance).await.unwrap();
    let listens = |port: u16| tables.contains(&format!(":{port:04X} "));
    assert!(listens(super::world::PORT) && tables.lines().count() > 1, "{tables}");
    world.stop(&spec).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_is_much_the_same_from_the_engine() {
    let world = World::new().await;
    let spec =
        world.start("x=$(head -c 8000000 /dev/zero | tr '\\0' x); echo full; exec 2>&1; sleep 600").await;
    world.said(&spec, 1).await;
    let inner = &world.backend.inner;
    let instance = inner.instance(&spec.id).unwrap();
    let here = stats::on_host(inner, &instance).await.unwrap().expect("the engine runs on this host");
    let told = stats::from_engine(inner, &instance.container).await.unwrap().expect("it runs");
    let (less, more) = (here.memory_bytes.min(told.memory_bytes), here.memory_bytes.max(told.memory_bytes));
    assert!(less > 8_000_000 && more - less < 4_000_000, "{here:?} {told:?}");
    assert!(told.cpu.abs_diff(here.cpu) < Duration::from_millis(500), "{here:?} {told:?}");
    assert!(here.processes >= 2 && told.processes >= here.processes, "{here:?} {told:?}");
    world.stop(&spec).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_command_left_is_killed_from_within_and_nothing_else() {
    let world = World::new().await;
    let spec = world.start("echo up; exec sleep 600").await;
    world.said(&spec, 1).await;
    let mut request = ExecRequest {
        command: "trap '' TERM; (setsid sleep 601 &); sleep 602 & echo up; wait".to_owned(),
        ..ExecRequest::default()
    };
    request.env.set("AUTOSTACK_TEST", "mark").unwrap();
    let mut session = world.backend.exec(&spec.id, request).await.unwrap();
    session.output().await.unwrap();
    let inner = &world.backend.inner;
    let instance = inner.instance(&spec.id).unwrap();
    exec::kill_inside(inner, &instance, "AUTOSTACK_TEST=mark").await;
    let left = async || {
        let command = ["ps", "-o", "args"].map(str::to_owned).to_vec();
        String::from_utf8(exec::said_by(inner, &instance, command, 100_000).await.unwrap().0).unwrap()
    };
    until("it is gone", async || !left().await.contains("sleep 60[12]")).await;
    let left = left().await;
    assert!(!left.contains("sleep 601") && !left.contains("sleep 602"), "{left}");
    assert!(left.contains("sleep 600"), "{left}");
    session.wait().await.unwrap();
    world.stop(&spec).await;
}
