//! The environment of a release's processes, and the start of one instance.

use std::path::{Path, PathBuf};

use autostack_domain::{
    Artifact, EnvMap, Failure, FailureKind, InstanceId, InstanceSpec, OneOffNumber, ProcessType, Program,
    Release, ReleaseSource, Stage, env_map::SYSTEM_PATH, git_settings::REV_ENV_VAR, release::LaunchEnv,
    resources::InstanceLimits,
};
use autostack_runtime::{Backend, RuntimeError, Started};

use crate::{ending::engine_failure, plan::Slot};

/// The port of a container that nobody named one for. Each has an address of its own, so all may use the same; a
/// function's emulator listens there too.
const CONTAINER_PORT: u16 = 8080;
/// Of several exposed ports these are the likely ones for HTTP, in this order.
const USUAL_PORTS: [u16; 6] = [CONTAINER_PORT, 80, 3000, 5000, 8000, 8888];

/// Tells the emulator of a function after how many seconds an invocation has failed.
const FUNCTION_TIMEOUT: &str = "AWS_LAMBDA_FUNCTION_TIMEOUT";
/// As long as a visitor waits for an answer, unless the app's config says otherwise; an emulator takes 300 by itself.
const FUNCTION_SECONDS_MAX: &str = "120";

/// A release together with what it takes to start its processes.
#[derive(Debug, Clone)]
pub(crate) struct Launchable {
    /// The release.
    pub(crate) release: Release,
    /// Its config, as it was when the release was made.
    pub(crate) config: EnvMap,
    /// The artifact's folder, absolute.
    pub(crate) dir: PathBuf,
}

impl Launchable {
    /// What the runtime is asked to start in a place of the formation, in a round of restarts. Each call makes a new
    /// instance id.
    pub(crate) fn instance(&self, slot: &Slot, round: u32) -> InstanceSpec {
        let command = self.release.processes.get(&slot.process).cloned().flatten();
        InstanceSpec { round, ..self.spec(&slot.process, slot.index, command) }
    }

    /// What the runtime is asked to run beside the formation, with these variables on top of the others.
    pub(crate) fn beside(&self, number: OneOffNumber, command: Option<String>, env: &EnvMap) -> InstanceSpec {
        let mut spec = self.spec(&ProcessType::run(), number.0, command);
        spec.env.extend(env);
        spec
    }

    /// What the runtime is asked to run once, under a process type's name.
    pub(crate) fn one_off(&self, process: &ProcessType, command: String) -> InstanceSpec {
        self.spec(process, 1, Some(command))
    }

    fn spec(&self, process: &ProcessType, index: u32, command: Option<String>) -> InstanceSpec {
        let random = uuid::Uuid::new_v4().as_fields().0;
        InstanceSpec {
            id: InstanceId::compose(&self.release.app, process, index, random),
            app: self.release.app.clone(),
            release: self.release.number,
            process: process.clone(),
            index,
            round: 0,
            program: self.program(command),
            env: self.environment(process, index),
            limits: InstanceLimits::default(),
            mounts: Vec::new(),
            options: Vec::new(),
        }
    }

    /// Whether instances of the process type are invoked with events.
    pub(crate) fn is_function(&self, process: &ProcessType) -> bool {
        process.is_web() && matches!(self.release.artifact, Artifact::Image { is_lambda: true, .. })
    }

    fn program(&self, command: Option<String>) -> Program {
        match &self.release.artifact {
            Artifact::Directory { .. } => {
                Program::Folder { dir: self.dir.clone(), command: command.unwrap_or_default() }
            }
            Artifact::Image { image, .. } => {
                Program::Image { image: image.clone(), command, port: self.port_in_image() }
            }
        }
    }

    /// Where a container of the release serves: on the port that the app's config says, else on the one that the
    /// image exposes, else on [`CONTAINER_PORT`].
    fn port_in_image(&self) -> u16 {
        let configured =
            self.config.get("PORT").and_then(|port| std::str::from_utf8(port).ok()?.parse().ok());
        let Artifact::Image { ports, is_lambda, .. } = &self.release.artifact else { return CONTAINER_PORT };
        if *is_lambda {
            return CONTAINER_PORT;
        }
        let usual = || USUAL_PORTS.into_iter().find(|port| ports.contains(port));
        configured.or_else(usual).or_else(|| ports.first().copied()).unwrap_or(CONTAINER_PORT)
    }

    /// Lowest first: what the recipe wants, what the app's config says, what the platform states as a fact.
    fn environment(&self, process: &ProcessType, index: u32) -> EnvMap {
        let mut env = match &self.release.artifact {
            Artifact::Directory { launch, .. } => self.environment_in_folder(launch),
            // What the recipe wants stands in the image already.
            Artifact::Image { .. } => self.config.clone(),
        };
        env.put("APP_NAME", self.release.app.as_str());
        env.put("DYNO", format!("{process}.{index}"));
        if self.is_function(process) && env.get(FUNCTION_TIMEOUT).is_none() {
            env.put(FUNCTION_TIMEOUT, FUNCTION_SECONDS_MAX);
        }
        if let ReleaseSource::Commit { commit } = &self.release.source {
            let variable = self.release.rev_env_var.as_deref().unwrap_or(REV_ENV_VAR);
            // An operator's name was checked when it was given.
            let _checked = env.set(variable, commit.as_str());
        }
        env
    }

    fn environment_in_folder(&self, launch: &LaunchEnv) -> EnvMap {
        let mut env = EnvMap::new();
        env.put("LANG", "C.UTF-8");
        for (name, value) in &launch.vars {
            // A recipe's own names and values are known to be good; one that is not would be dropped, not run.
            if let Err(invalid) = env.set(name, value.as_bytes()) {
                tracing::warn!(%invalid, app = %self.release.app, "a launch variable of the recipe was dropped");
            }
        }
        env.extend(&self.config);
        env.put("PATH", search_path(&self.dir, &launch.path, self.config.get("PATH")));
        env
    }
}

/// The artifact's own folders first, then what the app's config says, else the system's.
fn search_path(dir: &Path, inside: &[String], configured: Option<&[u8]>) -> Vec<u8> {
    let mut path = Vec::new();
    for folder in inside {
        path.extend_from_slice(dir.join(folder).as_os_str().as_encoded_bytes());
        path.push(b':');
    }
    path.extend_from_slice(configured.unwrap_or(SYSTEM_PATH.as_bytes()));
    path
}

/// Starts an instance; the failure says what the operator or the developer can do about it.
pub(crate) async fn start(backend: &dyn Backend, spec: &InstanceSpec) -> Result<Started, Failure> {
    backend.start(spec).await.map_err(|error| start_failure(Stage::Start, &spec.dyno(), &error))
}

/// Why something of a release could not be started, at any stage that starts one.
pub(crate) fn start_failure(stage: Stage, dyno: &str, error: &RuntimeError) -> Failure {
    if let RuntimeError::Engine { source, .. } = error {
        return engine_failure(stage, source);
    }
    if let RuntimeError::Storage { why, .. } = error {
        return Failure::new(
            stage,
            FailureKind::StorageUnavailable,
            format!("{dyno} could not be started: {why}"),
        )
        .hint("storage:list APP shows what is mounted; change it with storage:unmount and storage:mount");
    }
    let no_port = matches!(error, RuntimeError::NoPort { .. });
    let kind = if no_port { FailureKind::NoPort } else { FailureKind::Internal };
    let hint = if no_port {
        "free ports on the host, or widen runtime.port_range in the settings"
    } else {
        "look at the agent's log on the host, then push again"
    };
    let cause = autostack_base::error_chain(error);
    Failure::new(stage, kind, format!("{dyno} could not be started: {cause}")).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_artifacts_folders_come_first_and_the_apps_path_replaces_the_systems() {
        let inside = ["node_modules/.bin".to_owned()];
        assert_eq!(
            search_path(Path::new("/a"), &inside, None),
            format!("/a/node_modules/.bin:{SYSTEM_PATH}").into_bytes()
        );
        assert_eq!(search_path(Path::new("/a"), &inside, Some(b"/opt")), b"/a/node_modules/.bin:/opt");
    }
}
