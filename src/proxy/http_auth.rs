//! HTTP authentication in front of an app: passwords are kept as argon2id hashes. Verifying one takes memory and time
//! on purpose, so a password that was right is remembered (a keyed digest of it, in memory only) and costs nothing
//! at the next request; one that was wrong is counted against its sender.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc},
};
use autostack_base::tasks::Tasks;
use autostack_domain::{
    AppName, Secret,
    traffic::{HttpUser, PasswordHash},
};
use aws_lc_rs::{hmac, rand::SystemRandom};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderValue;
use tokio::{
    sync::Semaphore,
    time::{self, Instant},
};

use crate::limits::{
    ATTEMPTERS_MAX, ATTEMPTS_MAX, ATTEMPTS_PERIOD, AUTHORIZATION_BYTES_MAX, VERIFICATION_WAIT,
    VERIFICATIONS_MAX, VERIFIED_AGE_MAX, VERIFIED_MAX,
};

/// A password could not be hashed: the host gives no random numbers, or no memory.
#[derive(Debug, thiserror::Error)]
#[error("the password cannot be hashed: {0}")]
pub struct HashError(argon2::password_hash::Error);

/// Hashes a password with argon2id and a salt of its own. Takes some 30 ms and 19 MiB: belongs on a blocking thread.
///
/// # Errors
/// When the host gives no random numbers.
pub fn hash(password: &Secret<String>) -> Result<PasswordHash, HashError> {
    let hashed = Argon2::default().hash_password(password.expose().as_bytes()).map_err(HashError)?;
    Ok(PasswordHash::new(hashed.to_string()))
}

/// What a look at a request's credentials gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// They are right.
    LetIn,
    /// There are none, or they are wrong.
    Ask,
    /// Too many wrong ones came from there; after this many seconds another one is looked at.
    ComeLater(u8),
    /// Too many passwords are being verified.
    Busy,
}

/// Verifies, and remembers what was right and who was wrong.
#[derive(Debug)]
pub(crate) struct Verifier {
    /// New at each start: what is remembered is worth nothing elsewhere.
    key: Option<hmac::Key>,
    verified: Mutex<Fresh<[u8; 32], ()>>,
    wrong: Mutex<Fresh<(AppName, IpAddr), u32>>,
    turns: Semaphore,
}

/// User and password of one request.
struct Credentials {
    user: String,
    password: Secret<String>,
}

impl Verifier {
    pub(crate) fn new() -> Self {
        Self {
            // Without random numbers nothing is remembered, and all is verified each time.
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok(),
            verified: Mutex::new(Fresh::new(VERIFIED_AGE_MAX, VERIFIED_MAX)),
            wrong: Mutex::new(Fresh::new(ATTEMPTS_PERIOD, ATTEMPTERS_MAX)),
            turns: Semaphore::new(VERIFICATIONS_MAX),
        }
    }

    /// Whether these credentials let a request from `client` in.
    pub(crate) async fn verify(
        &self,
        app: &AppName,
        users: &BTreeMap<HttpUser, PasswordHash>,
        client: IpAddr,
        given: Option<&HeaderValue>,
        tasks: &Tasks,
    ) -> Verdict {
        let Some(given) = given.and_then(credentials) else { return Verdict::Ask };
        let known = users.get(given.user.as_str());
        let digest = known.and_then(|hash| self.digest(hash, &given));
        if digest.is_some_and(|digest| lock(&self.verified).get(&digest).is_some()) {
            return Verdict::LetIn;
        }
        let sender = (app.clone(), client);
        let attempts = lock(&self.wrong).get(&sender);
        if let Some((attempts, left)) = attempts
            && attempts >= ATTEMPTS_MAX
        {
            return Verdict::ComeLater(u8::try_from(left.as_secs() + 1).unwrap_or(u8::MAX));
        }
        let Ok(Ok(_turn)) = time::timeout(VERIFICATION_WAIT, self.turns.acquire()).await else {
            return Verdict::Busy;
        };
        // A name that nobody has takes as long as one that somebody has.
        let Some(hash) = known.or_else(|| users.values().next()).cloned() else { return Verdict::Ask };
        let is_known = known.is_some();
        let is_right = tasks.blocking("verify password", move || is_password(&given.password, &hash)).await;
        if is_known && is_right.unwrap_or(false) {
            if let Some(digest) = digest {
                lock(&self.verified).put(digest, ());
            }
            return Verdict::LetIn;
        }
        let mut wrong = lock(&self.wrong);
        let attempts = wrong.get(&sender).map_or(0, |(attempts, _)| attempts);
        wrong.count(sender, attempts + 1);
        Verdict::Ask
    }

    /// What a right password is remembered by: nothing that it could be guessed from, and another one for each hash.
    fn digest(&self, hash: &PasswordHash, given: &Credentials) -> Option<[u8; 32]> {
        let mut context = hmac::Context::with_key(self.key.as_ref()?);
        for part in [hash.as_str(), given.user.as_str(), given.password.expose()] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
        context.sign().as_ref().try_into().ok()
    }
}

fn is_password(password: &Secret<String>, hash: &PasswordHash) -> bool {
    let Ok(parsed) = phc::PasswordHash::new(hash.as_str()) else { return false };
    Argon2::default().verify_password(password.expose().as_bytes(), &parsed).is_ok()
}

/// `Basic` and user:password in base64 (RFC 7617).
fn credentials(value: &HeaderValue) -> Option<Credentials> {
    let text = value.to_str().ok().filter(|text| text.len() <= AUTHORIZATION_BYTES_MAX)?;
    let (scheme, encoded) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some(Credentials { user: user.to_owned(), password: Secret::new(password.to_owned()) })
}

/// Values that are forgotten after a while, and all at once when there are too many.
#[derive(Debug)]
struct Fresh<K, V> {
    age_max: Duration,
    count_max: usize,
    values: HashMap<K, (V, Instant)>,
}

impl<K: Eq + Hash, V: Copy> Fresh<K, V> {
    fn new(age_max: Duration, count_max: usize) -> Self {
        Self { age_max, count_max, values: HashMap::new() }
    }

    /// A value and how long it is still known.
    fn get(&mut self, key: &K) -> Option<(V, Duration)> {
        let (value, since) = *self.values.get(key)?;
        let left = self.age_max.checked_sub(since.elapsed()).filter(|left| !left.is_zero());
        if left.is_none() {
            self.values.remove(key);
        }
        left.map(|left| (value, left))
    }

    /// Puts a value that is known for the whole time.
    fn put(&mut self, key: K, value: V) {
        self.make_room();
        self.values.insert(key, (value, Instant::now()));
    }

    /// Puts a value in place of one whose time goes on.
    fn count(&mut self, key: K, value: V) {
        self.make_room();
        self.values.entry(key).and_modify(|(known, _)| *known = value).or_insert((value, Instant::now()));
    }

    fn make_room(&mut self) {
        if self.values.len() >= self.count_max {
            let age_max = self.age_max;
            self.values.retain(|_, (_, since)| since.elapsed() < age_max);
        }
        if self.values.len() >= self.count_max {
            self.values.clear();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(text: &str) -> HeaderValue {
        HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(text))).unwrap()
    }

    fn users(password: &str) -> BTreeMap<HttpUser, PasswordHash> {
        let hash = hash(&Secret::new(password.to_owned())).unwrap();
        BTreeMap::from([("ada".parse().unwrap(), hash)])
    }

    struct Bench {
        verifier: Verifier,
        tasks: Tasks,
    }

    impl Bench {
        async fn asks(&self, users: &BTreeMap<HttpUser, PasswordHash>, client: u8, given: &str) -> Verdict {
            let (app, client) = ("shop".parse().unwrap(), IpAddr::from([192, 0, 2, client]));
            self.verifier.verify(&app, users, client, Some(&basic(given)), &self.tasks).await
        }
    }

    #[tokio::test]
    async fn the_right_password_is_verified_once_and_forgotten_with_its_hash() {
        let bench = Bench { verifier: Verifier::new(), tasks: Tasks::new() };
        let known = users("s3cret:with colon");
        assert_eq!(bench.asks(&known, 1, "ada:s3cret:with colon").await, Verdict::LetIn);
        assert_eq!(lock(&bench.verifier.verified).values.len(), 1);
        let begun = std::time::Instant::now();
        for _ in 0..100 {
            assert_eq!(bench.asks(&known, 2, "ada:s3cret:with colon").await, Verdict::LetIn);
        }
        assert!(
            begun.elapsed() < Duration::from_millis(250),
            "argon2 was asked again: {:?}",
            begun.elapsed()
        );
        assert_eq!(bench.asks(&users("another"), 1, "ada:s3cret:with colon").await, Verdict::Ask);
    }

    #[tokio::test]
    async fn b5_who_guesses_is_told_to_come_later_and_nobody_else() {
        let bench = Bench { verifier: Verifier::new(), tasks: Tasks::new() };
        let known = users("right");
        for guess in 0..ATTEMPTS_MAX {
            assert_eq!(bench.asks(&known, 1, &format!("ada:{guess}")).await, Verdict::Ask);
        }
        assert!(matches!(bench.asks(&known, 1, "ada:right").await, Verdict::ComeLater(1..=61)));
        assert_eq!(bench.asks(&known, 2, "ada:right").await, Verdict::LetIn);
        assert_eq!(
            bench.asks(&known, 1, "ada:right").await,
            Verdict::LetIn,
            "somebody who is let in stays in"
        );
        assert_eq!(bench.asks(&known, 3, "eve:right").await, Verdict::Ask);
    }

    #[test]
    fn what_is_no_basic_authorization_is_no_credential() {
        for bad in ["", "Basic", "Basic !", "Bearer eDp5", "Basic eA==", "Basic /w=="] {
            assert!(credentials(&HeaderValue::from_str(bad).unwrap()).is_none(), "{bad}");
        }
        assert!(credentials(&basic(&format!("a:{}", "x".repeat(AUTHORIZATION_BYTES_MAX)))).is_none());
        let given = credentials(&HeaderValue::from_static("basic YTpi")).unwrap();
        assert_eq!((given.user.as_str(), given.password.expose().as_str()), ("a", "b"));
    }
}
