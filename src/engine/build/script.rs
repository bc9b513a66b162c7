//! [`Script`]: the Dockerfile and its `.dockerignore`, read and checked before the engine is asked.

use std::path::{Component, Path, PathBuf};

use autostack_domain::FailureKind;

use super::{dockerignore::DockerIgnore, error::BuildError, request::Dockerfile, tree::read_text};

/// Bytes of a Dockerfile, and of a `.dockerignore`.
const SCRIPT_BYTES_MAX: u64 = 1024 * 1024;

/// What a generated Dockerfile is called.
pub(crate) const GENERATED: &str = "Dockerfile";

/// What is built, and what is left out.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    /// Path of the Dockerfile in the commit; `None` for one that was generated.
    pub(crate) path: Option<PathBuf>,
    /// What it says.
    pub(crate) text: String,
    /// The file that says what is left out, by its path in the commit, with its text.
    pub(crate) ignore_file: Option<(PathBuf, String)>,
    /// What that file means.
    pub(crate) ignore: DockerIgnore,
}

impl Script {
    /// Reads both. Blocks.
    ///
    /// # Errors
    /// [`FailureKind::BadAppFile`] when one cannot be read or means nothing.
    pub(crate) fn read(context: &Path, dockerfile: &Dockerfile) -> Result<Self, BuildError> {
        let (path, text) = match dockerfile {
            Dockerfile::Text(text) => (None, text.clone()),
            Dockerfile::File(path) => {
                let is_part = |part: &Component<'_>| !matches!(part, Component::CurDir);
                let path: PathBuf = Path::new(path).components().filter(is_part).collect();
                let text = read(context, &path)?.ok_or_else(|| missing(&path))?;
                (Some(path), text)
            }
        };
        let own = path.as_ref().map(|path| {
            let mut own = path.clone().into_os_string();
            own.push(".dockerignore");
            PathBuf::from(own)
        });
        let mut ignore_file = None;
        for candidate in own.into_iter().chain([PathBuf::from(".dockerignore")]) {
            if let Some(text) = read(context, &candidate)? {
                ignore_file = Some((candidate, text));
                break;
            }
        }
        let ignore = match &ignore_file {
            Some((path, text)) => DockerIgnore::parse(text).map_err(|bad| {
                BuildError::new(FailureKind::BadAppFile, format!("{} does not parse: {bad}", path.display()))
                    .evidence([format!("the line: {}", bad.0)])
                    .hint("close the bracket, or put a \\ in front of it")
            })?,
            None => DockerIgnore::default(),
        };
        Ok(Self { path, text, ignore_file, ignore })
    }

    /// What the Dockerfile is called, for people.
    pub(crate) fn name(&self) -> String {
        self.path
            .as_ref()
            .map_or_else(|| "the generated Dockerfile".into(), |path| path.display().to_string())
    }

    /// The name of the Dockerfile in its folder.
    pub(crate) fn file_name(&self) -> String {
        let name = self.path.as_ref().and_then(|path| path.file_name());
        name.map_or_else(|| GENERATED.to_owned(), |name| name.to_string_lossy().into_owned())
    }

    /// A line by its number, counted from 1.
    pub(crate) fn line(&self, number: usize) -> Option<&str> {
        self.text.lines().nth(number.checked_sub(1)?).map(str::trim_end)
    }

    /// The image of a `# syntax=` line, which stands in front of everything else.
    pub(crate) fn syntax(&self) -> Option<&str> {
        self.line_with_syntax()?.1.split_once('=').map(|(_, image)| image.trim())
    }

    /// That line, with its number.
    pub(crate) fn line_with_syntax(&self) -> Option<(usize, &str)> {
        let directives = self.text.lines().take_while(|line| line.trim_start().starts_with('#'));
        let mut numbered = directives.enumerate().map(|(at, line)| (at + 1, line.trim()));
        numbered.find(|(_, line)| {
            let key = line.trim_start_matches('#').split('=').next().unwrap_or_default();
            line.contains('=') && key.trim().eq_ignore_ascii_case("syntax")
        })
    }

    /// The names of its stages, in order.
    pub(crate) fn stages(&self) -> Vec<&str> {
        self.text.lines().filter_map(stage_name).collect()
    }

    /// The first line that names something, with its number.
    pub(crate) fn line_with(&self, words: &str) -> Option<(usize, &str)> {
        let numbered = self.text.lines().enumerate().map(|(at, line)| (at + 1, line.trim_end()));
        numbered.into_iter().find(|(_, line)| !line.trim_start().starts_with('#') && line.contains(words))
    }
}

/// The name in `FROM image AS name`.
fn stage_name(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    words.next().filter(|word| word.eq_ignore_ascii_case("from"))?;
    words.find(|word| word.eq_ignore_ascii_case("as"))?;
    words.next()
}

fn read(context: &Path, path: &Path) -> Result<Option<String>, BuildError> {
    read_text(context, path, SCRIPT_BYTES_MAX).map_err(|error| {
        BuildError::new(FailureKind::BadAppFile, format!("{} cannot be read: {error}", path.display()))
            .hint(format!("make {} a small text file of the repository", path.display()))
    })
}

fn missing(path: &Path) -> BuildError {
    BuildError::new(FailureKind::BadAppFile, format!("there is no {} in the repository", path.display()))
        .hint("commit it, or correct the path to it")
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn its_own_ignore_file_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("deploy")).unwrap();
        fs::write(dir.path().join(".dockerignore"), "a").unwrap();
        fs::write(dir.path().join("deploy/prod"), "FROM x").unwrap();
        let read = || Script::read(dir.path(), &Dockerfile::File("./deploy//prod".into())).unwrap();
        assert_eq!(read().ignore_file, Some((".dockerignore".into(), "a".into())));
        fs::write(dir.path().join("deploy/prod.dockerignore"), "b").unwrap();
        assert_eq!(read().ignore_file, Some(("deploy/prod.dockerignore".into(), "b".into())));
        assert_eq!((read().name(), read().file_name()), ("deploy/prod".into(), "prod".into()));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let read = || Script::read(dir.path(), &Dockerfile::File("Dockerfile".into())).unwrap_err();
        assert_eq!(read().message, "there is no Dockerfile in the repository");
        symlink("/etc/hostname", dir.path().join("Dockerfile")).unwrap();
        assert!(read().message.contains("leads out of the repository"), "{}", read());
        fs::remove_file(dir.path().join("Dockerfile")).unwrap();
        fs::write(dir.path().join("Dockerfile"), "FROM x").unwrap();
        fs::write(dir.path().join(".dockerignore"), "a\n[b\n").unwrap();
        assert_eq!(read().message, ".dockerignore does not parse: `[b` is not a pattern");
        assert_eq!(read().kind, FailureKind::BadAppFile);
    }

    #[test]
    fn what_it_says_is_found() {
        let script =
            |text: &str| Script::read(Path::new("/nonexistent"), &Dockerfile::Text(text.into())).unwrap();
        let read = script(
            "# escape=\\\n# Syntax = docker/dockerfile:1\nFROM a AS one\nfrom --platform=x b as two\nFROM c",
        );
        assert_eq!(read.syntax(), Some("docker/dockerfile:1"));
        assert_eq!(read.stages(), ["one", "two"]);
        assert_eq!(read.line(3), Some("FROM a AS one"));
        assert_eq!(read.line_with("b as"), Some((4, "from --platform=x b as two")));
        assert_eq!(script("FROM a\n# syntax=x").syntax(), None);
    }
}
