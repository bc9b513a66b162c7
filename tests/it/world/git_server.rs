//! [`GitServer`]: somebody else's host, with repositories that are fetched over HTTP, and files.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

/// A server on loopback. `/NAME.git/…` is a repository of its folder, spoken to in git's smart protocol; everything
/// else is a file of it. It lives as long as the test program.
pub(crate) struct GitServer {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl GitServer {
    /// Serves a folder; with a password, only to who knows it.
    pub(crate) fn start(folder: &Path, login: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (folder, seen) = (folder.to_owned(), Arc::<Mutex<Vec<String>>>::default());
        let told = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (folder, told) = (folder.clone(), Arc::clone(&told));
                thread::spawn(move || answer(stream.unwrap(), &folder, login, &told));
            }
        });
        Self { address, seen }
    }

    /// The URL of a repository or a file.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// Host and port.
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// The first lines of all requests so far.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

struct Request {
    line: String,
    headers: String,
    body: Vec<u8>,
}

fn answer(mut stream: TcpStream, folder: &Path, login: Option<&str>, told: &Mutex<Vec<String>>) {
    while let Some(request) = read(&mut stream) {
        told.lock().unwrap().push(request.line.clone());
        let is_known = login.is_none_or(|login| {
            request.headers.contains(&format!("authorization: basic {login}").to_ascii_lowercase())
        });
        let (status, kind, body) =
            if is_known { respond(&request, folder) } else { ("401 Unauthorized", "text/plain", Vec::new()) };
        let head =
            format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
            return;
        }
    }
}

/// One request with its body; `None` at the end.
fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let (line, headers) = head.split_once("\r\n")?;
    let headers = headers.to_ascii_lowercase();
    let length = headers.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some(Request { line: line.to_owned(), headers, body })
}

fn respond(request: &Request, folder: &Path) -> (&'static str, &'static str, Vec<u8>) {
    let path = request.line.split(' ').nth(1).unwrap_or("/").trim_start_matches('/');
    let git = |args: &[&str], repository: PathBuf| {
        let mut git = Command::new("git");
        git.args(["-c", "safe.directory=*", "upload-pack", "--stateless-rpc"]).args(args).arg(repository);
        if let Some(version) = request.headers.lines().find_map(|line| line.strip_prefix("git-protocol: ")) {
            git.env("GIT_PROTOCOL", version.trim());
        }
        let mut child = git.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&request.body).unwrap();
        child.wait_with_output().unwrap().stdout
    };
    if let Some(name) = path.strip_suffix("/info/refs?service=git-upload-pack") {
        let mut body = b"001e# service=git-upload-pack\n0000".to_vec();
        body.extend(git(&["--advertise-refs"], folder.join(name)));
        return ("200 OK", "application/x-git-upload-pack-advertisement", body);
    }
    if let Some(name) = path.strip_suffix("/git-upload-pack") {
        return ("200 OK", "application/x-git-upload-pack-result", git(&[], folder.join(name)));
    }
    match fs::read(folder.join(path)) {
        Ok(bytes) => ("200 OK", "application/octet-stream", bytes),
        Err(_) => ("404 Not Found", "text/plain", Vec::new()),
    }
}
