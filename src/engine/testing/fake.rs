//! [`FakeEngine`]: an engine that gives the answers that a test wants, for what a real one does not do on demand.

use std::{future::pending, path::PathBuf, sync::Arc};

use autostack_base::tasks::Tasks;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

use crate::EngineHost;

/// What the engine does with one request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A status and a JSON body.
    Json(u16, String),
    /// A stream of JSON lines that ends well.
    Stream(Vec<String>),
    /// A stream of JSON lines, then the connection is cut.
    Cut(Vec<String>),
    /// A stream of JSON lines, then silence.
    Silent(Vec<String>),
    /// No answer at all, ever.
    Hang,
}

/// An engine on a Unix socket of its own; gone when dropped.
pub struct FakeEngine {
    dir: TempDir,
    tasks: Tasks,
}

impl FakeEngine {
    /// An engine whose answer to `GET /images/json` is what `answer` gives for that text; the query is not part of
    /// it. Needs a Tokio runtime.
    pub fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("engine.sock")).unwrap();
        let tasks = Tasks::new();
        let (inner, answer) = (tasks.clone(), Arc::new(answer));
        tasks.spawn("fake engine", async move {
            let stop = inner.shutdown_token();
            loop {
                let accepted = tokio::select! {
                    () = stop.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                let Ok((stream, _)) = accepted else { return };
                let (answer, stop) = (Arc::clone(&answer), inner.shutdown_token());
                inner.spawn("fake answer", async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = serve(stream, &*answer) => {}
                    }
                });
            }
        });
        Self { dir, tasks }
    }

    /// An engine that is Docker 20.10 until it is asked something else than who it is.
    pub fn docker(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        Self::start(move |request| match request {
            "GET /version" => Answer::Json(
                200,
                r#"{"Version":"20.10.24","ApiVersion":"1.41","Os":"linux","Arch":"amd64"}"#.into(),
            ),
            "GET /info" => Answer::Json(200, r#"{"ID":"x","Driver":"overlay2"}"#.into()),
            request => answer(request),
        })
    }

    /// Where it listens.
    pub fn host(&self) -> EngineHost {
        EngineHost::Unix(self.socket())
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("engine.sock")
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        self.tasks.shutdown_token().cancel();
    }
}

async fn serve(mut stream: UnixStream, answer: &(impl Fn(&str) -> Answer + ?Sized)) {
    let Some(request) = read_request(&mut stream).await else { return };
    let chunk = |line: &String| format!("{:x}\r\n{line}\n\r\n", line.len() + 1);
    let streamed = |lines: &[String]| {
        let body: String = lines.iter().map(chunk).collect();
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{body}"
        )
    };
    let answer = answer(&request);
    let text = match &answer {
        Answer::Json(status, body) => format!(
            "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\
             \r\n{body}",
            body.len()
        ),
        Answer::Stream(lines) => format!("{}0\r\n\r\n", streamed(lines)),
        Answer::Cut(lines) | Answer::Silent(lines) => streamed(lines),
        Answer::Hang => String::new(),
    };
    if stream.write_all(text.as_bytes()).await.is_ok() && matches!(answer, Answer::Silent(_) | Answer::Hang) {
        pending::<()>().await;
    }
}

/// Method and path of a request, whose body is left unread.
async fn read_request(stream: &mut UnixStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut piece = [0; 1024];
        let count = stream.read(&mut piece).await.ok()?;
        if count == 0 {
            return None;
        }
        head.extend_from_slice(&piece[..count]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    Some(format!("{method} {}", path.split('?').next()?))
}
