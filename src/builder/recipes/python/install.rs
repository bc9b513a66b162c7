//! How the declared dependencies get into `.venv`.

use super::declared::{Declaration, Declared};
use crate::{
    draft::{Context, Draft},
    plan::{CacheFolder, Reuse, Step},
};

/// Where the virtual environment stands in the artifact.
const VENV: &str = ".venv";

/// Adds the steps and caches that make the virtual environment; none where nothing is declared.
pub(crate) fn add_steps(context: &Context, declared: &Declared, interpreter: &str, draft: &mut Draft) {
    let Some(source) = declared.source else {
        draft.because("No dependencies declared: standard library only, nothing to install");
        return;
    };
    draft.launch_path(&format!("{VENV}/bin"));
    match source {
        Declaration::Requirements => {
            draft.because("requirements.txt found: pip install -r requirements.txt");
            let pip = format!("install -r requirements.txt{}", added(declared));
            let reuse = declared.is_pinned.then(|| Reuse {
                folder: VENV.to_owned(),
                decided_by: vec!["requirements.txt".to_owned()],
                tool: interpreter.to_owned(),
            });
            with_pip(&pip, reuse, interpreter, draft);
        }
        Declaration::Package => {
            draft.because("pyproject.toml or setup.py describes a package: pip install .");
            with_pip(&format!("install .{}", added(declared)), None, interpreter, draft);
        }
        Declaration::Dependencies => {
            if context.source.has_file("pdm.lock") {
                draft.warn("pdm.lock is not read: pip installs what fits pyproject.toml");
            }
            draft.because("pyproject.toml lists dependencies: pip install");
            let quoted: Vec<String> = declared.listed.iter().map(|entry| quoted(entry)).collect();
            with_pip(&format!("install {}{}", quoted.join(" "), added(declared)), None, interpreter, draft);
        }
        Declaration::Uv => with_uv(context, interpreter, draft),
        Declaration::Poetry => with_poetry(interpreter, draft),
        Declaration::Pipenv => with_pipenv(context, interpreter, draft),
    }
}

/// What the recipe installs beside the declared.
fn added(declared: &Declared) -> String {
    declared.added.iter().map(|name| format!(" {name}")).collect()
}

/// pip of the app's cache installs into an environment that holds no pip.
fn with_pip(arguments: &str, reuse: Option<Reuse>, interpreter: &str, draft: &mut Draft) {
    add_tool("pip", "'pip>=22.3'", interpreter, draft);
    draft.cache(CacheFolder::new("pip", "PIP_CACHE_DIR"));
    let command = format!(
        "{interpreter} -m venv --without-pip {VENV} &&\n\"$AUTOSTACK_PIP/bin/pip\" --python {VENV}/bin/python {arguments}"
    );
    let step = Step::new("Installing dependencies", command)
        .known_as(format!("pip {arguments}"))
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .env("PIP_NO_INPUT", "1")
        .env("PIP_ROOT_USER_ACTION", "ignore")
        .env("PIP_PROGRESS_BAR", "off")
        .reuse(reuse);
    draft.steps.push(step);
}

/// `uv sync` makes `.venv` itself. uv of the host is taken where there is one; it reads the locks of all
/// versions before its own.
fn with_uv(context: &Context, interpreter: &str, draft: &mut Draft) {
    let line = "uv sync --frozen --no-dev --compile-bytecode";
    draft.because("uv.lock found: uv sync --frozen --no-dev");
    draft.cache(CacheFolder::new("uv", "UV_CACHE_DIR"));
    let command = if context.tools.find("uv").is_some() {
        line.to_owned()
    } else {
        add_tool("uv", "uv", interpreter, draft);
        line.replacen("uv", "\"$AUTOSTACK_UV/bin/uv\"", 1)
    };
    let step = Step::new("Installing dependencies", command)
        .known_as(line)
        .env("UV_PROJECT_ENVIRONMENT", VENV)
        // An interpreter fetched into the cache would be part of no artifact.
        .env("UV_PYTHON_DOWNLOADS", "never")
        .env("UV_NO_PROGRESS", "1");
    draft.steps.push(step);
}

fn with_poetry(interpreter: &str, draft: &mut Draft) {
    let line = "poetry install --only main --no-root --no-interaction";
    draft.because(format!("poetry.lock or [tool.poetry] found: {line}"));
    add_tool("poetry", "poetry", interpreter, draft);
    draft.cache(CacheFolder::new("poetry", "POETRY_CACHE_DIR"));
    let command = line.replacen("poetry", "\"$AUTOSTACK_POETRY/bin/poetry\"", 1);
    let step = Step::new("Installing dependencies", command)
        .known_as(line)
        .env("POETRY_VIRTUALENVS_IN_PROJECT", "true")
        .env("POETRY_VIRTUALENVS_OPTIONS_NO_PIP", "true");
    draft.steps.push(step);
}

fn with_pipenv(context: &Context, interpreter: &str, draft: &mut Draft) {
    let has_lock = context.source.has_file("Pipfile.lock");
    let line = if has_lock { "pipenv install --deploy" } else { "pipenv install" };
    draft.because(format!("Pipfile{} found: {line}", if has_lock { ".lock" } else { "" }));
    if !has_lock {
        draft.warn(
            "no Pipfile.lock: every build may install other versions; commit the one that pipenv writes",
        );
    }
    add_tool("pipenv", "pipenv", interpreter, draft);
    draft.cache(CacheFolder::new("pipenv", "PIPENV_CACHE_DIR"));
    let command = line.replacen("pipenv", "\"$AUTOSTACK_PIPENV/bin/pipenv\"", 1);
    let step = Step::new("Installing dependencies", command)
        .known_as(line)
        .env("PIPENV_VENV_IN_PROJECT", "1")
        .env("PIPENV_IGNORE_VIRTUALENVS", "1")
        .env("PIPENV_NOSPIN", "1")
        .env("PIPENV_YES", "1");
    draft.steps.push(step);
}

/// Gets a tool from the registry into a virtual environment of its own in the app's cache, once for each
/// version of Python.
fn add_tool(name: &str, requirement: &str, interpreter: &str, draft: &mut Draft) {
    let variable = format!("AUTOSTACK_{}", name.to_ascii_uppercase());
    let mut cache = CacheFolder::new(format!("tools/{name}"), &variable);
    cache.per_version_of = Some(interpreter.to_owned());
    draft.cache(cache);
    let command = format!(
        "{interpreter} -m venv --clear \"${variable}\" &&\n\"${variable}/bin/pip\" install --quiet {requirement}"
    );
    let step = Step::new(format!("Getting {name}"), command).known_as(format!("pip install {requirement}"));
    draft.steps.push(step.env("PIP_DISABLE_PIP_VERSION_CHECK", "1").fills(&variable));
}

/// One argument for a shell.
fn quoted(argument: &str) -> String {
    format!("'{}'", argument.replace('\'', "'\\''"))
}
