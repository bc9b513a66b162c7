//! Switches from one release to the next: nobody notices, and the old one is left alone only when it has
//! nothing to do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use autostack_domain::route::Target;
use tokio::sync::Notify;

use super::world::{App, PATIENCE, Visit, World, route, soon, until};

#[tokio::test]
async fn a_kept_alive_visitor_moves_to_the_new_release() {
    let world = World::start().await;
    let (old, new) = (App::named(&world.tasks, "old").await, App::named(&world.tasks, "new").await);
    let _ = world.publish("app", &[old.address]);
    let mut visit = world.visit().await;
    assert_eq!(visit.get("app.localhost", "/").await.text(), "old");
    let retired = world.publish("app", &[new.address]);
    assert_eq!(visit.get("app.localhost", "/").await.text(), "new");
    assert_eq!(soon("the drain", retired.drained(PATIENCE)).await, 0);
    until("the kept connection is closed", || old.seen.open() == 0).await;
    assert_eq!(visit.get("app.localhost", "/").await.text(), "new");
    assert_eq!(new.seen.connections(), 1);
}

#[tokio::test]
async fn the_drain_waits_for_the_end_of_the_answer() {
    let world = World::start().await;
    let end = Arc::new(Notify::new());
    let end_here = Arc::clone(&end);
    let old = App::scripted(&world.tasks, move |mut visit, _| {
        let end = Arc::clone(&end_here);
        async move {
            visit.message().await;
            visit.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nold\r\n").await;
            end.notified().await;
            visit.send("0\r\n\r\n").await;
            visit.rest().await;
        }
    })
    .await;
    let new = App::named(&world.tasks, "new").await;
    let _ = world.publish("app", &[old.address]);
    let mut visit = world.visit().await;
    visit.send("GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n").await;
    visit.head().await.unwrap();
    let retired = world.publish("app", &[new.address]);
    assert_eq!(retired.in_flight(), 1);
    let mut draining = Box::pin(retired.drained(PATIENCE));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut draining).await.is_err());
    assert_eq!(world.get("app.localhost", "/").await.text(), "new");
    end.notify_one();
    assert_eq!(visit.chunk().await.unwrap(), b"old");
    assert_eq!(visit.chunk().await.unwrap(), b"");
    assert_eq!(soon("the drain", draining).await, 0);
    until("the old connection is closed", || old.seen.open() == 0).await;
}

#[tokio::test]
async fn the_drain_ends_with_its_budget() {
    let world = World::start().await;
    let old = App::scripted(&world.tasks, |mut visit, _| async move {
        visit.message().await;
        visit.rest().await;
    })
    .await;
    let _ = world.publish("app", &[old.address]);
    let mut visit = world.visit().await;
    visit.send("GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n").await;
    until("the app has the request", || old.seen.connections() == 1).await;
    let retired = world.proxy.withdraw(&"app".parse().unwrap());
    assert_eq!(retired.drained(Duration::from_millis(30)).await, 1);
}

/// Asks for ever; counts what it got, and what was not exactly right.
async fn ask_for_ever(
    world: &World,
    keep_alive: bool,
    stop: &AtomicBool,
    asked: &AtomicUsize,
    failed: &AtomicUsize,
) {
    let mut kept: Option<Visit> = None;
    while !stop.load(Ordering::SeqCst) {
        let mut visit = match kept.take() {
            Some(visit) => visit,
            None => world.visit().await,
        };
        let is_post = asked.fetch_add(1, Ordering::SeqCst).is_multiple_of(3);
        let (method, body) = if is_post { ("POST", "0123456789") } else { ("GET", "") };
        let connection = if keep_alive { "keep-alive" } else { "close" };
        let length = body.len();
        visit
            .send(&format!(
                "{method} / HTTP/1.1\r\nHost: app.localhost\r\nConnection: {connection}\r\nContent-Length: {length}\r\n\r\n{body}"
            ))
            .await;
        match visit.message().await {
            Some(answer) if answer.status() == 200 && answer.text().starts_with("release") => {}
            other => {
                eprintln!("{other:?} {}", other.as_ref().map(|answer| answer.text()).unwrap_or_default());
                failed.fetch_add(1, Ordering::SeqCst);
            }
        }
        kept = keep_alive.then_some(visit);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn thousands_of_requests_over_forty_switches_and_not_one_fails() {
    const SWITCHES: usize = 40;
    let world = Arc::new(World::start().await);
    let (stop, asked, failed) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut current =
        vec![App::named(&world.tasks, "release 0").await, App::named(&world.tasks, "release 0").await];
    let _ = world.publish("app", &addresses(&current));
    let visitors: Vec<_> = (0..12)
        .map(|number| {
            let (world, stop) = (Arc::clone(&world), Arc::clone(&stop));
            let (asked, failed) = (Arc::clone(&asked), Arc::clone(&failed));
            world.tasks.clone().spawn("visitor", async move {
                ask_for_ever(&world, number % 2 == 0, &stop, &asked, &failed).await;
            })
        })
        .collect();
    for _ in 0..SWITCHES {
        let enough = asked.load(Ordering::SeqCst) + 100;
        until("a hundred requests", || asked.load(Ordering::SeqCst) >= enough).await;
        let next = vec![App::named(&world.tasks, "release").await, App::named(&world.tasks, "release").await];
        let retired = world.publish("app", &addresses(&next));
        assert_eq!(soon("the drain", retired.drained(PATIENCE)).await, 0);
        // What a deployment does after the drain: the old release is gone, port and all.
        for mut old in std::mem::replace(&mut current, next) {
            old.stop_listening().await;
            until("no connection to the old release", || old.seen.open() == 0).await;
        }
    }
    stop.store(true, Ordering::SeqCst);
    for visitor in visitors {
        soon("the visitor's last answer", visitor).await.unwrap();
    }
    let (asked, failed) = (asked.load(Ordering::SeqCst), failed.load(Ordering::SeqCst));
    assert_eq!(failed, 0, "of {asked}");
    assert!(asked > 100 * SWITCHES);
    assert_eq!(world.tasks.panics(), 0);
}

fn addresses(apps: &[App]) -> Vec<std::net::SocketAddr> {
    apps.iter().map(|app| app.address).collect()
}

#[tokio::test]
async fn scaling_keeps_the_connections_of_what_stays() {
    let world = World::start().await;
    let (one, two) = (App::named(&world.tasks, "one").await, App::named(&world.tasks, "two").await);
    let _ = world.publish("app", &[one.address]);
    let mut visit = world.visit().await;
    visit.get("app.localhost", "/").await;
    let retired = world.publish("app", &[one.address, two.address]);
    assert_eq!(retired.drained(PATIENCE).await, 0);
    let mut seen = std::collections::HashSet::new();
    for _ in 0..4 {
        seen.insert(visit.get("app.localhost", "/").await.text());
    }
    assert_eq!(seen.len(), 2);
    assert_eq!(one.seen.connections(), 1);
}

#[tokio::test]
async fn an_app_may_become_a_folder_and_back() {
    let world = World::start().await;
    let app = App::named(&world.tasks, "app").await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("index.html"), "files").unwrap();
    let files = Target::Static { root: folder.path().to_owned(), not_found: None, single_page: false };
    let mut visit = world.visit().await;
    for _ in 0..3 {
        let _ = world.publish("app", &[app.address]);
        assert_eq!(visit.get("app.localhost", "/").await.text(), "app");
        let retired = world.proxy.publish(route("app", files.clone()));
        assert_eq!(soon("the drain", retired.drained(PATIENCE)).await, 0);
        assert_eq!(visit.get("app.localhost", "/").await.text(), "files");
    }
    let _ = world.proxy.withdraw(&"app".parse().unwrap());
    assert_eq!(visit.get("app.localhost", "/").await.status(), 404);
    assert!(world.proxy.routes().is_empty());
}
