//! Bytes from the client to a command, and from a child to the client.
//!
//! russh hands data over inside the task that also sends, so a command that reads slowly would stop the
//! whole connection: its own output, keepalives, other sessions. The task therefore only puts `Bytes` into
//! a queue ([`Feed`]); the command takes them out ([`Intake`]). The queue is bounded in bytes. When it is
//! full the task waits, which holds the client back through TCP; a command that has dropped its intake
//! discards, and one that leaves a full queue untouched for too long is ended. For a program that is talked to, which
//! may wait for its own output to be taken, what has no room overflows into a file instead.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, mpsc::error::TryRecvError},
    time::timeout,
};

use crate::{
    output::{Gone, Output},
    overflow::{MakeFile, Overflow},
};

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
    overflow: Option<Arc<Overflow>>,
}

/// The command's end of the queue.
#[derive(Debug)]
pub(crate) struct Intake {
    chunks: mpsc::Receiver<Chunk>,
    room: Arc<Semaphore>,
    overflow: Option<Arc<Overflow>>,
}

/// What the client sent at once; dropping it makes room for more.
#[derive(Debug)]
pub(crate) struct Chunk {
    bytes: Bytes,
    /// None where it waited in a file.
    _room: Option<OwnedSemaphorePermit>,
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
    make(bytes_max, None)
}

/// A queue of `bytes_max` bytes in memory, and of many more in a file.
pub(crate) fn deep_queue(bytes_max: usize, file: MakeFile) -> (Feed, Intake) {
    make(bytes_max, Some(Arc::new(Overflow::new(file))))
}

fn make(bytes_max: usize, overflow: Option<Arc<Overflow>>) -> (Feed, Intake) {
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    let room = Arc::new(Semaphore::new(bytes_max));
    let feed = Feed { chunks: sender, room: Arc::clone(&room), bytes_max, overflow: overflow.clone() };
    (feed, Intake { chunks: receiver, room, overflow })
}

impl Feed {
    /// Puts bytes into the queue, waiting for room `stall` at most.
    pub(crate) async fn push(&self, bytes: &[u8], stall: Duration) -> Pushed {
        let needed = u32::try_from(bytes.len().min(self.bytes_max)).unwrap_or(u32::MAX);
        if let Some(pushed) = self.overflow.as_ref().and_then(|overflow| self.put(overflow, bytes, needed)) {
            return pushed;
        }
        let put = async {
            let room = Arc::clone(&self.room).acquire_many_owned(needed).await.ok()?;
            let chunk = Chunk { bytes: Bytes::copy_from_slice(bytes), _room: Some(room) };
            self.chunks.send(chunk).await.ok()
        };
        match timeout(stall, put).await {
            Ok(Some(())) => Pushed::Taken,
            Ok(None) => Pushed::Discarded,
            Err(_elapsed) => Pushed::Stalled,
        }
    }
}

impl Feed {
    /// Puts bytes into memory or, behind what waits there, into the file; `None` where neither has room.
    fn put(&self, overflow: &Overflow, bytes: &[u8], needed: u32) -> Option<Pushed> {
        let mut inside = overflow.lock();
        if self.chunks.is_closed() {
            return Some(Pushed::Discarded);
        }
        if inside.is_empty()
            && let Ok(place) = self.chunks.try_reserve()
            && let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(needed)
        {
            place.send(Chunk { bytes: Bytes::copy_from_slice(bytes), _room: Some(room) });
            return Some(Pushed::Taken);
        }
        match overflow.put(&mut inside, bytes) {
            Ok(true) => Some(Pushed::Taken),
            Ok(false) if inside.is_empty() => None,
            Ok(false) => Some(Pushed::Stalled),
            Err(error) => {
                tracing::error!(%error, "a client's input cannot be kept");
                Some(Pushed::Stalled)
            }
        }
    }
}

impl Intake {
    /// The next bytes; `None` after the client's end of file. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Chunk> {
        let Some(overflow) = &self.overflow else { return self.chunks.recv().await };
        loop {
            // Registered before the look, so that what comes between look and wait is not missed.
            let mut news = std::pin::pin!(overflow.news.notified());
            news.as_mut().enable();
            match Self::take(&mut self.chunks, overflow) {
                Ok(chunk) => return Some(chunk),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => {}
            }
            tokio::select! {
                biased;
                // When the client has sent all, what is left waits in the file.
                chunk = self.chunks.recv() => if chunk.is_some() { return chunk },
                () = news => {}
            }
        }
    }

    /// What has waited longest: in memory, then in the file.
    fn take(chunks: &mut mpsc::Receiver<Chunk>, overflow: &Overflow) -> Result<Chunk, TryRecvError> {
        let mut inside = overflow.lock();
        let is_over = match chunks.try_recv() {
            Ok(chunk) => return Ok(chunk),
            Err(why) => why,
        };
        match inside.take() {
            Ok(Some(bytes)) => Ok(Chunk { bytes, _room: None }),
            Ok(None) => Err(is_over),
            Err(error) => {
                tracing::error!(%error, "a client's input is lost");
                Err(TryRecvError::Disconnected)
            }
        }
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
    async fn what_has_no_room_waits_in_a_file_and_keeps_its_order() {
        let (feed, mut intake) = deep_queue(10_000, Box::new(tempfile::tempfile));
        let sent: Vec<u8> =
            (0..200_000_u32).map(|number| number.to_le_bytes()[0] ^ number.to_le_bytes()[1]).collect();
        let mut found = Vec::new();
        for (at, part) in sent.chunks(3_000).enumerate() {
            assert_eq!(feed.push(part, SOON).await, Pushed::Taken);
            if at % 20 > 15 {
                found.extend_from_slice(intake.next().await.unwrap().as_ref());
            }
        }
        let (mut rest, late) = (Vec::new(), sent[..50].to_vec());
        let receive = async {
            while let Some(chunk) = intake.next().await {
                rest.extend_from_slice(chunk.as_ref());
            }
        };
        let send = async {
            tokio::time::sleep(SOON).await;
            assert_eq!(feed.push(&late, SOON).await, Pushed::Taken);
            drop(feed);
        };
        tokio::join!(receive, send);
        found.extend(rest);
        assert!(found == [sent.as_slice(), &sent[..50]].concat());
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
