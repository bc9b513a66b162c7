//! What an operator says about an app's repository and what its builds see of it.

use serde::{Deserialize, Serialize};

use crate::remote_url::RemoteUrl;

/// The variable that holds the commit, unless an operator names another.
pub const REV_ENV_VAR: &str = "GIT_REV";

/// Settings of `git:set`. The branch that is deployed stands in the record of the app itself: a push decides it, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GitSettings {
    /// Whether a build finds a `.git` folder with the history of its commit; it does not where nobody says so.
    pub keep_git_dir: Option<bool>,
    /// The variable in which an app finds its commit; [`REV_ENV_VAR`] where none is named.
    pub rev_env_var: Option<String>,
    /// The repository that `git:sync` fetched last: what relative URLs of submodules are relative to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteUrl>,
}

impl GitSettings {
    /// What holds for an app that says this, where those hold for all.
    #[must_use]
    pub fn over(&self, defaults: &Self) -> Self {
        Self {
            keep_git_dir: self.keep_git_dir.or(defaults.keep_git_dir),
            rev_env_var: self.rev_env_var.clone().or_else(|| defaults.rev_env_var.clone()),
            remote: self.remote.clone(),
        }
    }

    /// Whether a build finds a `.git` folder.
    pub fn keeps_git_dir(&self) -> bool {
        self.keep_git_dir.unwrap_or(false)
    }

    /// The variable in which an app finds its commit.
    pub fn rev_env_var(&self) -> &str {
        self.rev_env_var.as_deref().unwrap_or(REV_ENV_VAR)
    }
}
