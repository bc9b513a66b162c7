//! The TCP connection as russh sees it: it begins after the first words, can be cut from outside at any
//! moment, counts what it hears, and ends when the peer takes nothing for too long.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use autostack_base::tasks::Shutdown;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::welcome::Exchanged;

/// A stream with an end that others decide.
pub(crate) struct Wire<S> {
    stream: S,
    exchanged: Exchanged,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    heard_bytes: Arc<AtomicUsize>,
    stall: Duration,
    /// Runs while a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Wire<S> {
    /// `exchanged` was said and heard before; `cut` ends it; `heard_bytes` counts; a write that waits for
    /// `stall` ends it too.
    pub(crate) fn new(
        stream: S,
        exchanged: Exchanged,
        cut: Shutdown,
        heard_bytes: Arc<AtomicUsize>,
        stall: Duration,
    ) -> Self {
        Self { stream, exchanged, cut: Box::pin(cut.cancelled_owned()), heard_bytes, stall, waiting: None }
    }

    fn check_cut(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cut")),
            Poll::Pending => Ok(()),
        }
    }

    fn check_stall<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let stall = self.stall;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(stall)));
        ready!(waiting.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_cut(context)?;
        let heard = &mut self.exchanged.heard;
        if !heard.is_empty() {
            let length = heard.len().min(buffer.remaining());
            buffer.put_slice(&heard.split_to(length));
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let heard = buffer.filled().len() - before;
        self.heard_bytes.fetch_add(heard, Ordering::Relaxed);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_cut(context)?;
        if self.exchanged.sent_bytes > 0 {
            let length = self.exchanged.sent_bytes.min(bytes.len());
            self.exchanged.sent_bytes -= length;
            return Poll::Ready(Ok(length));
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.check_stall(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_cut(context)?;
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.check_stall(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn wire(stall: Duration) -> (Wire<tokio::io::DuplexStream>, tokio::io::DuplexStream, Shutdown) {
        let (here, there) = duplex(16);
        let cut = Shutdown::new();
        (Wire::new(here, Exchanged::default(), cut.clone(), Arc::default(), stall), there, cut)
    }

    #[tokio::test]
    async fn a_read_that_waits_is_cut() {
        let (mut wire, _there, cut) = wire(Duration::from_secs(60));
        let mut buffer = [0; 4];
        let (read, ()) = tokio::join!(wire.read(&mut buffer), async { cut.cancel() });
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (mut wire, mut there, _cut) = wire(Duration::from_millis(20));
        there.write_all(b"heard").await.unwrap();
        let mut buffer = [0; 5];
        wire.read_exact(&mut buffer).await.unwrap();
        assert_eq!(wire.heard_bytes.load(Ordering::Relaxed), 5);
        let error = wire.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn what_was_exchanged_before_is_heard_and_not_said_again() {
        let (here, mut there) = duplex(64);
        let exchanged = Exchanged { sent_bytes: 4, heard: "before".into() };
        let mut wire = Wire::new(here, exchanged, Shutdown::new(), Arc::default(), Duration::from_secs(60));
        there.write_all(b" after").await.unwrap();
        let mut heard = [0; 12];
        wire.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"before after");
        wire.write_all(b"SSH-more").await.unwrap();
        let mut said = [0; 4];
        there.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"more");
    }
}
