//! Commands that run once.

use autostack_domain::{DeploymentId, Exit};
use autostack_logs::{BuildLog, Filter};
use tokio_util::sync::CancellationToken;

use super::world::{World, left, until};
use crate::{Backend, RuntimeError};

const DEPLOYMENT: &str = "01890000-0000-7000-8000-000000000009";

fn build_log(world: &World) -> BuildLog {
    world.logs.build_log(&DEPLOYMENT.parse::<DeploymentId>().unwrap()).unwrap()
}

fn said(output: &BuildLog) -> Vec<String> {
    output.flush();
    let (entries, _) = output.stream().tail(usize::MAX, &Filter::all()).unwrap();
    entries.iter().map(|(_, entry)| entry.text_lossy().into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_command_gets_the_environment_but_no_port() {
    let world = World::new().await;
    let mut spec = world.spec("echo $TOKEN; echo port:$PORT; echo bad >&2; exit 3");
    spec.env.set("TOKEN", "t").unwrap();
    let output = build_log(&world);
    let cancel = CancellationToken::new();
    assert_eq!(world.backend.run(&spec, &output, &cancel).await.unwrap(), Exit::Code(3));
    let mut lines = said(&output);
    lines.sort();
    assert_eq!(lines, ["bad", "port:", "t"]);
    spec.env.set("PORT", "77").unwrap();
    world.backend.run(&spec, &output, &cancel).await.unwrap();
    assert!(said(&output).contains(&"port:77".to_owned()));
    world.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_ends_with_its_caller_and_with_its_agent() {
    let world = World::new().await;
    let output = build_log(&world);
    let (dropped, cancel) = (world.spec("echo up; exec sleep 600"), CancellationToken::new());
    let running = world.backend.run(&dropped, &output, &cancel);
    let begun = until("it runs", async || said(&output).len() == 1);
    tokio::select! {
        ended = running => panic!("{ended:?}"),
        () = begun => {}
    }
    world.assert_nothing_left().await;
    let spec = world.spec("echo up; trap '' TERM; while :; do sleep 600; done");
    let running = world.backend.run(&spec, &output, &cancel);
    let ending = async {
        until("it runs", async || said(&output).len() == 2).await;
        world.tasks.shutdown_token().cancel();
    };
    let (ended, ()) = tokio::join!(running, ending);
    assert!(matches!(ended, Err(RuntimeError::Cancelled)), "{ended:?}");
    until("it is gone", async || left(&world.engine).await.iter().all(|name| !name.contains("web"))).await;
}
