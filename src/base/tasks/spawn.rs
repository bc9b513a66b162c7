//! [`Tasks`]: the one place that spawns.

use std::{
    any::Any,
    collections::BTreeMap,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use tokio::{sync::Notify, task::JoinHandle, time};

use super::Shutdown;

/// Spawns named tasks, catches and counts their panics, and waits for their end. Cloning gives another
/// handle on the same group.
///
/// Spawning needs a running Tokio runtime.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    group: Arc<Group>,
}

/// A blocking task that ended without a value: it panicked (already logged), or the runtime is going down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("task {task} ended without a result")]
pub struct TaskPanicked {
    /// The name it was spawned under.
    pub task: &'static str,
}

impl Tasks {
    /// A group of its own, with a stop signal of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// A group within this one: waiting for this one waits for it, stopping this one stops it, and its
    /// panics count here too. It can be stopped alone.
    pub fn child(&self) -> Self {
        let shutdown = self.group.shutdown.child_token();
        Self {
            group: Arc::new(Group { shutdown, parent: Some(Arc::clone(&self.group)), ..Group::default() }),
        }
    }

    /// Runs `future` as a task. It goes on when the handle is dropped; a panic in it is logged with
    /// `name`, counted, and seen by the handle as an ordinary end.
    pub fn spawn(
        &self,
        name: &'static str,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let place = self.group.enter(name);
        #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
        tokio::spawn(async move {
            let mut future = pin!(future);
            let outcome =
                poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
                    Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
                    Ok(Poll::Pending) => Poll::Pending,
                    Err(panic) => Poll::Ready(Err(panic)),
                })
                .await;
            if let Err(panic) = outcome {
                place.report(panic.as_ref());
            }
        })
    }

    /// Runs `work` on the pool for blocking calls, starting at once. The future gives its value; dropping
    /// the future does not stop the work.
    ///
    /// # Errors
    /// [`TaskPanicked`] when the work panicked, or the runtime went down before it began.
    pub fn blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        name: &'static str,
        work: F,
    ) -> impl Future<Output = Result<T, TaskPanicked>> + Send + use<T, F> {
        let place = self.group.enter(name);
        let handle = tokio::task::spawn_blocking(move || {
            catch_unwind(AssertUnwindSafe(work)).map_err(|panic| place.report(panic.as_ref())).ok()
        });
        async move { handle.await.ok().flatten().ok_or(TaskPanicked { task: name }) }
    }

    /// The signal that this group is to end: a task selects on its `cancelled()`.
    pub fn shutdown_token(&self) -> Shutdown {
        self.group.shutdown.clone()
    }

    /// Gives the signal to end, then waits as [`Tasks::wait`] does.
    pub async fn stop(&self, budget: Duration) -> Vec<&'static str> {
        self.group.shutdown.cancel();
        self.wait(budget).await
    }

    /// Waits until no task of the group is left, `budget` at most, without asking any to end. Gives the
    /// names of those that still run, in order, one for each task: empty when all have ended.
    pub async fn wait(&self, budget: Duration) -> Vec<&'static str> {
        let idle = async {
            loop {
                let mut ended = pin!(self.group.emptied.notified());
                // Registered before the look, so that an end between look and wait is not missed.
                ended.as_mut().enable();
                if self.group.running().is_empty() {
                    return;
                }
                ended.await;
            }
        };
        match time::timeout(budget, idle).await {
            Ok(()) => Vec::new(),
            Err(_elapsed) => self.running(),
        }
    }

    /// The names of the tasks that run now, in order, one for each task.
    pub fn running(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.group.running().values().copied().collect();
        names.sort_unstable();
        names
    }

    /// Panics since the start, those of child groups included.
    pub fn panics(&self) -> u64 {
        self.group.panics.load(Ordering::Relaxed)
    }
}

/// What the handles on one group share.
#[derive(Debug, Default)]
struct Group {
    shutdown: Shutdown,
    panics: AtomicU64,
    next_id: AtomicU64,
    /// Tasks that run, by a number given at their start.
    running: Mutex<BTreeMap<u64, &'static str>>,
    /// Told each time `running` becomes empty.
    emptied: Notify,
    parent: Option<Arc<Group>>,
}

impl Group {
    fn running(&self) -> MutexGuard<'_, BTreeMap<u64, &'static str>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place in this group and in those above it.
    fn enter(self: &Arc<Self>, task: &'static str) -> Place {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.running().insert(id, task);
        let above = self.parent.as_ref().map(|parent| Box::new(parent.enter(task)));
        Place { group: Arc::clone(self), id, task, above }
    }
}

/// A task's place in its group; dropped when the task has ended in whatever way.
struct Place {
    group: Arc<Group>,
    id: u64,
    task: &'static str,
    above: Option<Box<Place>>,
}

impl Place {
    fn report(&self, panic: &(dyn Any + Send)) {
        tracing::error!(task = self.task, panic = message_of(panic), "task panicked");
        self.count_panic();
    }

    fn count_panic(&self) {
        self.group.panics.fetch_add(1, Ordering::Relaxed);
        if let Some(above) = &self.above {
            above.count_panic();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let emptied = {
            let mut running = self.group.running();
            running.remove(&self.id);
            running.is_empty()
        };
        if emptied {
            self.group.emptied.notify_waiters();
        }
    }
}

/// The words of a panic; `panic!` leaves a `&str` or a `String`, anything else has none.
fn message_of(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "no message",
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_panic_is_counted_and_ends_only_its_task() {
        let tasks = Tasks::new();
        tasks.spawn("bad", async { panic!("on purpose") }).await.unwrap();
        tasks.spawn("good", async {}).await.unwrap();
        assert_eq!(tasks.panics(), 1);
        assert!(tasks.wait(LONG).await.is_empty());
    }

    #[tokio::test]
    async fn wait_names_what_still_runs() {
        let tasks = Tasks::new();
        tasks.spawn("stuck", pending());
        tasks.spawn("brief", async {});
        assert_eq!(tasks.wait(SHORT).await, ["stuck"]);
    }

    #[tokio::test]
    async fn stop_is_seen_by_tasks_and_waited_for() {
        let tasks = Tasks::new();
        let stop = tasks.shutdown_token();
        tasks.spawn("server", async move { stop.cancelled().await });
        assert_eq!(tasks.running(), ["server"]);
        assert!(tasks.stop(LONG).await.is_empty());
    }

    #[tokio::test]
    async fn an_aborted_task_leaves_its_place() {
        let tasks = Tasks::new();
        tasks.spawn("aborted", pending()).abort();
        assert!(tasks.wait(LONG).await.is_empty());
        assert_eq!(tasks.panics(), 0);
    }

    #[tokio::test]
    async fn blocking_work_gives_its_value_or_its_name() {
        let tasks = Tasks::new();
        assert_eq!(tasks.blocking("sum", || 1 + 1).await, Ok(2));
        let panicked = tasks.blocking("bad", || -> u8 { panic!("on purpose") }).await;
        assert_eq!(panicked, Err(TaskPanicked { task: "bad" }));
        assert_eq!(tasks.panics(), 1);
        assert!(tasks.wait(LONG).await.is_empty());
    }

    #[tokio::test]
    async fn dropped_blocking_work_is_still_waited_for() {
        let tasks = Tasks::new();
        let (release, held) = std::sync::mpsc::sync_channel::<()>(1);
        drop(tasks.blocking("held", move || held.recv().ok()));
        assert_eq!(tasks.wait(SHORT).await, ["held"]);
        release.send(()).unwrap();
        assert!(tasks.wait(LONG).await.is_empty());
    }

    #[tokio::test]
    async fn a_child_group_counts_in_its_parent_and_stops_alone() {
        let parent = Tasks::new();
        let child = parent.child();
        let stop = child.shutdown_token();
        child.spawn("inner", async move { stop.cancelled().await });
        child.spawn("bad", async { panic!("on purpose") }).await.unwrap();
        assert_eq!(parent.wait(SHORT).await, ["inner"]);
        assert_eq!((parent.panics(), child.panics()), (1, 1));
        assert!(child.stop(LONG).await.is_empty());
        assert!(parent.wait(LONG).await.is_empty());
        assert!(!parent.shutdown_token().is_cancelled());
        parent.shutdown_token().cancel();
        assert!(parent.child().shutdown_token().is_cancelled());
    }
}
