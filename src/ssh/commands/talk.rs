//! A client and a command that talk: input, output, the size of the terminal, and every way in which it ends.

use std::{convert::Infallible, future::pending};

use autostack_domain::{AppName, Exit, permission::Action};
use autostack_logs::OutputStream;
use autostack_platform::ExecSession;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    commands::{invocation::Invocation, refusal::Refusal},
    output::Output,
    pump::{Intake, To},
    terminal::Terminal,
};

/// What ends the input of a terminal: Ctrl-D.
const END_OF_FILE: &[u8] = b"\x04";

/// Lets them talk until the command has ended; how it has. `None` where `stop` came first. In every other case, as when
/// the client goes, the agent stops or the actor may no longer run commands, the command ends with this call.
pub(super) async fn talk(
    invocation: &mut Invocation,
    mut session: ExecSession,
    app: &AppName,
    in_terminal: bool,
    stop: &CancellationToken,
) -> Result<Option<Exit>, Refusal> {
    let stdin = session.take_stdin();
    let Invocation { input, output, terminal, platform, actor, gone, stopping, .. } = invocation;
    let terminal = terminal.clone().filter(|_| in_terminal);
    let forbidden = platform.until_forbidden(actor, app, Action::RunCommand);
    let ended = tokio::select! {
        biased;
        () = gone.cancelled() => Err(Refusal::Gone),
        () = stop.cancelled() => Ok(None),
        () = stopping.cancelled() => {
            Err(Refusal::failed("The agent is stopping, and with it the command; run it again in a moment."))
        }
        () = forbidden => Err(Refusal::failed(format!("You may no longer run commands for {app}."))),
        shown = show(&mut session, output, terminal) => shown.map(|()| Some(())),
        never = feed(input, stdin, in_terminal) => match never {},
    };
    match ended {
        Ok(Some(())) => session.wait().await.map(Some).map_err(|error| {
            let why = autostack_base::error_chain(&error);
            Refusal::failed(format!("How the command ended is not known: {why}."))
        }),
        Ok(None) => {
            session.end().await;
            Ok(None)
        }
        Err(refusal) => {
            session.end().await;
            Err(refusal)
        }
    }
}

/// Hands on what the client sends. When the client has sent all, or the command reads no more, it goes on for ever.
async fn feed(input: &mut Intake, stdin: Option<mpsc::Sender<Bytes>>, in_terminal: bool) -> Infallible {
    if let Some(stdin) = stdin {
        let is_read = pass(input, &stdin).await;
        if is_read && in_terminal {
            // A terminal's input ends by a key; a client without one can send none after its end of file.
            let _nobody_reads = stdin.send(Bytes::from_static(END_OF_FILE)).await;
        }
    }
    // What comes now is for nobody; left in the queue it would stop the whole connection.
    while input.next().await.is_some() {}
    pending().await
}

/// Until the client has sent all; `false` where the command reads no more before that.
async fn pass(input: &mut Intake, stdin: &mpsc::Sender<Bytes>) -> bool {
    while let Some(chunk) = input.next().await {
        for piece in chunk.as_ref().chunks(ExecSession::PIECE_BYTES_MAX) {
            if stdin.send(Bytes::copy_from_slice(piece)).await.is_err() {
                return false;
            }
        }
    }
    true
}

/// Shows what the command says, to its last word.
async fn show(
    session: &mut ExecSession,
    output: &Output,
    mut terminal: Option<Terminal>,
) -> Result<(), Refusal> {
    loop {
        let resized = async {
            match &mut terminal {
                Some(terminal) => terminal.resized().await,
                None => pending().await,
            }
        };
        tokio::select! {
            piece = session.output() => match piece {
                Some((stream, bytes)) => {
                    let to = match stream {
                        OutputStream::Stdout => To::Stdout,
                        OutputStream::Stderr => To::Stderr,
                    };
                    match terminal {
                        Some(_) => output.stdout(bytes).await?,
                        None => output.piped(to, bytes).await?,
                    }
                }
                None => return Ok(()),
            },
            size = resized => session.resize(size),
        }
    }
}
