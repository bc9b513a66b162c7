//! [`Feed`]: a client of a live log, over a WebSocket.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::Value;
use tungstenite::{
    Message, WebSocket,
    client::{IntoClientRequest, client},
    http::{HeaderName, HeaderValue},
};

use super::wait;

/// A live log, as a client has it open.
pub(crate) struct Feed {
    socket: WebSocket<TcpStream>,
    /// The offset to go on from.
    pub(crate) next: u64,
}

/// What came of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Lines, each with its offset.
    Lines(Vec<(u64, String)>),
    /// It was closed with this code.
    Closed(u16),
}

impl Feed {
    /// Opens one; the status of the answer where it is refused.
    pub(crate) fn open(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
        }
        stream.set_read_timeout(Some(wait::SOON)).unwrap();
        match client(request, stream) {
            Ok((socket, _)) => {
                socket.get_ref().set_read_timeout(Some(Duration::from_millis(20))).unwrap();
                Ok(Self { socket, next: 0 })
            }
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
                Err(answer.status().as_u16())
            }
            Err(other) => panic!("{path}: {other}"),
        }
    }

    /// What comes next.
    #[track_caller]
    pub(crate) fn hear(&mut self) -> Heard {
        let end = Instant::now() + wait::SOON;
        loop {
            assert!(Instant::now() < end, "nothing comes of the feed");
            match self.socket.read() {
                Ok(Message::Text(text)) => return Heard::Lines(self.lines(&text)),
                Ok(Message::Close(frame)) => {
                    return Heard::Closed(frame.map_or(0, |frame| frame.code.into()));
                }
                Ok(_) => {}
                Err(tungstenite::Error::Io(error))
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(_) => return Heard::Closed(1006),
            }
        }
    }

    fn lines(&mut self, text: &str) -> Vec<(u64, String)> {
        let chunk: Value = serde_json::from_str(text).unwrap();
        self.next = chunk["next"].as_u64().unwrap();
        let lines = chunk["lines"].as_array().unwrap().iter();
        lines
            .map(|line| (line["offset"].as_u64().unwrap(), line["text"].as_str().unwrap().to_owned()))
            .collect()
    }

    /// All lines up to the one with this text.
    #[track_caller]
    pub(crate) fn until(&mut self, last: &str) -> Vec<(u64, String)> {
        let mut all = Vec::new();
        loop {
            match self.hear() {
                Heard::Lines(lines) => all.extend(lines),
                Heard::Closed(code) => panic!("closed with {code} before {last:?}: {all:#?}"),
            }
            if all.last().is_some_and(|(_, text)| text == last) {
                return all;
            }
        }
    }

    /// The code that it is closed with, whatever comes before.
    #[track_caller]
    pub(crate) fn closed(&mut self) -> u16 {
        loop {
            if let Heard::Closed(code) = self.hear() {
                return code;
            }
        }
    }
}
