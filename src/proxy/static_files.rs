//! A folder of files, served by the agent itself: GET and HEAD, index pages, one range, validators, streamed
//! in pieces so that a file of any size takes the same memory.
//!
//! Not served: anything whose name, or that of a folder above it, begins with a dot (`.git`, `.env`), but
//! for `/.well-known/`; symbolic links; what is not a regular file. Everything else in the folder is public,
//! a `Procfile` included.

use std::{
    fs::File,
    future::Future,
    io,
    os::unix::fs::FileExt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use autostack_base::tasks::{TaskPanicked, Tasks};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::{Frame, Incoming};

use crate::{
    body::ResponseBody,
    claim::FilesClaim,
    limits::FILE_CHUNK_BYTES,
    pages::Page,
    proxy::Proxy,
    static_path::{self, Found, Place, SitePath},
    static_range::{self, Wanted},
    table::Site,
};

/// Answers a request for a file of `site`. `prefix` was taken off its path.
pub(crate) async fn answer(
    proxy: &Arc<Proxy>,
    site: &Arc<Site>,
    claim: FilesClaim,
    prefix: Option<&str>,
    request: &Request<Incoming>,
) -> Response<ResponseBody> {
    let (headers, accept) = (request.headers(), request.headers().get(header::ACCEPT));
    let is_head = request.method() == Method::HEAD;
    if !is_head && request.method() != Method::GET {
        return Page::files_are_read_only().answer(accept);
    }
    let path = SitePath::parse(request.uri().path());
    let asked = headers.clone();
    let site = Arc::clone(site);
    let looked_up =
        proxy.tasks.blocking("proxy-file", move || look_up(&site, path.as_ref(), &asked, is_head));
    match looked_up.await {
        Ok(Ok(Answer::File(ready))) => send(proxy, ready, claim),
        Ok(Ok(Answer::Slash)) => to_folder(prefix.unwrap_or_default(), request),
        Ok(Ok(Answer::Nothing)) => Page::no_file().answer(accept),
        Ok(Err(error)) => {
            tracing::warn!(%error, path = request.uri().path(), "file could not be read");
            Page::file_failed().answer(accept)
        }
        Err(TaskPanicked { .. }) => Page::file_failed().answer(accept),
    }
}

enum Answer {
    File(Ready),
    /// The folder is there; its address ends with a slash.
    Slash,
    Nothing,
}

/// A file that is about to be sent, its first piece already read.
struct Ready {
    found: Found,
    kind: HeaderValue,
    status: StatusCode,
    wanted: Wanted,
    first: Bytes,
}

/// Finds the file, or the page that stands for it. Blocking: one trip to the pool for the look-up and the
/// first piece, which for most files is all of it.
fn look_up(site: &Site, path: Option<&SitePath>, asked: &HeaderMap, is_head: bool) -> io::Result<Answer> {
    let place = match path {
        Some(path) => static_path::find(&site.root, path)?,
        None => Place::Nothing,
    };
    let (found, name, status) = match place {
        Place::File(found) => (found, path.map_or("", SitePath::file_name), StatusCode::OK),
        Place::FolderWithoutSlash => return Ok(Answer::Slash),
        Place::Nothing => match stand_in(site, path.is_some())? {
            Some(page) => page,
            None => return Ok(Answer::Nothing),
        },
    };
    let kind = kind_of(name);
    // Conditions and ranges are about what was asked for, not about the page that says it is not there.
    let wanted = match status {
        StatusCode::OK => static_range::wanted(asked, found.len, &found.etag),
        _ => Wanted::Whole,
    };
    let (start, len) = extent(wanted, found.len);
    let first = if is_head { Bytes::new() } else { read_piece(&found.file, start, len)? };
    Ok(Answer::File(Ready { found, kind, status, wanted, first }))
}

/// The page for a path that is not there: the start page where the site does its own routing, else its page
/// for the purpose. A path that no file can have gets no start page.
fn stand_in(site: &Site, is_path: bool) -> io::Result<Option<(Found, &str, StatusCode)>> {
    if site.single_page && is_path {
        let index = static_path::find_page(&site.root, None)?;
        return Ok(index.map(|found| (found, "index.html", StatusCode::OK)));
    }
    let Some(name) = &site.not_found else { return Ok(None) };
    let page = static_path::find_page(&site.root, Some(name))?;
    Ok(page.map(|found| (found, name.as_str(), StatusCode::NOT_FOUND)))
}

/// Where what is wanted starts, and how many bytes it has.
fn extent(wanted: Wanted, len: u64) -> (u64, u64) {
    match wanted {
        Wanted::Whole => (0, len),
        Wanted::Part { first, last } => (first, last - first + 1),
        Wanted::NotModified | Wanted::Unsatisfiable => (0, 0),
    }
}

/// The kind of a file by its name; text is UTF-8.
fn kind_of(name: &str) -> HeaderValue {
    let guessed = mime_guess::from_path(name).first_or_octet_stream();
    let is_text = guessed.type_() == "text"
        || matches!(guessed.subtype().as_str(), "javascript" | "json" | "xml" | "manifest+json")
        || guessed.suffix().is_some_and(|suffix| suffix == "xml");
    let text = if is_text { format!("{guessed}; charset=utf-8") } else { guessed.to_string() };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

fn send(proxy: &Arc<Proxy>, ready: Ready, claim: FilesClaim) -> Response<ResponseBody> {
    let Ready { found, kind, status, wanted, first } = ready;
    let (start, len) = extent(wanted, found.len);
    let mut response = Response::new(ResponseBody::empty());
    let headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(&found.etag)
        && status == StatusCode::OK
    {
        headers.insert(header::ETAG, etag);
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    // A deployment must be seen at once: ask each time, and be told "not modified" most times.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let total = found.len;
    let (status, range) = match wanted {
        Wanted::Whole => (status, None),
        Wanted::Part { first, last } => {
            (StatusCode::PARTIAL_CONTENT, Some(format!("bytes {first}-{last}/{total}")))
        }
        Wanted::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, Some(format!("bytes */{total}"))),
        Wanted::NotModified => (StatusCode::NOT_MODIFIED, None),
    };
    set(headers, header::CONTENT_RANGE, range);
    if status != StatusCode::NOT_MODIFIED {
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    }
    *response.status_mut() = status;
    // Without a first piece nothing is to be sent: the file is empty, or only its head was asked for.
    if !first.is_empty() {
        let next = start + first.len() as u64;
        let left = len - first.len() as u64;
        let file = Arc::new(found.file);
        let tasks = proxy.tasks.clone();
        let body = FileBody { first: Some(first), file, next, left, reading: None, tasks, _claim: claim };
        *response.body_mut() = ResponseBody::file(body);
    }
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: Option<String>) {
    if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
        headers.insert(name, value);
    }
}

/// Sends a client on to the address of a folder.
fn to_folder(prefix: &str, request: &Request<Incoming>) -> Response<ResponseBody> {
    let uri = request.uri();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let headers = response.headers_mut();
    // The path has no empty part (it would not have been found), so this cannot lead to another host.
    set(headers, header::LOCATION, Some(format!("{prefix}{}/{query}", uri.path())));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

type Reading = Pin<Box<dyn Future<Output = Result<io::Result<Bytes>, TaskPanicked>> + Send>>;

/// What is left of a file to send.
pub(crate) struct FileBody {
    first: Option<Bytes>,
    file: Arc<File>,
    next: u64,
    /// Bytes behind `first` and behind what has been sent.
    left: u64,
    reading: Option<Reading>,
    tasks: Tasks,
    _claim: FilesClaim,
}

impl FileBody {
    /// Bytes that are still to come.
    pub(crate) fn left(&self) -> u64 {
        self.left + self.first.as_ref().map_or(0, |first| first.len() as u64)
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let (file, next, left) = (&self.file, self.next, self.left);
        let tasks = &self.tasks;
        let reading = self.reading.get_or_insert_with(|| {
            let file = Arc::clone(file);
            Box::pin(tasks.blocking("proxy-file", move || read_piece(&file, next, left)))
        });
        let read = ready!(reading.as_mut().poll(cx));
        self.reading = None;
        match read {
            // The length is promised already; a file that became shorter cannot keep it.
            Ok(Ok(piece)) if piece.is_empty() => Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
            Ok(Ok(piece)) => {
                self.next += piece.len() as u64;
                self.left -= piece.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Ok(Err(error)) => Poll::Ready(Some(Err(error))),
            Err(panicked) => Poll::Ready(Some(Err(io::Error::other(panicked)))),
        }
    }
}

impl std::fmt::Debug for FileBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileBody")
            .field("file", &self.file)
            .field("left", &self.left())
            .finish_non_exhaustive()
    }
}

/// Up to [`FILE_CHUNK_BYTES`] from `start`, `len` at most; shorter only at the end of the file.
fn read_piece(file: &File, start: u64, len: u64) -> io::Result<Bytes> {
    let size = usize::try_from(len).unwrap_or(usize::MAX).min(FILE_CHUNK_BYTES);
    let mut piece = vec![0; size];
    let mut filled = 0;
    while filled < size {
        match file.read_at(&mut piece[filled..], start + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    piece.truncate(filled);
    Ok(Bytes::from(piece))
}
