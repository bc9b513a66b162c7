//! Members of an app: who may do what with it besides its owner.

use autostack_domain::{
    AppName, User,
    permission::{Action, Actor, Role},
};
use autostack_store::Store;
use serde::Serialize;

use crate::{
    error::{ErrorKind, PlatformError},
    platform::Platform,
    users::{address_of, short_name},
};

/// A member as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct MemberView {
    /// Who: an address, or a name where the user was made without one.
    pub user: String,
    /// What they may do.
    pub role: Role,
    /// Whether the app is theirs.
    pub is_owner: bool,
}

impl Platform {
    /// Gives somebody a role on an app, in place of the one before.
    pub async fn add_member(
        &self,
        actor: &Actor,
        app: &AppName,
        user: &str,
        role: Role,
    ) -> Result<MemberView, PlatformError> {
        let record = self.app_for(actor, app, Action::ManageMembers, "decide who may use").await?;
        let user = self.known_user(user).await?;
        let view = MemberView { user: short_name(&user.email).to_owned(), role, is_owner: false };
        if user.id == record.owner {
            let message = format!("the app {app} belongs to {}, who may do everything with it", view.user);
            return Err(PlatformError::new(ErrorKind::Conflict, message));
        }
        let name = app.clone();
        self.parts().store.call(move |store| store.set_role(&name, &user.id, Some(role))).await?;
        self.event(actor, app, "access:add", format!("{} as {role}", view.user));
        self.rights_changed();
        Ok(view)
    }

    /// Who may use an app: its owner first.
    pub async fn members(&self, actor: &Actor, app: &AppName) -> Result<Vec<MemberView>, PlatformError> {
        let record = self.app_for(actor, app, Action::ViewApp, "see").await?;
        let name = app.clone();
        let members = self.parts().store.call(move |store: &Store| store.members(&name)).await?;
        let view = |(user, role): (User, Role)| MemberView {
            user: short_name(&user.email).to_owned(),
            role,
            is_owner: user.id == record.owner,
        };
        Ok(members.into_iter().map(view).collect())
    }

    /// Takes a role away; everybody may give up their own. What they have open at the app ends.
    pub async fn remove_member(
        &self,
        actor: &Actor,
        app: &AppName,
        user: &str,
    ) -> Result<MemberView, PlatformError> {
        let record = self.app_for(actor, app, Action::ViewApp, "see").await?;
        let known = self.known_user(user).await;
        if !known.as_ref().is_ok_and(|user| user.id == actor.user) {
            self.app_for(actor, app, Action::ManageMembers, "decide who may use").await?;
        }
        let user = known?;
        let shown = short_name(&user.email).to_owned();
        if user.id == record.owner {
            let message = format!("the app {app} belongs to {shown}, who cannot lose it");
            return Err(PlatformError::new(ErrorKind::Conflict, message));
        }
        let (name, id) = (app.clone(), user.id.clone());
        let take = move |store: &Store| {
            let role = store.role(&name, &id)?;
            store.set_role(&name, &id, None).map(|()| role)
        };
        let Some(role) = self.parts().store.call(take).await? else {
            return Err(PlatformError::new(
                ErrorKind::Conflict,
                format!("the user {shown} has no role on {app}"),
            )
            .hint(format!("access:list {app} shows who has")));
        };
        self.event(actor, app, "access:remove", shown.clone());
        self.rights_changed();
        Ok(MemberView { user: shown, role, is_owner: false })
    }

    async fn known_user(&self, given: &str) -> Result<User, PlatformError> {
        let email = address_of(given)?;
        self.user_with(&email).await?.ok_or_else(|| {
            PlatformError::new(ErrorKind::Conflict, format!("there is no user {}", short_name(&email)))
                .hint("an admin lets somebody in with ssh-keys:add NAME")
        })
    }
}
