//! The words after a command's name: which are options, which is the app.

use std::collections::{BTreeMap, VecDeque};

use autostack_domain::{AppName, screen::Printable};

use crate::commands::{
    command::{COMMON, Command, Words},
    refusal::Refusal,
};

/// What was given to a command. Whoever takes all it knows ends with [`Arguments::end`], so that nothing is
/// ignored in silence.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    plain: VecDeque<String>,
    app: Option<String>,
    options: BTreeMap<&'static str, Vec<String>>,
    /// The one line of a report that is asked for: `--ps-running`.
    info: Option<String>,
    /// Whether `--global` was given and nobody has taken it.
    global: bool,
    /// Whether `--` was the last word: something comes over the connection.
    ended_options: bool,
}

impl Arguments {
    /// Reads the words. Options may stand anywhere; after `--` all is plain.
    pub(crate) fn parse(command: &Command, words: impl IntoIterator<Item = String>) -> Result<Self, Refusal> {
        let mut arguments = Self::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            if word == "--" {
                let plain = arguments.plain.len();
                arguments.plain.extend(words);
                arguments.ended_options = arguments.plain.len() == plain;
                break;
            }
            if !word.starts_with('-') || word == "-" {
                arguments.plain.push_back(word);
                if arguments.is_command_line(command) {
                    arguments.plain.extend(words);
                    break;
                }
                continue;
            }
            arguments.option(command, &word, &mut words)?;
        }
        Ok(arguments)
    }

    /// Whether the last plain word begins a command line of somebody's own.
    fn is_command_line(&self, command: &Command) -> bool {
        let before = usize::from(self.app.is_none());
        command.words == Words::CommandLine && self.plain.len() > before
    }

    /// Whether `--help` was among them.
    pub(crate) fn wants_help(&self) -> bool {
        self.has("--help")
    }

    /// Whether `--global` is there; only who asks may ignore the app.
    pub(crate) fn take_global(&mut self) -> bool {
        std::mem::take(&mut self.global)
    }

    /// Whether `--` was the last word: something comes over the connection.
    pub(crate) fn ended_options(&self) -> bool {
        self.ended_options
    }

    /// The app that `--app` names.
    pub(crate) fn named_app(&mut self) -> Result<Option<AppName>, Refusal> {
        Ok(self.app.take().map(|name| name.parse()).transpose()?)
    }

    /// Whether an app is named.
    pub(crate) fn names_app(&self) -> bool {
        self.app.is_some() || !self.plain.is_empty()
    }

    /// The one line of a report that is asked for.
    pub(crate) fn info(&self) -> Option<&str> {
        self.info.as_deref()
    }

    /// The app that [`Arguments::app`] would give, where there is a good name.
    pub(crate) fn peek_app(&self) -> Option<AppName> {
        self.app.as_ref().or_else(|| self.plain.front())?.parse().ok()
    }

    /// The app: `--app NAME`, or the next plain word.
    pub(crate) fn app(&mut self, command: &Command) -> Result<AppName, Refusal> {
        match self.app.take().or_else(|| self.plain.pop_front()) {
            Some(name) => Ok(name.parse()?),
            None => Err(Refusal::usage(command, format!("{} needs the name of an app.", command.name))),
        }
    }

    /// The next plain word.
    pub(crate) fn next(&mut self) -> Option<String> {
        self.plain.pop_front()
    }

    /// Whether an option without a value is there.
    pub(crate) fn has(&self, long: &str) -> bool {
        self.options.contains_key(long)
    }

    /// The value of an option.
    pub(crate) fn value(&self, long: &str) -> Option<&str> {
        self.options.get(long).and_then(|given| given.last()).map(String::as_str)
    }

    /// All values of an option that may be given several times.
    pub(crate) fn values(&self, long: &str) -> &[String] {
        self.options.get(long).map_or(&[], Vec::as_slice)
    }

    /// Whether JSON is wanted.
    pub(crate) fn json(&self, command: &Command) -> Result<bool, Refusal> {
        match self.value("--format") {
            None | Some("stdout" | "text") => Ok(false),
            Some("json") => Ok(true),
            Some(other) => Err(Refusal::usage(command, format!("There is no format {other}, only json."))),
        }
    }

    /// Refuses what is left over.
    pub(crate) fn end(&mut self, command: &Command) -> Result<(), Refusal> {
        let name = command.name;
        let sentence = if let Some(extra) = self.plain.pop_front() {
            format!("{name} does not know what {} is.", Printable(&extra))
        } else if self.app.is_some() {
            format!("{name} is not about one app.")
        } else if self.global {
            format!("{name} is not about the host as a whole.")
        } else {
            return Ok(());
        };
        Err(Refusal::usage(command, sentence))
    }

    fn option(
        &mut self,
        command: &Command,
        word: &str,
        words: &mut impl Iterator<Item = String>,
    ) -> Result<(), Refusal> {
        let (name, attached) = separate(word);
        let mut value = |what: &str| {
            let value = attached.map(str::to_owned).or_else(|| words.next());
            value.ok_or_else(|| Refusal::usage(command, format!("{name} needs a value: {what}.")))
        };
        if name == "--app" {
            self.app = Some(value("the name of an app")?);
            return Ok(());
        }
        let known = command.options.iter().chain(COMMON);
        let Some(flag) = known.into_iter().find(|flag| flag.long == name || flag.short == Some(name)) else {
            // Which rows there are, and how each may be asked for, the report itself knows.
            if command.is_report() && name.starts_with("--") && attached.is_none() {
                self.info = Some(name.to_owned());
                return Ok(());
            }
            let sentence = format!("{} has no option {}.", command.name, Printable(name));
            return Err(Refusal::usage(command, sentence));
        };
        let given = match (flag.value, attached) {
            (Some(what), _) => value(what)?,
            (None, None) => String::new(),
            (None, Some(_)) => {
                return Err(Refusal::usage(command, format!("{name} does not take a value.")));
            }
        };
        self.global |= flag.long == "--global";
        self.options.entry(flag.long).or_default().push(given);
        Ok(())
    }
}

/// `--num=5` and `-n5` hold their value; `--num` and `-n` do not.
fn separate(word: &str) -> (&str, Option<&str>) {
    if word.starts_with("--") {
        return word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
    }
    let after_letter = word.char_indices().nth(2).map_or(word.len(), |(at, _)| at);
    let (name, value) = word.split_at(after_letter);
    (name, (!value.is_empty()).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::command::find;

    fn parse(line: &str) -> Result<(&'static Command, Arguments), Refusal> {
        let mut words = line.split(' ').map(str::to_owned);
        let command = find(&words.next().unwrap()).unwrap();
        Arguments::parse(command, words).map(|arguments| (command, arguments))
    }

    #[test]
    fn the_app_may_stand_anywhere() {
        for line in
            ["logs shop -t", "logs -t shop", "logs --app shop -t", "logs -t --app=shop", "logs -t -- shop"]
        {
            let (command, mut arguments) = parse(line).unwrap();
            assert_eq!(arguments.app(command).unwrap().as_str(), "shop", "{line}");
            assert!(arguments.has("--tail"), "{line}");
            assert_eq!(arguments.end(command), Ok(()), "{line}");
        }
    }

    #[test]
    fn values_stand_beside_or_inside() {
        for line in ["logs shop -n 5", "logs shop -n5", "logs shop --num 5", "logs --num=5 shop"] {
            assert_eq!(parse(line).unwrap().1.value("--num"), Some("5"), "{line}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_as_usage() {
        for line in
            ["logs --nonsense", "logs -n", "logs -t=5", "logs --tail=yes", "apps:create --tail x", "logs -é"]
        {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
        let (command, mut arguments) = parse("url shop other").unwrap();
        arguments.app(command).unwrap();
        assert_eq!(arguments.end(command).unwrap_err().exit_code(), 2);
        let (command, mut arguments) = parse("url").unwrap();
        assert_eq!(arguments.app(command).unwrap_err().exit_code(), 2);
        let (command, mut arguments) = parse("url ../x").unwrap();
        assert_eq!(arguments.app(command).unwrap_err().exit_code(), 2);
        for line in ["apps:list --app shop", "apps:list --global"] {
            let (command, mut arguments) = parse(line).unwrap();
            assert_eq!(arguments.end(command).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
