//! Source tree → plan: which folder is the app, which recipe fits, what the Procfile and `app.json` say over
//! it.
//!
//! The order is the ecosystem's (nixpacks, Heroku): PHP, Go, Java, Rust, Ruby and Deno, whose trees often have
//! a `package.json` for their assets; Node.js, Python, then what needs no tool at all. Where a tree is of
//! several languages, the Procfile decides; without one, between Node.js and Python, the side that says how to
//! start.

use std::{collections::BTreeMap, path::Path};

use autostack_domain::{
    BuildSettings, Buildpack, EnvMap, Failure, FailureKind, ProcessType, Stage,
    app_json::{self, AppJson},
    names::Invalid,
    procfile::{self, Procfile},
};

use crate::{
    draft::{Around, Context, Draft, bad_app_file},
    folder, image,
    plan::{BuildPlan, Recipe, Step},
    recipes::{commands, deno, fallback, go, java, node, php, python, ruby, rust, static_site},
    source::{Source, SourceError},
    toolchains::Toolchains,
};

/// Decides how the app in `dir` is built and started, for an app whose config says nothing about it.
///
/// # Errors
/// Those of [`plan_with`].
pub fn plan(dir: &Path, tools: &Toolchains) -> Result<BuildPlan, Failure> {
    plan_with(dir, &EnvMap::new(), tools)
}

/// Decides how the app in `dir` is built and started. Reads a few small files and writes nothing.
///
/// # Errors
/// Those of [`plan_for`].
pub fn plan_with(dir: &Path, config: &EnvMap, tools: &Toolchains) -> Result<BuildPlan, Failure> {
    plan_for(dir, &BuildSettings::default(), config, tools)
}

/// Decides how the app in `dir` is built and started, where its operator may have said something about it. Reads a
/// few small files and writes nothing.
///
/// The app is the folder that the settings or `AUTOSTACK_BUILD_DIR` of its config name; without them the tree itself,
/// or, where that is no app, the only folder that is one.
///
/// # Errors
/// [`FailureKind::BadAppFile`] where a file of the app does not parse, [`FailureKind::NoRecipe`] where
/// nothing fits or several folders do, [`FailureKind::MissingTool`] where the host lacks a program; each at
/// [`Stage::Detect`].
pub fn plan_for(
    dir: &Path,
    settings: &BuildSettings,
    config: &EnvMap,
    tools: &Toolchains,
) -> Result<BuildPlan, Failure> {
    let top = Source::open(dir).map_err(|error| unreadable(&error))?;
    if let Some((said_by, folder)) = folder::asked(settings, config)? {
        let source = folder::open(&top, said_by, &folder)?;
        let mut plan = plan_tree(&source, Some(Around { top: &top, folder: &folder }), settings, tools)?;
        plan.reasons.insert(0, format!("{said_by}={folder}: that folder is the app"));
        for file in ["Procfile", "app.json"].into_iter().filter(|file| top.has_file(file)) {
            plan.warnings.push(format!("{file} at the top is not used: that of {folder} counts"));
        }
        return Ok(plan);
    }
    match plan_tree(&top, None, settings, tools) {
        Err(refused) if refused.kind == FailureKind::NoRecipe => {
            plan_only_folder(&top, refused, settings, tools)
        }
        planned => planned,
    }
}

/// The plan of the only folder that is an app. What is vague (a library, a folder of files) counts where
/// nothing else does.
fn plan_only_folder(
    top: &Source,
    refused: Failure,
    settings: &BuildSettings,
    tools: &Toolchains,
) -> Result<BuildPlan, Failure> {
    let mut apps = Vec::new();
    let mut vague = Vec::new();
    for folder in folder::candidates(top) {
        let Some(source) = top.folder(&folder) else { continue };
        match draft_tree(&source, Some(Around { top, folder: &folder }), settings, tools) {
            Err(failure) if failure.kind == FailureKind::NoRecipe => {}
            Ok(drafted) if drafted.0.is_vague => vague.push((folder, Ok(drafted))),
            drafted => apps.push((folder, drafted)),
        }
    }
    let mut found = if apps.is_empty() { vague } else { apps };
    match found.pop() {
        None => Err(refused),
        Some((folder, drafted)) if found.is_empty() => {
            let (mut draft, app_json) = drafted?;
            draft.reasons.insert(0, format!("The app is in {folder}/: nothing at the top is one"));
            Ok(finish(draft, Some(Around { top, folder: &folder }), app_json))
        }
        Some((last, _)) => {
            let mut folders: Vec<String> = found.into_iter().map(|(folder, _)| folder).collect();
            folders.push(last);
            Err(folder::ambiguous(&folders).evidence(refused.evidence))
        }
    }
}

fn plan_tree(
    source: &Source,
    around: Option<Around>,
    settings: &BuildSettings,
    tools: &Toolchains,
) -> Result<BuildPlan, Failure> {
    let (draft, app_json) = draft_tree(source, around, settings, tools)?;
    Ok(finish(draft, around, app_json))
}

/// What the recipe and the Procfile say, and what `app.json` will have over it.
fn draft_tree(
    source: &Source,
    around: Option<Around>,
    settings: &BuildSettings,
    tools: &Toolchains,
) -> Result<(Draft, AppJson), Failure> {
    let procfile = read(source, "Procfile", procfile::parse)?;
    let app_json = read(source, "app.json", app_json::parse)?.unwrap_or_default();
    let has_procfile = procfile.is_some();
    let procfile = procfile.unwrap_or_default();
    let context = Context { source, tools, settings, procfile: &procfile, around };

    let mut draft = match image::draft_dockerfile(&context, &app_json)? {
        Some(draft) => draft,
        None => choose(&context, has_procfile)?,
    };
    if has_procfile {
        draft.because(format!("Procfile found: {}", listed(&procfile)));
        if let Some(web) = context.procfile_web() {
            draft.because(format!("Start command: {web} (Procfile)"));
        }
    }
    for (process, line) in app_json.processes.iter().filter(|(process, _)| !procfile.0.contains_key(*process))
    {
        draft.because(format!("Command of {process}: {line} (app.json)"));
        draft.processes.insert(process.clone(), line.clone());
    }
    draft.processes.extend(procfile.0.clone());
    if draft.processes.keys().any(ProcessType::is_web) {
        draft.static_site = None;
    }
    if draft.dockerfile.is_none() {
        commands::check(&context, &mut draft)?;
    }
    Ok((draft, app_json))
}

/// A language whose trees may have a `package.json` or Python sources beside it.
struct Kind {
    recipe: Recipe,
    fits: fn(&Context) -> bool,
    draft: fn(&Context) -> Result<Draft, Failure>,
}

/// In the order in which they are looked for.
const KINDS: [Kind; 6] = [
    Kind { recipe: Recipe::Php, fits: php::fits, draft: php::draft },
    Kind { recipe: Recipe::Go, fits: go::fits, draft: go::draft },
    Kind { recipe: Recipe::Java, fits: java::fits, draft: java::draft },
    Kind { recipe: Recipe::Rust, fits: rust::fits, draft: rust::draft },
    Kind { recipe: Recipe::Ruby, fits: ruby::fits, draft: ruby::draft },
    Kind { recipe: Recipe::Deno, fits: deno::fits, draft: deno::draft },
];

/// The recipe that fits.
fn choose(context: &Context, has_procfile: bool) -> Result<Draft, Failure> {
    let package = node::package(context)?;
    let python = python::Markers::look(context);
    if let Some(pack) = context.settings.buildpacks.last() {
        return forced(context, *pack, package.as_ref(), &python, has_procfile);
    }
    let prefers_python = commands::prefers(context, Recipe::Python);
    let prefers_node = commands::prefers(context, Recipe::Node) || commands::prefers(context, Recipe::Bun);
    let node_starts = package.as_ref().is_some_and(|package| package.says_how_to_start(context));

    let is_theirs = (prefers_node && package.is_some()) || (prefers_python && python.is_any());
    if !is_theirs && let Some(kind) = kind_of(context, node_starts || python.is_project()) {
        return draft_kind(context, kind, package.as_ref());
    }
    if let Some(package) = &package {
        let is_python = python.is_project() && (prefers_python || (!prefers_node && !node_starts));
        if is_python {
            return python::draft_with_assets(context, &python, package);
        }
        let is_site = !node_starts && !package.builds() && static_site::is_site(context);
        if prefers_node || !is_site {
            return node::draft(context, package);
        }
    }
    if python.is_project() || (prefers_python && python.is_any()) {
        return python::draft(context, &python);
    }
    if context.procfile_web().is_none() && static_site::is_site(context) {
        return static_site::draft(context);
    }
    if has_procfile {
        return fallback::procfile(context);
    }
    if python.is_any() {
        return python::draft(context, &python);
    }
    fallback::shell(context).ok_or_else(|| fallback::no_recipe(context))
}

/// The recipe that an operator named as a buildpack.
fn forced(
    context: &Context,
    pack: Buildpack,
    package: Option<&node::Package>,
    python: &python::Markers,
    has_procfile: bool,
) -> Result<Draft, Failure> {
    let recipe = match pack {
        Buildpack::Nodejs => {
            return package.map_or_else(|| Err(unfit(pack)), |package| node::draft(context, package));
        }
        Buildpack::Python if !python.is_any() => return Err(unfit(pack)),
        Buildpack::Python => {
            return match package.filter(|package| package.builds()) {
                Some(package) => python::draft_with_assets(context, python, package),
                None => python::draft(context, python),
            };
        }
        Buildpack::Static if static_site::is_site(context) => return static_site::draft(context),
        Buildpack::Procfile if has_procfile => return fallback::procfile(context),
        Buildpack::Static | Buildpack::Procfile => return Err(unfit(pack)),
        Buildpack::Php => Recipe::Php,
        Buildpack::Go => Recipe::Go,
        Buildpack::Java | Buildpack::Gradle => Recipe::Java,
        Buildpack::Rust => Recipe::Rust,
        Buildpack::Ruby => Recipe::Ruby,
        Buildpack::Deno => Recipe::Deno,
    };
    let kind = KINDS.iter().find(|kind| kind.recipe == recipe && (kind.fits)(context));
    kind.map_or_else(|| Err(unfit(pack)), |kind| draft_kind(context, kind, package))
}

fn unfit(pack: Buildpack) -> Failure {
    let cause =
        format!("the buildpack {pack} does not fit: the tree has none of the files that it looks for");
    Failure::new(Stage::Detect, FailureKind::NoRecipe, cause).hint(format!(
        "buildpacks:remove APP {pack} leaves it to the tree; or add the files, commit, and push again"
    ))
}

/// The language that marks the tree: the one that the Procfile speaks, else the first. Where something else
/// could be started too, a language steps back that could not: a Gemfile may only help to write the site, a
/// `composer.json` only hold tools. So does Rust, which is often a part of a package for another language.
fn kind_of(context: &Context, others_start: bool) -> Option<&'static Kind> {
    let found: Vec<&Kind> = KINDS.iter().filter(|kind| (kind.fits)(context)).collect();
    let preferred = found.iter().find(|kind| commands::prefers(context, kind.recipe)).copied();
    let may_step_back = others_start || static_site::is_site(context);
    let stays = |kind: &&Kind| {
        (kind.recipe != Recipe::Rust || !others_start) && (!may_step_back || says_how_to_start(context, kind))
    };
    preferred.or_else(|| found.into_iter().find(stays))
}

/// Whether the language finds something to start, wherever its programs come from.
fn says_how_to_start(context: &Context, kind: &Kind) -> bool {
    let tools = Toolchains::of_an_image();
    let drafted = (kind.draft)(&Context { tools: &tools, ..*context });
    !drafted.is_err_and(|refused| refused.kind == FailureKind::NoRecipe)
}

/// Drafts a plan, with the assets that a `package.json` beside it builds.
fn draft_kind(context: &Context, kind: &Kind, package: Option<&node::Package>) -> Result<Draft, Failure> {
    let mut draft = (kind.draft)(context)?;
    if let Some(package) = package.filter(|package| package.builds() && kind.recipe != Recipe::Deno) {
        node::put_assets_before(context, package, &mut draft)?;
    }
    Ok(draft)
}

/// Puts `app.json` over what the recipe decided.
fn finish(mut draft: Draft, around: Option<Around>, app_json: AppJson) -> BuildPlan {
    let is_own_image = draft.dockerfile.is_some();
    if let Some(command) = app_json.predeploy.filter(|_| !is_own_image) {
        draft.steps.push(Step::new("Running scripts.dokku.predeploy", command));
    }
    if !app_json.ignored.is_empty() {
        draft.warn(format!("app.json: not used by this version: {}", app_json.ignored.join(", ")));
    }
    let has_own_command = is_own_image && draft.processes.is_empty();
    let is_known = |process: &ProcessType| {
        draft.processes.contains_key(process) || (has_own_command && process.is_web())
    };
    let unknown = |process: &&ProcessType| !is_known(process);
    let strays: Vec<String> = app_json
        .checks
        .keys()
        .filter(unknown)
        .map(|process| format!("healthchecks.{process}"))
        .chain(app_json.formation.keys().filter(unknown).map(|process| format!("formation.{process}")))
        .collect();
    if !strays.is_empty() {
        draft.warn(format!("app.json: no such process type: {}", strays.join(", ")));
    }
    if let Some(around) = around.filter(|_| !is_own_image) {
        folder::lead_into(around.folder, &mut draft);
    }
    folder::add_top(&mut draft);
    let mut processes: BTreeMap<ProcessType, Option<String>> =
        draft.processes.into_iter().map(|(process, line)| (process, Some(line))).collect();
    if has_own_command {
        processes.insert(ProcessType::web(), None);
    }
    BuildPlan {
        recipe: draft.recipe,
        root: around.map(|around| around.folder.to_owned()).unwrap_or_default(),
        reasons: draft.reasons,
        warnings: draft.warnings,
        tools: draft.tools,
        steps: draft.steps,
        caches: draft.caches,
        launch: draft.launch,
        processes,
        dockerfile: draft.dockerfile,
        static_site: draft.static_site,
        checks: app_json.checks,
        formation_asked: app_json.formation,
        postdeploy: app_json.postdeploy,
        first_postdeploy: app_json.first_postdeploy,
        env_asked: app_json.env,
        cron: app_json.cron,
    }
}

/// Reads a file that the app may bring.
fn read<T>(
    source: &Source,
    file: &str,
    parse: impl Fn(&[u8]) -> Result<T, Invalid>,
) -> Result<Option<T>, Failure> {
    match source.read(file).map_err(|error| unreadable(&error))? {
        None => Ok(None),
        Some(text) => parse(&text).map(Some).map_err(|refused| {
            let failure = bad_app_file(file, &refused.why);
            if refused.given.is_empty() { failure } else { failure.evidence([refused.given]) }
        }),
    }
}

fn unreadable(error: &SourceError) -> Failure {
    let kind = match error {
        SourceError::TooLarge { .. } => FailureKind::BadAppFile,
        SourceError::Open { .. } | SourceError::Read { .. } => FailureKind::Internal,
    };
    let hint = match error {
        SourceError::TooLarge { path, .. } => format!("make {path} smaller, commit, and push again"),
        SourceError::Open { .. } | SourceError::Read { .. } => "push again".to_owned(),
    };
    let cause = match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    Failure::new(Stage::Detect, kind, cause).hint(hint)
}

fn listed(procfile: &Procfile) -> String {
    if procfile.0.is_empty() {
        return "it is empty".to_owned();
    }
    procfile.0.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
