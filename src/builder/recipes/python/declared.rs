//! What a Python app says that it depends on, and in which file.

use std::collections::BTreeSet;

use autostack_domain::Failure;
use toml::Table;

use crate::draft::{Context, bad_app_file};

/// The file that decides what is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Declaration {
    /// `uv.lock`
    Uv,
    /// `poetry.lock`, or a `pyproject.toml` of Poetry's without one.
    Poetry,
    /// `Pipfile`, with its lock or without one.
    Pipenv,
    /// `requirements.txt`
    Requirements,
    /// `pyproject.toml` (or `setup.py`) that describes a package: it is installed itself.
    Package,
    /// `pyproject.toml` that only lists dependencies.
    Dependencies,
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Declared {
    /// `None` where nothing is declared: standard library only.
    pub(crate) source: Option<Declaration>,
    /// Names of all dependencies that are known, normalised: lower case, `-`.
    pub(crate) names: BTreeSet<String>,
    /// Entries of `[project.dependencies]`.
    pub(crate) listed: Vec<String>,
    /// What a recipe installs beside them: the server that a framework needs.
    pub(crate) added: Vec<&'static str>,
    /// The only entry of `[project.scripts]`.
    pub(crate) script: Option<String>,
    /// The module that `python -m` runs, if the project's package has one.
    pub(crate) module: Option<String>,
    /// Whether every line of `requirements.txt` pins one version from the registry.
    pub(crate) is_pinned: bool,
}

impl Declared {
    pub(crate) fn read(context: &Context) -> Result<Self, Failure> {
        let source = context.source;
        let project = pyproject(context)?;
        let has = |file: &str| source.has_file(file);
        let is_poetry = project.get("tool").and_then(|tool| tool.get("poetry")).is_some();
        let listed = listed_dependencies(&project);
        let requirements = source.words("requirements.txt");

        let declaration = if has("uv.lock") {
            Some(Declaration::Uv)
        } else if has("poetry.lock") || (is_poetry && !has("requirements.txt")) {
            Some(Declaration::Poetry)
        } else if has("requirements.txt") {
            requirements.lines().any(|line| !is_blank(line)).then_some(Declaration::Requirements)
        } else if project.contains_key("build-system") || has("setup.py") {
            Some(Declaration::Package)
        } else if !listed.is_empty() {
            Some(Declaration::Dependencies)
        } else if has("Pipfile") {
            Some(Declaration::Pipenv)
        } else {
            None
        };
        let locks = [source.words("uv.lock"), source.words("poetry.lock")].join("\n");
        let mut names: BTreeSet<String> = locked_names(&locks).collect();
        names.extend(
            requirements.lines().chain(listed.iter().map(String::as_str)).filter_map(requirement_name),
        );
        names.extend(poetry_names(&project));
        names.extend(pipenv_names(&source.words("Pipfile")));
        // An extra that brings the server along.
        if requirements.lines().chain(listed.iter().map(String::as_str)).any(brings_uvicorn) {
            names.insert("uvicorn".to_owned());
        }
        let is_pinned = requirements.lines().filter(|line| !is_blank(line)).all(is_pinned);
        let script = only_script(&project);
        let module = project_module(&project)
            .filter(|module| ["", "src/"].iter().any(|folder| has(&format!("{folder}{module}/__main__.py"))));
        Ok(Self { source: declaration, names, listed, added: Vec::new(), script, module, is_pinned })
    }

    /// Whether the dependency is known to be installed.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }
}

fn pyproject(context: &Context) -> Result<Table, Failure> {
    let text =
        context.source.read("pyproject.toml").map_err(|error| bad_app_file("pyproject.toml", error))?;
    let Some(text) = text else { return Ok(Table::new()) };
    let text = String::from_utf8(text).map_err(|_| bad_app_file("pyproject.toml", "it is not UTF-8 text"))?;
    text.parse().map_err(|error: toml::de::Error| {
        let line =
            error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        bad_app_file("pyproject.toml", format!("line {line}: {}", error.message()))
    })
}

fn listed_dependencies(project: &Table) -> Vec<String> {
    let listed =
        project.get("project").and_then(|table| table.get("dependencies")).and_then(|list| list.as_array());
    listed.into_iter().flatten().filter_map(|entry| entry.as_str().map(str::to_owned)).collect()
}

fn poetry_names(project: &Table) -> Vec<String> {
    let table =
        project.get("tool").and_then(|tool| tool.get("poetry")).and_then(|poetry| poetry.get("dependencies"));
    table
        .and_then(|table| table.as_table())
        .into_iter()
        .flat_map(Table::keys)
        .map(|name| normal(name))
        .collect()
}

/// The keys of `[packages]` in a Pipfile.
fn pipenv_names(pipfile: &str) -> Vec<String> {
    let table: Table = pipfile.parse().unwrap_or_default();
    let packages = table.get("packages").and_then(|packages| packages.as_table());
    packages.into_iter().flat_map(Table::keys).map(|name| normal(name)).collect()
}

fn only_script(project: &Table) -> Option<String> {
    let scripts = project.get("project")?.get("scripts")?.as_table()?;
    (scripts.len() == 1).then(|| scripts.keys().next().cloned()).flatten()
}

/// The package that a project of this name has by convention.
fn project_module(project: &Table) -> Option<String> {
    let name = project.get("project")?.get("name")?.as_str()?;
    Some(name.to_ascii_lowercase().replace(['-', '.'], "_"))
}

/// `name = "flask"` of `[[package]]` in the lock files of uv and Poetry.
fn locked_names(lock: &str) -> impl Iterator<Item = String> {
    lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).map(normal)
}

/// The name at the start of a line of `requirements.txt`, or of an entry of `[project.dependencies]`.
fn requirement_name(line: &str) -> Option<String> {
    let line = line.trim();
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).unwrap_or(line.len());
    line.starts_with(|c: char| c.is_ascii_alphanumeric()).then(|| normal(&line[..end]))
}

fn brings_uvicorn(line: &str) -> bool {
    let line = line.trim().to_ascii_lowercase();
    ["fastapi[standard", "fastapi[all", "starlette[full"].iter().any(|extra| line.starts_with(extra))
}

fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

/// `flask==3.0.0`, with markers and a comment perhaps; no option, path or URL.
fn is_pinned(line: &str) -> bool {
    let line = line.split(" #").next().unwrap_or_default().trim();
    let has_name = requirement_name(line).is_some();
    has_name && line.contains("==") && !line.contains("==*") && !line.contains('@') && !line.contains(".*")
}

fn normal(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_requirement_lines() {
        assert_eq!(
            requirement_name("Flask_SQLAlchemy[x]>=2 ; python_version>'3'"),
            Some("flask-sqlalchemy".into())
        );
        assert_eq!(requirement_name("uvicorn==0.1"), Some("uvicorn".into()));
        for line in ["-r other.txt", "--hash=x", "# flask", "", "./local"] {
            assert_eq!(requirement_name(line), None, "{line}");
        }
    }

    #[test]
    fn only_exact_versions_from_the_registry_are_pinned() {
        for line in ["flask==3.0.0", "a[b]==1 ; python_version < '4'", "a==1 # why"] {
            assert!(is_pinned(line), "{line}");
        }
        for line in ["flask", "flask>=3", "flask==3.*", "-e .", "a @ git+x==1", "-r base.txt", "./a==1"] {
            assert!(!is_pinned(line), "{line}");
        }
    }
}
