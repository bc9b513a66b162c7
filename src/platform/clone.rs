//! A second app that is like another one, and belongs to who made it.

use autostack_base::clock;
use autostack_domain::{
    App, AppName, AppSettings, Failure, Line, RefName, Release,
    permission::{Action, Actor, allows},
    storage::StorageSettings,
};
use autostack_git::copy::copy;
use tokio_util::sync::CancellationToken;

use crate::{
    deployments::Outcome,
    error::{ErrorKind, PlatformError},
    platform::Platform,
    screen::Screen,
};

impl Platform {
    /// Makes an app with the code, config, settings and logins at registries of another one. With `deploy` it runs the
    /// same artifact at once; if that does not get ready there is no new app. The other one is not touched.
    pub async fn clone_app(
        &self,
        actor: &Actor,
        old: &AppName,
        new: &AppName,
        deploy: bool,
        screen: &mut impl Screen,
        gone: &CancellationToken,
    ) -> Result<(), PlatformError> {
        let app = self.app_for(actor, old, Action::ManageConfig, "clone").await?;
        if !allows(actor, None, Action::CreateApp) {
            return Err(PlatformError::denied(new, "create"));
        }
        self.check_space()?;
        let live = if deploy { self.live_release(&app).await? } else { None };
        let turn = self.0.creating.lock().await;
        self.0.leaving.check(old)?;
        let name = new.clone();
        if self.parts().store.call(move |store| store.app(&name)).await?.is_some() {
            return Err(PlatformError::new(ErrorKind::Conflict, format!("the name {new} is taken"))
                .hint("choose another name"));
        }
        // Nobody makes an app of that name until this one is there or given up.
        let reserved = self.0.leaving.begin(new)?;
        drop(turn);
        self.remove_files(new, Vec::new()).await?;
        let made = self.make_twin(actor, &app, new, live.as_ref()).await;
        if let Err(error) = made {
            let cleaned = self.remove_files(new, Vec::new()).await;
            self.0.deployer.destroy(new).await.map_err(failed)?;
            cleaned?;
            return Err(error);
        }
        drop(reserved);
        self.event(actor, new, "apps:clone", format!("from {old}"));
        if !app.settings.storage.mounts.is_empty() {
            let text = format!("What {old} has mounted is not mounted in {new}: storage:mount {new} …");
            // Who has gone reads nothing.
            let _gone = screen.show(Line::trouble(text)).await;
        }
        if live.is_none() {
            return Ok(());
        }
        let error = match self.redeploy(actor, new, format!("Clone of {old}"), screen, gone).await {
            Ok(None | Some(Outcome::Live(_))) => return Ok(()),
            Ok(Some(Outcome::Failed)) => {
                let message = format!("the app {new} could not be started, and is not there");
                PlatformError::new(ErrorKind::Conflict, message)
                    .hint(format!("apps:clone {old} {new} --skip-deploy makes it without starting it"))
            }
            Err(error) => error,
        };
        self.remove_app(new, self.0.leaving.begin(new)?).await?;
        self.event(actor, new, "apps:destroy", "it could not be started");
        Err(error)
    }

    /// Files first: what is recorded has all that it needs.
    async fn make_twin(
        &self,
        actor: &Actor,
        app: &App,
        new: &AppName,
        live: Option<&Release>,
    ) -> Result<(), PlatformError> {
        if let Some(release) = live {
            self.0.deployer.share_artifact(release, new).await.map_err(failed)?;
        }
        self.copy_code(app, new).await?;
        let twin = App {
            deploy_branch: app.deploy_branch.clone(),
            formation: app.formation.clone(),
            settings: settings_of_twin(&app.settings),
            ..App::new(new.clone(), actor.user.clone(), clock::now())
        };
        let live = live.map(|release| Release {
            description: format!("Clone of {} {}", app.name, release.number),
            created_at: twin.created_at,
            ..release.clone()
        });
        let of = app.name.clone();
        Ok(self.parts().store.call(move |store| store.create_twin(&of, &twin, live.as_ref())).await?)
    }

    async fn copy_code(&self, app: &App, new: &AppName) -> Result<(), PlatformError> {
        self.make_repository(new).await?;
        let repositories = self.parts().repositories.clone();
        if !repositories.exists(&app.name) {
            return Ok(());
        }
        copy(&repositories.path(&app.name), &repositories.path(new))
            .await
            .map_err(|error| PlatformError::internal("the code of the app cannot be copied", &error))?;
        let Some(branch) = &app.deploy_branch else { return Ok(()) };
        let (branch, new) = (RefName::of_branch(branch)?, new.clone());
        let set = self.parts().tasks.blocking("set HEAD", move || repositories.set_head(&new, &branch)).await;
        Ok(set.map_err(|panic| PlatformError::internal("the app's repository cannot be used", &panic))??)
    }
}

/// What is set for the twin: all but what only one app can have, and what would let two write to the same files.
fn settings_of_twin(settings: &AppSettings) -> AppSettings {
    let mut settings = AppSettings { lock: None, storage: StorageSettings::default(), ..settings.clone() };
    let traffic = &mut settings.traffic;
    traffic.own.clear();
    traffic.rules.redirects.clear();
    // Whoever had only addresses of their own would be reached nowhere.
    traffic.has_global = true;
    settings
}

fn failed(failure: Failure) -> PlatformError {
    PlatformError::new(ErrorKind::Internal, failure.cause).hint(failure.hint)
}

#[cfg(test)]
mod tests {
    use autostack_domain::Traffic;

    use super::*;

    #[test]
    fn a_twin_claims_no_host_and_stays_as_closed_as_the_first() {
        let own = vec!["example.test".parse().unwrap()];
        let mut traffic = Traffic { own, has_global: false, proxy_enabled: false, ..Traffic::default() };
        traffic.rules.maintenance = true;
        let settings = AppSettings { traffic, ..AppSettings::default() };
        let twin = settings_of_twin(&settings).traffic;
        assert_eq!(twin.claims().count(), 0);
        assert!(twin.has_global && !twin.proxy_enabled && twin.rules.maintenance);
    }
}
