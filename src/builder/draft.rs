//! A plan in the making, and what recipes look at while they make it.

use std::collections::BTreeMap;

use autostack_domain::{
    BuildSettings, Failure, FailureKind, ProcessType, Stage,
    procfile::Procfile,
    release::{LaunchEnv, StaticSite},
};

use crate::{
    image::DockerfileFacts,
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
    /// What its operator says about it.
    pub(crate) settings: &'a BuildSettings,
    /// The app's Procfile, empty if it has none.
    pub(crate) procfile: &'a Procfile,
    /// Set where the app is a folder of a larger tree.
    pub(crate) around: Option<Around<'a>>,
}

/// The tree around an app that is one of its folders.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    /// The whole tree.
    pub(crate) top: &'a Source,
    /// The app's folder in it: `packages/web`.
    pub(crate) folder: &'a str,
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
    /// Run before all others, and at the top of the tree even where the app is a folder of it.
    pub(crate) top_steps: Vec<Step>,
    /// Folders of the whole tree, not of the app's, that stand in `PATH`.
    pub(crate) top_path: Vec<String>,
    pub(crate) steps: Vec<Step>,
    pub(crate) caches: Vec<CacheFolder>,
    pub(crate) launch: LaunchEnv,
    pub(crate) processes: BTreeMap<ProcessType, String>,
    pub(crate) static_site: Option<StaticSite>,
    /// What the Dockerfile says, where one decides.
    pub(crate) dockerfile: Option<DockerfileFacts>,
    /// Whether it may well be no app at all, but a library or some files: it counts where nothing else does.
    pub(crate) is_vague: bool,
}

impl Draft {
    pub(crate) fn new(recipe: Recipe) -> Self {
        Self {
            recipe,
            reasons: Vec::new(),
            warnings: Vec::new(),
            tools: Vec::new(),
            top_steps: Vec::new(),
            top_path: Vec::new(),
            steps: Vec::new(),
            caches: Vec::new(),
            launch: LaunchEnv::default(),
            processes: BTreeMap::new(),
            static_site: None,
            dockerfile: None,
            is_vague: false,
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

    /// Asks for a program.
    pub(crate) fn needs(&mut self, context: &Context, tool: &str, needed_for: &str) -> Result<(), Failure> {
        if !context.tools.has(tool) {
            return Err(missing_tool(tool, needed_for));
        }
        if !self.tools.iter().any(|known| known.name == tool) {
            let (name, needed_for) = (tool.to_owned(), needed_for.to_owned());
            self.tools.push(Tool { name, needed_for, version: None });
        }
        Ok(())
    }

    /// Notes which version of a program the app asks for, and says what comes of it: a host has the one that
    /// it has.
    pub(crate) fn wants(&mut self, context: &Context, tool: &str, version: &str, asked_in: &str) {
        if let Some(known) = self.tools.iter_mut().find(|known| known.name == tool) {
            known.version = Some(version.to_owned());
        }
        match context.tools.version(tool) {
            _ if context.tools.are_of_an_image() => {
                self.because(format!("{asked_in} asks for {tool} {version}"));
            }
            Some(installed) if is_other(tool, version, &installed) => self.warn(format!(
                "{asked_in} asks for {tool} {version}; the host has {tool} {installed}, which is used"
            )),
            _ => self.because(format!("{asked_in} asks for {tool} {version}; the host's {tool} is used")),
        }
    }
}

/// Languages whose files name the oldest version that will do.
const MINIMUM: [&str; 3] = ["cargo", "go", "java"];

/// Whether an exact version that is asked for is surely another than the installed one; of a range (`>=3`,
/// `^8.2`) only the tool itself can tell. `3.1.7` is no other than `3.1`: names seldom have all parts.
fn is_other(tool: &str, asked: &str, installed: &str) -> bool {
    let parts =
        |version: &str| version.split('.').map(|part| part.parse::<u32>().ok()).collect::<Option<Vec<_>>>();
    let (Some(asked), Some(installed)) = (parts(asked), parts(installed)) else { return false };
    let differs = asked.iter().zip(&installed).find(|(asked, installed)| asked != installed);
    differs.is_some_and(|(asked, installed)| !MINIMUM.contains(&tool) || asked > installed)
}

/// Programs of Debian's packages.
const PACKAGES: [(&str, &str); 16] = [
    ("bundle", "ruby-full bundler"),
    ("cargo", "cargo"),
    ("composer", "composer"),
    ("go", "golang-go"),
    ("java", "default-jdk-headless"),
    ("javac", "default-jdk-headless"),
    ("mvn", "maven default-jdk-headless"),
    ("node", "nodejs npm"),
    ("npm", "npm"),
    ("perl", "perl"),
    ("php", "php-cli"),
    ("python", "python-is-python3 python3-venv"),
    ("python3", "python3 python3-venv"),
    ("rustc", "cargo"),
    ("ruby", "ruby-full bundler"),
    ("uv", "uv"),
];

/// Programs that Debian has no package of, or none that is of use, and what helps.
const UNPACKAGED: [(&str, &str); 3] = [
    ("bun", "to run `npm install --global bun`"),
    ("deno", "to run `npm install --global deno`"),
    ("gradle", "to install gradle, or commit the wrapper that `gradle wrapper` writes"),
];

/// A program is not there: which, what for, how to get it.
pub(crate) fn missing_tool(tool: &str, needed_for: &str) -> Failure {
    let cause = format!("{tool} is not installed on the host, and {needed_for} needs it");
    let package = PACKAGES.iter().find(|(name, _)| *name == tool).map(|(_, package)| *package);
    let other = UNPACKAGED.iter().find(|(name, _)| *name == tool).map(|(_, remedy)| *remedy);
    let remedy = match (package, other) {
        (Some(package), _) => format!("to run `apt-get install {package}`"),
        (None, Some(remedy)) => remedy.to_owned(),
        (None, None) => format!("to install {tool}"),
    };
    Failure::new(Stage::Detect, FailureKind::MissingTool, cause)
        .hint(format!("ask the operator of the host {remedy}, then push again"))
}

/// Nothing says how the app is started: what was looked for, what helps.
pub(crate) fn no_start(cause: impl Into<String>, looked_for: &str, hint: impl Into<String>) -> Failure {
    Failure::new(Stage::Detect, FailureKind::NoRecipe, cause)
        .evidence([format!("looked for: {looked_for}")])
        .hint(hint)
}

/// A word for a shell, quoted where it needs to be.
pub(crate) fn shell_word(word: &str) -> String {
    let is_plain =
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/@+-".contains(&b));
    if is_plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// A file that the app brings is wrong.
pub(crate) fn bad_app_file(file: &str, why: impl std::fmt::Display) -> Failure {
    Failure::new(Stage::Detect, FailureKind::BadAppFile, format!("{file}: {why}"))
        .hint(format!("correct {file}, commit, and push again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_differ_where_that_is_sure() {
        for (tool, asked, installed) in
            [("ruby", "3.3.1", "3.1"), ("go", "1.22", "1.19"), ("php", "8", "7.4")]
        {
            assert!(is_other(tool, asked, installed), "{tool} {asked} {installed}");
        }
        for (tool, asked, installed) in
            [("ruby", "3.1.7", "3.1"), ("go", "1.18", "1.19"), ("php", "^8.2", "7.4"), ("java", "11", "17")]
        {
            assert!(!is_other(tool, asked, installed), "{tool} {asked} {installed}");
        }
    }
}
