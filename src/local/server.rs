//! The agent's side of the socket.

use std::{
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use autostack_base::{
    error_chain,
    tasks::{Shutdown, Tasks},
};
use autostack_platform::Platform;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::{UnixListener, UnixStream, unix::OwnedReadHalf},
    sync::Semaphore,
    time::{sleep, timeout},
};

use crate::{
    admin, hook,
    protocol::{MESSAGE_BYTES_MAX, Message, invalid},
};

/// Connections at once: two hooks each for as many pushes as a busy host sees.
const CONNECTIONS_MAX: usize = 512;
/// How long a client may take to say what it wants.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a failed accept, so that a lack of file descriptors does not turn into a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Makes the socket, open to the agent's own user only. A socket that an ended agent left behind is replaced; the
/// caller has made sure that no other agent runs on the same data.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves until the shutdown, then removes the socket.
pub async fn serve(listener: UnixListener, path: PathBuf, platform: Platform, tasks: Tasks, stop: Shutdown) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        match accepted {
            Ok((stream, permit)) => {
                let platform = platform.clone();
                tasks.spawn("local connection", async move {
                    if let Err(error) = serve_connection(stream, &platform).await {
                        tracing::debug!(error = error_chain(&error), "a local connection ended early");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a local connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Whoever comes now finds no socket instead of a silent one.
    let _already_gone = std::fs::remove_file(path);
}

async fn accept(
    listener: &UnixListener,
    room: &Arc<Semaphore>,
) -> io::Result<(UnixStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

async fn serve_connection(stream: UnixStream, platform: &Platform) -> io::Result<()> {
    let own = nix::unistd::geteuid().as_raw();
    let peer = stream.peer_cred()?.uid();
    if peer != own && peer != 0 {
        tracing::warn!(uid = peer, "a local connection of another user was refused");
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let (read, write) = stream.into_split();
    let mut read = BufReader::new(read);
    let message = timeout(MESSAGE_TIMEOUT, read_message(&mut read)).await??;
    match message {
        Message::Hook(request) => hook::answer(platform, request, read, write).await,
        Message::Admin(request) => admin::answer(platform, request, write).await,
    }
}

async fn read_message(read: &mut BufReader<OwnedReadHalf>) -> io::Result<Message> {
    let mut line = Vec::new();
    read.take(MESSAGE_BYTES_MAX as u64).read_until(b'\n', &mut line).await?;
    if line.last() != Some(&b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Message::decode(&line).map_err(invalid)
}
