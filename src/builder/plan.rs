//! The plan of a build: what a recipe decided, as data that can be stored, shown and compared.

use std::{collections::BTreeMap, fmt};

use autostack_domain::{
    ProcessType,
    app_json::EnvAsked,
    cron::CronTask,
    health::HealthCheck,
    release::{LaunchEnv, StaticSite},
};
use serde::Serialize;

use crate::image::DockerfileFacts;

/// What kind of app it is; names the recipe that decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipe {
    /// Node.js: `package.json`.
    Node,
    /// Python: `requirements.txt`, `pyproject.toml`, a script.
    Python,
    /// Node.js's kin that installs and runs with Bun: `bun.lock`.
    Bun,
    /// Deno: `deno.json`, or sources that import by address.
    Deno,
    /// Go: `go.mod`, `go.work`, a `main.go`.
    Go,
    /// Java and its kin on the JVM: `pom.xml`, `gradlew`.
    Java,
    /// PHP: `composer.json`, `index.php`.
    Php,
    /// Ruby: `Gemfile`.
    Ruby,
    /// Rust: `Cargo.toml`.
    Rust,
    /// Only a Procfile: the commands run as they are, nothing is built.
    Procfile,
    /// Only a `start.sh`.
    Shell,
    /// A folder of files that the agent serves itself.
    Static,
    /// A `Dockerfile`, where there is a container engine to build it.
    Dockerfile,
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Recipe::Node => "Node.js",
            Recipe::Python => "Python",
            Recipe::Bun => "Bun",
            Recipe::Deno => "Deno",
            Recipe::Go => "Go",
            Recipe::Java => "Java",
            Recipe::Php => "PHP",
            Recipe::Ruby => "Ruby",
            Recipe::Rust => "Rust",
            Recipe::Procfile => "Procfile",
            Recipe::Shell => "Shell script",
            Recipe::Static => "Static site",
            Recipe::Dockerfile => "Dockerfile",
        })
    }
}

/// Everything that follows from the source tree alone. The same tree and the same installed programs give
/// the same plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BuildPlan {
    /// The recipe that decided.
    pub recipe: Recipe,
    /// The folder of the tree that is the app, without a slash at either end; empty for the tree itself.
    /// Commands and paths of the plan lead into it by themselves: they are run and resolved at the top of the
    /// artifact, whatever stands here.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub root: String,
    /// Why, for people, a line each: `package-lock.json found: npm ci`.
    pub reasons: Vec<String>,
    /// What the app should be told before it goes wrong: an ignored key, a missing pin.
    pub warnings: Vec<String>,
    /// Programs that the steps and the processes need; all of them were found.
    pub tools: Vec<Tool>,
    /// What is run, in order, in the artifact. Empty where there is nothing to build.
    pub steps: Vec<Step>,
    /// Folders that survive builds, and the variable by which a tool is told of each.
    pub caches: Vec<CacheFolder>,
    /// What the recipe wants in the environment of every process.
    pub launch: LaunchEnv,
    /// Command line of each process type: the Procfile's over that of `app.json` over the guessed. `None` for the
    /// command that the image of a Dockerfile has itself.
    pub processes: BTreeMap<ProcessType, Option<String>>,
    /// What the Dockerfile says, where one decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<DockerfileFacts>,
    /// Set where the agent itself serves the files and there is no `web` process.
    pub static_site: Option<StaticSite>,
    /// Checks that `app.json` asks for.
    pub checks: BTreeMap<ProcessType, Vec<HealthCheck>>,
    /// Instances that `app.json` asks for.
    pub formation_asked: BTreeMap<ProcessType, u32>,
    /// `scripts.dokku.postdeploy` of `app.json`: run after the switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postdeploy: Option<String>,
    /// `scripts.postdeploy` of `app.json`: run after the switch of the first deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_postdeploy: Option<String>,
    /// Config that `app.json` asks for. Its values may be anything, so no plan shows them.
    #[serde(skip)]
    pub env_asked: BTreeMap<String, EnvAsked>,
    /// What `app.json` has done at set times.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cron: Vec<CronTask>,
}

/// A program that must be installed on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tool {
    /// Its name in `PATH`.
    pub name: String,
    /// The file of the app that asks for it.
    pub needed_for: String,
    /// The version that the app asks for, as written: `>=20`, `3.12`, `^8.2`. A host has the version that it
    /// has; an image can choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// One command line of the build, run by `/bin/sh -c` in the artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What it does, for people: `Installing dependencies`.
    pub title: String,
    /// The part of the command line that the developer knows and can repeat: `npm ci`.
    pub known_as: String,
    /// The command line.
    pub command: String,
    /// Variables of this step alone; the app's config does not override them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Set where the step fills a cache folder once: the variable of that folder. It is not run again while
    /// the folder is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fills: Option<String>,
    /// Set where the folder that it makes may be copied from an earlier build instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reuse: Option<Reuse>,
}

/// When the result of a step is the same as last time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reuse {
    /// The folder that the step makes, inside the artifact: `node_modules`.
    pub folder: String,
    /// Files of the source that decide what is in it; together with the command and the program they are
    /// the key.
    pub decided_by: Vec<String>,
    /// The program whose version decides too: `node`.
    pub tool: String,
}

/// A folder of the app's own that survives builds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CacheFolder {
    /// Its name below the app's cache: `npm`.
    pub folder: String,
    /// The variable that holds its path: `npm_config_cache`.
    pub variable: String,
    /// A program whose every version gets a folder of its own: a virtual environment cannot be shared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_version_of: Option<String>,
    /// A folder inside it that stands first in the `PATH` of the steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

impl CacheFolder {
    /// A folder that one variable tells a tool of.
    pub fn new(folder: impl Into<String>, variable: &str) -> Self {
        Self { folder: folder.into(), variable: variable.to_owned(), per_version_of: None, path: None }
    }
}

impl Step {
    /// A step whose command line is one that the developer knows.
    pub fn new(title: impl Into<String>, command: impl Into<String>) -> Self {
        let command = command.into();
        let (title, known_as) = (title.into(), command.clone());
        Self { title, known_as, command, env: BTreeMap::new(), fills: None, reuse: None }
    }

    /// Names the part of the command line that the developer knows.
    #[must_use]
    pub fn known_as(mut self, known_as: impl Into<String>) -> Self {
        self.known_as = known_as.into();
        self
    }

    /// Sets a variable for this step.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    /// Runs it only until the folder of this variable is filled.
    #[must_use]
    pub fn fills(mut self, variable: &str) -> Self {
        self.fills = Some(variable.to_owned());
        self
    }

    /// Lets the result be reused.
    #[must_use]
    pub fn reuse(mut self, reuse: Option<Reuse>) -> Self {
        self.reuse = reuse;
        self
    }
}
