//! What a command is, and how one is found by the name that somebody typed.

use autostack_domain::permission::Action;
use futures_util::future::BoxFuture;
use serde::Serialize;

use crate::commands::{invocation::Invocation, refusal::Refusal};

/// One command: everything that `help` says of it, and the function that does it.
#[derive(Debug)]
pub(crate) struct Command {
    /// `apps:create`; before the colon its topic.
    pub(crate) name: &'static str,
    /// What follows the name: `APP [--force]`.
    pub(crate) arguments: &'static str,
    /// One line for the list.
    pub(crate) summary: &'static str,
    /// More lines for its own page.
    pub(crate) details: &'static [&'static str],
    /// What it takes beside [`COMMON`].
    pub(crate) options: &'static [Flag],
    /// Who may use it. The platform asks too, and decides; this is what `help` says.
    pub(crate) needs: Needs,
    /// How its words are read.
    pub(crate) words: Words,
    /// Does it.
    pub(crate) run: fn(Invocation) -> BoxFuture<'static, Result<(), Refusal>>,
}

/// Who may use a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Needs {
    /// Everybody whose key is known; what they see is theirs.
    Nothing,
    /// Who may do that with the app that it is about; with `--global`, or without an app, who runs the host.
    App(Action),
    /// Who runs the host.
    Host,
}

/// How the words of a command are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    /// Options may stand anywhere.
    Mixed,
    /// After the app comes a command line of its own: from its first word on, nothing is an option.
    CommandLine,
}

/// An option of a command.
#[derive(Debug, Serialize)]
pub(crate) struct Flag {
    /// `--tail`.
    pub(crate) long: &'static str,
    /// `-t`, where there is one.
    pub(crate) short: Option<&'static str>,
    /// What its value is called, where it takes one.
    pub(crate) value: Option<&'static str>,
    /// What it does, for the command's own page.
    pub(crate) summary: &'static str,
}

/// What every command takes, anywhere; also before its name. A command that is not about one app refuses `--app`, one
/// that is not about the host refuses `--global`.
pub(crate) const COMMON: &[Flag] = &[
    Flag { long: "--app", short: None, value: Some("NAME"), summary: "the app that it is about" },
    Flag { long: "--global", short: None, value: None, summary: "about the host instead of one app" },
    Flag { long: "--quiet", short: None, value: None, summary: "no headings and no word of success" },
    Flag { long: "--force", short: None, value: None, summary: "ask nothing, do it" },
    Flag { long: "--help", short: Some("-h"), value: None, summary: "show how it is used" },
];

/// `--format json`, on every command that lists or reports.
pub(crate) const FORMAT: Flag =
    Flag { long: "--format", short: None, value: Some("json"), summary: "for scripts: one line of JSON" };

impl Command {
    /// What stands before the colon; the whole name where there is none.
    pub(crate) fn topic(&self) -> &'static str {
        self.name.split_once(':').map_or(self.name, |(topic, _)| topic)
    }

    /// Whether it is a report, whose every line is an option too: `ps:report APP --ps-running`.
    pub(crate) fn is_report(&self) -> bool {
        self.name.ends_with(":report")
    }

    /// `apps:create APP`.
    pub(crate) fn usage(&self) -> String {
        [self.name, self.arguments].join(" ").trim_end().to_owned()
    }
}

/// The command of that name.
pub(crate) fn find(name: &str) -> Option<&'static Command> {
    super::all().find(|command| command.name == name)
}

/// The commands that somebody who typed `name` may have meant, the nearest first, three at most.
pub(crate) fn near(name: &str) -> Vec<&'static str> {
    let tolerance = (name.chars().count() / 3).clamp(1, 4);
    let rate = |command: &'static Command| {
        let (topic, action) = command.name.split_once(':').unwrap_or(("", command.name));
        let distance =
            if topic == name { 0 } else { distance(name, command.name).min(1 + distance(name, action)) };
        (distance <= tolerance).then_some((distance, command.name))
    };
    let mut found: Vec<(usize, &str)> = super::all().filter_map(rate).collect();
    found.sort_by_key(|(distance, _)| *distance);
    found.into_iter().map(|(_, name)| name).take(3).collect()
}

/// How many letters to insert, remove, replace or swap with their neighbour make `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j + 1] + 1).min(row[j] + 1).min(last[j] + usize::from(x != y));
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_finds_its_command() {
        for (typed, meant) in [
            ("apps:crate", "apps:create"),
            ("app:list", "apps:list"),
            ("apps-list", "apps:list"),
            ("log", "logs"),
            ("lgos", "logs"),
            ("versoin", "version"),
            ("list", "apps:list"),
            ("destroy", "apps:destroy"),
        ] {
            assert_eq!(near(typed).first(), Some(&meant), "{typed}");
        }
        assert_eq!(near("apps").len(), 3);
        assert!(near("make-me-a-sandwich").is_empty());
        assert!(near(&"x".repeat(10_000)).is_empty());
    }

    #[test]
    fn every_command_is_described_and_found_once() {
        for command in super::super::all() {
            assert!(!command.summary.is_empty() && !command.summary.ends_with('.'), "{}", command.name);
            assert_eq!(super::super::all().filter(|other| other.name == command.name).count(), 1);
            assert!(find(command.name).is_some());
        }
    }
}
