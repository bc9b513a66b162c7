//! How the releases of an app replace one another: which checks are asked, and whether any are.

use std::time::Duration;

use autostack_domain::{
    AppName, ProcessType,
    checks::{CheckMode, CheckProperty, CheckSettings},
    permission::{Action, Actor},
};

use crate::{
    error::{ErrorKind, PlatformError},
    platform::Platform,
};

/// The checks of an app, for a report.
#[derive(Debug, Clone)]
pub struct ChecksView {
    /// The app.
    pub app: AppName,
    /// What is set.
    pub settings: CheckSettings,
    /// How long old instances get where the app says nothing.
    pub host_wait_to_retire: Duration,
}

/// How one instance did when it was asked.
#[derive(Debug, Clone)]
pub struct CheckResult {
    /// `web.1`.
    pub instance: String,
    /// What was seen, line by line.
    pub lines: Vec<String>,
    /// Why it did not pass; `None` where it did.
    pub failure: Option<String>,
}

impl Platform {
    /// Sets how the instances of some process types are replaced; of all, where none is named.
    pub async fn set_check_mode(
        &self,
        actor: &Actor,
        name: &AppName,
        mode: CheckMode,
        processes: Vec<ProcessType>,
    ) -> Result<CheckSettings, PlatformError> {
        let app = self.settings_of(actor, name).await?;
        let known = self.process_types(name, app.current_release).await?;
        if let Some(unknown) = processes.iter().find(|process| !known.is_empty() && !known.contains(process))
        {
            return Err(self.no_such_process(name, unknown, &known));
        }
        let said = match processes.as_slice() {
            [] => "all".to_owned(),
            some => some.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        };
        let change = move |settings: &mut autostack_domain::AppSettings| {
            settings.checks.set_mode(mode, &processes);
            Ok(settings.checks.clone())
        };
        let (_, now) = self.change_app(actor, name, Action::Operate, "set the checks of", change).await?;
        let kind = match mode {
            CheckMode::Enabled => "checks:enable",
            CheckMode::Skipped => "checks:skip",
            CheckMode::Disabled => "checks:disable",
        };
        self.event(actor, name, kind, said);
        Ok(now)
    }

    /// Sets a property of the checks; an empty value takes it away.
    pub async fn set_check_property(
        &self,
        actor: &Actor,
        name: &AppName,
        property: CheckProperty,
        value: String,
    ) -> Result<(), PlatformError> {
        let said = format!("{}={value}", property.name());
        let change =
            move |settings: &mut autostack_domain::AppSettings| Ok(settings.checks.set(property, &value)?);
        self.change_app(actor, name, Action::Operate, "set the checks of", change).await?;
        self.event(actor, name, "checks:set", said);
        Ok(())
    }

    /// The checks of an app.
    pub async fn checks(&self, actor: &Actor, name: &AppName) -> Result<ChecksView, PlatformError> {
        let app = self.settings_of(actor, name).await?;
        let host_wait_to_retire = self.parts().settings.borrow().deploy.drain_timeout;
        Ok(ChecksView { app: app.name, settings: app.settings.checks, host_wait_to_retire })
    }

    /// Asks the running instances of an app now, as a deployment would: all of them, those of a process type, or one.
    pub async fn run_checks(
        &self,
        actor: &Actor,
        name: &AppName,
        only: Option<&str>,
    ) -> Result<Vec<CheckResult>, PlatformError> {
        let app = self.app_for(actor, name, Action::Operate, "check").await?;
        let checked = self.0.deployer.check_now(&app, only).await;
        let checked =
            checked.map_err(|error| PlatformError::internal("what runs cannot be listed", &error))?;
        let results: Vec<CheckResult> = checked
            .into_iter()
            .map(|checked| CheckResult {
                instance: checked.dyno,
                lines: checked.lines,
                failure: checked.failure.map(|failure| failure.cause),
            })
            .collect();
        if results.is_empty() {
            let known = self.process_types(name, app.current_release).await?;
            return Err(match only {
                Some(only) => {
                    let message = format!(
                        "the app {name} has no {} that runs",
                        autostack_domain::screen::Printable(only)
                    );
                    PlatformError::new(ErrorKind::Invalid, message).hint(list(&known))
                }
                None => PlatformError::new(ErrorKind::Conflict, format!("nothing of {name} runs"))
                    .hint("push to it, or scale it up with ps:scale"),
            });
        }
        Ok(results)
    }

    fn no_such_process(&self, name: &AppName, process: &ProcessType, known: &[ProcessType]) -> PlatformError {
        let message = format!("the app {name} has no process type {process}");
        PlatformError::new(ErrorKind::Invalid, message).hint(list(known))
    }
}

fn list(known: &[ProcessType]) -> String {
    let names: Vec<&str> = known.iter().map(ProcessType::as_str).collect();
    if names.is_empty() {
        "it has none yet: push to it first".to_owned()
    } else {
        format!("it has {}", names.join(", "))
    }
}
