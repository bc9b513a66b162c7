//! The guard: sits between a client's socket and hyper, and hands on only what has been checked.
//!
//! It follows the framing of the requests (head, body, head, …), checks each head with [`head::check`] and
//! each chunk with [`Chunks`], and keeps the connection's clocks. A hostile head is never handed on: hyper
//! gets a harmless request in its place, which the service answers with the refusal, so that the answer
//! comes after those to earlier requests; nothing is read after it. Broken chunk framing ends the connection.
//!
//! Bytes behind a request that asks for an upgrade are held until the app has decided: after its 101 they
//! belong to the new protocol, after any other answer they are the next request.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};
use tokio_util::io::poll_read_buf;

use crate::{
    chunks::{BadFraming, Chunks},
    head::{self, EndFinder, Framing, Refusal},
    limits::{HEAD_BYTES_MAX, LINGER_BYTES_MAX, ProxyLimits},
    link::{Follows, Link},
    stall::Stall,
};

/// A client's connection, guarded.
#[derive(Debug)]
pub(crate) struct Guard<S> {
    stream: S,
    link: Arc<Link>,
    limits: Arc<ProxyLimits>,
    phase: Phase,
    /// Read but not handed on yet; the first `passed` bytes may be.
    held: BytesMut,
    passed: usize,
    /// Requests handed on.
    requests: usize,
    read_stall: Stall,
    write_stall: Stall,
    is_write_blocked: bool,
    linger: Linger,
}

/// What the next byte is part of.
#[derive(Debug)]
enum Phase {
    Head(EndFinder),
    Length(u64),
    Chunked(Chunks),
    /// Behind a request that asks for an upgrade: the one of this number.
    Undecided(usize),
    /// Not HTTP any more.
    Tunnel,
    /// Nothing: the request before was refused for this reason, hyper is to be told.
    Refusing(Refusal),
    /// Nothing: hyper was told.
    Refused,
    /// Nothing: the body was not framed as it must be.
    Broken,
}

#[derive(Debug, Default)]
struct Linger {
    is_shut: bool,
    bytes: usize,
}

/// What hyper reads in place of a refused head.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

impl<S> Guard<S> {
    pub(crate) fn new(stream: S, link: Arc<Link>, limits: Arc<ProxyLimits>) -> Self {
        Self {
            stream,
            link,
            limits,
            phase: Phase::Head(EndFinder::default()),
            held: BytesMut::new(),
            passed: 0,
            requests: 0,
            read_stall: Stall::default(),
            write_stall: Stall::default(),
            is_write_blocked: false,
            linger: Linger::default(),
        }
    }

    /// Checks `bytes`, which start where the current phase left off (a head, at its first byte), and gives
    /// the number that may be handed on. The rest is to be offered again, with more behind it.
    fn examine(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let (passed, next) = match &mut self.phase {
                Phase::Head(finder) => match finder.find(rest) {
                    Ok(Some(end)) => match head::check(&rest[..end]) {
                        Ok(head) => (end, Some(self.after(head))),
                        Err(refusal) => (0, Some(Phase::Refusing(refusal))),
                    },
                    Ok(None) => return at,
                    Err(refusal) => (0, Some(Phase::Refusing(refusal))),
                },
                Phase::Length(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= here as u64;
                    (here, (*left == 0).then(Phase::next_head))
                }
                Phase::Chunked(chunks) => match chunks.follow(rest) {
                    Ok(Some(end)) => (end, Some(Phase::next_head())),
                    Ok(None) => (rest.len(), None),
                    Err(BadFraming) => (0, Some(Phase::Broken)),
                },
                Phase::Tunnel => (rest.len(), None),
                Phase::Undecided(_) | Phase::Refusing(_) | Phase::Refused | Phase::Broken => return at,
            };
            at += passed;
            if let Some(next) = next {
                self.phase = next;
            }
        }
        at
    }

    fn after(&mut self, head: head::Head) -> Phase {
        self.requests += 1;
        self.read_stall.moved();
        match head.framing {
            Framing::Length(0) if head.wants_upgrade => Phase::Undecided(self.requests),
            Framing::Length(0) => Phase::next_head(),
            Framing::Length(bytes) => Phase::Length(bytes),
            Framing::Chunked => Phase::Chunked(Chunks::new()),
        }
    }

    /// Looks at what is held once more, if the phase has changed by what the service decided.
    fn examine_held(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.passed = self.examine(&held);
        self.held = held;
    }

    /// Goes on behind a request that asked for an upgrade, once it is known what follows.
    fn decide(&mut self, cx: &Context<'_>) {
        let Phase::Undecided(number) = self.phase else { return };
        self.phase = match self.link.what_follows(number, cx) {
            Some(Follows::Http) => Phase::next_head(),
            Some(Follows::AnotherProtocol) => Phase::Tunnel,
            None => return,
        };
        self.examine_held();
    }

    /// Whether anything of a request has come that the service has not been given.
    fn is_mid_head(&self) -> bool {
        matches!(self.phase, Phase::Head(_)) && !self.held.is_empty()
    }

    fn is_mid_body(&self) -> bool {
        matches!(self.phase, Phase::Length(_) | Phase::Chunked(_))
    }
}

impl Phase {
    fn next_head() -> Phase {
        Phase::Head(EndFinder::default())
    }
}

/// What a wait that lasted too long means.
enum TooLate {
    /// No request came: an ordinary end.
    Idle,
    /// A head came in part.
    Head,
    /// A body came in part.
    Body,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    /// Nothing can be read now: how long may that last?
    fn poll_read_clock(&mut self, cx: &mut Context<'_>) -> Poll<TooLate> {
        let (limit, meaning) = match &self.phase {
            Phase::Head(_) if self.held.is_empty() => return self.poll_idle_clock(cx),
            Phase::Head(_) => (self.limits.head_timeout, TooLate::Head),
            Phase::Length(_) | Phase::Chunked(_) => (self.limits.body_timeout, TooLate::Body),
            Phase::Undecided(_) | Phase::Tunnel | Phase::Refusing(_) | Phase::Refused | Phase::Broken => {
                return Poll::Pending;
            }
        };
        self.read_stall.poll_stuck(limit, cx).map(|()| meaning)
    }

    /// The clock between two requests. hyper does not read again when an answer has ended, so the clock is
    /// wound during the answer already, and looks again when it fires.
    fn poll_idle_clock(&mut self, cx: &mut Context<'_>) -> Poll<TooLate> {
        let limits = &self.limits;
        let limit = if self.requests > 0 { limits.idle_timeout } else { limits.head_timeout };
        let quiet_since = match self.link.quiet_since() {
            Some(since) if !self.is_write_blocked => since,
            _ => Instant::now(),
        };
        self.read_stall.poll_until(quiet_since + limit, cx).map(|()| TooLate::Idle)
    }

    /// Reads into `held`, behind what is there.
    fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.held.reserve(4096);
        poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.held)
    }

    /// Reads straight into hyper's buffer; what may not be handed on is moved to `held`.
    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        let start = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let bytes = &buf.filled()[start..];
        let (read, passed) = (bytes.len(), self.examine(bytes));
        if passed < read {
            if !matches!(self.phase, Phase::Refusing(_) | Phase::Refused | Phase::Broken) {
                self.held.extend_from_slice(&bytes[passed..]);
            }
            buf.set_filled(start + passed);
        }
        // Nothing was held: this was body, or a whole head, or the first bytes of one.
        self.read_stall.moved();
        Poll::Ready(Ok(read))
    }

    /// Whether more may be read now.
    fn may_read(&self) -> bool {
        match self.phase {
            Phase::Undecided(_) => self.held.len() < HEAD_BYTES_MAX,
            Phase::Refusing(_) | Phase::Refused | Phase::Broken => false,
            Phase::Head(_) | Phase::Length(_) | Phase::Chunked(_) | Phase::Tunnel => true,
        }
    }

    /// One attempt to have something for hyper; `None` when nothing came of it and another is due.
    fn poll_once(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Option<io::Result<()>>> {
        self.decide(cx);
        if self.passed > 0 {
            let now = self.passed.min(buf.remaining());
            buf.put_slice(&self.held[..now]);
            self.held.advance(now);
            self.passed -= now;
            if self.held.is_empty() {
                // Frees the block: most connections never hold anything again.
                self.held = BytesMut::new();
            }
            return Poll::Ready(Some(Ok(())));
        }
        match self.phase {
            Phase::Refusing(refusal) => {
                self.refuse(refusal);
                return Poll::Ready(None);
            }
            Phase::Broken => {
                return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::InvalidData, BadFraming))));
            }
            _ if !self.may_read() => return Poll::Pending,
            _ => {}
        }
        let start = buf.filled().len();
        let read = if self.held.is_empty() && !matches!(self.phase, Phase::Undecided(_)) {
            self.poll_fill(cx, buf)
        } else {
            self.poll_hold(cx).map_ok(|read| {
                self.examine_held();
                read
            })
        };
        match read {
            Poll::Ready(Ok(0)) => Poll::Ready(Some(Ok(()))),
            Poll::Ready(Ok(_)) if buf.filled().len() > start => Poll::Ready(Some(Ok(()))),
            Poll::Ready(Ok(_)) => Poll::Ready(None),
            Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
            Poll::Pending => match ready!(self.poll_read_clock(cx)) {
                TooLate::Idle => Poll::Ready(Some(Ok(()))),
                TooLate::Head => {
                    self.phase = Phase::Refusing(Refusal::Timeout);
                    Poll::Ready(None)
                }
                TooLate::Body => Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into()))),
            },
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.link.refuse(refusal);
        self.phase = Phase::Refused;
        self.held = BytesMut::from(STAND_IN);
        self.passed = self.held.len();
    }

    /// Notes how a write went, and says whether the client has not read for too long.
    fn write_clock<T>(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.is_write_blocked = wrote.is_pending();
        if !self.is_write_blocked {
            self.write_stall.moved();
            return wrote;
        }
        if matches!(self.phase, Phase::Tunnel) {
            return Poll::Pending;
        }
        ready!(self.write_stall.poll_stuck(self.limits.write_timeout, cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// After an answer that came before the end of the request, reads on for a moment: closing a socket
    /// with unread bytes resets it, and the client would lose the answer.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scrap = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut scrap);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    self.linger.bytes += buf.filled().len();
                    if self.linger.bytes > LINGER_BYTES_MAX {
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.read_stall.poll_stuck(self.limits.linger_timeout, cx),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if let Some(read) = ready!(self.poll_once(cx, buf)) {
                return Poll::Ready(read);
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.write_clock(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.write_clock(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.linger.is_shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.linger.is_shut = true;
            self.read_stall.moved();
        }
        if matches!(self.phase, Phase::Refused | Phase::Broken) || self.is_mid_body() || self.is_mid_head() {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}
