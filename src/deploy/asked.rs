//! The config that comes with a release: what its push says, and what the `env` of its `app.json` asks for.

use std::collections::BTreeMap;

use autostack_domain::{
    EnvMap, Failure, FailureKind, Stage,
    app_json::{EnvAsked, EnvDefault},
    limits,
    release::ConfigBrought,
};

use crate::{
    deployer::{Job, Pushed},
    pipeline::AppFacts,
};

/// The config of a release under way, and which of it becomes the app's own when it goes live.
pub(crate) struct Config {
    /// What the build and the release get.
    pub(crate) env: EnvMap,
    pub(crate) brings: ConfigBrought,
    /// The app's own, with what is brought.
    own: EnvMap,
}

impl Config {
    /// What the app has, under what the push sets.
    pub(crate) fn of_push(facts: &AppFacts, pushed: &Pushed) -> Self {
        let (mut env, mut own) = (facts.config.clone(), facts.own_config.clone());
        env.extend(&pushed.env);
        own.extend(&pushed.env);
        let set = pushed.env.iter().map(|(name, _)| name.to_owned()).collect();
        Self { env, own, brings: ConfigBrought { set, filled: Vec::new() } }
    }

    /// Gives a first deployment the values that the app asks for and nobody has set.
    ///
    /// # Errors
    /// A required variable has no value, or the config is too large.
    pub(crate) fn fill(
        &mut self,
        asked: &BTreeMap<String, EnvAsked>,
        job: &Job,
        is_first: bool,
    ) -> Result<(), Failure> {
        let unset: Vec<_> = asked.iter().filter(|(name, _)| self.env.get(name).is_none()).collect();
        let required: Vec<&str> = unset
            .iter()
            .filter(|(_, asked)| asked.is_required && asked.default.is_none())
            .map(|(name, _)| name.as_str())
            .collect();
        if !required.is_empty() {
            return Err(missing(job, &required));
        }
        let with_default =
            unset.into_iter().filter_map(|(name, asked)| Some((name, asked.default.as_ref()?)));
        if is_first {
            for (name, default) in with_default {
                self.take(name, default)?;
            }
        } else {
            let names: Vec<_> = with_default.map(|(name, _)| name.as_str()).collect();
            if !names.is_empty() {
                job.log.trouble(format!(
                    "app.json: values are made at the first deployment only, and not set are: {} \
                     (config:set {} NAME=VALUE)",
                    names.join(", "),
                    job.app
                ));
            }
        }
        if self.own.bytes() > limits::CONFIG_BYTES_MAX {
            let cause = format!("the config would have more than {} KiB", limits::CONFIG_BYTES_MAX >> 10);
            return Err(Failure::new(Stage::Detect, FailureKind::OverLimit, cause).hint(
                "make values shorter in app.json or in the push, or config:unset some, then push again",
            ));
        }
        if !self.brings.filled.is_empty() {
            job.log.detail(format!("Config made as app.json asks: {}", self.brings.filled.join(", ")));
        }
        Ok(())
    }

    fn take(&mut self, name: &str, default: &EnvDefault) -> Result<(), Failure> {
        let value = match default {
            EnvDefault::Value(value) => value.clone(),
            EnvDefault::Secret => secret(),
        };
        for env in [&mut self.env, &mut self.own] {
            env.set(name, value.as_bytes()).map_err(|invalid| {
                Failure::new(Stage::Detect, FailureKind::BadAppFile, format!("app.json: {invalid}"))
                    .hint("correct app.json, commit, and push again")
            })?;
        }
        self.brings.filled.push(name.to_owned());
        Ok(())
    }
}

fn missing(job: &Job, names: &[&str]) -> Failure {
    let cause = format!("app.json requires config that is not set: {}", names.join(", "));
    let values: Vec<_> = names.iter().map(|name| format!("{name}=VALUE")).collect();
    let hint = format!("config:set {} {}, then push again", job.app, values.join(" "));
    Failure::new(Stage::Detect, FailureKind::MissingConfig, cause).hint(hint)
}

/// 64 hexadecimal digits, 244 bits of which are random.
fn secret() -> String {
    let half = || uuid::Uuid::new_v4().simple();
    format!("{}{}", half(), half())
}
