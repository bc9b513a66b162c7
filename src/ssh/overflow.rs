//! Where a client's input waits for which memory has no room: a file without a name, read from the front.
//!
//! A program that is talked to may stop reading because nobody takes what it writes, and nobody takes it while the
//! connection waits for the program to read. Whatever the client sends is therefore taken at once.

use std::{
    fmt,
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::Notify;

/// Bytes that one file may hold. Beyond it the connection waits.
const FILE_BYTES_MAX: u64 = 8 << 30;
/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;

/// Makes the file, when it is needed.
pub(crate) type MakeFile = Box<dyn Fn() -> io::Result<File> + Send + Sync>;

/// The file of one queue.
pub(crate) struct Overflow {
    make: MakeFile,
    inside: Mutex<Inside>,
    /// Told when something came in.
    pub(crate) news: Notify,
}

/// What is in the file. Held by whoever decides where the next bytes go, or come from.
#[derive(Debug, Default)]
pub(crate) struct Inside {
    file: Option<File>,
    written: u64,
    read: u64,
}

impl Overflow {
    pub(crate) fn new(make: MakeFile) -> Self {
        Self { make, inside: Mutex::default(), news: Notify::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts bytes behind the others; `false` where there is no room. A write of this size goes to the system's cache.
    pub(crate) fn put(&self, inside: &mut Inside, bytes: &[u8]) -> io::Result<bool> {
        if inside.written.saturating_add(bytes.len() as u64) > FILE_BYTES_MAX {
            return Ok(false);
        }
        let file = match inside.file.take() {
            Some(file) => file,
            None => (self.make)()?,
        };
        let file = inside.file.insert(file);
        file.write_all_at(bytes, inside.written)?;
        inside.written += bytes.len() as u64;
        self.news.notify_one();
        Ok(true)
    }
}

impl fmt::Debug for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overflow").field("inside", &self.inside).finish_non_exhaustive()
    }
}

impl Inside {
    /// Whether nothing waits here.
    pub(crate) fn is_empty(&self) -> bool {
        self.read == self.written
    }

    /// The next bytes; `None` where nothing waits.
    pub(crate) fn take(&mut self) -> io::Result<Option<Bytes>> {
        let Some(file) = self.file.as_ref().filter(|_| self.read < self.written) else { return Ok(None) };
        let left = usize::try_from(self.written - self.read).unwrap_or(READ_BYTES);
        let mut bytes = vec![0; left.min(READ_BYTES)];
        file.read_exact_at(&mut bytes, self.read)?;
        self.read += bytes.len() as u64;
        if self.read == self.written {
            // From the beginning again; the space is given back.
            file.set_len(0)?;
            (self.read, self.written) = (0, 0);
        }
        Ok(Some(bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_taken_in_order_and_the_space_given_back() {
        let overflow = Overflow::new(Box::new(tempfile::tempfile));
        let mut inside = overflow.lock();
        assert_eq!(inside.take().unwrap(), None);
        for round in 0..3 {
            for part in [&b"one "[..], b"two ", &[b'x'; 100_000]] {
                assert!(overflow.put(&mut inside, part).unwrap());
            }
            let mut all = Vec::new();
            while let Some(bytes) = inside.take().unwrap() {
                all.extend_from_slice(&bytes);
            }
            assert!(all.starts_with(b"one two xxx") && all.len() == 100_008, "{round}");
            assert!(inside.is_empty());
            assert_eq!(inside.file.as_ref().unwrap().metadata().unwrap().len(), 0);
        }
    }
}
