//! What the classic builder leaves behind is removed, or can be found again.

use super::*;

/// Images without a name that say these words of how they were made.
fn nameless_with(words: &str) -> Vec<String> {
    let ids = docker(&["images", "-q", "--filter", "dangling=true"]);
    let is_ours = |id: &&str| {
        let made = Command::new(DOCKER).args(["history", "--no-trunc", id]).output().unwrap();
        String::from_utf8_lossy(&made.stdout).contains(words)
    };
    ids.lines().filter(is_ours).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_build_that_fails_leaves_no_nameless_image() {
    let words = uuid::Uuid::now_v7().to_string();
    let world = World::with("").await;
    let stages =
        format!("FROM {BUSYBOX} AS one\nRUN echo {words}\nFROM {BUSYBOX}\nRUN echo two {words}\nRUN false\n");
    world.write("Dockerfile", &stages);
    world.refused(world.order(BuilderChoice::Classic)).await;
    eventually(Duration::from_secs(20), "nothing is left", || nameless_with(&words).is_empty()).await;
    assert!(
        world.engine.inspect_image(BUSYBOX).await.unwrap().is_some(),
        "the base image is not ours to remove"
    );
}

#[tokio::test]
async fn a_stage_that_is_kept_for_the_next_build_has_a_name_of_ours() {
    let words = uuid::Uuid::now_v7().to_string();
    let world = World::with("").await;
    let stages =
        format!("FROM {BUSYBOX} AS one\nRUN echo {words} > /made\nFROM {BUSYBOX}\nCOPY --from=one /made /\n");
    world.write("Dockerfile", &stages);
    let order = world.order(BuilderChoice::Classic);
    let tag = order.tag.clone();
    world.built(order).await;
    assert_eq!(nameless_with(&words), Vec::<String>::new());
    let images = world.engine.images_of_agent(Some(&world.app)).await.unwrap();
    let tags: Vec<&String> = images.iter().flat_map(|image| &image.tags).collect();
    assert!(tags.contains(&&format!("{tag}-stage-0")) && tags.contains(&&tag), "{tags:?}");
    let (_, said) = world.built(world.order(BuilderChoice::Classic)).await;
    assert!(said.contains(&format!("RUN echo {words} > /made\n  cached\n")), "{said}");
}
