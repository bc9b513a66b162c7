//! [`Progress`]: what BuildKit says while it builds, as output for people.

use std::collections::HashMap;

use bollard::moby::buildkit::v1::{StatusResponse, Vertex};

use super::tail::Printed;
use crate::output::{Output, Say};

/// Steps that are followed; a Dockerfile has a few dozen.
const STEPS_MAX: usize = 4_096;
/// Warnings that are kept.
const WARNINGS_MAX: usize = 20;

/// The steps of a build, told once each; output of commands as it comes.
pub(crate) struct Progress<'a> {
    say: &'a Say<'a>,
    steps: HashMap<String, Step>,
    /// The step that was told last: output belongs to it.
    current: Option<String>,
    is_line_open: bool,
    /// What the builder warns of.
    pub(crate) warnings: Vec<String>,
}

struct Step {
    name: String,
    is_told: bool,
    is_cached: bool,
    is_done: bool,
    error: String,
    printed: Printed,
}

/// How BuildKit numbers the standard error of a command.
const STANDARD_ERROR: i64 = 2;
/// The step that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FailedStep {
    /// As the builder calls it: `[2/5] RUN npm ci`.
    pub(crate) name: String,
    /// The builder's words.
    pub(crate) error: String,
    /// The last lines that its command printed.
    pub(crate) tail: Vec<String>,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(say: &'a Say<'a>) -> Self {
        Self { say, steps: HashMap::new(), current: None, is_line_open: false, warnings: Vec::new() }
    }

    /// Takes what happened within a moment.
    pub(crate) fn take(&mut self, status: StatusResponse) {
        for vertex in status.vertexes {
            self.vertex(vertex);
        }
        for log in status.logs {
            self.log(&log.vertex, &log.msg, log.stream);
        }
        for warning in status.warnings {
            let text = String::from_utf8_lossy(&warning.short).into_owned();
            if self.warnings.len() < WARNINGS_MAX && !self.warnings.contains(&text) {
                self.warnings.push(text);
            }
        }
    }

    /// The step whose own error ended the build; those that were cancelled because of it do not count.
    pub(crate) fn failed(&self) -> Option<FailedStep> {
        let failed = self.steps.values().filter(|step| !step.error.is_empty());
        let (cancelled, own): (Vec<_>, Vec<_>) = failed.partition(|step| is_consequence(&step.error));
        let step = own.first().or_else(|| cancelled.first())?;
        Some(FailedStep { name: step.name.clone(), error: step.error.clone(), tail: step.printed.evidence() })
    }

    /// The step that runs now, for whoever ends the build.
    pub(crate) fn running(&self) -> Option<FailedStep> {
        let running = |digest: &&String| self.steps.get(*digest).is_some_and(|step| !step.is_done);
        let step = self.steps.get(self.current.as_ref().filter(running)?)?;
        Some(FailedStep { name: step.name.clone(), error: String::new(), tail: step.printed.evidence() })
    }

    fn vertex(&mut self, vertex: Vertex) {
        if self.steps.len() >= STEPS_MAX && !self.steps.contains_key(&vertex.digest) {
            return;
        }
        let step = self.steps.entry(vertex.digest.clone()).or_insert_with(|| Step {
            name: vertex.name.clone(),
            is_told: false,
            is_cached: false,
            is_done: false,
            error: String::new(),
            printed: Printed::default(),
        });
        step.is_done |= vertex.completed.is_some();
        if !vertex.error.is_empty() {
            step.error = vertex.error;
        }
        if !is_for_people(&step.name) {
            return;
        }
        let is_news = (vertex.started.is_some() || vertex.cached) && !step.is_told;
        let is_cached_news = vertex.cached && !step.is_cached;
        step.is_told |= is_news;
        step.is_cached |= vertex.cached;
        if is_news {
            self.announce(&vertex.digest);
        }
        if is_cached_news {
            self.announce(&vertex.digest);
            (self.say)(Output::Detail("cached"));
        }
    }

    fn log(&mut self, digest: &str, bytes: &[u8], stream: i64) {
        let Some(step) = self.steps.get_mut(digest) else { return };
        step.printed.push(bytes, stream == STANDARD_ERROR);
        if bytes.is_empty() {
            return;
        }
        self.announce(digest);
        self.is_line_open = bytes.last() != Some(&b'\n');
        (self.say)(Output::Raw(bytes));
    }

    /// Says whose turn it is, where it was another's: stages are built side by side.
    fn announce(&mut self, digest: &str) {
        if self.current.as_deref() == Some(digest) {
            return;
        }
        if self.is_line_open {
            self.is_line_open = false;
            (self.say)(Output::Raw(b"\n"));
        }
        if let Some(step) = self.steps.get(digest) {
            (self.say)(Output::Step(&step.name));
        }
        self.current = Some(digest.to_owned());
    }
}

/// Everything but what BuildKit does for itself.
fn is_for_people(name: &str) -> bool {
    let inner = name.strip_prefix("[internal] ").or_else(|| name.strip_prefix("[auth] "));
    inner.is_none() && !name.is_empty()
}

/// A step that was ended because another had failed.
fn is_consequence(error: &str) -> bool {
    error.ends_with("context canceled") || error.ends_with(": canceled") || error == "CANCELED"
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use bollard::moby::buildkit::v1::VertexLog;

    use super::*;

    fn vertex(digest: &str, name: &str, is_started: bool, is_cached: bool, error: &str) -> Vertex {
        Vertex {
            digest: digest.into(),
            name: name.into(),
            started: is_started.then(Default::default),
            cached: is_cached,
            completed: (!error.is_empty()).then(Default::default),
            error: error.into(),
            ..Vertex::default()
        }
    }

    fn log(vertex: &str, text: &str) -> VertexLog {
        VertexLog { vertex: vertex.into(), msg: text.into(), ..VertexLog::default() }
    }

    fn told(moments: Vec<StatusResponse>) -> (Vec<String>, Option<FailedStep>) {
        let said = Mutex::new(Vec::new());
        let say = |output: Output<'_>| {
            let line = match output {
                Output::Step(text) => format!("> {text}"),
                Output::Detail(text) => format!("  {text}"),
                Output::Raw(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
            };
            said.lock().unwrap().push(line);
        };
        // The listener of a build outlives it; that of this test does not.
        let mut progress = Progress { say: &say, ..Progress::new(&|_| {}) };
        for moment in moments {
            progress.take(moment);
        }
        let failed = progress.failed();
        (said.into_inner().unwrap(), failed)
    }

    #[test]
    fn steps_are_told_once_and_noise_is_not() {
        let moment = |vertexes| StatusResponse { vertexes, ..StatusResponse::default() };
        let (said, failed) = told(vec![
            moment(vec![
                vertex("i", "[internal] load .dockerignore", true, false, ""),
                vertex("a", "[1/2] FROM base", false, false, ""),
            ]),
            moment(vec![
                vertex("a", "[1/2] FROM base", true, true, ""),
                vertex("b", "[2/2] RUN x", true, false, ""),
            ]),
            StatusResponse { logs: vec![log("b", "one"), log("b", " line\n")], ..StatusResponse::default() },
            moment(vec![vertex("b", "[2/2] RUN x", true, false, "")]),
        ]);
        assert_eq!(said, ["> [1/2] FROM base", "  cached", "> [2/2] RUN x", "\"one\"", "\" line\\n\""]);
        assert_eq!(failed, None);
    }

    #[test]
    fn output_of_stages_side_by_side_is_told_apart() {
        let vertexes = vec![vertex("a", "RUN a", true, false, ""), vertex("b", "RUN b", true, false, "")];
        let logs = vec![log("a", "a1"), log("b", "b1\n"), log("a", "a2\n")];
        let (said, _) = told(vec![StatusResponse { vertexes, logs, ..StatusResponse::default() }]);
        let expected = [
            "> RUN a",
            "> RUN b",
            "> RUN a",
            "\"a1\"",
            "\"\\n\"",
            "> RUN b",
            "\"b1\\n\"",
            "> RUN a",
            "\"a2\\n\"",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn the_step_that_failed_is_not_one_that_was_cancelled_for_it() {
        let vertexes = vec![
            vertex("a", "RUN a", true, false, "executor failed running [x]: context canceled"),
            vertex("b", "RUN b", true, false, "executor failed running [x]: exit code: 3"),
        ];
        let logs = vec![log("b", "why\n")];
        let (_, failed) = told(vec![StatusResponse { vertexes, logs, ..StatusResponse::default() }]);
        let failed = failed.unwrap();
        assert_eq!((failed.name.as_str(), failed.tail), ("RUN b", vec!["why".to_owned()]));
    }
}
