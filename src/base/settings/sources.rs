//! [`Sources`]: where settings come from, and the reading of it.

use std::{
    ffi::OsString,
    io::Read,
    path::{Path, PathBuf},
};

use super::{checked::Settings, error::SettingsError, keys, raw::Given, resolve::resolve};

/// Where the settings file of an installed agent is.
pub const DEFAULT_FILE: &str = "/etc/autostack/autostack.toml";
/// Bytes of a settings file: a file with every key and its comments has a hundredth of that.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

impl Settings {
    /// Settings from the text of a TOML file alone: no environment, defaults as for root. `name` stands
    /// for the file in errors.
    ///
    /// # Errors
    /// Every mistake in the text.
    pub fn from_text(name: &str, text: &str) -> Result<Self, Vec<SettingsError>> {
        let sources = Sources::new(None, [], true);
        let (mut given, mut errors) = (Given::default(), Vec::new());
        given.add_file(Path::new(name), text, &mut errors);
        sources.checked(&given, errors)
    }
}

/// Checks a file by itself, without the `AUTOSTACK_` variables of the environment.
///
/// # Errors
/// Every mistake in the file.
pub fn check(file: &Path) -> Result<Settings, Vec<SettingsError>> {
    let no_settings = |name: &OsString| !name.as_encoded_bytes().starts_with(b"AUTOSTACK_");
    let environment = std::env::vars_os().filter(|(name, _)| no_settings(name));
    Sources::new(Some(file.to_owned()), environment, nix::unistd::geteuid().is_root()).load()
}

/// Where settings come from. The environment is taken once, so that a reload sees the same one.
#[derive(Debug, Clone)]
pub struct Sources {
    file: Option<PathBuf>,
    environment: Vec<(OsString, OsString)>,
    is_root: bool,
}

impl Sources {
    /// A file, if any, and a given environment.
    pub fn new(
        file: Option<PathBuf>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        is_root: bool,
    ) -> Self {
        Self { file, environment: environment.into_iter().collect(), is_root }
    }

    /// A file, if any, and the environment of this process.
    pub fn of_process(file: Option<PathBuf>) -> Self {
        Self::new(file, std::env::vars_os(), nix::unistd::geteuid().is_root())
    }

    /// The file, if any.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Reads and checks.
    ///
    /// # Errors
    /// Every mistake in file and environment.
    pub fn load(&self) -> Result<Settings, Vec<SettingsError>> {
        let text = self.read().map_err(|error| vec![error])?;
        self.resolve(text.as_deref()).map(|(_, settings)| settings)
    }

    /// The text of the file; none where there is no file to read.
    pub(super) fn read(&self) -> Result<Option<String>, SettingsError> {
        let Some(path) = self.file.clone() else { return Ok(None) };
        let mut bytes = Vec::new();
        let opened = std::fs::File::open(&path);
        match opened.and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)) {
            Ok(_) if bytes.len() as u64 > FILE_BYTES_MAX => {
                Err(SettingsError::TooLarge { path, bytes_max: FILE_BYTES_MAX })
            }
            Ok(_) => match String::from_utf8(bytes) {
                Ok(text) => Ok(Some(text)),
                Err(_) => Err(SettingsError::NotText { path }),
            },
            Err(source) => Err(SettingsError::Read { path, source }),
        }
    }

    /// What `text` and the environment say, unjudged and judged.
    pub(super) fn resolve(&self, text: Option<&str>) -> Result<(Given, Settings), Vec<SettingsError>> {
        let (mut given, mut errors) = (Given::default(), Vec::new());
        if let (Some(path), Some(text)) = (&self.file, text) {
            given.add_file(path, text, &mut errors);
        }
        given.add_environment(&self.environment, &mut errors);
        let settings = self.checked(&given, errors)?;
        Ok((given, settings))
    }

    /// Judges what was given; `errors` are mistakes found before.
    pub(super) fn checked(
        &self,
        given: &Given,
        errors: Vec<SettingsError>,
    ) -> Result<Settings, Vec<SettingsError>> {
        resolve(given, self.default_data_dir().as_deref(), errors)
    }

    /// Where the agent keeps things when nothing else is said; none for a user without a home.
    fn default_data_dir(&self) -> Option<String> {
        if self.is_root {
            return Some(keys::DATA_DIR.info.default.to_owned());
        }
        Some(self.data_home()?.join("autostack").to_string_lossy().into_owned())
    }

    /// `XDG_DATA_HOME`, which counts only when absolute, else its default within `HOME`.
    fn data_home(&self) -> Option<PathBuf> {
        let variable = |name: &str| {
            let (_, value) = self.environment.iter().find(|(variable, _)| variable == name)?;
            Some(PathBuf::from(value)).filter(|path| path.is_absolute())
        };
        variable("XDG_DATA_HOME").or_else(|| Some(variable("HOME")?.join(".local/share")))
    }
}
