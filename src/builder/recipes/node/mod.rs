//! Node.js: `package.json` decides.
//!
//! Differences from nixpacks, each for a reason:
//! - a `start` script runs as its own command line, not under `npm run`: signals reach the app, and pnpm or
//!   Yarn are not needed to start it;
//! - development dependencies are left out or pruned where nothing that runs names one, as Heroku does;
//! - an app without dependencies has no install step at all.

mod install_reuse;
mod manager;
mod package;
mod start;

use autostack_domain::Failure;

pub(crate) use self::package::Package;
use self::{
    manager::{Kind, Manager},
    package::read,
};
use super::commands;
use crate::{
    draft::{Context, Draft},
    plan::{CacheFolder, Recipe, Step},
};

/// `package.json` of the tree, if it has one.
pub(crate) fn package(context: &Context) -> Result<Option<Package>, Failure> {
    read(context)
}

/// Drafts a plan for a Node.js app.
pub(crate) fn draft(context: &Context, package: &Package) -> Result<Draft, Failure> {
    let mut draft = Draft::new(Recipe::Node);
    draft.because("package.json found: Node.js");
    if let Some(wanted) = &package.node_wanted {
        draft.because(format!("engines.node asks for {wanted}; the host's node is used"));
    }
    let manager = Manager::choose(context, package)?;
    start::guess(context, package, &manager, &mut draft)?;
    draft.launch_var("NODE_ENV", "production");
    add_steps(context, package, &manager, &mut draft)?;
    if draft.static_site.is_none() {
        draft.needs(context, "node", "package.json")?;
    }
    Ok(draft)
}

/// Adds the build of a package to the plan of another language: the assets of a Django site.
pub(crate) fn add_assets(context: &Context, package: &Package, draft: &mut Draft) -> Result<(), Failure> {
    let manager = Manager::choose(context, package)?;
    draft.because("package.json with a build script found: its assets are built too");
    add_steps(context, package, &manager, draft)
}

/// Installs, builds, prunes.
fn add_steps(
    context: &Context,
    package: &Package,
    manager: &Manager,
    draft: &mut Draft,
) -> Result<(), Failure> {
    let build = package.build_script();
    let runs_dev = runs_development_dependency(context, package, draft);
    let with_dev = build.is_some() || runs_dev;
    let is_empty = package.dependencies.is_empty() && (!with_dev || package.dev_dependencies.is_empty());
    let installs = !is_empty || package.has_workspaces || package.has_install_scripts();
    let starts_with_manager = starts_with(&start::running_lines(context, package, draft), manager.kind);
    if installs || build.is_some() || starts_with_manager {
        draft.needs(context, "npm", "package.json")?;
        draft.cache(CacheFolder::new("npm", "npm_config_cache"));
        fetch_manager(manager, starts_with_manager, draft);
    }
    if installs {
        add_install(context, package, manager, with_dev, draft);
    } else {
        draft.because("No dependencies: nothing to install");
    }
    if let Some(script) = build {
        draft.because(format!("{script} script found: {}", manager.run(script)));
        draft.steps.push(Step::new("Building", manager.run(script)));
    }
    let prunes =
        build.is_some() && !runs_dev && !package.dev_dependencies.is_empty() && !package.has_workspaces;
    if let (true, true, Some(command)) = (installs, prunes, manager.prune()) {
        draft.steps.push(Step::new("Removing development dependencies", command).env("CI", "true"));
    }
    if installs {
        draft.launch_path("node_modules/.bin");
    }
    Ok(())
}

fn add_install(context: &Context, package: &Package, manager: &Manager, with_dev: bool, draft: &mut Draft) {
    let command = manager.install(with_dev);
    draft.because(
        format!("{} found: {command}", manager.because).replace("no lock file found", "No lock file"),
    );
    if manager.lock.is_none() {
        let bun = ["bun.lock", "bun.lockb"].into_iter().find(|file| context.source.has_file(file));
        draft.warn(match bun {
            Some(file) => {
                format!("{file} is not read: npm installs what fits package.json; commit a package-lock.json")
            }
            None => {
                "no lock file: every build may install other versions; commit the one that npm install writes"
                    .to_owned()
            }
        });
    }
    let step = Step::new("Installing dependencies", command)
        .env("npm_config_audit", "false")
        .env("npm_config_fund", "false")
        .env("npm_config_update_notifier", "false")
        .reuse(install_reuse::reuse(context, package, manager));
    draft.steps.push(step);
}

/// Fetches pnpm or Yarn into the cache; into the artifact too where the app is started with it.
fn fetch_manager(manager: &Manager, starts_with_manager: bool, draft: &mut Draft) {
    if manager.kind == Kind::Npm {
        return;
    }
    let (name, folder, spec) = (manager.kind.name(), manager.folder(), manager.npm_spec());
    let mut cache = CacheFolder::new(format!("tools/{folder}"), "AUTOSTACK_MANAGER");
    cache.path = Some("node_modules/.bin".to_owned());
    draft.cache(cache);
    let command = format!(
        "npm install --prefix \"$AUTOSTACK_MANAGER\" --no-save --no-audit --no-fund --ignore-scripts {spec}"
    );
    let step = Step::new(format!("Getting {name}"), command).known_as(format!("npm install {spec}"));
    draft.steps.push(step.fills("AUTOSTACK_MANAGER"));
    if starts_with_manager {
        let command = format!("mkdir -p .autostack && cp -a \"$AUTOSTACK_MANAGER\" .autostack/{name}");
        let step = Step::new(format!("Adding {name} to the artifact"), command);
        draft.steps.push(step.known_as(format!("cp {name}")));
        draft.launch_path(&format!(".autostack/{name}/node_modules/.bin"));
    }
    match manager.kind {
        Kind::Npm => {}
        Kind::Pnpm => draft.cache(CacheFolder::new("pnpm", "npm_config_store_dir")),
        Kind::Yarn | Kind::Berry => draft.cache(CacheFolder::new("yarn", "YARN_CACHE_FOLDER")),
    }
    // Without this, Yarn 2 and later makes no node_modules, and plain `node` finds no dependency.
    if manager.kind == Kind::Berry {
        draft.launch_var("YARN_NODE_LINKER", "node-modules");
        draft.launch_var("YARN_ENABLE_TELEMETRY", "0");
    }
}

/// Whether something that runs is a development dependency (`ts-node`, `nodemon`): then they stay.
fn runs_development_dependency(context: &Context, package: &Package, draft: &Draft) -> bool {
    let lines = start::running_lines(context, package, draft);
    package.dev_dependencies.iter().any(|name| lines.iter().any(|line| commands::mentions(line, name)))
}

/// Whether the app is started with pnpm or Yarn.
fn starts_with(lines: &[&str], kind: Kind) -> bool {
    kind != Kind::Npm && lines.iter().any(|line| commands::mentions(line, kind.name()))
}
