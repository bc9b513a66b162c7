//! The proxy as visitors meet it: WebSocket, streams, what apps are told about them, and a redeploy in the middle.

use std::{fs, thread};

use crate::world::{Connection, World, apps, soon};

/// A WebSocket server without a library: it answers each text with the same text.
const ECHO: &str = r#"const http = require("node:http");
const crypto = require("node:crypto");
const server = http.createServer((request, response) => response.end("plain"));
server.on("upgrade", (request, socket) => {
  const key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  const accept = crypto.createHash("sha1").update(key).digest("base64");
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  let received = Buffer.alloc(0);
  socket.on("data", (data) => {
    received = Buffer.concat([received, data]);
    while (received.length >= 6 && received.length >= 6 + (received[1] & 127)) {
      const length = received[1] & 127;
      const mask = received.subarray(2, 6);
      const text = Buffer.from(received.subarray(6, 6 + length).map((byte, i) => byte ^ mask[i % 4]));
      received = received.subarray(6 + length);
      socket.write(Buffer.concat([Buffer.from([0x81, text.length]), text]));
    }
  });
  socket.on("error", () => {});
});
server.listen(process.env.PORT);
"#;

/// A masked text frame, as a browser sends it.
fn frame(text: &str) -> Vec<u8> {
    let mask = [7, 77, 177, 33];
    let masked = text.bytes().zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask);
    [0x81, 0x80 | u8::try_from(text.len()).unwrap()].into_iter().chain(mask).chain(masked).collect()
}

#[test]
fn a_websocket_goes_through() {
    let world = World::new();
    let ada = world.developer("ada");
    ada.app_of(apps::node_program(ECHO)).push("shop").accepted();
    assert_eq!(world.get("shop", "/").body, "plain");
    let mut socket = Connection::open(world.http()).unwrap();
    let wants = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    socket.get(&world.host("shop"), "/feed", &wants).unwrap();
    let head = socket.head().unwrap();
    assert_eq!(head.status, 101);
    // The example of RFC 6455.
    assert_eq!(head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    for text in ["hello", "and once more"] {
        socket.send(&frame(text)).unwrap();
        let header = socket.exactly(2).unwrap();
        assert_eq!(header, [0x81, u8::try_from(text.len()).unwrap()]);
        assert_eq!(socket.exactly(text.len()).unwrap(), text.as_bytes());
    }
}

#[test]
fn an_answer_streams_as_the_app_writes_it() {
    let world = World::new();
    let ada = world.developer("ada");
    let program = r#"const http = require("node:http");
let waiting;
http.createServer((request, response) => {
  if (request.url === "/go") { waiting.end("second"); return response.end("gone"); }
  if (request.url === "/echo") return request.pipe(response);
  waiting = response;
  response.write("first");
}).listen(process.env.PORT);
"#;
    ada.app_of(apps::node_program(program)).push("shop").accepted();
    let mut stream = Connection::open(world.http()).unwrap();
    stream.get(&world.host("shop"), "/stream", &[]).unwrap();
    assert_eq!(stream.head().unwrap().status, 200);
    assert_eq!(stream.chunk().unwrap().as_deref(), Some(&b"first"[..]), "before the answer is complete");
    assert_eq!(world.get("shop", "/go").body, "gone");
    assert_eq!(stream.chunk().unwrap().as_deref(), Some(&b"second"[..]));
    assert_eq!(stream.chunk().unwrap(), None);

    // A body goes up while its answer comes down.
    let head =
        format!("POST /echo HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n", world.host("shop"));
    stream.send(head.as_bytes()).unwrap();
    stream.send(b"4\r\nping\r\n").unwrap();
    assert_eq!(stream.head().unwrap().status, 200);
    assert_eq!(stream.chunk().unwrap().as_deref(), Some(&b"ping"[..]));
    stream.send(b"4\r\npong\r\n0\r\n\r\n").unwrap();
    assert_eq!(stream.chunk().unwrap().as_deref(), Some(&b"pong"[..]));
    assert_eq!(stream.chunk().unwrap(), None);
}

#[test]
fn a9_what_a_visitor_says_of_itself_is_not_believed() {
    let world = World::new();
    let ada = world.developer("ada");
    ada.app_of(apps::node_with("response.end(JSON.stringify(request.headers));")).push("shop").accepted();
    let forged = [
        ("X-Forwarded-For", "6.6.6.6"),
        ("X-Forwarded-Host", "evil.test"),
        ("X-Forwarded-Proto", "https"),
        ("X-Real-IP", "6.6.6.6"),
        ("Forwarded", "for=6.6.6.6"),
        ("X-Forwarded-User", "admin"),
        ("X-Request-Id", "forged"),
        ("Connection", "close, X-Kept"),
        ("X-Kept", "no"),
    ];
    let mut visitor = Connection::open(world.http()).unwrap();
    visitor.get(&world.host("shop"), "/", &forged).unwrap();
    let answer = visitor.response().unwrap();
    let told: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(told["x-forwarded-for"], "127.0.0.1", "{told}");
    assert_eq!(told["x-forwarded-proto"], "http");
    assert_eq!(told["x-forwarded-host"], world.host("shop"));
    for name in ["x-real-ip", "forwarded", "x-forwarded-user", "x-kept"] {
        assert!(told.get(name).is_none(), "{name}: {told}");
    }
    let id = told["x-request-id"].as_str().unwrap();
    assert_ne!(id, "forged");
    assert_eq!(answer.header("x-request-id"), Some(id), "app and visitor read the same");

    let unknown = world.get("nobody", "/");
    assert_eq!(unknown.status, 404);
    assert!(unknown.body.contains("There is no app at nobody.localhost"), "{}", unknown.body);
}

#[test]
fn a_request_in_flight_is_finished_over_a_redeploy() {
    let world = World::new();
    let ada = world.developer("ada");
    let go = world.folder().join("go");
    let slow = |word: &str| {
        apps::node_with(&format!(
            r#"if (url.pathname === "/slow") {{
    console.log("a slow request begins");
    while (!require("node:fs").existsSync("{}")) await new Promise((done) => setTimeout(done, 10));
  }}
  response.end("{word}");"#,
            go.display()
        ))
    };
    let repo = ada.app_of(slow("old"));
    repo.push("shop").accepted();
    thread::scope(|scope| {
        let visitor = scope.spawn(|| world.get("shop", "/slow"));
        soon("the request to begin", || {
            ada.ssh(&["logs", "shop"]).ok().contains("a slow request begins").then_some(())
        });
        for (name, text) in slow("new") {
            repo.write(name, &text);
        }
        repo.commit();
        repo.push("shop").accepted();
        assert_eq!(world.get("shop", "/").body, "new", "new requests go to the new release");
        assert!(!visitor.is_finished());
        assert_eq!(world.state("shop").instances.len(), 2, "the old one is left to finish");
        fs::write(&go, "").unwrap();
        let answer = visitor.join().unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "old"));
    });
    assert_eq!(world.settled("shop").instances.len(), 1);
}

#[test]
fn no_request_is_lost_over_redeploys() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node("release"));
    repo.push("shop").accepted();
    let done = std::sync::atomic::AtomicBool::new(false);
    let asked = thread::scope(|scope| {
        let new_connections = scope.spawn(|| {
            let mut count = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                assert_eq!(world.get("shop", "/").status, 200);
                count += 1;
            }
            count
        });
        let one_connection = scope.spawn(|| {
            let mut count = 0;
            let mut connection = Connection::open(world.http()).unwrap();
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                connection.get(&world.host("shop"), "/", &[]).unwrap();
                assert_eq!(connection.response().unwrap().status, 200);
                count += 1;
            }
            count
        });
        for _ in 0..3 {
            repo.commit();
            repo.push("shop").accepted();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        (new_connections.join().unwrap(), one_connection.join().unwrap())
    });
    assert!(asked.0 > 10 && asked.1 > 10, "{asked:?}");
}
