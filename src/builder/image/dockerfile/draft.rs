//! An app that brings a Dockerfile: it decides, where there is an engine to build it.

use std::collections::BTreeMap;

use autostack_domain::{Failure, app_json::AppJson};

use super::DockerfileFacts;
use crate::{
    draft::{Context, Draft, bad_app_file},
    plan::Recipe,
};

/// Where it is looked for.
const FILE: &str = "Dockerfile";

/// Drafts a plan from the Dockerfile; `None` where there is none, or no engine to build it.
pub(crate) fn draft_dockerfile(context: &Context, app_json: &AppJson) -> Result<Option<Draft>, Failure> {
    if !context.tools.are_of_an_image() {
        return Ok(None);
    }
    let text = context.source.read(FILE).map_err(|error| bad_app_file(FILE, error))?;
    let Some(text) = text else { return Ok(None) };
    let text = String::from_utf8_lossy(&text);
    let mut facts = DockerfileFacts::read(FILE, &text, &BTreeMap::new()).map_err(|bad| {
        let line = text.lines().nth(bad.line - 1).unwrap_or_default().trim().to_owned();
        bad_app_file(FILE, &bad).evidence([format!("{FILE} line {}: {line}", bad.line)])
    })?;

    let mut draft = Draft::new(Recipe::Dockerfile);
    let base = facts.base.as_deref().unwrap_or("an image that an argument names");
    draft.because(format!("{FILE} found: built on {base}"));
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
