//! One use of a command: who asks what, and the ways to answer.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use autostack_base::tasks::{Shutdown, Tasks};
use autostack_domain::{AppName, Line, LineKind, permission::Actor};
use autostack_platform::{Platform, Screen};
use serde::Serialize;

use crate::{
    commands::{
        arguments::Arguments,
        command::Command,
        refusal::Refusal,
        report::{self, Report, Table},
        words,
    },
    environment::Environment,
    output::Output,
    pump::{self, Intake},
    terminal::Terminal,
};

/// One use of a command.
pub(crate) struct Invocation {
    pub(crate) command: &'static Command,
    pub(crate) arguments: Arguments,
    /// The whole line as it came, before it was cut into words.
    pub(crate) line: String,
    pub(crate) actor: Actor,
    /// The client's terminal, where it has one.
    pub(crate) terminal: Option<Terminal>,
    /// What the client has set of what it may set.
    pub(crate) environment: Environment,
    /// What the client sends; dropping it discards the rest.
    pub(crate) input: Intake,
    pub(crate) output: Output,
    pub(crate) platform: Platform,
    pub(crate) tasks: Tasks,
    /// Cancelled when the client has gone.
    pub(crate) gone: Shutdown,
    /// Cancelled when the server is going to stop.
    pub(crate) stopping: Shutdown,
    /// Where its reports go instead of being shown, for a command that shows those of others.
    pub(crate) collected: Option<Collected>,
}

/// Reports for another command to show.
pub(crate) type Collected = Arc<Mutex<Vec<Report>>>;

/// What a command is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// One app.
    App(AppName),
    /// The host, for all apps.
    Global,
}

impl Scope {
    /// The app, where it is one.
    pub(crate) fn app(&self) -> Option<&AppName> {
        match self {
            Scope::App(app) => Some(app),
            Scope::Global => None,
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Scope::App(app) => write!(f, "{app}"),
            Scope::Global => f.write_str("the host"),
        }
    }
}

/// What is shown while work goes on; with `--quiet` only its troubles.
pub(crate) struct Told {
    output: Output,
    is_quiet: bool,
}

impl Screen for Told {
    async fn show(&mut self, line: Line) -> io::Result<()> {
        if self.is_quiet && line.kind != LineKind::Trouble {
            return Ok(());
        }
        self.output.line(&line).await.map_err(|_gone| io::ErrorKind::BrokenPipe.into())
    }
}

impl Invocation {
    /// Where work shows how it goes.
    pub(crate) fn screen(&self) -> Told {
        Told { output: self.output.clone(), is_quiet: self.has("--quiet") }
    }

    /// The app: `--app NAME`, or the next plain word.
    pub(crate) fn app(&mut self) -> Result<AppName, Refusal> {
        self.arguments.app(self.command)
    }

    /// The host with `--global`, else the app.
    pub(crate) fn scope(&mut self) -> Result<Scope, Refusal> {
        if self.arguments.take_global() { Ok(Scope::Global) } else { self.app().map(Scope::App) }
    }

    /// The app, where one is named: a report without one is about all.
    pub(crate) fn maybe_app(&mut self) -> Result<Option<AppName>, Refusal> {
        if self.arguments.names_app() { self.app().map(Some) } else { Ok(None) }
    }

    /// The next plain word, which must be there; `what` completes "needs …": `the name of an image`.
    pub(crate) fn word(&mut self, what: &str) -> Result<String, Refusal> {
        let word = self.arguments.next();
        word.ok_or_else(|| self.usage(format!("{} needs {what}.", self.command.name)))
    }

    /// The plain words that are left.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.arguments.next()).collect()
    }

    /// The words that are left, as they stand in the line: quotes and all, for another shell to read. One word alone is
    /// the whole command line, without the quotes that made it one.
    pub(crate) fn command_line(&mut self) -> String {
        let words = self.rest();
        if let [only] = words.as_slice() {
            return only.clone();
        }
        let starts = words::starts(&self.line);
        let first = starts.len().checked_sub(words.len()).and_then(|at| starts.get(at));
        first.and_then(|at| self.line.get(*at..)).unwrap_or_default().trim_end().to_owned()
    }

    /// Whether an option is there.
    pub(crate) fn has(&self, long: &str) -> bool {
        self.arguments.has(long)
    }

    /// The value of an option.
    pub(crate) fn value(&self, long: &str) -> Option<&str> {
        self.arguments.value(long)
    }

    /// Whether JSON is wanted.
    pub(crate) fn json(&self) -> Result<bool, Refusal> {
        self.arguments.json(self.command)
    }

    /// Refuses what is left over. To be called when everything was taken, before anything is done.
    pub(crate) fn end(&mut self) -> Result<(), Refusal> {
        self.arguments.end(self.command)
    }

    /// A refusal that shows how the command is used.
    pub(crate) fn usage(&self, sentence: impl Into<String>) -> Refusal {
        Refusal::usage(self.command, sentence)
    }

    /// What the client sends, up to its end of file; `what` begins the refusal of more than `bytes_max` bytes.
    pub(crate) async fn read_input(&mut self, bytes_max: usize, what: &str) -> Result<Vec<u8>, Refusal> {
        let mut bytes = Vec::new();
        loop {
            let chunk = tokio::select! {
                biased;
                () = self.gone.cancelled() => return Err(Refusal::Gone),
                chunk = self.input.next() => chunk,
            };
            let Some(chunk) = chunk else { return Ok(bytes) };
            bytes.extend_from_slice(chunk.as_ref());
            if bytes.len() > bytes_max {
                return Err(Refusal::failed(format!("{what} has {bytes_max} bytes at most.")));
            }
        }
    }

    /// Reads a secret that the client sends; one line break at its end is not part of it.
    pub(crate) async fn read_secret(&mut self, bytes_max: usize, what: &str) -> Result<String, Refusal> {
        let bytes = self.read_input(bytes_max + 2, what).await?;
        let text = String::from_utf8(bytes).map_err(|_| Refusal::failed(format!("{what} is UTF-8 text.")))?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
    }

    /// Says that it is done, unless nobody wants to hear it.
    pub(crate) async fn done(&self, text: impl Into<String>) -> Result<(), Refusal> {
        if self.has("--quiet") {
            return Ok(());
        }
        Ok(self.output.line(&Line::result(text)).await?)
    }

    /// Says that a step begins, unless nobody wants to hear it.
    pub(crate) async fn step(&self, text: impl Into<String>) -> Result<(), Refusal> {
        if self.has("--quiet") {
            return Ok(());
        }
        Ok(self.output.line(&Line::step(text)).await?)
    }

    /// A line beneath what was done, unless nobody wants to hear it.
    pub(crate) async fn detail(&self, text: impl Into<String>) -> Result<(), Refusal> {
        if self.has("--quiet") {
            return Ok(());
        }
        Ok(self.output.line(&Line::detail(text)).await?)
    }

    /// Sends data as it is, and a line end.
    pub(crate) async fn print(&self, text: &str) -> Result<(), Refusal> {
        Ok(self.output.text(&format!("{text}\n")).await?)
    }

    /// Sends one line of JSON.
    pub(crate) async fn print_json(&self, value: &impl Serialize) -> Result<(), Refusal> {
        let text = serde_json::to_string(value).map_err(|error| Refusal::failed(error.to_string()))?;
        self.print(&text).await
    }

    /// Another command with the words given, by the same client, who sends it nothing; its reports are collected.
    pub(crate) fn fork(
        &self,
        command: &'static Command,
        words: Vec<String>,
        collected: &Collected,
    ) -> Result<Self, Refusal> {
        let (_ended, input) = pump::queue(0);
        Ok(Self {
            command,
            arguments: Arguments::parse(command, words)?,
            line: command.name.to_owned(),
            actor: self.actor.clone(),
            terminal: None,
            environment: Environment::default(),
            input,
            output: self.output.clone(),
            platform: self.platform.clone(),
            tasks: self.tasks.clone(),
            gone: self.gone.clone(),
            stopping: self.stopping.clone(),
            collected: Some(Arc::clone(collected)),
        })
    }

    /// Shows the report of the app that is named, or of every app that the caller may see.
    pub(crate) async fn report_each(
        mut self,
        of: impl AsyncFn(&Platform, &Actor, &AppName) -> Result<Report, Refusal>,
    ) -> Result<(), Refusal> {
        let app = self.maybe_app()?;
        self.end()?;
        if let Some(app) = app {
            return self.report(&of(&self.platform, &self.actor, &app).await?).await;
        }
        let mut reports = Vec::new();
        for app in self.platform.apps(&self.actor).await? {
            reports.push(of(&self.platform, &self.actor, &app.name).await?);
        }
        self.reports(&reports).await
    }

    /// Shows the report of one app, or of the host: as text, as JSON, or the one line that an option asks for.
    pub(crate) async fn report(&self, report: &Report) -> Result<(), Refusal> {
        if let Some(collected) = &self.collected {
            collected.lock().unwrap_or_else(PoisonError::into_inner).push(report.clone());
            return Ok(());
        }
        if let Some(asked) = self.arguments.info() {
            let value = report.value(asked).ok_or_else(|| {
                let known = report.options().join(", ");
                self.usage(format!("{} has no option {asked}; there are {known}.", self.command.name))
            })?;
            return self.print(value).await;
        }
        if self.json()? {
            return self.print_json(&report.json()).await;
        }
        Ok(self.output.text(&report.text(!self.has("--quiet"))).await?)
    }

    /// Shows the reports of several apps.
    pub(crate) async fn reports(&self, reports: &[Report]) -> Result<(), Refusal> {
        if self.collected.is_none() && self.json()? {
            return self.print_json(&reports.iter().map(Report::json).collect::<Vec<_>>()).await;
        }
        for report in reports {
            self.report(report).await?;
        }
        Ok(())
    }

    /// Shows a list: as columns, or as an array of JSON objects.
    pub(crate) async fn table(&self, table: &Table) -> Result<(), Refusal> {
        if self.json()? {
            return self.print_json(&table.json()).await;
        }
        Ok(self.output.text(&report::columns(table, !self.has("--quiet"))).await?)
    }
}
