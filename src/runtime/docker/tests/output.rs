//! Every line once, in order, whatever happens in between.

use std::time::Duration;

use autostack_domain::{Exit, limits::LOG_LINE_BYTES_MAX};

use super::world::World;
use crate::Backend;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chatty_instance_loses_and_repeats_nothing_over_restarts_of_the_agent() {
    const LINES: usize = 40_000;
    let mut world = World::new().await;
    let command = format!(
        "i=1; while [ $i -le {LINES} ]; do echo $i; i=$((i+1)); [ $((i % 500)) = 0 ] && usleep 30000; done; exit 4"
    );
    let spec = world.start(&command).await;
    for count in [10, 3_000, 9_000, 20_000] {
        world.said(&spec, count).await;
        world = world.reopened(async |_| {}).await;
    }
    assert_eq!(world.backend.wait(&spec.id).await.unwrap(), Exit::Code(4));
    let found = world.lines(&spec);
    let wrong = found.iter().enumerate().find(|(at, line)| **line != (at + 1).to_string());
    assert_eq!((found.len(), wrong), (LINES, None));
    world.stop(&spec).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_lines_are_joined_again_and_cut_as_all_lines_are() {
    let world = World::new().await;
    let line = |bytes: usize| format!("head -c {bytes} /dev/zero | tr '\\0' x; echo");
    let lengths = [LOG_LINE_BYTES_MAX - 1, LOG_LINE_BYTES_MAX, LOG_LINE_BYTES_MAX + 1, 50_000];
    let lines: Vec<String> = lengths.into_iter().map(line).collect();
    let spec = world.start(&format!("{}; printf 'no end'", lines.join("; "))).await;
    world.backend.wait(&spec.id).await.unwrap();
    let found: Vec<usize> = world.lines(&spec).iter().map(String::len).collect();
    let rest = 50_000 - 3 * LOG_LINE_BYTES_MAX;
    let most = LOG_LINE_BYTES_MAX;
    assert_eq!(found, [most - 1, most, most, 1, most, most, most, rest, 6]);
    world.stop(&spec).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_words_of_a_short_life_are_there_when_its_end_is_told() {
    let world = World::new().await;
    for round in 0..5 {
        let spec = world.start(&format!("echo only {round}; exit 1")).await;
        assert_eq!(world.backend.wait(&spec.id).await.unwrap(), Exit::Code(1));
        assert_eq!(world.lines(&spec), [format!("only {round}")]);
        world.stop(&spec).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_words_that_a_stop_provokes_are_there_when_it_is_done() {
    let world = World::new().await;
    let spec = world
        .start("exec 2>/dev/null; trap 'echo bye; exit 0' TERM; echo up; while :; do usleep 20000; done")
        .await;
    world.said(&spec, 1).await;
    world.stop(&spec).await;
    assert_eq!(world.lines(&spec), ["up", "bye"]);
    // And none of it comes a second time.
    let world = world.reopened(async |_| {}).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(world.lines(&spec), ["up", "bye"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_was_destroyed_does_not_keep_its_instance_from_ending() {
    let world = World::new().await;
    let spec = world
        .start("exec 2>/dev/null; trap 'echo late; exit 0' USR1; echo up; while :; do usleep 20000; done")
        .await;
    world.said(&spec, 1).await;
    world.logs.remove_app(&spec.app).unwrap();
    crate::docker::instance::kill(&world.engine, &world.container(&spec), "SIGUSR1").await.unwrap();
    assert_eq!(world.backend.wait(&spec.id).await.unwrap(), Exit::Code(0));
    world.stop(&spec).await;
}
