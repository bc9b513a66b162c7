//! The folder of an instance, and the records in it.
//!
//! | file | written by | holds |
//! |---|---|---|
//! | `spec.json` | agent, before the shim starts | [`Launch`]: what to run; secret, it holds the environment |
//! | `shim.json` | shim, once the program is executed | [`ShimRecord`]: who runs it |
//! | `output.START` | shim | the output from byte START on ([`super::output`]) |
//! | `exit.json` | shim, last of all | [`ExitRecord`]: how it ended |
//! | `tmp/` | the app | its `TMPDIR` |

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use autostack_domain::{Exit, InstanceId, InstanceSpec, UnixMillis};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{output::OutputLimits, procfs::Identity};

/// Why a shim runs something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// An instance: outlives the agent.
    Instance,
    /// A command that somebody waits for: ends with the agent.
    OneOff,
    /// A command that somebody talks to, beside an instance or for itself: ends with the agent. It is handed its
    /// standard descriptors.
    Exec {
        /// Whether those are a terminal.
        terminal: bool,
    },
}

/// `spec.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Launch {
    pub(crate) kind: Kind,
    pub(crate) spec: InstanceSpec,
    /// The port that it was given; none for a one-off.
    pub(crate) port: Option<u16>,
    /// Its `TMPDIR`, where that is another's.
    #[serde(default)]
    pub(crate) tmp: Option<PathBuf>,
    /// Files through which its program enters the control groups that hold it to its limits.
    #[serde(default)]
    pub(crate) groups: Vec<PathBuf>,
    pub(crate) output: OutputLimits,
}

/// `shim.json`, and the word of the shim that it is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShimRecord {
    /// Identities mean nothing after another boot.
    pub(crate) boot_id: String,
    pub(crate) shim: Identity,
    pub(crate) child: Identity,
    pub(crate) started_at: UnixMillis,
}

/// `exit.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExitRecord {
    pub(crate) exit: Exit,
    pub(crate) ended_at: UnixMillis,
}

/// The folder of one instance.
#[derive(Debug, Clone)]
pub(crate) struct InstanceDir(PathBuf);

impl InstanceDir {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn of(instances: &Path, id: &InstanceId) -> Self {
        Self(instances.join(id.as_str()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.0.join("tmp")
    }

    fn spec(&self) -> PathBuf {
        self.0.join("spec.json")
    }

    fn shim(&self) -> PathBuf {
        self.0.join("shim.json")
    }

    fn exit(&self) -> PathBuf {
        self.0.join("exit.json")
    }

    /// Makes the folder with its launch record; fails where it exists.
    pub(crate) fn create(&self, launch: &Launch) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        builder.create(&self.0)?;
        builder.create(self.tmp())?;
        write_beside(&self.spec(), &serde_json::to_vec(launch)?)
    }

    pub(crate) fn launch(&self) -> io::Result<Option<Launch>> {
        read_json(&self.spec())
    }

    pub(crate) fn shim_record(&self) -> io::Result<Option<ShimRecord>> {
        read_json(&self.shim())
    }

    pub(crate) fn write_shim_record(&self, record: &[u8]) -> io::Result<()> {
        write_beside(&self.shim(), record)
    }

    pub(crate) fn exit_record(&self) -> io::Result<Option<ExitRecord>> {
        read_json(&self.exit())
    }

    /// Removes the folder and all in it; whether it was there does not matter.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes the space for the record of the exit while there is some.
    pub(crate) fn reserve_exit(&self) -> io::Result<ReservedExit> {
        let path = beside(&self.exit());
        let file = new_file(&path)?;
        nix::fcntl::posix_fallocate(&file, 0, EXIT_RECORD_BYTES_MAX)?;
        Ok(ReservedExit { file, from: path, to: self.exit() })
    }
}

/// Bytes of `exit.json`: one small block.
const EXIT_RECORD_BYTES_MAX: i64 = 512;

/// A place on disk for [`ExitRecord`], so that a full disk does not make an exit unknown.
#[derive(Debug)]
pub(crate) struct ReservedExit {
    file: File,
    from: PathBuf,
    to: PathBuf,
}

impl ReservedExit {
    /// Writes the record, durably.
    pub(crate) fn write(mut self, record: ExitRecord) -> io::Result<()> {
        let text = serde_json::to_vec(&record)?;
        self.file.write_all(&text)?;
        self.file.set_len(text.len() as u64)?;
        self.file.sync_all()?;
        fs::rename(&self.from, &self.to)?;
        self.to.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

/// Writes a file beside and renames it, so that a reader sees all of it or nothing. Not synced: after a
/// power cut no process is left that it could speak of.
fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = beside(path);
    new_file(&new)?.write_all(bytes)?;
    fs::rename(&new, path)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Reads a record; `None` where there is no such file.
fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
