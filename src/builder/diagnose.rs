//! Turns the end of a failed step into a failure that says what to do: known messages of known tools.

use std::path::Path;

use autostack_domain::{Exit, Failure, FailureKind, Stage, limits::EVIDENCE_LINES_MAX, screen::Printable};

use crate::plan::Step;

/// What a tool prints, what that means, and what helps.
struct Known {
    /// Every one of these must be in the output.
    words: &'static [&'static str],
    kind: FailureKind,
    hint: &'static str,
}

const KNOWN: &[Known] = &[
    Known {
        words: &["ensurepip is not available"],
        kind: FailureKind::MissingTool,
        hint: "ask the operator of the host to run `apt-get install python3-venv`, then push again",
    },
    Known {
        words: &["npm ci", "can only install packages when your package.json and"],
        kind: FailureKind::BuildFailed,
        hint: "run `npm install`, commit package-lock.json, and push again",
    },
    Known {
        words: &["ERR_PNPM_OUTDATED_LOCKFILE"],
        kind: FailureKind::BuildFailed,
        hint: "run `pnpm install`, commit pnpm-lock.yaml, and push again",
    },
    Known {
        words: &["Your lockfile needs to be updated"],
        kind: FailureKind::BuildFailed,
        hint: "run `yarn install`, commit yarn.lock, and push again",
    },
    Known {
        words: &["YN0028"],
        kind: FailureKind::BuildFailed,
        hint: "run `yarn install`, commit yarn.lock, and push again",
    },
    Known {
        words: &["The lockfile at `uv.lock` needs to be updated"],
        kind: FailureKind::BuildFailed,
        hint: "run `uv lock`, commit uv.lock, and push again",
    },
    Known {
        words: &["pyproject.toml changed significantly since poetry.lock"],
        kind: FailureKind::BuildFailed,
        hint: "run `poetry lock`, commit poetry.lock, and push again",
    },
    Known {
        words: &["Pipfile.lock", "is out of date"],
        kind: FailureKind::BuildFailed,
        hint: "run `pipenv lock`, commit Pipfile.lock, and push again",
    },
    Known {
        words: &["lockfile had changes, but lockfile is frozen"],
        kind: FailureKind::BuildFailed,
        hint: "run `bun install`, commit bun.lock, and push again",
    },
    Known {
        words: &["The lockfile is out of date"],
        kind: FailureKind::BuildFailed,
        hint: "run `deno install`, commit deno.lock, and push again",
    },
    Known {
        words: &["--locked was passed"],
        kind: FailureKind::BuildFailed,
        hint: "run `cargo build`, commit Cargo.lock, and push again",
    },
    Known {
        words: &["no required module provides package"],
        kind: FailureKind::BuildFailed,
        hint: "run `go mod tidy`, commit go.mod and go.sum, and push again",
    },
    Known {
        words: &["missing go.sum entry"],
        kind: FailureKind::BuildFailed,
        hint: "run `go mod tidy`, commit go.mod and go.sum, and push again",
    },
    Known {
        words: &["note: module requires Go"],
        kind: FailureKind::BuildFailed,
        hint: "ask the operator of the host for a newer Go, or ask for less in go.mod",
    },
    Known {
        words: &["Your bundle only supports platforms"],
        kind: FailureKind::BuildFailed,
        hint: "run `bundle lock --add-platform x86_64-linux`, commit Gemfile.lock, and push again",
    },
    Known {
        words: &["Your Ruby version is", "but your Gemfile specified"],
        kind: FailureKind::BuildFailed,
        hint: "ask the operator of the host for that Ruby, or change the version in the Gemfile",
    },
    Known {
        words: &["The dependencies in your gemfile changed"],
        kind: FailureKind::BuildFailed,
        hint: "run `bundle install`, commit Gemfile.lock, and push again",
    },
    Known {
        words: &["--ignore-platform-req=ext-"],
        kind: FailureKind::BuildFailed,
        hint: "ask the operator of the host for that extension (`apt-get install php-NAME`), then push again",
    },
    Known {
        words: &["error: release version", "not supported"],
        kind: FailureKind::BuildFailed,
        hint: "ask the operator of the host for a newer JDK, or ask for less in the build file",
    },
    Known {
        words: &["No matching distribution found"],
        kind: FailureKind::BuildFailed,
        hint: "check the name and version of that package; it may ask for another version of Python",
    },
    Known {
        words: &["E404", "npm error"],
        kind: FailureKind::BuildFailed,
        hint: "check the name and version of that package; a private one needs an .npmrc that may be pushed",
    },
    Known {
        words: &["EAI_AGAIN"],
        kind: FailureKind::BuildFailed,
        hint: "the host could not reach the package registry; push again when it can",
    },
    Known {
        words: &["Temporary failure in name resolution"],
        kind: FailureKind::BuildFailed,
        hint: "the host could not reach the package registry; push again when it can",
    },
    Known {
        words: &["JavaScript heap out of memory"],
        kind: FailureKind::BuildFailed,
        hint: "the build needs more memory: set NODE_OPTIONS=--max-old-space-size=… in the build script",
    },
];

const NO_SPACE: &[&str] = &["No space left on device", "ENOSPC", "Disk quota exceeded", "EDQUOT"];

/// The failure of a step that ended by itself, but not well.
pub(crate) fn failed_step(step: &Step, exit: Exit, output: &str, dir: &Path) -> Failure {
    let cause = format!("{} {exit}", quoted(&step.known_as));
    if NO_SPACE.iter().any(|words| output.contains(words)) || disk_is_full(dir) {
        return disk_full(Stage::Build, format!("{cause}: the disk of the host is full"))
            .evidence(last_lines(output));
    }
    let known = KNOWN.iter().find(|known| known.words.iter().all(|words| output.contains(words)));
    let (kind, hint) = match known {
        Some(known) => (known.kind, known.hint.to_owned()),
        None => (
            FailureKind::BuildFailed,
            format!("make {} pass on a fresh clone, commit, and push again", quoted(&step.known_as)),
        ),
    };
    Failure::new(Stage::Build, kind, cause).evidence(last_lines(output)).hint(hint)
}

/// What helps where a tool in an image prints a message that is known. What a host lacks is none of it.
pub(crate) fn known_hint(output: &str) -> Option<&'static str> {
    let of_the_app = KNOWN.iter().filter(|known| known.kind == FailureKind::BuildFailed);
    of_the_app
        .into_iter()
        .find(|known| known.words.iter().all(|words| output.contains(words)))
        .map(|it| it.hint)
}

/// No space is left where the artifact is made.
pub(crate) fn disk_full(stage: Stage, cause: impl Into<String>) -> Failure {
    Failure::new(stage, FailureKind::DiskFull, cause)
        .hint("nothing was changed; ask the operator of the host to make room, then push again")
}

/// The last lines of a tool's output that say something, harmless to a terminal.
pub(crate) fn last_lines(output: &str) -> Vec<String> {
    // A progress bar rewrites its line: what stands after the last carriage return is what is seen.
    let shown = |line: &str| {
        let seen = line.trim_end().rsplit('\r').next().unwrap_or_default().trim_end();
        (!seen.is_empty()).then(|| Printable(seen).to_string())
    };
    let lines: Vec<String> = output.lines().filter_map(shown).collect();
    lines[lines.len().saturating_sub(EVIDENCE_LINES_MAX)..].to_vec()
}

fn disk_is_full(dir: &Path) -> bool {
    nix::sys::statvfs::statvfs(dir).is_ok_and(|known| {
        known.blocks_available() == 0 || (known.files() > 0 && known.files_available() == 0)
    })
}

/// A command line for a sentence, cut to a length that can be read.
fn quoted(command: &str) -> String {
    const CHARS_MAX: usize = 80;
    let line = command.lines().next().unwrap_or_default();
    let head: String = line.chars().take(CHARS_MAX).collect();
    let more = if head.len() < command.len() { "…" } else { "" };
    format!("`{head}{more}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure_of(output: &str) -> Failure {
        failed_step(&Step::new("Installing", "npm ci"), Exit::Code(1), output, Path::new("/"))
    }

    #[test]
    fn a_known_message_gets_its_remedy() {
        let failure = failure_of("npm error `npm ci` can only install packages when your package.json and …");
        assert_eq!(failure.cause, "`npm ci` exited with code 1");
        assert!(failure.hint.contains("commit package-lock.json"));
        assert_eq!(failure_of("tar: x: No space left on device").kind, FailureKind::DiskFull);
        assert_eq!(failure_of("ensurepip is not available").kind, FailureKind::MissingTool);
        assert_eq!(failure_of("boom").kind, FailureKind::BuildFailed);
    }

    #[test]
    fn the_last_lines_are_what_a_person_saw() {
        assert_eq!(last_lines("a\n\n10%\r100%\n\x1b[2J!\n"), ["a", "100%", "\\u{1b}[2J!"]);
        let long: String = (0..50).map(|n| format!("{n}\n")).collect();
        assert_eq!(last_lines(&long).len(), EVIDENCE_LINES_MAX);
        assert_eq!(last_lines(&long).last().unwrap(), "49");
    }
}
