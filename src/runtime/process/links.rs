//! Folders of the host in the folder of an app: links, as a process without privileges sees the host's own file
//! system and nothing can be mounted for it alone.
//!
//! What a container has at `/app/PATH` a process finds as `PATH` in its own folder, which it starts in and which is
//! its `HOME`. A folder at any other place, or one that is only to be read, cannot be given so, and is refused.
//!
//! The links belong to the artifact, so all instances of a release see the same. Those that this made are listed in
//! a file beside them; one that is not wanted any more goes with the next start.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use autostack_domain::storage::Mount;
use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat, readlinkat},
    sys::stat::{FileStat, Mode, SFlag, fstatat, mkdirat},
    unistd::{UnlinkatFlags, symlinkat, unlinkat},
};

/// Where containers have the app.
const APP: &str = "/app/";
/// The list of the links that are there.
const LIST: &str = ".autostack-storage";
/// Bytes of that list: as many mounts as there may be, each of the longest.
const LIST_BYTES_MAX: u64 = 64 * 1024;
/// Files that keep a folder in git which is empty otherwise.
const PLACEHOLDERS: [&str; 4] = [".gitkeep", ".keep", ".gitignore", ".placeholder"];

/// Why a folder cannot be given to a process.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// Not in this runtime.
    #[error(
        "{target} cannot be mounted for a process: it sees the host's own file system, and only /app/PATH, which is \
         PATH in its own folder, can be linked"
    )]
    Elsewhere {
        /// Where it should be.
        target: String,
    },
    /// Not in this runtime either.
    #[error("{target} cannot be mounted read-only for a process: a link lets it write; mount it without :ro")]
    ReadOnly {
        /// Where it should be.
        target: String,
    },
    /// The release has something of its own there.
    #[error(
        "the release brings files of its own at {path}: remove them from the repository, or mount elsewhere"
    )]
    Occupied {
        /// Where, in the app's folder.
        path: String,
    },
    /// The folder of the host is not there.
    #[error("there is no folder {} to mount", path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// The system refused something.
    #[error("link {path} in the app's folder: {source}")]
    System {
        /// Where, in the app's folder.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// Makes the folder of an app show these folders of the host, and no others that it showed before. Blocks.
///
/// # Errors
/// The first that cannot be shown.
pub(crate) fn link(app: &Path, mounts: &[Mount]) -> Result<(), LinkError> {
    let wanted = mounts.iter().map(wanted).collect::<Result<Vec<_>, _>>()?;
    let root = match File::open(app) {
        Ok(root) => root,
        // Whoever starts a program there says so.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(system(".")(error)),
    };
    let listed = read_list(&root).map_err(system(LIST))?;
    if wanted.is_empty() && listed.is_empty() {
        return Ok(());
    }
    for path in listed.iter().filter(|path| !wanted.iter().any(|(wanted, _)| wanted == path)) {
        remove(&root, path).map_err(system(path))?;
    }
    // Listed before they are made: what a crash leaves half done is still known.
    let paths: Vec<&str> = wanted.iter().map(|(path, _)| *path).collect();
    write_list(&root, &paths).map_err(system(LIST))?;
    for (path, host) in &wanted {
        make(&root, path, host)?;
    }
    Ok(())
}

/// What would be linked where, in the app's folder.
fn wanted(mount: &Mount) -> Result<(&str, &Path), LinkError> {
    let target = || mount.target.clone();
    let path = mount.target.strip_prefix(APP).ok_or_else(|| LinkError::Elsewhere { target: target() })?;
    if mount.read_only {
        return Err(LinkError::ReadOnly { target: target() });
    }
    if path == LIST || !is_inside(path) {
        return Err(LinkError::Elsewhere { target: target() });
    }
    if !mount.host.is_dir() {
        return Err(LinkError::Missing { path: mount.host.clone() });
    }
    Ok((path, &mount.host))
}

fn is_inside(path: &str) -> bool {
    !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn system(path: &str) -> impl FnOnce(io::Error) -> LinkError {
    let path = path.to_owned();
    move |source| LinkError::System { path, source }
}

/// The folder that holds the last part of a path, and that part. Folders on the way are made where they are missing
/// and `makes` says so; a link on the way is never followed.
fn parent<'p>(root: &File, path: &'p str, makes: bool) -> io::Result<(OwnedFd, &'p str)> {
    let mut folder: OwnedFd = root.try_clone()?.into();
    let (way, last) = path.rsplit_once('/').unwrap_or(("", path));
    for part in way.split('/').filter(|part| !part.is_empty()) {
        if makes {
            match mkdirat(&folder, part, Mode::from_bits_truncate(0o755)) {
                Err(Errno::EEXIST) | Ok(()) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        folder = openat(&folder, part, flags, Mode::empty())?;
    }
    Ok((folder, last))
}

fn look(folder: &OwnedFd, name: &str) -> io::Result<Option<FileStat>> {
    match fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

fn make(root: &File, path: &str, host: &Path) -> Result<(), LinkError> {
    let (folder, name) = parent(root, path, true).map_err(system(path))?;
    let found = look(&folder, name).map_err(system(path))?;
    match found.as_ref().map(kind) {
        None => {}
        Some(SFlag::S_IFLNK) => {
            let leads_to = readlinkat(&folder, name).map_err(|error| system(path)(error.into()))?;
            if Path::new(&leads_to) == host {
                return Ok(());
            }
            unlinkat(&folder, name, UnlinkatFlags::NoRemoveDir)
                .map_err(|error| system(path)(error.into()))?;
        }
        Some(SFlag::S_IFDIR) => {
            let is_gone = remove_placeholder(&folder, name).map_err(system(path))?;
            if !is_gone {
                return Err(LinkError::Occupied { path: path.to_owned() });
            }
        }
        Some(_) => return Err(LinkError::Occupied { path: path.to_owned() }),
    }
    symlinkat(host, &folder, name).map_err(|error| system(path)(error.into()))
}

/// Removes a folder that holds at most what keeps it in git; whether it is gone.
fn remove_placeholder(parent: &OwnedFd, name: &str) -> io::Result<bool> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let folder = openat(parent, name, flags, Mode::empty())?;
    for placeholder in PLACEHOLDERS {
        match unlinkat(&folder, placeholder, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(Errno::EISDIR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    match unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
        Ok(()) => Ok(true),
        Err(Errno::ENOTEMPTY | Errno::EEXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Removes a link; what is none by now is the app's own.
fn remove(root: &File, path: &str) -> io::Result<()> {
    let (folder, name) = match parent(root, path, false) {
        Ok(found) => found,
        Err(_gone_or_a_link) => return Ok(()),
    };
    match look(&folder, name)?.as_ref().map(kind) {
        Some(SFlag::S_IFLNK) => Ok(unlinkat(&folder, name, UnlinkatFlags::NoRemoveDir)?),
        _ => Ok(()),
    }
}

fn read_list(root: &File) -> io::Result<Vec<String>> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let file = match openat(root, LIST, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::ENOENT) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut text = String::new();
    file.take(LIST_BYTES_MAX).read_to_string(&mut text)?;
    // The app may have written into it: only what could be ours counts.
    Ok(text.lines().filter(|line| is_inside(line)).map(str::to_owned).collect())
}

fn write_list(root: &File, paths: &[&str]) -> io::Result<()> {
    match unlinkat(root, LIST, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(error) => return Err(error.into()),
    }
    if paths.is_empty() {
        return Ok(());
    }
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut file = File::from(openat(root, LIST, flags, Mode::from_bits_truncate(0o644))?);
    paths.iter().try_for_each(|path| writeln!(file, "{path}"))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    struct Place {
        dir: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            for folder in ["app", "host/a", "host/b"] {
                fs::create_dir_all(dir.path().join(folder)).unwrap();
            }
            Self { dir }
        }

        fn app(&self, path: &str) -> PathBuf {
            self.dir.path().join("app").join(path)
        }

        fn mount(&self, host: &str, target: &str) -> Mount {
            Mount { host: self.dir.path().join("host").join(host), target: target.into(), read_only: false }
        }

        fn link(&self, mounts: &[Mount]) -> Result<(), LinkError> {
            link(&self.app(""), mounts)
        }
    }

    #[test]
    fn a_folder_is_seen_and_written_through() {
        let place = Place::new();
        fs::create_dir_all(place.app("public/up")).unwrap();
        fs::write(place.app("public/up/.gitkeep"), "").unwrap();
        let mounts = [place.mount("a", "/app/storage"), place.mount("b", "/app/public/up")];
        place.link(&mounts).unwrap();
        place.link(&mounts).unwrap();
        fs::write(place.app("storage/x"), "x").unwrap();
        fs::write(place.app("public/up/y"), "y").unwrap();
        assert_eq!(fs::read(place.dir.path().join("host/a/x")).unwrap(), b"x");
        assert_eq!(fs::read(place.dir.path().join("host/b/y")).unwrap(), b"y");
        place.link(&mounts[..1]).unwrap();
        assert!(place.app("storage/x").exists() && !place.app("public/up").exists());
        place.link(&[place.mount("b", "/app/storage")]).unwrap();
        assert!(place.app("storage/y").exists() && !place.app("storage/x").exists());
        place.link(&[]).unwrap();
        assert_eq!(fs::read_dir(place.app("")).unwrap().count(), 1, "only `public` is left");
        assert!(place.dir.path().join("host/a/x").exists());
    }

    #[test]
    fn what_cannot_be_linked_is_refused() {
        let place = Place::new();
        let refused = |mount: Mount| place.link(&[mount]).unwrap_err();
        assert!(matches!(refused(place.mount("a", "/data")), LinkError::Elsewhere { .. }));
        assert!(matches!(refused(place.mount("a", "/app")), LinkError::Elsewhere { .. }));
        assert!(matches!(refused(place.mount("a", "/app/../x")), LinkError::Elsewhere { .. }));
        assert!(matches!(refused(place.mount("nothing", "/app/x")), LinkError::Missing { .. }));
        let read_only = Mount { read_only: true, ..place.mount("a", "/app/x") };
        assert!(matches!(refused(read_only), LinkError::ReadOnly { .. }));
        fs::write(place.app("file"), "own").unwrap();
        fs::create_dir(place.app("folder")).unwrap();
        fs::write(place.app("folder/own"), "own").unwrap();
        assert!(matches!(refused(place.mount("a", "/app/file")), LinkError::Occupied { .. }));
        assert!(matches!(refused(place.mount("a", "/app/folder")), LinkError::Occupied { .. }));
        assert_eq!(fs::read(place.app("folder/own")).unwrap(), b"own");
    }

    #[test]
    fn e3_a_link_of_the_app_leads_nowhere_else() {
        let place = Place::new();
        let outside = place.dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        symlink("/nowhere", outside.join("theirs")).unwrap();
        symlink(&outside, place.app("way")).unwrap();
        assert!(matches!(place.link(&[place.mount("a", "/app/way/x")]), Err(LinkError::System { .. })));
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        fs::write(place.app(LIST), "way/theirs\n../outside/theirs\n/etc/passwd\n").unwrap();
        place.link(&[place.mount("a", "/app/x")]).unwrap();
        assert!(
            outside.join("theirs").is_symlink(),
            "a list that the app has written removes nothing outside"
        );
        fs::remove_file(place.app(LIST)).unwrap();
        symlink(outside.join("file"), place.app(LIST)).unwrap();
        assert!(place.link(&[place.mount("a", "/app/x")]).is_err());
        assert!(!outside.join("file").exists());
    }
}
