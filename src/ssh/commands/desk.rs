//! The desk behind the door: whose a key is, and which command a call is for.

use std::time::Duration;

use autostack_base::{
    error_chain,
    tasks::{Shutdown, Tasks},
};
use autostack_domain::{
    AppName, Line,
    permission::{Action, Actor},
};
use autostack_git::{Service as GitService, parse_exec};
use autostack_platform::Platform;

use crate::{
    commands::{
        about,
        arguments::Arguments,
        command::{self, Command, Needs},
        git,
        invocation::Invocation,
        refusal::Refusal,
        run, words,
    },
    output::Output,
    overflow::MakeFile,
    prompt,
    service::{Call, Service, Unavailable},
};

/// From when on a command is looked at whether it may go on: most have ended by then.
const LEASE_FIRST: Duration = Duration::from_secs(1);

/// Serves calls with the platform.
pub(crate) struct Desk {
    platform: Platform,
    tasks: Tasks,
}

impl Desk {
    pub(crate) fn new(platform: Platform, tasks: Tasks) -> Self {
        Self { platform, tasks }
    }

    async fn serve(&self, call: Call) -> Result<u8, Refusal> {
        // Its arguments may be secrets: passwords, values of config.
        let command = call.command.as_deref().and_then(|line| line.split_whitespace().next());
        tracing::debug!(peer = %call.peer, by = call.actor.name, command, "ssh command");
        if let Some(asked) = call.command.as_deref().and_then(parse_exec) {
            let (service, app) = asked?;
            let action = match service {
                GitService::ReceivePack => Action::Push,
                GitService::UploadPack => Action::FetchCode,
            };
            let lease = Lease::new(&self.platform, &call);
            return lease.hold(&app, action, git::serve(&self.platform, service, &app, call)).await;
        }
        for refused in &call.refusals {
            call.output.line(&Line::trouble(*refused)).await?;
        }
        let words = words::split(call.command.as_deref().unwrap_or_default())?;
        let mut words = words.into_iter();
        let Some(name) = words.next() else {
            if let (None, Some(terminal)) = (&call.command, call.terminal.clone()) {
                return prompt::talk(self, &self.platform, call, terminal).await;
            }
            about::greet(&call.output, &call.actor, self.platform.version()).await?;
            return Ok(0);
        };
        self.run(name, words, call).await.map(|()| 0)
    }

    async fn run(
        &self,
        name: String,
        words: impl Iterator<Item = String>,
        call: Call,
    ) -> Result<(), Refusal> {
        let (name, words) = named(name, words);
        let command = command::find(&name).ok_or_else(|| about::unknown(&name))?;
        let arguments = Arguments::parse(command, words)?;
        if arguments.wants_help() {
            return Ok(call.output.text(&about::page(command)).await?);
        }
        let watched = kept_open(command, &arguments);
        let lease = Lease::new(&self.platform, &call);
        let invocation = Invocation {
            command,
            arguments,
            line: call.command.unwrap_or_default(),
            actor: call.actor,
            terminal: call.terminal,
            environment: call.environment,
            input: call.input,
            output: call.output,
            platform: self.platform.clone(),
            tasks: self.tasks.clone(),
            gone: call.gone,
            stopping: call.stopping,
            collected: None,
        };
        // Runs to its end although the client may go: what has begun is not left half done.
        match watched {
            Some((app, action)) => lease.hold(&app, action, (command.run)(invocation)).await,
            None => (command.run)(invocation).await,
        }
    }
}

/// The app and the action of a command that may stay open as long as its user likes.
fn kept_open(command: &Command, arguments: &Arguments) -> Option<(AppName, Action)> {
    match command.needs {
        Needs::App(action @ (Action::ReadLogs | Action::RunCommand)) => Some((arguments.peek_app()?, action)),
        _ => None,
    }
}

/// What a command that stays open holds on to: the right to do it. When that is taken away the command is told that its
/// client has gone.
struct Lease {
    platform: Platform,
    actor: Actor,
    output: Output,
    gone: Shutdown,
}

impl Lease {
    fn new(platform: &Platform, call: &Call) -> Self {
        let (actor, output, gone) = (call.actor.clone(), call.output.clone(), call.gone.clone());
        Self { platform: platform.clone(), actor, output, gone }
    }

    /// Runs to its end what needs the right.
    async fn hold<T>(&self, app: &AppName, action: Action, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let lost = async {
            // The platform has asked already whether it may begin.
            tokio::time::sleep(LEASE_FIRST).await;
            self.platform.until_forbidden(&self.actor, app, action).await;
        };
        tokio::select! {
            biased;
            ended = &mut work => return ended,
            () = lost => {}
        }
        let told = Line::trouble(format!("There is no app {app} for you any more."));
        // Who has gone reads nothing.
        let _gone = self.output.aside(&told).await;
        self.gone.cancel();
        work.await
    }
}

/// Options of every command may stand before the command's name too; `TOPIC:help` is a page of help.
fn named(first: String, words: impl Iterator<Item = String>) -> (String, Vec<String>) {
    let mut before = Vec::new();
    let mut words = std::iter::once(first).chain(words);
    let name = loop {
        let Some(word) = words.next() else { break "help".to_owned() };
        match word.as_str() {
            "--app" => before.extend([word].into_iter().chain(words.next())),
            "--quiet" | "--force" | "--global" => before.push(word),
            "--help" | "-h" => break "help".to_owned(),
            "--version" | "-v" => break "version".to_owned(),
            _ if word.starts_with("--app=") => before.push(word),
            _ if word.ends_with(":help") => {
                before.push(word);
                break "help".to_owned();
            }
            _ => break word,
        }
    };
    before.extend(words);
    (name, before)
}

/// Whether a line is a command that talks to a program in the client's terminal.
fn wants_keys(line: &str) -> bool {
    talking(line).is_some_and(|arguments| !arguments.has(run::NO_TTY.long))
}

/// What is given to a command that talks to a program; `None` for a line that is none.
fn talking(line: &str) -> Option<Arguments> {
    let mut words = words::split(line).ok()?.into_iter();
    let (name, words) = named(words.next()?, words);
    let command = command::find(&name).filter(|command| run::talks(command))?;
    Arguments::parse(command, words).ok().filter(|arguments| !arguments.wants_help())
}

impl Service for Desk {
    async fn authenticate(&self, fingerprint: &str) -> Result<Option<Actor>, Unavailable> {
        self.platform.authenticate_key(fingerprint).await.map_err(|error| {
            tracing::error!(error = error_chain(&error), "an ssh key cannot be looked up");
            Unavailable
        })
    }

    fn takes_keys(&self, command: Option<&str>) -> bool {
        // Without a command there is the prompt, which edits lines itself.
        command.is_none_or(wants_keys)
    }

    fn overflow(&self, command: Option<&str>) -> Option<MakeFile> {
        let talks = command.and_then(talking).is_some();
        let platform = self.platform.clone();
        talks.then(|| Box::new(move || platform.nameless_file()) as MakeFile)
    }

    async fn locked_out(&self, fingerprint: &str, actor: &Actor) {
        self.platform.until_locked_out(fingerprint, actor).await;
    }

    async fn run(&self, call: Call) -> u8 {
        let output: Output = call.output.clone();
        match self.serve(call).await {
            Ok(exit_code) => exit_code,
            Err(refusal) => {
                for line in refusal.lines() {
                    // Who has gone reads nothing.
                    if output.line(&line).await.is_err() {
                        break;
                    }
                }
                refusal.exit_code()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_in_the_terminal_gets_its_keys() {
        for line in ["run shop bash", "--app shop run bash", "run -e A=1 shop ls --no-tty", "enter shop"] {
            assert!(wants_keys(line), "{line}");
        }
        for line in
            ["run --no-tty shop bash", "run:detached shop x", "logs shop -t", "run --help", "run '", ""]
        {
            assert!(!wants_keys(line), "{line}");
        }
    }

    #[test]
    fn the_name_of_a_command_is_found_behind_the_app() {
        let cases = [
            ("--app shop logs -t", "logs", "--app shop -t"),
            ("--app=shop url", "url", "--app=shop"),
            ("apps:help", "help", "apps:help"),
            ("--help", "help", ""),
            ("--quiet --app shop url", "url", "--quiet --app shop"),
            ("--force apps:destroy shop", "apps:destroy", "--force shop"),
            ("url shop", "url", "shop"),
        ];
        for (line, name, rest) in cases {
            let mut words = line.split(' ').map(str::to_owned);
            let first = words.next().unwrap();
            let (found, after) = named(first, words);
            assert_eq!((found.as_str(), after.join(" ").as_str()), (name, rest), "{line}");
        }
    }
}
