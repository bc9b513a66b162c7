//! Storage: `storage:ensure-directory`, `storage:exists`, `storage:mount`, `storage:unmount`, `storage:list`,
//! `storage:report`.

use autostack_domain::{
    AppName, Line,
    permission::{Action, Actor},
    storage::StorageName,
};
use autostack_platform::{
    Platform,
    storage::{Chown, StorageView},
};

use crate::commands::{
    command::{Command, FORMAT, Flag, Needs, Words},
    invocation::Invocation,
    refusal::Refusal,
    report::Report,
};

pub(crate) const COMMANDS: &[&Command] = &[&ENSURE, &EXISTS, &MOUNT, &UNMOUNT, &LIST, &REPORT];

const CHOWN: Flag = Flag {
    long: "--chown",
    short: None,
    value: Some("WHOM"),
    summary: "the user that the app's image runs as: herokuish, heroku, paketo, root, or false for nobody",
};

const ENSURE: Command = Command {
    name: "storage:ensure-directory",
    arguments: "NAME [--chown WHOM]",
    summary: "make a directory that outlives releases, to be mounted into apps",
    details: &["It belongs to who made it, and stays when apps are destroyed."],
    options: &[CHOWN],
    needs: Needs::Nothing,
    words: Words::Mixed,
    run: |invocation| Box::pin(ensure(invocation)),
};

const EXISTS: Command = Command {
    name: "storage:exists",
    arguments: "NAME",
    summary: "say by the exit code whether there is such a directory of yours",
    details: &[],
    options: &[],
    needs: Needs::Nothing,
    words: Words::Mixed,
    run: |invocation| Box::pin(exists(invocation)),
};

const MOUNT: Command = Command {
    name: "storage:mount",
    arguments: "APP NAME:/PATH/IN/THE/APP[:ro]",
    summary: "show a directory to the instances of an app",
    details: &[
        "NAME is a storage directory; its whole path does too. Admins of the platform may mount any folder.",
        "An app that runs as processes sees /app/PATH as PATH in its own folder, by a link; other places and :ro need containers.",
        "STORAGE_NAME in the environment says where. It counts for instances that are started from then on: ps:restart APP",
    ],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(mount(invocation)),
};

const UNMOUNT: Command = Command {
    name: "storage:unmount",
    arguments: "APP NAME:/PATH/IN/THE/APP",
    summary: "show a directory no more; what is in it stays",
    details: &["It counts for instances that are started from then on: ps:restart APP"],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(unmount(invocation)),
};

const LIST: Command = Command {
    name: "storage:list",
    arguments: "APP [--format json]",
    summary: "show what is mounted into an app",
    details: &[],
    options: &[FORMAT],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(list(invocation)),
};

const REPORT: Command = Command {
    name: "storage:report",
    arguments: "[APP] [--storage-deploy-mounts] [--format json]",
    summary: "show the storage of apps",
    details: &[],
    options: &[FORMAT],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(report(invocation)),
};

fn name(invocation: &mut Invocation) -> Result<StorageName, Refusal> {
    Ok(invocation.word("the name of a storage directory")?.parse()?)
}

async fn ensure(mut invocation: Invocation) -> Result<(), Refusal> {
    let name = name(&mut invocation)?;
    let chown = invocation.value(CHOWN.long).map(Chown::named).transpose()?;
    invocation.end()?;
    let made = invocation.platform.ensure_storage(&invocation.actor, &name, chown).await?;
    if !invocation.has("--quiet") {
        let line = Line::step(format!("Ensuring {} exists", made.path.display()));
        invocation.output.line(&line).await?;
    }
    if let Some(owner) = made.owner {
        invocation.detail(format!("Setting directory ownership to {owner}:{owner}")).await?;
    }
    if let Some(why) = made.not_given {
        invocation.output.line(&Line::trouble(format!("Directory ownership is not set: {why}"))).await?;
    }
    invocation.detail("Directory ready for mounting").await
}

async fn exists(mut invocation: Invocation) -> Result<(), Refusal> {
    let name = name(&mut invocation)?;
    invocation.end()?;
    if invocation.platform.has_storage(&invocation.actor, &name).await? {
        return invocation.done(format!("There is a storage directory {name}")).await;
    }
    Err(Refusal::failed(format!("There is no storage directory {name} of yours.")))
}

async fn mount(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let given = invocation.word("DIRECTORY:/path/in/the/app")?;
    invocation.end()?;
    let mounted = invocation.platform.mount_storage(&invocation.actor, &app, &given).await?;
    invocation.done(format!("Mounted {mounted} into {app}")).await?;
    invocation.detail(format!("Next: ps:restart {app}")).await
}

async fn unmount(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let given = invocation.word("DIRECTORY:/path/in/the/app")?;
    invocation.end()?;
    let unmounted = invocation.platform.unmount_storage(&invocation.actor, &app, &given).await?;
    invocation.done(format!("Unmounted {unmounted} from {app}")).await?;
    invocation.detail(format!("Next: ps:restart {app}")).await
}

async fn list(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    let view = invocation.platform.storage(&invocation.actor, &app).await?;
    if invocation.json()? {
        let split = |mount: &String| {
            let mut parts = mount.split(':').map(str::to_owned);
            let (host, container) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            serde_json::json!({
                "host_path": host, "container_path": container, "volume_options": parts.next().unwrap_or_default(),
            })
        };
        return invocation.print_json(&view.mounts.iter().map(split).collect::<Vec<_>>()).await;
    }
    if !invocation.has("--quiet") {
        invocation.output.line(&Line::result(format!("{app} volume bind-mounts:"))).await?;
    }
    for mount in view.mounts {
        invocation.output.line(&Line::detail(mount)).await?;
    }
    Ok(())
}

async fn report(invocation: Invocation) -> Result<(), Refusal> {
    let of = async |platform: &Platform, actor: &Actor, app: &AppName| {
        Ok(report_of(&platform.storage(actor, app).await?))
    };
    invocation.report_each(of).await
}

fn report_of(view: &StorageView) -> Report {
    let mounts: Vec<String> = view.mounts.iter().map(|mount| format!("-v {mount}")).collect();
    let mounts = mounts.join(" ");
    Report::new("storage", &view.app)
        .row("build-mounts", "")
        .row("deploy-mounts", &mounts)
        .row("run-mounts", &mounts)
}
