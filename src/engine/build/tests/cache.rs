//! The build cache: what carries our mark is found and goes, everybody else's stays.

use autostack_base::tasks::Tasks;

use super::World;
use crate::{
    CacheRecord,
    build::{BuilderChoice, Dockerfile},
    cache_mark,
    testing::BUSYBOX,
};

/// Runs a command in an image build as the agent does, and leaves nothing of it but the cache.
async fn leave_cache(world: &World) {
    let mark = cache_mark(world.engine.mark(), &world.app);
    let line = serde_json::json!(["/bin/sh", "-c", "echo made > /made", mark]);
    let mut order = world.order(BuilderChoice::BuildKit);
    order.dockerfile = Dockerfile::Text(format!("FROM {BUSYBOX}\nRUN {line}\n"));
    let tag = order.tag.clone();
    world.built(order).await;
    assert!(world.engine.remove_image(&tag).await.unwrap());
}

async fn cache_of(world: &World) -> Vec<CacheRecord> {
    let records = world.engine.build_cache(&Tasks::new()).await.unwrap();
    records.into_iter().filter(|record| record.is_of(&world.app)).collect()
}

#[tokio::test]
async fn cache_with_our_mark_goes_and_that_of_another_agent_stays() {
    let (ours, theirs) = (World::new().await, World::new().await);
    leave_cache(&ours).await;
    leave_cache(&theirs).await;
    let found = cache_of(&ours).await;
    assert!(!found.is_empty());
    for record in &found {
        assert!(ours.engine.remove_cache(record).await.unwrap().is_some(), "{record:?}");
    }
    assert_eq!(cache_of(&ours).await, []);
    let kept = cache_of(&theirs).await;
    assert!(!kept.is_empty());
    for record in &kept {
        theirs.engine.remove_cache(record).await.unwrap();
    }
}
