//! Plugins: there are none, and tools that ask get an answer of the right shape.

use crate::commands::{
    command::{Command, FORMAT, Needs, Words},
    invocation::Invocation,
    refusal::Refusal,
};

pub(crate) const COMMANDS: &[&Command] = &[&LIST, &INSTALLED];

const LIST: Command = Command {
    name: "plugin:list",
    arguments: "[--format json]",
    summary: "show the plugins: none, all is built in",
    details: &[],
    options: &[FORMAT],
    needs: Needs::Nothing,
    words: Words::Mixed,
    run: |invocation| Box::pin(list(invocation)),
};

const INSTALLED: Command = Command {
    name: "plugin:installed",
    arguments: "NAME",
    summary: "say by the exit code whether there is such a plugin",
    details: &["1: there is none."],
    options: &[],
    needs: Needs::Nothing,
    words: Words::Mixed,
    run: |invocation| Box::pin(installed(invocation)),
};

async fn list(mut invocation: Invocation) -> Result<(), Refusal> {
    invocation.end()?;
    // Tools count the lines.
    if invocation.json()? { invocation.print("[]").await } else { Ok(()) }
}

async fn installed(mut invocation: Invocation) -> Result<(), Refusal> {
    invocation.word("the name of a plugin")?;
    invocation.end()?;
    Err(Refusal::failed("There are no plugins: all is built in."))
}
