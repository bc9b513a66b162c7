//! An app under another name. Instances of the new name start beside those of the old one, which answer until the new ones
//! are ready; then the old name is nobody's.

use autostack_domain::{
    App, AppName, Failure, Line,
    permission::{Action, Actor, allows},
};
use autostack_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::{
    deployments::Outcome,
    error::{ErrorKind, PlatformError},
    locks::check_unlocked,
    platform::Platform,
    screen::Screen,
};

impl Platform {
    /// Gives an app another name, with its code, releases, config, members and logs. What runs is replaced by instances
    /// that know the new name; if they do not become ready, everything is as it was.
    pub async fn rename_app(
        &self,
        actor: &Actor,
        old: &AppName,
        new: &AppName,
        screen: &mut impl Screen,
    ) -> Result<(), PlatformError> {
        let app = self.app_for(actor, old, Action::DestroyApp, "rename").await?;
        if !allows(actor, None, Action::CreateApp) {
            return Err(PlatformError::denied(new, "create"));
        }
        check_unlocked(&app)?;
        self.check_hosts(&app, new)?;
        self.check_space()?;
        let _turn = self.0.creating.lock().await;
        self.0.leaving.check(new)?;
        if self
            .parts()
            .store
            .call({
                let new = new.clone();
                move |store| store.app(&new)
            })
            .await?
            .is_some()
        {
            return Err(PlatformError::new(ErrorKind::Conflict, format!("the name {new} is taken"))
                .hint("choose another name"));
        }
        let departure = self.0.leaving.begin(old)?;
        if self.0.pushes.is_busy(old) {
            return Err(PlatformError::new(ErrorKind::Conflict, format!("a push to {old} is under way"))
                .hint("try again when it has ended"));
        }
        let deployer = &self.0.deployer;
        deployer.share_artifacts(old, new).await.map_err(failed)?;
        self.record_rename(old, new).await?;
        let live = match deployer.move_files(old, new).await {
            Ok(()) => {
                // Whoever asked may go: a renaming is not left half done.
                let stays = CancellationToken::new();
                let reason = format!("Rename from {old}");
                match self.redeploy(actor, new, reason, screen, &stays).await {
                    Ok(None | Some(Outcome::Live(_))) => Ok(()),
                    Ok(Some(Outcome::Failed)) => {
                        let message =
                            format!("the app could not be started as {new}, and is {old} as before");
                        Err(PlatformError::new(ErrorKind::Conflict, message))
                    }
                    Err(error) => Err(error),
                }
            }
            Err(failure) => Err(failed(failure)),
        };
        if let Err(error) = live {
            self.undo_rename(old, new).await?;
            return Err(error);
        }
        let stopped = deployer.destroy(old).await;
        self.finish_rename(new).await?;
        drop(departure);
        self.rights_changed();
        self.event(actor, new, "apps:rename", format!("from {old}"));
        if let Err(failure) = stopped {
            // It is renamed all the same; what still runs is ended when the agent starts.
            let _gone = screen.show(Line::trouble(failure.cause)).await;
        }
        Ok(())
    }

    /// Refuses while the app claims hosts that go with the old name.
    fn check_hosts(&self, app: &App, new: &AppName) -> Result<(), PlatformError> {
        let names = self.host_names();
        let claims = app.settings.traffic.claims();
        let Some((claim, why)) =
            claims.filter_map(|claim| names.refusal(new, &claim.host).map(|why| (claim, why))).next()
        else {
            return Ok(());
        };
        let (name, is_own) = (&app.name, app.settings.traffic.own.contains(&claim));
        let take_away = if is_own { "domains:remove" } else { "redirect:unset" };
        Err(PlatformError::new(ErrorKind::Conflict, format!("{claim} cannot go along: {why}"))
            .hint(format!("{take_away} {name} {claim}")))
    }

    async fn record_rename(&self, old: &AppName, new: &AppName) -> Result<(), PlatformError> {
        let (from, to) = (old.clone(), new.clone());
        self.parts().store.call(move |store| store.rename_app(&from, &to)).await.map(drop).map_err(|error| {
            match error {
                StoreError::Conflict { name, why, .. } => PlatformError::new(
                    ErrorKind::Conflict,
                    format!("the app {name} cannot be renamed now: {why}"),
                )
                .hint("try again when it has ended"),
                error => error.into(),
            }
        })
    }

    /// All files stand under the new name.
    async fn finish_rename(&self, new: &AppName) -> Result<(), PlatformError> {
        let name = new.clone();
        Ok(self.parts().store.call(move |store: &Store| store.finish_rename(&name)).await?)
    }

    /// The old instances have gone on all the while: only records and files go back.
    async fn undo_rename(&self, old: &AppName, new: &AppName) -> Result<(), PlatformError> {
        self.finish_rename(new).await?;
        self.record_rename(new, old).await?;
        self.0.deployer.move_files(new, old).await.map_err(failed)?;
        self.finish_rename(old).await?;
        // Ends what was begun under the new name, and removes its links to the artifacts.
        self.0.deployer.destroy(new).await.map_err(failed)
    }
}

fn failed(failure: Failure) -> PlatformError {
    PlatformError::new(ErrorKind::Internal, failure.cause).hint(failure.hint)
}
