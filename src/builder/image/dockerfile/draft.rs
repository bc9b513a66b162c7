//! An app that brings a Dockerfile: it decides, where there is an engine to build it.

use std::collections::BTreeMap;

use autostack_domain::{Failure, FailureKind, SelectedBuilder, Stage, app_json::AppJson};

use super::DockerfileFacts;
use crate::{
    draft::{Context, Draft, bad_app_file},
    plan::Recipe,
};

/// Where it is looked for.
const FILE: &str = "Dockerfile";

/// Drafts a plan from the Dockerfile; `None` where there is none, no engine to build it, or the recipes were asked for.
pub(crate) fn draft_dockerfile(context: &Context, app_json: &AppJson) -> Result<Option<Draft>, Failure> {
    let settings = context.settings;
    let is_asked = settings.selected == Some(SelectedBuilder::Dockerfile);
    let are_recipes_asked =
        settings.selected == Some(SelectedBuilder::Recipe) || !settings.buildpacks.is_empty();
    if are_recipes_asked && !is_asked {
        return Ok(None);
    }
    if !context.tools.are_of_an_image() {
        return if is_asked { Err(no_engine()) } else { Ok(None) };
    }
    let file = settings.dockerfile_path.as_ref().map_or(FILE, |path| path.as_str());
    let text = context.source.read(file).map_err(|error| bad_app_file(file, error))?;
    let Some(text) = text else {
        let is_wanted = is_asked || settings.dockerfile_path.is_some();
        return if is_wanted { Err(missing(file)) } else { Ok(None) };
    };
    let text = String::from_utf8_lossy(&text);
    let mut facts = DockerfileFacts::read(file, &text, &BTreeMap::new()).map_err(|bad| {
        let line = text.lines().nth(bad.line - 1).unwrap_or_default().trim().to_owned();
        bad_app_file(file, &bad).evidence([format!("{file} line {}: {line}", bad.line)])
    })?;

    let mut draft = Draft::new(Recipe::Dockerfile);
    let base = facts.base.as_deref().unwrap_or("an image that an argument names");
    draft.because(format!("{file} found: built on {base}"));
    if facts.is_lambda {
        draft.because(format!("{base} is for functions of AWS Lambda: requests invoke it"));
    } else if !facts.ports.is_empty() {
        let ports: Vec<String> = facts.ports.iter().map(u16::to_string).collect();
        draft.because(format!("EXPOSE found: {}", ports.join(", ")));
    }
    if let Some(syntax) = &facts.syntax {
        draft.because(format!("# syntax= found: {syntax} reads the Dockerfile, fetched by the engine"));
    }
    if !facts.secrets.is_empty() {
        draft.because(format!(
            "Secrets from the app's config, where it has them: {}",
            facts.secrets.join(", ")
        ));
    }
    let (declared, strays): (Vec<String>, Vec<String>) =
        app_json.build_args.iter().cloned().partition(|name| facts.args.contains(name));
    if !declared.is_empty() {
        draft.because(format!("Build arguments from the app's config: {}", declared.join(", ")));
    }
    if !strays.is_empty() {
        draft.warn(format!("app.json: autostack.build_args: no ARG of that name: {}", strays.join(", ")));
    }
    if app_json.predeploy.is_some() {
        draft.warn("app.json: scripts.dokku.predeploy is not run: a RUN of the Dockerfile can do the same");
    }
    facts.build_args = declared;
    draft.dockerfile = Some(facts);
    Ok(Some(draft))
}

/// An operator asks for a Dockerfile that is not there.
fn missing(file: &str) -> Failure {
    let cause = format!("there is no {file} in the app's folder, and the app's settings ask for it");
    Failure::new(Stage::Detect, FailureKind::NoRecipe, cause)
        .hint("add it, commit and push again; or builder:set APP selected, and builder-dockerfile:set APP dockerfile-path")
}

/// An operator asks for a Dockerfile, and nobody here builds images.
fn no_engine() -> Failure {
    let cause = "the app's settings ask for its Dockerfile, and this host has no container engine";
    Failure::new(Stage::Detect, FailureKind::EngineUnavailable, cause)
        .hint("builder:set APP selected leaves it to the tree; or ask the operator of the host for Docker or Podman")
}
