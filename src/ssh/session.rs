//! One session of a connection: from its opening, through what the client says about it, to the command
//! that it runs.

use std::{
    net::SocketAddr,
    panic::{AssertUnwindSafe, resume_unwind},
    sync::Arc,
};

use autostack_base::tasks::Shutdown;
use autostack_domain::{Line, permission::Actor};
use autostack_platform::TerminalSize;
use futures_util::FutureExt;
use russh::{ChannelWriteHalf, server::Msg};
use tokio::sync::watch;

use crate::{
    door::{Busy, Door},
    environment::Environment,
    output::Output,
    pump::{self, Feed, Pushed},
    service::{Call, Service},
    terminal::Terminal,
};

/// What Ctrl-C and Ctrl-D are on a terminal in raw mode.
pub(crate) const INTERRUPT: u8 = 0x03;
const END_OF_FILE: u8 = 0x04;

/// Exit code of bad usage.
const EXIT_USAGE: u8 = 2;

/// A session as its connection sees it. Dropping it tells its command that the client has gone.
pub(crate) struct Session<S> {
    door: Arc<Door<S>>,
    output: Output,
    environment: Environment,
    /// The size of the client's terminal, where it has one.
    terminal: Option<watch::Sender<TerminalSize>>,
    /// Whether the command gets the keys of that terminal as they are.
    takes_keys: bool,
    refusals: Vec<&'static str>,
    started: bool,
    feed: Option<Feed>,
    gone: Shutdown,
}

/// Who starts a command, and from where.
pub(crate) struct Caller {
    pub(crate) actor: Actor,
    pub(crate) peer: SocketAddr,
    pub(crate) busy: Busy,
}

impl<S: Service> Session<S> {
    /// `gone` is the session's own: a child of what cuts the connection.
    pub(crate) fn new(door: Arc<Door<S>>, channel: ChannelWriteHalf<Msg>, gone: Shutdown) -> Self {
        let output = Output::new(channel, gone.clone(), door.limits.output_stall);
        Self {
            door,
            output,
            environment: Environment::default(),
            terminal: None,
            takes_keys: false,
            refusals: Vec::new(),
            started: false,
            feed: None,
            gone,
        }
    }

    /// Keeps a variable, if it is one of those that are kept.
    pub(crate) fn set_variable(&mut self, name: &str, value: &str) -> bool {
        !self.started && self.environment.set(name, value)
    }

    /// The client's side is a terminal in raw mode.
    pub(crate) fn use_terminal(&mut self, term: &str, size: TerminalSize) -> bool {
        if self.started || self.terminal.is_some() {
            return false;
        }
        self.environment.set("TERM", term);
        self.output = self.output.clone().on_terminal();
        self.terminal = Some(watch::Sender::new(size));
        true
    }

    /// The client's terminal has another size now. `false` where there is none.
    pub(crate) fn resize(&self, size: TerminalSize) -> bool {
        self.terminal.as_ref().is_some_and(|known| {
            known.send_replace(size);
            true
        })
    }

    /// Remembers something that was asked for and is not offered, to say so where the client reads it.
    pub(crate) fn refuse(&mut self, sentence: &'static str) {
        if !self.refusals.contains(&sentence) {
            self.refusals.push(sentence);
        }
    }

    /// Runs a command, or greets where there is none. `false` where the session has had its command.
    pub(crate) fn start(&mut self, caller: Caller, command: Option<String>) -> bool {
        if std::mem::replace(&mut self.started, true) {
            return false;
        }
        let bytes_max = self.door.limits.input_bytes_max;
        let (feed, input) = match self.door.service.overflow(command.as_deref()) {
            Some(file) => pump::deep_queue(bytes_max, file),
            None => pump::queue(bytes_max),
        };
        self.feed = Some(feed);
        self.takes_keys = self.terminal.is_some() && self.door.service.takes_keys(command.as_deref());
        let terminal = self.terminal.as_ref().map(|size| Terminal::new(size.subscribe(), self.takes_keys));
        let call = Call {
            actor: caller.actor,
            peer: caller.peer,
            command,
            environment: self.environment.clone(),
            input,
            output: self.output.clone(),
            terminal,
            refusals: std::mem::take(&mut self.refusals),
            gone: self.gone.clone(),
            stopping: self.door.stopping.clone(),
        };
        let door = Arc::clone(&self.door);
        self.door.tasks.spawn("ssh-session", async move {
            let _busy = caller.busy;
            run(door, call).await;
        });
        true
    }

    /// Answers a command that cannot even be read: says why, and ends the session as bad usage. `false`
    /// where the session has had its command.
    pub(crate) fn decline(&mut self, sentence: &'static str) -> bool {
        if std::mem::replace(&mut self.started, true) {
            return false;
        }
        let output = self.output.clone();
        self.door.tasks.spawn("ssh-session", async move {
            // Where nobody is left to read it, nothing is lost.
            let _said = output.line(&Line::trouble(sentence)).await;
            output.finish(EXIT_USAGE).await;
        });
        true
    }

    /// Takes bytes from the client.
    pub(crate) async fn input(&mut self, bytes: &[u8]) {
        let is_typed = self.terminal.is_some() && !self.takes_keys;
        if is_typed && bytes.contains(&INTERRUPT) {
            self.interrupt();
        }
        let Some(feed) = &self.feed else { return };
        let limits = &self.door.limits;
        let pushed = tokio::select! {
            biased;
            pushed = feed.push(bytes, limits.input_stall) => pushed,
            () = self.gone.cancelled() => Pushed::Discarded,
        };
        match pushed {
            Pushed::Taken if is_typed && bytes.contains(&END_OF_FILE) => self.end_of_input(),
            Pushed::Taken => {}
            Pushed::Discarded => self.end_of_input(),
            Pushed::Stalled => {
                tracing::warn!(stall = ?limits.input_stall, "a command left its input unread; ending it");
                self.interrupt();
            }
        }
    }

    /// The client has sent everything.
    pub(crate) fn end_of_input(&mut self) {
        self.feed = None;
    }

    /// The client wants the command to end.
    pub(crate) fn interrupt(&mut self) {
        self.end_of_input();
        self.gone.cancel();
    }
}

impl<S> Drop for Session<S> {
    fn drop(&mut self) {
        self.gone.cancel();
    }
}

async fn run<S: Service>(door: Arc<Door<S>>, call: Call) {
    let output = call.output.clone();
    if call.stopping.is_cancelled() {
        let _said = output.line(&Line::trouble("The agent is stopping; try again in a moment.")).await;
        return output.finish(1).await;
    }
    let ended = AssertUnwindSafe(door.service.run(call)).catch_unwind().await;
    match ended {
        Ok(exit_code) => output.finish(exit_code).await,
        Err(panic) => {
            let sorry = Line::trouble("The platform failed at this command; its log says why.");
            let _said = output.line(&sorry).await;
            output.finish(1).await;
            // The session has ended well; the panic is counted and logged where every task's is.
            resume_unwind(panic);
        }
    }
}
