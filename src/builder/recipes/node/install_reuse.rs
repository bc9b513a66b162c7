//! When `node_modules` of the last build is what `npm ci` would make.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};

use super::{
    manager::{Kind, Manager},
    package::Package,
};
use crate::{draft::Context, plan::Reuse};

/// Packages whose install scripts look at nothing of the app: they fetch, compile or check themselves.
/// Others may (Prisma makes its client from the app's schema), so they are installed anew each time.
const SELF_CONTAINED: [&str; 14] = [
    "@parcel/watcher",
    "@swc/core",
    "argon2",
    "bcrypt",
    "better-sqlite3",
    "core-js",
    "core-js-pure",
    "esbuild",
    "fsevents",
    "protobufjs",
    "sharp",
    "sqlite3",
    "unrs-resolver",
    "utf-8-validate",
];

/// The part of a lock file, version 2 or 3, that is looked at.
#[derive(Deserialize)]
struct Lock {
    packages: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default, rename = "hasInstallScript")]
    has_install_script: bool,
    /// A folder of the app, or outside it.
    link: Option<IgnoredAny>,
}

/// `node_modules` follows from the lock file alone where no code or folder of the app has a part in it.
/// pnpm and Yarn keep stores of their own and link from them, which is as fast.
pub(crate) fn reuse(context: &Context, package: &Package, manager: &Manager) -> Option<Reuse> {
    let file = manager.lock.filter(|_| manager.kind == Kind::Npm)?;
    let is_clean =
        !package.has_workspaces && !package.has_install_scripts() && !package.has_local_dependencies;
    let lock = context.source.read(file).ok()??;
    (is_clean && follows_from(&lock)).then(|| Reuse {
        folder: "node_modules".to_owned(),
        decided_by: vec![file.to_owned(), "package.json".to_owned(), ".npmrc".to_owned()],
        tool: "node".to_owned(),
    })
}

/// Whether nothing that this lock file installs looks beyond itself.
fn follows_from(lock: &[u8]) -> bool {
    let Ok(lock) = serde_json::from_slice::<Lock>(lock) else {
        return false;
    };
    lock.packages.iter().filter(|(path, _)| !path.is_empty()).all(|(path, entry)| {
        let name = path.rsplit("node_modules/").next().unwrap_or(path);
        entry.link.is_none() && (!entry.has_install_script || SELF_CONTAINED.contains(&name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_at_the_app_is_installed_anew() {
        let lock =
            |entries: &str| format!(r#"{{"lockfileVersion": 3, "packages": {{"": {{}}, {entries}}}}}"#);
        for fine in [
            r#""node_modules/ms": {"version": "2.1.3"}"#,
            r#""node_modules/vite/node_modules/esbuild": {"hasInstallScript": true}"#,
            r#""node_modules/@swc/core": {"hasInstallScript": true}"#,
        ] {
            assert!(follows_from(lock(fine).as_bytes()), "{fine}");
        }
        for not in [
            r#""node_modules/@prisma/client": {"hasInstallScript": true}"#,
            r#""node_modules/local": {"resolved": "packages/local", "link": true}"#,
        ] {
            assert!(!follows_from(lock(not).as_bytes()), "{not}");
        }
        assert!(!follows_from(br#"{"lockfileVersion": 1, "dependencies": {}}"#));
        assert!(!follows_from(b"<<<<<<<"));
    }
}
