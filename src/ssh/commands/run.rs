//! Commands with an app's code and config: one-offs beside its formation, and a look into a running instance.

use autostack_domain::{
    AppName, EnvMap, Exit, OneOff, OneOffNumber, ProcessType, UnixMillis, permission::Action,
};
use autostack_platform::{Place, RunRequest, TerminalSize};

use crate::commands::{
    command::{Command, FORMAT, Flag, Needs, Words},
    invocation::Invocation,
    logs,
    refusal::Refusal,
    report::Table,
    talk,
};

pub(crate) const COMMANDS: &[&Command] = &[&RUN, &DETACHED, &LIST, &LOGS, &STOP, &ENTER];

const ENV: Flag = Flag {
    long: "--env",
    short: Some("-e"),
    value: Some("NAME=VALUE"),
    summary: "a variable on top of the app's own; may be given several times",
};
/// `--no-tty`: pipes also for a client with a terminal.
pub(crate) const NO_TTY: Flag =
    Flag { long: "--no-tty", short: None, value: None, summary: "no terminal, though you have one" };
const CONTAINER: Flag =
    Flag { long: "--container", short: None, value: Some("NAME"), summary: "the one-off: run.3" };

const RUN: Command = Command {
    name: "run",
    arguments: "APP COMMAND",
    summary: "run a command once, with the app's code and config",
    details: &[
        "It gets an instance of its own: in a terminal, if you have one (ssh -t), else by pipes. Its exit code is",
        "that of this command; one that signal N ended gives 128 + N. It ends with your connection.",
        "The rest of the line goes to the app's own shell as it is, or all that stands in one pair of quotes. The name of a process type stands for its command.",
    ],
    options: &[ENV, NO_TTY],
    needs: Needs::App(Action::RunCommand),
    words: Words::CommandLine,
    run: |invocation| Box::pin(run(invocation)),
};

const DETACHED: Command = Command {
    name: "run:detached",
    arguments: "APP COMMAND",
    summary: "run a command once, and do not wait for it",
    details: &["Shows its name. Its output goes to the app's log: run:logs APP run.N shows it."],
    options: &[ENV, NO_TTY],
    needs: Needs::App(Action::RunCommand),
    words: Words::CommandLine,
    run: |invocation| Box::pin(detached(invocation)),
};

const LIST: Command = Command {
    name: "run:list",
    arguments: "APP",
    summary: "show what runs once for an app",
    details: &[],
    options: &[FORMAT],
    needs: Needs::App(Action::RunCommand),
    words: Words::Mixed,
    run: |invocation| Box::pin(list(invocation)),
};

const LOGS: Command = Command {
    name: "run:logs",
    arguments: "APP [run.N]",
    summary: "show what detached one-offs have written",
    details: &["Those that have ended are in the app's log too."],
    options: &[
        CONTAINER,
        Flag { long: "--tail", short: Some("-t"), value: None, summary: "go on with new lines" },
        Flag { long: "--num", short: Some("-n"), value: Some("N"), summary: "begin with the last N lines" },
    ],
    needs: Needs::App(Action::ReadLogs),
    words: Words::Mixed,
    run: |invocation| Box::pin(run_logs(invocation)),
};

const STOP: Command = Command {
    name: "run:stop",
    arguments: "APP [run.N]",
    summary: "end a one-off, or all of an app",
    details: &[],
    options: &[CONTAINER],
    needs: Needs::App(Action::RunCommand),
    words: Words::Mixed,
    run: |invocation| Box::pin(stop(invocation)),
};

const ENTER: Command = Command {
    name: "enter",
    arguments: "APP [PROCESS[.N] [COMMAND]]",
    summary: "a shell, or a command, inside of a running instance",
    details: &["Without a process type it is the first web instance. It ends with your connection."],
    options: &[ENV, NO_TTY],
    needs: Needs::App(Action::RunCommand),
    words: Words::CommandLine,
    run: |invocation| Box::pin(enter(invocation)),
};

/// Whether a command talks to a program in the client's terminal.
pub(crate) fn talks(command: &Command) -> bool {
    [RUN.name, ENTER.name].contains(&command.name)
}

async fn run(mut invocation: Invocation) -> Result<(), Refusal> {
    let (app, request) = wanted(&mut invocation)?;
    let terminal = terminal(&invocation);
    let platform = invocation.platform.clone();
    let started = platform.run_attached(&invocation.actor, &app, request, terminal);
    // Nobody waits for one that starts for a client who has gone.
    let mut attached = tokio::select! {
        biased;
        () = invocation.gone.cancelled() => return Err(Refusal::Gone),
        started = started => started?,
    };
    let Some(session) = attached.take_session() else { return Err(Refusal::Gone) };
    let stopping = attached.stopping();
    let number = attached.one_off().number;
    let ended = talk::talk(&mut invocation, session, &app, terminal.is_some(), &stopping).await;
    // Recorded until here: what is shown as running does.
    drop(attached);
    match ended? {
        Some(exit) => told(exit, &number.to_string()),
        None => Err(Refusal::failed(format!("{number} was ended by run:stop, or with its app."))),
    }
}

async fn detached(mut invocation: Invocation) -> Result<(), Refusal> {
    let (app, request) = wanted(&mut invocation)?;
    let one_off = invocation.platform.run_detached(&invocation.actor, &app, request).await?;
    invocation.print(&one_off.number.to_string()).await
}

async fn list(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    let found = invocation.platform.one_offs(&invocation.actor, &app).await?;
    let mut table = Table::new(
        format!("{app} run containers"),
        &["name", "state", "command", "created_at", "attached", "release", "started_by"],
    );
    found.iter().for_each(|one_off| table.push(row(one_off)));
    invocation.table(&table).await
}

fn row(one_off: &OneOff) -> [String; 7] {
    [
        one_off.number.to_string(),
        "running".to_owned(),
        one_off.command.clone().unwrap_or_else(|| "the command of the image".to_owned()),
        moment(one_off.started_at),
        one_off.is_attached.to_string(),
        one_off.release.to_string(),
        one_off.started_by.clone(),
    ]
}

fn moment(at: UnixMillis) -> String {
    // A clock beyond the year 9999 is shown as the number that it is.
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| at.0.to_string(), |at| format!("{at:.0}"))
}

async fn run_logs(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let number = which(&mut invocation)?;
    invocation.end()?;
    let process = number.map_or_else(|| ProcessType::RUN.to_owned(), |number| number.to_string());
    logs::show(invocation, &app, Some(&process)).await
}

async fn stop(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let number = which(&mut invocation)?;
    invocation.end()?;
    let ended = invocation.platform.stop_one_offs(&invocation.actor, &app, number).await?;
    if ended.is_empty() {
        return invocation.done(format!("No one-off of {app} runs")).await;
    }
    for one_off in ended {
        invocation.done(format!("Ended {}", one_off.number)).await?;
    }
    Ok(())
}

async fn enter(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let place = invocation.arguments.next().map(|place| place.parse::<Place>()).transpose()?;
    let command = invocation.command_line();
    let terminal = terminal(&invocation);
    let request = RunRequest { command, env: environment(&invocation, terminal.is_some())? };
    let platform = invocation.platform.clone();
    let session = platform.enter(&invocation.actor, &app, place.as_ref(), request, terminal).await?;
    let nobody = tokio_util::sync::CancellationToken::new();
    match talk::talk(&mut invocation, session, &app, terminal.is_some(), &nobody).await? {
        Some(exit) => told(exit, "The command"),
        None => Err(Refusal::Gone),
    }
}

/// The app, the command line and the variables of a one-off.
fn wanted(invocation: &mut Invocation) -> Result<(AppName, RunRequest), Refusal> {
    let app = invocation.app()?;
    let command = invocation.command_line();
    if command.is_empty() {
        return Err(invocation.usage(format!("{} needs a command.", invocation.command.name)));
    }
    let has_terminal = invocation.command.name == RUN.name && terminal(invocation).is_some();
    let env = environment(invocation, has_terminal)?;
    Ok((app, RunRequest { command, env }))
}

/// The size of the client's terminal, where it has one and wants the command to have one.
fn terminal(invocation: &Invocation) -> Option<TerminalSize> {
    let terminal = invocation.terminal.as_ref().filter(|terminal| terminal.takes_keys());
    terminal.map(|terminal| terminal.size())
}

/// The variables that were given, and in a terminal its kind.
fn environment(invocation: &Invocation, has_terminal: bool) -> Result<EnvMap, Refusal> {
    let mut env = EnvMap::new();
    if has_terminal && let Some(term) = invocation.environment.get("TERM") {
        env.set("TERM", term)?;
    }
    for given in invocation.arguments.values(ENV.long) {
        let Some((name, value)) = given.split_once('=') else {
            return Err(invocation.usage("--env needs NAME=VALUE."));
        };
        env.set(name, value)?;
    }
    Ok(env)
}

/// The one-off that a plain word or an option names.
fn which(invocation: &mut Invocation) -> Result<Option<OneOffNumber>, Refusal> {
    let named = invocation.value(CONTAINER.long).map(str::to_owned).or_else(|| invocation.arguments.next());
    Ok(named.map(|name| name.parse()).transpose()?)
}

/// How a command ended, as the client's shell sees it.
fn told(exit: Exit, what: &str) -> Result<(), Refusal> {
    /// What a shell adds to the number of a signal.
    const SIGNAL_BASE: i32 = 128;
    const SIGKILL: i32 = 9;
    let byte = |code: i32| u8::try_from(code & 0xff).unwrap_or(u8::MAX);
    match exit {
        Exit::Code(0) => Ok(()),
        // A code whose last byte is 0 would look like success.
        Exit::Code(code) => Err(Refusal::ended(byte(code).max(1))),
        Exit::Signal(signal) => Err(Refusal::ended(byte(SIGNAL_BASE + signal))),
        Exit::OutOfMemory { .. } => Err(Refusal::Said {
            lines: vec![format!("{what} {exit}.")],
            exit_code: byte(SIGNAL_BASE + SIGKILL),
        }),
        Exit::Unknown => Err(Refusal::failed(format!("{what} {exit}."))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_an_exit_code() {
        let code = |exit| told(exit, "run.1").map_or_else(|refusal| refusal.exit_code(), |()| 0);
        assert_eq!(code(Exit::Code(0)), 0);
        assert_eq!(code(Exit::Code(7)), 7);
        assert_eq!(code(Exit::Code(256)), 1);
        assert_eq!(code(Exit::Signal(9)), 137);
        assert_eq!(code(Exit::OutOfMemory { limit_bytes: 1 << 20 }), 137);
        assert_eq!(code(Exit::Unknown), 1);
    }
}
