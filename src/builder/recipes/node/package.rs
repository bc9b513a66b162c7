//! `package.json`, as far as the recipe looks into it.

use std::collections::{BTreeMap, BTreeSet};

use autostack_domain::Failure;
use serde_json::Value;

use crate::draft::{Context, bad_app_file};

/// What was read; entries of another type than npm documents count as absent.
#[derive(Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: Option<String>,
    pub(crate) scripts: BTreeMap<String, String>,
    pub(crate) main: Option<String>,
    pub(crate) package_manager: Option<String>,
    pub(crate) node_wanted: Option<String>,
    pub(crate) dependencies: BTreeSet<String>,
    pub(crate) dev_dependencies: BTreeSet<String>,
    pub(crate) has_workspaces: bool,
    /// Patterns of the folders that are packages of its workspace.
    pub(crate) workspaces: Vec<String>,
    /// Whether a dependency is a folder of the source.
    pub(crate) has_local_dependencies: bool,
}

/// Files that start an app which names none.
const MAIN_FILES: [&str; 8] =
    ["index.js", "server.js", "app.js", "main.js", "index.mjs", "server.mjs", "index.cjs", "src/index.js"];

/// Files that Bun starts beside those: it needs no build for TypeScript.
const BUN_FILES: [&str; 8] = [
    "index.ts",
    "server.ts",
    "app.ts",
    "main.ts",
    "src/index.ts",
    "src/server.ts",
    "src/main.ts",
    "index.tsx",
];

/// Scripts that run on installation.
const INSTALL_SCRIPTS: [&str; 5] = ["install", "postinstall", "preinstall", "prepare", "prepublish"];

/// Reads `package.json`; `None` if there is none.
pub(crate) fn read(context: &Context) -> Result<Option<Package>, Failure> {
    let text = context.source.read("package.json").map_err(|error| bad_app_file("package.json", error))?;
    let Some(text) = text else { return Ok(None) };
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    let value: Value = serde_json::from_slice(text).map_err(|error| bad_app_file("package.json", error))?;
    if !value.is_object() {
        return Err(bad_app_file("package.json", "it must be an object: { … }"));
    }
    Ok(Some(Package::from_value(&value)))
}

impl Package {
    fn from_value(value: &Value) -> Self {
        let text = |value: &Value| value.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned);
        let runtime = ["dependencies", "optionalDependencies", "peerDependencies"];
        let is_local = |version: &Value| {
            version.as_str().is_some_and(|version| {
                ["file:", "link:", "portal:", "workspace:", ".", "/", "~/"]
                    .iter()
                    .any(|local| version.starts_with(local))
            })
        };
        let versions = |key: &str| value[key].as_object().into_iter().flatten();
        let workspaces = value["workspaces"].as_array().or(value["workspaces"]["packages"].as_array());
        Self {
            name: text(&value["name"]),
            scripts: versions("scripts")
                .filter_map(|(name, line)| Some((name.clone(), text(line)?)))
                .collect(),
            main: text(&value["main"]),
            package_manager: text(&value["packageManager"]),
            node_wanted: text(&value["engines"]["node"]),
            dependencies: runtime
                .iter()
                .flat_map(|key| versions(key))
                .map(|(name, _)| name.clone())
                .collect(),
            dev_dependencies: versions("devDependencies").map(|(name, _)| name.clone()).collect(),
            has_workspaces: !value["workspaces"].is_null(),
            workspaces: workspaces.into_iter().flatten().filter_map(text).collect(),
            has_local_dependencies: runtime
                .iter()
                .chain(&["devDependencies"])
                .flat_map(|key| versions(key))
                .any(|(_, version)| is_local(version)),
        }
    }

    /// Whether it depends on a package, for running or for development.
    pub(crate) fn depends_on(&self, name: &str) -> bool {
        self.dependencies.contains(name) || self.dev_dependencies.contains(name)
    }

    /// The script that builds: Heroku's own name for it first.
    pub(crate) fn build_script(&self) -> Option<&'static str> {
        // Laravel's older tool for assets has names of its own.
        let of_mix: &[&str] = if self.depends_on("laravel-mix") { &["prod", "production"] } else { &[] };
        let names = ["heroku-postbuild", "build"].iter().chain(of_mix).copied();
        names.into_iter().find(|name| self.scripts.contains_key(*name))
    }

    /// The version of Node.js that is asked for, and where.
    pub(crate) fn node_version(&self, context: &Context) -> Option<(String, &'static str)> {
        let plain = [".nvmrc", ".node-version"].into_iter().find_map(|file| {
            let text = context.source.words(file);
            let version = text.lines().next()?.trim().trim_start_matches('v').to_owned();
            version.starts_with(|c: char| c.is_ascii_alphanumeric()).then_some((version, file))
        });
        self.node_wanted.clone().map(|wanted| (wanted, "engines.node")).or(plain)
    }

    /// Whether there is anything to build.
    pub(crate) fn builds(&self) -> bool {
        self.build_script().is_some()
    }

    /// Whether installation runs scripts of the app itself.
    pub(crate) fn has_install_scripts(&self) -> bool {
        INSTALL_SCRIPTS.iter().any(|name| self.scripts.contains_key(*name))
    }

    /// Whether the package or its tree names a way to start.
    pub(crate) fn says_how_to_start(&self, context: &Context) -> bool {
        self.scripts.contains_key("start") || self.main_file(context).is_some()
    }

    /// The file that `node` starts, and where that is said: `main` if it is there, else the usual names.
    pub(crate) fn main_file(&self, context: &Context) -> Option<(String, &'static str)> {
        if let Some(main) = &self.main {
            let main = main.trim_start_matches("./").to_owned();
            let candidates =
                [main.clone(), format!("{main}.js"), format!("{}/index.js", main.trim_end_matches('/'))];
            if let Some(file) = candidates.into_iter().find(|file| context.source.has_file(file)) {
                return Some((file, "main of package.json"));
            }
            // What a build makes is not there yet.
            if self.builds() && !main.starts_with('/') && !main.contains("..") {
                return Some((main, "main of package.json, made by the build"));
            }
        }
        let more = if is_bun(context) { &BUN_FILES[..] } else { &[] };
        let file = MAIN_FILES.iter().chain(more).find(|file| context.source.has_file(file))?;
        Some(((*file).to_owned(), "the usual name"))
    }
}

/// Whether the tree says Bun.
fn is_bun(context: &Context) -> bool {
    ["bun.lock", "bun.lockb", "bunfig.toml"].iter().any(|file| context.source.has_file(file))
}
