//! Bodies on their way: the client's to the app, the app's (or a file's, or a page's) to the client. Frames
//! are passed on as they come; nothing is collected. Trailers are dropped in both directions: they could
//! name fields that were checked in the head.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use crate::{
    access::{Pending, Said},
    claim::Claim,
    link::Busy,
    proxy::Proxy,
    stall::Stall,
    static_files::FileBody,
    upstream::Connection,
};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the app's answer broke off: {0}")]
    App(#[source] hyper::Error),
    #[error("the app's answer stood still for {} s", .0.as_secs())]
    Stalled(Duration),
    #[error("reading the file failed: {0}")]
    File(#[source] std::io::Error),
}

/// How far a request's body has come, for the clock that waits for the answer.
#[derive(Debug, Default)]
pub(crate) struct Progress(AtomicUsize);

impl Progress {
    pub(crate) fn frames(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// What goes to the app.
#[derive(Debug)]
pub(crate) struct RequestBody(Outgoing);

#[derive(Debug)]
enum Outgoing {
    Empty,
    /// What the client sends.
    Client {
        incoming: Incoming,
        progress: Arc<Progress>,
    },
    /// What the proxy made itself; none once it is sent.
    Whole(Option<Bytes>),
}

impl RequestBody {
    pub(crate) fn empty() -> Self {
        Self(Outgoing::Empty)
    }

    pub(crate) fn new(incoming: Incoming) -> Self {
        if incoming.is_end_stream() {
            return Self::empty();
        }
        Self(Outgoing::Client { incoming, progress: Arc::default() })
    }

    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self(Outgoing::Whole(Some(bytes)))
    }

    /// What counts the frames of the client's body; none when there is none.
    pub(crate) fn progress(&self) -> Option<Arc<Progress>> {
        match &self.0 {
            Outgoing::Client { progress, .. } => Some(Arc::clone(progress)),
            Outgoing::Empty | Outgoing::Whole(_) => None,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.0 {
            Outgoing::Empty => Poll::Ready(None),
            Outgoing::Client { incoming, progress } => {
                let frame = ready!(poll_data(incoming, cx));
                progress.0.fetch_add(1, Ordering::Relaxed);
                Poll::Ready(frame)
            }
            Outgoing::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Outgoing::Empty => true,
            Outgoing::Client { incoming, .. } => incoming.is_end_stream(),
            Outgoing::Whole(bytes) => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Outgoing::Empty => SizeHint::with_exact(0),
            Outgoing::Client { incoming, .. } => incoming.size_hint(),
            Outgoing::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
        }
    }
}

/// The next data frame; trailers are passed over.
pub(crate) fn poll_data(
    incoming: &mut Incoming,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
    loop {
        match ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
            Some(Ok(frame)) if frame.is_trailers() => {}
            other => return Poll::Ready(other),
        }
    }
}

/// What the client gets. While it exists, the client is being answered: its idle clock stands still.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    kind: Kind,
    busy: Option<Busy>,
    /// What a page of the proxy's own says.
    said: Option<Box<Said>>,
    /// The request's place in the access log.
    pending: Option<Pending>,
}

#[derive(Debug)]
enum Kind {
    Empty,
    Page(Option<Bytes>),
    App(Box<AppBody>),
    File(Box<FileBody>),
}

impl ResponseBody {
    pub(crate) fn empty() -> Self {
        Self::of(Kind::Empty)
    }

    fn of(kind: Kind) -> Self {
        Self { kind, busy: None, said: None, pending: None }
    }

    pub(crate) fn bytes(bytes: Bytes) -> Self {
        Self::of(if bytes.is_empty() { Kind::Empty } else { Kind::Page(Some(bytes)) })
    }

    /// A page of the proxy's own.
    pub(crate) fn page(bytes: Bytes, said: Said) -> Self {
        Self { said: Some(Box::new(said)), ..Self::bytes(bytes) }
    }

    pub(crate) fn app(body: AppBody) -> Self {
        // An answer without a body has ended now: dropping it releases the claim and keeps the connection.
        if body.incoming.is_end_stream() {
            drop(body);
            return Self::empty();
        }
        Self::of(Kind::App(Box::new(body)))
    }

    pub(crate) fn file(body: FileBody) -> Self {
        Self::of(Kind::File(Box::new(body)))
    }

    /// Takes out what a page of the proxy's own says.
    pub(crate) fn take_said(&mut self) -> Option<Box<Said>> {
        self.said.take()
    }

    pub(crate) fn keeping(mut self, busy: Busy, pending: Option<Pending>) -> Self {
        self.busy = Some(busy);
        self.pending = pending;
        self
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(match &mut self.kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Page(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::App(body) => body.poll_frame(cx),
            Kind::File(body) => {
                body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(BodyError::File)))
            }
        });
        if let (Some(pending), Some(Ok(frame))) = (&mut self.pending, &frame) {
            pending.sent(frame.data_ref().map_or(0, Bytes::len));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Page(bytes) => bytes.is_none(),
            Kind::App(body) => body.incoming.is_end_stream(),
            Kind::File(body) => body.left() == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Page(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Kind::App(body) => body.incoming.size_hint(),
            Kind::File(body) => SizeHint::with_exact(body.left()),
        }
    }
}

/// The app's answer. When it has ended, the connection is kept and the claim released; when it is dropped
/// before its end, the connection is closed with it.
#[derive(Debug)]
pub(crate) struct AppBody {
    incoming: Incoming,
    has_ended: bool,
    connection: Option<Connection>,
    claim: Option<Claim>,
    proxy: Arc<Proxy>,
    stall: Stall,
}

impl AppBody {
    pub(crate) fn new(incoming: Incoming, connection: Connection, claim: Claim, proxy: &Arc<Proxy>) -> Self {
        Self {
            incoming,
            has_ended: false,
            connection: Some(connection),
            claim: Some(claim),
            proxy: Arc::clone(proxy),
            stall: Stall::default(),
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match poll_data(&mut self.incoming, cx) {
            Poll::Ready(None) => {
                self.has_ended = true;
                self.settle();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(frame))) => {
                self.stall.moved();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::debug!(%error, "the app's answer broke off");
                Poll::Ready(Some(Err(BodyError::App(error))))
            }
            Poll::Pending => {
                let limit = self.proxy.limits.stream_idle_timeout;
                ready!(self.stall.poll_stuck(limit, cx));
                Poll::Ready(Some(Err(BodyError::Stalled(limit))))
            }
        }
    }

    /// Gives back what the request held: the connection first, so that the claim outlives it.
    fn settle(&mut self) {
        let (Some(connection), Some(claim)) = (self.connection.take(), self.claim.take()) else { return };
        if self.has_ended || self.incoming.is_end_stream() {
            claim.endpoint().keep(connection, &self.proxy);
        }
    }
}

impl Drop for AppBody {
    fn drop(&mut self) {
        self.settle();
    }
}
