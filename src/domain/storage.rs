//! Folders of the host that an app keeps its data in, and where its instances see them.

use std::{
    fmt,
    path::{Component, Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::{
    limits,
    names::{Invalid, UserId},
    time::UnixMillis,
};

/// Where Dokku keeps such folders. Scripts that name it mean ours.
const DOKKUS_FOLDER: &str = "/var/lib/dokku/data/storage";

/// The name of a folder below `DATA_DIR/storage`: `[A-Za-z0-9][A-Za-z0-9_-]{0,62}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StorageName(String);

impl StorageName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StorageName {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let starts = given.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let rest = given.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if starts && rest && given.len() <= 63 {
            return Ok(Self(given.to_owned()));
        }
        let why = "use letters, digits, - and _, start with a letter or digit, 63 characters at most";
        Err(Invalid::new("storage directory", given, why))
    }
}

impl TryFrom<String> for StorageName {
    type Error = Invalid;

    fn try_from(given: String) -> Result<Self, Invalid> {
        given.parse()
    }
}

impl From<StorageName> for String {
    fn from(name: StorageName) -> String {
        name.0
    }
}

impl fmt::Display for StorageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The record of a folder below `DATA_DIR/storage`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageDirectory {
    /// Its name.
    pub name: StorageName,
    /// Who made it, and may mount it into their apps.
    pub owner: UserId,
    /// When it was made.
    pub created_at: UnixMillis,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StorageSource {
    /// A folder below `DATA_DIR/storage`.
    Directory(StorageName),
    /// Any folder of the host; for admins of the platform.
    Path(PathBuf),
}

impl StorageSource {
    /// The folder, where `storage` is `DATA_DIR/storage`.
    pub fn path(&self, storage: &Path) -> PathBuf {
        match self {
            StorageSource::Directory(name) => storage.join(name.as_str()),
            StorageSource::Path(path) => path.clone(),
        }
    }
}

/// A folder of the host and where instances see it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StorageMount {
    /// What is mounted.
    pub source: StorageSource,
    /// Where, absolute.
    pub target: String,
    /// Whether instances can only read it.
    #[serde(default)]
    pub read_only: bool,
}

impl StorageMount {
    /// Reads `SOURCE:TARGET`, with `:ro` behind it where it is only to be read. SOURCE is the name of a folder, or
    /// an absolute path; one below `storage` (`DATA_DIR/storage`), or below Dokku's own folder, is the folder of
    /// that name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(given: &str, storage: &Path) -> Result<Self, Invalid> {
        let refuse = |why: &str| Invalid::new("mount", given, why);
        if given.len() > limits::MOUNT_BYTES_MAX || given.chars().any(char::is_control) {
            return Err(refuse("it has no control characters, and 1024 bytes at most"));
        }
        let mut parts = given.split(':');
        let (Some(source), Some(target)) = (parts.next(), parts.next()) else {
            return Err(refuse("write it as DIRECTORY:/path/in/the/app"));
        };
        let read_only = match (parts.next(), parts.next()) {
            (None | Some("rw"), None) => false,
            (Some("ro"), None) => true,
            _ => return Err(refuse("after the two paths only :ro or :rw may follow")),
        };
        let source = source_of(source, storage)?;
        Ok(Self { source, target: target_of(target)?, read_only })
    }

    /// As it is typed, with the whole path of its folder.
    pub fn shown(&self, storage: &Path) -> String {
        let read_only = if self.read_only { ":ro" } else { "" };
        format!("{}:{}{read_only}", self.source.path(storage).display(), self.target)
    }
}

fn source_of(given: &str, storage: &Path) -> Result<StorageSource, Invalid> {
    if !given.starts_with('/') {
        return Ok(StorageSource::Directory(given.parse()?));
    }
    let path = clean(given).ok_or_else(|| {
        Invalid::new("path on the host", given, "it must be absolute, without . and .. and empty parts")
    })?;
    let below = [storage, Path::new(DOKKUS_FOLDER)].into_iter().find_map(|root| path.strip_prefix(root).ok());
    match below.and_then(Path::to_str) {
        Some(name) => Ok(StorageSource::Directory(name.parse()?)),
        None => Ok(StorageSource::Path(path)),
    }
}

fn target_of(given: &str) -> Result<String, Invalid> {
    let refuse = |why: &str| Invalid::new("path in the app", given, why);
    let path = clean(given).ok_or_else(|| refuse("it must be absolute, without . and .. and empty parts"))?;
    let is_systems = ["/proc", "/sys", "/dev"].iter().any(|system| path.starts_with(system));
    if path == Path::new("/") || is_systems {
        return Err(refuse("the whole file system, /proc, /sys and /dev are the container's own"));
    }
    Ok(path.to_string_lossy().into_owned())
}

/// The path, where it is absolute and plain; a slash at its end is dropped.
fn clean(given: &str) -> Option<PathBuf> {
    let inner = given.strip_prefix('/')?;
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let is_plain = inner.is_empty() || inner.split('/').all(|part| !matches!(part, "" | "." | ".."));
    let path = PathBuf::from(format!("/{inner}"));
    let is_normal = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    (is_plain && is_normal).then_some(path)
}

/// The storage of an app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StorageSettings {
    /// What its instances see, in the order in which it was mounted.
    pub mounts: Vec<StorageMount>,
}

impl StorageSettings {
    /// Adds a mount.
    ///
    /// # Errors
    /// When something is mounted there already, or there are too many.
    pub fn mount(&mut self, mount: StorageMount) -> Result<(), Invalid> {
        let refuse = |why: String| Err(Invalid::new("path in the app", &mount.target, why));
        if self.mounts.iter().any(|known| known.target == mount.target) {
            return refuse("something is mounted there already".into());
        }
        if self.mounts.len() >= limits::MOUNTS_PER_APP_MAX {
            return refuse(format!("the app has {} mounts already, which is the limit", self.mounts.len()));
        }
        self.mounts.push(mount);
        Ok(())
    }

    /// Takes a mount away; whether it was there.
    pub fn unmount(&mut self, mount: &StorageMount) -> bool {
        let before = self.mounts.len();
        self.mounts.retain(|known| (&known.source, &known.target) != (&mount.source, &mount.target));
        self.mounts.len() < before
    }
}

/// A folder of the host as a runtime is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The folder, absolute.
    pub host: PathBuf,
    /// Where the instance sees it, absolute.
    pub target: String,
    /// Whether it can only read it.
    pub read_only: bool,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STORAGE: &str = "/data/storage";

    fn parse(given: &str) -> Result<StorageMount, Invalid> {
        StorageMount::parse(given, Path::new(STORAGE))
    }

    #[test]
    fn a_folder_is_named_or_given_by_its_path() {
        let uploads = StorageSource::Directory("uploads".parse().unwrap());
        for given in [
            "uploads:/app/up",
            "/data/storage/uploads:/app/up/",
            "/var/lib/dokku/data/storage/uploads:/app/up",
            "uploads:/app/up:rw",
        ] {
            let mount = parse(given).unwrap();
            assert_eq!((&mount.source, mount.target.as_str(), mount.read_only), (&uploads, "/app/up", false));
        }
        let mount = parse("/srv/media:/media:ro").unwrap();
        assert_eq!((&mount.source, mount.read_only), (&StorageSource::Path("/srv/media".into()), true));
        assert_eq!(mount.shown(Path::new(STORAGE)), "/srv/media:/media:ro");
        assert_eq!(parse("uploads:/x").unwrap().shown(Path::new(STORAGE)), "/data/storage/uploads:/x");
    }

    #[test]
    fn e1_what_reaches_elsewhere_is_refused() {
        for bad in [
            "",
            "uploads",
            "uploads:",
            ":/app",
            "uploads:app",
            "../x:/app",
            "/data/storage/../keys:/app",
            "/data/storage/uploads/sub:/app",
            "/data/storage:/app",
            "uploads/sub:/app",
            "uploads:/",
            "uploads:/proc",
            "uploads:/proc/1",
            "uploads:/app/../etc",
            "uploads:/app//x",
            "uploads:/app/./x",
            "uploads:/app:z",
            "uploads:/app:ro:ro",
            "up;loads:/app",
            "uploads:/app\nx",
            "-x:/app",
            "~:/app",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn one_thing_is_mounted_in_one_place() {
        let mut settings = StorageSettings::default();
        settings.mount(parse("a:/app/a").unwrap()).unwrap();
        assert!(settings.mount(parse("b:/app/a").unwrap()).is_err());
        assert!(settings.mount(parse("a:/app/b").unwrap()).is_ok());
        assert!(!settings.unmount(&parse("b:/app/a").unwrap()));
        assert!(settings.unmount(&parse("a:/app/a:ro").unwrap()), "whether it is read-only does not matter");
        for number in settings.mounts.len()..limits::MOUNTS_PER_APP_MAX {
            settings.mount(parse(&format!("a:/m/{number}")).unwrap()).unwrap();
        }
        assert!(settings.mount(parse("a:/more").unwrap()).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_read_stays_where_it_should(given in "[a-z/.:~-]{0,40}") {
            if let Ok(mount) = parse(&given) {
                let path = mount.source.path(Path::new(STORAGE));
                prop_assert!(path.is_absolute() && mount.target.starts_with('/'));
                let is_plain = |path: &Path| path.components().all(|part| part != Component::ParentDir);
                prop_assert!(is_plain(&path) && is_plain(Path::new(&mount.target)));
                prop_assert_eq!(parse(&mount.shown(Path::new(STORAGE))).unwrap(), mount);
            }
        }
    }
}
