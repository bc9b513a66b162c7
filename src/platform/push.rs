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
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use autostack_deploy::{Input, Job, Pushed};
use autostack_domain::{
    AppName, DeploymentId, EnvMap, Failure, FailureKind, Line, RefUpdate, Stage,
    permission::{Action, Actor, allows},
    push::{self, PushPlan},
};
use autostack_git::{
    GitChild, GitProtocol, HookRequest, Service, Source, SourceError, SourceLimits, SpawnOptions,
    hooks::{ENV_BINARY, ENV_SOCKET, ENV_TOKEN},
    quarantine, service,
};
use autostack_logs::Offset;
use autostack_store::Store;
use tokio_util::sync::CancellationToken;

use crate::{
    error::{ErrorKind, PlatformError},
    locks::check_unlocked,
    platform::Platform,
    push_options::{self, Obeyed},
    screen::{Screen, follow, show_all, show_refusal},
};

/// How often a ref is read before it is left to the next start of the agent.
const REF_READS_MAX: usize = 10;
/// Pause between two attempts to read a ref.
const REF_READ_PAUSE: Duration = Duration::from_millis(500);

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

    /// Whether a push to an app is under way.
    pub(crate) fn is_busy(&self, app: &AppName) -> bool {
        self.map().values().any(|state| state.app == *app)
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
            Some((record, role)) if allows(actor, role, Action::Push) => {
                check_unlocked(&record)?;
                false
            }
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
        self.make_repository(app).await?;
        let child = self.start_receive_pack(&state, protocol).await?;
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

    async fn start_receive_pack(
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
        Ok(service::start(Service::ReceivePack, &repositories.path(&state.app), &options).await?)
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
        let is_opened = |step: &Step| matches!(step, Step::Opened);
        let state = match self.swap_step(&request.token, is_opened, Step::Deciding) {
            Ok((state, _)) => state,
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
            Err(Refusal::Failed(failure)) => {
                *state.step() = Step::Done;
                show_all(screen, failure.lines()).await
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
        let Obeyed { notes, env } = push_options::obey(&request.push_options, &mut plan)?;
        self.inspect(state, request, &repository, plan.deploy.as_ref()).await?;
        let deploying = match plan.deploy {
            Some(update) => Some(self.prepare(state, update, env, request, screen).await?),
            None => None,
        };
        Ok(Step::Accepted { notes, deploying })
    }

    async fn plan_push(&self, state: &PushState, updates: &[RefUpdate]) -> Result<PushPlan, PlatformError> {
        let name = state.app.clone();
        let read = move |store: &Store| Ok((store.app(&name)?, store.host_defaults()?));
        let (Some(app), host) = self.parts().store.call(read).await? else {
            return Err(PlatformError::no_such_app(&state.app));
        };
        push::plan(updates, host.deploy_branch(app.deploy_branch.as_deref()))
            .map_err(|why| PlatformError::new(ErrorKind::Conflict, why))
    }

    /// Looks through every pushed commit but the one that is deployed, which its export looks through.
    async fn inspect(
        &self,
        state: &PushState,
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
        let cancel = state.cancel.clone();
        let inspect = move || -> Result<(), SourceError> {
            let source = Source::open(&repository, quarantine.as_deref())?;
            let limits = SourceLimits::default();
            commits.iter().try_for_each(|commit| source.inspect_until(commit, &limits, &cancel).map(drop))
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
        env: EnvMap,
        request: &HookRequest,
        screen: &mut impl Screen,
    ) -> Result<Deploying, Refusal> {
        let job = self.record(state, &update, env, request).await?;
        let (deployment, log) = (job.id.clone(), job.log.clone());
        let mut reader = log.stream().reader(Offset::START);
        let ended = CancellationToken::new();
        let prepare = async {
            let outcome = self.0.deployer.prepare(job).await;
            ended.cancel();
            outcome
        };
        let (outcome, shown) = tokio::join!(prepare, follow(&mut reader, screen, &ended, &state.cancel));
        match outcome {
            Ok(_number) => Ok(Deploying { deployment, update, read: reader.offset() }),
            // The end of a log that was closed in order is the failure itself.
            Err(_failure) if shown.is_ok() && log.stream().is_sealed() && log.lost() == 0 => {
                Err(Refusal::Shown)
            }
            Err(failure) => Err(Refusal::Failed(failure)),
        }
    }

    async fn record(
        &self,
        state: &PushState,
        update: &RefUpdate,
        env: EnvMap,
        request: &HookRequest,
    ) -> Result<Job, PlatformError> {
        let pushed = Pushed {
            commit: update.new.clone(),
            replaces: update.old.clone(),
            git_ref: update.name.clone(),
            quarantine: request.quarantine.clone(),
            remote: None,
            env,
        };
        // Whoever ends the deployment does not end the push: the pusher reads why.
        let cancel = state.cancel.child_token();
        self.record_job(&state.actor, &state.app, Input::Commit(pushed), cancel).await
    }

    /// Some refs have moved, and the request says which: makes the prepared release live if its ref is one of them,
    /// and shows where.
    pub async fn post_receive(&self, request: HookRequest, screen: &mut impl Screen) -> bool {
        let is_accepted = |step: &Step| matches!(step, Step::Accepted { .. });
        let (state, accepted) = match self.swap_step(&request.token, is_accepted, Step::Done) {
            Ok(found) => found,
            Err(refusal) => return show_refusal(screen, &refusal).await,
        };
        let Step::Accepted { mut notes, deploying } = accepted else { return false };
        // The switch waits for nobody's screen.
        let (is_live, told) = match &deploying {
            Some(deploying) if request.updates.contains(&deploying.update) => {
                self.go_live(&state, deploying).await
            }
            Some(deploying) => {
                self.settle_release(&state, deploying).await;
                (false, self.rest_of_log(deploying))
            }
            None => (true, Vec::new()),
        };
        let deployed = deploying.map(|deploying| deploying.update);
        let stored: Vec<_> =
            request.updates.into_iter().filter(|update| Some(update) != deployed.as_ref()).collect();
        notes.extend(self.plan_push(&state, &stored).await.map(|plan| plan.notes).unwrap_or_default());
        let mut lines: Vec<Line> = notes.into_iter().map(Line::detail).collect();
        lines.extend(told);
        for line in lines {
            if screen.show(line).await.is_err() {
                // A pusher who is gone is told nothing; what is live stays live.
                break;
            }
        }
        is_live
    }

    /// Commits, and gives back the lines that tell how it went.
    async fn go_live(&self, state: &PushState, deploying: &Deploying) -> (bool, Vec<Line>) {
        let committed = self.0.deployer.commit(&state.app, &deploying.deployment).await;
        let mut lines = self.rest_of_log(deploying);
        if let Err(failure) = &committed {
            lines.extend(failure.lines());
        }
        (committed.is_ok(), lines)
    }

    /// What the build log holds beyond what the pusher has read.
    fn rest_of_log(&self, deploying: &Deploying) -> Vec<Line> {
        let Ok(stream) = self.parts().logs.deployment(&deploying.deployment) else { return Vec::new() };
        let mut reader = stream.reader(deploying.read);
        std::iter::from_fn(|| reader.next_ready().ok().flatten()).map(|(_, entry)| entry.to_line()).collect()
    }

    /// Settles a push whose git has ended: what git accepted goes live, everything else is undone.
    async fn settle(&self, state: &PushState) {
        state.cancel.cancel();
        let step = std::mem::replace(&mut *state.step(), Step::Done);
        let is_first_time = self.0.pushes.map().remove(&state.token).is_some();
        match step {
            Step::Accepted { deploying: Some(deploying), .. } => self.settle_release(state, &deploying).await,
            // While it is decided, the cancelled deployment undoes itself.
            Step::Opened | Step::Deciding | Step::Accepted { .. } | Step::Done => {}
        }
        // Later the name may be another pusher's.
        let is_unused =
            is_first_time && state.is_first.load(Ordering::Relaxed) && !state.is_kept.load(Ordering::Relaxed);
        if is_unused {
            self.remove_unused(state).await;
        }
    }

    async fn settle_release(&self, state: &PushState, deploying: &Deploying) {
        let settled = match self.is_ref_moved(&state.app, &deploying.update).await {
            Some(true) => self.0.deployer.commit(&state.app, &deploying.deployment).await,
            Some(false) => {
                let cause = "git did not move the ref, so the release was given up";
                let failure = Failure::new(Stage::Switch, FailureKind::Cancelled, cause).hint("push again");
                self.0.deployer.discard(&state.app, &deploying.deployment, failure).await
            }
            // It stays prepared: the next start of the agent looks again.
            None => Ok(()),
        };
        if let Err(failure) = settled {
            tracing::error!(app = %state.app, deployment = %deploying.deployment, cause = failure.cause, "a push could not be settled");
        }
    }

    /// Whether git has moved the ref as the push asked; `None` when the repository cannot be read for seconds.
    async fn is_ref_moved(&self, app: &AppName, update: &RefUpdate) -> Option<bool> {
        for _attempt in 0..REF_READS_MAX {
            let (repositories, name, git_ref) =
                (self.parts().repositories.clone(), app.clone(), update.name.clone());
            let read = move || repositories.head_of(&name, &git_ref);
            match self.parts().tasks.blocking("read ref", read).await {
                Ok(Ok(head)) => return Some(head.as_ref() == Some(&update.new)),
                Ok(Err(error)) => tracing::warn!(%app, %error, "a ref cannot be read; trying again"),
                Err(panic) => tracing::error!(%app, %panic, "a ref cannot be read; trying again"),
            }
            tokio::time::sleep(REF_READ_PAUSE).await;
        }
        None
    }

    /// The push that made the app brought nothing at all: as if it had never been, unless another push has come.
    async fn remove_unused(&self, state: &PushState) {
        // From here on no push can come.
        let Ok(departure) = self.0.leaving.begin(&state.app) else { return };
        if self.0.pushes.pass_on(&state.app) {
            return;
        }
        if let Err(error) = self.remove_app(&state.app, departure).await {
            tracing::warn!(app = %state.app, %error, "an app without a push could not be removed again");
        }
    }

    /// Moves a push on, if it stands where it should: a token is good for each step once. Gives back where it stood.
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
    /// A failed deployment whose log could not tell the pusher.
    Failed(Failure),
    /// Still to be said.
    Because(PlatformError),
}

impl<E: Into<PlatformError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Refusal::Because(error.into())
    }
}
