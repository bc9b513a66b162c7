//! How long the proxy waits for whom (threat D4).

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;

use super::world::{App, World, soon, until};
use crate::ProxyLimits;

const SHORT: Duration = Duration::from_millis(100);

fn impatient() -> ProxyLimits {
    ProxyLimits {
        head_timeout: SHORT,
        idle_timeout: SHORT,
        body_timeout: SHORT,
        write_timeout: SHORT,
        answer_timeout: SHORT,
        pool_idle_timeout: SHORT,
        linger_timeout: SHORT,
        ..ProxyLimits::default()
    }
}

#[tokio::test]
async fn d4_a_client_that_says_nothing_is_let_go() {
    let world = World::with(impatient()).await;
    let mut silent = world.visit().await;
    assert_eq!(silent.rest().await, b"");
    let mut after_one = world.visit().await;
    assert_eq!(after_one.get("nobody.localhost", "/").await.status(), 404);
    assert_eq!(after_one.rest().await, b"");
}

#[tokio::test]
async fn d4_a_slow_head_gets_a_408() {
    let world = World::with(impatient()).await;
    let mut slow = world.visit().await;
    let start = Instant::now();
    slow.send("GET / HTTP/1.1\r\nHost: a").await;
    while slow.stream.write_all(b"a").await.is_ok() && start.elapsed() < SHORT * 3 {
        tokio::time::sleep(SHORT / 10).await;
    }
    let answer = slow.answer().await;
    assert_eq!(answer.status(), 408, "bytes that drip do not wind the clock");
    assert!(start.elapsed() >= SHORT);
}

#[tokio::test]
async fn d4_a_slow_second_head_has_its_own_clock() {
    let limits = ProxyLimits { idle_timeout: SHORT * 100, head_timeout: SHORT * 5, ..impatient() };
    let world = World::with(limits).await;
    let mut visit = world.visit().await;
    assert_eq!(visit.get("nobody.localhost", "/").await.status(), 404);
    tokio::time::sleep(SHORT * 6).await;
    visit.send("GET / HTTP/1.1\r\n").await;
    tokio::time::sleep(SHORT / 4).await;
    visit.send("Host: nobody.localhost\r\n\r\n").await;
    assert_eq!(visit.answer().await.status(), 404, "the idle time before it does not count");
}

#[tokio::test]
async fn d4_a_slow_body_ends_the_request() {
    let world = World::with(impatient()).await;
    let app = App::scripted(&world.tasks, |mut visit, _| async move {
        visit.rest().await;
    })
    .await;
    let _ = world.publish("app", &[app.address]);
    let mut slow = world.visit().await;
    slow.send("POST / HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: 10\r\n\r\nabc").await;
    slow.rest().await;
    until("the app's connection is closed", || app.seen.open() == 0).await;
}

#[tokio::test]
async fn a_slow_upload_that_moves_is_waited_for() {
    let limits = ProxyLimits { body_timeout: SHORT * 5, answer_timeout: SHORT * 5, ..impatient() };
    let world = World::with(limits).await;
    let app = App::named(&world.tasks, "done").await;
    let _ = world.publish("app", &[app.address]);
    let mut slow = world.visit().await;
    slow.send("POST / HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: 12\r\n\r\n").await;
    for _ in 0..12 {
        tokio::time::sleep(SHORT / 2).await;
        slow.send("x").await;
    }
    assert_eq!(slow.answer().await.text(), "done");
}

#[tokio::test]
async fn a_slow_answer_does_not_count_as_the_clients_idleness() {
    let world = World::with(ProxyLimits { answer_timeout: SHORT * 100, ..impatient() }).await;
    let app = App::scripted(&world.tasks, |mut visit, _| async move {
        visit.message().await;
        tokio::time::sleep(SHORT * 3).await;
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n").await;
        tokio::time::sleep(SHORT * 3).await;
        visit.send("late").await;
        visit.rest().await;
    })
    .await;
    let _ = world.publish("app", &[app.address]);
    let mut visit = world.visit().await;
    assert_eq!(visit.get("app.localhost", "/").await.text(), "late");
    assert_eq!(visit.rest().await, b"", "and afterwards it does");
}

#[tokio::test]
async fn an_app_that_does_not_answer_gets_a_504() {
    let world = World::with(impatient()).await;
    let app = App::scripted(&world.tasks, |mut visit, _| async move {
        visit.rest().await;
    })
    .await;
    let _ = world.publish("app", &[app.address]);
    assert_eq!(world.get("app.localhost", "/").await.status(), 504);
    until("the app's connection is closed", || app.seen.open() == 0).await;
    assert_eq!(app.seen.connections(), 1, "one that was late is not asked twice");
}

#[tokio::test]
async fn d4_a_client_that_does_not_read_is_let_go() {
    let world = World::with(impatient()).await;
    let app = App::scripted(&world.tasks, |mut visit, _| async move {
        visit.message().await;
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n").await;
        let piece = vec![b'x'; 1 << 20];
        while visit.stream.write_all(&piece).await.is_ok() {}
    })
    .await;
    let _ = world.publish("app", &[app.address]);
    let mut deaf = world.visit().await;
    deaf.send("GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n").await;
    until("the app has the request", || app.seen.connections() == 1).await;
    until("the app's connection is closed", || app.seen.open() == 0).await;
}

#[tokio::test]
async fn connections_that_stay_unused_are_closed() {
    let world = World::with(ProxyLimits { idle_timeout: SHORT * 100, ..impatient() }).await;
    let app = App::named(&world.tasks, "app").await;
    let _ = world.publish("app", &[app.address]);
    let mut visit = world.visit().await;
    assert_eq!(visit.get("app.localhost", "/").await.text(), "app");
    until("the unused connection is closed", || app.seen.open() == 0).await;
    assert_eq!(visit.get("app.localhost", "/").await.text(), "app");
    assert_eq!(app.seen.connections(), 2);
}

#[tokio::test]
async fn d4_honest_visitors_are_served_beside_many_slow_ones() {
    let world =
        World::with(ProxyLimits { head_timeout: Duration::from_secs(60), ..ProxyLimits::default() }).await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut visit = world.visit().await;
        visit.send("GET / HTTP/1.1\r\nHost: a.localhost\r\nX-").await;
        slow.push(visit);
    }
    let start = Instant::now();
    for _ in 0..50 {
        assert_eq!(soon("an answer", world.get("nobody.localhost", "/")).await.status(), 404);
    }
    assert!(start.elapsed() < Duration::from_secs(5));
}
