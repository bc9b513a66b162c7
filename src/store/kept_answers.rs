//! Verbs of what requests came to that may be sent again, by user and the key that the client gave. Sealed: an answer may
//! hold a secret.

use autostack_domain::{IdempotencyKey, KeptAnswer, UnixMillis, UserId, limits};
use redb::ReadableTable;

use crate::{
    error::StoreError, record::first_version, seal::Belonging, sessions, store::Store, tables::KEPT_ANSWERS,
};

first_version!(KeptAnswer);

impl Store {
    /// Records that a request begins under a key; `Some` where one has come under it before, and nothing changes then.
    /// Those of the user that are older than [`limits::KEPT_ANSWER_MILLIS_MAX`] are forgotten, and the oldest beyond
    /// [`limits::KEPT_ANSWERS_PER_USER_MAX`].
    pub fn begin_request(
        &self,
        user: &UserId,
        key: &IdempotencyKey,
        begun: &KeptAnswer,
    ) -> Result<Option<KeptAnswer>, StoreError> {
        let belonging = Belonging::KeptAnswer(user, key);
        let sealed = self.sealer().seal_record(belonging, begun)?;
        self.write(|txn| {
            let mut rows = txn.open_table(KEPT_ANSWERS)?;
            let mut known = Vec::new();
            for row in rows.range(sessions::of(user))? {
                let (row_key, kept) = row?;
                known.push((UnixMillis(kept.value().0), row_key.value().1.to_owned()));
            }
            known.sort_unstable();
            let mut surplus = (known.len() + 1).saturating_sub(limits::KEPT_ANSWERS_PER_USER_MAX);
            for (began_at, old) in known {
                let is_old = begun.began_at.since(began_at) > limits::KEPT_ANSWER_MILLIS_MAX;
                if is_old || (surplus > 0 && old != key.as_str()) {
                    rows.remove((user.as_str(), old.as_str()))?;
                    surplus = surplus.saturating_sub(1);
                }
            }
            let row = (user.as_str(), key.as_str());
            if let Some(kept) = rows.get(row)? {
                return self.sealer().open_record(belonging, kept.value().1).map(Some);
            }
            rows.insert(row, (begun.began_at.0, sealed.as_slice()))?;
            Ok(None)
        })
    }

    /// Records what a request has come to; `None`: that it may be tried again as if it had never come.
    pub fn end_request(
        &self,
        user: &UserId,
        key: &IdempotencyKey,
        ended: Option<&KeptAnswer>,
    ) -> Result<(), StoreError> {
        let seal = |kept| self.sealer().seal_record(Belonging::KeptAnswer(user, key), kept);
        let sealed = ended.map(|kept| seal(kept).map(|sealed| (kept.began_at.0, sealed))).transpose()?;
        self.write(|txn| {
            let (mut rows, row) = (txn.open_table(KEPT_ANSWERS)?, (user.as_str(), key.as_str()));
            match &sealed {
                Some((began_at, sealed)) => drop(rows.insert(row, (*began_at, sealed.as_slice()))?),
                None => drop(rows.remove(row)?),
            }
            Ok(())
        })
    }
}
