//! Requests that are done once, however often their client sends them: what each came to is kept for a day, under the key
//! that the client gave it.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use autostack_base::clock;
use autostack_domain::{
    IdempotencyKey, UserId,
    kept_answer::{Answered, KeptAnswer},
};
use autostack_store::Store;

use crate::{error::PlatformError, platform::Platform};

/// Requests that are being done under a key.
#[derive(Default)]
pub(crate) struct UnderWay(Mutex<HashSet<(UserId, IdempotencyKey)>>);

/// What is to be done with a request.
pub enum Once {
    /// It has come for the first time: do it, then say what it came to.
    Do(Doing),
    /// It was done: this came of it.
    Done(Answered),
    /// It is being done.
    UnderWay,
    /// The agent was stopped while it was being done.
    Unknown,
    /// Another request came under the same key.
    Another,
}

/// A request that is being done.
pub struct Doing {
    platform: Platform,
    user: UserId,
    key: IdempotencyKey,
    kept: KeptAnswer,
}

impl Platform {
    /// Asks whether a request is to be done; `request` is the digest of all that it says.
    pub async fn begin_once(
        &self,
        user: &UserId,
        key: &IdempotencyKey,
        request: String,
    ) -> Result<Once, PlatformError> {
        let mine = (user.clone(), key.clone());
        let is_first = self.0.under_way.lock().insert(mine);
        if !is_first {
            return Ok(Once::UnderWay);
        }
        let doing = Doing {
            platform: self.clone(),
            user: user.clone(),
            key: key.clone(),
            kept: KeptAnswer { request, began_at: clock::now(), answer: None },
        };
        let (user, key, begun) = (user.clone(), key.clone(), doing.kept.clone());
        let begin = move |store: &Store| store.begin_request(&user, &key, &begun);
        Ok(match self.parts().store.call(begin).await? {
            None => Once::Do(doing),
            Some(known) if known.request != doing.kept.request => Once::Another,
            Some(KeptAnswer { answer: Some(answer), .. }) => Once::Done(answer),
            Some(_) => Once::Unknown,
        })
    }
}

impl Doing {
    /// Keeps what it came to; `None`: it may be tried again.
    pub async fn end(self, answer: Option<Answered>) -> Result<(), PlatformError> {
        let (user, key) = (self.user.clone(), self.key.clone());
        let kept = answer.map(|answer| KeptAnswer { answer: Some(answer), ..self.kept.clone() });
        let end = move |store: &Store| store.end_request(&user, &key, kept.as_ref());
        Ok(self.platform.parts().store.call(end).await?)
    }
}

impl Drop for Doing {
    fn drop(&mut self) {
        self.platform.0.under_way.lock().remove(&(self.user.clone(), self.key.clone()));
    }
}

impl UnderWay {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<(UserId, IdempotencyKey)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
