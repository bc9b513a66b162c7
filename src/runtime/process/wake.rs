//! Who is told when a shim has written something: one inotify descriptor for all instances.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use autostack_base::tasks::Tasks;
use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::Notify,
};

/// The folders that are watched.
#[derive(Debug)]
pub(crate) struct Wakes {
    inotify: AsyncFd<Descriptor>,
    watched: Mutex<HashMap<WatchDescriptor, Arc<Notify>>>,
}

/// [`Inotify`], as [`AsyncFd`] wants it.
#[derive(Debug)]
struct Descriptor(Inotify);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Wakes {
    /// Starts the task that waits for all of them.
    pub(crate) fn start(tasks: &Tasks) -> io::Result<Arc<Self>> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        // SAFETY: the descriptor is owned, never replaced, and closed only when this is dropped.
        let inotify = unsafe { AsyncFd::register_with_interest(Descriptor(inotify), Interest::READABLE)? };
        let wakes = Arc::new(Self { inotify, watched: Mutex::default() });
        let shutdown = tasks.shutdown_token();
        let waiting = Arc::clone(&wakes);
        tasks.spawn("watch instances", async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                error = waiting.wait() => tracing::error!(%error, "instances are not watched any more"),
            }
        });
        Ok(wakes)
    }

    /// Notifies once for whatever is written in the folder from now on. The watch ends with the folder.
    pub(crate) fn watch(&self, folder: &Path) -> io::Result<Arc<Notify>> {
        let notify = Arc::new(Notify::new());
        let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_ONLYDIR;
        // Under the lock, so that the first event finds whom to tell.
        let mut watched = self.watched();
        let descriptor = self.inotify.get_ref().0.add_watch(folder, flags)?;
        watched.insert(descriptor, Arc::clone(&notify));
        Ok(notify)
    }

    async fn wait(&self) -> io::Error {
        loop {
            let mut ready = match self.inotify.readable().await {
                Ok(ready) => ready,
                Err(error) => return error,
            };
            match self.inotify.get_ref().0.read_events() {
                Ok(events) => {
                    for event in events {
                        self.tell(event.wd, event.mask);
                    }
                }
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(error) => return error.into(),
            }
        }
    }

    fn tell(&self, descriptor: WatchDescriptor, mask: AddWatchFlags) {
        let mut watched = self.watched();
        if mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            watched.values().for_each(|notify| notify.notify_one());
        } else if mask.contains(AddWatchFlags::IN_IGNORED) {
            watched.remove(&descriptor);
        } else if let Some(notify) = watched.get(&descriptor) {
            notify.notify_one();
        }
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<WatchDescriptor, Arc<Notify>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
