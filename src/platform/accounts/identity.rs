//! The keys that sign tokens, made and replaced as time goes by; and how many passwords are looked at, from where.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use autostack_base::clock;
use autostack_domain::{UnixMillis, account::KeptKey};
use autostack_identity::signing::{self, SigningKeys};
use autostack_store::Store;
use tokio::sync::Semaphore;

use crate::{
    error::{ErrorKind, PlatformError},
    platform::Platform,
};

/// How long a key signs: a leaked one is worth nothing for ever.
const KEY_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Passwords that are hashed at once: each takes 19 MiB and a core for 30 ms.
const HASHES_MAX: usize = 2;
/// Requests that wait for their turn to have a password hashed; more are told to come later.
const HASHES_WAITING_MAX: usize = 64;
/// Wrong passwords of one account from one address within [`ATTEMPTS_PERIOD`].
const ATTEMPTS_MAX: u32 = 10;
/// How long wrong passwords count.
const ATTEMPTS_PERIOD: Duration = Duration::from_secs(15 * 60);
/// Accounts and addresses whose wrong passwords are counted at once.
const ATTEMPTERS_MAX: usize = 10_000;

/// What the accounts need in memory.
pub(crate) struct Identity {
    keys: tokio::sync::RwLock<Option<Loaded>>,
    hashes: Semaphore,
    waiting: Semaphore,
    attempts: Mutex<HashMap<(String, Option<IpAddr>), Attempts>>,
}

struct Loaded {
    signing: Arc<SigningKeys>,
    newest: UnixMillis,
}

struct Attempts {
    count: u32,
    since: Instant,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            keys: tokio::sync::RwLock::default(),
            hashes: Semaphore::new(HASHES_MAX),
            waiting: Semaphore::new(HASHES_WAITING_MAX),
            attempts: Mutex::default(),
        }
    }
}

impl Platform {
    /// The keys that sign tokens; at the first use, and when the newest is old, there is a new one.
    pub(crate) async fn signing_keys(&self) -> Result<Arc<SigningKeys>, PlatformError> {
        let is_fresh =
            |loaded: &&Loaded| u128::from(clock::now().since(loaded.newest)) < KEY_AGE_MAX.as_millis();
        if let Some(loaded) = self.0.identity.keys.read().await.as_ref().filter(is_fresh) {
            return Ok(Arc::clone(&loaded.signing));
        }
        let mut keys = self.0.identity.keys.write().await;
        if let Some(loaded) = keys.as_ref().filter(is_fresh) {
            return Ok(Arc::clone(&loaded.signing));
        }
        let loaded = self.load_keys().await?;
        let signing = Arc::clone(&loaded.signing);
        *keys = Some(loaded);
        Ok(signing)
    }

    async fn load_keys(&self) -> Result<Loaded, PlatformError> {
        let damaged = |error| PlatformError::internal("the keys that sign tokens cannot be used", &error);
        let (now, ttl) = (clock::now(), self.parts().settings.borrow().auth.refresh_token_ttl);
        let mut kept = self.parts().store.call(|store: &Store| store.signing_keys()).await?;
        let newest = kept.iter().map(|key| key.created_at).max();
        let old = |at: UnixMillis| u128::from(now.since(at)) >= KEY_AGE_MAX.as_millis();
        if newest.is_none_or(old) {
            kept.push(signing::new_key(now).map_err(damaged)?);
            // What it signed has ended by then.
            let worthless = |key: &KeptKey| {
                u128::from(now.since(key.created_at)) > KEY_AGE_MAX.as_millis() + 2 * ttl.as_millis()
            };
            kept.retain(|key| !worthless(key));
            let keys = kept.clone();
            self.parts().store.call(move |store: &Store| store.set_signing_keys(&keys)).await?;
            tracing::info!("a new key signs tokens from now on");
        }
        let signing = Arc::new(SigningKeys::open(&kept).map_err(damaged)?);
        Ok(Loaded { signing, newest: newest.filter(|at| !old(*at)).unwrap_or(now) })
    }

    /// Does something with a password on a thread for blocking work; a few at once, the others wait.
    pub(crate) async fn with_password<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PlatformError> {
        let busy = || {
            PlatformError::new(ErrorKind::Busy, "too many people log in at this moment")
                .hint("try again in a few seconds")
        };
        let _waiting = self.0.identity.waiting.try_acquire().map_err(|_| busy())?;
        let _hashing = self.0.identity.hashes.acquire().await.map_err(|_| busy())?;
        let done = self.parts().tasks.blocking("hash a password", work).await;
        done.map_err(|panic| PlatformError::internal("the password cannot be looked at", &panic))
    }

    /// Refuses another look at a password of this account from there after too many wrong ones.
    pub(crate) fn check_attempts(&self, account: &str, from: Option<IpAddr>) -> Result<(), PlatformError> {
        let attempts = self.0.identity.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(found) = attempts.get(&(account.to_owned(), from)) else { return Ok(()) };
        let left = ATTEMPTS_PERIOD.saturating_sub(found.since.elapsed());
        if found.count < ATTEMPTS_MAX || left.is_zero() {
            return Ok(());
        }
        let message = "too many attempts came from your address";
        Err(PlatformError::new(ErrorKind::TooMany { seconds: left.as_secs().max(1) }, message)
            .hint(format!("try again in {} minutes", left.as_secs().div_ceil(60))))
    }

    /// Counts something that is not to be done often from one address, and refuses it after too many.
    pub(crate) fn count_attempt(&self, what: &str, from: Option<IpAddr>) -> Result<(), PlatformError> {
        self.check_attempts(what, from)?;
        self.failed_attempt(what, from);
        Ok(())
    }

    /// Counts a wrong password or code.
    pub(crate) fn failed_attempt(&self, account: &str, from: Option<IpAddr>) {
        let mut attempts = self.0.identity.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        if attempts.len() >= ATTEMPTERS_MAX {
            attempts.retain(|_, found| found.since.elapsed() < ATTEMPTS_PERIOD);
        }
        if attempts.len() >= ATTEMPTERS_MAX {
            // Whoever sends so many names may push out others' counts, and gains one look at a time.
            attempts.clear();
        }
        let found = attempts
            .entry((account.to_owned(), from))
            .or_insert_with(|| Attempts { count: 0, since: Instant::now() });
        if found.since.elapsed() >= ATTEMPTS_PERIOD {
            *found = Attempts { count: 0, since: Instant::now() };
        }
        found.count += 1;
    }

    /// Forgets the wrong passwords of somebody who came in.
    pub(crate) fn passed(&self, account: &str, from: Option<IpAddr>) {
        let mut attempts = self.0.identity.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.remove(&(account.to_owned(), from));
    }
}
