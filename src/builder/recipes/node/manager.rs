//! Which package manager an app uses, and its command lines.
//!
//! npm comes with Node.js. pnpm and Yarn are fetched with npm in the version that the app asks for, into the
//! app's cache: what happens to be installed on the host would seldom be that version, and corepack is no
//! longer part of Node.js. Bun is a runtime too, so it is taken from the host like `node`; where it is not
//! installed, npm installs what fits `package.json`.

use autostack_domain::Failure;

use super::package::Package;
use crate::draft::{Context, bad_app_file};

/// A package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Npm,
    Pnpm,
    /// Yarn 1.
    Yarn,
    /// Yarn 2 and later.
    Berry,
    Bun,
}

/// The chosen one.
#[derive(Debug)]
pub(crate) struct Manager {
    pub(crate) kind: Kind,
    /// Version or range for npm to fetch; unused for npm itself.
    pub(crate) version: String,
    /// Its lock file, if the app has it.
    pub(crate) lock: Option<&'static str>,
    /// Why it was chosen: `pnpm-lock.yaml`.
    pub(crate) because: String,
}

/// Lock files, the more telling first: an app that moved to pnpm or Yarn often still has npm's.
const LOCKS: [(&str, Kind); 6] = [
    ("pnpm-lock.yaml", Kind::Pnpm),
    ("yarn.lock", Kind::Yarn),
    ("bun.lock", Kind::Bun),
    ("bun.lockb", Kind::Bun),
    ("package-lock.json", Kind::Npm),
    ("npm-shrinkwrap.json", Kind::Npm),
];

impl Manager {
    /// Chooses by `packageManager`, then by the lock file.
    pub(crate) fn choose(context: &Context, package: &Package) -> Result<Self, Failure> {
        let has_bun = context.tools.has("bun");
        let locks = || {
            let usable = LOCKS.into_iter().filter(|(_, kind)| *kind != Kind::Bun || has_bun);
            usable.filter(|(file, _)| context.source.has_file(file))
        };
        let is_berry = || {
            context.source.has_file(".yarnrc.yml")
                || context.source.words("yarn.lock").contains("\n__metadata:")
        };
        if let Some(asked) = &package.package_manager
            && let Some((kind, version)) = parse(asked)?
            && (kind != Kind::Bun || has_bun)
        {
            let lock = locks().find(|(_, of)| *of == kind || (kind == Kind::Berry && *of == Kind::Yarn));
            let because = format!("packageManager {kind_name}@{version}", kind_name = kind.name());
            return Ok(Self { kind, version, lock: lock.map(|(file, _)| file), because });
        }
        let Some((file, kind)) = locks().next() else {
            return Ok(Self {
                kind: Kind::Npm,
                version: String::new(),
                lock: None,
                because: "no lock file".into(),
            });
        };
        let kind = if kind == Kind::Yarn && is_berry() { Kind::Berry } else { kind };
        let version = match kind {
            Kind::Npm | Kind::Bun => String::new(),
            Kind::Pnpm => pnpm_of_lock(&context.source.words(file)).to_owned(),
            Kind::Yarn => "1".to_owned(),
            Kind::Berry => "4".to_owned(),
        };
        Ok(Self { kind, version, lock: Some(file), because: file.to_owned() })
    }

    /// Its name and version, as a folder: `pnpm-9.15.9`.
    pub(crate) fn folder(&self) -> String {
        format!("{}-{}", self.kind.name(), self.version)
    }

    /// What npm fetches: `pnpm@9.15.9`.
    pub(crate) fn npm_spec(&self) -> String {
        let package = if self.kind == Kind::Berry { "@yarnpkg/cli-dist" } else { self.kind.name() };
        format!("{package}@{}", self.version)
    }

    /// Installs what the lock file says, or what fits `package.json` without one.
    pub(crate) fn install(&self, with_dev: bool) -> String {
        let has_lock = self.lock.is_some();
        let line = match (self.kind, has_lock, with_dev) {
            (Kind::Npm, true, true) => "npm ci --include=dev",
            (Kind::Npm, true, false) => "npm ci --omit=dev",
            (Kind::Npm, false, true) => "npm install --include=dev",
            (Kind::Npm, false, false) => "npm install --omit=dev",
            (Kind::Pnpm, true, true) => "pnpm install --frozen-lockfile --prod=false",
            (Kind::Pnpm, true, false) => "pnpm install --frozen-lockfile --prod",
            (Kind::Pnpm, false, true) => "pnpm install --prod=false",
            (Kind::Pnpm, false, false) => "pnpm install --prod",
            (Kind::Yarn, true, true) => "yarn install --frozen-lockfile --production=false",
            (Kind::Yarn, true, false) => "yarn install --frozen-lockfile --production",
            (Kind::Yarn, false, true) => "yarn install --production=false",
            (Kind::Yarn, false, false) => "yarn install --production",
            (Kind::Bun, true, true) => "bun install --frozen-lockfile",
            (Kind::Bun, true, false) => "bun install --frozen-lockfile --production",
            (Kind::Bun, false, true) => "bun install",
            (Kind::Bun, false, false) => "bun install --production",
            (Kind::Berry, true, _) => "yarn install --immutable",
            (Kind::Berry, false, _) => "yarn install --no-immutable",
        };
        line.to_owned()
    }

    /// Removes what only the build needed.
    pub(crate) fn prune(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Npm => Some("npm prune --omit=dev"),
            Kind::Pnpm => Some("pnpm prune --prod"),
            Kind::Yarn => Some("yarn install --production --ignore-scripts --prefer-offline"),
            // `workspaces focus` would need the network again, and Bun removes nothing; what is left over
            // does no harm.
            Kind::Berry | Kind::Bun => None,
        }
    }

    /// Runs a script of `package.json`.
    pub(crate) fn run(&self, script: &str) -> String {
        format!("{} run {script}", self.kind.name())
    }
}

impl Kind {
    /// The program.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Npm => "npm",
            Kind::Pnpm => "pnpm",
            Kind::Yarn | Kind::Berry => "yarn",
            Kind::Bun => "bun",
        }
    }
}

/// `pnpm@9.15.9+sha512.…`; `None` for a manager that npm stands in for.
fn parse(asked: &str) -> Result<Option<(Kind, String)>, Failure> {
    let refuse = |why: &str| {
        bad_app_file("package.json", format!("packageManager {asked:?} {why}; write it as \"pnpm@9.15.9\""))
    };
    let (name, version) = asked.rsplit_once('@').ok_or_else(|| refuse("has no version"))?;
    let version = version.split_once('+').map_or(version, |(version, _hash)| version);
    let is_version = version.starts_with(|c: char| c.is_ascii_digit())
        && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    if !is_version {
        return Err(refuse("has no exact version"));
    }
    let kind = match name {
        "bun" => Kind::Bun,
        "npm" => Kind::Npm,
        "pnpm" => Kind::Pnpm,
        "yarn" if version.starts_with("1.") || version == "1" => Kind::Yarn,
        "yarn" => Kind::Berry,
        _ => return Ok(None),
    };
    Ok(Some((kind, version.to_owned())))
}

/// The pnpm that writes this version of the lock file.
fn pnpm_of_lock(lock: &str) -> &'static str {
    let version = lock.lines().find_map(|line| line.strip_prefix("lockfileVersion:")).unwrap_or_default();
    match version.trim().trim_matches(['\'', '"']).split('.').next() {
        Some("5") => "7",
        Some("6") => "8",
        _ => "9",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_manager_is_read_as_corepack_reads_it() {
        assert_eq!(parse("pnpm@9.15.9+sha512.abc").unwrap(), Some((Kind::Pnpm, "9.15.9".into())));
        assert_eq!(parse("yarn@1.22.22").unwrap(), Some((Kind::Yarn, "1.22.22".into())));
        assert_eq!(parse("yarn@4.5.0").unwrap(), Some((Kind::Berry, "4.5.0".into())));
        assert_eq!(parse("bun@1.2.0").unwrap(), Some((Kind::Bun, "1.2.0".into())));
        assert_eq!(parse("cnpm@9.4.0").unwrap(), None);
        for bad in ["pnpm", "pnpm@", "pnpm@latest", "pnpm@1;id", "pnpm@$(id)", "pnpm@9 --x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_old_lock_file_gets_the_pnpm_that_wrote_it() {
        assert_eq!(pnpm_of_lock("lockfileVersion: 5.4\n"), "7");
        assert_eq!(pnpm_of_lock("lockfileVersion: '6.0'\n"), "8");
        assert_eq!(pnpm_of_lock("lockfileVersion: '9.0'\n"), "9");
        assert_eq!(pnpm_of_lock(""), "9");
    }
}
