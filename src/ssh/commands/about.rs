//! What this door can do: `help`, `version`, and the greeting of who comes without a command.

use autostack_domain::{Line, permission::Actor, screen::Printable};

use serde::Serialize;

use crate::{
    commands::{
        GROUPS, Group,
        command::{Command, FORMAT, Flag, Needs, Words, find, near},
        elsewhere,
        invocation::Invocation,
        refusal::{EXIT_UNKNOWN_COMMAND, Refusal},
    },
    output::{Gone, Output},
};

/// Characters of a row of the overview, behind its indentation.
const ROW_CHARS: usize = 72;
/// Characters of the longest title of a group.
const TITLE_CHARS: usize = 12;
/// Characters of a command's usage that leave room for its summary beside it.
const USAGE_CHARS_MAX: usize = 36;

pub(crate) const COMMANDS: &[&Command] = &[&HELP, &VERSION];

const HELP: Command = Command {
    name: "help",
    arguments: "[COMMAND]",
    summary: "show this list, or how one command is used",
    details: &["COMMAND --help does the same."],
    options: &[FORMAT],
    needs: Needs::Nothing,
    words: Words::Mixed,
    run: |invocation| Box::pin(help(invocation)),
};

const VERSION: Command = Command {
    name: "version",
    arguments: "",
    summary: "show the version of the agent",
    details: &[],
    options: &[],
    needs: Needs::Nothing,
    words: Words::Mixed,
    run: |invocation| Box::pin(version(invocation)),
};

async fn help(mut invocation: Invocation) -> Result<(), Refusal> {
    let asked = invocation.arguments.next();
    invocation.end()?;
    if invocation.json()? {
        return invocation.print_json(&described(asked.as_deref())?).await;
    }
    let text = match asked {
        None => overview(),
        Some(name) => find(&name).map(page).or_else(|| topic(&name)).ok_or_else(|| unknown(&name))?,
    };
    Ok(invocation.output.text(&text).await?)
}

/// What scripts and completions are told of a command, or of all.
#[derive(Debug, Serialize)]
struct Described {
    name: &'static str,
    usage: String,
    summary: &'static str,
    needs: Needs,
    options: &'static [Flag],
}

fn described(asked: Option<&str>) -> Result<Vec<Described>, Refusal> {
    let is_asked =
        |command: &&Command| asked.is_none_or(|asked| command.name == asked || command.topic() == asked);
    let found: Vec<Described> = super::all().filter(is_asked).map(describe).collect();
    match asked {
        Some(name) if found.is_empty() => Err(unknown(name)),
        _ => Ok(found),
    }
}

fn describe(command: &'static Command) -> Described {
    let Command { name, summary, needs, options, .. } = *command;
    Described { name, usage: command.usage(), summary, needs, options }
}

async fn version(mut invocation: Invocation) -> Result<(), Refusal> {
    invocation.end()?;
    invocation.print(&format!("autostack {}", invocation.platform.version())).await
}

/// What somebody reads who has come without a command.
pub(crate) async fn greet(output: &Output, actor: &Actor, version: &str) -> Result<(), Gone> {
    let lines = [
        Line::result(format!("autostack {version}")),
        Line::detail(format!("You are {}.", actor.name)),
        Line::detail("There is no shell here; this is what you can do:"),
    ];
    let greeting: String = lines.iter().map(|line| format!("{line}\n")).collect();
    output.text(&format!("{greeting}\n{}", overview())).await
}

/// A line a group, and how to push.
fn overview() -> String {
    let names =
        |group: &Group| group.commands.iter().map(|command| command.name).collect::<Vec<_>>().join(" ");
    let mut lines = vec![Line::result("Commands")];
    for group in GROUPS {
        lines.extend(wrapped(group.title, &names(group)).into_iter().map(Line::detail));
    }
    lines.extend(
        [
            "",
            "git push ssh://git@HOST:PORT/APP main   makes the app live",
            "help TOPIC, help COMMAND                say more: help apps, help logs",
            "--app NAME                              names the app, anywhere",
        ]
        .map(Line::detail),
    );
    text(lines)
}

/// Names behind a title, in as many rows as a terminal of 80 columns needs.
fn wrapped(title: &str, names: &str) -> Vec<String> {
    let mut rows = vec![format!("{title:TITLE_CHARS$}")];
    for name in names.split(' ') {
        let is_full = |row: &String| row.len() + 1 + name.len() > ROW_CHARS && row.len() > TITLE_CHARS;
        if rows.last().is_none_or(is_full) {
            rows.push(" ".repeat(TITLE_CHARS));
        }
        if let Some(row) = rows.last_mut() {
            row.push(' ');
            row.push_str(name);
        }
    }
    rows
}

/// The commands of one topic: `apps`, `apps:help`.
fn topic(name: &str) -> Option<String> {
    let topic = name.strip_suffix(":help").unwrap_or(name);
    let of_topic: Vec<&Command> = super::all().filter(|command| command.topic() == topic).collect();
    (!of_topic.is_empty()).then(|| list(&format!("Commands of {topic}"), &of_topic))
}

/// A row a command. The summary of a long one stands below it, so that no row is wider than a terminal.
fn list(title: &str, commands: &[&Command]) -> String {
    let fits = |usage: &String| usage.len() <= USAGE_CHARS_MAX;
    let usages = commands.iter().map(|command| command.usage());
    let width = usages.filter(fits).map(|usage| usage.len()).max().unwrap_or(0);
    let rows = commands.iter().flat_map(|command| {
        let (usage, summary) = (command.usage(), command.summary);
        if fits(&usage) {
            vec![Line::detail(format!("{usage:width$}   {summary}"))]
        } else {
            vec![Line::detail(usage), Line::detail(format!("{:width$}   {summary}", ""))]
        }
    });
    text(std::iter::once(Line::result(title)).chain(rows))
}

/// All about one command.
pub(crate) fn page(command: &Command) -> String {
    let mut lines = vec![Line::result(command.usage()), Line::detail(command.summary)];
    lines.extend(command.details.iter().copied().map(Line::detail));
    let option = |flag: &Flag| Line::detail(format!("  {:22} {}", spelling(flag), flag.summary));
    lines.extend(command.options.iter().map(option));
    text(lines)
}

fn spelling(flag: &Flag) -> String {
    let value = flag.value.map(|value| format!(" {value}")).unwrap_or_default();
    match flag.short {
        Some(short) => format!("{short}, {}{value}", flag.long),
        None => format!("{}{value}", flag.long),
    }
}

fn text(lines: impl IntoIterator<Item = Line>) -> String {
    lines.into_iter().map(|line| format!("{}\n", line.to_string().trim_end())).collect()
}

/// The answer to a name that no command has.
pub(crate) fn unknown(name: &str) -> Refusal {
    let shown: String = name.chars().take(80).collect();
    let mut lines = vec![format!("There is no command {}.", Printable(&shown))];
    if let Some(instead) = elsewhere::instead(name) {
        lines.push(format!("Next: {instead}"));
        return Refusal::Said { lines, exit_code: EXIT_UNKNOWN_COMMAND };
    }
    match near(name).as_slice() {
        [] => {}
        [only] => lines.push(format!("Did you mean {only}?")),
        several => lines.push(format!("Did you mean one of these? {}", several.join(", "))),
    }
    lines.push("Next: help shows all commands".to_owned());
    Refusal::Said { lines, exit_code: EXIT_UNKNOWN_COMMAND }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overview_names_every_command() {
        let overview = overview();
        for command in crate::commands::all() {
            assert!(overview.contains(&format!(" {}", command.name)), "{}", command.name);
            assert!(topic(command.topic()).unwrap().contains(&command.usage()), "{}", command.name);
        }
        assert!(overview.lines().all(|line| line.len() < 81), "{overview}");
        assert!(GROUPS.iter().all(|group| group.title.len() <= TITLE_CHARS));
    }

    #[test]
    fn a_page_says_all_about_one_command() {
        let page = page(find("logs").unwrap());
        assert!(page.starts_with("=====> logs APP [-t] [-n N] [-p PROCESS]\n"), "{page}");
        assert!(page.contains("-n, --num N"), "{page}");
        assert_eq!(topic("apps:help"), topic("apps"));
        assert_eq!(topic("nothing"), None);
    }

    #[test]
    fn an_unknown_command_is_answered_with_the_nearest() {
        let refusal = unknown("app:list");
        assert_eq!(refusal.exit_code(), 10);
        assert_eq!(refusal.lines()[1].text, "Did you mean apps:list?");
        let hostile = unknown(&"\u{1b}]0;x\u{7}".repeat(1_000));
        assert!(hostile.lines().iter().all(|line| line.text.len() < 1_500 && !line.text.contains('\u{1b}')));
    }
}
