//! Names and labels of containers: from a spec to what an engine keeps, and back.

use std::collections::HashMap;

use autostack_domain::{AppName, EnvMap, InstanceId, InstanceSpec};
use autostack_engine::{
    AgentMark, Engine,
    bollard::models::{ContainerConfig, ContainerInspectResponse},
    labels,
};

/// The spec as JSON, without what stands elsewhere in the container: its variables are in its environment.
const SPEC: &str = "autostack.spec";
/// The names of the variables that come from the spec, with commas between: the others are the image's.
const ENV: &str = "autostack.env";

/// What a container of ours is for. Said of each, so that no label of an image can say something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It is an instance.
    Instance,
    /// It runs a command once.
    OneOff,
}

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Purpose::Instance => "instance",
            Purpose::OneOff => "one-off",
        }
    }
}

/// The name of the container of an instance: unique on the engine, as the mark is the agent's own.
pub(super) fn container_name(mark: &AgentMark, id: &InstanceId) -> String {
    format!("autostack-{mark}-{id}")
}

/// The name of the network of an app.
pub(super) fn network_name(mark: &AgentMark, app: &AppName) -> String {
    format!("autostack-{mark}-{app}")
}

/// The labels of the container of a spec.
pub(super) fn labels_of(engine: &Engine, spec: &InstanceSpec, purpose: Purpose) -> HashMap<String, String> {
    let mut found = engine.labels(&spec.app);
    let mut own = |name: &str, value: String| found.insert(name.to_owned(), value);
    own(labels::RELEASE, spec.release.0.to_string());
    own(labels::PROCESS, spec.process.to_string());
    own(labels::INSTANCE, spec.id.to_string());
    own(labels::PURPOSE, purpose.as_str().to_owned());
    let names: Vec<&str> = spec.env.iter().map(|(name, _)| name).filter(|name| *name != PORT).collect();
    own(ENV, names.join(","));
    own(SPEC, spec_label(spec));
    found
}

/// The variable that tells a program where to serve.
pub(super) const PORT: &str = "PORT";

/// Variables stand in the container's environment already; only a `PORT` of the spec's own does not.
fn spec_label(spec: &InstanceSpec) -> String {
    let mut kept = EnvMap::new();
    if let Some(port) = spec.env.get(PORT) {
        kept.put(PORT, port);
    }
    let bare = InstanceSpec { env: kept, ..spec.clone() };
    // Names, numbers and text: nothing that JSON could not hold.
    serde_json::to_string(&bare).unwrap_or_default()
}

/// What a container of ours is for and which instance it is, by its labels alone; `None` for one that is not
/// ours, whatever it was made from: an image of ours carries some of the labels on to its containers, and a copy
/// (`docker commit`) all of them, but neither the name.
pub(super) fn ours(
    mark: &AgentMark,
    name: &str,
    labels: &HashMap<String, String>,
) -> Option<(Purpose, InstanceId)> {
    let said = |label: &str| labels.get(label).map(String::as_str);
    if said(labels::AGENT) != Some(mark.as_str()) {
        return None;
    }
    let id: InstanceId = said(labels::INSTANCE)?.parse().ok()?;
    let purposes = [Purpose::Instance, Purpose::OneOff];
    let purpose = purposes.into_iter().find(|purpose| said(labels::PURPOSE) == Some(purpose.as_str()))?;
    (name.trim_start_matches('/') == container_name(mark, &id)).then_some((purpose, id))
}

/// The spec that a container was made from; `None` where its labels are not what this agent writes.
pub(super) fn spec_of(container: &ContainerInspectResponse) -> Option<InstanceSpec> {
    let ContainerConfig { labels, env, .. } = container.config.as_ref()?;
    let labels = labels.as_ref()?;
    let mut spec: InstanceSpec = serde_json::from_str(labels.get(SPEC)?).ok()?;
    let env = env.as_deref().unwrap_or_default();
    for name in labels.get(ENV)?.split(',').filter(|name| !name.is_empty()) {
        let value = env.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))?;
        spec.env.set(name, value).ok()?;
    }
    Some(spec)
}

#[cfg(test)]
mod tests {
    use autostack_domain::{ProcessType, Program, ReleaseNumber, resources::InstanceLimits, storage::Mount};

    use super::*;

    fn spec() -> InstanceSpec {
        let (app, process): (AppName, _) = ("shop".parse().unwrap(), ProcessType::web());
        let image = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
        let mut env = EnvMap::new();
        for (name, value) in [("A", "1"), ("EMPTY", ""), ("TEXT", "two\nlines = \"three\", ü"), ("PORT", "1")]
        {
            env.set(name, value).unwrap();
        }
        InstanceSpec {
            id: InstanceId::compose(&app, &process, 2, 7),
            app,
            release: ReleaseNumber(3),
            process,
            index: 2,
            round: 5,
            program: Program::Image { image, command: Some("exec it 'now'".into()), port: 8080 },
            env,
            limits: InstanceLimits { memory_bytes_max: Some(64 << 20), ..InstanceLimits::default() },
            mounts: vec![Mount { host: "/a".into(), target: "/b".into(), read_only: true }],
            options: vec![
                "--shm-size=1m".to_owned().try_into().unwrap(),
                "--read-only".to_owned().try_into().unwrap(),
            ],
        }
    }

    fn engine() -> Engine {
        Engine::new("unix:///nowhere/docker.sock".parse().unwrap(), AgentMark::random().unwrap())
    }

    #[test]
    fn a_spec_comes_back_from_what_the_engine_keeps() {
        let (engine, spec) = (engine(), spec());
        let labels = labels_of(&engine, &spec, Purpose::Instance);
        assert!(labels.values().all(|value| !value.contains("three")), "no value stands in a label");
        let mut env = vec!["PATH=/bin".to_owned(), "AA=not ours".to_owned(), "PORT=8080".to_owned()];
        for (name, value) in spec.env.iter().filter(|(name, _)| *name != PORT) {
            env.push(format!("{name}={}", std::str::from_utf8(value).unwrap()));
        }
        let config = ContainerConfig { labels: Some(labels.clone()), env: Some(env), ..Default::default() };
        let container = ContainerInspectResponse { config: Some(config), ..Default::default() };
        assert_eq!(spec_of(&container), Some(spec.clone()));
        let name = format!("/{}", container_name(engine.mark(), &spec.id));
        assert_eq!(ours(engine.mark(), &name, &labels), Some((Purpose::Instance, spec.id)));
    }

    #[test]
    fn what_only_looks_like_ours_is_not() {
        let (engine, spec) = (engine(), spec());
        let (mark, own) = (engine.mark(), labels_of(&engine, &spec, Purpose::OneOff));
        let name = container_name(mark, &spec.id);
        assert_eq!(ours(mark, &name, &own), Some((Purpose::OneOff, spec.id)));
        assert_eq!(ours(mark, "hungry_hopper", &own), None, "a copy that somebody made");
        assert_eq!(ours(&AgentMark::random().unwrap(), &name, &own), None, "of another agent");
        let inherited = engine.labels(&spec.app);
        assert_eq!(ours(mark, &name, &inherited), None, "started by hand from an image of ours");
    }
}
