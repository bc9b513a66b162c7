//! Whom a fetch speaks to, and whom it does not (threat C12).

use std::{
    io::{Read, Seek, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use autostack_domain::{RemoteHost, RemoteUrl, Secret};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{Incoming, testing::World};

/// A server on loopback that gives every request the same answer, and counts them.
struct Server {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    seen: Arc<std::sync::Mutex<String>>,
}

impl Server {
    fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, seen, answer) =
            (Arc::new(AtomicUsize::new(0)), Arc::<std::sync::Mutex<String>>::default(), answer.into());
        let (counted, told) = (Arc::clone(&requests), Arc::clone(&seen));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let mut head = [0; 4096];
                let read = stream.read(&mut head).unwrap();
                told.lock().unwrap().push_str(&String::from_utf8_lossy(&head[..read]));
                let _gone = stream.write_all(&answer);
            }
        });
        Self { address, requests, seen }
    }

    fn url(&self, path: &str) -> RemoteUrl {
        format!("http://{}{path}", self.address).parse().unwrap()
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn allowing(hosts: &[&str]) -> Access {
    Access {
        allowed: hosts.iter().map(|host| host.parse::<RemoteHost>().unwrap()).collect(),
        logins: Vec::new(),
    }
}

async fn download(access: &Access, url: &RemoteUrl, bytes_max: u64) -> Result<String, RemoteError> {
    let mut file = tempfile::tempfile().unwrap();
    access.download(url, file.try_clone().unwrap(), bytes_max).await?;
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    Ok(text)
}

#[tokio::test]
async fn c12_nobody_of_this_network_is_spoken_to_unless_an_admin_says_so() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
    let port = server.address.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "[::]",
        "169.254.169.254",
        "10.0.0.1",
        "100.64.0.1",
    ] {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}:{port}/").parse().unwrap();
            let refused = download(&Access::default(), &url, 100).await.unwrap_err();
            assert!(
                matches!(refused, RemoteError::Private { .. } | RemoteError::Clear { .. }),
                "{url}: {refused}"
            );
        }
    }
    assert_eq!(server.requests(), 0);
    let allowed = allowing(&["127.0.0.1"]);
    assert_eq!(download(&allowed, &server.url("/a"), 100).await.unwrap(), "hello");
    let localhost = format!("http://localhost:{port}/").parse().unwrap();
    assert!(download(&allowed, &localhost, 100).await.is_err(), "another name is another host");
    let refused = download(&allowed, &server.url("/a"), 4).await.unwrap_err();
    assert!(matches!(refused, RemoteError::TooLarge { .. }), "{refused}");
}

#[tokio::test]
async fn c12_a_redirect_is_checked_like_the_first_request() {
    let inner = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret");
    let away = |to: &str| {
        Server::answering(format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"))
    };
    let allowed = allowing(&["127.0.0.1"]);
    for to in [
        format!("http://localhost:{}/", inner.address.port()),
        "https://169.254.169.254/latest".to_owned(),
        "file:///etc/passwd".to_owned(),
        "//169.254.169.254/".to_owned(),
        "http://0x7f.1/".to_owned(),
    ] {
        let outer = away(&to);
        assert!(download(&allowed, &outer.url("/"), 100).await.is_err(), "{to}");
        assert_eq!(outer.requests(), 1);
    }
    assert_eq!(inner.requests(), 0);
    let good = away(&inner.url("/b").to_string());
    assert_eq!(download(&allowed, &good.url("/"), 100).await.unwrap(), "secret");
    let circle = away("/again");
    assert!(matches!(download(&allowed, &circle.url("/"), 100).await, Err(RemoteError::Redirect { .. })));
    assert_eq!(circle.requests(), 6);
}

#[tokio::test]
async fn a_login_is_sent_to_its_own_host_alone() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let login =
        |authority: String| RemoteLogin { authority, header: Secret::new("Basic c2VjcmV0".to_owned()) };
    let mut access = allowing(&["127.0.0.1"]);
    access.logins = vec![login("127.0.0.1:1".to_owned())];
    download(&access, &server.url("/"), 100).await.unwrap();
    assert!(!server.seen.lock().unwrap().contains("c2VjcmV0"));
    access.logins.push(login(server.address.to_string()));
    download(&access, &server.url("/"), 100).await.unwrap();
    assert!(server.seen.lock().unwrap().contains("c2VjcmV0"));
    let locked = Server::answering("HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n");
    assert!(matches!(download(&access, &locked.url("/"), 100).await, Err(RemoteError::Login { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_repository_is_not_fetched_from() {
    let world = World::new();
    let incoming = Incoming::begin(&world.bare()).await.unwrap();
    let page =
        Server::answering("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 5\r\n\r\nhello");
    let cancel = CancellationToken::new();
    let fetched = allowing(&["127.0.0.1"])
        .fetch(&page.url("/a.git"), &RemoteRef::default(), &incoming, 1 << 20, &cancel)
        .await;
    assert!(matches!(fetched, Err(RemoteError::BadAnswer { .. })), "{fetched:?}");
    assert!(page.seen.lock().unwrap().starts_with("GET /a.git/info/refs?service=git-upload-pack HTTP/1.1"));
}

#[test]
fn c4_refs_that_git_would_take_for_options_are_refused() {
    for good in
        ["main", "feature/x", "v1.2", "refs/tags/v1", "HEAD", "3cf2e2c3cf2e2c3cf2e2c3cf2e2c3cf2e2c3cf2e"]
    {
        assert!(good.parse::<RemoteRef>().is_ok(), "{good}");
    }
    for bad in [
        "",
        "-x",
        "--upload-pack=id",
        "a..b",
        "a b",
        "a:b",
        "+main",
        "a^",
        "@{1}",
        "a\n",
        "refs/heads/-x",
        &"0".repeat(40),
    ] {
        assert!(bad.parse::<RemoteRef>().is_err(), "{bad:?}");
    }
}
