//! How an app is built: `builder:*`, `builder-dockerfile:*`, `buildpacks:*`.

use autostack_domain::{BuildSettings, Buildpack, Invalid, SelectedBuilder, limits, permission::Action};
use autostack_platform::{ErrorKind, PlatformError};

use crate::commands::{
    command::{Command, FORMAT, Flag, Needs, Words},
    invocation::{Invocation, Scope},
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
    arguments: "APP|--global PROPERTY [VALUE]",
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
    arguments: "[APP|--global] [--format json]",
    summary: "show how an app is built",
    details: &[],
    options: &[FORMAT],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(report(invocation, builder_row)),
};

const DOCKERFILE_SET: Command = Command {
    name: "builder-dockerfile:set",
    arguments: "APP|--global dockerfile-path [PATH]",
    summary: "name the Dockerfile of an app",
    details: &["PATH begins at the app's folder. Without it, Dockerfile."],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(dockerfile_set(invocation)),
};

const DOCKERFILE_REPORT: Command = Command {
    name: "builder-dockerfile:report",
    arguments: "[APP|--global] [--format json]",
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

async fn change(invocation: Invocation, scope: Scope, told: String, change: Change) -> Result<(), Refusal> {
    let event = (invocation.command.name, told.clone());
    invocation.platform.set_build(&invocation.actor, scope.app(), event, change).await?;
    invocation.done(format!("{told} for {scope}")).await?;
    invocation.detail(NEXT).await
}

async fn set(mut invocation: Invocation) -> Result<(), Refusal> {
    let scope = invocation.scope()?;
    let property = invocation.word("a property: selected or build-dir")?;
    let value = invocation.arguments.next().filter(|value| !value.is_empty());
    invocation.end()?;
    let (told, apply): (String, Change) = match property.as_str() {
        "selected" => {
            let selected = value.as_deref().map(str::parse::<SelectedBuilder>).transpose()?;
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
    change(invocation, scope, told, apply).await
}

async fn dockerfile_set(mut invocation: Invocation) -> Result<(), Refusal> {
    let scope = invocation.scope()?;
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
        scope,
        told,
        Box::new(move |build| {
            build.dockerfile_path = path;
            Ok(())
        }),
    )
    .await
}

/// App, buildpack and its place in the list, from 0 on.
fn pack_words(invocation: &mut Invocation) -> Result<(Scope, Buildpack, Option<usize>), Refusal> {
    let app = invocation.app().map(Scope::App)?;
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
    let app = invocation.app().map(Scope::App)?;
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
    let (build, _host) = invocation.platform.build_settings(&invocation.actor, &app).await?;
    let mut table = Table::new(format!("{app} buildpacks"), &["buildpack"]);
    build.buildpacks.iter().for_each(|pack| table.push([pack]));
    invocation.table(&table).await
}

/// What an app says itself, and what holds for all; for the host itself the first says nothing.
type Row = fn(&Scope, &BuildSettings, &BuildSettings) -> Report;

async fn report(mut invocation: Invocation, row: Row) -> Result<(), Refusal> {
    let is_global = invocation.arguments.take_global();
    let named = if is_global { None } else { invocation.maybe_app()? };
    invocation.end()?;
    let (platform, actor) = (&invocation.platform, &invocation.actor);
    if is_global {
        let host = platform.host_defaults(actor).await?;
        return invocation.report(&row(&Scope::Global, &BuildSettings::default(), &host.build)).await;
    }
    let one = named.is_some();
    let names = match named {
        Some(app) => vec![app],
        None => platform.apps(actor).await?.into_iter().map(|app| app.name).collect(),
    };
    let mut reports = Vec::new();
    for app in names {
        let (own, host) = platform.build_settings(actor, &app).await?;
        reports.push(row(&Scope::App(app), &own, &host));
    }
    match reports.as_slice() {
        [only] if one => invocation.report(only).await,
        all => invocation.reports(all).await,
    }
}

fn builder_row(about: &Scope, own: &BuildSettings, host: &BuildSettings) -> Report {
    let dir = |build: &BuildSettings| build.build_dir.as_ref().map(ToString::to_string).unwrap_or_default();
    let selected = |build: &BuildSettings| build.selected.map_or("", SelectedBuilder::as_str);
    let computed = own.over(host);
    Report::new("builder", about)
        .row("build-dir", dir(own))
        .row("computed-build-dir", dir(&computed))
        .row("global-build-dir", dir(host))
        .row("selected", selected(own))
        .row("computed-selected", selected(&computed))
        .row("global-selected", selected(host))
}

fn dockerfile_row(about: &Scope, own: &BuildSettings, host: &BuildSettings) -> Report {
    let path = |build: &BuildSettings| build.dockerfile_path.as_ref().map(ToString::to_string);
    Report::new("builder-dockerfile", about)
        .row("dockerfile-path", path(own).unwrap_or_default())
        .row("computed-dockerfile-path", path(&own.over(host)).unwrap_or_else(|| "Dockerfile".to_owned()))
        .row("global-dockerfile-path", path(host).unwrap_or_default())
}

fn buildpacks_row(about: &Scope, own: &BuildSettings, _host: &BuildSettings) -> Report {
    let names: Vec<String> = own.buildpacks.iter().map(ToString::to_string).collect();
    Report::new("buildpacks", about).row("list", names.join(","))
}
