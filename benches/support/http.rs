//! A client that shows every fault: it tries nothing twice and follows nothing.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// How long one step of a request may take.
const STEP_MAX: Duration = Duration::from_secs(20);

/// What came back.
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The body, whole.
    pub(crate) body: Vec<u8>,
    /// Whether the server will answer more on this connection.
    pub(crate) stays_open: bool,
}

/// One connection.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects.
    pub(crate) fn open(server: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&server, STEP_MAX)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(STEP_MAX))?;
        stream.set_write_timeout(Some(STEP_MAX))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Asks once.
    pub(crate) fn get(&mut self, host: &str, path: &str, keep: bool) -> io::Result<Answer> {
        let wish = if keep { "keep-alive" } else { "close" };
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: {wish}\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| broken(format!("status line {status_line:?}")))?;
        let (mut length, mut is_chunked, mut stays_open) = (None, false, keep);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(':').map(|(name, value)| (name, value.trim())) {
                None if line.is_empty() => break,
                None => return Err(broken(format!("header {line:?}"))),
                Some(("content-length", value)) => length = value.parse::<usize>().ok(),
                Some(("transfer-encoding", value)) => is_chunked = value == "chunked",
                Some(("connection", "close")) => stays_open = false,
                Some(_) => {}
            }
        }
        let body = match length {
            _ if is_chunked => self.chunks()?,
            Some(length) => self.bytes(length)?,
            None => {
                stays_open = false;
                let mut body = Vec::new();
                self.stream.read_to_end(&mut body)?;
                body
            }
        };
        Ok(Answer { status, body, stays_open })
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let length =
                usize::from_str_radix(&line, 16).map_err(|_| broken(format!("chunk size {line:?}")))?;
            if length == 0 {
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.bytes(length)?);
            self.line()?;
        }
    }

    fn bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

/// Asks once, on a connection of its own.
pub(crate) fn get(server: SocketAddr, host: &str, path: &str) -> io::Result<Answer> {
    Connection::open(server)?.get(host, path, false)
}

fn broken(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
