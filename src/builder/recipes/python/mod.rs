//! Python: how the dependencies are declared decides how they are installed; the dependencies and the source
//! decide what serves.
//!
//! Differences from nixpacks, each for a reason:
//! - the virtual environment stands in the artifact (`.venv`), made without a copy of pip in it (30 ms
//!   instead of 3 s); one pip in the app's cache installs into it;
//! - an app that imports nothing but the standard library has no install step at all;
//! - a web framework is started by its server and on `PORT`, not by `python main.py`, as railpack does.

mod declared;
mod entry;
mod install;

use autostack_domain::Failure;

use self::{declared::Declared, entry::SCRIPTS};
use super::node::{self, Package};
use crate::{
    draft::{Context, Draft},
    plan::Recipe,
};

/// Files that mark a Python project.
pub(crate) struct Markers {
    project: Vec<&'static str>,
    script: Option<&'static str>,
}

const PROJECT_FILES: [&str; 7] =
    ["uv.lock", "poetry.lock", "requirements.txt", "pyproject.toml", "setup.py", "Pipfile", "manage.py"];

impl Markers {
    pub(crate) fn look(context: &Context) -> Self {
        let project = PROJECT_FILES.into_iter().filter(|file| context.source.has_file(file)).collect();
        let script = SCRIPTS.into_iter().find(|file| context.source.has_file(file));
        Self { project, script }
    }

    /// Whether dependencies or a framework mark it as a project.
    pub(crate) fn is_project(&self) -> bool {
        !self.project.is_empty()
    }

    /// Whether there is any Python that could be started.
    pub(crate) fn is_any(&self) -> bool {
        self.is_project() || self.script.is_some()
    }

    fn because(&self) -> &'static str {
        self.project.first().copied().or(self.script).unwrap_or("a script")
    }
}

/// Drafts a plan for a Python app.
pub(crate) fn draft(context: &Context, markers: &Markers) -> Result<Draft, Failure> {
    let mut draft = Draft::new(Recipe::Python);
    draft.because(format!("{} found: Python", markers.because()));
    // Prints reach the log as they are made.
    draft.launch_var("PYTHONUNBUFFERED", "1");
    let interpreter = interpreter(context, &mut draft);
    draft.needs(context, &interpreter, markers.because())?;
    if let Some((_, version)) = wanted_version(context)
        && let Some(tool) = draft.tools.last_mut()
    {
        tool.version = Some(version);
    }
    let mut declared = Declared::read(context)?;
    entry::guess(context, &mut declared, &interpreter, &mut draft)?;
    install::add_steps(context, &declared, &interpreter, &mut draft);
    entry::add_django_assets(context, &declared, &mut draft);
    Ok(draft)
}

/// The version that the app asks for, `3.12`, and the file that says so.
fn wanted_version(context: &Context) -> Option<(&'static str, String)> {
    ["runtime.txt", ".python-version"].into_iter().find_map(|file| {
        let text = context.source.words(file);
        let version = text.lines().next()?.trim().trim_start_matches("python-").to_owned();
        let minor = version.strip_prefix("3.")?.split('.').next()?.parse::<u8>().ok()?;
        Some((file, format!("3.{minor}")))
    })
}

/// The interpreter: of the version that the app asks for, if the host has it. An image has one Python, of
/// whatever version it is chosen for.
fn interpreter(context: &Context, draft: &mut Draft) -> String {
    let Some((file, version)) = wanted_version(context) else { return "python3".to_owned() };
    if context.tools.are_of_an_image() {
        draft.because(format!("{file} asks for Python {version}"));
        return "python3".to_owned();
    }
    let named = format!("python{version}");
    if context.tools.has(&named) {
        draft.because(format!("{file} asks for Python {version}: {named}"));
        return named;
    }
    draft.warn(format!(
        "{file} asks for Python {version}, which is not installed; the host's python3 is used"
    ));
    "python3".to_owned()
}

/// A Python app whose `package.json` builds its assets.
pub(crate) fn draft_with_assets(
    context: &Context,
    markers: &Markers,
    package: &Package,
) -> Result<Draft, Failure> {
    if !package.builds() {
        return draft(context, markers);
    }
    let mut draft = draft(context, markers)?;
    node::put_assets_before(context, package, &mut draft)?;
    Ok(draft)
}
