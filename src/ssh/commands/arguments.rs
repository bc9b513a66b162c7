//! The words after a command's name: which are options, which is the app.

use std::collections::{BTreeMap, VecDeque};

use autostack_domain::AppName;

use crate::commands::{
    command::{Command, Flag},
    refusal::Refusal,
};

/// What was given to a command. Whoever takes all it knows ends with [`Arguments::end`], so that nothing is
/// ignored in silence.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    plain: VecDeque<String>,
    app: Option<String>,
    options: BTreeMap<&'static str, String>,
    wants_help: bool,
}

impl Arguments {
    /// Reads the words. Options may stand anywhere; after `--` all is plain.
    pub(crate) fn parse(command: &Command, words: impl IntoIterator<Item = String>) -> Result<Self, Refusal> {
        let mut arguments = Self::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            if word == "--" {
                arguments.plain.extend(words);
                break;
            }
            if !word.starts_with('-') || word == "-" {
                arguments.plain.push_back(word);
                continue;
            }
            arguments.option(command, &word, &mut words)?;
        }
        Ok(arguments)
    }

    /// Whether `--help` was among them.
    pub(crate) fn wants_help(&self) -> bool {
        self.wants_help
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
        self.options.get(long).map(String::as_str)
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
    pub(crate) fn end(mut self, command: &Command) -> Result<(), Refusal> {
        match (self.plain.pop_front(), self.app) {
            (Some(extra), _) => {
                Err(Refusal::usage(command, format!("{} does not know what {extra} is.", command.name)))
            }
            (None, Some(_)) => {
                Err(Refusal::usage(command, format!("{} is not about one app.", command.name)))
            }
            (None, None) => Ok(()),
        }
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
        if matches!(name, "--help" | "-h") && attached.is_none() {
            self.wants_help = true;
            return Ok(());
        }
        let known = |flag: &&Flag| flag.long == name || flag.short == Some(name);
        let Some(flag) = command.options.iter().find(known) else {
            return Err(Refusal::usage(command, format!("{} has no option {name}.", command.name)));
        };
        let given = match (flag.value, attached) {
            (Some(what), _) => value(what)?,
            (None, None) => String::new(),
            (None, Some(_)) => {
                return Err(Refusal::usage(command, format!("{name} does not take a value.")));
            }
        };
        self.options.insert(flag.long, given);
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
        let (command, arguments) = parse("apps:list --app shop").unwrap();
        assert_eq!(arguments.end(command).unwrap_err().exit_code(), 2);
    }
}
