//! What may stand in a tree: names, modes and symbolic links. Pure.

/// Longest name of a file or folder, in bytes: Linux' own limit.
pub(super) const NAME_BYTES_MAX: usize = 255;
/// Longest target of a symbolic link, in bytes: Linux' own limit.
pub(super) const LINK_BYTES_MAX: u64 = 4095;

/// What a tree entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    File { executable: bool },
    Link,
    Submodule,
}

impl Kind {
    /// Reads the mode of a tree entry. Permission bits beyond "executable" mean nothing and are dropped;
    /// git itself accepts any.
    pub(super) fn of(mode: u32) -> Option<Self> {
        match mode & 0o170_000 {
            0o040_000 => Some(Kind::Folder),
            0o100_000 => Some(Kind::File { executable: mode & 0o100 != 0 }),
            0o120_000 => Some(Kind::Link),
            0o160_000 => Some(Kind::Submodule),
            _ => None,
        }
    }
}

/// Why a name of a tree entry is refused.
pub(crate) fn name_fault(name: &[u8]) -> Option<&'static str> {
    if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') {
        return Some("it is not the name of a file");
    }
    if name.len() > NAME_BYTES_MAX {
        return Some("its name is longer than 255 bytes");
    }
    if is_dot_git(name) {
        return Some("git keeps its own files under this name");
    }
    None
}

/// `.git` as any file system may read it: in any case, by its short name on Windows, with trailing dots
/// and blanks, with characters that macOS ignores.
fn is_dot_git(name: &[u8]) -> bool {
    let visible: String = String::from_utf8_lossy(name).chars().filter(|c| !is_ignorable(*c)).collect();
    let stem = visible.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    stem.eq_ignore_ascii_case(".git") || stem.eq_ignore_ascii_case("git~1")
}

fn is_ignorable(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

/// How many folders up a symbolic link's target leads before it goes down, or why it is refused.
///
/// Only leading `..` are accepted: the folders above a link are real ones, whatever stands in the tree, but
/// a `..` after a name may follow another link and end anywhere. So if each link climbs no higher than the
/// root, no chain of links leaves the tree.
pub(crate) fn link_climb(target: &[u8]) -> Result<usize, &'static str> {
    if target.is_empty() || target.contains(&0) {
        return Err("it is a symbolic link to nothing");
    }
    if target.len() as u64 > LINK_BYTES_MAX {
        return Err("it is a symbolic link with a target longer than 4095 bytes");
    }
    if target.starts_with(b"/") {
        return Err("it is a symbolic link to an absolute path, which is not part of the app");
    }
    let mut parts = target.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".");
    let climb = parts.by_ref().take_while(|part| *part == b"..").count();
    // `take_while` has eaten the first name, which is not `..`.
    if parts.any(|part| part == b"..") {
        return Err("it is a symbolic link that goes down and up again; name its target directly");
    }
    Ok(climb)
}

/// Why a link that climbs too high is refused.
pub(super) const LEAVES_TREE: &str = "it is a symbolic link that leads out of the app's folder";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_climb_as_far_as_they_say() {
        let good: [(&[u8], usize); 7] = [
            (b"a", 0),
            (b"./a/./b", 0),
            (b"../a", 1),
            (b"../../a/b/", 2),
            (b"..", 1),
            (b".", 0),
            (b"./.././..", 2),
        ];
        for (target, climb) in good {
            assert_eq!(link_climb(target), Ok(climb), "{:?}", String::from_utf8_lossy(target));
        }
        for target in [&b""[..], b"/", b"/etc", b"a/..", b"../a/../b", b"a\0b", &[b'a'; 4096]] {
            assert!(link_climb(target).is_err(), "{:?}", String::from_utf8_lossy(target));
        }
    }

    #[test]
    fn ordinary_names_are_accepted() {
        for name in [&b".gitignore"[..], b".github", b"git", b"git~2", b"...", b"a b", b"\xff", b"-x", b"con"]
        {
            assert_eq!(name_fault(name), None, "{:?}", String::from_utf8_lossy(name));
        }
    }

    #[test]
    fn modes_are_read_by_their_kind() {
        assert_eq!(Kind::of(0o100_644), Some(Kind::File { executable: false }));
        assert_eq!(Kind::of(0o106_777), Some(Kind::File { executable: true }));
        assert_eq!(Kind::of(0o040_000), Some(Kind::Folder));
        assert_eq!(Kind::of(0o120_000), Some(Kind::Link));
        assert_eq!(Kind::of(0o160_000), Some(Kind::Submodule));
        assert_eq!(Kind::of(0o010_644), None);
    }
}
