//! What starts a Node.js app: its Procfile, its `start` script, its framework, its main file.

use std::collections::BTreeSet;

use autostack_domain::{Failure, FailureKind, ProcessType, Stage, release::StaticSite};

use super::{
    manager::{Kind, Manager},
    package::Package,
};
use crate::{
    draft::{Context, Draft, shell_word},
    recipes::commands,
};

/// Frameworks whose build is a server, and the command that starts what they build.
const SERVERS: [(&str, &str); 4] = [
    ("@astrojs/node", "node dist/server/entry.mjs"),
    ("@sveltejs/adapter-node", "node build"),
    ("next", "next start"),
    ("nuxt", "node .output/server/index.mjs"),
];

/// Frameworks whose build is a site: what it is called in the dependencies, where its files are, and
/// whether one page serves every path.
const SITE_FRAMEWORKS: [(&str, &str, bool); 10] = [
    ("@sveltejs/adapter-static", "build", true),
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

/// Guesses what runs; the Procfile's own `web` is not second-guessed.
pub(crate) fn guess(
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
        // `bun run` stands in for the `node` that scripts of packages are written for.
        let is_for_bun = manager.kind == Kind::Bun && commands::program(start) != Some("bun");
        let command = if has_hooks || is_for_bun { manager.run("start") } else { start.clone() };
        draft.guess(ProcessType::web(), command, "start script of package.json");
        return Ok(());
    }
    if guess_framework(context, package, manager, draft) {
        return Ok(());
    }
    if let Some((file, because)) = package.main_file(context) {
        let program = if manager.kind == Kind::Bun { "bun" } else { "node" };
        draft.guess(ProcessType::web(), format!("{program} {}", shell_word(&file)), because);
        // So does every library.
        draft.is_vague = package.main.is_some();
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

/// What a framework starts or serves once it is built; whether one was found.
fn guess_framework(context: &Context, package: &Package, manager: &Manager, draft: &mut Draft) -> bool {
    if !package.builds() {
        return false;
    }
    if let Some((name, command)) = SERVERS.iter().find(|(name, _)| package.depends_on(name)) {
        draft.launch_var("HOST", "0.0.0.0");
        let runs = if manager.kind == Kind::Bun { "bun run" } else { "node" };
        let command = match command.strip_prefix("node ") {
            Some(file) => format!("{runs} {file}"),
            None if manager.kind == Kind::Bun => format!("bun run {command}"),
            None => (*command).to_owned(),
        };
        draft.guess(ProcessType::web(), command, &format!("{name} without a start script"));
        return true;
    }
    let site = SITE_FRAMEWORKS.iter().find(|(name, _, _)| package.depends_on(name));
    if let (None, Some((name, folder, single_page))) = (existing_main(context, package), site) {
        draft.because(format!(
            "{name} without a start script: the built {folder}/ is served by the platform itself"
        ));
        let not_found = (!single_page).then(|| "404.html".to_owned());
        let site = StaticSite { root: (*folder).to_owned(), not_found, single_page: *single_page };
        draft.static_site = Some(site);
        return true;
    }
    false
}

/// A main file that is there before the build.
fn existing_main(context: &Context, package: &Package) -> Option<String> {
    package.main_file(context).map(|(file, _)| file).filter(|file| context.source.has_file(file))
}

/// Command lines that will run: the processes, and the scripts of `package.json` that they go through.
pub(crate) fn running_lines<'a>(
    context: &'a Context,
    package: &'a Package,
    draft: &'a Draft,
) -> Vec<&'a str> {
    let processes = draft.processes.values().chain(context.procfile.0.values());
    let mut lines: Vec<&str> = processes.map(String::as_str).collect();
    let mut seen = BTreeSet::new();
    let mut at = 0;
    while let Some(line) = lines.get(at).copied() {
        at += 1;
        if !["bun", "npm", "pnpm", "yarn"].iter().any(|manager| commands::mentions(line, manager)) {
            continue;
        }
        for (name, script) in &package.scripts {
            // `npm start` runs `prestart` too.
            let plain = name.strip_prefix("pre").or_else(|| name.strip_prefix("post")).unwrap_or(name);
            let is_run = commands::mentions(line, name) || commands::mentions(line, plain);
            if is_run && seen.insert(name) {
                lines.push(script);
            }
        }
    }
    lines
}
