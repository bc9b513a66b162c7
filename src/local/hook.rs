//! A hook's message: the lines for the pusher's screen as they come, then the verdict.

use std::io;

use autostack_domain::Line;
use autostack_git::{HookName, HookReply, HookRequest};
use autostack_platform::{Platform, Screen};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
};

use crate::protocol::invalid;

/// The pusher's screen, by way of the hook, which copies each line to it.
struct HookScreen(OwnedWriteHalf);

impl Screen for HookScreen {
    async fn show(&mut self, line: Line) -> io::Result<()> {
        self.send(&HookReply::Line(line)).await
    }
}

impl HookScreen {
    async fn send(&mut self, reply: &HookReply) -> io::Result<()> {
        self.0.write_all(&reply.encode().map_err(invalid)?).await
    }
}

/// Answers. When the hook goes away before `pre-receive` is decided, the pusher is gone: the push is aborted, and
/// this still waits until it is undone.
pub(crate) async fn answer(
    platform: &Platform,
    request: HookRequest,
    mut read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
) -> io::Result<()> {
    let mut screen = HookScreen(write);
    let accept = match request.hook {
        HookName::PreReceive => {
            let token = request.token.clone();
            let decide = platform.pre_receive(request, &mut screen);
            tokio::pin!(decide);
            let mut is_there = true;
            let mut nothing = [0; 1];
            loop {
                tokio::select! {
                    biased;
                    accept = &mut decide => break accept,
                    // A hook says nothing more, so whatever comes is its end.
                    _ = read.read(&mut nothing), if is_there => {
                        is_there = false;
                        platform.abort_push(&token);
                    }
                }
            }
        }
        HookName::PostReceive => platform.post_receive(request, &mut screen).await,
    };
    screen.send(&HookReply::Done { accept }).await
}
