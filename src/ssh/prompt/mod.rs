//! For who comes with a terminal and without a command: a line to edit, a history, completion, and every command as
//! over a connection of its own. No shell: a line is cut into words and evaluated in no way.
//!
//! In reading order: `keys` are bytes as keys, `editor` is the line, `complete` finds what a word may become; here is
//! the loop around them.
//!
//! A command that wants keys (`run`, `enter`) gets them as they are. For all others Ctrl-C ends the command, its input
//! is empty, and what is typed meanwhile is for the line after it.

mod complete;
mod editor;
mod keys;

use std::{collections::VecDeque, time::Duration};

use autostack_base::tasks::Shutdown;
use autostack_domain::Line;
use autostack_platform::Platform;
use futures_util::FutureExt;

use self::{
    editor::{Editor, Happened},
    keys::Keys,
};
use crate::{
    commands::refusal::Refusal,
    output::Gone,
    pump::{self, Feed, Intake, Pushed},
    service::{Call, Service},
    session::INTERRUPT,
    terminal::Terminal,
};

const PROMPT: &str = "autostack> ";
/// Words that end the prompt.
const ENDS: [&str; 3] = ["exit", "quit", "logout"];
/// The word that shows the lines before.
const HISTORY: &str = "history";

/// Bytes that are typed ahead of a command's end; more are dropped.
const AHEAD_BYTES_MAX: usize = 16 * 1024;
/// Bytes on their way to a command that wants keys.
const KEYS_BYTES_MAX: usize = 256 * 1024;
/// How long such a command may leave them untouched before it is ended.
const KEYS_STALL: Duration = Duration::from_secs(120);

/// Serves lines until there are no more.
pub(crate) async fn talk<S: Service>(
    service: &S,
    platform: &Platform,
    call: Call,
    terminal: Terminal,
) -> Result<u8, Refusal> {
    let greeting = [
        Line::result(format!("autostack {}", platform.version())),
        Line::detail(format!("You are {}. No shell runs here.", call.actor.name)),
        Line::detail("help shows all commands, Tab completes, exit or Ctrl-D ends."),
    ];
    let greeting: String = greeting.iter().map(|line| format!("{line}\n")).collect();
    call.output.text(&greeting).await?;
    let mut editor = Editor::new(PROMPT);
    editor.resize(terminal.size().columns);
    let mut prompt =
        Prompt { service, platform, call, terminal, editor, keys: Keys::default(), ahead: VecDeque::new() };
    prompt.show_line().await?;
    loop {
        match prompt.next().await? {
            Some(Happened::Entered(line)) => {
                if prompt.run(&line).await?.is_none() {
                    return Ok(0);
                }
                prompt.show_line().await?;
            }
            Some(Happened::Completion(text)) => prompt.complete(&text).await?,
            Some(Happened::Ended) | None => return Ok(0),
        }
    }
}

struct Prompt<'a, S> {
    service: &'a S,
    platform: &'a Platform,
    call: Call,
    terminal: Terminal,
    editor: Editor,
    keys: Keys,
    /// Bytes that were typed and not looked at yet.
    ahead: VecDeque<u8>,
}

impl<S: Service> Prompt<'_, S> {
    /// What the next keys bring about; `None` when the client sends no more.
    async fn next(&mut self) -> Result<Option<Happened>, Refusal> {
        loop {
            let mut screen = String::new();
            let mut happened = None;
            while happened.is_none()
                && let Some(byte) = self.ahead.pop_front()
            {
                happened = self.keys.take(byte).and_then(|key| self.editor.key(key, &mut screen));
            }
            if !screen.is_empty() {
                self.call.output.stdout(screen.into()).await?;
            }
            if happened.is_some() {
                return Ok(happened);
            }
            tokio::select! {
                biased;
                () = self.call.gone.cancelled() => return Err(Refusal::Gone),
                () = self.call.stopping.cancelled() => {
                    return Err(Refusal::failed("The agent is stopping; come back in a moment."));
                }
                size = self.terminal.resized() => {
                    self.editor.resize(size.columns);
                    self.show_line().await?;
                }
                chunk = self.call.input.next() => match chunk {
                    Some(chunk) => self.ahead.extend(chunk.as_ref()),
                    None => return Ok(None),
                },
            }
        }
    }

    async fn show_line(&self) -> Result<(), Gone> {
        self.call.output.stdout(self.editor.draw().into()).await
    }

    async fn complete(&mut self, text: &str) -> Result<(), Refusal> {
        let (length, candidates) = complete::candidates(self.platform, &self.call.actor, text).await;
        let mut screen = String::new();
        self.editor.complete(length, &candidates, &mut screen);
        Ok(self.call.output.stdout(screen.into()).await?)
    }

    /// Does what a line says; `None` where that is the end.
    async fn run(&mut self, line: &str) -> Result<Option<()>, Refusal> {
        match line.trim() {
            "" => {}
            word if ENDS.contains(&word) => return Ok(None),
            HISTORY => {
                let numbered = (1..).zip(self.editor.history());
                let text: String = numbered.map(|(at, line)| format!("{at:>5}  {line}\n")).collect();
                self.call.output.text(&text).await?;
            }
            line => self.command(line).await?,
        }
        Ok(Some(()))
    }

    async fn command(&mut self, line: &str) -> Result<(), Refusal> {
        let takes_keys = self.service.takes_keys(Some(line));
        let (feed, input) = pump::queue(KEYS_BYTES_MAX);
        let feed = takes_keys.then_some(feed);
        if let Some(feed) = &feed {
            // Typed behind the line: it is for the program.
            let ahead: Vec<u8> = self.ahead.drain(..).collect();
            let _room_enough = feed.push(&ahead, KEYS_STALL).await;
        }
        let gone = self.call.gone.child_token();
        let call = Call {
            actor: self.call.actor.clone(),
            peer: self.call.peer,
            command: Some(line.to_owned()),
            environment: self.call.environment.clone(),
            input,
            output: self.call.output.until(gone.clone()),
            terminal: Some(self.terminal.for_command(takes_keys)),
            refusals: Vec::new(),
            gone: gone.clone(),
            stopping: self.call.stopping.clone(),
        };
        // Boxed: the line of a prompt is a command like any other, whose type would hold itself.
        let running = self.service.run(call).boxed();
        let typing = typed(&mut self.call.input, feed, &mut self.ahead, &gone);
        let is_over = tokio::select! {
            _code = running => false,
            () = typing => true,
        };
        if is_over || self.call.gone.is_cancelled() { Err(Refusal::Gone) } else { Ok(()) }
    }
}

/// Takes what is typed while a command runs; returns when the client sends no more, which ends the command.
async fn typed(input: &mut Intake, feed: Option<Feed>, ahead: &mut VecDeque<u8>, gone: &Shutdown) {
    while let Some(chunk) = input.next().await {
        let bytes = chunk.as_ref();
        match &feed {
            Some(feed) => {
                if feed.push(bytes, KEYS_STALL).await == Pushed::Stalled {
                    gone.cancel();
                }
            }
            None => {
                // What stands before Ctrl-C is given up with the command.
                let interrupted = bytes.iter().rposition(|byte| *byte == INTERRUPT);
                if interrupted.is_some() {
                    ahead.clear();
                    gone.cancel();
                }
                let room = AHEAD_BYTES_MAX.saturating_sub(ahead.len());
                ahead.extend(bytes.iter().skip(interrupted.map_or(0, |at| at + 1)).take(room));
            }
        }
    }
    gone.cancel();
}
