//! The engine is away when the agent starts, while an app runs, and while it is destroyed.

use std::collections::BTreeMap;

use super::world::{World, a_folder, an_image, until};
use crate::owner::{Adoption, Request};

#[tokio::test]
async fn an_engine_that_is_away_at_the_start_hands_its_apps_over_once_it_answers() {
    let world = World::new();
    let (shop, blog) = (world.app("shop", an_image), world.app("blog", a_folder));
    let kept = world.container("shop", 1).await;
    // Left by deployments that were cut off: of an app that waits, of one that does not, and of one that is gone.
    for (app, release) in [("shop", 2), ("blog", 2), ("gone", 1)] {
        world.container(app, release).await;
    }
    world.engine.go_away();

    let done = world.deployer.recover().await.unwrap();
    assert_eq!((done.waiting, done.adopted, done.started), (1, 0, 1));
    assert_eq!(world.endpoints(&shop), Some(0), "visitors are told that nobody is there");
    until("the process app runs without the engine", async || world.endpoints(&blog) == Some(1)).await;
    assert_eq!(world.engine.runs().await.len(), 4, "nothing was touched blindly");

    world.engine.come_back();
    until("the app is taken over", async || world.endpoints(&shop) == Some(1)).await;
    until("what nobody wants is gone", async || world.engine.runs().await == [kept.clone()]).await;
    assert_eq!((world.endpoints(&blog), world.processes().await), (Some(1), 1));
}

#[tokio::test]
async fn an_app_destroyed_while_it_waits_leaves_nothing_and_keeps_no_other_from_running() {
    let world = World::new();
    let (lost, shop) = (world.app("lost", an_image), world.app("shop", an_image));
    world.container("lost", 1).await;
    let kept = world.container("shop", 1).await;
    world.engine.go_away();
    assert_eq!(world.deployer.recover().await.unwrap().waiting, 2);

    world.destroy(&lost).await;
    assert_eq!(world.endpoints(&lost), None);
    world.engine.come_back();
    until("the other app is taken over", async || world.endpoints(&shop) == Some(1)).await;
    until("nothing of it is left", async || world.engine.runs().await == [kept.clone()]).await;
    assert_eq!(world.endpoints(&lost), None);
}

#[tokio::test]
async fn an_instance_of_an_app_destroyed_without_its_engine_ends_when_that_is_back() {
    let world = World::new();
    let shop = world.app("shop", an_image);
    world.container("shop", 1).await;
    assert_eq!(world.deployer.recover().await.unwrap().adopted, 1);
    world.engine.go_away();

    world.destroy(&shop).await;
    assert_eq!(world.engine.runs().await.len(), 1);
    world.engine.come_back();
    until("it has ended", async || world.engine.runs().await.is_empty()).await;
}

#[tokio::test]
async fn a_place_waits_for_its_engine_and_says_so_once() {
    let world = World::new();
    let shop = world.app("shop", an_image);
    let first = world.container("shop", 1).await;
    assert_eq!(world.deployer.recover().await.unwrap().adopted, 1);
    world.engine.go_away();
    autostack_runtime::Backend::stop(&world.engine.inner, &first, std::time::Duration::ZERO).await.unwrap();
    until("its end is noticed", async || world.endpoints(&shop) == Some(0)).await;
    until("it is tried some times", async || world.engine.starts() >= 4).await;

    world.engine.come_back();
    until("its place is filled again", async || world.endpoints(&shop) == Some(1)).await;
    assert_eq!(world.lines_with(&shop, "waits for the container engine"), 1);
    assert_eq!(world.lines_with(&shop, "crash loop"), 0);
    let runs = world.engine.runs().await;
    assert!(runs.len() == 1 && !runs.contains(&first), "{runs:?}");
}

#[tokio::test]
async fn what_this_agent_runs_itself_is_no_stray_of_an_earlier_one() {
    let world = World::new();
    let shop = world.app("shop", an_image);
    let live = world.container("shop", 1).await;
    assert_eq!(world.deployer.recover().await.unwrap().adopted, 1);
    let old = world.container("shop", 9).await;

    // As an engine tells that answers late.
    let adoption = Adoption { launch: None, places: BTreeMap::new(), strays: vec![live.clone(), old] };
    world.deployer.ask(&shop, |reply| Request::Adopt { adoption, reply }).await.unwrap();
    until("only the stray ends", async || world.engine.runs().await == [live.clone()]).await;
    assert_eq!(world.endpoints(&shop), Some(1));
}
