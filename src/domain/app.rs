//! An app and its formation.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    app_settings::AppSettings,
    names::{AppName, ProcessType, ReleaseNumber, UserId},
    time::UnixMillis,
};

/// How many instances of each process type should run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Formation(pub BTreeMap<ProcessType, u32>);

impl Formation {
    /// How many instances of `process` should run.
    pub fn count(&self, process: &ProcessType) -> u32 {
        self.0.get(process).copied().unwrap_or(0)
    }

    /// The formation of a new release: what an operator set wins over what `app.json` asks for, which wins
    /// over one of each process type. `release` and `run` are never part of it.
    pub fn resolve<'a>(
        processes: impl IntoIterator<Item = &'a ProcessType>,
        set_by_operator: &Formation,
        asked_by_app: &BTreeMap<ProcessType, u32>,
    ) -> Formation {
        let long_running = processes.into_iter().filter(|process| process.is_long_running());
        Formation(
            long_running
                .map(|process| {
                    let count = set_by_operator.0.get(process).or_else(|| asked_by_app.get(process));
                    (process.clone(), count.copied().unwrap_or(1))
                })
                .collect(),
        )
    }
}

impl fmt::Display for Formation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (process, count)) in self.0.iter().enumerate() {
            let gap = if at == 0 { "" } else { " " };
            write!(f, "{gap}{process}={count}")?;
        }
        Ok(())
    }
}

/// The record of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// Its name; unique on the host.
    pub name: AppName,
    /// Who created it and may do everything with it.
    pub owner: UserId,
    /// When it was created.
    pub created_at: UnixMillis,
    /// The branch whose pushes are deployed; `None` before the first deployment.
    pub deploy_branch: Option<String>,
    /// The release that is live.
    pub current_release: Option<ReleaseNumber>,
    /// The number that the last release got, whether or not it went live; 0 before the first.
    pub last_release: u32,
    /// What an operator set with `ps:scale`; empty means that the app decides.
    pub formation: Formation,
    /// What else operators set.
    #[serde(default, skip_serializing_if = "AppSettings::is_default")]
    pub settings: AppSettings,
}

impl App {
    /// A new app without a release.
    pub fn new(name: AppName, owner: UserId, created_at: UnixMillis) -> Self {
        Self {
            name,
            owner,
            created_at,
            deploy_branch: None,
            current_release: None,
            last_release: 0,
            formation: Formation::default(),
            settings: AppSettings::default(),
        }
    }
}
