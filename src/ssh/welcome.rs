//! The first words of a connection, before anything is spent on it: ours are said, the client's are heard,
//! and only then does it get a place in the lobby. A client that speaks goes before one that is silent.

use std::{io, time::Duration};

use autostack_base::tasks::Shutdown;
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use crate::{
    algorithms::IDENTIFICATION,
    lobby::{Arrival, Place, TALKING_BYTES_MIN},
};

/// How every client begins (RFC 4253, 4.2).
const HELLO: &[u8] = b"SSH-";

/// What was exchanged already; whoever goes on with the connection must not repeat it.
#[derive(Debug, Default)]
pub(crate) struct Exchanged {
    /// Bytes that were sent: our identification and its line end.
    pub(crate) sent_bytes: usize,
    /// What was heard and is still to be read.
    pub(crate) heard: Bytes,
}

/// Exchanges the first words and waits for a place; `None` where there is none for this connection.
pub(crate) async fn welcome<S>(
    stream: &mut S,
    arrival: Arrival,
    first_words: Duration,
) -> Option<(Place, Exchanged)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let line = [IDENTIFICATION.as_bytes(), b"\r\n"].concat();
    stream.write_all(&line).await.ok()?;
    let mut heard = BytesMut::new();
    let leave: Shutdown = arrival.leave.clone();
    let listened = tokio::select! {
        biased;
        () = leave.cancelled() => return None,
        listened = timeout(first_words, listen(stream, &mut heard)) => listened,
    };
    let place = match listened {
        Ok(Ok(())) => arrival.wait_for_place().await?,
        Ok(Err(_)) => return None,
        Err(_silent) => arrival.take_free_place()?,
    };
    Some((place, Exchanged { sent_bytes: line.len(), heard: heard.freeze() }))
}

/// Hears enough to know that a key exchange has begun.
async fn listen(stream: &mut (impl AsyncRead + Unpin), heard: &mut BytesMut) -> io::Result<()> {
    while heard.len() < TALKING_BYTES_MIN {
        if stream.read_buf(heard).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let begun = heard.len().min(HELLO.len());
        if heard[..begun] != HELLO[..begun] {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, sync::Arc};

    use tokio::io::duplex;

    use super::*;
    use crate::{limits::Limits, lobby::Lobby};

    const SOON: Duration = Duration::from_millis(50);
    const LATE: Duration = Duration::from_secs(20);

    fn arrival() -> (Arc<Lobby>, Arrival) {
        let lobby = Lobby::new(Limits::default());
        let arrival = lobby.arrive(IpAddr::from([127, 0, 0, 1]));
        (lobby, arrival)
    }

    #[tokio::test]
    async fn what_was_heard_and_said_is_handed_on() {
        let (mut here, mut there) = duplex(4096);
        let (_lobby, arrival) = arrival();
        there.write_all(b"SSH-2.0-client\r\n").await.unwrap();
        there.write_all(&[7; TALKING_BYTES_MIN]).await.unwrap();
        let (_place, exchanged) = welcome(&mut here, arrival, LATE).await.unwrap();
        assert!(exchanged.heard.starts_with(b"SSH-2.0-client\r\n\x07"));
        let mut said = vec![0; exchanged.sent_bytes];
        there.read_exact(&mut said).await.unwrap();
        assert_eq!(said, format!("{IDENTIFICATION}\r\n").into_bytes());
    }

    #[tokio::test]
    async fn a_slow_client_gets_a_free_place_and_loses_no_byte() {
        let (mut here, mut there) = duplex(4096);
        let (_lobby, arrival) = arrival();
        there.write_all(b"SS").await.unwrap();
        let (_place, exchanged) = welcome(&mut here, arrival, SOON).await.unwrap();
        assert_eq!(&exchanged.heard[..], b"SS");
    }

    #[tokio::test]
    async fn who_speaks_otherwise_or_goes_gets_none() {
        for words in [&b"GET / HTTP/1.1\r\n"[..], b"X", b""] {
            let (mut here, mut there) = duplex(4096);
            let (_lobby, arrival) = arrival();
            there.write_all(words).await.unwrap();
            there.shutdown().await.unwrap();
            assert!(welcome(&mut here, arrival, LATE).await.is_none(), "{words:?}");
        }
    }
}
