//! PHP: `composer.json` says what is installed, the folder of `index.php` what is served.
//!
//! Differences from nixpacks and railpack, each for a reason:
//! - PHP's own server answers, with several workers, behind the platform's proxy: FPM needs a second server
//!   that speaks its protocol, and FrankenPHP is in no distribution; an app that has Octane or another server
//!   names it in its Procfile;
//! - that server is given a router, because it would hand out `.env`, and because a path with a dot in it
//!   would not reach a front controller;
//! - the platform's requirements are checked: a missing extension is named by the build, not by a visitor's
//!   request;
//! - Laravel migrates once a release, not whenever an instance starts.

use autostack_domain::{Failure, ProcessType};
use serde_json::Value;

use crate::{
    draft::{Context, Draft, bad_app_file, no_start},
    plan::{CacheFolder, Recipe, Step},
};

/// Folders that may hold the front controller, the more telling first.
const ROOTS: [&str; 5] = ["public", "web", "html", "www", ""];
/// Sends requests to files or to the front controller.
const ROUTER: &str = include_str!("router.php");
/// Where the router stands in the artifact.
const ROUTER_FILE: &str = ".autostack/router.php";

/// Whether the tree is of PHP.
pub(crate) fn fits(context: &Context) -> bool {
    context.source.has_file("composer.json") || context.source.has_file("index.php")
}

/// Drafts a plan for a PHP app.
pub(crate) fn draft(context: &Context) -> Result<Draft, Failure> {
    let mut draft = Draft::new(Recipe::Php);
    let has_composer = context.source.has_file("composer.json");
    let marker = if has_composer { "composer.json" } else { "index.php" };
    draft.because(format!("{marker} found: PHP"));
    draft.needs(context, "php", marker)?;
    let composer = read_composer(context)?;
    if let Some(version) = composer["require"]["php"].as_str() {
        draft.wants(context, "php", version, "composer.json");
    }
    if has_composer {
        add_install(context, &composer, &mut draft)?;
    }
    let is_laravel = context.source.has_file("artisan");
    if is_laravel {
        add_laravel(context, &mut draft);
    }
    add_server(context, &mut draft)?;
    Ok(draft)
}

fn read_composer(context: &Context) -> Result<Value, Failure> {
    let text = context.source.read("composer.json").map_err(|error| bad_app_file("composer.json", error))?;
    match text {
        Some(text) => serde_json::from_slice(&text).map_err(|error| bad_app_file("composer.json", error)),
        None => Ok(Value::Null),
    }
}

fn add_install(context: &Context, composer: &Value, draft: &mut Draft) -> Result<(), Failure> {
    let packages = composer["require"].as_object().into_iter().flatten();
    let is_package = |name: &String| name != "php" && !name.starts_with("ext-") && !name.starts_with("lib-");
    let loads = !composer["autoload"].is_null();
    if !loads && packages.filter(|(name, _)| is_package(name)).count() == 0 {
        draft.because("composer.json names no packages: nothing to install");
        return Ok(());
    }
    draft.needs(context, "composer", "composer.json")?;
    let line = "composer install --no-dev --optimize-autoloader --no-interaction";
    draft.because(format!("composer.json found: {line}"));
    draft.cache(CacheFolder::new("composer", "COMPOSER_CACHE_DIR"));
    if !context.source.has_file("composer.lock") {
        draft.warn(
            "no composer.lock: every build may install other versions; commit the one that composer writes",
        );
    }
    // Scripts of the app's own run as whoever builds; without this Composer leaves plugins out for root.
    draft.steps.push(Step::new("Installing dependencies", line).env("COMPOSER_ALLOW_SUPERUSER", "1"));
    Ok(())
}

fn add_laravel(context: &Context, draft: &mut Draft) {
    draft.because("artisan found: Laravel");
    for (name, value) in [("APP_ENV", "production"), ("APP_DEBUG", "false"), ("LOG_CHANNEL", "stderr")] {
        draft.launch_var(name, value);
    }
    let has_migrations = context.source.list("database/migrations").iter().any(|name| name.ends_with(".php"));
    if has_migrations
        && context.procfile.0.is_empty()
        && let Ok(release) = ProcessType::RELEASE.parse()
    {
        draft.guess(release, "php artisan migrate --force", "database/migrations");
    }
}

/// The server; the Procfile's own `web` is not second-guessed.
fn add_server(context: &Context, draft: &mut Draft) -> Result<(), Failure> {
    if context.procfile_web().is_some() {
        return Ok(());
    }
    let inside =
        |root: &str| if root.is_empty() { "index.php".to_owned() } else { format!("{root}/index.php") };
    let Some(root) = ROOTS.into_iter().find(|root| context.source.has_file(&inside(root))) else {
        if !context.procfile.0.is_empty() {
            return Ok(());
        }
        return Err(no_start(
            "composer.json found, but nothing says how to start the app",
            &format!("web in the Procfile, {}", ROOTS.map(inside).join(", ")),
            "put the entry of the site into public/index.php, or add a Procfile, and push again",
        ));
    };
    let folder = if root.is_empty() { "." } else { root };
    let written = ROUTER.replace('\'', "'\\''");
    let command = format!("mkdir -p .autostack && printf %s '{written}' > {ROUTER_FILE}");
    draft.steps.push(Step::new("Adding a router", command).known_as(format!("cp router.php {ROUTER_FILE}")));
    // One worker answers one request at a time.
    draft.launch_var("PHP_CLI_SERVER_WORKERS", "4");
    let line = format!("php -S 0.0.0.0:$PORT -t {folder} {ROUTER_FILE}");
    draft.guess(ProcessType::web(), line, &inside(root));
    Ok(())
}
