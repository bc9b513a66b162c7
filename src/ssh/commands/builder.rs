//! How an app is built: `builder:*`, `builder-dockerfile:*`, `buildpacks:*`.

use autostack_domain::{AppName, BuildSettings, Buildpack, Invalid, limits, permission::Action};
use autostack_platform::{ErrorKind, PlatformError};

use crate::commands::{
    command::{Command, FORMAT, Flag, Needs, Words},
    invocation::Invocation,
    refusal::Refusal,
    report::{Report, Table},
};

pub(crate) const COMMANDS: &[&Command] = &[
    &SET,
    &REPORT,
    &DOCKERFILE_SET,
    &DOCKERFILE_REPORT,
    &ADD,
    &CLEAR,
    &LIST,
    &REMOVE,
    &PACKS_REPORT,
    &PACKS_SET,
];

const NEXT: &str = "It counts from the next deployment on";
const INDEX: Flag = Flag {
    long: "--index",
    short: Some("-i"),
    value: Some("N"),
    summary: "its place in the list, from 1 on",
};

const SET: Command = Command {
    name: "builder:set",
    arguments: "APP PROPERTY [VALUE]",
    summary: "say how an app is built",
    details: &[
        "selected dockerfile|recipe: what builds, whatever the tree shows; herokuish, pack, nixpacks and railpack mean \
         recipe, too. Without a value the tree decides.",
        "build-dir FOLDER: the folder of the tree that is the app. Without a value, its top.",
    ],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(set(invocation)),
};

const REPORT: Command = Command {
    name: "builder:report",
    arguments: "[APP] [--format json]",
    summary: "show how an app is built",
    details: &[],
    options: &[FORMAT],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(report(invocation, builder_row)),
};

const DOCKERFILE_SET: Command = Command {
    name: "builder-dockerfile:set",
    arguments: "APP dockerfile-path [PATH]",
    summary: "name the Dockerfile of an app",
    details: &["PATH begins at the app's folder. Without it, Dockerfile."],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(dockerfile_set(invocation)),
};

const DOCKERFILE_REPORT: Command = Command {
    name: "builder-dockerfile:report",
    arguments: "[APP] [--format json]",
    summary: "show which file is the Dockerfile of an app",
    details: &[],
    options: &[FORMAT],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(report(invocation, dockerfile_row)),
};

const ADD: Command = Command {
    name: "buildpacks:add",
    arguments: "[--index N] APP BUILDPACK",
    summary: "name a language of an app, as buildpacks do",
    details: &[
        "heroku/nodejs, nodejs or the URL of its repository: the recipe of that language builds the app. Of \
                several, the last one starts it.",
    ],
    options: &[INDEX],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(add(invocation)),
};

const PACKS_SET: Command = Command {
    name: "buildpacks:set",
    arguments: "[--index N] APP BUILDPACK",
    summary: "put a buildpack in the place of another one",
    details: &["Without --index, of the first one."],
    options: &[INDEX],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(packs_set(invocation)),
};

const REMOVE: Command = Command {
    name: "buildpacks:remove",
    arguments: "APP BUILDPACK",
    summary: "take a buildpack away",
    details: &[],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(remove(invocation)),
};

const CLEAR: Command = Command {
    name: "buildpacks:clear",
    arguments: "APP",
    summary: "take every buildpack away: the tree decides",
    details: &[],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(clear(invocation)),
};

const LIST: Command = Command {
    name: "buildpacks:list",
    arguments: "APP [--format json]",
    summary: "show the buildpacks of an app",
    details: &[],
    options: &[FORMAT],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(list(invocation)),
};

const PACKS_REPORT: Command = Command {
    name: "buildpacks:report",
    arguments: "[APP] [--format json]",
    summary: "show the buildpacks of apps in one line",
    details: &[],
    options: &[FORMAT],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(report(invocation, buildpacks_row)),
};

/// One change, parsed.
type Change = Box<dyn FnOnce(&mut BuildSettings) -> Result<(), PlatformError> + Send>;

async fn change(invocation: Invocation, app: AppName, told: String, change: Change) -> Result<(), Refusal> {
    let event = (invocation.command.name, told.clone());
    invocation.platform.set_build(&invocation.actor, &app, event, change).await?;
    invocation.done(format!("{told} for {app}")).await?;
    invocation.detail(NEXT).await
}

async fn set(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let property = invocation.word("a property: selected or build-dir")?;
    let value = invocation.arguments.next().filter(|value| !value.is_empty());
    invocation.end()?;
    let (told, apply): (String, Change) = match property.as_str() {
        "selected" => {
            let selected =
                value.as_deref().map(str::parse::<autostack_domain::SelectedBuilder>).transpose()?;
            let told = selected.map_or_else(
                || "Left the builder to the tree".to_owned(),
                |it| format!("Set the builder to {it}"),
            );
            (
                told,
                Box::new(move |build| {
                    build.selected = selected;
                    Ok(())
                }),
            )
        }
        "build-dir" => {
            let dir = value.as_deref().map(str::parse::<autostack_domain::TreePath>).transpose()?;
            let told = dir
                .as_ref()
                .map_or_else(|| "Set build-dir back".to_owned(), |dir| format!("Set build-dir to {dir}"));
            (
                told,
                Box::new(move |build| {
                    build.build_dir = dir;
                    Ok(())
                }),
            )
        }
        other => return Err(Invalid::new("property", other, "there are selected and build-dir").into()),
    };
    change(invocation, app, told, apply).await
}

async fn dockerfile_set(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let property = invocation.word("the property dockerfile-path")?;
    let value = invocation.arguments.next().filter(|value| !value.is_empty());
    invocation.end()?;
    if property != "dockerfile-path" {
        return Err(Invalid::new("property", &property, "there is dockerfile-path").into());
    }
    let path = value.as_deref().map(str::parse::<autostack_domain::TreePath>).transpose()?;
    let told = path.as_ref().map_or_else(
        || "Set dockerfile-path back".to_owned(),
        |path| format!("Set dockerfile-path to {path}"),
    );
    change(
        invocation,
        app,
        told,
        Box::new(move |build| {
            build.dockerfile_path = path;
            Ok(())
        }),
    )
    .await
}

/// App, buildpack and its place in the list, from 0 on.
fn pack_words(invocation: &mut Invocation) -> Result<(AppName, Buildpack, Option<usize>), Refusal> {
    let app = invocation.app()?;
    let pack = invocation.word("the name of a buildpack")?.parse()?;
    let place = match invocation.value(INDEX.long) {
        None => None,
        Some(given) => match given.parse::<usize>() {
            Ok(number) if (1..=limits::BUILDPACKS_MAX).contains(&number) => Some(number - 1),
            _ => return Err(Invalid::new("index", given, "expected a number from 1 to 16").into()),
        },
    };
    invocation.end()?;
    Ok((app, pack, place))
}

async fn add(mut invocation: Invocation) -> Result<(), Refusal> {
    let (app, pack, place) = pack_words(&mut invocation)?;
    let add = move |build: &mut BuildSettings| {
        if build.buildpacks.contains(&pack) {
            return Err(conflict(format!("{pack} is in the list already")));
        }
        if build.buildpacks.len() >= limits::BUILDPACKS_MAX {
            return Err(conflict(format!("there are {} buildpacks already", build.buildpacks.len())));
        }
        let at = place.unwrap_or(build.buildpacks.len()).min(build.buildpacks.len());
        build.buildpacks.insert(at, pack);
        Ok(())
    };
    change(invocation, app, format!("Added buildpack {pack}"), Box::new(add)).await
}

async fn packs_set(mut invocation: Invocation) -> Result<(), Refusal> {
    let (app, pack, place) = pack_words(&mut invocation)?;
    let set = move |build: &mut BuildSettings| {
        let at = place.unwrap_or(0);
        let elsewhere =
            build.buildpacks.iter().enumerate().any(|(other, known)| other != at && *known == pack);
        if elsewhere {
            return Err(conflict(format!("{pack} is in the list already")));
        }
        match build.buildpacks.get_mut(at) {
            Some(old) => *old = pack,
            None => build.buildpacks.push(pack),
        }
        Ok(())
    };
    change(invocation, app, format!("Set buildpack {pack}"), Box::new(set)).await
}

async fn remove(mut invocation: Invocation) -> Result<(), Refusal> {
    let (app, pack, _) = pack_words(&mut invocation)?;
    let remove = move |build: &mut BuildSettings| {
        let before = build.buildpacks.len();
        build.buildpacks.retain(|known| *known != pack);
        if build.buildpacks.len() == before {
            Err(conflict(format!("{pack} is not in the list")))
        } else {
            Ok(())
        }
    };
    change(invocation, app, format!("Removed buildpack {pack}"), Box::new(remove)).await
}

async fn clear(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    let clear = |build: &mut BuildSettings| {
        build.buildpacks.clear();
        Ok(())
    };
    change(invocation, app, "Removed every buildpack".to_owned(), Box::new(clear)).await
}

fn conflict(message: String) -> PlatformError {
    PlatformError::new(ErrorKind::Conflict, message).hint("buildpacks:list APP shows the list")
}

async fn list(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    let build = invocation.platform.build_settings(&invocation.actor, &app).await?;
    let mut table = Table::new(format!("{app} buildpacks"), &["buildpack"]);
    build.buildpacks.iter().for_each(|pack| table.push([pack]));
    invocation.table(&table).await
}

async fn report(
    mut invocation: Invocation,
    row: fn(&AppName, &BuildSettings) -> Report,
) -> Result<(), Refusal> {
    let named = invocation.maybe_app()?;
    invocation.end()?;
    let platform = &invocation.platform;
    if let Some(app) = named {
        let build = platform.build_settings(&invocation.actor, &app).await?;
        return invocation.report(&row(&app, &build)).await;
    }
    let mut reports = Vec::new();
    for app in platform.apps(&invocation.actor).await? {
        reports.push(row(&app.name, &platform.build_settings(&invocation.actor, &app.name).await?));
    }
    invocation.reports(&reports).await
}

fn builder_row(app: &AppName, build: &BuildSettings) -> Report {
    Report::new("builder", app)
        .row("build-dir", build.build_dir.as_ref().map_or("", |dir| dir.as_str()))
        .row("selected", build.selected.map_or("", |selected| selected.as_str()))
}

fn dockerfile_row(app: &AppName, build: &BuildSettings) -> Report {
    let path = build.dockerfile_path.as_ref().map_or("", |path| path.as_str());
    let computed = if path.is_empty() { "Dockerfile" } else { path };
    Report::new("builder-dockerfile", app)
        .row("dockerfile-path", path)
        .row("computed-dockerfile-path", computed)
}

fn buildpacks_row(app: &AppName, build: &BuildSettings) -> Report {
    let names: Vec<String> = build.buildpacks.iter().map(ToString::to_string).collect();
    Report::new("buildpacks", app).row("list", names.join(","))
}
