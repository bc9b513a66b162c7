//! Who may use an app: `access:add`, `access:list`, `access:remove`.

use autostack_domain::permission::{Action, Role};

use crate::commands::{
    command::{Command, FORMAT, Needs, Words},
    invocation::Invocation,
    refusal::Refusal,
    report::Table,
};

pub(crate) const COMMANDS: &[&Command] = &[&ADD, &LIST, &REMOVE];

const ADD: Command = Command {
    name: "access:add",
    arguments: "APP USER viewer|deployer|admin",
    summary: "let somebody use an app",
    details: &[
        "viewer: sees its state and logs. deployer: also pushes, operates, reads and changes its config.",
        "admin: also decides who else may use it, renames and destroys it.",
        "A role that somebody has already is replaced.",
    ],
    options: &[],
    needs: Needs::App(Action::ManageMembers),
    words: Words::Mixed,
    run: |invocation| Box::pin(add(invocation)),
};

const LIST: Command = Command {
    name: "access:list",
    arguments: "APP [--format json]",
    summary: "show who may use an app",
    details: &[],
    options: &[FORMAT],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(list(invocation)),
};

const REMOVE: Command = Command {
    name: "access:remove",
    arguments: "APP USER",
    summary: "let somebody use an app no more",
    details: &["What they have open at it ends. Everybody may give up their own access."],
    options: &[],
    needs: Needs::App(Action::ManageMembers),
    words: Words::Mixed,
    run: |invocation| Box::pin(remove(invocation)),
};

async fn add(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let user = invocation.word("the name or address of a user")?;
    let role: Role = invocation.word("a role: viewer, deployer or admin")?.parse()?;
    invocation.end()?;
    let member = invocation.platform.add_member(&invocation.actor, &app, &user, role).await?;
    invocation.done(format!("{} is {role} of {app}", member.user)).await
}

async fn list(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    let members = invocation.platform.members(&invocation.actor, &app).await?;
    let mut table = Table::new(format!("Access to {app}"), &["user", "role"]);
    for member in members {
        let role = if member.is_owner { "owner" } else { member.role.name() };
        table.push([member.user.as_str(), role]);
    }
    invocation.table(&table).await
}

async fn remove(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let user = invocation.word("the name or address of a user")?;
    invocation.end()?;
    let member = invocation.platform.remove_member(&invocation.actor, &app, &user).await?;
    invocation.done(format!("{} has no access to {app} any more", member.user)).await
}
