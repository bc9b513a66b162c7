//! `logs`: the last lines of an app, and those that follow.

use std::sync::Arc;

use autostack_domain::{AppName, ProcessType, UnixMillis, permission::Action, screen::Printable};
use autostack_logs::{Entry, Filter, LogError, Offset, Origin, Reader, Stream};
use autostack_platform::PlatformError;

use crate::commands::{
    command::{Command, Flag, Needs, Words},
    invocation::Invocation,
    refusal::Refusal,
};

/// Lines that are shown where nobody says how many.
const LINES_DEFAULT: usize = 100;

/// Text that is gathered before it is sent, in bytes, while more is there at once.
const BATCH_BYTES: usize = 32 * 1024;

pub(crate) const COMMANDS: &[&Command] = &[&LOGS];

const LOGS: Command = Command {
    name: "logs",
    arguments: "APP [-t] [-n N] [-p PROCESS]",
    summary: "show what an app has written, and follow it",
    details: &["Shows the last 100 lines unless told otherwise. Ctrl-C ends following."],
    options: &[
        Flag { long: "--tail", short: Some("-t"), value: None, summary: "go on with new lines" },
        Flag { long: "--num", short: Some("-n"), value: Some("N"), summary: "begin with the last N lines" },
        Flag {
            long: "--ps",
            short: Some("-p"),
            value: Some("PROCESS"),
            summary: "only lines of this process type, such as web, or of one instance, such as web.1",
        },
    ],
    needs: Needs::App(Action::ReadLogs),
    words: Words::Mixed,
    run: |invocation| Box::pin(logs(invocation)),
};

async fn logs(mut invocation: Invocation) -> Result<(), Refusal> {
    let name = invocation.app()?;
    let process = invocation.value("--ps").map(str::to_owned);
    invocation.end()?;
    show(invocation, &name, process.as_deref()).await
}

/// Shows the log of an app, or of a process of it, as the options of `logs` say.
pub(crate) async fn show(
    invocation: Invocation,
    name: &AppName,
    process: Option<&str>,
) -> Result<(), Refusal> {
    let lines = lines_wanted(&invocation)?;
    let filter = filter(process)?;
    let follow = invocation.has("--tail");
    let log = invocation.platform.app_log(&invocation.actor, name).await?;
    let (start, end) = last_lines(&invocation, Arc::clone(&log), lines, filter.clone()).await?;
    let mut reader = log.reader(start);
    let mut page = Page { invocation: &invocation, filter, text: String::new() };
    while reader.offset() < end {
        match reader.next_ready().map_err(unreadable)? {
            Some((_, entry)) => page.show(&mut reader, &entry).await?,
            None => break,
        }
    }
    page.flush().await?;
    if follow { page.follow(reader).await } else { Ok(()) }
}

fn lines_wanted(invocation: &Invocation) -> Result<usize, Refusal> {
    match invocation.value("--num") {
        None => Ok(LINES_DEFAULT),
        Some(given) => given.parse().map_err(|_| {
            invocation.usage(format!("--num needs a number of lines, not {}.", Printable(given)))
        }),
    }
}

/// `web` is a process type, `web.1` one instance of it.
fn filter(process: Option<&str>) -> Result<Filter, Refusal> {
    let Some(given) = process else { return Ok(Filter::all()) };
    let type_and_index = given.split_once('.').filter(|(_, index)| index.parse::<u32>().is_ok());
    let process: ProcessType = type_and_index.map_or(given, |(process, _)| process).parse()?;
    Ok(match type_and_index {
        Some(_) => Filter { dyno: Some(given.to_owned()), ..Filter::all() },
        None => Filter { process: Some(process), ..Filter::all() },
    })
}

/// Where the last lines begin, and where they end.
async fn last_lines(
    invocation: &Invocation,
    log: Arc<Stream>,
    lines: usize,
    filter: Filter,
) -> Result<(Offset, Offset), Refusal> {
    let find = move || log.tail_start(lines, &filter);
    let found = invocation.tasks.blocking("find log tail", find).await;
    found.map_err(|panic| Refusal::failed(format!("The log cannot be read: {panic}.")))?.map_err(unreadable)
}

fn unreadable(error: LogError) -> Refusal {
    Refusal::from(PlatformError::from(error))
}

/// Lines on their way to the client.
struct Page<'a> {
    invocation: &'a Invocation,
    filter: Filter,
    text: String,
}

impl Page<'_> {
    /// Adds an entry, if it is wanted.
    async fn show(&mut self, reader: &mut Reader, entry: &Entry) -> Result<(), Refusal> {
        if let Some(gap) = reader.take_gap() {
            self.text.push_str(&format!("... {} bytes were removed by size or age ...\n", gap.bytes));
        }
        if self.filter.matches(entry) {
            self.text.push_str(&line_of(entry));
        }
        if self.text.len() >= BATCH_BYTES { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Refusal> {
        let text = std::mem::take(&mut self.text);
        Ok(self.invocation.output.text(&text).await?)
    }

    /// Shows lines as they come, until the log, the server or the client ends.
    async fn follow(&mut self, mut reader: Reader) -> Result<(), Refusal> {
        loop {
            let next = tokio::select! {
                biased;
                () = self.invocation.gone.cancelled() => return Err(Refusal::Gone),
                () = self.invocation.stopping.cancelled() => {
                    return Err(Refusal::failed("The agent is stopping; run the command again to go on."));
                }
                next = reader.next() => next.map_err(unreadable)?,
            };
            let Some((_, entry)) = next else { return Ok(()) };
            self.show(&mut reader, &entry).await?;
            while let Some((_, entry)) = reader.next_ready().map_err(unreadable)? {
                self.show(&mut reader, &entry).await?;
            }
            self.flush().await?;
        }
    }
}

/// `2026-11-23T21:07:36.123Z app[web.1]: text`, with what a terminal would obey escaped (threat E4).
fn line_of(entry: &Entry) -> String {
    let text = entry.text_lossy();
    let (at, text) = (moment(entry.at), Printable(&text));
    match &entry.origin {
        Origin::Platform(_) => format!("{at} autostack: {text}\n"),
        Origin::Instance { dyno, .. } => format!("{at} app[{dyno}]: {text}\n"),
    }
}

fn moment(at: UnixMillis) -> String {
    // A clock beyond the year 9999 is shown as the number that it is.
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| at.0.to_string(), |at| format!("{at:.3}"))
}

#[cfg(test)]
mod tests {
    use autostack_domain::{Line, ReleaseNumber};
    use autostack_logs::OutputStream;

    use super::*;

    fn instance(text: &str) -> Entry {
        Entry {
            at: UnixMillis(1_795_468_056_007),
            origin: Origin::Instance {
                instance: "shop.web.1.0000beef".parse().unwrap(),
                release: ReleaseNumber(1),
                dyno: "web.1".into(),
                stream: OutputStream::Stdout,
                source_end: 0,
            },
            text: text.into(),
        }
    }

    #[test]
    fn a_line_says_when_and_who() {
        assert_eq!(line_of(&instance("up")), "2026-11-23T21:07:36.007Z app[web.1]: up\n");
        let platform = Entry::platform(UnixMillis(0), Line::detail("web.1 crashed"));
        assert_eq!(line_of(&platform), "1970-01-01T00:00:00.000Z autostack: web.1 crashed\n");
    }

    #[test]
    fn e4_a_tenants_line_gives_no_orders() {
        let line = line_of(&instance("\u{1b}]52;c;aGk=\u{7}\u{1b}[31mred\u{202e}"));
        assert!(line.contains("\\u{1b}]52;c;aGk=\\u{7}\u{1b}[31mred\\u{202e}"), "{line:?}");
    }

    #[test]
    fn a_process_is_a_type_or_one_of_its_instances() {
        assert_eq!(filter(Some("web")).unwrap().process.unwrap().as_str(), "web");
        assert_eq!(filter(Some("web.2")).unwrap().dyno.unwrap(), "web.2");
        assert_eq!(filter(None).unwrap(), Filter::all());
        for bad in ["", "web.x", "../x", "a b"] {
            assert!(filter(Some(bad)).is_err(), "{bad}");
        }
    }
}
