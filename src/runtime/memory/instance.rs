//! The life of one scripted instance.

use std::{future::pending, net::SocketAddr, time::Duration};

use autostack_base::now;
use autostack_domain::{Exit, InstanceSpec, UnixMillis};
use autostack_logs::{Entry, LogError, Origin, Stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time,
};

use super::program::{OnTerm, Program};

/// What the backend keeps of an instance.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) spec: InstanceSpec,
    pub(super) endpoint: SocketAddr,
    pub(super) listening: Vec<SocketAddr>,
    pub(super) started_at: UnixMillis,
    /// What it uses: memory in bytes, CPUs.
    pub(super) uses: (u64, u32),
    /// How it ended; `None` while it runs.
    pub(super) exit: watch::Receiver<Option<Exit>>,
    /// The shortest grace that a stop has asked for.
    pub(super) stop: watch::Sender<Option<Duration>>,
}

/// Writes what a program prints into the log of its app.
pub(super) fn print(program: &Program, spec: &InstanceSpec, log: &Stream) -> Result<(), LogError> {
    let mut source_end = 0;
    let entry = |(stream, text): &(_, Vec<u8>)| {
        source_end += text.len() as u64 + 1;
        Entry {
            at: now(),
            origin: Origin::Instance {
                instance: spec.id.clone(),
                release: spec.release,
                dyno: spec.dyno(),
                stream: *stream,
                source_end,
            },
            text: text.clone(),
        }
    };
    let entries: Vec<Entry> = program.prints.iter().map(entry).collect();
    log.append(&entries).map(drop)
}

/// Runs a program until it ends by itself, is asked to, or is killed.
pub(super) async fn live(
    program: &Program,
    body: &str,
    listener: Option<TcpListener>,
    mut stop: watch::Receiver<Option<Duration>>,
) -> Exit {
    tokio::select! {
        exit = ends(program.ends) => exit,
        exit = stopped(program.on_term, &mut stop) => exit,
        () = serve(listener, program.status, body) => Exit::Unknown,
    }
}

/// Resolves when a program ends by itself.
pub(super) async fn ends(after: Option<(Duration, Exit)>) -> Exit {
    match after {
        Some((after, exit)) => {
            time::sleep(after).await;
            exit
        }
        None => pending().await,
    }
}

async fn stopped(on_term: OnTerm, stop: &mut watch::Receiver<Option<Duration>>) -> Exit {
    let grace = match stop.wait_for(Option::is_some).await {
        Ok(grace) => grace.unwrap_or_default(),
        Err(_closed) => Duration::ZERO,
    };
    if let OnTerm::Ends(exit) = on_term {
        return exit;
    }
    let deadline = time::Instant::now() + grace;
    let shorter = stop.wait_for(|now| now.is_some_and(|now| now < grace));
    let _ = time::timeout_at(deadline, shorter).await;
    Exit::Signal(9)
}

async fn serve(listener: Option<TcpListener>, status: u16, body: &str) {
    let Some(listener) = listener else { return pending().await };
    loop {
        if let Ok((mut connection, _)) = listener.accept().await {
            // One at a time and a bound each: enough for a check, and nothing to clean up.
            let _ = time::timeout(Duration::from_secs(1), answer(&mut connection, status, body)).await;
        }
    }
}

async fn answer(connection: &mut TcpStream, status: u16, body: &str) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match connection.read(&mut part).await? {
            0 => return Ok(()),
            taken => head.extend_from_slice(&part[..taken]),
        }
    }
    let length = body.len();
    let answer =
        format!("HTTP/1.1 {status} Scripted\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    connection.write_all(answer.as_bytes()).await?;
    connection.shutdown().await
}
