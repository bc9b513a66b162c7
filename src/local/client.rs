//! The other side of the socket, without an async runtime: a hook runs for every push and has to start fast.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use autostack_domain::Line;
use autostack_git::{
    HookName, HookReply, HookRequest,
    hooks::{ENV_SOCKET, HookError, REPLY_BYTES_MAX},
};

use crate::protocol::{AdminReply, AdminRequest, MESSAGE_BYTES_MAX, Message};

/// Why the agent could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no agent answers at {}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The conversation broke off.
    #[error("the agent did not answer to the end")]
    Broken(#[source] io::Error),
    /// One side said what the other does not understand.
    #[error("agent and client do not understand one another")]
    Words(#[from] HookError),
    /// An answer that is no JSON.
    #[error("the agent's answer is not understood")]
    Json(#[from] serde_json::Error),
}

/// Asks the agent about a push: `stdin` and `variable` are what git gives the hook. Every line for the pusher goes to
/// `show`; returns whether git may go on.
pub fn run_hook(
    hook: HookName,
    stdin: impl Read,
    variable: impl Fn(&str) -> Option<String>,
    mut show: impl FnMut(&Line) -> io::Result<()>,
) -> Result<bool, ClientError> {
    let request = HookRequest::from_hook(hook, stdin, &variable)?;
    let socket = variable(ENV_SOCKET).ok_or(HookError::MissingVariable { name: ENV_SOCKET })?;
    let stream = send(Path::new(&socket), &Message::Hook(request))?;
    let mut reader = BufReader::new(stream);
    loop {
        match HookReply::decode(&read_line(&mut reader, REPLY_BYTES_MAX)?)? {
            HookReply::Line(line) => show(&line).map_err(ClientError::Broken)?,
            HookReply::Done { accept } => return Ok(accept),
        }
    }
}

/// Asks the agent for something in the operator's name.
pub fn ask(socket: &Path, request: AdminRequest) -> Result<AdminReply, ClientError> {
    let stream = send(socket, &Message::Admin(request))?;
    let line = read_line(&mut BufReader::new(stream), MESSAGE_BYTES_MAX)?;
    Ok(serde_json::from_slice(&line)?)
}

fn send(socket: &Path, message: &Message) -> Result<UnixStream, ClientError> {
    let connect = |source| ClientError::Connect { path: socket.to_owned(), source };
    let mut stream = UnixStream::connect(socket).map_err(connect)?;
    stream.write_all(&message.encode()?).map_err(ClientError::Broken)?;
    Ok(stream)
}

fn read_line(reader: &mut impl BufRead, bytes_max: usize) -> Result<Vec<u8>, ClientError> {
    let mut line = Vec::new();
    reader.take(bytes_max as u64).read_until(b'\n', &mut line).map_err(ClientError::Broken)?;
    if line.last() == Some(&b'\n') {
        Ok(line)
    } else {
        Err(ClientError::Broken(io::ErrorKind::UnexpectedEof.into()))
    }
}
