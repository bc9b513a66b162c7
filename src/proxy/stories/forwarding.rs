//! What passes through, and in which shape.

use std::sync::{Arc, atomic::Ordering};

use autostack_domain::route::Target;
use tokio::{io::AsyncWriteExt, sync::Notify};

use super::world::{Answer, App, World, route, soon, until};

const PAGE_KINDS: [(&str, &str, &str); 3] = [
    ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8", "<!doctype html>"),
    ("application/json", "application/json", "{\"error\":{\"code\":\"app_not_found\""),
    ("*/*", "text/plain; charset=utf-8", "There is no app at nobody.localhost."),
];

#[tokio::test]
async fn a_request_reaches_the_app_of_its_host() {
    let world = World::start().await;
    let (shop, blog) = (App::named(&world.tasks, "shop").await, App::named(&world.tasks, "blog").await);
    let _ = world.publish("shop", &[shop.address]);
    let _ = world.publish("blog", &[blog.address]);
    for (host, name) in [
        ("shop.localhost", "shop"),
        ("SHOP.localhost:8080", "shop"),
        ("shop.localhost.", "shop"),
        ("blog.localhost", "blog"),
    ] {
        let answer = world.get(host, "/a?b=%20c").await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, name), "{host}");
    }
    let seen = shop.seen.requests.lock().unwrap()[1].clone();
    assert_eq!(seen.first_line, "GET /a?b=%20c HTTP/1.1");
    assert_eq!(seen.header("host"), "SHOP.localhost:8080");
    assert_eq!(seen.header("x-forwarded-for"), "127.0.0.1");
    assert_eq!(seen.header("x-forwarded-host"), "SHOP.localhost:8080");
    assert_eq!(seen.header("x-forwarded-port"), "8080");
    assert_eq!(seen.header("x-forwarded-proto"), "http");
    assert_eq!(seen.header("x-request-id").len(), 32);
    assert_eq!(world.proxy.metrics().answers_2xx, 4);
}

#[tokio::test]
async fn an_absolute_target_becomes_a_path() {
    let world = World::start().await;
    let app = App::named(&world.tasks, "shop").await;
    let _ = world.publish("shop", &[app.address]);
    for (target, path) in [
        ("http://shop.localhost/a?b", "/a?b"),
        ("HTTP://SHOP.localhost:80/a", "/a"),
        ("http://shop.localhost", "/"),
        ("http://shop.localhost?q", "/?q"),
    ] {
        let mut visit = world.visit().await;
        visit.send(&format!("GET {target} HTTP/1.1\r\nHost: shop.localhost\r\n\r\n")).await;
        assert_eq!(visit.answer().await.status(), 200, "{target}");
        assert_eq!(app.seen.last().first_line, format!("GET {path} HTTP/1.1"));
    }
    let mut old = world.visit().await;
    old.send("GET http://shop.localhost/old HTTP/1.0\r\n\r\n").await;
    assert_eq!(old.answer().await.text(), "shop");
    assert_eq!(old.rest().await, b"", "HTTP/1.0 without keep-alive ends");
}

#[tokio::test]
async fn pages_explain_in_the_form_that_was_asked_for() {
    let world = World::start().await;
    for (accept, kind, start) in PAGE_KINDS {
        let mut visit = world.visit().await;
        visit.send(&format!("GET / HTTP/1.1\r\nHost: nobody.localhost\r\nAccept: {accept}\r\n\r\n")).await;
        let answer = visit.answer().await;
        assert_eq!(answer.status(), 404);
        assert_eq!(answer.header("content-type"), kind);
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(answer.text().starts_with(start), "{}", answer.text());
    }
    let mut visit = world.visit().await;
    visit.send("HEAD / HTTP/1.1\r\nHost: nobody.localhost\r\n\r\n").await;
    assert_eq!(visit.head().await.unwrap().status(), 404);
    assert_eq!(visit.get("nobody.localhost", "/").await.status(), 404, "HEAD has no body");
    let _ = world.proxy.publish(route("empty", Target::Endpoints(Vec::new())));
    let answer = world.get("empty.localhost", "/").await;
    assert_eq!((answer.status(), answer.header("retry-after")), (503, "5"));
    assert!(answer.text().contains("no running instance"), "{}", answer.text());
}

#[tokio::test]
async fn the_first_chunk_of_an_answer_arrives_before_the_last_is_sent() {
    let world = World::start().await;
    let go_on = Arc::new(Notify::new());
    let go_on_here = Arc::clone(&go_on);
    let app = App::scripted(&world.tasks, move |mut visit, _| {
        let go_on = Arc::clone(&go_on_here);
        async move {
            visit.message().await;
            visit.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
            go_on.notified().await;
            visit.send("4\r\nlast\r\n0\r\nX-Sum: 1\r\n\r\n").await;
        }
    })
    .await;
    let _ = world.publish("app", &[app.address]);
    let mut visit = world.visit().await;
    visit.send("GET / HTTP/1.1\r\nHost: app.localhost\r\nTE: trailers\r\n\r\n").await;
    assert_eq!(visit.head().await.unwrap().status(), 200);
    assert_eq!(visit.chunk().await.unwrap(), b"first");
    go_on.notify_one();
    assert_eq!(visit.chunk().await.unwrap(), b"last");
    assert_eq!(visit.chunk().await.unwrap(), b"", "trailers are dropped");
}

#[tokio::test]
async fn the_first_part_of_an_upload_arrives_before_the_last_is_sent() {
    let world = World::start().await;
    let first_came = Arc::new(Notify::new());
    let first_came_here = Arc::clone(&first_came);
    let app = App::scripted(&world.tasks, move |mut visit, _| {
        let first_came = Arc::clone(&first_came_here);
        async move {
            let head = visit.head().await.unwrap();
            assert_eq!(head.header("transfer-encoding"), "chunked");
            assert_eq!(visit.chunk().await.unwrap(), b"first");
            first_came.notify_one();
            assert_eq!(visit.chunk().await.unwrap(), b"last");
            assert_eq!(visit.chunk().await.unwrap(), b"");
            visit.send("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    let _ = world.publish("app", &[app.address]);
    let mut visit = world.visit().await;
    visit
        .send("POST / HTTP/1.1\r\nHost: app.localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        .await;
    soon("the first part at the app", first_came.notified()).await;
    visit.send("4\r\nlast\r\n0\r\n\r\n").await;
    assert_eq!(visit.answer().await.status(), 201);
    assert_eq!(world.tasks.panics(), 0);
}

#[tokio::test]
async fn an_expectation_is_answered_before_the_body_is_sent() {
    let world = World::start().await;
    let app = App::answering(&world.tasks, |request| {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", request.body.len(), request.text())
    })
    .await;
    let _ = world.publish("app", &[app.address]);
    let mut visit = world.visit().await;
    visit
        .send("PUT / HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(visit.head().await.unwrap().status(), 100);
    visit.send("body").await;
    assert_eq!(visit.answer().await.text(), "body");
}

#[tokio::test]
async fn answers_without_a_body_keep_what_they_say_of_it() {
    let world = World::start().await;
    let app = App::answering(&world.tasks, |request| {
        match request.first_line.split(' ').nth(1).unwrap() {
            "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 123\r\n\r\n",
            "/not-modified" => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
            "/no-content" => "HTTP/1.1 204 No Content\r\n\r\n",
            "/hints" => {
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
            }
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        }
        .to_owned()
    })
    .await;
    let _ = world.publish("app", &[app.address]);
    let mut visit = world.visit().await;
    visit.send("HEAD /head HTTP/1.1\r\nHost: app.localhost\r\n\r\n").await;
    let head = visit.head().await.unwrap();
    assert_eq!((head.status(), head.header("content-length")), (200, "123"));
    for (path, status) in [("/not-modified", 304), ("/no-content", 204), ("/hints", 200)] {
        assert_eq!(visit.get("app.localhost", path).await.status(), status, "{path}");
    }
    let twice = visit.get("app.localhost", "/twice").await;
    assert_eq!((twice.header("content-length"), twice.text().as_str()), ("2", "ok"));
    assert_eq!(app.seen.connections(), 1, "one connection to the app for all of them");
}

#[tokio::test]
async fn d7_an_answers_own_connection_fields_end_here() {
    let world = World::start().await;
    let app = App::answering(&world.tasks, |_| {
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, X-Inner\r\nX-Inner: 1\r\n\
         Keep-Alive: timeout=5\r\nX-Outer: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\nok"
            .to_owned()
    })
    .await;
    let _ = world.publish("app", &[app.address]);
    let answer = world.get("app.localhost", "/").await;
    assert_eq!(answer.header("x-outer"), "1");
    assert_eq!(answer.header("set-cookie"), "a=1 + b=2");
    assert_eq!((answer.header("x-inner"), answer.header("keep-alive")), ("", ""));
    assert_eq!(answer.header("x-request-id"), app.seen.last().header("x-request-id"));
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_with_it() {
    let world = World::start().await;
    let app = App::scripted(&world.tasks, |mut visit, seen| async move {
        let request = visit.message().await.unwrap();
        let is_slow = request.first_line.contains("/slow");
        seen.requests.lock().unwrap().push(request);
        if !is_slow {
            visit.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
        }
        visit.rest().await;
    })
    .await;
    let retired_later = world.publish("app", &[app.address]);
    assert_eq!(retired_later.in_flight(), 0);
    for (round, path) in ["/slow", "/streaming"].iter().enumerate() {
        let mut visit = world.visit().await;
        visit.send(&format!("GET {path} HTTP/1.1\r\nHost: app.localhost\r\n\r\n")).await;
        until("the app has the request", || app.seen.count() == round + 1).await;
        if round == 1 {
            visit.head().await.unwrap();
        }
        drop(visit);
        until("the app's connection is closed", || app.seen.open() == 0).await;
    }
    let retired = world.proxy.withdraw(&"app".parse().unwrap());
    assert_eq!(retired.in_flight(), 0);
}

#[tokio::test]
async fn big_bodies_pass_both_ways_in_little_memory() {
    const MEGABYTE: usize = 1024 * 1024;
    const SIZE: usize = 200 * MEGABYTE;
    let world = World::start().await;
    let app = App::scripted(&world.tasks, |mut visit, seen| async move {
        let head = visit.head().await.unwrap();
        let mut left: usize = head.header("content-length").parse().unwrap();
        while left > 0 {
            let piece = visit.exactly(left.min(MEGABYTE)).await.unwrap();
            left -= piece.len();
            seen.bytes.fetch_add(piece.len(), Ordering::SeqCst);
        }
        visit.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n")).await;
        let piece = vec![b'y'; MEGABYTE];
        for _ in 0..SIZE / MEGABYTE {
            visit.stream.write_all(&piece).await.unwrap();
        }
    })
    .await;
    let _ = world.publish("app", &[app.address]);
    let before = resident_bytes();
    let mut visit = world.visit().await;
    visit.send(&format!("POST / HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: {SIZE}\r\n\r\n")).await;
    let piece = vec![b'x'; MEGABYTE];
    for _ in 0..SIZE / MEGABYTE {
        visit.stream.write_all(&piece).await.unwrap();
    }
    assert_eq!(visit.head().await.unwrap().status(), 200);
    let mut left = SIZE;
    while left > 0 {
        left -= visit.exactly(left.min(MEGABYTE)).await.unwrap().len();
    }
    assert_eq!(app.seen.bytes.load(Ordering::SeqCst), SIZE);
    let grown = resident_bytes().saturating_sub(before);
    // Of 400 MB that passed; other stories are told at the same time.
    assert!(grown < 150 * MEGABYTE, "grew by {} MiB", grown / MEGABYTE);
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
async fn an_early_answer_to_an_upload_is_read_in_full() {
    let world = World::start().await;
    let app = App::scripted(&world.tasks, |mut visit, _| async move {
        visit.head().await.unwrap();
        visit
            .send("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 7\r\n\r\ntoo big")
            .await;
        visit.stream.shutdown().await.unwrap();
        visit.rest().await;
    })
    .await;
    let _ = world.publish("app", &[app.address]);
    for host in ["app.localhost", "nobody.localhost"] {
        let mut visit = world.visit().await;
        visit.send(&format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 300000\r\n\r\n")).await;
        // The client goes on sending while the answer is on its way.
        let _ = visit.stream.write_all(&[b'x'; 200_000]).await;
        let answer = visit.answer().await;
        assert!(matches!(answer.status(), 413 | 404), "{host}: {}", answer.first_line);
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let world = World::start().await;
    let app = App::answering(&world.tasks, |request| {
        let path = request.first_line.split(' ').nth(1).unwrap().to_owned() + &request.text();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len())
    })
    .await;
    let _ = world.publish("app", &[app.address]);
    let mut visit = world.visit().await;
    visit
        .send(
            "GET /1 HTTP/1.1\r\nHost: app.localhost\r\n\r\n\
             POST /2 HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: 2\r\n\r\nab\
             POST /3 HTTP/1.1\r\nHost: app.localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\ncd\r\n0\r\n\r\n\
             GET /4 HTTP/1.1\r\nHost: app.localhost\r\n\r\nGET /5 HTTP/1.1\r\nHo",
        )
        .await;
    for expected in ["/1", "/2ab", "/3cd", "/4"] {
        assert_eq!(visit.answer().await.text(), expected);
    }
    visit.send("st: app.localhost\r\n\r\n").await;
    assert_eq!(visit.answer().await.text(), "/5");
}

#[tokio::test]
async fn a_request_in_single_bytes_is_a_request() {
    let world = World::start().await;
    let app = App::answering(&world.tasks, |request| {
        let text = request.text();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())
    })
    .await;
    let _ = world.publish("app", &[app.address]);
    let mut visit = world.visit().await;
    for byte in
        "POST / HTTP/1.1\r\nHost: app.localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            .chars()
    {
        visit.send(&byte.to_string()).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(visit.answer().await.text(), "abc");
    assert_eq!(Answer::default().status(), 0);
}
