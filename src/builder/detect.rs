//! Source tree → plan: which recipe fits, what the Procfile and `app.json` say over it.
//!
//! The order is the ecosystem's (nixpacks, Heroku): Node.js, Python, then what needs no tool at all. Where a
//! tree is both Node.js and Python, the Procfile decides, and without one the side that says how to start.

use std::path::Path;

use autostack_domain::{
    Failure, FailureKind, Stage,
    app_json::{self, AppJson},
    names::Invalid,
    procfile::{self, Procfile},
};

use crate::{
    draft::{Context, Draft, bad_app_file},
    plan::{BuildPlan, Step},
    recipes::{commands, fallback, node, python, static_site},
    source::{Source, SourceError},
    toolchains::Toolchains,
};

/// Decides how the app in `dir` is built and started. Reads a few small files and writes nothing.
///
/// # Errors
/// [`FailureKind::BadAppFile`] where a file of the app does not parse, [`FailureKind::NoRecipe`] where
/// nothing fits, [`FailureKind::MissingTool`] where the host lacks a program; each at [`Stage::Detect`].
pub fn plan(dir: &Path, tools: &Toolchains) -> Result<BuildPlan, Failure> {
    let source = Source::open(dir).map_err(|error| unreadable(&error))?;
    let procfile = read(&source, "Procfile", procfile::parse)?;
    let app_json = read(&source, "app.json", app_json::parse)?.unwrap_or_default();
    let has_procfile = procfile.is_some();
    let procfile = procfile.unwrap_or_default();
    let context = Context { source: &source, tools, procfile: &procfile };

    let mut draft = choose(&context, has_procfile)?;
    if has_procfile {
        draft.because(format!("Procfile found: {}", listed(&procfile)));
        if let Some(web) = context.procfile_web() {
            draft.because(format!("Start command: {web} (Procfile)"));
        }
    }
    draft.processes.extend(procfile.0.clone());
    if draft.processes.keys().any(autostack_domain::ProcessType::is_web) {
        draft.static_site = None;
    }
    commands::check(&context, &mut draft)?;
    finish(draft, app_json)
}

/// The recipe that fits.
fn choose(context: &Context, has_procfile: bool) -> Result<Draft, Failure> {
    let package = node::package(context)?;
    let python = python::Markers::look(context);
    let (prefers_node, prefers_python) = commands::preferences(context);
    let node_starts = package.as_ref().is_some_and(|package| package.says_how_to_start(context));

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

/// Puts `app.json` over what the recipe decided.
fn finish(mut draft: Draft, app_json: AppJson) -> Result<BuildPlan, Failure> {
    if let Some(command) = app_json.predeploy {
        draft.steps.push(Step::new("Running scripts.dokku.predeploy", command));
    }
    if !app_json.ignored.is_empty() {
        draft.warn(format!("app.json: not used by this version: {}", app_json.ignored.join(", ")));
    }
    let unknown = |process: &&autostack_domain::ProcessType| !draft.processes.contains_key(*process);
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
    Ok(BuildPlan {
        recipe: draft.recipe,
        reasons: draft.reasons,
        warnings: draft.warnings,
        tools: draft.tools,
        steps: draft.steps,
        caches: draft.caches,
        launch: draft.launch,
        processes: draft.processes,
        static_site: draft.static_site,
        checks: app_json.checks,
        formation_asked: app_json.formation,
    })
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
