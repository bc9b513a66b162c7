//! Go: `go.mod` and where its main packages are decide.
//!
//! Differences from nixpacks, each for a reason:
//! - of several folders in `cmd/` it takes the first by name; here all are built into `bin/` for the Procfile
//!   to choose from, and without one a name that says "server" is needed;
//! - a Procfile that names the program (`web: bin/shop`) gets it where it looks for it, as on Heroku.

use autostack_domain::{Failure, ProcessType};

use crate::{
    draft::{Context, Draft, no_start, shell_word},
    plan::{CacheFolder, Recipe, Step},
    recipes::commands,
};

/// What the program is called unless the Procfile says otherwise.
const PROGRAM: &str = "out";
/// Names in `cmd/` that say which of several is the server; the module's own name comes first.
const SERVER_NAMES: [&str; 5] = ["server", "web", "api", "app", "serve"];

/// Whether the tree is of Go.
pub(crate) fn fits(context: &Context) -> bool {
    let is_package_of_a_module = || {
        let around = context.around.filter(|around| has_module(around.top));
        around.is_some() && has_program(context, "")
    };
    has_module(context.source) || context.source.has_file("main.go") || is_package_of_a_module()
}

fn has_module(source: &crate::source::Source) -> bool {
    source.has_file("go.mod") || source.has_file("go.work")
}

/// Drafts a plan for a Go app.
pub(crate) fn draft(context: &Context) -> Result<Draft, Failure> {
    let mut draft = Draft::new(Recipe::Go);
    let marker = ["go.mod", "go.work", "main.go"].into_iter().find(|file| context.source.has_file(file));
    let marker = marker.unwrap_or("go.mod");
    draft.because(format!("{marker} found: Go"));
    draft.needs(context, "go", marker)?;
    let module = [context.source.words("go.mod"), context.source.words("go.work")].concat();
    if let Some(version) = go_version(&module) {
        draft.wants(context, "go", &version, marker);
    }
    // A program without C runs wherever it is put; the app's config may say CGO_ENABLED=1.
    draft.launch_var("CGO_ENABLED", "0");
    if module.contains("github.com/mattn/go-sqlite3") {
        draft.warn("github.com/mattn/go-sqlite3 needs C: set CGO_ENABLED=1 in the app's config");
    }
    if module.contains("github.com/gin-gonic/gin") {
        draft.launch_var("GIN_MODE", "release");
    }
    draft.cache(CacheFolder::new("go-build", "GOCACHE"));
    draft.cache(CacheFolder::new("go-mod", "GOMODCACHE"));
    if has_module(context.source) || context.around.is_some() {
        draft.because(format!("{marker} found: go mod download"));
        // The cache must be removable, so nothing in it may be read-only.
        let step = Step::new("Downloading modules", "go mod download -modcacherw");
        draft.steps.push(step.known_as("go mod download"));
    }
    let (what, starts) = what_to_build(context, &module)?;
    let command = format!("go build -o {what}");
    draft.because(format!("Building: {command}"));
    draft.steps.push(Step::new("Building", command));
    if let Some((start, because)) = starts {
        draft.guess(ProcessType::web(), start, &because);
    }
    Ok(draft)
}

/// The arguments of `go build -o`, and what starts it unless the Procfile does.
fn what_to_build(context: &Context, module: &str) -> Result<(String, Option<(String, String)>), Failure> {
    let output = commands::missing_program(context).unwrap_or_else(|| PROGRAM.to_owned());
    let start = |because: &str| {
        let is_guessed = context.procfile_web().is_none();
        is_guessed.then(|| (format!("./{output}"), because.to_owned()))
    };
    if !has_module(context.source) && context.source.has_file("main.go") && context.around.is_none() {
        return Ok((format!("{output} main.go"), start("main.go")));
    }
    if has_program(context, "") {
        return Ok((output.clone(), start("package main at the top")));
    }
    let mains = folders_below(context, "cmd");
    match mains.as_slice() {
        [] => {}
        [only] => {
            return Ok((
                format!("{output} ./{}", shell_word(only)),
                start(&format!("{only} has the program")),
            ));
        }
        several => return several_commands(context, several, module),
    }
    let modules = workspace_modules(context, module);
    match modules.as_slice() {
        [only] => Ok((format!("{output} ./{}", shell_word(only)), start(&format!("{only} of go.work")))),
        [] => Err(no_start(
            "Go found, but no program to build",
            "package main at the top, cmd/NAME/main.go, main.go in a folder of go.work",
            "put package main at the top or into cmd/NAME, commit, and push again",
        )),
        several => Err(no_start(
            format!("go.work has several programs: {}", several.join(", ")),
            "one main.go in the folders of go.work",
            format!("set AUTOSTACK_BUILD_DIR={} in the app's config, then push again", several[0]),
        )),
    }
}

/// All of `cmd/*` into `bin/`; the server is started.
fn several_commands(
    context: &Context,
    folders: &[String],
    module: &str,
) -> Result<(String, Option<(String, String)>), Failure> {
    let all: Vec<String> = folders.iter().map(|folder| format!("./{}", shell_word(folder))).collect();
    let build = format!("bin/ {}", all.join(" "));
    if context.procfile_web().is_some() {
        return Ok((build, None));
    }
    let names: Vec<&str> = folders.iter().filter_map(|folder| folder.rsplit('/').next()).collect();
    let own = module_name(module).unwrap_or_default();
    let server = [own.as_str()].into_iter().chain(SERVER_NAMES).find(|name| names.contains(name));
    match server {
        Some(server) => Ok((build, Some((format!("./bin/{server}"), format!("cmd/{server}"))))),
        None if !context.procfile.0.is_empty() => Ok((build, None)),
        None => Err(no_start(
            format!("Go found, and several programs to start: {}", folders.join(", ")),
            &format!("web in the Procfile, {}", SERVER_NAMES.map(|name| format!("cmd/{name}")).join(", ")),
            format!("add a Procfile with a line such as `web: bin/{}`, commit, and push again", names[0]),
        )),
    }
}

/// Folders right below `parent` that hold package main: `cmd/server`.
fn folders_below(context: &Context, parent: &str) -> Vec<String> {
    let names = context.source.list(parent);
    let folders =
        names.iter().filter_map(|name| name.strip_suffix('/')).map(|name| format!("{parent}/{name}"));
    folders.filter(|folder| has_program(context, folder)).collect()
}

/// Modules of `go.work` with a `main.go`.
fn workspace_modules(context: &Context, text: &str) -> Vec<String> {
    let used = text.lines().map(|line| line.trim().trim_start_matches("use").trim());
    let folders =
        used.filter_map(|path| path.strip_prefix("./")).map(|path| path.trim_end_matches('/').to_owned());
    folders.filter(|folder| context.source.has_file(&format!("{folder}/main.go"))).collect()
}

/// Whether a folder holds a program: all files of a package but its tests say the same name.
fn has_program(context: &Context, folder: &str) -> bool {
    let names = context.source.list(folder);
    let first = names.iter().find(|name| name.ends_with(".go") && !name.ends_with("_test.go"));
    first.is_some_and(|name| {
        let file = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        context.source.words(&file).lines().any(|line| line.trim_end() == "package main")
    })
}

/// `go 1.22` or `toolchain go1.22.3` of `go.mod`.
fn go_version(module: &str) -> Option<String> {
    let asked = module.lines().find_map(|line| line.trim().strip_prefix("go "))?.trim();
    let is_version = asked.starts_with(|c: char| c.is_ascii_digit());
    is_version.then(|| asked.split_ascii_whitespace().next().unwrap_or_default().to_owned())
}

/// The last part of the module's path.
fn module_name(module: &str) -> Option<String> {
    let path = module.lines().find_map(|line| line.strip_prefix("module "))?.trim().trim_matches('"');
    path.rsplit('/').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_and_name_of_a_module_are_read() {
        let module = "module example.com/org/shop\n\ngo 1.22.1\n\nrequire x v1\n";
        assert_eq!(go_version(module), Some("1.22.1".into()));
        assert_eq!(module_name(module), Some("shop".into()));
        assert_eq!(go_version("module x\n"), None);
    }
}
