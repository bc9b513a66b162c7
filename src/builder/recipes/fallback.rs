//! What is left when no language is recognised: a Procfile alone, a `start.sh`, or a clear refusal.

use autostack_domain::{Failure, FailureKind, ProcessType, Stage};

use crate::{
    draft::{Context, Draft, bad_app_file},
    plan::Recipe,
};

/// Files that mark a kind of app for which there is no recipe.
const UNKNOWN_KINDS: [(&str, &str); 14] = [
    ("Cargo.toml", "Rust"),
    ("Dockerfile", "an image"),
    ("Gemfile", "Ruby"),
    ("build.gradle", "Java"),
    ("bun.lockb", "Bun"),
    ("compose.yaml", "containers"),
    ("composer.json", "PHP"),
    ("deno.json", "Deno"),
    ("docker-compose.yml", "containers"),
    ("go.mod", "Go"),
    ("index.php", "PHP"),
    ("mix.exs", "Elixir"),
    ("pom.xml", "Java"),
    ("Pipfile", "Python with pipenv"),
];

/// What recipes look for, as the refusal names it.
const LOOKED_FOR: &str = "Procfile, package.json, requirements.txt, pyproject.toml, manage.py, main.py, app.py, \
                          index.html (also in public/, dist/, site/), static.json, start.sh";
/// Files that are marked enough to be named when they are one folder too deep.
const MARKERS: [&str; 6] =
    ["Procfile", "package.json", "requirements.txt", "pyproject.toml", "manage.py", "index.html"];
/// Names of the tree that a refusal lists.
const LISTED_MAX: usize = 12;
/// Folders that are looked into for a misplaced app.
const FOLDERS_MAX: usize = 20;

/// Only a Procfile: its commands run as they are.
pub(crate) fn procfile(context: &Context) -> Result<Draft, Failure> {
    if context.procfile.0.is_empty() {
        return Err(bad_app_file("Procfile", "it names no process type; add a line such as `web: ./server`"));
    }
    let mut draft = Draft::new(Recipe::Procfile);
    draft.because("Nothing to build: the commands of the Procfile run as they are");
    for (file, kind) in found_kinds(context) {
        draft.warn(format!(
            "{file} found, but there is no recipe for {kind} yet: nothing is installed from it"
        ));
    }
    Ok(draft)
}

/// Only a `start.sh`, as nixpacks starts it.
pub(crate) fn shell(context: &Context) -> Option<Draft> {
    if !context.source.has_file("start.sh") {
        return None;
    }
    let mut draft = Draft::new(Recipe::Shell);
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
    if let Some((folder, file)) = misplaced(context, &names) {
        let cause =
            format!("no recipe fits: the app seems to be in {folder}, not at the top ({folder}{file})");
        // The line is meant to be pasted into a shell: no name that a shell would read as more than a name.
        let is_plain = folder.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte));
        let hint = if is_plain {
            format!("push that folder: git push REMOTE $(git subtree split --prefix {folder}):main")
        } else {
            "push that folder as a repository of its own".to_owned()
        };
        return Failure::new(Stage::Detect, FailureKind::NoRecipe, cause).evidence(evidence).hint(hint);
    }
    let cause = match found_kinds(context).first() {
        Some((file, kind)) => format!("no recipe fits: {file} found, but there is no recipe for {kind} yet"),
        None => "no recipe fits this app".to_owned(),
    };
    Failure::new(Stage::Detect, FailureKind::NoRecipe, cause)
        .evidence(evidence)
        .hint("add a Procfile with a line such as `web: ./start.sh`, commit, and push again")
}

fn found_kinds(context: &Context) -> Vec<(&'static str, &'static str)> {
    UNKNOWN_KINDS.into_iter().filter(|(file, _)| context.source.has_file(file)).collect()
}

/// The one folder of the tree that holds an app.
fn misplaced(context: &Context, names: &[String]) -> Option<(String, &'static str)> {
    let folders = names.iter().filter(|name| name.ends_with('/') && !name.starts_with('.')).take(FOLDERS_MAX);
    let found: Vec<_> = folders
        .filter_map(|folder| {
            let marker =
                MARKERS.into_iter().find(|file| context.source.has_file(&format!("{folder}{file}")))?;
            Some((folder.clone(), marker))
        })
        .collect();
    match found.as_slice() {
        [only] => Some(only.clone()),
        _ => None,
    }
}
