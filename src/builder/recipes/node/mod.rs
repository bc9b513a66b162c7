//! Node.js: `package.json` decides.
//!
//! Differences from nixpacks, each for a reason:
//! - a `start` script runs as its own command line, not under `npm run`: signals reach the app, and pnpm or
//!   Yarn are not needed to start it;
//! - development dependencies are left out or pruned where nothing that runs names one, as Heroku does;
//! - an app without dependencies has no install step at all;
//! - an app that is a member of a workspace is installed at the top, and built with what it needs alone.

mod install_reuse;
mod manager;
mod package;
mod start;
mod workspace;

use autostack_domain::Failure;

pub(crate) use self::package::Package;
use self::{
    manager::{Kind, Manager},
    package::read,
    workspace::Workspace,
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

/// What the last step of a build with development dependencies is called.
const PRUNING: &str = "Removing development dependencies";

/// A package, the workspace that it may be a member of, and what installs both.
struct Project<'a> {
    package: &'a Package,
    workspace: Option<Workspace<'a>>,
    manager: Manager,
}

impl<'a> Project<'a> {
    fn look(context: &Context<'a>, package: &'a Package) -> Result<Self, Failure> {
        let workspace = Workspace::around(context)?;
        let manager = match &workspace {
            Some(workspace) => Manager::choose(&workspace.context, &workspace.package)?,
            None => Manager::choose(context, package)?,
        };
        Ok(Self { package, workspace, manager })
    }
}

/// Drafts a plan for a Node.js app.
pub(crate) fn draft(context: &Context, package: &Package) -> Result<Draft, Failure> {
    let project = Project::look(context, package)?;
    let is_bun = project.manager.kind == Kind::Bun;
    let mut draft = Draft::new(if is_bun { Recipe::Bun } else { Recipe::Node });
    draft.because(format!("package.json found: {}", draft.recipe));
    start::guess(context, package, &project.manager, &mut draft)?;
    draft.launch_var("NODE_ENV", "production");
    add_steps(context, &project, &mut draft)?;
    if draft.static_site.is_none() {
        draft.needs(context, if is_bun { "bun" } else { "node" }, "package.json")?;
    }
    if is_bun && !project.manager.version.is_empty() {
        draft.wants(context, "bun", &project.manager.version, "packageManager");
    } else if let Some((wanted, file)) = package.node_version(context).filter(|_| !is_bun) {
        draft.wants(context, "node", &wanted, file);
    }
    Ok(draft)
}

/// Puts the build of a package before the plan of another language: the assets of a Django site. What it needs
/// for development is removed last, because steps of that language may build with it too.
pub(crate) fn put_assets_before(
    context: &Context,
    package: &Package,
    draft: &mut Draft,
) -> Result<(), Failure> {
    let mut assets = Draft::new(draft.recipe);
    assets.because("package.json with a build script found: its assets are built too");
    let project = Project::look(context, package)?;
    add_steps(context, &project, &mut assets)?;
    if project.manager.kind != Kind::Bun {
        assets.needs(context, "node", "package.json")?;
    }
    draft.reasons.append(&mut assets.reasons);
    draft.warnings.append(&mut assets.warnings);
    draft.tools.append(&mut assets.tools);
    draft.caches.append(&mut assets.caches);
    draft.launch.vars.append(&mut assets.launch.vars);
    draft.top_steps.append(&mut assets.top_steps);
    draft.top_path.append(&mut assets.top_path);
    for folder in &assets.launch.path {
        draft.launch_path(folder);
    }
    let pruning = assets.steps.pop_if(|step| step.title == PRUNING);
    assets.steps.append(&mut draft.steps);
    draft.steps = assets.steps;
    draft.steps.extend(pruning);
    Ok(())
}

/// Installs, builds, prunes.
fn add_steps(context: &Context, project: &Project, draft: &mut Draft) -> Result<(), Failure> {
    let Project { package, workspace, manager } = project;
    let build = package.build_script();
    let runs_dev = runs_development_dependency(context, package, draft);
    let with_dev = build.is_some() || runs_dev;
    let is_empty = package.dependencies.is_empty() && (!with_dev || package.dev_dependencies.is_empty());
    let is_member = workspace.is_some();
    let installs = !is_empty || package.has_workspaces || package.has_install_scripts() || is_member;
    let starts_with_manager = starts_with(&start::running_lines(context, package, draft), manager.kind);
    let (steps_before, paths_before) = (draft.steps.len(), draft.launch.path.len());
    if installs || build.is_some() || starts_with_manager {
        fetch_manager(context, manager, starts_with_manager, draft)?;
    }
    if installs {
        let (context, package) = match workspace {
            Some(workspace) => (&workspace.context, &workspace.package),
            None => (context, *package),
        };
        add_install(context, package, manager, with_dev, draft);
        draft.launch_path("node_modules/.bin");
    } else {
        draft.because("No dependencies: nothing to install");
    }
    if is_member {
        draft.because("The folder is of the workspace at the top: installed there");
        draft.top_steps.extend(draft.steps.split_off(steps_before));
        draft.top_path.extend(draft.launch.path.split_off(paths_before));
        draft.launch_path("node_modules/.bin");
    }
    if let Some(script) = build {
        add_build(project, script, draft);
    }
    let prunes = build.is_some() && !runs_dev && !package.dev_dependencies.is_empty();
    let is_whole = installs && !package.has_workspaces && !is_member;
    if let (true, true, Some(command)) = (is_whole, prunes, manager.prune()) {
        draft.steps.push(Step::new(PRUNING, command).env("CI", "true"));
    }
    Ok(())
}

fn add_build(project: &Project, script: &str, draft: &mut Draft) {
    let Project { package, workspace, manager } = project;
    let at_top = workspace.as_ref().and_then(|workspace| workspace.build(manager, package, script));
    let steps = if at_top.is_some() { &mut draft.top_steps } else { &mut draft.steps };
    let command = at_top.unwrap_or_else(|| manager.run(script));
    steps.push(Step::new("Building", command.clone()));
    draft.because(format!("{script} script found: {command}"));
}

fn add_install(context: &Context, package: &Package, manager: &Manager, with_dev: bool, draft: &mut Draft) {
    let command = manager.install(with_dev);
    draft.because(
        format!("{} found: {command}", manager.because).replace("no lock file found", "No lock file"),
    );
    if manager.lock.is_none() {
        let bun = ["bun.lock", "bun.lockb"].into_iter().find(|file| context.source.has_file(file));
        draft.warn(match bun.filter(|_| manager.kind != Kind::Bun) {
            Some(file) => format!(
                "{file} is not read, because bun is not installed on the host: npm installs what fits package.json"
            ),
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
fn fetch_manager(
    context: &Context,
    manager: &Manager,
    starts_with_manager: bool,
    draft: &mut Draft,
) -> Result<(), Failure> {
    if manager.kind == Kind::Bun {
        draft.cache(CacheFolder::new("bun", "BUN_INSTALL_CACHE_DIR"));
        return draft.needs(context, "bun", "package.json");
    }
    draft.needs(context, "npm", "package.json")?;
    draft.cache(CacheFolder::new("npm", "npm_config_cache"));
    if manager.kind == Kind::Npm {
        return Ok(());
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
        Kind::Npm | Kind::Bun => {}
        Kind::Pnpm => draft.cache(CacheFolder::new("pnpm", "npm_config_store_dir")),
        Kind::Yarn | Kind::Berry => draft.cache(CacheFolder::new("yarn", "YARN_CACHE_FOLDER")),
    }
    // Without this, Yarn 2 and later makes no node_modules, and plain `node` finds no dependency.
    if manager.kind == Kind::Berry {
        draft.launch_var("YARN_NODE_LINKER", "node-modules");
        draft.launch_var("YARN_ENABLE_TELEMETRY", "0");
    }
    Ok(())
}

/// Whether something that runs is a development dependency (`ts-node`, `nodemon`): then they stay.
fn runs_development_dependency(context: &Context, package: &Package, draft: &Draft) -> bool {
    let lines = start::running_lines(context, package, draft);
    package.dev_dependencies.iter().any(|name| lines.iter().any(|line| commands::mentions(line, name)))
}

/// Whether the app is started with pnpm or Yarn.
fn starts_with(lines: &[&str], kind: Kind) -> bool {
    !matches!(kind, Kind::Npm | Kind::Bun) && lines.iter().any(|line| commands::mentions(line, kind.name()))
}
