//! Rust: the binaries of `Cargo.toml` decide.
//!
//! Differences from nixpacks, each for a reason:
//! - for the host's own target, not musl: crates that link C libraries build as they do for the developer;
//! - the target folder is kept in the app's cache, so that the next build compiles what changed; all binaries
//!   are copied from it, for the Procfile to choose from.

use std::collections::BTreeSet;

use autostack_domain::{Failure, ProcessType};
use toml::{Table, Value};

use crate::{
    draft::{Context, Draft, bad_app_file, no_start, shell_word},
    plan::{CacheFolder, Recipe, Step},
    recipes::commands,
    source::Source,
};

/// Names that say which of several binaries is the server; the package's own name comes first.
const SERVER_NAMES: [&str; 5] = ["server", "web", "api", "app", "serve"];
/// Members of a workspace that are looked into.
const MEMBERS_MAX: usize = 100;

/// What was read of a package or a workspace.
#[derive(Default)]
struct Crates {
    binaries: BTreeSet<String>,
    /// The package's own name, and `default-run`.
    preferred: Vec<String>,
    dependencies: BTreeSet<String>,
    rust_version: Option<String>,
}

/// Whether the tree is of Rust.
pub(crate) fn fits(context: &Context) -> bool {
    context.source.has_file("Cargo.toml")
}

/// Drafts a plan for a Rust app.
pub(crate) fn draft(context: &Context) -> Result<Draft, Failure> {
    let mut draft = Draft::new(Recipe::Rust);
    draft.because("Cargo.toml found: Rust");
    let crates = read(context.source)?;
    draft.needs(context, "cargo", "Cargo.toml")?;
    let asked = toolchain(context).map(|version| (version, "rust-toolchain"));
    if let Some((version, file)) = asked.or(crates.rust_version.clone().map(|it| (it, "Cargo.toml"))) {
        draft.wants(context, "cargo", &version, file);
    }
    draft.cache(CacheFolder::new("cargo", "CARGO_HOME"));
    draft.cache(CacheFolder::new("cargo-target", "CARGO_TARGET_DIR"));
    if crates.binaries.is_empty() {
        return Err(no_start(
            "Rust found, but no binary to start",
            "src/main.rs, src/bin/, [[bin]] in Cargo.toml and in the members of its workspace",
            "add src/main.rs, or name the member's folder in AUTOSTACK_BUILD_DIR, and push again",
        ));
    }
    let has_lock = context.source.has_file("Cargo.lock")
        || context.around.is_some_and(|around| around.top.has_file("Cargo.lock"));
    let line = if has_lock { "cargo build --release --locked" } else { "cargo build --release" };
    draft.because(format!("Building: {line}"));
    if !has_lock {
        draft.warn("no Cargo.lock: every build may take other versions; commit the one that cargo writes");
    }
    // Where Heroku's Procfiles look for them.
    let folder = match commands::missing_program(context) {
        Some(program) if program.starts_with("target/release/") => "target/release",
        _ => "bin",
    };
    let files: Vec<String> = crates
        .binaries
        .iter()
        .map(|name| format!("\"$CARGO_TARGET_DIR/release\"/{}", shell_word(name)))
        .collect();
    let command = format!("{line} &&\nmkdir -p {folder} &&\ncp {} {folder}/", files.join(" "));
    draft.steps.push(Step::new("Building", command).known_as(line));
    guess(context, &crates, &mut draft)?;
    Ok(draft)
}

/// The binary that serves; the Procfile's own `web` is not second-guessed.
fn guess(context: &Context, crates: &Crates, draft: &mut Draft) -> Result<(), Failure> {
    // Rocket listens on the loopback interface and its own port unless it is told otherwise.
    let is_rocket = crates.dependencies.contains("rocket");
    if is_rocket {
        draft.launch_var("ROCKET_ADDRESS", "0.0.0.0");
    }
    if context.procfile_web().is_some() {
        return Ok(());
    }
    let preferred = crates.preferred.iter().map(String::as_str).chain(SERVER_NAMES);
    let only = crates.binaries.first().filter(|_| crates.binaries.len() == 1).map(String::as_str);
    let Some(name) = only.or_else(|| preferred.into_iter().find(|name| crates.binaries.contains(*name)))
    else {
        if !context.procfile.0.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = crates.binaries.iter().map(String::as_str).collect();
        return Err(no_start(
            format!("Rust found, and several binaries to start: {}", names.join(", ")),
            "web in the Procfile, default-run in Cargo.toml, a binary named after the package",
            format!("add a Procfile with a line such as `web: bin/{}`, commit, and push again", names[0]),
        ));
    };
    let port = if is_rocket { "ROCKET_PORT=$PORT " } else { "" };
    let because =
        if is_rocket { "the binary of Cargo.toml, with Rocket" } else { "the binary of Cargo.toml" };
    draft.guess(ProcessType::web(), format!("{port}./bin/{}", shell_word(name)), because);
    Ok(())
}

/// The package at the top, or what its workspace builds by default.
fn read(source: &Source) -> Result<Crates, Failure> {
    let manifest = manifest(source, "Cargo.toml")?.unwrap_or_default();
    let mut crates = Crates::default();
    if manifest.contains_key("package") {
        add_package(source, "", &manifest, &mut crates);
        return Ok(crates);
    }
    let workspace = manifest.get("workspace").and_then(Value::as_table);
    let listed = |key: &str| {
        let list = workspace.and_then(|table| table.get(key)).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    let default = listed("default-members");
    let patterns = if default.is_empty() { listed("members") } else { default };
    for member in patterns.iter().flat_map(|pattern| folders(source, pattern)).take(MEMBERS_MAX) {
        if let Some(manifest) = self::manifest(source, &format!("{member}/Cargo.toml"))? {
            add_package(source, &format!("{member}/"), &manifest, &mut crates);
        }
    }
    // Of several packages none is "the" package.
    if crates.preferred.len() > 1 && crates.binaries.len() > 1 {
        crates.preferred.clear();
    }
    Ok(crates)
}

/// The folders that a pattern of `members` names: `api`, `crates/*`.
fn folders(source: &Source, pattern: &str) -> Vec<String> {
    let pattern = pattern.trim_start_matches("./").trim_end_matches('/');
    match pattern.strip_suffix("/*") {
        Some(parent) => source
            .list(parent)
            .iter()
            .filter_map(|name| name.strip_suffix('/'))
            .map(|name| format!("{parent}/{name}"))
            .collect(),
        None => vec![pattern.to_owned()],
    }
}

fn add_package(source: &Source, folder: &str, manifest: &Table, crates: &mut Crates) {
    let package = manifest.get("package").and_then(Value::as_table);
    let text =
        |key: &str| package.and_then(|table| table.get(key)).and_then(Value::as_str).map(str::to_owned);
    let name = text("name").unwrap_or_default();
    // One that needs a feature is not built without it.
    let named = manifest.get("bin").and_then(Value::as_array).into_iter().flatten();
    let named = named.filter(|bin| bin.get("required-features").is_none());
    let named: Vec<String> =
        named.filter_map(|bin| bin.get("name").and_then(Value::as_str)).map(str::to_owned).collect();
    let has_main = source.has_file(&format!("{folder}src/main.rs"));
    // A [[bin]] with the path of src/main.rs gives it another name.
    let is_renamed =
        manifest.get("bin").and_then(Value::as_array).into_iter().flatten().any(|bin| {
            bin.get("path").and_then(Value::as_str).is_some_and(|path| path.ends_with("src/main.rs"))
        });
    if has_main && !is_renamed && !name.is_empty() {
        crates.binaries.insert(name.clone());
    }
    let more = source.list(&format!("{folder}src/bin"));
    crates.binaries.extend(more.iter().filter_map(|file| {
        let in_folder =
            file.strip_suffix('/').filter(|name| source.has_file(&format!("{folder}src/bin/{name}/main.rs")));
        file.strip_suffix(".rs").or(in_folder).map(str::to_owned)
    }));
    if crates.binaries.contains(&name) || !named.is_empty() || has_main {
        crates.preferred.extend(text("default-run"));
        crates.preferred.push(name);
    }
    crates.binaries.extend(named);
    let dependencies =
        manifest.get("dependencies").and_then(Value::as_table).into_iter().flat_map(Table::keys);
    crates.dependencies.extend(dependencies.cloned());
    crates.rust_version = crates.rust_version.take().or_else(|| text("rust-version"));
}

fn manifest(source: &Source, file: &str) -> Result<Option<Table>, Failure> {
    let Some(text) = source.read(file).map_err(|error| bad_app_file(file, error))? else { return Ok(None) };
    let text = String::from_utf8(text).map_err(|_| bad_app_file(file, "it is not UTF-8 text"))?;
    text.parse().map(Some).map_err(|error: toml::de::Error| {
        let line =
            error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        bad_app_file(file, format!("line {line}: {}", error.message()))
    })
}

/// The version that `rust-toolchain.toml` or `rust-toolchain` asks for.
fn toolchain(context: &Context) -> Option<String> {
    let table: Option<Table> = context.source.words("rust-toolchain.toml").parse().ok();
    let channel = table
        .and_then(|table| Some(table.get("toolchain")?.as_table()?.get("channel")?.as_str()?.to_owned()));
    let plain = || {
        let text = context.source.words("rust-toolchain");
        text.lines().next().map(|line| line.trim().to_owned())
    };
    channel.or_else(plain).filter(|version| version.starts_with(|c: char| c.is_ascii_alphanumeric()))
}
