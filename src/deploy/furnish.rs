//! What operators have set for the instances of an app, as it stands when one is started: its limits, its storage, its
//! checks, what else its container is to be like.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use autostack_base::settings::Settings;
use autostack_domain::{
    AppName, AppSettings, EnvMap, InstanceSpec, ProcessType, Program,
    checks::CheckMode,
    docker_options::Phase,
    env_map,
    health::HealthCheck,
    storage::{Mount, StorageMount},
};
use autostack_runtime::Backend;

use crate::{deployer::Parts, launch::Launchable, plan::Slot, probe::Started};

/// Where storage directories stand.
pub fn storage_dir(settings: &Settings) -> PathBuf {
    settings.data_dir.join("storage")
}

/// The settings of an app now; as nobody had set anything where they cannot be read, which is logged.
pub(crate) async fn settings_of(parts: &Parts, app: &AppName) -> AppSettings {
    let name = app.clone();
    match parts.store.call(move |store| store.app(&name)).await {
        Ok(app) => app.map(|app| app.settings).unwrap_or_default(),
        Err(error) => {
            tracing::error!(%app, %error, "the settings of an app cannot be read");
            AppSettings::default()
        }
    }
}

/// Gives an instance that is about to be started what is set for it now.
pub(crate) async fn furnish(parts: &Parts, mut spec: InstanceSpec) -> InstanceSpec {
    let settings = settings_of(parts, &spec.app).await;
    spec.limits = settings.resources.of(&spec.process);
    let root = storage_dir(&parts.settings());
    let mounts = &settings.storage.mounts;
    spec.mounts = mounts.iter().map(|mount| told(mount, &root)).collect();
    if let Program::Image { .. } = spec.program {
        let phase = if spec.process.is_long_running() { Phase::Deploy } else { Phase::Run };
        spec.options = settings.docker.of(phase).to_vec();
    }
    let env = places(mounts, &root, &spec.program);
    for (name, value) in env.iter().filter(|(name, _)| spec.env.get(name).is_none()).collect::<Vec<_>>() {
        if let Err(invalid) = spec.env.set(name, value) {
            tracing::warn!(%invalid, app = %spec.app, "an app is not told where its storage is");
        }
    }
    spec
}

/// What of the limits of these instances does not hold, in words, each once.
pub(crate) async fn unenforced(parts: &Parts, started: &[(Slot, Started)]) -> BTreeSet<String> {
    let mut said = BTreeSet::new();
    for (_, Started { spec, .. }) in started.iter().filter(|(_, one)| !one.spec.limits.is_empty()) {
        let lines = parts.runtime.unenforced(spec).await;
        said.extend(lines.into_iter().map(|line| format!("{}: {line}", spec.process)));
    }
    said
}

/// How instances of a process type are asked whether they are ready.
pub(crate) struct Asked {
    pub(crate) checks: Vec<HealthCheck>,
    /// Nobody is asked: what runs is ready.
    pub(crate) is_skipped: bool,
}

/// What is asked of a process type now.
pub(crate) async fn asked(parts: &Parts, launch: &Launchable, process: &ProcessType) -> Asked {
    let settings = settings_of(parts, &launch.release.app).await.checks;
    Asked {
        checks: settings.checks(process, launch.release.checks_of(process)),
        is_skipped: settings.mode(process) == CheckMode::Skipped,
    }
}

fn told(mount: &StorageMount, root: &Path) -> Mount {
    Mount { host: mount.source.path(root), target: mount.target.clone(), read_only: mount.read_only }
}

/// `STORAGE_UPLOADS=/app/uploads`: where each folder is seen. A process sees the host's own.
fn places(mounts: &[StorageMount], root: &Path, program: &Program) -> EnvMap {
    let mut env = EnvMap::new();
    for mount in mounts {
        let host = mount.source.path(root);
        let name =
            host.file_name().map(|name| name.to_string_lossy().to_ascii_uppercase()).unwrap_or_default();
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let name = format!("STORAGE_{name}");
        let value = match program {
            Program::Folder { .. } => host.into_os_string().into_encoded_bytes(),
            Program::Image { .. } => mount.target.clone().into_bytes(),
        };
        debug_assert!(env_map::is_name(&name));
        if let Err(invalid) = env.set(&name, value) {
            tracing::warn!(%invalid, "a folder has no variable");
        }
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_told_where_its_storage_is() {
        let root = Path::new("/data/storage");
        let mounts = [
            StorageMount::parse("up-loads:/app/up", root).unwrap(),
            StorageMount::parse("/srv/m.e:/media", root).unwrap(),
        ];
        let folder = Program::Folder { dir: "/a".into(), command: String::new() };
        let env = places(&mounts, root, &folder);
        assert_eq!(env.get("STORAGE_UP_LOADS"), Some(b"/data/storage/up-loads".as_slice()));
        assert_eq!(env.get("STORAGE_M_E"), Some(b"/srv/m.e".as_slice()));
        let image = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
        let env = places(&mounts, root, &Program::Image { image, command: None, port: 80 });
        assert_eq!(env.get("STORAGE_UP_LOADS"), Some(b"/app/up".as_slice()));
    }
}
