//! `git push`, `git fetch`, `git clone`: git speaks to git, and this door moves the bytes.

use std::{convert::Infallible, future::pending, os::unix::process::ExitStatusExt, process::ExitStatus};

use autostack_base::tasks::Shutdown;
use autostack_domain::{AppName, Line};
use autostack_git::{GitChild, GitProtocol, Service};
use autostack_platform::Platform;

use crate::{
    commands::refusal::Refusal,
    output::{Gone, Output},
    pump::{self, Intake, To},
    service::Call,
};

/// What shells report of a child that a signal ended: this and the signal's number.
const EXIT_SIGNAL_BASE: i32 = 128;

/// Serves git to its end; gives its exit code.
pub(crate) async fn serve(
    platform: &Platform,
    service: Service,
    app: &AppName,
    call: Call,
) -> Result<u8, Refusal> {
    let protocol = call.environment.get("GIT_PROTOCOL").and_then(|given| given.parse().ok());
    match service {
        Service::ReceivePack => push(platform, app, protocol, call).await,
        Service::UploadPack => fetch(platform, app, protocol, call).await,
    }
}

async fn push(
    platform: &Platform,
    app: &AppName,
    protocol: Option<GitProtocol>,
    call: Call,
) -> Result<u8, Refusal> {
    let mut push = platform.begin_push(&call.actor, app, protocol).await?;
    let told = match push.note.take() {
        // On stdout git speaks.
        Some(note) => call.output.aside(&Line::step(note)).await,
        None => Ok(()),
    };
    let relayed = match told {
        Ok(()) => relay(&mut push.child, call.input, &call.output, &call.gone).await,
        Err(gone) => Err(gone),
    };
    match relayed {
        Ok(status) => {
            push.finish().await;
            Ok(exit_code(status))
        }
        Err(Gone) => {
            push.abort().await;
            Err(Refusal::Gone)
        }
    }
}

async fn fetch(
    platform: &Platform,
    app: &AppName,
    protocol: Option<GitProtocol>,
    call: Call,
) -> Result<u8, Refusal> {
    let mut fetch = platform.begin_fetch(&call.actor, app, protocol).await?;
    match relay(&mut fetch.child, call.input, &call.output, &call.gone).await {
        Ok(status) => Ok(exit_code(status)),
        Err(Gone) => {
            fetch.child.kill_tree().await;
            Err(Refusal::Gone)
        }
    }
}

/// Moves bytes until git has said everything, then waits for its end. Git may end while its client still
/// sends; what comes then is discarded.
async fn relay(
    child: &mut GitChild,
    input: Intake,
    output: &Output,
    gone: &Shutdown,
) -> Result<ExitStatus, Gone> {
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(Gone);
    };
    let sending = async {
        let stdout = pump::drain(stdout, output, To::Stdout);
        let stderr = pump::drain(stderr, output, To::Stderr);
        let (stdout, stderr) = tokio::join!(stdout, stderr);
        stdout.and(stderr)
    };
    let receiving = async {
        pump::fill(stdin, input).await;
        pending::<Infallible>().await
    };
    tokio::select! {
        biased;
        () = gone.cancelled() => return Err(Gone),
        sent = sending => sent?,
        never = receiving => match never {},
    }
    tokio::select! {
        biased;
        () = gone.cancelled() => Err(Gone),
        status = child.wait() => status.map_err(|error| {
            tracing::error!(%error, "cannot wait for git");
            Gone
        }),
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| EXIT_SIGNAL_BASE + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_is_what_a_shell_would_report() {
        assert_eq!(exit_code(ExitStatus::from_raw(0)), 0);
        assert_eq!(exit_code(ExitStatus::from_raw(1 << 8)), 1);
        assert_eq!(exit_code(ExitStatus::from_raw(9)), 137);
    }
}
