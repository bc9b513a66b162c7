//! What is left when no language is recognised: a Procfile alone, a `start.sh`, or a clear refusal.

use autostack_domain::{Failure, FailureKind, ProcessType, Stage};

use crate::{
    draft::{Context, Draft, bad_app_file},
    plan::Recipe,
};

/// Files that mark a kind of app for which there is no recipe.
const UNKNOWN_KINDS: [(&str, &str); 10] = [
    ("Dockerfile", "an image, which needs a container engine on the host"),
    ("Package.swift", "Swift"),
    ("build.sbt", "Scala"),
    ("compose.yaml", "a set of containers"),
    ("deps.edn", "Clojure"),
    ("docker-compose.yml", "a set of containers"),
    ("gleam.toml", "Gleam"),
    ("mix.exs", "Elixir"),
    ("pubspec.yaml", "Dart"),
    ("stack.yaml", "Haskell"),
];

/// What recipes look for, as the refusal names it.
const LOOKED_FOR: &str = "Procfile, package.json, requirements.txt, pyproject.toml, Pipfile, manage.py, main.py, app.py, \
                          go.mod, main.go, Cargo.toml, Gemfile, composer.json, index.php, pom.xml, gradlew, \
                          build.gradle, deno.json, index.html (also in public/, dist/, site/), static.json, \
                          start.sh; then each in the folders";
/// Names of the tree that a refusal lists.
const LISTED_MAX: usize = 12;

/// Only a Procfile: its commands run as they are.
pub(crate) fn procfile(context: &Context) -> Result<Draft, Failure> {
    if context.procfile.0.is_empty() {
        return Err(bad_app_file("Procfile", "it names no process type; add a line such as `web: ./server`"));
    }
    let mut draft = Draft::new(Recipe::Procfile);
    draft.because("Nothing to build: the commands of the Procfile run as they are");
    for (file, kind) in found_kinds(context) {
        draft.warn(format!("{file} found, but there is no recipe for {kind}: nothing is installed from it"));
    }
    Ok(draft)
}

/// Only a `start.sh`, as nixpacks starts it.
pub(crate) fn shell(context: &Context) -> Option<Draft> {
    if !context.source.has_file("start.sh") {
        return None;
    }
    let mut draft = Draft::new(Recipe::Shell);
    draft.is_vague = true;
    let is_executable = context.source.has_executable("start.sh");
    let command = if is_executable { "./start.sh" } else { "sh start.sh" };
    draft.guess(ProcessType::web(), command, "start.sh");
    Some(draft)
}

/// Nothing fits: what was looked for, what is there, what helps.
pub(crate) fn no_recipe(context: &Context) -> Failure {
    let names = context.source.list("");
    let found = match names.len() {
        0 => "nothing".to_owned(),
        count if count > LISTED_MAX => {
            format!("{} and {} more", names[..LISTED_MAX].join(", "), count - LISTED_MAX)
        }
        _ => names.join(", "),
    };
    let evidence = [format!("looked for: {LOOKED_FOR}"), format!("found: {found}")];
    let cause = match found_kinds(context).first() {
        Some((file, kind)) => format!("no recipe fits: {file} found, but there is no recipe for {kind}"),
        None => "no recipe fits this app".to_owned(),
    };
    Failure::new(Stage::Detect, FailureKind::NoRecipe, cause)
        .evidence(evidence)
        .hint("add a Procfile with a line such as `web: ./start.sh`, commit, and push again")
}

fn found_kinds(context: &Context) -> Vec<(&'static str, &'static str)> {
    UNKNOWN_KINDS.into_iter().filter(|(file, _)| context.source.has_file(file)).collect()
}
