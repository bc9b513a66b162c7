//! Who may do what. One function for every door; what it does not name is refused.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    account::Reach,
    names::{Invalid, UserId},
};

/// What somebody may do with one app.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May look.
    Viewer,
    /// May also push and operate.
    Deployer,
    /// May also destroy, and decide who else may.
    Admin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Role; 3] = [Role::Viewer, Role::Deployer, Role::Admin];

    /// Its name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Deployer => "deployer",
            Role::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|role| role.name() == given);
        found.ok_or_else(|| Invalid::new("role", given, "choose viewer, deployer or admin"))
    }
}

/// Somebody who has proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The user.
    pub user: UserId,
    /// Whether the whole platform is theirs to run.
    pub is_admin: bool,
    /// What people see in messages and in the audit log.
    pub name: String,
    /// Where they came from; `None` where the door has no address.
    pub from: Option<IpAddr>,
    /// How far their proof carries: an API key may be good for less than its owner may do.
    pub reach: Reach,
}

/// What somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Create an app.
    CreateApp,
    /// See that an app exists, its state, its URL.
    ViewApp,
    /// Read an app's logs.
    ReadLogs,
    /// Fetch an app's code.
    FetchCode,
    /// Push to an app.
    Push,
    /// Operate an app: scale, restart, say how it is reached, stored, built and checked.
    Operate,
    /// Run a command in an app's environment.
    RunCommand,
    /// Decide who else may use an app.
    ManageMembers,
    /// Destroy an app, or give it another name.
    DestroyApp,
    /// Read and change an app's config.
    ManageConfig,
    /// Say how an app logs in to image registries.
    ManageRegistries,
    /// See how busy the host is, and every app on it.
    WatchHost,
    /// Change what counts for every app of the host.
    ManageHost,
}

/// Decides. `role` is the actor's role on the app that the action is about; `None` where there is none.
pub fn allows(actor: &Actor, role: Option<Role>, action: Action) -> bool {
    actor.reach.covers(action) && may(actor, role, action)
}

fn may(actor: &Actor, role: Option<Role>, action: Action) -> bool {
    let needed = match action {
        Action::CreateApp => return true,
        Action::WatchHost | Action::ManageHost => return actor.is_admin,
        Action::ViewApp | Action::ReadLogs => Role::Viewer,
        Action::FetchCode
        | Action::Push
        | Action::Operate
        | Action::RunCommand
        | Action::ManageConfig
        | Action::ManageRegistries => Role::Deployer,
        Action::ManageMembers | Action::DestroyApp => Role::Admin,
    };
    actor.is_admin || role.is_some_and(|role| role >= needed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Scope;

    #[test]
    fn the_matrix() {
        let user = |is_admin| Actor {
            user: "00000000-0000-0000-0000-000000000001".parse().unwrap(),
            is_admin,
            name: "ada".into(),
            from: None,
            reach: Reach::Full,
        };
        let roles = [None, Some(Role::Viewer), Some(Role::Deployer), Some(Role::Admin)];
        let rows = [
            (Action::CreateApp, [true, true, true, true]),
            (Action::ViewApp, [false, true, true, true]),
            (Action::ReadLogs, [false, true, true, true]),
            (Action::FetchCode, [false, false, true, true]),
            (Action::Push, [false, false, true, true]),
            (Action::Operate, [false, false, true, true]),
            (Action::RunCommand, [false, false, true, true]),
            (Action::ManageConfig, [false, false, true, true]),
            (Action::ManageRegistries, [false, false, true, true]),
            (Action::ManageMembers, [false, false, false, true]),
            (Action::DestroyApp, [false, false, false, true]),
        ];
        for (action, expected) in rows {
            for (role, expected) in roles.into_iter().zip(expected) {
                assert_eq!(allows(&user(false), role, action), expected, "{action:?} as {role:?}");
                assert!(allows(&user(true), role, action), "{action:?} as platform admin");
            }
        }
        for role in roles {
            assert!(!allows(&user(false), role, Action::ManageHost), "the host as {role:?}");
        }
        assert!(allows(&user(true), None, Action::ManageHost));
        assert!(
            allows(&user(true), None, Action::WatchHost) && !allows(&user(false), None, Action::WatchHost)
        );
    }

    #[test]
    fn an_api_key_is_good_for_no_more_than_its_scopes_and_its_owner() {
        let user = "00000000-0000-0000-0000-000000000001".parse().unwrap();
        let reach = Reach::Scopes(vec![Scope::Deploy]);
        let admin = Actor { user, is_admin: true, name: "ada".into(), from: None, reach };
        assert!(allows(&admin, None, Action::Push) && !allows(&admin, None, Action::ManageHost));
        let nobody = Actor { is_admin: false, ..admin };
        assert!(!allows(&nobody, None, Action::Push) && allows(&nobody, Some(Role::Deployer), Action::Push));
        assert!(!allows(&nobody, Some(Role::Admin), Action::DestroyApp));
    }

    #[test]
    fn a_role_is_written_as_it_is_read() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse::<Role>().unwrap(), role);
        }
        for bad in ["", "owner", "Admin", "root"] {
            assert!(bad.parse::<Role>().is_err(), "{bad}");
        }
    }
}
