//! The host key: made on the first start, kept for ever, refused when it is damaged.

use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use russh::keys::{
    Algorithm, HashAlg, PrivateKey,
    ssh_key::{self, LineEnding, private::Ed25519Keypair},
};

/// A larger file is no host key.
const FILE_BYTES_MAX: u64 = 16 * 1024;

/// The key by which clients know this host.
#[derive(Clone)]
pub struct HostKey(PrivateKey);

/// Why there is no host key.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// The file or its folder cannot be read or written.
    #[error("cannot {action} {path:?}")]
    File {
        /// What was tried: `read`, `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Other users of the host can read it.
    #[error(
        "the host key {path:?} has mode {mode:04o}, so that others can read it; \
         if nobody else did, set it right: chmod 600 {path:?}"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is there and holds no key that could be used.
    #[error(
        "the host key {path:?} is damaged ({why}); restore it from a backup, or remove it to have a new one \
         made (every client will then be warned that the host has changed)"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No key could be made.
    #[error("cannot make a host key: {why}")]
    Make {
        /// What went wrong.
        why: String,
    },
}

impl HostKey {
    /// Reads the key, or makes one where there is no file. Blocking; call it at start.
    ///
    /// # Errors
    /// [`HostKeyError`]: an existing file is never replaced, whatever is in it.
    pub fn open(path: &Path) -> Result<Self, HostKeyError> {
        match File::open(path) {
            Ok(file) => read(&file, path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(path),
            Err(source) => Err(failed("read", path)(source)),
        }
    }

    /// `SHA256:…`, as `ssh-keygen -l` prints it and as a client asks its user to compare.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }

    /// The public half as a line of a `known_hosts` file, without the host name.
    pub fn public_line(&self) -> String {
        self.0.public_key().to_openssh().unwrap_or_default()
    }

    pub(crate) fn private(&self) -> PrivateKey {
        self.0.clone()
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HostKey").field(&self.fingerprint()).finish()
    }
}

fn read(file: &File, path: &Path) -> Result<HostKey, HostKeyError> {
    let metadata = file.metadata().map_err(failed("read", path))?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(HostKeyError::Exposed { path: path.to_owned(), mode });
    }
    let damaged = |why: String| HostKeyError::Damaged { path: path.to_owned(), why };
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(failed("read", path))?;
    if text.is_empty() {
        return Err(damaged("it is empty".into()));
    }
    let key = PrivateKey::from_openssh(&text).map_err(|error| damaged(error.to_string()))?;
    if key.is_encrypted() {
        return Err(damaged("it is protected by a passphrase".into()));
    }
    match key.algorithm() {
        Algorithm::Ed25519 => Ok(HostKey(key)),
        other => Err(damaged(format!("it is a key for {other}, expected ssh-ed25519"))),
    }
}

/// Written beside, synced and renamed: the file is whole or not there.
fn make(path: &Path) -> Result<HostKey, HostKeyError> {
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed)
        .map_err(|_| HostKeyError::Make { why: "the system gives no random bytes".into() })?;
    let encoding = |error: ssh_key::Error| HostKeyError::Make { why: error.to_string() };
    let key = PrivateKey::new(Ed25519Keypair::from_seed(&seed).into(), "autostack").map_err(encoding)?;
    let text = key.to_openssh(LineEnding::LF).map_err(encoding)?;
    write_new(path, text.as_bytes()).map_err(failed("write", path))?;
    let key = HostKey(key);
    tracing::info!(path = %path.display(), fingerprint = key.fingerprint(), "made a host key");
    Ok(key)
}

fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    // What a crash left there was never used.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(dir)?.sync_all()
}

fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> HostKeyError {
    let path = path.to_owned();
    move |source| HostKeyError::File { action, path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn refusal(path: &Path) -> String {
        HostKey::open(path).unwrap_err().to_string()
    }

    #[test]
    fn the_key_of_the_first_start_is_the_key_of_the_second() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/ssh_host_ed25519");
        let first = HostKey::open(&path).unwrap();
        assert_eq!(first.fingerprint(), HostKey::open(&path).unwrap().fingerprint());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert!(first.public_line().starts_with("ssh-ed25519 "));
        let other = HostKey::open(&dir.path().join("other")).unwrap();
        assert_ne!(first.fingerprint(), other.fingerprint());
    }

    #[test]
    fn a_damaged_key_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        HostKey::open(&path).unwrap();
        let good = fs::read(&path).unwrap();
        for bad in [&b""[..], b"nonsense", &good[..good.len() / 2]] {
            fs::write(&path, bad).unwrap();
            assert!(refusal(&path).contains("damaged"), "{}", refusal(&path));
            assert_eq!(fs::read(&path).unwrap(), bad);
        }
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        HostKey::open(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(refusal(&path).contains("chmod 600"));
    }

    #[test]
    fn what_a_crash_left_beside_does_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(dir.path().join("key.new"), "half").unwrap();
        HostKey::open(&path).unwrap();
        assert!(!dir.path().join("key.new").exists());
    }
}
