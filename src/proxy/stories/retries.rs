//! What is tried again, and what never is.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::world::{App, World, until};

#[tokio::test]
async fn a_dead_instance_is_passed_over() {
    let world = World::start().await;
    let mut dead = App::named(&world.tasks, "dead").await;
    dead.stop_listening().await;
    let alive = App::named(&world.tasks, "alive").await;
    let _ = world.publish("app", &[dead.address, alive.address]);
    let mut visit = world.visit().await;
    for _ in 0..20 {
        visit.send("POST / HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: 1\r\n\r\nx").await;
        assert_eq!(visit.answer().await.text(), "alive");
    }
    assert_eq!(alive.seen.count(), 20);
}

#[tokio::test]
async fn no_instance_that_accepts_is_a_503() {
    let world = World::start().await;
    let mut dead = App::named(&world.tasks, "dead").await;
    dead.stop_listening().await;
    let _ = world.publish("app", &[dead.address]);
    let answer = world.get("app.localhost", "/").await;
    assert_eq!((answer.status(), answer.header("retry-after")), (503, "2"));
}

/// An app that answers one request on each connection and closes it when the next one comes.
async fn closing_app(world: &World) -> App {
    App::scripted(&world.tasks, |mut visit, seen| async move {
        for round in 0.. {
            let Some(request) = visit.message().await else { return };
            seen.requests.lock().unwrap().push(request);
            if round == 1 {
                return;
            }
            visit.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await
}

#[tokio::test]
async fn an_idempotent_request_on_a_dying_connection_is_repeated_once() {
    let world = World::start().await;
    let app = closing_app(&world).await;
    let _ = world.publish("app", &[app.address]);
    let mut visit = world.visit().await;
    assert_eq!(visit.get("app.localhost", "/1").await.status(), 200);
    assert_eq!(visit.get("app.localhost", "/2").await.status(), 200);
    assert_eq!(world.proxy.metrics().repeated, 1);
    assert_eq!(app.seen.count(), 3);
}

#[tokio::test]
async fn one_that_is_not_idempotent_is_never_repeated() {
    let world = World::start().await;
    let app = closing_app(&world).await;
    let _ = world.publish("app", &[app.address]);
    let mut visit = world.visit().await;
    let post = "POST / HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: 1\r\n\r\nx";
    visit.send(post).await;
    assert_eq!(visit.answer().await.status(), 200);
    visit.send(post).await;
    let answer = visit.answer().await;
    assert_eq!(answer.status(), 502);
    assert!(answer.text().contains("closed the connection"), "{}", answer.text());
    assert_eq!(app.seen.count(), 2);
}

#[tokio::test]
async fn a_request_that_kills_its_instance_does_not_go_round() {
    let world = World::start().await;
    let deaths = Arc::new(AtomicUsize::new(0));
    let mut apps = Vec::new();
    for _ in 0..4 {
        let deaths = Arc::clone(&deaths);
        apps.push(
            App::scripted(&world.tasks, move |mut visit, _| {
                let deaths = Arc::clone(&deaths);
                async move {
                    visit.message().await;
                    deaths.fetch_add(1, Ordering::SeqCst);
                }
            })
            .await,
        );
    }
    let addresses: Vec<_> = apps.iter().map(|app| app.address).collect();
    let _ = world.publish("app", &addresses);
    assert_eq!(world.get("app.localhost", "/poison").await.status(), 502);
    assert_eq!(deaths.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn connections_that_the_app_has_closed_are_nobodys_error() {
    let world = World::start().await;
    let app = App::scripted(&world.tasks, |mut visit, seen| async move {
        // Keep-alive is promised and not kept: the connection is closed after each answer.
        let Some(request) = visit.message().await else { return };
        seen.requests.lock().unwrap().push(request);
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    })
    .await;
    let _ = world.publish("app", &[app.address]);
    let mut visit = world.visit().await;
    for round in 0..200 {
        visit.send("POST / HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: 1\r\n\r\nx").await;
        assert_eq!(visit.answer().await.status(), 200, "request {round}");
        until("the connection is closed", || app.seen.open() == 0).await;
    }
    assert_eq!(app.seen.count(), 200);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_passed_for_whole() {
    let world = World::start().await;
    let app = App::scripted(&world.tasks, |mut visit, _| async move {
        visit.message().await;
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort").await;
    })
    .await;
    let _ = world.publish("app", &[app.address]);
    let mut visit = world.visit().await;
    visit.send("GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n").await;
    visit.head().await.unwrap();
    assert!(visit.exactly(100).await.is_none());
    // What is no HTTP is a 502, and nothing of it reaches the visitor.
    let liar = App::scripted(&world.tasks, |mut visit, _| async move {
        visit.message().await;
        visit.send("SSH-2.0-OpenSSH\r\n\r\n").await;
    })
    .await;
    let _ = world.publish("liar", &[liar.address]);
    assert_eq!(world.get("liar.localhost", "/").await.status(), 502);
}

#[tokio::test]
async fn bytes_behind_an_answer_spoil_the_connection() {
    let world = World::start().await;
    let app = App::scripted(&world.tasks, |mut visit, seen| async move {
        while let Some(request) = visit.message().await {
            seen.requests.lock().unwrap().push(request);
            visit
                .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nforge")
                .await;
        }
    })
    .await;
    let _ = world.publish("app", &[app.address]);
    let mut visit = world.visit().await;
    for _ in 0..5 {
        assert_eq!(visit.get("app.localhost", "/").await.text(), "ok");
    }
    assert!(app.seen.connections() >= 5);
}
