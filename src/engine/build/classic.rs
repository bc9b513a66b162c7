//! A build by the classic builder: for engines without BuildKit, for Podman, and on request.
//!
//! It takes the whole context as one tar stream, runs each command in a container of its own, and knows neither
//! secrets nor mounts.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use autostack_base::tasks::Tasks;
use autostack_domain::{Digest, FailureKind};
use bytes::Bytes;
use futures_util::TryStreamExt;
use http_body_util::StreamBody;
use hyper::{body::Frame, header};
use tokio::time;

use super::{
    budget::{BUILD_CPU_SHARES, CPU_PERIOD_US, quota_us},
    context::{Extra, stream_of},
    diagnose::instruction,
    error::BuildError,
    progress::FailedStep,
    request::{Build, Unenforced},
    run::{Broken, Query},
    script::Script,
    tail::Printed,
    tree::Tree,
    wire::{self, BuildLine, Connection},
};
use crate::{
    Engine,
    output::{Output, Say},
};

/// What a generated Dockerfile is called in the context, where the engine takes it out again.
const GENERATED_IN_CONTEXT: &str = ".autostack.Dockerfile";
/// Warnings that are kept.
const WARNINGS_MAX: usize = 20;

/// What this builder cannot do is said before it fails over it.
pub(crate) fn refuse_what_it_cannot(build: &Build<'_>) -> Result<(), BuildError> {
    if build.secrets.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = build.secrets.iter().map(|(id, _)| id.as_str()).collect();
    let message = format!("the classic builder cannot give secrets to a build ({})", names.join(", "));
    Err(BuildError::new(FailureKind::BuildFailed, message)
        .hint("use an engine with BuildKit (Docker 20.10 or newer) and docker.builder = auto, or build without secrets"))
}

/// How often an image is tried to be removed that the engine still uses, and the pause between.
const REMOVALS_MAX: usize = 5;
const REMOVAL_PAUSE: Duration = Duration::from_secs(1);

/// What the builder leaves behind carries neither a label nor a name, and nobody would ever find it again. After a
/// build that went well, the end of each stage but the last gets a name of ours: it is the cache of the next build,
/// and goes with the next clean-up.
pub(crate) async fn name_stages(engine: &Engine, build: &Build<'_>, stages: &[String]) {
    let Some((_, before)) = stages.split_last() else { return };
    for (number, id) in before.iter().enumerate() {
        let Some(image) = nameless(engine, id).await else { continue };
        let name = format!("{}-stage-{number}", build.tag);
        if let Err(error) = engine.tag(&image, &name).await {
            tracing::warn!(%error, name, "a stage of a build has no name and stays");
        }
    }
}

/// After a build that did not go well, the ends of its stages are removed, once the engine lets go of them.
pub(crate) fn remove_stages(engine: &Engine, stages: Vec<String>) {
    let engine = engine.clone();
    // Behind the scenes: a cancel does not wait for it.
    drop(Tasks::new().spawn("stages of a failed build", async move {
        for _attempt in 0..REMOVALS_MAX {
            let mut is_left = false;
            for id in &stages {
                let Some(image) = nameless(&engine, id).await else { continue };
                is_left |= engine.remove_image(image.as_str()).await.is_err();
            }
            if !is_left {
                return;
            }
            time::sleep(REMOVAL_PAUSE).await;
        }
    }));
}

/// The image, as long as nobody has given it a name: then it is somebody's.
async fn nameless(engine: &Engine, id: &str) -> Option<Digest> {
    let facts = engine.inspect_image(id).await.ok().flatten()?;
    (facts.tags.is_empty() && facts.repo_digests.is_empty()).then_some(facts.id)
}

/// What cannot be limited here.
pub(crate) fn unenforced() -> Vec<Unenforced> {
    vec![Unenforced { what: "processes", why: "the classic builder has no such limit".to_owned() }]
}

/// Builds.
pub(crate) async fn build(
    engine: &Engine,
    build: &Build<'_>,
    script: &Script,
    labels: &HashMap<String, String>,
    progress: &mut ClassicProgress<'_>,
) -> Result<(), Broken> {
    let tasks = Tasks::new();
    let (root, ignore) = (build.context.to_owned(), script.ignore.clone());
    let listed = tasks.blocking("files of a build", move || Tree::list(&root, &ignore)).await;
    let tree = listed
        .map_err(|panicked| Broken::Input(panicked.to_string()))?
        .map_err(|error| Broken::Input(error.to_string()))?;
    let (dockerfile, extras) = extras(script);
    let files = stream_of(tree, extras, &tasks).map_ok(Frame::data);
    let request = wire::post("/build", &query(build, &dockerfile, labels))
        .header(header::CONTENT_TYPE, "application/x-tar")
        .body(StreamBody::new(Box::pin(files) as _))
        .map_err(|error| Broken::Engine(wire::unexpected(error.to_string())))?;
    let mut lines = Connection::open(engine.host(), &tasks).await?.lines(request).await?;
    while let Some(line) = lines.next().await? {
        progress.take(&line);
        if let Some(broken) = Broken::said(&line) {
            return Err(broken);
        }
    }
    Ok(())
}

/// The name of the Dockerfile in the context, and the files that are sent besides those of the commit: the engine
/// needs the Dockerfile even where it is left out, and then removes what `.dockerignore` names itself.
fn extras(script: &Script) -> (String, Vec<Extra>) {
    let content = Bytes::from(script.text.clone());
    if let Some(path) = &script.path {
        let mut extras = vec![Extra { path: path.clone(), content }];
        if let Some((ignore, text)) = &script.ignore_file
            && ignore.as_path() == Path::new(".dockerignore")
        {
            extras.push(Extra { path: ignore.clone(), content: Bytes::from(text.clone()) });
        }
        return (path.display().to_string(), extras);
    }
    let ignore = script.ignore_file.as_ref().map_or(".dockerignore", |(_, text)| text.as_str());
    let ignore = format!("{ignore}\n{GENERATED_IN_CONTEXT}\n");
    let extras = vec![
        Extra { path: PathBuf::from(".dockerignore"), content: ignore.into() },
        Extra { path: PathBuf::from(GENERATED_IN_CONTEXT), content },
    ];
    (GENERATED_IN_CONTEXT.to_owned(), extras)
}

fn query(build: &Build<'_>, dockerfile: &str, labels: &HashMap<String, String>) -> String {
    let mut query = Query::of(build, labels);
    query.add("dockerfile", dockerfile);
    query.add("rm", "1");
    query.add("forcerm", "1");
    query.add("cpushares", &BUILD_CPU_SHARES.to_string());
    if let Some(bytes) = build.budget.memory_bytes {
        query.add("memory", &bytes.to_string());
        query.add("memswap", &bytes.to_string());
    }
    if let Some(cpus) = build.budget.cpus {
        query.add("cpuperiod", &CPU_PERIOD_US.to_string());
        query.add("cpuquota", &quota_us(cpus).to_string());
    }
    query.text()
}

/// What the classic builder says, as output for people.
pub(crate) struct ClassicProgress<'a> {
    say: &'a Say<'a>,
    current: Option<FailedStep>,
    printed: Printed,
    is_line_open: bool,
    /// The last image of each stage that has made one of its own, by its short id.
    stages: Vec<Option<String>>,
    /// What the builder warns of.
    pub(crate) warnings: Vec<String>,
}

/// Marks that the builder puts around what a command writes to its standard error.
const ERROR_COLOUR: (&str, &str) = ("\u{1b}[91m", "\u{1b}[0m");

impl<'a> ClassicProgress<'a> {
    pub(crate) fn new(say: &'a Say<'a>) -> Self {
        Self {
            say,
            current: None,
            printed: Printed::default(),
            is_line_open: false,
            stages: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The step that was begun last, with the last lines of its command.
    pub(crate) fn current(&self) -> Option<FailedStep> {
        let step = self.current.clone()?;
        Some(FailedStep { tail: self.printed.evidence(), ..step })
    }

    /// The images on which the stages ended so far, by their short ids.
    pub(crate) fn stages(&self) -> Vec<String> {
        self.stages.iter().flatten().cloned().collect()
    }

    fn note_image(&mut self, text: &str) {
        let is_from = self.current.as_ref().is_none_or(|step| instruction(&step.name).starts_with("FROM "));
        let id = text.trim_end().strip_prefix(" ---> ").filter(|id| is_id(id) && !is_from);
        if let (Some(id), Some(stage)) = (id, self.stages.last_mut()) {
            *stage = Some(id.to_owned());
        }
    }

    fn take(&mut self, line: &BuildLine) {
        let text = line.stream.as_str();
        self.note_image(text);
        if let Some(step) = step(text) {
            if instruction(&step).starts_with("FROM ") {
                self.stages.push(None);
            }
            self.close_line();
            (self.say)(Output::Step(&step));
            self.current = Some(FailedStep { name: step, error: String::new(), tail: Vec::new() });
            self.printed = Printed::default();
        } else if text.trim() == "---> Using cache" {
            (self.say)(Output::Detail("cached"));
        } else if line.status.starts_with("Pulling from ") {
            (self.say)(Output::Detail(&line.status));
        } else if let Some(warning) = text.trim().strip_prefix("[Warning] ") {
            if self.warnings.len() < WARNINGS_MAX {
                self.warnings.push(warning.to_owned());
            }
        } else if !is_noise(text) {
            match text.strip_prefix(ERROR_COLOUR.0) {
                Some(error) => self.raw(error.strip_suffix(ERROR_COLOUR.1).unwrap_or(error), true),
                None => self.raw(text.strip_prefix(ERROR_COLOUR.1).unwrap_or(text), false),
            }
        }
    }

    fn raw(&mut self, text: &str, is_error: bool) {
        if text.is_empty() {
            return;
        }
        self.printed.push(text.as_bytes(), is_error);
        self.is_line_open = !text.ends_with('\n');
        (self.say)(Output::Raw(text.as_bytes()));
    }

    fn close_line(&mut self) {
        if std::mem::take(&mut self.is_line_open) {
            (self.say)(Output::Raw(b"\n"));
        }
    }
}

/// `Step 2/5 : RUN npm ci` (Docker) or `STEP 2/5: RUN npm ci` (Podman), as BuildKit would write it.
fn step(text: &str) -> Option<String> {
    let rest = text.strip_prefix("Step ").or_else(|| text.strip_prefix("STEP "))?;
    let (number, instruction) = rest.split_once(':')?;
    let number = number.trim();
    let is_number = number.bytes().all(|b| b.is_ascii_digit() || b == b'/') && number.contains('/');
    is_number.then(|| format!("[{number}] {}", instruction.trim()))
}

fn is_id(text: &str) -> bool {
    text.len() >= 12 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// What the builder says about itself.
fn is_noise(text: &str) -> bool {
    let text = text.trim_end();
    let names_id =
        [" ---> Running in ", " ---> ", "--> ", "Removing intermediate container ", "Successfully built "];
    text.is_empty() && text.len() == text.trim_start().len()
        || names_id.iter().any(|start| text.strip_prefix(start).is_some_and(is_id))
        || text == " --->"
        || text.starts_with("Successfully tagged ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_both_engines_are_read() {
        assert_eq!(step("Step 2/5 : RUN a : b\n").as_deref(), Some("[2/5] RUN a : b"));
        assert_eq!(step("STEP 2/5: RUN a\n").as_deref(), Some("[2/5] RUN a"));
        assert_eq!(step("Step by step: how to\n"), None);
    }

    #[test]
    fn output_of_commands_is_not_taken_for_noise() {
        for text in [
            " ---> 88accf2d51b8\n",
            " ---> Running in 8497dabc2b50\n",
            "Successfully built 65a25feb88ee\n",
            " ---> \n",
        ] {
            assert!(is_noise(text), "{text:?}");
        }
        for text in ["hello\n", "---> building\n", " ---> step one\n", "Successfully built foo-1.0 wheel\n"] {
            assert!(!is_noise(text), "{text:?}");
        }
    }
}
