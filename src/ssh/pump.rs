//! Bytes from the client to a command, and from a child to the client.
//!
//! russh hands data over inside the task that also sends, so a command that reads slowly would stop the
//! whole connection: its own output, keepalives, other sessions. The task therefore only puts `Bytes` into
//! a queue ([`Feed`]); the command takes them out ([`Intake`]). The queue is bounded in bytes. When it is
//! full the task waits, which holds the client back through TCP; a command that has dropped its intake
//! discards, and one that leaves a full queue untouched for too long is ended.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};

use crate::output::{Gone, Output};

/// Chunks in a queue, so that a client that sends single bytes does not fill memory with their headers.
const CHUNKS_MAX: usize = 1_024;

/// Bytes of one read from a child: what a pipe holds.
const READ_BYTES: usize = 64 * 1024;

/// The client's end of the queue.
#[derive(Debug)]
pub(crate) struct Feed {
    chunks: mpsc::Sender<Chunk>,
    room: Arc<Semaphore>,
    bytes_max: usize,
}

/// The command's end of the queue.
#[derive(Debug)]
pub(crate) struct Intake {
    chunks: mpsc::Receiver<Chunk>,
    room: Arc<Semaphore>,
}

/// What the client sent at once; dropping it makes room for more.
#[derive(Debug)]
pub(crate) struct Chunk {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

/// How a [`Feed::push`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It is in the queue.
    Taken,
    /// Nobody reads any more.
    Discarded,
    /// The queue was full for the whole time.
    Stalled,
}

/// A queue of `bytes_max` bytes.
pub(crate) fn queue(bytes_max: usize) -> (Feed, Intake) {
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    let room = Arc::new(Semaphore::new(bytes_max));
    (Feed { chunks: sender, room: Arc::clone(&room), bytes_max }, Intake { chunks: receiver, room })
}

impl Feed {
    /// Puts bytes into the queue, waiting for room `stall` at most.
    pub(crate) async fn push(&self, bytes: &[u8], stall: Duration) -> Pushed {
        let needed = u32::try_from(bytes.len().min(self.bytes_max)).unwrap_or(u32::MAX);
        let put = async {
            let room = Arc::clone(&self.room).acquire_many_owned(needed).await.ok()?;
            let chunk = Chunk { bytes: Bytes::copy_from_slice(bytes), _room: room };
            self.chunks.send(chunk).await.ok()
        };
        match timeout(stall, put).await {
            Ok(Some(())) => Pushed::Taken,
            Ok(None) => Pushed::Discarded,
            Err(_elapsed) => Pushed::Stalled,
        }
    }
}

impl Intake {
    /// The next bytes; `None` after the client's end of file. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Chunk> {
        self.chunks.recv().await
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.room.close();
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Moves everything that the client sends into `sink`, then closes it. Ends early when the sink takes no
/// more, which is a command's right.
pub(crate) async fn fill(mut sink: impl AsyncWrite + Unpin, mut intake: Intake) {
    while let Some(chunk) = intake.next().await {
        if sink.write_all(chunk.as_ref()).await.is_err() {
            return;
        }
    }
    // A sink that is closed already is what is wanted.
    let _closed = sink.shutdown().await;
}

/// Which of the client's streams bytes go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    Stdout,
    Stderr,
}

/// Moves everything from `source` to the client, as it comes, until its end of file.
pub(crate) async fn drain(mut source: impl AsyncRead + Unpin, output: &Output, to: To) -> Result<(), Gone> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(READ_BYTES);
        // A pipe that cannot be read has nothing more to say.
        if source.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
            return Ok(());
        }
        let bytes = buffer.split().freeze();
        match to {
            To::Stdout => output.stdout(bytes).await?,
            To::Stderr => output.stderr(bytes).await?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    const LATE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_full_queue_waits_and_goes_on_when_read() {
        let (feed, mut intake) = queue(4);
        assert_eq!(feed.push(b"abcd", LATE).await, Pushed::Taken);
        assert_eq!(feed.push(b"e", SOON).await, Pushed::Stalled);
        let (pushed, chunk) = tokio::join!(feed.push(b"f", LATE), async { intake.next().await.map(drop) });
        assert_eq!((pushed, chunk), (Pushed::Taken, Some(())));
    }

    #[tokio::test]
    async fn nobody_waits_for_a_command_that_does_not_read() {
        let (feed, intake) = queue(4);
        assert_eq!(feed.push(b"abcd", LATE).await, Pushed::Taken);
        let (pushed, ()) = tokio::join!(feed.push(b"e", LATE), async { drop(intake) });
        assert_eq!(pushed, Pushed::Discarded);
        assert_eq!(feed.push(b"f", LATE).await, Pushed::Discarded);
    }

    #[tokio::test]
    async fn a_chunk_larger_than_the_queue_passes() {
        let (feed, mut intake) = queue(4);
        assert_eq!(feed.push(b"abcdefgh", SOON).await, Pushed::Taken);
        assert_eq!(intake.next().await.unwrap().as_ref(), b"abcdefgh");
    }

    #[tokio::test]
    async fn what_was_sent_arrives_whole_and_the_sink_is_closed() {
        let (feed, intake) = queue(8);
        let (sink, mut there) = tokio::io::duplex(3);
        let send = async move {
            for part in [&b"abc"[..], b"defgh", b"ij"] {
                assert_eq!(feed.push(part, LATE).await, Pushed::Taken);
            }
        };
        let receive = async {
            let mut all = Vec::new();
            there.read_to_end(&mut all).await.unwrap();
            all
        };
        let ((), (), received) = tokio::join!(send, fill(sink, intake), receive);
        assert_eq!(received, b"abcdefghij");
    }
}
