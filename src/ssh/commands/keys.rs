//! SSH keys: `ssh-keys:*` are everybody's, for admins of the platform; `keys:*` are one's own.

use autostack_domain::permission::Actor;
use autostack_platform::{KEY_LINE_BYTES_MAX, KeyView, Keyring, PlatformError};

use crate::commands::{
    command::{Command, FORMAT, Flag, Needs, Words},
    invocation::Invocation,
    refusal::Refusal,
    report::Table,
};

const FINGERPRINT: Flag = Flag {
    long: "--fingerprint",
    short: None,
    value: Some("SHA256:…"),
    summary: "the key with this fingerprint, where several have one name",
};

pub(crate) const COMMANDS: &[&Command] =
    &[&ADD, &LIST, &REMOVE, &ADD_FOR_ANYBODY, &LIST_EVERYBODYS, &REMOVE_ANYBODYS];

const ADD: Command = Command {
    name: "keys:add",
    arguments: "NAME [KEY]",
    summary: "let another key of yours in",
    details: &["ssh HOST keys:add laptop < ~/.ssh/id_ed25519.pub", "The key may also follow the name."],
    options: &[],
    needs: Needs::Nothing,
    words: Words::Mixed,
    run: |invocation| Box::pin(add(invocation)),
};

const LIST: Command = Command {
    name: "keys:list",
    arguments: "[--format json]",
    summary: "show your keys",
    details: &[],
    options: &[FORMAT],
    needs: Needs::Nothing,
    words: Words::Mixed,
    run: |invocation| Box::pin(list(invocation, Keyring::Own)),
};

const REMOVE: Command = Command {
    name: "keys:remove",
    arguments: "NAME|--fingerprint SHA256:…",
    summary: "let a key of yours in no more",
    details: &[
        "It takes effect at once, also for connections that are open. The last one only with --force.",
    ],
    options: &[FINGERPRINT],
    needs: Needs::Nothing,
    words: Words::Mixed,
    run: |invocation| Box::pin(remove(invocation, Keyring::Own)),
};

const ADD_FOR_ANYBODY: Command = Command {
    name: "ssh-keys:add",
    arguments: "NAME [KEY] [--user USER] [--admin]",
    summary: "let somebody's key in",
    details: &[
        "ssh HOST ssh-keys:add bob < bob.pub",
        "Makes the user bob, who may create apps, and whom access:add APP bob ROLE lets to others.",
        "Keys whose names differ from their user's: ssh-keys:add laptop --user bob.",
    ],
    options: &[
        Flag {
            long: "--user",
            short: None,
            value: Some("USER"),
            summary: "whose it is, unless NAME says so",
        },
        Flag {
            long: "--admin",
            short: None,
            value: None,
            summary: "make the new user an admin of the platform",
        },
    ],
    needs: Needs::Host,
    words: Words::Mixed,
    run: |invocation| Box::pin(add_for_anybody(invocation)),
};

const LIST_EVERYBODYS: Command = Command {
    name: "ssh-keys:list",
    arguments: "[NAME] [--format json]",
    summary: "show everybody's keys, or those of one name",
    details: &[],
    options: &[FORMAT],
    needs: Needs::Host,
    words: Words::Mixed,
    run: |invocation| Box::pin(list(invocation, Keyring::Everybodys)),
};

const REMOVE_ANYBODYS: Command = Command {
    name: "ssh-keys:remove",
    arguments: "NAME|--fingerprint SHA256:…",
    summary: "let somebody's key in no more",
    details: &["It takes effect at once, also for connections that are open."],
    options: &[FINGERPRINT],
    needs: Needs::Host,
    words: Words::Mixed,
    run: |invocation| Box::pin(remove(invocation, Keyring::Everybodys)),
};

async fn add(mut invocation: Invocation) -> Result<(), Refusal> {
    let (name, line) = name_and_key(&mut invocation).await?;
    let key = invocation.platform.add_own_key(&invocation.actor, &name, &line).await?;
    added(&invocation, &key).await
}

async fn add_for_anybody(mut invocation: Invocation) -> Result<(), Refusal> {
    // Who may not is told so before the key is waited for.
    check_admin(&invocation.actor)?;
    let (name, line) = name_and_key(&mut invocation).await?;
    let user = invocation.value("--user").unwrap_or(&name);
    let is_admin = invocation.has("--admin");
    let key = invocation.platform.let_in(&invocation.actor, &name, user, is_admin, &line).await?;
    added(&invocation, &key).await
}

async fn added(invocation: &Invocation, key: &KeyView) -> Result<(), Refusal> {
    invocation.print(&key.fingerprint).await?;
    let who = if key.is_admin { ", an admin of the platform" } else { "" };
    invocation.done(format!("Key {} of {}{who} is let in", key.name, key.user)).await
}

/// The name, and the key: the words behind it, or what the client sends.
async fn name_and_key(invocation: &mut Invocation) -> Result<(String, String), Refusal> {
    let name = invocation.word("a name for the key")?;
    let words = invocation.rest();
    invocation.end()?;
    if !words.is_empty() {
        return Ok((name, words.join(" ")));
    }
    let bytes = invocation.read_input(KEY_LINE_BYTES_MAX, "A key").await?;
    match String::from_utf8(bytes) {
        Ok(line) if !line.trim().is_empty() => Ok((name, line)),
        Ok(_) => Err(invocation.usage(format!(
            "{} needs the public key: behind the name, or on standard input.",
            invocation.command.name
        ))),
        Err(_) => Err(Refusal::failed("This is not a public key: it is not text.")),
    }
}

async fn list(mut invocation: Invocation, ring: Keyring) -> Result<(), Refusal> {
    let name = if ring == Keyring::Everybodys { invocation.arguments.next() } else { None };
    invocation.end()?;
    let keys = invocation.platform.keys_of(&invocation.actor, ring).await?;
    let mut table = Table::new("SSH keys", &["name", "fingerprint", "user"]);
    let keys = keys.iter().filter(|key| name.as_ref().is_none_or(|name| key.name == *name));
    keys.for_each(|key| table.push([&key.name, &key.fingerprint, &key.user]));
    invocation.table(&table).await
}

async fn remove(mut invocation: Invocation, ring: Keyring) -> Result<(), Refusal> {
    if ring == Keyring::Everybodys {
        check_admin(&invocation.actor)?;
    }
    let meant = match invocation.value("--fingerprint") {
        Some(fingerprint) => fingerprint.to_owned(),
        None => invocation.word("the name of a key, or --fingerprint")?,
    };
    invocation.end()?;
    let is_forced = invocation.has("--force");
    let key = invocation.platform.remove_key_of(&invocation.actor, ring, &meant, is_forced).await?;
    invocation.done(format!("Key {} of {} is let in no more", key.name, key.user)).await
}

fn check_admin(actor: &Actor) -> Result<(), PlatformError> {
    autostack_platform::keys::check_host(actor, "manage other people's keys")
}
