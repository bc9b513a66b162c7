//! What an admin says about the code and the builds of every app; an app's own settings win over it.

use serde::{Deserialize, Serialize};

use crate::{build_settings::BuildSettings, git_settings::GitSettings, push::DEFAULT_DEPLOY_BRANCHES};

/// The defaults of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostDefaults {
    /// The branch that is deployed where an app has none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deploy_branch: Option<String>,
    /// How code is kept and shown to builds.
    pub git: GitSettings,
    /// How apps are built.
    pub build: BuildSettings,
}

impl HostDefaults {
    /// The branch of which a push is deployed, where one is set for the app or for all.
    pub fn deploy_branch<'a>(&'a self, own: Option<&'a str>) -> Option<&'a str> {
        own.or(self.deploy_branch.as_deref())
    }

    /// The branch that code gets which comes by no push, and that a report shows.
    pub fn computed_deploy_branch<'a>(&'a self, own: Option<&'a str>) -> &'a str {
        self.deploy_branch(own).unwrap_or(DEFAULT_DEPLOY_BRANCHES[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_app_says_itself_wins() {
        let mut host = HostDefaults::default();
        assert_eq!((host.deploy_branch(None), host.computed_deploy_branch(None)), (None, "main"));
        host.deploy_branch = Some("trunk".into());
        assert_eq!(
            (host.deploy_branch(None), host.computed_deploy_branch(Some("own"))),
            (Some("trunk"), "own")
        );

        let git = GitSettings { keep_git_dir: Some(true), rev_env_var: Some("REV".into()), remote: None };
        let own = GitSettings { keep_git_dir: Some(false), ..GitSettings::default() };
        let computed = own.over(&git);
        assert_eq!((computed.keeps_git_dir(), computed.rev_env_var()), (false, "REV"));
        assert!(GitSettings::default().over(&git).keeps_git_dir());

        let build = BuildSettings { build_dir: "site".parse().ok(), ..BuildSettings::default() };
        let own = BuildSettings { dockerfile_path: "x/Dockerfile".parse().ok(), ..BuildSettings::default() };
        let computed = own.over(&build);
        assert_eq!((computed.build_dir, computed.dockerfile_path), (build.build_dir, own.dockerfile_path));
    }
}
