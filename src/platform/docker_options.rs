//! What operators tell the engine of an app's build and containers.

use autostack_domain::{
    AppName, AppSettings,
    docker_options::{DockerOption, DockerOptions, Phase},
    limits,
    permission::{Action, Actor},
};

use crate::{
    error::{ErrorKind, PlatformError},
    platform::Platform,
};

/// What becomes of options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerChange {
    /// They are added, unless they are there.
    Add(Vec<DockerOption>),
    /// They are taken away; one that is not there is refused.
    Remove(Vec<DockerOption>),
    /// All are taken away.
    Clear,
}

impl Platform {
    /// Changes the options of some phases. Those of a build count from the next deployment on, the others for containers that
    /// are started from then on.
    pub async fn change_docker_options(
        &self,
        actor: &Actor,
        name: &AppName,
        phases: Vec<Phase>,
        change: DockerChange,
    ) -> Result<(), PlatformError> {
        let (kind, what) = match &change {
            DockerChange::Add(options) => ("docker-options:add", said(options)),
            DockerChange::Remove(options) => ("docker-options:remove", said(options)),
            DockerChange::Clear => ("docker-options:clear", "all".to_owned()),
        };
        let of: Vec<&str> = phases.iter().map(|phase| phase.name()).collect();
        let told = format!("{what} of {}", of.join(", "));
        let app = name.clone();
        let edit = move |settings: &mut AppSettings| {
            for phase in phases {
                edit(&app, settings.docker.of_mut(phase), phase, &change)?;
            }
            Ok(())
        };
        self.change_app(actor, name, Action::Operate, "change the engine's options of", edit).await?;
        self.event(actor, name, kind, told);
        Ok(())
    }

    /// The options of an app.
    pub async fn docker_options(
        &self,
        actor: &Actor,
        name: &AppName,
    ) -> Result<DockerOptions, PlatformError> {
        Ok(self.settings_of(actor, name).await?.settings.docker)
    }
}

fn said(options: &[DockerOption]) -> String {
    options.iter().map(DockerOption::summary).collect::<Vec<_>>().join(" ")
}

fn edit(
    app: &AppName,
    known: &mut Vec<DockerOption>,
    phase: Phase,
    change: &DockerChange,
) -> Result<(), PlatformError> {
    match change {
        DockerChange::Add(options) => {
            for option in options {
                if !known.contains(option) {
                    known.push(option.clone());
                }
            }
            if known.len() > limits::DOCKER_OPTIONS_MAX {
                let message = format!(
                    "the app {app} can have {} options for {phase} at most",
                    limits::DOCKER_OPTIONS_MAX
                );
                return Err(PlatformError::new(ErrorKind::Conflict, message));
            }
        }
        DockerChange::Remove(options) => {
            for option in options {
                let Some(at) = known.iter().position(|one| one == option) else {
                    let message = format!("the app {app} has no option {option} for {phase}");
                    return Err(PlatformError::new(ErrorKind::Conflict, message)
                        .hint(format!("docker-options:report {app} shows what it has")));
                };
                known.remove(at);
            }
        }
        DockerChange::Clear => known.clear(),
    }
    Ok(())
}
