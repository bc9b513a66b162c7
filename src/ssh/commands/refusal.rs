//! Why a command did not do what it was asked for: lines for stderr, and an exit code.

use autostack_domain::{Invalid, Line};
use autostack_platform::PlatformError;

use crate::{commands::command::Command, output::Gone};

/// Exit code of a command that is not there.
pub(crate) const EXIT_UNKNOWN_COMMAND: u8 = 10;
/// Exit code of bad usage.
pub(crate) const EXIT_USAGE: u8 = 2;
/// Exit code of a failure.
pub(crate) const EXIT_FAILED: u8 = 1;

/// How a command ends that fails.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// With words.
    Said {
        /// What was wrong, and what to try next, a sentence each.
        lines: Vec<String>,
        /// The exit code.
        exit_code: u8,
    },
    /// Without: nobody is there to read them.
    Gone,
}

impl Refusal {
    /// A failure in one sentence.
    pub(crate) fn failed(sentence: impl Into<String>) -> Self {
        Self::Said { lines: vec![sentence.into()], exit_code: EXIT_FAILED }
    }

    /// A failure whose lines were shown already.
    pub(crate) fn shown() -> Self {
        Self::Said { lines: Vec::new(), exit_code: EXIT_FAILED }
    }

    /// A program that was run for the client has ended with this code, and said itself what there was to say.
    pub(crate) fn ended(exit_code: u8) -> Self {
        Self::Said { lines: Vec::new(), exit_code }
    }

    /// The command was used in a way that it does not know.
    pub(crate) fn usage(command: &Command, sentence: impl Into<String>) -> Self {
        let usage = format!("Usage: {}", command.usage());
        Self::Said { lines: vec![sentence.into(), usage], exit_code: EXIT_USAGE }
    }

    /// What the client reads.
    pub(crate) fn lines(&self) -> Vec<Line> {
        match self {
            Refusal::Said { lines, .. } => lines.iter().map(Line::trouble).collect(),
            Refusal::Gone => Vec::new(),
        }
    }

    /// What the client's shell sees.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Refusal::Said { exit_code, .. } => *exit_code,
            Refusal::Gone => EXIT_FAILED,
        }
    }
}

impl From<Gone> for Refusal {
    fn from(_gone: Gone) -> Self {
        Refusal::Gone
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self::Said { lines: vec![sentence(&invalid.to_string())], exit_code: EXIT_USAGE }
    }
}

impl From<PlatformError> for Refusal {
    fn from(error: PlatformError) -> Self {
        let hint = error.hint.iter().map(|hint| format!("Next: {hint}"));
        let lines = std::iter::once(sentence(&error.message)).chain(hint).collect();
        Self::Said { lines, exit_code: error.exit_code() }
    }
}

/// A fragment as a sentence: first letter in upper case, full stop. What begins with a name in quotes or
/// digits stays as it is.
pub(crate) fn sentence(fragment: &str) -> String {
    let mut letters = fragment.chars();
    let Some(first) = letters.next() else { return String::new() };
    let stop = if fragment.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{}{stop}", first.to_uppercase(), letters.as_str())
}

#[cfg(test)]
mod tests {
    use autostack_platform::ErrorKind;

    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_contract() {
        let code = |kind| Refusal::from(PlatformError::new(kind, "x")).exit_code();
        assert_eq!(code(ErrorKind::NoApp), 20);
        assert_eq!(code(ErrorKind::NotFound), 1);
        assert_eq!(code(ErrorKind::Invalid), 2);
        assert_eq!(code(ErrorKind::Denied), 1);
        assert_eq!(Refusal::from(Invalid::new("app name", "A", "no")).exit_code(), 2);
    }

    #[test]
    fn a_refusal_says_what_and_what_next() {
        let error = PlatformError::new(ErrorKind::NoApp, "there is no app x").hint("apps:list");
        let lines: Vec<_> = Refusal::from(error).lines().iter().map(Line::to_string).collect();
        assert_eq!(lines, [" !     There is no app x.", " !     Next: apps:list"]);
    }
}
