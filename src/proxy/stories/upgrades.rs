//! WebSocket and other upgrades.

use std::{sync::Arc, time::Duration};

use tokio::{io::AsyncWriteExt, sync::Notify};

use super::world::{App, PATIENCE, Visit, World, soon, until};

const ASK: &str = "GET /ws HTTP/1.1\r\nHost: app.localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const GRANT: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Repeats what it is told until the end.
async fn echo(mut visit: Visit) {
    while let Some(byte) = visit.exactly(1).await {
        if visit.stream.write_all(&byte).await.is_err() {
            return;
        }
    }
    let _ = visit.stream.shutdown().await;
}

async fn echo_app(world: &World) -> App {
    App::scripted(&world.tasks, |mut visit, seen| async move {
        let Some(request) = visit.message().await else { return };
        seen.requests.lock().unwrap().push(request);
        visit.send(GRANT).await;
        echo(visit).await;
    })
    .await
}

#[tokio::test]
async fn a_websocket_is_spliced_until_both_sides_close() {
    let world = World::start().await;
    let app = echo_app(&world).await;
    let _ = world.publish("app", &[app.address]);
    let mut visit = world.visit().await;
    visit.send(ASK).await;
    let answer = visit.head().await.unwrap();
    assert_eq!((answer.status(), answer.header("upgrade")), (101, "websocket"));
    assert_eq!(answer.header("connection"), "upgrade");
    assert_eq!(answer.header("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(app.seen.last().header("upgrade"), "websocket");
    assert_eq!(app.seen.last().header("sec-websocket-version"), "13");
    for text in ["one", "GET / HTTP/1.1\r\n\r\n", "\0\x01\x02"] {
        visit.send(text).await;
        assert_eq!(visit.exactly(text.len()).await.unwrap(), text.as_bytes());
    }
    visit.stream.shutdown().await.unwrap();
    assert_eq!(visit.rest().await, b"");
    until("the app's side is closed", || app.seen.open() == 0).await;
    assert_eq!(world.proxy.metrics().upgrades, 1);
}

#[tokio::test]
async fn a_drain_waits_for_an_upgraded_connection() {
    let world = World::start().await;
    let app = echo_app(&world).await;
    let _ = world.publish("app", &[app.address]);
    let mut visit = world.visit().await;
    visit.send(ASK).await;
    visit.head().await.unwrap();
    let retired = world.proxy.withdraw(&"app".parse().unwrap());
    assert_eq!(retired.in_flight(), 1);
    let mut draining = Box::pin(retired.drained(PATIENCE));
    assert!(tokio::time::timeout(Duration::from_millis(30), &mut draining).await.is_err());
    visit.send("still there").await;
    assert_eq!(visit.exactly(11).await.unwrap(), b"still there");
    drop(visit);
    assert_eq!(soon("the drain", draining).await, 0);
}

#[tokio::test]
async fn d1_bytes_behind_the_request_wait_for_the_apps_yes() {
    let world = World::start().await;
    let decide = Arc::new(Notify::new());
    let decide_here = Arc::clone(&decide);
    let app = App::scripted(&world.tasks, move |mut visit, seen| {
        let decide = Arc::clone(&decide_here);
        async move {
            let Some(request) = visit.message().await else { return };
            seen.requests.lock().unwrap().push(request);
            let early = tokio::time::timeout(Duration::from_millis(50), visit.exactly(1)).await;
            assert!(early.is_err(), "bytes came before the 101");
            decide.notified().await;
            visit.send(GRANT).await;
            echo(visit).await;
        }
    })
    .await;
    let _ = world.publish("app", &[app.address]);
    let mut visit = world.visit().await;
    visit.send(&format!("{ASK}early frame")).await;
    until("the app has the request", || app.seen.count() == 1).await;
    visit.send(", more").await;
    decide.notify_one();
    assert_eq!(visit.head().await.unwrap().status(), 101);
    assert_eq!(visit.exactly(17).await.unwrap(), b"early frame, more");
    assert_eq!(world.tasks.panics(), 0);
}

#[tokio::test]
async fn d1_after_a_no_the_bytes_are_the_next_request() {
    let world = World::start().await;
    let app = App::named(&world.tasks, "no").await;
    let _ = world.publish("app", &[app.address]);
    let mut visit = world.visit().await;
    visit
        .send(&format!("{ASK}GET /next HTTP/1.1\r\nHost: app.localhost\r\n\r\n{ASK}\u{1}\u{2}garbage"))
        .await;
    assert_eq!(visit.answer().await.text(), "no");
    assert_eq!(visit.answer().await.text(), "no");
    assert_eq!(visit.answer().await.text(), "no");
    assert_eq!(visit.answer().await.status(), 400, "frames after a no are no request");
    let paths: Vec<_> =
        app.seen.requests.lock().unwrap().iter().map(|seen| seen.first_line.clone()).collect();
    assert_eq!(paths, ["GET /ws HTTP/1.1", "GET /next HTTP/1.1", "GET /ws HTTP/1.1"]);
}

#[tokio::test]
async fn d1_h2c_and_half_wishes_are_not_passed_on() {
    let world = World::start().await;
    let app = App::named(&world.tasks, "plain").await;
    let _ = world.publish("app", &[app.address]);
    for lines in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n",
    ] {
        let mut visit = world.visit().await;
        let body = if lines.contains("Content-Length") { "ab" } else { "" };
        visit.send(&format!("POST / HTTP/1.1\r\nHost: app.localhost\r\n{lines}\r\n{body}")).await;
        assert_eq!(visit.answer().await.text(), "plain", "{lines:?}");
        let seen = app.seen.last();
        assert_eq!((seen.header("upgrade"), seen.header("http2-settings")), ("", ""), "{lines:?}");
        assert_eq!(visit.get("app.localhost", "/after").await.text(), "plain", "{lines:?}");
    }
}

#[tokio::test]
async fn a_101_that_nobody_asked_for_is_a_502() {
    let world = World::start().await;
    let app = echo_app(&world).await;
    let _ = world.publish("app", &[app.address]);
    assert_eq!(world.get("app.localhost", "/").await.status(), 502);
}
