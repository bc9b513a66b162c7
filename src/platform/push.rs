//! One `git push`, from the moment it is allowed to the moment its refs have moved and its release is live.
//!
//! ```text
//! begin_push → git receive-pack → pre_receive → (git moves the refs) → post_receive → finish
//!    opened                        deciding       accepted               done
//! ```
//!
//! The token ties the hooks to the push. Each step happens once; a push that is cut off ends what it has begun,
//! and `finish` settles what a lost `post-receive` left open.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use autostack_base::clock;
use autostack_deploy::Job;
use autostack_domain::{
    AppName, Deployment, DeploymentId, DeploymentState, Failure, FailureKind, Line, RefUpdate, Stage,
    permission::{Action, Actor, allows},
    push::{self, PushPlan},
};
use autostack_git::{
    GitChild, GitProtocol, HookRequest, Service, Source, SourceError, SourceLimits, SpawnOptions,
    hooks::{ENV_BINARY, ENV_SOCKET, ENV_TOKEN},
    quarantine,
    service::spawn,
};
use autostack_logs::{Offset, Reader};
use autostack_store::Store;
use tokio_util::sync::CancellationToken;

use crate::{
    error::{ErrorKind, PlatformError},
    platform::Platform,
};

/// The push option that stores without deploying.
const NO_DEPLOY: &str = "no-deploy";

/// Where a push shows its lines: the pusher's screen, by way of the hook.
pub trait Screen: Send {
    /// Shows a line. An error means that nobody reads any more.
    fn show(&mut self, line: Line) -> impl Future<Output = io::Result<()>> + Send;
}

/// A push under way: the door moves bytes between the client and the child, then calls [`Push::finish`].
/// Dropping it kills the child and undoes what the push has begun.
pub struct Push {
    /// `git receive-pack`.
    pub child: GitChild,
    /// Said to the pusher before anything else.
    pub note: Option<String>,
    guard: Guard,
}

/// Settles the push when it is dropped.
struct Guard {
    platform: Platform,
    state: Option<Arc<PushState>>,
}

/// What is known of a push.
struct PushState {
    token: String,
    app: AppName,
    actor: Actor,
    /// Whether this push made the app, or took that over from one that was cut off.
    is_first: AtomicBool,
    /// Whether there is something to keep the app for: a stored ref, or a deployment whose log can be read.
    is_kept: AtomicBool,
    cancel: CancellationToken,
    step: Mutex<Step>,
}

enum Step {
    Opened,
    Deciding,
    Accepted { notes: Vec<String>, deploying: Option<Deploying> },
    Done,
}

/// The part of an accepted push that goes live.
#[derive(Clone)]
struct Deploying {
    deployment: DeploymentId,
    update: RefUpdate,
    /// How much of the build log the pusher has read.
    read: Offset,
}

/// The pushes under way, by token.
#[derive(Default)]
pub(crate) struct Pushes(Mutex<HashMap<String, Arc<PushState>>>);

impl Pushes {
    pub(crate) fn count(&self) -> usize {
        self.map().len()
    }

    /// There is something to keep the app for, whatever becomes of the pushes to it that are under way.
    fn keep(&self, app: &AppName) {
        self.map().values().filter(|state| state.app == *app).for_each(|state| {
            state.is_kept.store(true, Ordering::Relaxed);
        });
    }

    /// Leaves the app that a cut-off push made to another push to it; `false` where there is none.
    fn pass_on(&self, app: &AppName) -> bool {
        let map = self.map();
        let heir = map.values().find(|state| state.app == *app);
        heir.inspect(|state| state.is_first.store(true, Ordering::Relaxed)).is_some()
    }

    fn map(&self) -> MutexGuard<'_, HashMap<String, Arc<PushState>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PushState {
    fn step(&self) -> MutexGuard<'_, Step> {
        self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Platform {
    /// Allows a push and starts git. Everything that can be refused without looking at the pack is refused here.
    /// The first push to a free name creates the app.
    pub async fn begin_push(
        &self,
        actor: &Actor,
        app: &AppName,
        protocol: Option<GitProtocol>,
    ) -> Result<Push, PlatformError> {
        self.check_space()?;
        let is_first = match self.find(actor, app).await? {
            Some((_, role)) if allows(actor, role, Action::Push) => false,
            Some(_) => return Err(PlatformError::denied(app, "push to")),
            None => self.create_on_first_push(actor, app).await?,
        };
        let state = Arc::new(PushState {
            token: uuid::Uuid::new_v4().simple().to_string(),
            app: app.clone(),
            actor: actor.clone(),
            is_first: AtomicBool::new(is_first),
            is_kept: AtomicBool::new(false),
            cancel: CancellationToken::new(),
            step: Mutex::new(Step::Opened),
        });
        let guard = Guard { platform: self.clone(), state: Some(Arc::clone(&state)) };
        self.0.pushes.map().insert(state.token.clone(), Arc::clone(&state));
        // After the entry: either this sees the destruction, or the destruction sees this push.
        self.0.leaving.check(app)?;
        let child = self.spawn_receive_pack(&state, protocol)?;
        let note = is_first.then(|| format!("Created app {app}"));
        Ok(Push { child, note, guard })
    }

    /// Whether this push made the app; another first push may have been faster.
    async fn create_on_first_push(&self, actor: &Actor, app: &AppName) -> Result<bool, PlatformError> {
        match self.create_app(actor, app).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind == ErrorKind::Conflict => match self.find(actor, app).await? {
                Some((_, role)) if allows(actor, role, Action::Push) => Ok(false),
                Some(_) => Err(PlatformError::denied(app, "push to")),
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    fn spawn_receive_pack(
        &self,
        state: &PushState,
        protocol: Option<GitProtocol>,
    ) -> Result<GitChild, PlatformError> {
        let access = &self.0.hook_access;
        let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
        let repositories = &self.parts().repositories;
        let options = SpawnOptions {
            hooks_dir: repositories.hooks_dir().to_owned(),
            hook_env: vec![
                (ENV_BINARY.to_owned(), text(&access.binary)),
                (ENV_SOCKET.to_owned(), text(&access.socket)),
                (ENV_TOKEN.to_owned(), state.token.clone()),
            ],
            protocol,
            pack_bytes_max: Some(self.parts().settings.borrow().git.pack_bytes_max),
        };
        Ok(spawn(Service::ReceivePack, &repositories.path(&state.app), &options)?)
    }

    /// The pusher is gone: whatever the push has begun is ended. Unknown tokens are ignored.
    pub fn abort_push(&self, token: &str) {
        if let Some(state) = self.0.pushes.map().get(token) {
            state.cancel.cancel();
        }
    }

    /// Ends every push to an app.
    pub(crate) fn cancel_pushes(&self, app: &AppName) {
        for state in self.0.pushes.map().values().filter(|state| state.app == *app) {
            state.cancel.cancel();
        }
    }

    /// Decides about a push whose objects are in quarantine: prepares the release that it asks for. Returns
    /// whether git may move the refs. Every line, also of a refusal, goes to the screen.
    pub async fn pre_receive(&self, request: HookRequest, screen: &mut impl Screen) -> bool {
        let state = match self.take_step(&request.token, |step| matches!(step, Step::Opened), Step::Deciding)
        {
            Ok(state) => state,
            Err(refusal) => return show_refusal(screen, &refusal).await,
        };
        match self.decide(&state, &request, screen).await {
            Ok(accepted) => {
                self.0.pushes.keep(&state.app);
                *state.step() = accepted;
                let is_cut_off = state.cancel.is_cancelled();
                if is_cut_off {
                    // Whoever aborted it may have settled it before there was something to settle.
                    self.settle(&state).await;
                }
                !is_cut_off
            }
            Err(Refusal::Shown) => {
                if !state.cancel.is_cancelled() {
                    self.0.pushes.keep(&state.app);
                }
                *state.step() = Step::Done;
                false
            }
            Err(Refusal::Because(refusal)) => {
                *state.step() = Step::Done;
                show_refusal(screen, &refusal).await
            }
        }
    }

    async fn decide(
        &self,
        state: &Arc<PushState>,
        request: &HookRequest,
        screen: &mut impl Screen,
    ) -> Result<Step, Refusal> {
        let repository = self.parts().repositories.path(&state.app);
        if let Some(path) =
            request.quarantine.as_deref().filter(|path| !quarantine::belongs_to(path, &repository))
        {
            let message = format!("{} is not a quarantine of {}", path.display(), state.app);
            return Err(PlatformError::new(ErrorKind::Invalid, message).into());
        }
        let mut plan = self.plan_push(state, &request.updates).await?;
        self.obey_options(&request.push_options, &mut plan);
        self.inspect(request, &repository, plan.deploy.as_ref()).await?;
        let notes = std::mem::take(&mut plan.notes);
        let deploying = match plan.deploy {
            Some(update) => Some(self.prepare(state, update, request, screen).await?),
            None => None,
        };
        Ok(Step::Accepted { notes, deploying })
    }

    async fn plan_push(&self, state: &PushState, updates: &[RefUpdate]) -> Result<PushPlan, PlatformError> {
        let name = state.app.clone();
        let Some(app) = self.parts().store.call(move |store| store.app(&name)).await? else {
            return Err(PlatformError::no_such_app(&state.app));
        };
        push::plan(updates, app.deploy_branch.as_deref())
            .map_err(|why| PlatformError::new(ErrorKind::Conflict, why))
    }

    fn obey_options(&self, options: &[String], plan: &mut PushPlan) {
        for option in options {
            if option == NO_DEPLOY {
                if let Some(update) = plan.deploy.take() {
                    plan.notes.push(format!(
                        "{} is stored, not deployed, as you asked with {NO_DEPLOY}.",
                        update.name
                    ));
                }
            } else {
                plan.notes.push(format!(
                    "The push option {option:?} is not known and was ignored; {NO_DEPLOY} is."
                ));
            }
        }
    }

    /// Looks through every pushed commit but the one that is deployed, which its export looks through.
    async fn inspect(
        &self,
        request: &HookRequest,
        repository: &std::path::Path,
        deployed: Option<&RefUpdate>,
    ) -> Result<(), PlatformError> {
        let stored =
            request.updates.iter().filter(|update| !update.new.is_null() && Some(*update) != deployed);
        let commits: Vec<_> = stored.map(|update| update.new.clone()).collect();
        if commits.is_empty() {
            return Ok(());
        }
        let (repository, quarantine) = (repository.to_owned(), request.quarantine.clone());
        let inspect = move || -> Result<(), SourceError> {
            let source = Source::open(&repository, quarantine.as_deref())?;
            commits.iter().try_for_each(|commit| source.inspect(commit, &SourceLimits::default()).map(drop))
        };
        match self.parts().tasks.blocking("inspect", inspect).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let message = autostack_base::error_chain(&error);
                Err(PlatformError::new(ErrorKind::Invalid, message)
                    .hint("correct the commit, then push again"))
            }
            Err(panic) => Err(PlatformError::internal("the pushed objects cannot be read", &panic)),
        }
    }

    /// Takes the commit through the deployment's stages; the pusher reads the build log as it grows.
    async fn prepare(
        &self,
        state: &Arc<PushState>,
        update: RefUpdate,
        request: &HookRequest,
        screen: &mut impl Screen,
    ) -> Result<Deploying, Refusal> {
        let job = self.record(state, &update, request).await?;
        let (deployment, stream) = (job.id.clone(), Arc::clone(job.log.stream()));
        let mut follower = Follower { reader: stream.reader(Offset::START), is_read: true };
        let prepare = self.0.deployer.prepare(job);
        tokio::pin!(prepare);
        let outcome = loop {
            tokio::select! {
                biased;
                () = follower.show_next(screen), if follower.is_read => {
                    if !follower.is_read {
                        state.cancel.cancel();
                    }
                }
                outcome = &mut prepare => break outcome,
            }
        };
        follower.show_rest(screen).await;
        match outcome {
            Ok(_number) => Ok(Deploying { deployment, update, read: follower.reader.offset() }),
            Err(_failure) => Err(Refusal::Shown),
        }
    }

    async fn record(
        &self,
        state: &PushState,
        update: &RefUpdate,
        request: &HookRequest,
    ) -> Result<Job, PlatformError> {
        let id: DeploymentId = uuid::Uuid::now_v7().to_string().parse()?;
        let deployment = Deployment {
            id: id.clone(),
            app: state.app.clone(),
            user: state.actor.user.clone(),
            commit: update.new.clone(),
            git_ref: update.name.clone(),
            state: DeploymentState::Queued,
            stages: Vec::new(),
            release: None,
            failure: None,
            created_at: clock::now(),
            ended_at: None,
        };
        let log = self.parts().logs.build_log(&id)?;
        let outdated =
            self.parts().store.call(move |store: &Store| store.create_deployment(&deployment)).await?;
        for old in outdated {
            if let Err(error) = self.parts().logs.remove_deployment(&old) {
                tracing::warn!(deployment = %old, %error, "an old build log could not be removed");
            }
        }
        Ok(Job {
            id,
            app: state.app.clone(),
            user: state.actor.user.clone(),
            commit: update.new.clone(),
            git_ref: update.name.clone(),
            quarantine: request.quarantine.clone(),
            cancel: state.cancel.clone(),
            log,
        })
    }

    /// The refs have moved: makes the prepared release live and shows where.
    pub async fn post_receive(&self, request: HookRequest, screen: &mut impl Screen) -> bool {
        let is_accepted = |step: &Step| matches!(step, Step::Accepted { .. });
        let (state, accepted) = match self.swap_step(&request.token, is_accepted, Step::Done) {
            Ok(found) => found,
            Err(refusal) => return show_refusal(screen, &refusal).await,
        };
        let Step::Accepted { notes, deploying } = accepted else { return false };
        for note in notes {
            // A pusher who is gone is told nothing; the release goes live all the same.
            let _reader_gone = screen.show(Line::detail(note)).await;
        }
        match deploying {
            Some(deploying) => self.go_live(&state, &deploying, screen).await,
            None => true,
        }
    }

    async fn go_live(&self, state: &PushState, deploying: &Deploying, screen: &mut impl Screen) -> bool {
        let committed = self.0.deployer.commit(&state.app, &deploying.deployment).await;
        if let Ok(stream) = self.parts().logs.deployment(&deploying.deployment) {
            Follower { reader: stream.reader(deploying.read), is_read: true }.show_rest(screen).await;
        }
        match committed {
            Ok(()) => true,
            Err(failure) => {
                for line in failure.lines() {
                    let _reader_gone = screen.show(line).await;
                }
                false
            }
        }
    }

    /// Settles a push whose git has ended: what git accepted goes live, everything else is undone.
    async fn settle(&self, state: &PushState) {
        state.cancel.cancel();
        let step = std::mem::replace(&mut *state.step(), Step::Done);
        self.0.pushes.map().remove(&state.token);
        match step {
            Step::Accepted { deploying: Some(deploying), .. } => self.settle_release(state, &deploying).await,
            // While it is decided, the cancelled deployment undoes itself.
            Step::Opened | Step::Deciding | Step::Accepted { .. } | Step::Done => {}
        }
        let is_unused = state.is_first.load(Ordering::Relaxed) && !state.is_kept.load(Ordering::Relaxed);
        if is_unused && !self.0.pushes.pass_on(&state.app) {
            self.remove_unused(state).await;
        }
    }

    async fn settle_release(&self, state: &PushState, deploying: &Deploying) {
        let head = self.parts().repositories.head_of(&state.app, &deploying.update.name);
        let settled = if matches!(head, Ok(Some(head)) if head == deploying.update.new) {
            self.0.deployer.commit(&state.app, &deploying.deployment).await
        } else {
            let cause = "git did not move the ref, so the release was given up";
            let failure = Failure::new(Stage::Switch, FailureKind::Cancelled, cause).hint("push again");
            self.0.deployer.discard(&state.app, &deploying.deployment, failure).await
        };
        if let Err(failure) = settled {
            tracing::error!(app = %state.app, deployment = %deploying.deployment, cause = failure.cause, "a push could not be settled");
        }
    }

    /// The push that made the app brought nothing at all: as if it had never been.
    async fn remove_unused(&self, state: &PushState) {
        if let Err(error) = self.remove_app(&state.app).await {
            tracing::warn!(app = %state.app, %error, "an app without a push could not be removed again");
        }
    }

    /// Moves a push on, if it stands where it should: a token is good for each step once.
    fn take_step(
        &self,
        token: &str,
        from: impl Fn(&Step) -> bool,
        to: Step,
    ) -> Result<Arc<PushState>, PlatformError> {
        self.swap_step(token, from, to).map(|(state, _)| state)
    }

    fn swap_step(
        &self,
        token: &str,
        from: impl Fn(&Step) -> bool,
        to: Step,
    ) -> Result<(Arc<PushState>, Step), PlatformError> {
        let unknown =
            || PlatformError::new(ErrorKind::Denied, "this hook does not belong to a push under way");
        let state = self.0.pushes.map().get(token).cloned().ok_or_else(unknown)?;
        let mut step = state.step();
        if !from(&step) {
            return Err(unknown());
        }
        let before = std::mem::replace(&mut *step, to);
        drop(step);
        Ok((state, before))
    }
}

impl Push {
    /// The client is gone: kills git and everything that the push has begun.
    pub async fn abort(mut self) {
        if let Some(state) = &self.guard.state {
            state.cancel.cancel();
        }
        self.child.kill_tree().await;
        self.finish().await;
    }

    /// Call it once git has ended.
    pub async fn finish(mut self) {
        if let Some(state) = self.guard.state.take() {
            self.guard.platform.settle(&state).await;
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(state) = self.state.take() {
            state.cancel.cancel();
            let platform = self.platform.clone();
            let tasks = platform.parts().tasks.clone();
            tasks.spawn("settle push", async move { platform.settle(&state).await });
        }
    }
}

/// Why a push is rejected.
enum Refusal {
    /// The pusher has read it already, as the end of the build log.
    Shown,
    /// Still to be said.
    Because(PlatformError),
}

impl<E: Into<PlatformError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Refusal::Because(error.into())
    }
}

async fn show_refusal(screen: &mut impl Screen, refusal: &PlatformError) -> bool {
    let hint = refusal.hint.iter().map(|hint| Line::trouble(format!("Next: {hint}")));
    for line in std::iter::once(Line::trouble(format!("Push rejected: {}.", refusal.message))).chain(hint) {
        // A pusher who is gone cannot be told.
        let _reader_gone = screen.show(line).await;
    }
    false
}

/// Shows a build log as it grows.
struct Follower {
    reader: Reader,
    /// Whether somebody still reads and there may be more.
    is_read: bool,
}

impl Follower {
    async fn show_next(&mut self, screen: &mut impl Screen) {
        self.is_read = match self.reader.next().await {
            Ok(Some((_, entry))) => screen.show(entry.to_line()).await.is_ok(),
            Ok(None) => false,
            Err(error) => {
                tracing::error!(%error, "a build log cannot be read");
                false
            }
        };
    }

    /// Shows what is there, without waiting for more.
    async fn show_rest(&mut self, screen: &mut impl Screen) {
        while let Ok(Some((_, entry))) = self.reader.next_ready() {
            if screen.show(entry.to_line()).await.is_err() {
                return;
            }
        }
    }
}
