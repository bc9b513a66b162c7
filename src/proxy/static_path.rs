//! From the path of a URL to a file below a folder, and never to one outside it.
//!
//! A path is split at its slashes first and decoded afterwards, once; a part that then has a slash, a
//! backslash or a control character in it, or begins with a dot, is nothing that was published. Opening goes
//! part by part without following symbolic links, so that a link in an artifact leads nowhere.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::Path,
    time::UNIX_EPOCH,
};

use nix::{
    fcntl::{OFlag, open, openat},
    sys::stat::Mode,
};
use percent_encoding::percent_decode;

/// Parts of a path, and whether it ends with a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SitePath {
    parts: Vec<String>,
    pub(crate) is_folder: bool,
}

const INDEX: &str = "index.html";
/// Parts of a path.
const PARTS_MAX: usize = 64;
/// Bytes of a file name.
const NAME_BYTES_MAX: usize = 255;

impl SitePath {
    /// The path of a URL (without the query); `None` for one that no file can have.
    pub(crate) fn parse(path: &str) -> Option<SitePath> {
        let path = path.strip_prefix('/')?;
        let (path, is_folder) = match path.strip_suffix('/') {
            Some(path) => (path, true),
            None => (path, path.is_empty()),
        };
        if path.is_empty() {
            return is_folder.then_some(SitePath { parts: Vec::new(), is_folder });
        }
        let parts: Vec<String> = path.split('/').map(decoded_name).collect::<Option<_>>()?;
        let is_hidden = |(at, part): (usize, &String)| {
            part.starts_with('.') && !(at == 0 && part == ".well-known" && parts.len() > 1)
        };
        let is_served = parts.len() <= PARTS_MAX && !parts.iter().enumerate().any(is_hidden);
        is_served.then_some(SitePath { parts, is_folder })
    }

    /// The name by which the kind of the file is guessed.
    pub(crate) fn file_name(&self) -> &str {
        match self.parts.last() {
            Some(name) if !self.is_folder => name,
            _ => INDEX,
        }
    }

    /// `index.html` in this folder.
    fn index(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(String::as_str).chain([INDEX])
    }
}

/// One part, decoded, if it can be the name of a file.
fn decoded_name(part: &str) -> Option<String> {
    let is_escaped = |rest: &[u8]| rest.len() >= 2 && rest[..2].iter().all(u8::is_ascii_hexdigit);
    let bytes = part.as_bytes();
    let has_broken_escape = (0..bytes.len()).any(|at| bytes[at] == b'%' && !is_escaped(&bytes[at + 1..]));
    if has_broken_escape {
        return None;
    }
    let name = percent_decode(bytes).decode_utf8().ok()?;
    let is_name = (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.chars().any(|char| matches!(char, '/' | '\\') || char.is_control());
    is_name.then(|| name.into_owned())
}

/// A file that is open, and what is known of it.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) file: File,
    pub(crate) len: u64,
    /// A strong validator: changes whenever the file does.
    pub(crate) etag: String,
}

/// What is at a path.
#[derive(Debug)]
pub(crate) enum Place {
    File(Found),
    /// A folder with an index page, asked for without its slash.
    FolderWithoutSlash,
    Nothing,
}

/// Opens what `path` names below `root`.
///
/// # Errors
/// What the operating system said, but for "there is no such file" in its various forms.
pub(crate) fn find(root: &Path, path: &SitePath) -> io::Result<Place> {
    let found = if path.is_folder {
        open_file(root, path.index())?
    } else {
        match open_file(root, path.parts.iter().map(String::as_str))? {
            None if open_file(root, path.index())?.is_some() => return Ok(Place::FolderWithoutSlash),
            other => other,
        }
    };
    Ok(found.map_or(Place::Nothing, Place::File))
}

/// Opens a page that the site itself names: its start page, or its page for what is not there.
///
/// # Errors
/// As [`find`].
pub(crate) fn find_page(root: &Path, page: Option<&str>) -> io::Result<Option<Found>> {
    match SitePath::parse(&format!("/{}", page.unwrap_or(INDEX))) {
        Some(path) if !path.is_folder => open_file(root, path.parts.iter().map(String::as_str)),
        _ => Ok(None),
    }
}

/// Opens a regular file; anything else there is nothing.
fn open_file<'a>(root: &Path, parts: impl Iterator<Item = &'a str>) -> io::Result<Option<Found>> {
    match open_beneath(root, parts) {
        Ok(file) => {
            let file = File::from(file);
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                return Ok(None);
            }
            let changed = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            let etag = format!("\"{changed:x}-{:x}-{:x}\"", metadata.len(), metadata.ino());
            Ok(Some(Found { len: metadata.len(), file, etag }))
        }
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_absence(error: &io::Error) -> bool {
    use nix::libc::{EACCES, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, ENXIO};
    let absent = [ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG, EACCES, ENXIO];
    error.raw_os_error().is_some_and(|code| absent.contains(&code))
}

/// Opens part after part, each in the folder before it, following no link.
fn open_beneath<'a>(root: &Path, parts: impl Iterator<Item = &'a str>) -> io::Result<OwnedFd> {
    // The last part may be a pipe: opening it must not wait for its other end.
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let mut here = open(root, flags | OFlag::O_DIRECTORY, Mode::empty())?;
    for part in parts {
        here = openat(here.as_fd(), part, flags | OFlag::O_NOFOLLOW, Mode::empty())?;
    }
    Ok(here)
}
