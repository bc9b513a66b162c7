//! A plan in the making, and what recipes look at while they make it.

use std::collections::BTreeMap;

use autostack_domain::{
    Failure, FailureKind, ProcessType, Stage,
    procfile::Procfile,
    release::{LaunchEnv, StaticSite},
};

use crate::{
    plan::{CacheFolder, Recipe, Step, Tool},
    source::Source,
    toolchains::Toolchains,
};

/// What a recipe may look at.
pub(crate) struct Context<'a> {
    /// The source tree.
    pub(crate) source: &'a Source,
    /// The host's programs.
    pub(crate) tools: &'a Toolchains,
    /// The app's Procfile, empty if it has none.
    pub(crate) procfile: &'a Procfile,
}

impl Context<'_> {
    /// The Procfile's own start command.
    pub(crate) fn procfile_web(&self) -> Option<&str> {
        self.procfile.0.get(&ProcessType::web()).map(String::as_str)
    }
}

/// What a recipe has decided so far.
pub(crate) struct Draft {
    pub(crate) recipe: Recipe,
    pub(crate) reasons: Vec<String>,
    pub(crate) warnings: Vec<String>,
    pub(crate) tools: Vec<Tool>,
    pub(crate) steps: Vec<Step>,
    pub(crate) caches: Vec<CacheFolder>,
    pub(crate) launch: LaunchEnv,
    pub(crate) processes: BTreeMap<ProcessType, String>,
    pub(crate) static_site: Option<StaticSite>,
}

impl Draft {
    pub(crate) fn new(recipe: Recipe) -> Self {
        Self {
            recipe,
            reasons: Vec::new(),
            warnings: Vec::new(),
            tools: Vec::new(),
            steps: Vec::new(),
            caches: Vec::new(),
            launch: LaunchEnv::default(),
            processes: BTreeMap::new(),
            static_site: None,
        }
    }

    /// Says why, for people.
    pub(crate) fn because(&mut self, reason: impl Into<String>) {
        self.reasons.push(reason.into());
    }

    /// Says what may go wrong, for people.
    pub(crate) fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// Guesses the start command of a process type and says why; the Procfile may still say otherwise.
    pub(crate) fn guess(&mut self, process: ProcessType, command: impl Into<String>, because: &str) {
        let command = command.into();
        let what = if process.is_release() { "Before each release" } else { "Start command" };
        self.because(format!("{what}: {command} ({because})"));
        self.processes.insert(process, command);
    }

    /// Sets a variable of every process of the app.
    pub(crate) fn launch_var(&mut self, name: &str, value: &str) {
        self.launch.vars.insert(name.to_owned(), value.to_owned());
    }

    /// Puts a folder of the artifact into the `PATH` of every process.
    pub(crate) fn launch_path(&mut self, folder: &str) {
        if !self.launch.path.iter().any(|known| known == folder) {
            self.launch.path.push(folder.to_owned());
        }
    }

    /// Adds a folder that survives builds.
    pub(crate) fn cache(&mut self, cache: CacheFolder) {
        if !self.caches.contains(&cache) {
            self.caches.push(cache);
        }
    }

    /// Asks for a program of the host.
    pub(crate) fn needs(&mut self, context: &Context, tool: &str, needed_for: &str) -> Result<(), Failure> {
        if !context.tools.has(tool) {
            return Err(missing_tool(tool, needed_for));
        }
        if !self.tools.iter().any(|known| known.name == tool) {
            self.tools.push(Tool { name: tool.to_owned(), needed_for: needed_for.to_owned() });
        }
        Ok(())
    }
}

/// Programs of Debian's packages.
const PACKAGES: [(&str, &str); 9] = [
    ("java", "default-jre-headless"),
    ("node", "nodejs npm"),
    ("npm", "npm"),
    ("perl", "perl"),
    ("php", "php-cli"),
    ("python", "python-is-python3 python3-venv"),
    ("python3", "python3 python3-venv"),
    ("ruby", "ruby-full"),
    ("uv", "uv"),
];

/// A program is not there: which, what for, how to get it.
pub(crate) fn missing_tool(tool: &str, needed_for: &str) -> Failure {
    let cause = format!("{tool} is not installed on the host, and {needed_for} needs it");
    let package = PACKAGES.iter().find(|(name, _)| *name == tool).map(|(_, package)| *package);
    let remedy = match package {
        Some(package) => format!("to run `apt-get install {package}`"),
        None => format!("to install {tool}"),
    };
    Failure::new(Stage::Detect, FailureKind::MissingTool, cause)
        .hint(format!("ask the operator of the host {remedy}, then push again"))
}

/// A file that the app brings is wrong.
pub(crate) fn bad_app_file(file: &str, why: impl std::fmt::Display) -> Failure {
    Failure::new(Stage::Detect, FailureKind::BadAppFile, format!("{file}: {why}"))
        .hint(format!("correct {file}, commit, and push again"))
}
