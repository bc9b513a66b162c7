//! What a builder says → the build log, in the words of the plan where the Dockerfile was generated from one.

use std::sync::{Mutex, MutexGuard, PoisonError};

use autostack_engine::Output;
use autostack_logs::BuildLog;

use super::script::step_in;
use crate::{
    plan::{BuildPlan, Step},
    process::Tail,
};

/// Listens to one build.
pub(crate) struct Listener<'a> {
    log: &'a BuildLog,
    /// Set where the Dockerfile was generated from it.
    plan: Option<&'a BuildPlan>,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    /// The step of the plan that runs.
    step: Option<usize>,
    /// The instruction that runs, as the builder calls it.
    instruction: String,
    /// The last output of that step.
    tail: Tail,
}

impl<'a> Listener<'a> {
    pub(crate) fn new(log: &'a BuildLog, plan: Option<&'a BuildPlan>) -> Self {
        Self { log, plan, heard: Mutex::default() }
    }

    /// Takes one piece of what is said.
    pub(crate) fn hear(&self, output: Output<'_>) {
        let mut heard = self.heard();
        match (output, self.plan) {
            (Output::Raw(bytes), _) => {
                heard.tail.push(bytes);
                self.log.raw(bytes);
            }
            (Output::Step(text), None) => {
                heard.begin(None, text);
                self.log.step(text);
            }
            (Output::Detail(text), None) => self.log.detail(text),
            (Output::Step(text), Some(plan)) => {
                let number = step_in(text).filter(|number| plan.steps.get(*number).is_some());
                let is_new = number.is_some() && number != heard.step;
                heard.begin(number, text);
                if let Some(step) = number.and_then(|number| plan.steps.get(number)).filter(|_| is_new) {
                    self.log.step(format!("{}: {}", step.title, step.known_as));
                } else if let (None, Some((_, image))) = (number, text.split_once("FROM ")) {
                    self.log.detail(format!("On {}", image.split_ascii_whitespace().next().unwrap_or(image)));
                }
            }
            // The rest is of instructions that the developer has not written.
            (Output::Detail(text), Some(_)) if heard.step.is_some() => self.log.detail(match text {
                "cached" => "reused from an earlier build, nothing that it depends on has changed",
                text => text,
            }),
            (Output::Detail(_), Some(_)) => {}
        }
    }

    /// The step of the plan that ran last, and what it printed.
    pub(crate) fn last_step(&self) -> Option<(&'a Step, String)> {
        let heard = self.heard();
        let step = self.plan?.steps.get(heard.step?)?;
        Some((step, heard.tail.text()))
    }

    /// What ran last, for a sentence; empty where nothing did.
    pub(crate) fn last(&self) -> String {
        let heard = self.heard();
        let step = self.plan.zip(heard.step).and_then(|(plan, number)| plan.steps.get(number));
        match step {
            Some(step) => step.known_as.clone(),
            None => {
                heard.instruction.split_once("] ").map_or(heard.instruction.as_str(), |(_, it)| it).to_owned()
            }
        }
    }

    /// The last output.
    pub(crate) fn tail(&self) -> String {
        self.heard().tail.text()
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    fn begin(&mut self, step: Option<usize>, instruction: &str) {
        if self.step != step || self.instruction != instruction {
            self.tail = Tail::default();
        }
        self.step = step;
        instruction.clone_into(&mut self.instruction);
    }
}
