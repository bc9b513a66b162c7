//! Which folder of the tree is the app: the one that the config names, else the only one that is an app where
//! the tree itself is none.
//!
//! It is config and not a file, because a tree that is shared by several apps is pushed to each of them as it
//! is: what differs between them has to stand outside of it, and has to outlive every push.

use autostack_domain::{BuildSettings, EnvMap, Failure, FailureKind, Stage, release::StaticSite};

use crate::{
    draft::{Draft, shell_word},
    plan::Step,
    source::Source,
};

/// The setting that names the folder; it wins over the variable.
const SETTING: &str = "build-dir";
/// The config variable that names the folder.
pub(crate) const VARIABLE: &str = "AUTOSTACK_BUILD_DIR";
/// Folders that hold several apps or packages: their folders are looked into too.
const COLLECTIONS: [&str; 6] = ["apps/", "packages/", "services/", "projects/", "sites/", "src/"];
/// Folders that hold no app of their own.
const PASSED_OVER: [&str; 20] = [
    "__tests__/",
    "bin/",
    "build/",
    "dist/",
    "doc/",
    "docs/",
    "e2e/",
    "example/",
    "examples/",
    "fixtures/",
    "infra/",
    "lib/",
    "migrations/",
    "node_modules/",
    "scripts/",
    "spec/",
    "target/",
    "test/",
    "tests/",
    "vendor/",
];
/// Folders that are looked into.
const FOLDERS_MAX: usize = 60;
/// Folders that a refusal lists.
const LISTED_MAX: usize = 8;

/// The folder that the app's settings or config name, without slashes around it, and which of them it was; `None`
/// for the tree itself.
///
/// # Errors
/// [`FailureKind::NoRecipe`] where the value leads out of the tree or is no text.
pub(crate) fn asked(
    settings: &BuildSettings,
    config: &EnvMap,
) -> Result<Option<(&'static str, String)>, Failure> {
    if let Some(dir) = &settings.build_dir {
        return Ok(Some((SETTING, dir.as_str().to_owned())));
    }
    let Some(given) = config.get(VARIABLE) else { return Ok(None) };
    let given = std::str::from_utf8(given).map_err(|_| refused("it is not UTF-8 text"))?;
    let path = given.trim();
    if path.starts_with('/') {
        return Err(refused(format!(
            "{path:?} does not begin at the top of the tree: leave out the first /"
        )));
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err(refused(format!("{path:?} leads out of the tree")));
    }
    Ok((!parts.is_empty()).then(|| (VARIABLE, parts.join("/"))))
}

/// Opens the folder that the config names.
///
/// # Errors
/// [`FailureKind::NoRecipe`] where there is no such folder: also not where a symlink is.
pub(crate) fn open(top: &Source, said_by: &str, folder: &str) -> Result<Source, Failure> {
    top.folder(folder).ok_or_else(|| {
        let folders: Vec<String> = top.list("").into_iter().filter(|name| name.ends_with('/')).collect();
        refused_by(said_by, format!("there is no folder {folder} in the tree"))
            .evidence([format!("folders at the top: {}", listed(&folders))])
    })
}

fn refused(why: impl std::fmt::Display) -> Failure {
    refused_by(VARIABLE, why)
}

fn refused_by(said_by: &str, why: impl std::fmt::Display) -> Failure {
    let hint = if said_by == SETTING {
        "builder:set APP build-dir FOLDER names another one; without FOLDER it is the top of the tree"
            .to_owned()
    } else {
        format!("set {VARIABLE} to a folder of the tree, such as apps/web, or remove it from the config")
    };
    Failure::new(Stage::Detect, FailureKind::NoRecipe, format!("{said_by}: {why}")).hint(hint)
}

/// Folders that may hold an app, in order: those at the top, and those in folders that collect them.
pub(crate) fn candidates(top: &Source) -> Vec<String> {
    let folders = |inside: &str| {
        let names = top.list(inside.trim_end_matches('/')).into_iter();
        let kept = names.filter(|name| {
            name.ends_with('/') && !name.starts_with('.') && !PASSED_OVER.contains(&name.as_str())
        });
        kept.map(|name| format!("{inside}{name}")).collect::<Vec<_>>()
    };
    let mut found = folders("");
    for collection in COLLECTIONS {
        if found.iter().any(|folder| folder == collection) {
            found.extend(folders(collection));
        }
    }
    found.truncate(FOLDERS_MAX);
    found.iter().map(|folder| folder.trim_end_matches('/').to_owned()).collect()
}

/// The tree is no app, and several of its folders are.
pub(crate) fn ambiguous(folders: &[String]) -> Failure {
    let cause =
        format!("no recipe fits the top of the tree, and several folders are apps: {}", listed(folders));
    Failure::new(Stage::Detect, FailureKind::NoRecipe, cause).hint(choice(folders))
}

/// How to say which folder it is. The line is meant to be pasted into a shell: no name that a shell would read
/// as more than a name.
fn choice(folders: &[String]) -> String {
    let is_plain =
        |folder: &&String| folder.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte));
    match folders.iter().find(is_plain) {
        Some(folder) => format!(
            "set {VARIABLE}={folder} in the app's config, or push that folder: \
             git push REMOTE $(git subtree split --prefix {folder}/):main"
        ),
        None => format!("set {VARIABLE} in the app's config, or push the folder as a repository of its own"),
    }
}

fn listed(names: &[String]) -> String {
    match names.len() {
        0 => "none".to_owned(),
        count if count > LISTED_MAX => {
            format!("{} and {} more", names[..LISTED_MAX].join(", "), count - LISTED_MAX)
        }
        _ => names.join(", "),
    }
}

/// Makes a plan that was drafted for the folder one that is carried out at the top.
pub(crate) fn lead_into(folder: &str, draft: &mut Draft) {
    let inside = |path: &str| if path.is_empty() { folder.to_owned() } else { format!("{folder}/{path}") };
    for step in &mut draft.steps {
        step.command = command_in(folder, &step.command);
        if let Some(reuse) = &mut step.reuse {
            reuse.folder = inside(&reuse.folder);
            reuse.decided_by = reuse.decided_by.iter().map(|file| inside(file)).collect();
        }
    }
    for path in &mut draft.launch.path {
        *path = inside(path);
    }
    for command in draft.processes.values_mut() {
        *command = command_in(folder, command);
    }
    if let Some(StaticSite { root, .. }) = &mut draft.static_site {
        *root = inside(root);
    }
}

/// Puts what is done at the top before the rest, once that leads into its folder.
pub(crate) fn add_top(draft: &mut Draft) {
    let mut steps: Vec<Step> = std::mem::take(&mut draft.top_steps);
    steps.append(&mut draft.steps);
    draft.steps = steps;
    for path in std::mem::take(&mut draft.top_path) {
        draft.launch_path(&path);
    }
}

/// The command line, run in the folder: a part of the line and not a setting beside it, so that whatever runs
/// commands at the top of the artifact need not know of folders. Of lines that are more than one command the
/// `cd` must not become a part of one.
fn command_in(folder: &str, command: &str) -> String {
    let folder = shell_word(folder);
    let is_plain = !command.contains([';', '&', '|', '\n']);
    let joint = if is_plain { " && " } else { " || exit\n" };
    format!("cd {folder}{joint}{command}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_a_path_inside_the_tree() {
        let asked = |value: &str| {
            let mut config = EnvMap::new();
            config.set(VARIABLE, value).unwrap();
            asked(&BuildSettings::default(), &config).map(|found| found.map(|(_, folder)| folder))
        };
        assert_eq!(asked("apps/web").unwrap().as_deref(), Some("apps/web"));
        assert_eq!(asked(" ./apps//web/ ").unwrap().as_deref(), Some("apps/web"));
        for top in ["", ".", "./"] {
            assert_eq!(asked(top).unwrap(), None, "{top:?}");
        }
        for outside in ["..", "a/../..", "/etc", "a/../b"] {
            assert_eq!(asked(outside).unwrap_err().kind, FailureKind::NoRecipe, "{outside}");
        }
        assert_eq!(super::asked(&BuildSettings::default(), &EnvMap::new()).unwrap(), None);
    }

    #[test]
    fn a_command_line_is_run_in_its_folder_whatever_it_is_made_of() {
        assert_eq!(command_in("api", "node a.js"), "cd api && node a.js");
        assert_eq!(command_in("my app", "A=1 node a.js"), "cd 'my app' && A=1 node a.js");
        assert_eq!(command_in("api", "a & b"), "cd api || exit\na & b");
    }
}
