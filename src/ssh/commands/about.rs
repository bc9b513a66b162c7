//! What this door can do: `help`, `version`, and the greeting of who comes without a command.

use autostack_domain::{Line, permission::Actor, screen::Printable};

use crate::{
    commands::{
        COMMANDS,
        command::{Command, Flag, Invocation, find, near},
        refusal::{EXIT_UNKNOWN_COMMAND, Refusal},
    },
    output::{Gone, Output},
};

/// Characters of a command's usage that leave room for its summary beside it.
const USAGE_CHARS_MAX: usize = 36;

pub(crate) const HELP: Command = Command {
    name: "help",
    arguments: "[COMMAND]",
    summary: "show this list, or how one command is used",
    details: &["COMMAND --help does the same."],
    options: &[],
    run: |invocation| Box::pin(help(invocation)),
};

pub(crate) const VERSION: Command = Command {
    name: "version",
    arguments: "",
    summary: "show the version of the agent",
    details: &[],
    options: &[],
    run: |invocation| Box::pin(version(invocation)),
};

async fn help(mut invocation: Invocation) -> Result<(), Refusal> {
    let asked = invocation.arguments.next();
    std::mem::take(&mut invocation.arguments).end(invocation.command)?;
    let text = match asked {
        None => overview(),
        Some(name) => find(&name).map(page).or_else(|| topic(&name)).ok_or_else(|| unknown(&name))?,
    };
    Ok(invocation.output.text(&text).await?)
}

async fn version(invocation: Invocation) -> Result<(), Refusal> {
    invocation.arguments.end(invocation.command)?;
    Ok(invocation.output.text(&format!("autostack {}\n", invocation.platform.version())).await?)
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

/// All commands, and how to push.
fn overview() -> String {
    list("Commands", COMMANDS)
        + &text([
            Line::detail(""),
            Line::detail("git push ssh://git@HOST:PORT/APP main   makes the app live"),
            Line::detail("help COMMAND                            how one command is used"),
            Line::detail("--app NAME                              names the app, anywhere in a command"),
        ])
}

/// The commands of one topic: `apps`, `apps:help`.
fn topic(name: &str) -> Option<String> {
    let topic = name.strip_suffix(":help").unwrap_or(name);
    let of_topic: Vec<&Command> = COMMANDS
        .iter()
        .copied()
        .filter(|command| command.name.split_once(':').is_some_and(|(t, _)| t == topic))
        .collect();
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
    lines.extend(
        command.options.iter().map(|flag| Line::detail(format!("  {:22} {}", spelling(flag), flag.summary))),
    );
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
        for command in COMMANDS {
            assert!(overview.contains(&format!("       {}", command.usage())), "{}", command.name);
        }
        assert!(overview.lines().all(|line| line.len() < 100), "{overview}");
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
