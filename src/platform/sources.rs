//! Code that comes by no push: from an archive that is sent or fetched, or from a repository elsewhere. It becomes a
//! commit on the app's deploy branch, and goes the way of a pushed one: the branch moves when the commit is live.

use std::{fs::File, io, time::Duration};

use autostack_base::clock;
use autostack_deploy::{ArchiveBytes, Input, Pushed};
use autostack_domain::{
    App, AppName, CommitId, EnvMap, Failure, FailureKind, Line, RefName, RemoteHost, RemoteUrl, Stage,
    limits,
    permission::{Action, Actor},
};
use autostack_git::{
    ArchiveError, ArchiveKind, CommitWords, Incoming, RemoteError, RemoteRef, Source, SourceLimits, import,
};
use autostack_logs::Offset;
use autostack_store::Store;
use futures_util::StreamExt;
use tokio::{io::AsyncWriteExt, sync::SemaphorePermit, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    config::refused,
    deployments::Outcome,
    error::{ErrorKind, PlatformError},
    keys::check_host,
    platform::Platform,
    screen::{Screen, follow, show_all},
};

/// Where an archive comes from.
pub enum ArchiveSource {
    /// Over the connection.
    Sent(ArchiveBytes),
    /// From there.
    Url(RemoteUrl),
}

/// What somebody says of an archive.
#[derive(Debug, Clone, Default)]
pub struct ArchiveWords {
    /// How it is packed; its first bytes say it, too.
    pub kind: Option<ArchiveKind>,
    /// Who the commit is from.
    pub author: Option<(String, String)>,
}

/// What becomes of code that was fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterSync {
    /// It is stored.
    Store,
    /// It is deployed.
    Deploy,
    /// It is deployed unless the deploy branch names it already.
    DeployIfChanged,
}

/// How fetching went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synced {
    /// It is stored; the branch names it.
    Stored,
    /// The branch named it already.
    Unchanged,
    /// It was deployed.
    Deployed(Outcome),
}

/// Where code goes.
struct Target {
    git_ref: RefName,
    head: Option<CommitId>,
    incoming: Incoming,
    /// Where it comes from, if it is a repository.
    remote: Option<RemoteUrl>,
}

impl Platform {
    /// Makes a commit of an archive and takes it live.
    pub async fn deploy_source_archive(
        &self,
        actor: &Actor,
        name: &AppName,
        source: ArchiveSource,
        words: ArchiveWords,
        screen: &mut impl Screen,
        gone: &CancellationToken,
    ) -> Result<Outcome, PlatformError> {
        let app = self.app_for(actor, name, Action::Push, "deploy").await?;
        let fetching = self.may_fetch(name, gone).await?;
        let target = self.target(&app).await?;
        let file = target.incoming.spool().map_err(|error| unkept(&error))?;
        let from = match &source {
            ArchiveSource::Sent(_) => "an archive that is sent".to_owned(),
            ArchiveSource::Url(url) => url.to_string(),
        };
        show(screen, Line::step(format!("Reading {from}"))).await?;
        let copy = file.try_clone().map_err(|error| unkept(&error))?;
        match source {
            ArchiveSource::Sent(bytes) => spool(bytes, copy, gone).await?,
            ArchiveSource::Url(url) => {
                let access = self.parts().access(name).await?;
                let fetched = tokio::select! {
                    () = gone.cancelled() => Err(RemoteError::Cancelled),
                    fetched = access.download(&url, copy, limits::SOURCE_ARCHIVE_BYTES_MAX) => fetched,
                };
                fetched.map_err(|error| not_fetched(&error))?;
            }
        }
        let (target, commit, files) = self.import(target, file, words, &from, gone).await?;
        drop(fetching);
        let count = if files == 1 { "1 file".to_owned() } else { format!("{files} files") };
        show(
            screen,
            Line::detail(format!("{count}, commit {} on {}", commit.short(), target.git_ref.short())),
        )
        .await?;
        self.deploy_commit(actor, name, commit, target, screen, gone).await
    }

    async fn import(
        &self,
        target: Target,
        file: File,
        words: ArchiveWords,
        from: &str,
        gone: &CancellationToken,
    ) -> Result<(Target, CommitId, u64), PlatformError> {
        let (name, email) =
            words.author.unwrap_or_else(|| ("autostack".to_owned(), "autostack@localhost".to_owned()));
        let commit = CommitWords {
            message: format!("Deploy {from}\n"),
            name,
            email,
            seconds: clock::now().0 / 1000,
            parent: target.head.clone(),
        };
        let cancel = gone.clone();
        let import = move || {
            let limits = SourceLimits::default();
            let imported = import(&target.incoming, file, words.kind, &commit, limits, &cancel);
            imported.map(|imported| (target, imported.commit, imported.files))
        };
        match self.parts().tasks.blocking("read archive", import).await {
            Ok(read) => read.map_err(|error| bad_archive(&error)),
            Err(panic) => Err(PlatformError::internal("the archive cannot be read", &panic)),
        }
    }

    /// Fetches a ref of a repository elsewhere to the app's deploy branch.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is another thing, and a struct would only rename them"
    )]
    pub async fn sync(
        &self,
        actor: &Actor,
        name: &AppName,
        url: &RemoteUrl,
        wanted: &RemoteRef,
        after: AfterSync,
        screen: &mut impl Screen,
        gone: &CancellationToken,
    ) -> Result<Synced, PlatformError> {
        let app = self.app_for(actor, name, Action::Push, "deploy").await?;
        let fetching = self.may_fetch(name, gone).await?;
        let target = Target { remote: Some(url.clone()), ..self.target(&app).await? };
        show(screen, Line::step(format!("Fetching {wanted} of {url}"))).await?;
        let access = self.parts().access(name).await?;
        let bytes_max = self.parts().settings.borrow().git.pack_bytes_max;
        let fetched = access
            .fetch(url, wanted, &target.incoming, bytes_max, gone)
            .await
            .map_err(|error| not_fetched(&error))?;
        drop(fetching);
        let (target, commit) = self.inspect_fetched(target, fetched.id, gone).await?;
        let is_same = target.head.as_ref() == Some(&commit);
        show(screen, Line::detail(format!("Commit {} for {}", commit.short(), target.git_ref.short())))
            .await?;
        match after {
            AfterSync::DeployIfChanged | AfterSync::Store if is_same => Ok(Synced::Unchanged),
            AfterSync::Store => {
                let (app, branch) = (name.clone(), target.git_ref.short().to_owned());
                self.accept(name, target, commit.clone()).await?;
                let remote = url.clone();
                let set = move |store: &Store| {
                    store.update_app(&app, |app| {
                        app.deploy_branch = app.deploy_branch.take().or(Some(branch));
                        app.settings.git.remote = Some(remote);
                    })
                };
                self.parts().store.call(set).await?;
                self.event(actor, name, "git:sync", format!("stored {} of {url}", commit.short()));
                Ok(Synced::Stored)
            }
            AfterSync::Deploy | AfterSync::DeployIfChanged => {
                let outcome = self.deploy_commit(actor, name, commit, target, screen, gone).await?;
                if let Outcome::Live(_) = outcome {
                    let (app, remote) = (name.clone(), url.clone());
                    let set = move |store: &Store| {
                        store.update_app(&app, |app| app.settings.git.remote = Some(remote))
                    };
                    self.parts().store.call(set).await?;
                }
                Ok(Synced::Deployed(outcome))
            }
        }
    }

    /// Deploys a ref of the app's own repository: the deploy branch moves to it, as after a push of it.
    pub async fn deploy_ref(
        &self,
        actor: &Actor,
        name: &AppName,
        wanted: &RemoteRef,
        screen: &mut impl Screen,
        gone: &CancellationToken,
    ) -> Result<Outcome, PlatformError> {
        let app = self.app_for(actor, name, Action::Push, "deploy").await?;
        drop(self.may_fetch(name, gone).await?);
        let target = self.target(&app).await?;
        let (repositories, owner, asked) = (self.parts().repositories.clone(), name.clone(), wanted.clone());
        let resolve = move || match asked.commit() {
            Some(commit) => Ok(Some(commit)),
            None => asked
                .names()
                .iter()
                .find_map(|name| repositories.head_of(&owner, name).transpose())
                .transpose(),
        };
        let found = self.parts().tasks.blocking("read ref", resolve).await;
        let found = found
            .map_err(|panic| PlatformError::internal("the app's repository cannot be read", &panic))??;
        let Some(id) = found else {
            let message = format!("the repository of {name} has no {wanted}");
            return Err(PlatformError::new(ErrorKind::Conflict, message).hint("push it, or give git_url"));
        };
        let (target, commit) = self.inspect_fetched(target, id, gone).await?;
        self.deploy_commit(actor, name, commit, target, screen, gone).await
    }

    /// Looks through what was fetched; what a tag stands for, where it is one.
    async fn inspect_fetched(
        &self,
        target: Target,
        id: CommitId,
        gone: &CancellationToken,
    ) -> Result<(Target, CommitId), PlatformError> {
        let cancel = gone.clone();
        let inspect = move || {
            let source = Source::open(target.incoming.repository(), Some(target.incoming.path()))?;
            let report = source.inspect_until(&id, &SourceLimits::default(), &cancel)?;
            Ok::<_, autostack_git::SourceError>((target, report.commit))
        };
        match self.parts().tasks.blocking("inspect", inspect).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => {
                let message = autostack_base::error_chain(&error);
                Err(PlatformError::new(ErrorKind::Conflict, message)
                    .hint("correct the commit, then fetch it again"))
            }
            Err(panic) => Err(PlatformError::internal("the fetched objects cannot be read", &panic)),
        }
    }

    /// A place among the few that fetch at once, in an app that may be deployed to.
    async fn may_fetch(
        &self,
        name: &AppName,
        gone: &CancellationToken,
    ) -> Result<SemaphorePermit<'_>, PlatformError> {
        self.check_space()?;
        self.0.leaving.check(name)?;
        self.make_repository(name).await?;
        tokio::select! {
            () = gone.cancelled() => Err(cancelled()),
            permit = self.parts().fetches.acquire() => permit.map_err(|closed| PlatformError::internal("nothing can be fetched", &closed)),
        }
    }

    async fn target(&self, app: &App) -> Result<Target, PlatformError> {
        let host = self.parts().store.call(Store::host_defaults).await?;
        let git_ref = RefName::of_branch(host.computed_deploy_branch(app.deploy_branch.as_deref()))?;
        let (repositories, name, head_of) =
            (self.parts().repositories.clone(), app.name.clone(), git_ref.clone());
        let head =
            self.parts().tasks.blocking("read ref", move || repositories.head_of(&name, &head_of)).await;
        let head =
            head.map_err(|panic| PlatformError::internal("the app's repository cannot be read", &panic))??;
        let incoming = Incoming::begin(&self.parts().repositories.path(&app.name)).await;
        Ok(Target { git_ref, head, incoming: incoming.map_err(|error| unkept(&error))?, remote: None })
    }

    /// Takes a commit among incoming objects through the pipeline; the branch moves when it is prepared, as git moves
    /// it for a push, and then it goes live. A crash in between is settled as that of a push is.
    async fn deploy_commit(
        &self,
        actor: &Actor,
        name: &AppName,
        commit: CommitId,
        target: Target,
        screen: &mut impl Screen,
        gone: &CancellationToken,
    ) -> Result<Outcome, PlatformError> {
        let null: CommitId = "0".repeat(40).parse()?;
        let pushed = Pushed {
            commit: commit.clone(),
            replaces: target.head.clone().unwrap_or(null),
            git_ref: target.git_ref.clone(),
            quarantine: Some(target.incoming.path().to_owned()),
            remote: target.remote.clone(),
            env: EnvMap::new(),
        };
        let cancel = gone.child_token();
        let job = self.record_job(actor, name, Input::Commit(pushed), cancel.clone()).await?;
        screen.begun(&job.id);
        let (id, log) = (job.id.clone(), job.log.clone());
        tracing::info!(app = %name, deployment = %id, by = actor.name, "deployment asked for");
        let mut reader = log.stream().reader(Offset::START);
        let ended = CancellationToken::new();
        let live = async {
            let outcome = self.go_live_by_ref(name, &id, job, commit, target, &cancel).await;
            ended.cancel();
            outcome
        };
        let (outcome, shown) = tokio::join!(live, follow(&mut reader, screen, &ended, &cancel));
        match outcome {
            Ok(number) => Ok(Outcome::Live(number)),
            Err(failure) => {
                // The end of a log that was closed in order is the failure itself.
                if shown.is_err() || !log.stream().is_sealed() || log.lost() > 0 {
                    show_all(screen, failure.lines()).await;
                }
                Ok(Outcome::Failed)
            }
        }
    }

    async fn go_live_by_ref(
        &self,
        name: &AppName,
        id: &autostack_domain::DeploymentId,
        job: autostack_deploy::Job,
        commit: CommitId,
        target: Target,
        cancel: &CancellationToken,
    ) -> Result<autostack_domain::ReleaseNumber, Failure> {
        let number = self.0.deployer.prepare(job).await?;
        let moved =
            if cancel.is_cancelled() { Err(cancelled()) } else { self.accept(name, target, commit).await };
        if let Err(error) = moved {
            let cause = format!("the branch could not be moved: {}", error.message);
            let failure = Failure::new(Stage::Switch, FailureKind::Cancelled, cause).hint("try again");
            self.0.deployer.discard(name, id, failure.clone()).await?;
            return Err(failure);
        }
        self.0.deployer.commit(name, id).await?;
        Ok(number)
    }

    /// Keeps the incoming objects and moves the branch to the commit.
    async fn accept(&self, name: &AppName, target: Target, commit: CommitId) -> Result<(), PlatformError> {
        let (repositories, app) = (self.parts().repositories.clone(), name.clone());
        let null: CommitId = "0".repeat(40).parse()?;
        let accept = move || -> Result<(), PlatformError> {
            target.incoming.accept().map_err(|error| unkept(&error))?;
            let old = target.head.unwrap_or(null);
            if old != commit {
                repositories.move_ref(&app, &target.git_ref, &old, &commit)?;
            }
            Ok(())
        };
        let accepted = self.parts().tasks.blocking("move branch", accept).await;
        accepted.map_err(|panic| PlatformError::internal("the branch cannot be moved", &panic))?
    }

    /// Makes the repository of an app, unless it is there.
    pub async fn initialize_repository(&self, actor: &Actor, name: &AppName) -> Result<(), PlatformError> {
        self.app_for(actor, name, Action::Push, "push to").await?;
        self.0.leaving.check(name)?;
        self.make_repository(name).await
    }

    /// Lets apps fetch from a host of the operator's own network, or takes that back.
    pub async fn allow_git_host(
        &self,
        actor: &Actor,
        host: &RemoteHost,
        allow: bool,
    ) -> Result<(), PlatformError> {
        check_host(actor, "say which hosts apps may fetch from")?;
        let named = host.clone();
        let change = move |store: &Store| {
            if allow { store.allow_git_host(&named).map(|()| true) } else { store.forbid_git_host(&named) }
        };
        if !self.parts().store.call(change).await.map_err(refused)? {
            let message = format!("{host} was not allowed");
            return Err(
                PlatformError::new(ErrorKind::Conflict, message).hint("git:report --global shows what is")
            );
        }
        let what = if allow { "apps may fetch from" } else { "apps may no longer fetch from" };
        self.event(actor, None, "git:allow-host", format!("{what} {host}"));
        Ok(())
    }

    /// The hosts of the operator's own network that apps may fetch from.
    pub async fn git_hosts(&self, actor: &Actor) -> Result<Vec<RemoteHost>, PlatformError> {
        check_host(actor, "see what holds for the whole host")?;
        Ok(self.parts().store.call(|store: &Store| store.git_hosts()).await?)
    }
}

/// Writes what is sent into a file.
async fn spool(mut bytes: ArchiveBytes, file: File, gone: &CancellationToken) -> Result<(), PlatformError> {
    let mut file = tokio::fs::File::from_std(file);
    let mut left = limits::SOURCE_ARCHIVE_BYTES_MAX;
    let copied = async {
        while let Some(chunk) = bytes.next().await {
            let chunk = chunk.map_err(|error| unkept(&error))?;
            let Some(less) = left.checked_sub(chunk.len() as u64) else {
                let limit = limits::SOURCE_ARCHIVE_BYTES_MAX >> 20;
                return Err(PlatformError::new(
                    ErrorKind::Conflict,
                    format!("the archive is larger than {limit} MiB"),
                )
                .hint("leave out what the app does not need to run"));
            };
            left = less;
            file.write_all(&chunk).await.map_err(|error| unkept(&error))?;
        }
        file.flush().await.map_err(|error| unkept(&error))
    };
    let limit = Duration::from_secs(limits::FETCH_SECONDS_MAX);
    tokio::select! {
        () = gone.cancelled() => Err(cancelled()),
        copied = timeout(limit, copied) => copied.unwrap_or_else(|_| {
            let message = format!("the archive did not come within {} s", limits::FETCH_SECONDS_MAX);
            Err(PlatformError::new(ErrorKind::Conflict, message).hint("send a smaller one, or give its URL"))
        }),
    }
}

async fn show(screen: &mut impl Screen, line: Line) -> Result<(), PlatformError> {
    screen.show(line).await.map_err(|_gone| cancelled())
}

fn cancelled() -> PlatformError {
    PlatformError::new(ErrorKind::Conflict, "it was ended before anything was changed").hint("try again")
}

fn unkept(error: &io::Error) -> PlatformError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => PlatformError::no_space(),
        _ => PlatformError::internal("what was brought cannot be kept", error),
    }
}

fn not_fetched(error: &RemoteError) -> PlatformError {
    let message = match error {
        RemoteError::Keep(source) => return unkept(source),
        other => other.to_string(),
    };
    PlatformError::new(ErrorKind::Conflict, message).hint(error.hint())
}

fn bad_archive(error: &ArchiveError) -> PlatformError {
    let hint = match error {
        ArchiveError::Cancelled => return cancelled(),
        ArchiveError::Store(_) => {
            return PlatformError::internal("the files of the archive cannot be kept", error);
        }
        ArchiveError::OverLimit { .. } => "leave out what the app does not need to run",
        ArchiveError::Broken { .. } | ArchiveError::Refused { .. } => {
            "make it anew, for instance: git archive --format=tar.gz HEAD | ssh HOST git:from-archive APP --"
        }
    };
    PlatformError::new(ErrorKind::Conflict, error.to_string()).hint(hint)
}
