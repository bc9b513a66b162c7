//! [`AgentMark`]: the mark that keeps two agents on one engine apart.

use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    str::FromStr,
};

use autostack_domain::Invalid;
use aws_lc_rs::rand;

use crate::error::EngineError;

/// Identifies one agent on an engine: 16 hexadecimal digits, made once at random and kept in a file. It
/// stands in the label [`crate::labels::AGENT`] of everything that the agent makes there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AgentMark(String);

impl AgentMark {
    /// Digits of a mark.
    pub const CHARS: usize = 16;

    /// Reads the mark from a file, or makes one that only the owner can read, with the folders above it. The
    /// file is whole or not there, whenever the machine stops.
    ///
    /// # Errors
    /// [`EngineError::Mark`] when the file cannot be read or written or holds something else: a new mark in
    /// its place would make the agent forget what is its own.
    pub fn load_or_make(path: &Path) -> Result<Self, EngineError> {
        let failed = |source| EngineError::Mark { path: path.to_owned(), source };
        if let Some(mark) = read(path).map_err(failed)? {
            return Ok(mark);
        }
        let mark = Self::random().map_err(failed)?;
        write(path, &mark).map_err(failed)?;
        Ok(mark)
    }

    /// A new mark.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; Self::CHARS / 2];
        rand::fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random bytes"))?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// The mark as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AgentMark {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let is_hex = given.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if is_hex && given.len() == Self::CHARS {
            Ok(Self(given.to_owned()))
        } else {
            Err(Invalid::new("agent mark", given, "expected 16 digits of 0-9 and a-f"))
        }
    }
}

impl fmt::Display for AgentMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn read(path: &Path) -> io::Result<Option<AgentMark>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // One byte more than a mark and its end of line: enough to see that it is something else.
    let mut text = String::new();
    file.take(AgentMark::CHARS as u64 + 2).read_to_string(&mut text)?;
    let mark = text.strip_suffix('\n').unwrap_or(&text).parse();
    mark.map(Some).map_err(|invalid: Invalid| io::Error::new(io::ErrorKind::InvalidData, invalid))
}

fn write(path: &Path, mark: &AgentMark) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        // What a crash left behind was never used.
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    writeln!(file, "{mark}")?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_mark_is_made_once_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/engine.id");
        let made = AgentMark::load_or_make(&path).unwrap();
        assert_eq!(made.as_str().len(), AgentMark::CHARS);
        assert_eq!(AgentMark::load_or_make(&path).unwrap(), made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(dir.path().join("keys")).unwrap().permissions().mode() & 0o777, 0o700);
        assert_ne!(AgentMark::random().unwrap(), made);
    }

    #[test]
    fn a_file_that_holds_something_else_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("engine.id");
        for text in ["", "xyz", "0123456789abcdef0", "0123456789ABCDEF", "0123456789abcdef\n\n"] {
            fs::write(&path, text).unwrap();
            let refused = AgentMark::load_or_make(&path).unwrap_err();
            assert!(matches!(refused, EngineError::Mark { .. }), "{text:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn what_a_crash_left_beside_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("engine.new"), "half").unwrap();
        let made = AgentMark::load_or_make(&dir.path().join("engine.id")).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("engine.id")).unwrap(), format!("{made}\n"));
    }
}
