//! What a word may become: commands, their options, apps.

use autostack_domain::permission::Actor;
use autostack_platform::Platform;

use super::{ENDS, HISTORY};
use crate::commands::{
    self,
    command::{COMMON, Command, find},
};

/// How many of the last letters of `text` are completed, and what by, in order.
pub(super) async fn candidates(platform: &Platform, actor: &Actor, text: &str) -> (usize, Vec<String>) {
    let begun = text.rsplit(char::is_whitespace).next().unwrap_or_default();
    let mut words = text[..text.len() - begun.len()].split_whitespace();
    let all = match words.next() {
        None => names(),
        Some("help") => commands::all().map(|command| command.name.to_owned()).collect(),
        Some(name) => match find(name) {
            Some(command) if begun.starts_with('-') => options(command),
            Some(command) if command.arguments.contains("APP") && words.next().is_none() => {
                // Without its apps a completion is only less useful.
                let apps = platform.apps(actor).await.unwrap_or_default();
                apps.into_iter().map(|app| app.name.to_string()).collect()
            }
            _ => Vec::new(),
        },
    };
    let mut fitting: Vec<String> = all.into_iter().filter(|word| word.starts_with(begun)).collect();
    fitting.sort();
    fitting.dedup();
    (begun.chars().count(), fitting)
}

fn names() -> Vec<String> {
    let own = ENDS.into_iter().chain([HISTORY]);
    commands::all().map(|command| command.name).chain(own).map(str::to_owned).collect()
}

/// The long options of a command, those that every one has included.
pub(crate) fn options(command: &Command) -> Vec<String> {
    command.options.iter().chain(COMMON).map(|flag| flag.long.to_owned()).collect()
}
