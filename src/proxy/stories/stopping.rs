//! The orderly stop, and the bound on connections.

use std::{sync::Arc, time::Duration};

use tokio::{net::TcpStream, sync::Notify};

use super::world::{App, World, soon, until};
use crate::ProxyLimits;

#[tokio::test]
async fn a_stop_lets_requests_end_and_closes_the_rest() {
    let world = World::start().await;
    let end = Arc::new(Notify::new());
    let end_here = Arc::clone(&end);
    let app = App::scripted(&world.tasks, move |mut visit, seen| {
        let end = Arc::clone(&end_here);
        async move {
            let Some(request) = visit.message().await else { return };
            seen.requests.lock().unwrap().push(request);
            end.notified().await;
            visit.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            visit.rest().await;
        }
    })
    .await;
    let _ = world.publish("app", &[app.address]);
    let mut idle = world.visit().await;
    assert_eq!(idle.get("nobody.localhost", "/").await.status(), 404);
    let mut silent = world.visit().await;
    let mut busy = world.visit().await;
    busy.send("GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n").await;
    until("the app has the request", || app.seen.count() == 1).await;
    world.shutdown.cancel();
    assert_eq!(idle.rest().await, b"");
    assert_eq!(silent.rest().await, b"");
    until("nobody listens", || std::net::TcpStream::connect(world.address).is_err()).await;
    assert!(!world.server.is_finished());
    end.notify_one();
    let answer = busy.answer().await;
    assert_eq!((answer.status(), answer.header("connection")), (200, "close"));
    soon("the server's end", world.server).await.unwrap();
}

#[tokio::test]
async fn a_stop_ends_with_its_budget() {
    let limits = ProxyLimits { stop_timeout: Duration::from_millis(50), ..ProxyLimits::default() };
    let world = World::with(limits).await;
    let app = App::scripted(&world.tasks, |mut visit, _| async move {
        visit.message().await;
        visit.rest().await;
    })
    .await;
    let _ = world.publish("app", &[app.address]);
    let mut stuck = world.visit().await;
    stuck.send("GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n").await;
    until("the app has the request", || app.seen.connections() == 1).await;
    world.shutdown.cancel();
    assert_eq!(stuck.rest().await, b"");
    soon("the server's end", world.server).await.unwrap();
    until("the app's connection is closed", || app.seen.open() == 0).await;
}

#[tokio::test]
async fn connections_over_the_bound_wait_their_turn() {
    let limits = ProxyLimits { connections_max: 2, ..ProxyLimits::default() };
    let world = World::with(limits).await;
    let first = TcpStream::connect(world.address).await.unwrap();
    let second = TcpStream::connect(world.address).await.unwrap();
    until("both are accepted", || world.proxy.metrics().connections == 2).await;
    let mut third = world.visit().await;
    third.send("GET / HTTP/1.1\r\nHost: nobody.localhost\r\n\r\n").await;
    let early = tokio::time::timeout(Duration::from_millis(50), third.stream.readable()).await;
    assert!(early.is_err(), "served beyond the bound");
    drop(first);
    assert_eq!(third.answer().await.status(), 404);
    drop(second);
}
