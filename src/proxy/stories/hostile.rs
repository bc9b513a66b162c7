//! Hostile heads and bodies (threats D1, D3, D7): each is refused, and the app sees nothing of it; and what
//! is valid, however odd, is passed on.

use super::world::{App, World, soon, until};

/// Each of these is answered by a refusal before the app hears of it.
fn refused() -> Vec<(Vec<u8>, u16)> {
    let mut corpus: Vec<(Vec<u8>, u16)> = Vec::new();
    let mut add = |head: String, status: u16| corpus.push((head.into_bytes(), status));
    // The request line.
    for line in [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/\tHTTP/1.1",
        "GET / ",
        "GET /",
        "GET",
        "G@T / HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1.1x",
        "GET /a b HTTP/1.1",
        "GET /\u{7f} HTTP/1.1",
        "GET /\u{e9} HTTP/1.1",
        "GET /#f HTTP/1.1",
        "GET / HTTP /1.1",
        "GET \\ HTTP/1.1",
        "GET x HTTP/1.1",
        "GET shop.localhost HTTP/1.1",
        "GET * HTTP/1.1",
        "GET ftp://shop.localhost/ HTTP/1.1",
        "GET https://shop.localhost/ HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "GET http://u@shop.localhost/ HTTP/1.1",
        "GET http://shop.localhost:0/ HTTP/1.1",
        "GET //\0 HTTP/1.1",
        "GET /<a> HTTP/1.1",
        "GET /` HTTP/1.1",
        "GET /?\" HTTP/1.1",
        "GET /?<b> HTTP/1.1",
        "GET ? HTTP/1.1",
        "GET http://shop.localhost/ http://evil.test/ HTTP/1.1",
        "GET http:/shop.localhost/ HTTP/1.1",
        "GET javascript:x HTTP/1.1",
        "GET /%\u{0} HTTP/1.1",
        "GET , HTTP/1.1",
        "\"GET\" / HTTP/1.1",
        "GET: / HTTP/1.1",
        "GET(/) / HTTP/1.1",
        "GET / HTTP/1.1 HTTP/1.1",
        "HTTP/1.1 200 OK",
    ] {
        add(format!("{line}\r\nHost: shop.localhost\r\n\r\n"), 400);
    }
    for version in ["HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "HTTP/1.10", "HTTP/01.1", "HTTP/1.", "HTTP/11"] {
        add(format!("GET / {version}\r\nHost: shop.localhost\r\n\r\n"), 505);
    }
    add("CONNECT shop.localhost:443 HTTP/1.1\r\nHost: shop.localhost\r\n\r\n".into(), 405);
    add("TRACE / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n".into(), 405);
    add("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 505);
    // The host.
    for host in [
        "shop.localhost/",
        "u@shop.localhost",
        "shop localhost",
        "shop.localhost:0",
        "shop.localhost:65536",
        "shop.localhost:",
        "shop.localhost:8o",
        "shop.localhost:-1",
        "shop..localhost",
        ".shop.localhost",
        "",
        "shop.localhost,shop.localhost",
        "shop.localhost?",
        "shop.localhost#",
        "shop%2elocalhost",
        "[::1",
        "[::1]x",
        "[zz]",
        "shop.localhost\\",
        "*.localhost",
        "sh\u{f6}p.localhost",
        "a:b:1",
        "shop.localhost\0",
    ] {
        add(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), 400);
    }
    add("GET / HTTP/1.1\r\n\r\n".into(), 400);
    add("GET / HTTP/1.1\r\nHost: shop.localhost\r\nHost: shop.localhost\r\n\r\n".into(), 400);
    add("GET / HTTP/1.1\r\nHost: shop.localhost\r\nhost: evil.test\r\n\r\n".into(), 400);
    add("GET http://evil.test/ HTTP/1.1\r\nHost: shop.localhost\r\n\r\n".into(), 400);
    add("GET http://shop.localhost:81/ HTTP/1.1\r\nHost: shop.localhost\r\n\r\n".into(), 400);
    // Header lines.
    for line in [
        "X : 1",
        " X: 1",
        "\tX: 1",
        "X: 1\r\n folded",
        "X: 1\r\n\tfolded",
        ": 1",
        "X",
        "X\0: 1",
        "X: \0",
        "X: \u{1}",
        "X: a\rb",
        "X: a\nY: b",
        "X(: 1",
        "X[]: 1",
        "\u{e9}: 1",
        "X\u{7f}: 1",
        "X: \u{7f}",
        "X,Y: 1",
        "X;: 1",
        "X=: 1",
        "X\": 1",
        "X: 1\r",
        "GET / HTTP/1.1",
        "Host : evil.test",
    ] {
        add(format!("GET / HTTP/1.1\r\nHost: shop.localhost\r\n{line}\r\n\r\n"), 400);
    }
    // Framing.
    for lines in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nContent-Length: 4",
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: 4, 4",
        "Content-Length: +4",
        "Content-Length: -4",
        "Content-Length: 0x4",
        "Content-Length: 4 4",
        "Content-Length: ",
        "Content-Length: 4a",
        "Content-Length: 99999999999999999999",
        "Content-Length: 4;",
        "Content-Length: \"4\"",
        "Content_Length: 4",
        "Transfer_Encoding: chunked",
        "Content-Length : 4",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding:",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: \u{c}chunked",
        "Content-Length: 4\u{c}",
        "Transfer-Encoding: chunked\u{b}",
        "Transfer-Encoding: chunked\r\n Content-Length: 4",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: ,chunked",
    ] {
        add(format!("POST / HTTP/1.1\r\nHost: shop.localhost\r\n{lines}\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"), 400);
    }
    add("POST / HTTP/1.0\r\nHost: shop.localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(), 400);
    // Line ends.
    for head in [
        "GET / HTTP/1.1\nHost: shop.localhost\n\n",
        "GET / HTTP/1.1\r\nHost: shop.localhost\n\r\n",
        "GET / HTTP/1.1\nHost: shop.localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: shop.localhost\r\n\n",
        "\nGET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n",
        "\r\r\nGET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n",
        "GET / HTTP/1.1\r\r\nHost: shop.localhost\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0",
        "\0",
        "{\"json\": 1}\r\n\r\n",
    ] {
        add(head.into(), 400);
    }
    // Sizes.
    add(format!("GET / HTTP/1.1\r\nHost: shop.localhost\r\n{}\r\n", "X: 1\r\n".repeat(100)), 431);
    add(format!("GET / HTTP/1.1\r\nHost: shop.localhost\r\nX: {}\r\n\r\n", "x".repeat(70_000)), 431);
    add(format!("GET /{} HTTP/1.1\r\nHost: shop.localhost\r\n\r\n", "x".repeat(70_000)), 431);
    corpus
}

#[tokio::test]
async fn d1_d3_hostile_heads_are_refused_and_the_app_sees_nothing() {
    let world = World::start().await;
    let app = App::named(&world.tasks, "shop").await;
    let _ = world.publish("shop", &[app.address]);
    let corpus = refused();
    assert!(corpus.len() >= 150, "{}", corpus.len());
    for (head, status) in &corpus {
        let mut visit = world.visit().await;
        let shown = String::from_utf8_lossy(&head[..head.len().min(120)]).into_owned();
        let _ = tokio::io::AsyncWriteExt::write_all(&mut visit.stream, head).await;
        let _ = tokio::io::AsyncWriteExt::write_all(
            &mut visit.stream,
            b"GET /next HTTP/1.1\r\nHost: shop.localhost\r\n\r\n",
        )
        .await;
        let answer = visit.message().await.unwrap_or_default();
        assert_eq!(answer.status(), *status, "{shown:?} {answer:?}");
        assert!(
            answer.text().starts_with("The request was refused: "),
            "by the guard, not by hyper: {shown:?}"
        );
        assert_eq!(answer.header("connection"), "close", "{shown:?}");
        assert_eq!(visit.rest().await, b"", "nothing is answered behind a refusal: {shown:?}");
    }
    assert_eq!(app.seen.connections(), 0, "{:?}", app.seen.last());
    assert_eq!(world.proxy.metrics().refused, corpus.len() as u64);
}

#[tokio::test]
async fn d1_hostile_heads_in_pieces_are_refused_too() {
    let world = World::start().await;
    let app = App::named(&world.tasks, "shop").await;
    let _ = world.publish("shop", &[app.address]);
    for (head, status) in refused() {
        let mut visit = world.visit().await;
        for piece in head.chunks(head.len().div_ceil(4)) {
            // A refusal may come before the last piece.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut visit.stream, piece).await;
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        let answer = visit.message().await.unwrap_or_default();
        assert_eq!(answer.status(), status, "{:?}", String::from_utf8_lossy(&head[..head.len().min(80)]));
    }
    assert_eq!(app.seen.connections(), 0, "{:?}", app.seen.last());
}

#[tokio::test]
async fn d1_a_refusal_comes_after_the_answers_before_it() {
    let world = World::start().await;
    let app = App::named(&world.tasks, "shop").await;
    let _ = world.publish("shop", &[app.address]);
    let good = "POST /good HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 1\r\n\r\nx";
    for (bad, status) in refused() {
        let mut visit = world.visit().await;
        let bytes = [good.as_bytes(), good.as_bytes(), &bad].concat();
        let _ = tokio::io::AsyncWriteExt::write_all(&mut visit.stream, &bytes).await;
        assert_eq!(visit.answer().await.text(), "shop");
        assert_eq!(visit.answer().await.text(), "shop");
        let refusal = visit.message().await.unwrap_or_default();
        // A leading empty line is allowed before a request; then the bad one may read differently.
        assert_eq!(refusal.status(), status, "{:?}", String::from_utf8_lossy(&bad[..bad.len().min(80)]));
    }
    assert!(app.seen.requests.lock().unwrap().iter().all(|seen| seen.first_line.contains("/good")));
}

#[tokio::test]
async fn d1_broken_chunks_end_both_connections() {
    let world = World::start().await;
    let app = App::scripted(&world.tasks, |mut visit, seen| async move {
        if let Some(request) = visit.message().await {
            seen.requests.lock().unwrap().push(request);
            visit.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    let _ = world.publish("shop", &[app.address]);
    for body in [
        "4\nabcd\r\n0\r\n\r\n",
        "4\r\nabcd\n0\r\n\r\n",
        "4\r\nabcdX\r\n0\r\n\r\n",
        "x\r\n\r\n",
        "0x4\r\nabcd\r\n0\r\n\r\n",
        "+4\r\nabcd\r\n0\r\n\r\n",
        " 4\r\nabcd\r\n0\r\n\r\n",
        "4 \r\nabcd\r\n0\r\n\r\n",
        "-4\r\nabcd\r\n0\r\n\r\n",
        "4;\nx\r\nabcd\r\n0\r\n\r\n",
        "4\r\nabcd\r\n0\n\n",
        "4\r\nabcd\r\n0\r\n\n",
        "4\r\nabcd\r\n0\r\n X\r\n\r\n",
        "11111111111111111\r\n",
        "4\r\rabcd\r\n0\r\n\r\n",
        "4\r\nabcd\r\n\r\n",
        "4,4\r\nabcd\r\n0\r\n\r\n",
    ] {
        let mut visit = world.visit().await;
        visit
            .send(&format!("POST / HTTP/1.1\r\nHost: shop.localhost\r\nTransfer-Encoding: chunked\r\n\r\n{body}GET /smuggled HTTP/1.1\r\nHost: shop.localhost\r\n\r\n"))
            .await;
        let answer = visit.message().await;
        assert!(answer.is_none_or(|answer| answer.status() >= 400), "{body:?}");
        until("the app's connection is closed", || app.seen.open() == 0).await;
    }
    assert_eq!(app.seen.count(), 0, "{:?}", app.seen.last());
}

#[tokio::test]
async fn d1_what_is_valid_is_passed_on_however_odd() {
    let world = World::start().await;
    let app = App::named(&world.tasks, "shop").await;
    let _ = world.publish("shop", &[app.address]);
    let valid = [
        "\r\nGET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nhOsT:shop.localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: \t shop.localhost \t \r\n\r\n",
        "GET / HTTP/1.0\r\nHost: shop.localhost\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: shop.localhost\r\n\r\n",
        "PURGE /x HTTP/1.1\r\nHost: shop.localhost\r\n\r\n",
        "M-SEARCH! / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n",
        "GET //a/../b;c=d?e={f}|g&h='` HTTP/1.1\r\nHost: shop.localhost\r\n\r\n",
        "GET /%00%0d%0a HTTP/1.1\r\nHost: shop.localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: shop.localhost\r\nX:\r\nY: \t\r\nZ: a\tb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: shop.localhost\r\n!#$%&'*+-.^_`|~9: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 0004\r\n\r\nabcd",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\ntransfer-encoding: CHUNKED\r\n\r\n4;a=\"b\"\r\nabcd\r\n000\r\nX: y\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: shop.localhost\r\nConnection: close, , te\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: shop.localhost\r\nCookie: \u{e9}\r\n\r\n",
        "GET http://SHOP.LOCALHOST:80/ HTTP/1.1\r\nHost: shop.localhost\r\n\r\n",
    ];
    for (count, head) in valid.iter().enumerate() {
        let mut visit = world.visit().await;
        visit.send(head).await;
        let answer = visit.answer().await;
        assert_eq!(answer.text(), "shop", "{head:?}");
        assert_eq!(app.seen.count(), count + 1);
    }
    let head = format!("GET / HTTP/1.1\r\nHost: shop.localhost\r\n{}\r\n", "X: 1\r\n".repeat(99));
    let mut visit = world.visit().await;
    visit.send(&head).await;
    assert_eq!(visit.answer().await.text(), "shop");
}

#[tokio::test]
async fn d3_an_unknown_host_is_a_404_and_nothing_more() {
    let world = World::start().await;
    let app = App::named(&world.tasks, "shop").await;
    let _ = world.publish("shop", &[app.address]);
    let long = format!("{}.localhost", "x".repeat(63));
    for host in [
        "localhost",
        "evil.test",
        "shop.localhost.evil.test",
        "xshop.localhost",
        "127.0.0.1",
        "[::1]:80",
        "my_app.localhost",
        &long,
    ] {
        assert_eq!(soon("an answer", world.get(host, "/")).await.status(), 404, "{host}");
    }
    assert_eq!(app.seen.connections(), 0);
}
