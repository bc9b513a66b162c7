//! What ends a build from outside: nothing of it goes on.

use std::time::Instant;

use autostack_domain::FailureKind;

use super::*;
use crate::testing::PrivateEngine;

/// A command that runs long and that nobody else runs.
fn long_command(builder: BuilderChoice, story: &str) -> String {
    let seconds = 100_000 + std::process::id();
    format!("RUN echo {story}{builder:?} && sleep {seconds}.{}\n", story.len())
}

fn is_running(story: &str) -> bool {
    runs(&format!("sleep {}.{}", 100_000 + std::process::id(), story.len()))
}

#[tokio::test]
async fn a_cancelled_build_ends_within_a_second_and_leaves_nothing_running() {
    for builder in BOTH {
        let story = "cancelled";
        let world = World::with(&long_command(builder, story)).await;
        let said = Said::default();
        let (hear, cancel) = (said.hear(), CancellationToken::new());
        let build = world.engine.build(world.order(builder), &hear, &cancel);
        tokio::pin!(build);
        tokio::select! {
            ended = &mut build => panic!("{ended:?} {}", said.text()),
            () = eventually(Duration::from_secs(30), "the command runs", || is_running(story)) => {}
        }
        let since = Instant::now();
        cancel.cancel();
        let error = build.await.unwrap_err();
        assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
        assert_eq!(error.kind, FailureKind::Cancelled, "{error:#?}");
        eventually(Duration::from_secs(10), "the command is gone", || !is_running(story)).await;
        let left = || {
            docker(&[
                "ps",
                "-aq",
                "--filter",
                &format!("label={}={}", crate::labels::AGENT, world.engine.mark()),
            ])
        };
        eventually(Duration::from_secs(10), "its container is gone", || left().is_empty()).await;
    }
}

#[tokio::test]
async fn a_build_that_takes_too_long_is_ended_and_says_where_it_was() {
    for builder in BOTH {
        let story = "too-long";
        let world = World::with(&long_command(builder, story)).await;
        // On a busy machine the command may not have begun after the first of these.
        for limit_s in [4, 8, 16, 32] {
            let mut order = world.order(builder);
            order.time_limit = Duration::from_secs(limit_s);
            let error = world.refused(order).await;
            assert_eq!(error.kind, FailureKind::TimedOut);
            assert!(error.message.contains(&format!("{limit_s} s (build.timeout)")), "{error:#?}");
            if error.evidence.is_empty() && limit_s < 32 {
                continue;
            }
            assert!(error.message.contains("during `RUN echo"), "{error:#?}");
            assert_eq!(error.evidence, [format!("{story}{builder:?}")], "{error:#?}");
            break;
        }
        eventually(Duration::from_secs(10), "the command is gone", || !is_running(story)).await;
    }
}

#[tokio::test]
async fn a_build_that_is_dropped_ends_too() {
    for builder in BOTH {
        let story = "dropped-build";
        let world = World::with(&long_command(builder, story)).await;
        let (hear, cancel) = (Said::default().hear(), CancellationToken::new());
        {
            let build = world.engine.build(world.order(builder), &hear, &cancel);
            tokio::pin!(build);
            tokio::select! {
                ended = &mut build => panic!("{ended:?}"),
                () = eventually(Duration::from_secs(30), "the command runs", || is_running(story)) => {}
            }
        }
        eventually(Duration::from_secs(10), "the command is gone", || !is_running(story)).await;
    }
}

#[tokio::test]
async fn an_engine_that_dies_in_the_middle_is_named() {
    for builder in BOTH {
        let mut private = PrivateEngine::start(&[]).await;
        let world = World { engine: TestEngine::at(private.host()), ..World::new().await };
        busybox(&world.engine).await;
        world.write(
            "Dockerfile",
            &format!("FROM {BUSYBOX}\n{}", "RUN --network=none sleep 77\n".replace("--network=none ", "")),
        );
        let said = Said::default();
        let (hear, cancel) = (said.hear(), CancellationToken::new());
        let build = world.engine.build(world.order(builder), &hear, &cancel);
        tokio::pin!(build);
        tokio::select! {
            ended = &mut build => panic!("{ended:?} {}", said.text()),
            () = eventually(Duration::from_secs(30), "the step is begun", || said.text().contains("RUN sleep")) => {}
        }
        private.kill();
        let error = build.await.unwrap_err();
        assert_eq!(error.kind, FailureKind::EngineUnavailable, "{error:#?}");
        assert!(error.message.contains("went away"), "{error:#?}");
    }
}
