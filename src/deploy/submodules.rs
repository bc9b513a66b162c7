//! The submodules of a commit: each is fetched from where `.gitmodules` says, at the commit that the tree names, and
//! written into its place as the commit itself was. Git's own recursion has no part in it: no configuration of a
//! submodule is read, no hook runs, and what is fetched is gone when it is written.

use std::{collections::VecDeque, path::Path, time::Duration};

use autostack_domain::{Failure, FailureKind, RemoteUrl, Stage, limits, submodule};
use autostack_git::{
    Access, Incoming, RemoteError, Source, SourceError, SourceLimits, SourceReport, Submodule,
};
use tokio::time::timeout;

use crate::{
    deployer::{Job, Parts},
    ending::{cancelled, internal, store_failure},
    workspace::Workspace,
};

/// One that waits to be fetched.
struct Waiting {
    /// Its place below the commit that is deployed, and which commit of its own belongs there.
    submodule: Submodule,
    /// Where the code came from that has it, where that is known.
    of: Option<RemoteUrl>,
    /// How many it is within.
    depth: usize,
}

/// What fetching needs, and what room is left.
struct Fetching<'a> {
    job: &'a Job,
    work: &'a Workspace,
    parts: &'a Parts,
    access: Access,
    left: SourceLimits,
    waiting: VecDeque<Waiting>,
    count: usize,
}

/// Fetches the submodules of an exported commit, and theirs; all of them within the time of one fetch.
pub(crate) async fn fetch(
    report: &SourceReport,
    of: Option<&RemoteUrl>,
    job: &Job,
    work: &Workspace,
    parts: &Parts,
) -> Result<(), Failure> {
    if report.submodules.is_empty() {
        return Ok(());
    }
    let access = parts.access(&job.app).await.map_err(|error| store_failure(Stage::Source, &error))?;
    let left = SourceLimits::default();
    let mut fetching = Fetching { job, work, parts, access, left, waiting: VecDeque::new(), count: 0 };
    fetching.take_in(report, "", of, 1)?;
    let seconds = limits::FETCH_SECONDS_MAX;
    let all = timeout(Duration::from_secs(seconds), fetching.fetch_all()).await;
    all.unwrap_or_else(|_elapsed| {
        let cause = format!("fetching the submodules took longer than {seconds} s");
        Err(Failure::new(Stage::Source, FailureKind::TimedOut, cause)
            .hint("try again, or commit the files of the submodules"))
    })
}

impl Fetching<'_> {
    /// What a commit holds is taken from the room that is left, and its submodules wait.
    fn take_in(
        &mut self,
        report: &SourceReport,
        place: &str,
        of: Option<&RemoteUrl>,
        depth: usize,
    ) -> Result<(), Failure> {
        self.left.files_max = self.left.files_max.saturating_sub(report.files);
        self.left.bytes_max = self.left.bytes_max.saturating_sub(report.bytes);
        self.count += report.submodules.len();
        let refuse = |cause: String| {
            let hint = "commit the files of the submodules instead";
            Err(Failure::new(Stage::Source, FailureKind::OverLimit, cause).hint(hint))
        };
        if self.count > limits::SUBMODULES_MAX {
            let (count, limit) = (self.count, limits::SUBMODULES_MAX);
            return refuse(format!("the commit has at least {count} submodules, and the limit is {limit}"));
        }
        if depth > limits::SUBMODULE_DEPTH_MAX && !report.submodules.is_empty() {
            let limit = limits::SUBMODULE_DEPTH_MAX;
            return refuse(format!("{place} holds submodules too deep within submodules: {limit} at most"));
        }
        for submodule in &report.submodules {
            let mut submodule = submodule.clone();
            if !place.is_empty() {
                submodule.path = format!("{place}/{}", submodule.path);
            }
            self.waiting.push_back(Waiting { submodule, of: of.cloned(), depth });
        }
        Ok(())
    }

    async fn fetch_all(&mut self) -> Result<(), Failure> {
        while let Some(Waiting { submodule, of, depth }) = self.waiting.pop_front() {
            let url = submodule::resolve(&submodule.url, of.as_ref()).map_err(|why| {
                let cause = format!("submodule {} cannot be fetched: {why}", submodule.path);
                Failure::new(Stage::Source, FailureKind::BadSource, cause)
                    .hint("correct .gitmodules, commit, and push again")
            })?;
            self.job.log.step(format!(
                "Fetching submodule {} ({}) of {url}",
                submodule.path,
                submodule.commit.short()
            ));
            let report = self.fetch_one(&submodule, &url).await?;
            let files = if report.files == 1 { "file" } else { "files" };
            self.job.log.detail(format!("{} {files}", report.files));
            report.notes.iter().for_each(|note| self.job.log.trouble(format!("{}: {note}", submodule.path)));
            self.take_in(&report, &submodule.path, Some(&url), depth + 1)?;
        }
        Ok(())
    }

    async fn fetch_one(&self, submodule: &Submodule, url: &RemoteUrl) -> Result<SourceReport, Failure> {
        let Self { job, parts, access, .. } = self;
        let repository = parts.repositories.path(&job.app);
        let _place = tokio::select! {
            () = job.cancel.cancelled() => return Err(cancelled(Stage::Source)),
            place = parts.fetches.acquire() => place,
        };
        let incoming = Incoming::begin(&repository).await.map_err(|error| {
            Failure::from(SourceError::Write { path: submodule.path.clone(), source: error })
        })?;
        let bytes_max = parts.settings().git.pack_bytes_max;
        let fetched = access.fetch_commit(url, &submodule.commit, &incoming, bytes_max, &job.cancel).await;
        fetched.map_err(|error| not_fetched(submodule, error))?;
        let limits = self.room_for(&submodule.path);
        let (commit, dest) = (submodule.commit.clone(), self.work.dir.join(Path::new(&submodule.path)));
        let cancel = job.cancel.clone();
        let write = move || -> Result<SourceReport, SourceError> {
            let source = Source::open(&repository, Some(incoming.path()))?;
            let report = source.inspect_until(&commit, &limits, &cancel)?;
            source.export(&report, &dest, &cancel)?;
            Ok(report)
        };
        match parts.tasks.blocking("export submodule", write).await {
            Ok(Ok(report)) => Ok(report),
            Ok(Err(SourceError::Cancelled)) => Err(cancelled(Stage::Source)),
            Ok(Err(error)) => {
                let mut failure = Failure::from(error);
                failure.cause = format!("in submodule {}: {}", submodule.path, failure.cause);
                Err(failure)
            }
            Err(panic) => Err(internal(Stage::Source, &panic)),
        }
    }

    /// What a commit at this place may hold.
    fn room_for(&self, place: &str) -> SourceLimits {
        let mut limits = self.left.clone();
        limits.path_bytes_max = limits.path_bytes_max.saturating_sub(place.len() + 1);
        limits.depth_max = limits.depth_max.saturating_sub(place.split('/').count());
        limits
    }
}

fn not_fetched(submodule: &Submodule, error: RemoteError) -> Failure {
    let kind = match error {
        RemoteError::Keep(source) => {
            return SourceError::Write { path: submodule.path.clone(), source }.into();
        }
        RemoteError::Cancelled => return cancelled(Stage::Source),
        RemoteError::TooLarge { .. } => FailureKind::OverLimit,
        RemoteError::TimedOut { .. } => FailureKind::TimedOut,
        RemoteError::GitMissing(_) => FailureKind::MissingTool,
        _ => FailureKind::BadSource,
    };
    let hint = match &error {
        RemoteError::Git { .. } => {
            "check that the submodule's commit is there: git push --recurse-submodules=on-demand ORIGIN"
        }
        other => other.hint(),
    };
    let commit = submodule.commit.short();
    let cause = format!("submodule {} cannot be fetched at {commit}: {error}", submodule.path);
    Failure::new(Stage::Source, kind, cause).hint(hint)
}
