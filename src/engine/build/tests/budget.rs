//! A build that wants more than its budget is ended, named, and hurts nobody.

use std::path::Path;

use autostack_domain::FailureKind;

use super::*;

/// Takes 256 MiB of memory, page by page.
const GREEDY: &str = "RUN echo begun && dd if=/dev/zero of=/dev/null bs=256M count=2 && echo done\n";

const LIMIT_BYTES: u64 = 64 << 20;
/// How often somebody else may build at the same moment.
const ATTEMPTS_MAX: usize = 10;

/// The memory limit that builds have now.
fn limit_now() -> String {
    let files = ["memory/docker/buildkit/memory.limit_in_bytes", "docker/buildkit/memory.max"];
    let mut read =
        files.iter().filter_map(|file| fs::read_to_string(Path::new("/sys/fs/cgroup").join(file)).ok());
    read.next().unwrap_or_default().trim().to_owned()
}

/// The limit is one for all builds on the engine: another agent's build sets it anew. Such a build is no story.
async fn refused_within_its_limit(world: &World, builder: BuilderChoice) -> BuildError {
    for _ in 0..ATTEMPTS_MAX {
        let mut order = world.order(builder);
        order.no_cache = true;
        order.budget = Budget { memory_bytes: Some(LIMIT_BYTES), cpus: Some(1.5) };
        match world.build(order).await {
            (Err(error), _) => return error,
            (Ok(built), said) => {
                let is_ours = builder == BuilderChoice::Classic || limit_now() == LIMIT_BYTES.to_string();
                assert!(!is_ours, "{built:?}\n{said}");
            }
        }
    }
    panic!("each time, somebody else built on this engine");
}

#[tokio::test]
async fn a_build_that_needs_more_memory_is_named_as_that() {
    for builder in BOTH {
        let world = World::with(GREEDY).await;
        let error = refused_within_its_limit(&world, builder).await;
        assert_eq!(error.kind, FailureKind::OutOfMemory, "{error:#?}");
        assert!(
            error.message.contains("more than its 64 MiB of memory (build.memory_bytes_max)"),
            "{error:#?}"
        );
        assert_eq!(error.evidence[0], "begun", "{error:#?}");
    }
    // Whoever builds next on this engine has the memory back.
    let world = World::with("").await;
    world.built(world.order(BuilderChoice::BuildKit)).await;
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
