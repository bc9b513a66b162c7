//! Node.js: `package.json` decides.
//!
//! Differences from nixpacks, each for a reason:
//! - a `start` script runs as its own command line, not under `npm run`: signals reach the app, and pnpm or
//!   Yarn are not needed to start it;
//! - development dependencies are left out or pruned where nothing that runs names one, as Heroku does;
//! - an app without dependencies has no install step at all.

mod manager;
mod package;

use autostack_domain::{Failure, FailureKind, ProcessType, Stage, release::StaticSite};

pub(crate) use self::package::Package;
use self::{
    manager::{Kind, Manager},
    package::read,
};
use super::commands;
use crate::{
    draft::{Context, Draft},
    plan::{CacheFolder, Recipe, Reuse, Step},
};

/// `package.json` of the tree, if it has one.
pub(crate) fn package(context: &Context) -> Result<Option<Package>, Failure> {
    read(context)
}

/// Frameworks whose build is a site: what it is called in the dependencies, where its files are, and
/// whether one page serves every path.
const SITE_FRAMEWORKS: [(&str, &str, bool); 9] = [
    ("astro", "dist", false),
    ("@11ty/eleventy", "_site", false),
    ("@docusaurus/core", "build", false),
    ("gatsby", "public", false),
    ("@vue/cli-service", "dist", true),
    ("react-scripts", "build", true),
    ("@react-router/dev", "build/client", true),
    ("parcel", "dist", true),
    ("vite", "dist", true),
];

/// Drafts a plan for a Node.js app.
pub(crate) fn draft(context: &Context, package: &Package) -> Result<Draft, Failure> {
    let mut draft = Draft::new(Recipe::Node);
    draft.because("package.json found: Node.js");
    if let Some(wanted) = &package.node_wanted {
        draft.because(format!("engines.node asks for {wanted}; the host's node is used"));
    }
    let manager = Manager::choose(context, package)?;
    guess_start(context, package, &manager, &mut draft)?;
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

fn guess_start(
    context: &Context,
    package: &Package,
    manager: &Manager,
    draft: &mut Draft,
) -> Result<(), Failure> {
    if context.procfile_web().is_some() {
        return Ok(());
    }
    if let Some(start) = package.scripts.get("start") {
        let has_hooks = ["prestart", "poststart"].iter().any(|hook| package.scripts.contains_key(*hook));
        let command = if has_hooks { manager.run("start") } else { start.clone() };
        draft.guess(ProcessType::web(), command, "start script of package.json");
        return Ok(());
    }
    let site = SITE_FRAMEWORKS.iter().find(|(name, _, _)| {
        package.dependencies.contains(*name) || package.dev_dependencies.contains(*name)
    });
    if let (true, None, Some((name, folder, single_page))) =
        (package.builds(), existing_main(context, package), site)
    {
        draft.because(format!(
            "{name} without a start script: the built {folder}/ is served by the platform itself"
        ));
        let not_found = (!single_page).then(|| "404.html".to_owned());
        let site = StaticSite { root: (*folder).to_owned(), not_found, single_page: *single_page };
        draft.static_site = Some(site);
        return Ok(());
    }
    if let Some((file, because)) = package.main_file(context) {
        draft.guess(ProcessType::web(), format!("node {}", shell_word(&file)), because);
        return Ok(());
    }
    if !context.procfile.0.is_empty() {
        return Ok(());
    }
    let cause = "package.json found, but nothing says how to start the app";
    let evidence =
        ["looked for: web in the Procfile, scripts.start, main, index.js, server.js, app.js, main.js"];
    Err(Failure::new(Stage::Detect, FailureKind::NoRecipe, cause)
        .evidence(evidence)
        .hint("add a start script to package.json, commit, and push again"))
}

/// A main file that is there before the build.
fn existing_main(context: &Context, package: &Package) -> Option<String> {
    package.main_file(context).map(|(file, _)| file).filter(|file| context.source.has_file(file))
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
    let starts_with_manager = starts_with(&running_lines(context, package, draft), manager.kind);
    if installs || build.is_some() || starts_with_manager {
        draft.needs(context, "npm", "package.json")?;
        draft.cache(CacheFolder::new("npm", "npm_config_cache"));
        fetch_manager(manager, starts_with_manager, draft);
    }
    if installs {
        add_install(package, manager, with_dev, draft);
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

fn add_install(package: &Package, manager: &Manager, with_dev: bool, draft: &mut Draft) {
    let command = manager.install(with_dev);
    draft.because(
        format!("{} found: {command}", manager.because).replace("no lock file found", "No lock file"),
    );
    if manager.lock.is_none() {
        draft.warn(
            "no lock file: every build may install other versions; commit the one that npm install writes",
        );
    }
    let step = Step::new("Installing dependencies", command)
        .env("npm_config_audit", "false")
        .env("npm_config_fund", "false")
        .env("npm_config_update_notifier", "false")
        .reuse(reuse(package, manager));
    draft.steps.push(step);
}

/// `node_modules` follows from the lock file alone where no code or folder of the app has a part in it.
/// pnpm and Yarn keep stores of their own and link from them, which is as fast.
fn reuse(package: &Package, manager: &Manager) -> Option<Reuse> {
    let lock = manager.lock.filter(|_| manager.kind == Kind::Npm)?;
    let is_clean =
        !package.has_workspaces && !package.has_install_scripts() && !package.has_local_dependencies;
    is_clean.then(|| Reuse {
        folder: "node_modules".to_owned(),
        decided_by: vec![lock.to_owned(), "package.json".to_owned(), ".npmrc".to_owned()],
        tool: "node".to_owned(),
    })
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

/// Command lines that will run: the processes, and the scripts that they go through.
fn running_lines<'a>(context: &'a Context, package: &'a Package, draft: &'a Draft) -> Vec<&'a str> {
    let scripts = ["start", "prestart", "poststart"];
    let processes = draft.processes.values().chain(context.procfile.0.values());
    let lines: Vec<&str> = processes.map(String::as_str).collect();
    let through_scripts = lines
        .iter()
        .any(|line| ["npm", "pnpm", "yarn"].iter().any(|manager| commands::mentions(line, manager)));
    let through = scripts.iter().filter(|_| through_scripts).filter_map(|name| package.scripts.get(*name));
    lines.iter().copied().chain(through.map(String::as_str)).collect()
}

/// Whether something that runs is a development dependency (`ts-node`, `nodemon`): then they stay.
fn runs_development_dependency(context: &Context, package: &Package, draft: &Draft) -> bool {
    let lines = running_lines(context, package, draft);
    package.dev_dependencies.iter().any(|name| lines.iter().any(|line| commands::mentions(line, name)))
}

/// Whether the app is started with pnpm or Yarn.
fn starts_with(lines: &[&str], kind: Kind) -> bool {
    kind != Kind::Npm && lines.iter().any(|line| commands::mentions(line, kind.name()))
}

/// A word for a shell, quoted where it needs to be.
fn shell_word(word: &str) -> String {
    let is_plain =
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/@+-".contains(&b));
    if is_plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}
