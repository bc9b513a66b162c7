//! The app's config for the steps of a generated Dockerfile: one secret that they source, and words that change
//! when it does.
//!
//! A builder does not look at secrets when it decides whether a step can be reused, so a changed value would not
//! be seen. The words stand in the Dockerfile in its place. They are random and tell nothing: which belongs to
//! which config is known to a file of the host alone.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use autostack_domain::EnvMap;
use uuid::Uuid;

use crate::reuse::decides_an_install;

/// What an image says itself: programs are elsewhere than on the host.
const OF_THE_IMAGE: [&str; 5] = ["HOME", "LANG", "PATH", "PORT", "TMPDIR"];
/// The file in an app's cache that remembers the words.
const FILE: &str = "image-words";

/// Words that change with the config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words {
    /// With what decides an installation.
    pub(crate) install: String,
    /// With any of it.
    pub(crate) whole: String,
}

/// What of the config a step may see.
pub(crate) fn for_steps(config: &EnvMap) -> impl Iterator<Item = (&str, &[u8])> {
    config.iter().filter(|(name, _)| !OF_THE_IMAGE.contains(name))
}

/// Lines that a shell sources, values byte for byte.
pub(crate) fn script(config: &EnvMap) -> Vec<u8> {
    let mut script = Vec::new();
    for (name, value) in for_steps(config) {
        script.extend_from_slice(b"export ");
        script.extend_from_slice(name.as_bytes());
        script.extend_from_slice(b"='");
        for byte in value {
            match byte {
                b'\'' => script.extend_from_slice(b"'\\''"),
                byte => script.push(*byte),
            }
        }
        script.extend_from_slice(b"'\n");
    }
    script
}

/// The words for this config: those of the last build where it is the same, else new ones.
pub(crate) fn words(config: &EnvMap, app_cache: &Path) -> io::Result<Words> {
    let file = app_cache.join(FILE);
    let known = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let mut lines = known.lines();
    let install = word(lines.next(), for_steps(config).filter(|(name, _)| decides_an_install(name)));
    let whole = word(lines.next(), for_steps(config));
    let text = format!("{}\n{}\n", install.1, whole.1);
    if text != known {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(app_cache)?;
        let beside = app_cache.join(format!("{FILE}.new"));
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&beside)?.write_all(text.as_bytes())?;
        fs::rename(beside, file)?;
    }
    Ok(Words { install: install.0, whole: whole.0 })
}

/// The word and the line that remembers it: `WORD HASH`, the hash salted with the word.
fn word<'a>(known: Option<&str>, config: impl Iterator<Item = (&'a str, &'a [u8])>) -> (String, String) {
    let config: Vec<(&str, &[u8])> = config.collect();
    let hash = |word: &str| {
        let mut hasher = DefaultHasher::new();
        (word, &config).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    };
    if let Some((word, of)) = known.and_then(|line| line.split_once(' '))
        && hash(word) == of
    {
        return (word.to_owned(), format!("{word} {of}"));
    }
    let word = Uuid::new_v4().simple().to_string()[..12].to_owned();
    let line = format!("{word} {}", hash(&word));
    (word, line)
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, process::Command};

    use super::*;

    fn config(pairs: &[(&str, &[u8])]) -> EnvMap {
        let mut env = EnvMap::new();
        for (name, value) in pairs {
            env.set(name, *value).unwrap();
        }
        env
    }

    #[test]
    fn a_shell_reads_back_every_byte() {
        let value: Vec<u8> = (1..=255).chain(*b"'; $(id) `id` \"\\n\n").collect();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        fs::write(&file, script(&config(&[("A", &value), ("B", b""), ("PATH", b"/nowhere")]))).unwrap();
        let shell =
            Command::new("/bin/sh").args(["-c", ". \"$0\"; printf %s \"$A${B-none}\""]).arg(&file).output();
        assert_eq!(shell.unwrap().stdout, value);
        assert!(!fs::read(&file).unwrap().windows(4).any(|bytes| bytes == b"PATH"));
    }

    #[test]
    fn words_change_with_what_they_stand_for_and_tell_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("app");
        let words_of = |pairs: &[(&str, &[u8])]| words(&config(pairs), &cache).unwrap();
        let first = words_of(&[("TOKEN", b"one")]);
        assert_eq!(words_of(&[("TOKEN", b"one")]), first);
        let second = words_of(&[("TOKEN", b"two")]);
        assert!(second.whole != first.whole && second.install == first.install);
        let third = words_of(&[("TOKEN", b"two"), ("NPM_CONFIG_REGISTRY", b"https://r.example.com")]);
        assert!(third.whole != second.whole && third.install != second.install);
        let back = words_of(&[("TOKEN", b"one")]);
        assert_ne!(back.whole, first.whole, "a word is never used again, so it says nothing about the value");
        let file = cache.join(FILE);
        assert!(!fs::read_to_string(&file).unwrap().contains("one"));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
