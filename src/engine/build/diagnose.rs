//! From what a builder says to what its reader needs: one sentence, what shows it, what to try.
//!
//! The words are those of BuildKit from 20.10 on, of the classic builder and of Podman; what is not known stands
//! as it came.

use autostack_domain::{FailureKind, limits::EVIDENCE_LINES_MAX, screen::Printable};

use super::{error::BuildError, progress::FailedStep, request::Build, script::Script, tail::last_lines};
use crate::{classify::is_no_space, pull_refusal::PullRefusal};

/// Characters of a command in a sentence.
const COMMAND_CHARS_MAX: usize = 120;
/// What a process is ended with when memory runs out: 128 + SIGKILL.
const KILLED: i64 = 137;
const COMMAND_NOT_FOUND: i64 = 127;

/// A build that the builder gave up.
pub(crate) struct Failed<'a> {
    /// The builder's own words.
    pub(crate) message: &'a str,
    /// Exit code of the command, where the builder says it beside the words.
    pub(crate) exit_code: Option<i64>,
    /// The step that failed.
    pub(crate) step: Option<FailedStep>,
    /// The memory limit in bytes, where it was met during the build.
    pub(crate) memory_met: Option<u64>,
    /// What was asked.
    pub(crate) build: &'a Build<'a>,
    /// The Dockerfile.
    pub(crate) script: &'a Script,
}

/// Says why a build failed.
pub(crate) fn diagnose(failed: &Failed<'_>) -> BuildError {
    let known: [fn(&Failed<'_>) -> Option<BuildError>; 10] = [
        no_space,
        failed_command,
        syntax_image,
        parse_error,
        missing_secret,
        missing_file,
        missing_stage,
        needs_buildkit,
        base_image,
        files_not_taken,
    ];
    known.iter().find_map(|look| look(failed)).unwrap_or_else(|| {
        BuildError::new(
            FailureKind::BuildFailed,
            format!("the image could not be built: {}", failed.headline()),
        )
        .evidence(failed.words())
        .hint("try `docker build .` on a fresh clone")
    })
}

/// The commit could not be read to its end.
pub(crate) fn unreadable(why: &str) -> BuildError {
    BuildError::new(
        FailureKind::BadSource,
        format!("the files of the app cannot be sent to the engine: {}", Printable(why)),
    )
}

/// An instruction as it stands in the Dockerfile, cut for a sentence: `[2/5] RUN npm ci` without its number.
pub(crate) fn instruction(step: &str) -> String {
    let bare = match step.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((_, instruction)) => instruction,
        None => step,
    };
    let line = Printable(bare).to_string();
    match line.char_indices().nth(COMMAND_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

impl Failed<'_> {
    /// Everything that the builder said about it.
    fn says(&self, words: &str) -> bool {
        let is_in = |text: &str| text.contains(words);
        is_in(self.message) || self.step.as_ref().is_some_and(|step| is_in(&step.error))
    }

    fn tail(&self) -> Vec<String> {
        self.step.as_ref().map(|step| step.tail.clone()).unwrap_or_default()
    }

    fn step_name(&self) -> &str {
        self.step.as_ref().map_or("", |step| step.name.as_str())
    }

    /// The last line of the message, without what every message begins with.
    fn headline(&self) -> String {
        let line = last_lines(self.message).pop().unwrap_or_default();
        bare(&line).to_owned()
    }

    /// The words as evidence: the command's last lines, then the builder's.
    fn words(&self) -> Vec<String> {
        let mut lines = self.tail();
        lines.extend(last_lines(self.message));
        lines.drain(..lines.len().saturating_sub(EVIDENCE_LINES_MAX));
        lines
    }

    /// The line of the Dockerfile that holds some words.
    fn line_with(&self, words: &str) -> Option<String> {
        let (number, line) = self.script.line_with(words)?;
        Some(self.shown_line(number, line))
    }

    fn shown_line(&self, number: usize, line: &str) -> String {
        format!("{} line {number}: {}", self.script.name(), Printable(line))
    }

    /// The line of the instruction that failed.
    fn step_line(&self) -> Option<String> {
        let instruction = instruction(self.step_name());
        let first = instruction.split_once(' ').map_or(instruction.as_str(), |(_, rest)| rest);
        (!first.is_empty()).then(|| self.line_with(first.lines().next()?))?
    }
}

/// The beginnings that say only who gave the message on.
const CHAINS: [&str; 6] = [
    "failed to solve with frontend dockerfile.v0: ",
    "failed to solve with frontend gateway.v0: ",
    "failed to create LLB definition: ",
    "failed to solve: ",
    "failed to compute cache key: ",
    "failed to load cache key: ",
];

fn bare(message: &str) -> &str {
    let mut rest = message;
    while let Some(shorter) = CHAINS.iter().find_map(|chain| rest.strip_prefix(chain)) {
        rest = shorter;
    }
    rest
}

fn no_space(failed: &Failed<'_>) -> Option<BuildError> {
    let tail = failed.tail();
    let is_full = is_no_space(failed.message) || tail.iter().any(|line| is_no_space(line));
    is_full.then(|| {
        BuildError::new(FailureKind::DiskFull, "the container engine has no space left for the build")
            .evidence(failed.words())
            .hint("nothing was changed; ask the operator of the host to make room (docker system df shows what takes it)")
    })
}

fn failed_command(failed: &Failed<'_>) -> Option<BuildError> {
    let code = exit_code(failed)?;
    let command = instruction(failed.step_name());
    let command =
        if command.is_empty() { "a command of the build".to_owned() } else { format!("`{command}`") };
    let tail = failed.tail();
    if code == KILLED
        && let Some(bytes) = failed.memory_met
    {
        let mib = bytes >> 20;
        let message = format!(
            "{command} was killed: the build needed more than its {mib} MiB of memory (build.memory_bytes_max)"
        );
        return Some(BuildError::new(FailureKind::OutOfMemory, message).evidence(tail).hint(
            "let the build need less memory, or ask the operator of the host to raise build.memory_bytes_max",
        ));
    }
    let error = BuildError::new(FailureKind::BuildFailed, format!("{command} ended with exit code {code}"));
    let hint = if failed.step_name().contains("type=secret") && !gives_secrets_of(failed) {
        "give the build the secret that this command mounts: it is empty without".to_owned()
    } else if tail.iter().any(|line| line.contains("exec: \"/bin/sh\"")) {
        "the image has no shell: write the command as a list, RUN [\"program\", \"argument\"]".to_owned()
    } else if code == COMMAND_NOT_FOUND {
        "install the program in an earlier RUN, or start from an image that has it".to_owned()
    } else if code == KILLED {
        "it was killed, most often because memory ran out on the host: let it need less".to_owned()
    } else {
        "make `docker build .` pass on a fresh clone, commit, and push again".to_owned()
    };
    Some(error.evidence(tail).hint(hint))
}

/// Whether each secret that the failing step mounts was given.
fn gives_secrets_of(failed: &Failed<'_>) -> bool {
    let mounts = failed.step_name().split_whitespace().filter(|word| word.contains("type=secret"));
    let ids = mounts.filter_map(|mount| mount.split([',', '=']).skip_while(|part| *part != "id").nth(1));
    ids.into_iter().all(|id| failed.build.secrets.iter().any(|(given, _)| given == id))
}

/// Exit code of the command that failed.
fn exit_code(failed: &Failed<'_>) -> Option<i64> {
    let after = |words: &str| {
        let rest = failed.message.rsplit_once(words)?.1.trim_start();
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    let in_words =
        ["exit code:", "returned a non-zero code:", "exit status"].iter().find_map(|words| after(words));
    failed.exit_code.filter(|code| *code > 0).or(in_words)
}

fn syntax_image(failed: &Failed<'_>) -> Option<BuildError> {
    let image = failed.script.syntax()?;
    let is_meant = failed.says("gateway.v0") || failed.step_name().starts_with("resolve image config for ");
    is_meant.then(|| {
        let why = PullRefusal::of(failed.message);
        let message = format!("the frontend image {} of the `# syntax=` line cannot be fetched: {why}", Printable(image));
        BuildError::new(FailureKind::ImageUnavailable, message)
            .evidence(failed.script.line_with_syntax().map(|(number, line)| failed.shown_line(number, line)))
            .evidence([failed.headline()])
            .hint("remove the line, and the engine's own frontend is used; or make that image available to the engine")
    })
}

fn parse_error(failed: &Failed<'_>) -> Option<BuildError> {
    let headline = failed.headline();
    if let Some(rest) = headline.split_once("parse error").map(|(_, rest)| rest) {
        let rest = rest.trim_start().trim_start_matches("on ").trim_start_matches("line ");
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: usize = rest[..digits].parse().unwrap_or(0);
        let why = rest[digits..].trim_start_matches(':').trim();
        let line = failed.script.line(number).unwrap_or_default();
        let message = format!("{} does not parse: line {number}: {why}", failed.script.name());
        return Some(
            BuildError::new(FailureKind::BadAppFile, message)
                .evidence([failed.shown_line(number, line)])
                .hint(parse_hint(failed, number, why)),
        );
    }
    let sentences = [
        ("cannot be empty", "it is empty", "begin it with FROM and an image"),
        ("file with no instructions", "it is empty", "begin it with FROM and an image"),
        (
            "no build stage in current context",
            "an instruction stands in front of the first FROM",
            "begin it with FROM",
        ),
        (
            "should not be blank",
            "a FROM names no image",
            "give the ARG in front of it a default, or the build a value",
        ),
        ("circular dependency", "its stages need one another in a circle", "break the circle"),
    ];
    let (_, why, hint) = sentences.iter().find(|(words, _, _)| headline.contains(words))?;
    let error =
        BuildError::new(FailureKind::BadAppFile, format!("{} does not parse: {why}", failed.script.name()));
    Some(error.evidence([headline]).hint(*hint))
}

fn parse_hint(failed: &Failed<'_>, number: usize, why: &str) -> String {
    let above = failed.script.text.lines().take(number.saturating_sub(1));
    let has_heredoc =
        above.filter(|line| !line.trim_start().starts_with('#')).any(|line| line.contains("<<"));
    if has_heredoc && why.contains("nknown instruction") {
        return "this engine's builder knows no heredocs (<<): write the commands in one RUN with && and \\, or \
                use a newer engine"
            .to_owned();
    }
    if why.contains("nknown instruction") {
        return "correct the word; a command that goes on in the next line needs a \\ at the end".to_owned();
    }
    if why.contains("nknown flag") {
        return "correct the flag, or use an engine whose builder knows it".to_owned();
    }
    format!("correct line {number}, commit, and push again")
}

fn missing_secret(failed: &Failed<'_>) -> Option<BuildError> {
    let words = bare(failed.message)
        .strip_prefix("secret ")
        .or_else(|| failed.message.rsplit_once("secret ")?.1.into())?;
    if !words.contains("not found") {
        return None;
    }
    let id = words.split([' ', ':']).next().unwrap_or_default();
    let message = format!(
        "`{}` needs the secret {}, and the build was not given it",
        instruction(failed.step_name()),
        Printable(id)
    );
    Some(
        BuildError::new(FailureKind::BuildFailed, message)
            .evidence(failed.step_line())
            .hint("give the build that secret, or remove `required` from the mount"),
    )
}

fn missing_file(failed: &Failed<'_>) -> Option<BuildError> {
    let path = missing_path(failed.message).or_else(|| missing_source(failed))?;
    let shown = Printable(&path).to_string();
    let step = failed.step_name();
    let line = failed.step_line();
    if let Some(stage) = step.split_whitespace().find_map(|word| word.strip_prefix("--from=")) {
        let message = format!("{shown} is to be copied from {stage}, and is not there");
        return Some(
            BuildError::new(FailureKind::BuildFailed, message)
                .evidence(line)
                .hint(format!("check where {stage} puts it: paths are those within that image")),
        );
    }
    let error = |why: String| BuildError::new(FailureKind::BuildFailed, why).evidence(line.clone());
    let is_there = failed.build.context.join(&path).symlink_metadata().is_ok();
    let left_out = failed.script.ignore.line_that_leaves_out(&path).filter(|_| is_there);
    Some(match (left_out, &failed.script.ignore_file) {
        (Some(rule), Some((file, _))) => {
            let file = file.display();
            error(format!("{shown} is to be copied into the image, and {file} leaves it out"))
                .evidence([format!("{file}: {}", Printable(rule))])
                .hint(format!("add `!{shown}` behind that line of {file}, or remove the line"))
        }
        _ if is_there => {
            error(format!("{shown} is to be copied into the image, and the engine did not find it"))
        }
        _ => error(format!("{shown} is to be copied into the image, and is not in the repository"))
            .hint(format!("commit {shown}, or correct the path: paths start at the root of the repository")),
    })
}

/// The path of which the builder says that it is not there.
fn missing_path(message: &str) -> Option<String> {
    let quoted = || {
        let end = ["\" not found", "\": not found"].iter().find_map(|end| message.rfind(end))?;
        message[..end].rsplit_once('"').map(|(_, path)| path)
    };
    let classic = || {
        let (_, rest) = message.split_once(": stat ")?;
        rest.rsplit_once(": ").map(|(path, _)| path)
    };
    let no_match = || message.split_once("no source files were specified").map(|_| "what its wildcard names");
    let path = quoted().or_else(classic).or_else(no_match)?;
    Some(path.trim_start_matches('/').to_owned())
}

/// The same where the builder names only the folder that it looked in: the first source of the instruction that
/// does not get to it.
fn missing_source(failed: &Failed<'_>) -> Option<String> {
    let is_meant =
        failed.says("no such file or directory") && (failed.says("failed to walk") || failed.says("lstat "));
    let instruction = instruction(failed.step_name());
    let (name, words) = instruction.split_once(' ').filter(|_| is_meant)?;
    if !matches!(name, "COPY" | "ADD") {
        return None;
    }
    let is_of_stage = words.contains("--from=");
    let words: Vec<&str> = words.split_whitespace().filter(|word| !word.starts_with("--")).collect();
    let sources = words.split_last().map(|(_, sources)| sources)?;
    let paths = sources.iter().map(|source| source.trim_start_matches("./").trim_start_matches('/'));
    let gets_there = |path: &&str| {
        !is_of_stage
            && failed.build.context.join(path).symlink_metadata().is_ok()
            && !failed.script.ignore.leaves_out(path)
    };
    paths.into_iter().find(|path| !gets_there(path)).map(str::to_owned)
}

fn missing_stage(failed: &Failed<'_>) -> Option<BuildError> {
    let is_meant = failed.says("target stage") || failed.says("failed to reach build target");
    let target = failed.build.target.as_deref().filter(|_| is_meant)?;
    let stages = failed.script.stages().join(", ");
    let stages = if stages.is_empty() { "none has a name".to_owned() } else { stages };
    let message = format!("{} has no stage {}", failed.script.name(), Printable(target));
    Some(
        BuildError::new(FailureKind::BuildFailed, message)
            .evidence([format!("its stages: {}", Printable(&stages))])
            .hint("name one of them, or add `FROM … AS` with that name"),
    )
}

fn needs_buildkit(failed: &Failed<'_>) -> Option<BuildError> {
    failed.says("requires BuildKit").then(|| {
        BuildError::new(
            FailureKind::BuildFailed,
            format!("`{}` needs BuildKit", instruction(failed.step_name())),
        )
        .evidence(failed.step_line())
        .evidence([failed.headline()])
        .hint("use an engine with BuildKit and docker.builder = auto, or write the step without it")
    })
}

fn base_image(failed: &Failed<'_>) -> Option<BuildError> {
    const WORDS: [&str; 9] = [
        "failed to do request",
        "failed to resolve",
        "pull access denied",
        "manifest unknown",
        "manifest for ",
        "failed to authorize",
        "toomanyrequests",
        "no matching manifest",
        "failed to copy:",
    ];
    let name = failed.step_name();
    let looked_up = name.strip_prefix("[internal] load metadata for ").map(str::to_owned);
    let is_look_up = looked_up.is_some();
    let reference = looked_up.or_else(|| from_of(&instruction(name)));
    let is_pull = is_look_up || WORDS.iter().any(|words| failed.says(words));
    let is_classic_pull = reference.is_some() && failed.message.starts_with("Get \"");
    if !is_pull && !is_classic_pull && !failed.message.starts_with("invalid from flag value ") {
        return None;
    }
    let flag =
        failed.message.strip_prefix("invalid from flag value ").and_then(|rest| rest.split(':').next());
    let reference =
        reference.or_else(|| flag.map(str::to_owned)).unwrap_or_else(|| "that it starts from".to_owned());
    let line = line_of_image(failed, &reference);
    let shown = shortest(&reference);
    let why = PullRefusal::of(failed.message);
    let message = format!("image {} cannot be pulled: {why}", Printable(shown));
    Some(
        BuildError::new(FailureKind::ImageUnavailable, message)
            .evidence(line)
            .evidence([Printable(&failed.headline()).to_string()])
            .hint(why.hint(shown)),
    )
}

/// The image of `FROM image AS name`.
fn from_of(instruction: &str) -> Option<String> {
    let rest = instruction.strip_prefix("FROM ")?;
    rest.split_whitespace().find(|word| !word.starts_with("--")).map(str::to_owned)
}

/// A reference as a person would write it.
fn shortest(reference: &str) -> &str {
    let reference = reference.split_once('@').map_or(reference, |(name, _)| name);
    let short = reference.strip_prefix("docker.io/").unwrap_or(reference);
    short.strip_prefix("library/").unwrap_or(short)
}

fn line_of_image(failed: &Failed<'_>, reference: &str) -> Option<String> {
    let short = shortest(reference);
    let untagged = short.strip_suffix(":latest");
    failed.line_with(short).or_else(|| failed.line_with(untagged?))
}

/// The engine did not get the files that it asked for.
fn files_not_taken(failed: &Failed<'_>) -> Option<BuildError> {
    let marks =
        ["code = FailedPrecondition desc = ", "code = InvalidArgument desc = ", "error from sender: "];
    let why = marks.iter().find_map(|mark| failed.message.rsplit_once(mark))?.1;
    Some(unreadable(why))
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, path::Path, time::Duration};

    use autostack_domain::{AppName, DeploymentId};

    use super::*;
    use crate::build::{Budget, BuilderChoice, Dockerfile};

    const SCRIPT: &str = "# syntax=docker/dockerfile:1\nFROM node:24 AS build\nCOPY conf/a.json /\n\
        RUN --mount=type=secret,id=TOKEN,target=/t npm ci\nFROM build\nCOPY --from=build /dist /srv\n";

    /// Words of engines newer than the one that the other tests run on, and what is made of them.
    const NEWER: &[(&str, &str, FailureKind, &str)] = &[
        (
            "failed to solve: dockerfile parse error on line 3: unknown instruction: COPI (did you mean COPY?)",
            "",
            FailureKind::BadAppFile,
            "the generated Dockerfile does not parse: line 3: unknown instruction: COPI (did you mean COPY?)",
        ),
        (
            "failed to solve: process \"/bin/sh -c npm ci\" did not complete successfully: exit code: 1",
            "[build 3/3] RUN --mount=type=secret,id=TOKEN,target=/t npm ci",
            FailureKind::BuildFailed,
            "`RUN --mount=type=secret,id=TOKEN,target=/t npm ci` ended with exit code 1",
        ),
        (
            "failed to solve: process \"/bin/sh -c npm ci\" did not complete successfully: cannot allocate memory: exit code: 137",
            "[build 3/3] RUN npm ci",
            FailureKind::OutOfMemory,
            "`RUN npm ci` was killed: the build needed more than its 512 MiB of memory (build.memory_bytes_max)",
        ),
        (
            "failed to solve: failed to compute cache key: failed to calculate checksum of ref abc::def: \
             \"/conf/a.json\": not found",
            "[build 2/3] COPY conf/a.json /",
            FailureKind::BuildFailed,
            "conf/a.json is to be copied into the image, and is not in the repository",
        ),
        (
            "failed to solve: failed to compute cache key: failed to calculate checksum of ref abc::def: \"/dist\": not found",
            "[stage-1 2/2] COPY --from=build /dist /srv",
            FailureKind::BuildFailed,
            "dist is to be copied from build, and is not there",
        ),
        (
            "failed to solve: node:24: failed to resolve source metadata for docker.io/library/node:24: failed to do \
             request: Head \"https://registry-1.docker.io/v2/library/node/manifests/24\": dial tcp: lookup \
             registry-1.docker.io: no such host",
            "[internal] load metadata for docker.io/library/node:24",
            FailureKind::ImageUnavailable,
            "image node:24 cannot be pulled: the registry's name cannot be looked up",
        ),
        (
            "failed to solve: docker/dockerfile:1: failed to resolve source metadata for docker.io/docker/dockerfile:1: \
             docker.io/docker/dockerfile:1: not found",
            "resolve image config for docker-image://docker.io/docker/dockerfile:1",
            FailureKind::ImageUnavailable,
            "the frontend image docker/dockerfile:1 of the `# syntax=` line cannot be fetched: the registry does not have it",
        ),
        (
            "failed to solve: target stage \"test\" could not be found",
            "",
            FailureKind::BuildFailed,
            "the generated Dockerfile has no stage test",
        ),
        (
            "failed to solve: secret TOKEN: not found",
            "[build 3/3] RUN --mount=type=secret,id=TOKEN,required npm ci",
            FailureKind::BuildFailed,
            "`RUN --mount=type=secret,id=TOKEN,required npm ci` needs the secret TOKEN, and the build was not given it",
        ),
        (
            "failed to solve: failed to copy files: copy file range failed: no space left on device",
            "[build 2/3] COPY conf/a.json /",
            FailureKind::DiskFull,
            "the container engine has no space left for the build",
        ),
        (
            "failed to solve: something never seen before",
            "",
            FailureKind::BuildFailed,
            "the image could not be built: something never seen before",
        ),
    ];

    #[test]
    fn words_of_newer_engines_are_understood() {
        let app: AppName = "shop".parse().unwrap();
        let deployment: DeploymentId = uuid::Uuid::now_v7().to_string().parse().unwrap();
        let context = Path::new("/nonexistent");
        let build = Build {
            app: &app,
            deployment,
            context,
            dockerfile: Dockerfile::Text(SCRIPT.into()),
            args: Vec::new(),
            secrets: Vec::new(),
            target: Some("test".into()),
            tag: String::new(),
            labels: HashMap::new(),
            no_cache: false,
            builder: BuilderChoice::Auto,
            budget: Budget::default(),
            time_limit: Duration::ZERO,
        };
        let script = Script::read(context, &build.dockerfile).unwrap();
        for (message, step, kind, sentence) in NEWER {
            let step = (!step.is_empty()).then(|| FailedStep {
                name: (*step).into(),
                error: String::new(),
                tail: vec!["last".into()],
            });
            let memory_met = Some(512 << 20);
            let failed =
                Failed { message, exit_code: None, step, memory_met, build: &build, script: &script };
            let error = diagnose(&failed);
            assert_eq!((error.kind, error.message.as_str()), (*kind, *sentence), "{message}\n{error:#?}");
        }
    }

    #[test]
    fn an_instruction_is_shown_without_its_number_and_not_at_length() {
        assert_eq!(instruction("[build 2/5] RUN a"), "RUN a");
        assert_eq!(instruction("exporting to image"), "exporting to image");
        assert!(
            instruction(&format!("[2/5] RUN {}", "x".repeat(500))).chars().count() <= COMMAND_CHARS_MAX + 1
        );
    }
}
