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
    /// The step of the plan that began last; the plan's run one after the other.
    step: Option<usize>,
    /// Whether output is of that step now: the builder runs the last stage beside the first, and says whose turn
    /// it is.
    is_steps_turn: bool,
    /// The last output of that step; without a plan, of whatever runs.
    tail: Tail,
    /// The instruction that runs, as the builder calls it.
    instruction: String,
}

impl<'a> Listener<'a> {
    pub(crate) fn new(log: &'a BuildLog, plan: Option<&'a BuildPlan>) -> Self {
        Self { log, plan, heard: Mutex::default() }
    }

    /// Takes one piece of what is said.
    pub(crate) fn hear(&self, output: Output<'_>) {
        let mut heard = self.heard();
        match (output, self.plan) {
            (Output::Raw(bytes), plan) => {
                if plan.is_none() || heard.is_steps_turn {
                    heard.tail.push(bytes);
                }
                self.log.raw(bytes);
            }
            (Output::Step(text), None) => {
                if heard.instruction != text {
                    heard.tail = Tail::default();
                    text.clone_into(&mut heard.instruction);
                }
                self.log.step(text);
            }
            (Output::Detail(text), None) => self.log.detail(text),
            (Output::Step(text), Some(plan)) => self.hear_step(&mut heard, plan, text),
            // The rest is of instructions that the developer has not written.
            (Output::Detail(text), Some(_)) if heard.is_steps_turn => self.log.detail(match text {
                "cached" => "reused from an earlier build, nothing that it depends on has changed",
                text => text,
            }),
            (Output::Detail(_), Some(_)) => {}
        }
    }

    fn hear_step(&self, heard: &mut Heard, plan: &BuildPlan, text: &str) {
        let number = step_in(text).filter(|number| plan.steps.get(*number).is_some());
        heard.is_steps_turn = number.is_some();
        match number.and_then(|number| plan.steps.get(number)) {
            Some(_) if number == heard.step => {}
            Some(step) => {
                heard.step = number;
                heard.tail = Tail::default();
                self.log.step(format!("{}: {}", step.title, step.known_as));
            }
            None => {
                if let Some((_, image)) = text.split_once("FROM ") {
                    let image = image.split_ascii_whitespace().next().unwrap_or(image);
                    self.log.detail(format!("On {image}"));
                }
            }
        }
    }

    /// The step of the plan that began last, and what it printed.
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
