//! Scaled, restarted, stopped, started, and an earlier artifact run again: what is recorded and what runs stay one.

use std::collections::{BTreeMap, BTreeSet};

use autostack_domain::{DeploymentState, EnvMap, Exit, FailureKind, ProcessType, ReleaseNumber};
use autostack_runtime::{Backend, memory::Program};

use super::world::{World, a_folder, until};
use crate::{Change, ConfigOf};

fn web(count: u32) -> Change {
    Change::Scale(BTreeMap::from([(ProcessType::web(), count)]))
}

#[tokio::test]
async fn a_formation_changes_by_the_difference() {
    let world = World::new();
    let shop = world.app("shop", a_folder);
    world.deployer.recover().await.unwrap();
    until("it runs", async || world.endpoints(&shop) == Some(1)).await;
    let first = world.process_ids().await;

    world.roll(&shop, web(3)).await.unwrap();
    assert_eq!(world.endpoints(&shop), Some(3));
    assert!(world.process_ids().await.is_superset(&first), "what ran goes on");
    world.roll(&shop, web(1)).await.unwrap();
    assert_eq!((world.endpoints(&shop), world.process_ids().await), (Some(1), first.clone()));
    assert_eq!(world.record(&shop).formation.count(&ProcessType::web()), 1);

    world.roll(&shop, Change::Restart(None)).await.unwrap();
    until("the old one has ended", async || world.processes().await == 1).await;
    assert!(world.process_ids().await.is_disjoint(&first));
    assert_eq!(world.record(&shop).round(&ProcessType::web()), 1);

    world.roll(&shop, Change::Stop).await.unwrap();
    assert_eq!((world.endpoints(&shop), world.processes().await), (Some(0), 0));
    world.roll(&shop, web(2)).await.unwrap();
    assert_eq!(world.processes().await, 0, "stopped is stopped");
    world.roll(&shop, Change::Start).await.unwrap();
    assert_eq!((world.endpoints(&shop), world.processes().await), (Some(2), 2));
}

#[tokio::test]
async fn what_does_not_get_ready_changes_nothing() {
    let world = World::new();
    let shop = world.app("shop", a_folder);
    world.deployer.recover().await.unwrap();
    until("it runs", async || world.endpoints(&shop) == Some(1)).await;
    let first = world.process_ids().await;
    let before = world.record(&shop);

    world.process.script("", Program::ends(Exit::Code(3)).print("no database"));
    for change in [web(2), Change::Restart(None)] {
        let failure = world.roll(&shop, change).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::InstanceExited);
        assert!(failure.evidence.iter().any(|line| line.contains("no database")), "{failure:?}");
        assert_eq!((world.process_ids().await, world.record(&shop)), (first.clone(), before.clone()));
    }
}

#[tokio::test]
async fn after_a_crash_in_the_middle_the_recorded_instances_stay() {
    // Before the switch: those of the next round are strays. After it: those of the round before.
    for (recorded, kept) in [(0, 0), (1, 1)] {
        let world = World::new();
        let shop = world.app("shop", a_folder);
        let ids = [world.process_of(&shop, 1, 0).await, world.process_of(&shop, 1, 1).await];
        let surplus = world.process_of(&shop, 2, recorded).await;
        world.change_record(&shop, |app| {
            app.rounds.insert(ProcessType::web(), recorded);
        });
        let done = world.deployer.recover().await.unwrap();
        assert_eq!((done.adopted, done.started, done.stopped), (1, 0, 2));
        let wanted = BTreeSet::from([ids[kept].clone()]);
        until("only what is recorded runs", async || world.process_ids().await == wanted).await;
        assert!(!wanted.contains(&surplus));
        assert_eq!(world.endpoints(&shop), Some(1));
    }
}

#[tokio::test]
async fn an_app_that_was_stopped_stays_so_over_a_crash() {
    let world = World::new();
    let shop = world.app("shop", a_folder);
    world.process_of(&shop, 1, 0).await;
    world.change_record(&shop, |app| app.is_stopped = true);
    world.deployer.recover().await.unwrap();
    until("what still ran has ended", async || world.processes().await == 0).await;
    assert_eq!(world.endpoints(&shop), Some(0), "visitors are told");
    world.roll(&shop, Change::Start).await.unwrap();
    assert_eq!(world.endpoints(&shop), Some(1));
}

#[tokio::test]
async fn a_record_that_has_changed_is_carried_out() {
    let world = World::new();
    let shop = world.app("shop", a_folder);
    world.deployer.recover().await.unwrap();
    until("it runs", async || world.endpoints(&shop) == Some(1)).await;
    world.change_record(&shop, |app| {
        app.formation.0.insert(ProcessType::web(), 2);
    });
    world.deployer.refresh(&shop).await;
    until("the new place is filled", async || world.endpoints(&shop) == Some(2)).await;
}

#[tokio::test]
async fn a_config_change_and_a_rollback_run_the_same_artifact_again() {
    let world = World::new();
    let shop = world.app("shop", a_folder);
    world.deployer.recover().await.unwrap();
    until("it runs", async || world.endpoints(&shop) == Some(1)).await;
    let env = |value: &str| {
        let mut env = EnvMap::new();
        env.set("GREETING", value).unwrap();
        env
    };

    // Without its artifact nothing can be run again, and nothing changes.
    let (id, gone) = world.again(&shop, None, ConfigOf::App).await;
    assert!(gone.unwrap_err().cause.contains("the folder of its artifact is not there"));
    assert_eq!(world.deployment(&id).state, DeploymentState::Failed);
    world.make_artifact(&shop);

    world.set_config(&shop, &env("two"));
    let (_, made) = world.again(&shop, None, ConfigOf::App).await;
    assert_eq!(made.unwrap(), ReleaseNumber(2));
    until("one runs", async || world.processes().await == 1).await;
    assert_eq!(world.environment(&shop).await.get("GREETING"), Some(b"two".as_slice()));

    // Config that nobody has seen live yet goes too: a rollback is to the code and config of that release.
    world.set_config(&shop, &env("three"));
    let (_, back) = world.again(&shop, Some(ReleaseNumber(1)), ConfigOf::Release).await;
    assert_eq!(back.unwrap(), ReleaseNumber(3));
    until("one runs", async || world.processes().await == 1).await;
    assert_eq!(world.environment(&shop).await.get("GREETING"), None);
    assert_eq!(world.config(&shop), EnvMap::new());
    assert_eq!(world.record(&shop).current_release, Some(ReleaseNumber(3)));
    assert_eq!(world.endpoints(&shop), Some(1));

    // An app that is stopped gets its release, and stays stopped.
    world.roll(&shop, Change::Stop).await.unwrap();
    let (_, made) = world.again(&shop, None, ConfigOf::App).await;
    made.unwrap();
    assert_eq!((world.endpoints(&shop), world.processes().await), (Some(0), 0));
}

#[tokio::test]
async fn a_stop_ends_a_restart_that_waits() {
    let world = World::new();
    let shop = world.app("shop", a_folder);
    world.deployer.recover().await.unwrap();
    until("it runs", async || world.endpoints(&shop) == Some(1)).await;
    world.process.script("", Program::worker());
    let restart = world.roll(&shop, Change::Restart(None));
    let stop = async {
        until("the new one is started", async || world.processes().await == 2).await;
        world.roll(&shop, Change::Stop).await
    };
    let (restarted, stopped) = tokio::join!(restart, stop);
    assert_eq!(restarted.unwrap_err().kind, FailureKind::Cancelled);
    stopped.unwrap();
    until("nothing runs", async || world.process.list().await.unwrap().is_empty()).await;
    assert!(world.record(&shop).is_stopped);
}
