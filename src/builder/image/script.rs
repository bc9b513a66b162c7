//! The command of a step as one `RUN`: its mounts, its variables, the tools that it needs.

use std::collections::BTreeMap;

use super::generate::{APP, CERTIFICATES_SECRET, CONFIG_SECRET, Generator, json};
use crate::{
    draft::shell_word,
    environment::CERTIFICATE_VARIABLES,
    plan::{CacheFolder, Step},
};

/// The folder of everything that outlives a build.
const CACHE: &str = "/var/cache/autostack";
/// Where secrets are mounted.
const SECRETS: &str = "/run/autostack";
/// The cache that holds what tools keep in the home of their user.
const HOME: &str = "home";
/// The mark of a cache folder that is complete.
const FILLED: &str = ".autostack-filled";
/// Variables by which more tools than on a host must be told: there, most read the system's own list.
const MORE_CERTIFICATE_VARIABLES: [&str; 4] =
    ["CARGO_HTTP_CAINFO", "CURL_CA_BUNDLE", "DENO_CERT", "GIT_SSL_CAINFO"];
/// What begins the word by which a step is found again in what the builder says.
const STEP_WORD: &str = "autostack-step-";

/// The commands of one plan.
pub(crate) struct Scripts<'a> {
    generator: &'a Generator<'a>,
}

impl<'a> Scripts<'a> {
    pub(crate) fn new(generator: &'a Generator<'a>) -> Self {
        Self { generator }
    }

    /// The `RUN` of a step. `is_alone` says that it sees only the files that decide it.
    pub(crate) fn run(&self, number: usize, step: &Step, is_alone: bool) -> String {
        let script = self.script(number, step, is_alone);
        let command = json(["/bin/sh", "-c", &script, self.generator.mark]);
        let parts: Vec<String> = self.mounts(is_alone).into_iter().chain([command]).collect();
        format!("RUN {}", parts.join(" \\\n    "))
    }

    fn mounts(&self, is_alone: bool) -> Vec<String> {
        let Some(mounts) = &self.generator.mounts else { return Vec::new() };
        let caches = self.generator.plan.caches.iter();
        let caches = caches.map(|cache| (cache.folder.as_str(), self.cache_id(cache)));
        let home = (HOME, format!("{}-{HOME}", self.generator.mark));
        let mut flags: Vec<String> = caches
            .chain([home])
            .map(|(folder, id)| format!("--mount=type=cache,id={id},target={CACHE}/{folder}"))
            .collect();
        let secret = |id: &str, target: &str| format!("--mount=type=secret,id={id},target={target}");
        flags.extend(mounts.config.as_ref().map(|_| secret(CONFIG_SECRET, &self.config(is_alone))));
        if mounts.has_certificates {
            flags.push(secret(CERTIFICATES_SECRET, &format!("{SECRETS}/certificates")));
        }
        flags
    }

    fn script(&self, number: usize, step: &Step, is_alone: bool) -> String {
        let mut lines = vec![format!(": {STEP_WORD}{number}.")];
        if let Some(mounts) = &self.generator.mounts {
            if mounts.has_certificates {
                let variables = CERTIFICATE_VARIABLES.into_iter().chain(MORE_CERTIFICATE_VARIABLES);
                let pairs = variables.map(|name| format!(" {name}={SECRETS}/certificates"));
                lines.push(format!("export{}", pairs.collect::<String>()));
            }
            if mounts.config.is_some() {
                lines.push(format!(". {} || exit", self.config(is_alone)));
            }
        }
        lines.push(self.variables());
        lines.push(format!("mkdir -p {}", self.folders()));
        let fills = self.generator.plan.steps[..number].iter().filter(|step| step.fills.is_some());
        lines.extend(fills.filter_map(fill));
        lines.extend(exports(&step.env));
        lines.push(step.command.clone());
        lines.join("\n")
    }

    /// Where the config is mounted. The word in it makes the builder run the step again when the config has
    /// changed.
    fn config(&self, is_alone: bool) -> String {
        let words = self.generator.mounts.as_ref().and_then(|mounts| mounts.config.as_ref());
        let word = words.map_or("", |words| if is_alone { &words.install } else { &words.whole });
        format!("{SECRETS}/config-{word}")
    }

    /// What the steps cannot do without, over the config.
    fn variables(&self) -> String {
        let plan = self.generator.plan;
        let mut text = format!("export HOME={CACHE}/{HOME} LANG=C.UTF-8");
        for cache in &plan.caches {
            text.push_str(&format!(" {}={CACHE}/{}", cache.variable, shell_word(&cache.folder)));
        }
        let of_app = plan.launch.path.iter().map(|folder| format!("{APP}/{folder}"));
        let inside = |cache: &CacheFolder| Some(format!("{CACHE}/{}/{}", cache.folder, cache.path.as_ref()?));
        let path: Vec<String> = of_app.chain(plan.caches.iter().filter_map(inside)).collect();
        if !path.is_empty() {
            text.push_str(&format!(
                " PATH={}:\"$PATH\"",
                path.iter().map(|it| shell_word(it)).collect::<Vec<_>>().join(":")
            ));
        }
        text
    }

    fn folders(&self) -> String {
        let caches = self.generator.plan.caches.iter().map(|cache| cache.folder.as_str());
        let folders = caches.chain([HOME]).map(|folder| format!("{CACHE}/{}", shell_word(folder)));
        folders.collect::<Vec<_>>().join(" ")
    }

    /// The name of a cache on the engine. What fits one version of a program alone is not shared with another.
    fn cache_id(&self, cache: &CacheFolder) -> String {
        let folder: String = cache
            .folder
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '-' })
            .collect();
        let mark = self.generator.mark;
        match cache.per_version_of {
            Some(_) => format!("{mark}-{folder}-{}", self.generator.base_mark),
            None => format!("{mark}-{folder}"),
        }
    }
}

/// Gets a tool into its cache, unless it is there.
fn fill(step: &Step) -> Option<String> {
    let folder = step.fills.as_ref()?;
    let exports = exports(&step.env).into_iter().map(|line| format!("{line}\n")).collect::<String>();
    // What is said here stands where the output of the tool stands.
    let title = shell_quoted(&format!("{}: {}", step.title, step.known_as));
    Some(format!(
        "test -e \"${folder}/{FILLED}\" || {{ echo {title}\n( {exports}{} ) && : > \"${folder}/{FILLED}\"; }} || exit",
        step.command
    ))
}

fn exports(env: &BTreeMap<String, String>) -> Option<String> {
    let pairs: String = env.iter().map(|(name, value)| format!(" {name}={}", shell_word(value))).collect();
    (!pairs.is_empty()).then(|| format!("export{pairs}"))
}

fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The number of the plan's step that the builder speaks of.
pub(crate) fn step_in(said: &str) -> Option<usize> {
    let (_, rest) = said.split_once(STEP_WORD)?;
    rest.split_once('.')?.0.parse().ok()
}
