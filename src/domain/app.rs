//! An app and its formation.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    app_settings::AppSettings,
    names::{AppName, ProcessType, ReleaseNumber, UserId},
    release::Release,
    time::UnixMillis,
};

/// How many instances of each process type should run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
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

impl Formation {
    /// What should run of a live release: what an operator has set since it was made wins over what it was made
    /// with. A process type that the release does not have is left out.
    pub fn of_live(release: &Release, set_by_operator: &Formation) -> Formation {
        let long_running = release.processes.keys().filter(|process| !process.is_release());
        let count = |process| {
            let asked = set_by_operator.0.get(process).or_else(|| release.formation.0.get(process));
            asked.copied().unwrap_or(1)
        };
        Formation(long_running.map(|process| (process.clone(), count(process))).collect())
    }

    /// How many instances that are.
    pub fn total(&self) -> u32 {
        self.0.values().sum()
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
    /// Whether an operator has stopped it: nothing of it runs, and visitors are told so, until it is started again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_stopped: bool,
    /// How often the instances of each process type were replaced by `ps:restart`. An instance carries the round that
    /// it was started in: after a crash in the middle of a restart those of the round that is recorded here stay.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rounds: BTreeMap<ProcessType, u32>,
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
            is_stopped: false,
            rounds: BTreeMap::new(),
        }
    }

    /// The round that the instances of a process type are in.
    pub fn round(&self, process: &ProcessType) -> u32 {
        self.rounds.get(process).copied().unwrap_or(0)
    }

    /// What of a live release should run now: nothing while the app is stopped.
    pub fn wanted(&self, release: &Release) -> Formation {
        if self.is_stopped {
            return Formation::default();
        }
        Formation::of_live(release, &self.formation)
    }
}
