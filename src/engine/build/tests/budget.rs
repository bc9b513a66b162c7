//! A build that wants more than its budget is ended, named, and hurts nobody.

use autostack_domain::FailureKind;

use super::*;

/// Takes 256 MiB of memory, page by page.
const GREEDY: &str = "RUN echo begun && dd if=/dev/zero of=/dev/null bs=256M count=2 && echo done\n";

#[tokio::test]
async fn a_build_that_needs_more_memory_is_named_as_that() {
    for builder in BOTH {
        let world = World::with(GREEDY).await;
        let mut order = world.order(builder);
        order.no_cache = true;
        order.budget = Budget { memory_bytes: Some(64 << 20), cpus: Some(1.5) };
        let error = world.refused(order).await;
        assert_eq!(error.kind, FailureKind::OutOfMemory, "{error:#?}");
        assert!(error.message.contains("more than its 64 MiB of memory (build.memory_max)"), "{error:#?}");
        assert_eq!(error.evidence[0], "begun", "{error:#?}");
    }
}

#[tokio::test]
async fn the_commands_of_a_build_run_within_the_limits() {
    let world = World::with("RUN cat /proc/self/cgroup && sleep 1\n").await;
    let mut order = world.order(BuilderChoice::BuildKit);
    order.no_cache = true;
    order.budget = Budget { memory_bytes: Some(900 << 20), cpus: Some(1.5) };
    let (built, said) = world.built(order).await;
    assert_eq!(built.unenforced, []);
    assert!(said.contains("docker/buildkit/"), "commands run below the limited group: {said}");
}
