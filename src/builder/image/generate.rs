//! Plan and base images → the text of a Dockerfile. Pure: the same plan and images give the same text.
//!
//! Two stages: `build` runs the steps in the image of the language, the last one holds `/app` and nothing of
//! what only the build needed. A step whose result follows from a few files (`npm ci`) runs before the rest of
//! the source is copied, so that it is reused while those are the same.

use std::collections::BTreeMap;

use autostack_domain::{ProcessType, image::ImageReference};

use super::{base::Bases, config::Words, script::Scripts};
use crate::plan::{BuildPlan, Reuse};

/// Where the app is, in every stage.
pub(super) const APP: &str = "/app";
/// Where the last stage of a site holds its files, below which they lie as in the artifact.
const SITE: &str = "/site";
/// User and group of the app: no account of a base image has this number, and no user of the host most often.
const USER: &str = "10001:10001";

/// Where Debian and its kin keep the certificates that they trust.
const CERTIFICATES: &str = "/etc/ssl/certs";

/// What a Dockerfile is generated from.
pub(crate) struct Generator<'a> {
    pub(crate) plan: &'a BuildPlan,
    pub(crate) bases: &'a Bases,
    /// What stands in for the content of a base image, in names of caches that do not fit another.
    pub(crate) base_mark: &'a str,
    /// Marks everything in the engine's cache as ours: `autostack-MARK-APP`.
    pub(crate) mark: &'a str,
    /// The labels of what belongs to the app. The classic builder leaves the stages before the last as images,
    /// and only what has these is found again.
    pub(crate) labels: &'a BTreeMap<String, String>,
    /// What BuildKit can give to the steps; `None` for a builder without mounts.
    pub(crate) mounts: Option<Mounts>,
    /// Whether the source tree has something at this path.
    pub(crate) has: &'a dyn Fn(&str) -> bool,
}

/// What a step mounts besides its caches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mounts {
    /// The app's config as a secret, and the words for it; `None` where there is no config.
    pub(crate) config: Option<Words>,
    /// Whether the certificates that the host trusts are given as a secret.
    pub(crate) has_certificates: bool,
}

/// The name of the secret that holds the config.
pub(crate) const CONFIG_SECRET: &str = "autostack-config";
/// The name of the secret that holds the certificates that the host trusts.
pub(crate) const CERTIFICATES_SECRET: &str = "autostack-certificates";

impl Generator<'_> {
    /// The Dockerfile.
    pub(crate) fn text(&self) -> String {
        let mut file = Text::default();
        file.line(format!("# {} app, from the plan of its build", self.plan.recipe));
        let has_build = !self.plan.steps.is_empty();
        if has_build {
            self.build_stage(&mut file);
        }
        match (&self.plan.static_site, self.plan.processes.is_empty()) {
            (Some(site), true) => self.site_stage(&mut file, &site.root, has_build),
            (Some(_) | None, _) => self.run_stage(&mut file, has_build),
        }
        file.0
    }

    /// Where the image of a plan has the files of its site, and where below the artifact they belong; `None` for
    /// a plan without a site.
    pub(crate) fn site_of(plan: &BuildPlan) -> Option<(String, &str)> {
        let root = plan.static_site.as_ref()?.root.as_str();
        let inside = if root.is_empty() { String::new() } else { format!("/{root}") };
        let top = if plan.processes.is_empty() { SITE } else { APP };
        Some((format!("{top}{inside}"), root))
    }

    fn build_stage(&self, file: &mut Text) {
        file.line(format!("FROM {} AS build", self.bases.build));
        if self.mounts.is_none() {
            for (name, value) in self.labels {
                file.line(format!("LABEL {name}={}", quoted(value)));
            }
        }
        file.line("USER 0:0");
        file.line(format!("WORKDIR {APP}"));
        if self.brings_certificates() {
            file.line(self.command(&format!("mkdir -p {CERTIFICATES}")));
        }
        self.copy_programs(file);
        for (name, value) in &self.plan.launch.vars {
            file.line(format!("ENV {name}={}", quoted(value)));
        }
        let scripts = Scripts::new(self);
        let mut is_copied = false;
        for (number, step) in self.plan.steps.iter().enumerate() {
            // A tool in a cache is got by each step that may need it: the cache may have been emptied.
            if step.fills.is_some() {
                continue;
            }
            let alone = step.reuse.as_ref().filter(|reuse| !is_copied && self.runs_alone(reuse));
            match alone {
                Some(reuse) => self.copy_deciders(file, reuse),
                None if !is_copied => {
                    file.line("COPY . .");
                    is_copied = true;
                }
                None => {}
            }
            file.blank();
            file.line(format!("# {}: {}", step.title, step.known_as.lines().next().unwrap_or_default()));
            file.line(scripts.run(number, step, alone.is_some()));
        }
        if !is_copied {
            file.line("COPY . .");
        }
        file.blank();
    }

    /// Whether a step needs no more than the files that decide its result, and nothing is in its way.
    fn runs_alone(&self, reuse: &Reuse) -> bool {
        !(self.has)(&reuse.folder) && reuse.decided_by.iter().any(|path| (self.has)(path))
    }

    /// Copies the files that are there, each to its own folder.
    fn copy_deciders(&self, file: &mut Text, reuse: &Reuse) {
        let mut folders: Vec<(&str, Vec<&str>)> = Vec::new();
        for path in reuse.decided_by.iter().filter(|path| (self.has)(path)) {
            let folder = path.rsplit_once('/').map_or(".", |(folder, _)| folder);
            match folders.iter_mut().find(|(known, _)| *known == folder) {
                Some((_, paths)) => paths.push(path),
                None => folders.push((folder, vec![path])),
            }
        }
        for (folder, paths) in folders {
            let target = format!("{folder}/");
            file.line(format!("COPY {}", json(paths.into_iter().chain([target.as_str()]))));
        }
    }

    /// Programs that the image of the language does not bring.
    fn copy_programs(&self, file: &mut Text) {
        if let Some(node) = &self.bases.node {
            copy_node(file, node);
            let link = "for program in npm npx; do ln -sf ../lib/node_modules/npm/bin/$program-cli.js \
                        /usr/local/bin/$program; done";
            file.line(self.command(link));
        }
        if let Some(composer) = &self.bases.composer {
            file.line(format!("COPY --from={composer} /usr/bin/composer /usr/local/bin/composer"));
            let unzip = "command -v unzip > /dev/null || { apt-get update && apt-get install --yes \
                         --no-install-recommends git unzip; }";
            file.line(self.command(unzip));
        }
    }

    fn run_stage(&self, file: &mut Text, has_build: bool) {
        file.line(format!("FROM {}", self.bases.run));
        file.line("USER 0:0");
        let account = format!(
            "mkdir -p {APP} /etc && chown {USER} {APP} && {{ grep -qs '^[^:]*:[^:]*:10001:' /etc/passwd || {{ echo \
             'app:x:10001:10001::{APP}:/bin/sh' >> /etc/passwd && echo 'app:x:10001:' >> /etc/group; }}; }}"
        );
        file.line(self.command(&account));
        if let (Some(node), true) = (&self.bases.node, self.starts_node()) {
            copy_node(file, node);
        }
        if has_build && self.brings_certificates() {
            file.line(format!("COPY --from=build {CERTIFICATES} {CERTIFICATES}"));
        }
        let from = if has_build {
            format!("--from=build --chown={USER} {APP} {APP}")
        } else {
            format!("--chown={USER} . {APP}")
        };
        file.line(format!("COPY {from}"));
        file.line(format!("WORKDIR {APP}"));
        file.line(format!("ENV HOME={APP}"));
        for (name, value) in &self.plan.launch.vars {
            file.line(format!("ENV {name}={}", quoted(value)));
        }
        let folders: String = self.plan.launch.path.iter().map(|folder| format!("{APP}/{folder}:")).collect();
        if !folders.is_empty() {
            file.line(format!("ENV PATH=\"{}$PATH\"", escaped(&folders)));
        }
        file.line(format!("USER {USER}"));
        file.line("ENTRYPOINT []");
        if let Some(Some(web)) = self.plan.processes.get(&ProcessType::web()) {
            file.line(format!("CMD {}", json(["/bin/sh", "-c", web])));
        }
    }

    /// Whether the image that the app runs in may lack the certificates that a language's brings: of Debian's
    /// images, the slim ones trust nobody.
    fn brings_certificates(&self) -> bool {
        self.bases.run != self.bases.build
    }

    /// Whether a process of an app of another language is one of Node.js.
    fn starts_node(&self) -> bool {
        let lines = self.plan.processes.values().flatten();
        lines.into_iter().any(|line| crate::recipes::commands::mentions(line, "node"))
    }

    fn site_stage(&self, file: &mut Text, root: &str, has_build: bool) {
        let inside = if root.is_empty() { String::new() } else { format!("/{root}") };
        file.line("FROM scratch");
        let (from, flag) = match has_build {
            true => (format!("{APP}{inside}/"), "--from=build "),
            false => (format!(".{inside}/"), ""),
        };
        file.line(format!("COPY {flag}{}", json([from.as_str(), &format!("{SITE}{inside}/")])));
    }

    /// A command of ours, marked like those of the plan.
    fn command(&self, line: &str) -> String {
        format!("RUN {}", json(["/bin/sh", "-c", line, self.mark]))
    }
}

fn copy_node(file: &mut Text, node: &ImageReference) {
    file.line(format!("COPY --from={node} /usr/local/bin/node /usr/local/bin/node"));
    file.line(format!("COPY --from={node} /usr/local/lib/node_modules /usr/local/lib/node_modules"));
}

/// Words as the list that instructions take in place of a shell's line.
pub(crate) fn json<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    serde_json::Value::from(words.into_iter().collect::<Vec<_>>()).to_string()
}

/// A value of `ENV` or `LABEL`.
fn quoted(value: &str) -> String {
    format!("\"{}\"", escaped(value))
}

/// Text within the quotes of a value, nothing of it replaced.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '$') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, line: impl AsRef<str>) {
        self.0.push_str(line.as_ref());
        self.0.push('\n');
    }

    fn blank(&mut self) {
        self.0.push('\n');
    }
}
