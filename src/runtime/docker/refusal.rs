//! Why a container could not be made or started, in one sentence for the app's developer.

use autostack_domain::{InstanceId, InstanceSpec};
use autostack_engine::EngineError;

use super::create::ImageProgram;
use crate::backend::RuntimeError;

/// A port was free when it was chosen, and taken when it was to be published.
const PORT_TAKEN: &str = "the port that was to be published is taken by another program";

/// Sorts what the engine said in answer to `operation`, a step of the start of `spec`.
pub(super) fn refusal(spec: &InstanceSpec, operation: &'static str, error: EngineError) -> RuntimeError {
    if error.is_away() {
        return RuntimeError::Engine { operation, source: error };
    }
    let said = error.to_string();
    let why = match said.to_lowercase() {
        said if is_name_taken(&error, &said) => return RuntimeError::AlreadyExists { id: spec.id.clone() },
        said if error.is_not_found() && said.contains("no such image") => return no_image(spec),
        said if says(&said, &["non-overlapping ipv4 address pool", "could not find free subnet"]) => {
            "the container engine has no free range of addresses for the app's network: remove networks that are \
             not used (docker network ls), or add to default-address-pools in /etc/docker/daemon.json"
                .to_owned()
        }
        said if says(&said, &["no available ipv4 addresses", "no available addresses"]) => {
            "the app's network has no free address: it runs too many instances".to_owned()
        }
        said if says(&said, &["port is already allocated", "address already in use"]) => {
            PORT_TAKEN.to_owned()
        }
        said if says(&said, &["no command specified"]) => {
            "the image says no command: give it an ENTRYPOINT or CMD, or the app a Procfile".to_owned()
        }
        said if says(&said, &["unable to find user", "no matching entries in passwd"]) => {
            format!("the image's USER does not exist in it: {}", tail(&error))
        }
        said if says(&said, &["minimum memory limit"]) => {
            "runtime.memory_bytes_max is less than a container engine takes".to_owned()
        }
        said if says(&said, &["exec: ", "executable file not found", "no such file or directory"]) => {
            format!("its command cannot be executed: {}", tail(&error))
        }
        said if said.contains("oci runtime") => {
            format!("the container engine could not set it up: {}", tail(&error))
        }
        _ => return RuntimeError::Engine { operation, source: error },
    };
    RuntimeError::Start { id: spec.id.clone(), why }
}

/// Whether it could not be started because of its port alone.
pub(super) fn is_port_taken(error: &RuntimeError) -> bool {
    matches!(error, RuntimeError::Start { why, .. } if why == PORT_TAKEN)
}

/// The image has no shell for the app's command line.
pub(super) fn no_shell(spec: &InstanceSpec) -> RuntimeError {
    let image =
        ImageProgram::of(spec).map_or_else(|_| String::new(), |program| program.image.short().to_owned());
    let why = format!(
        "image {image} has no /bin/sh for the command {:?}: take a base image with a shell, or let the image say \
         its own command",
        spec.program.command().unwrap_or_default()
    );
    RuntimeError::Start { id: spec.id.clone(), why }
}

fn no_image(spec: &InstanceSpec) -> RuntimeError {
    let why = match ImageProgram::of(spec) {
        Ok(program) => format!(
            "image {} is not in the container engine any more: deploy the app again",
            program.image.short()
        ),
        Err(error) => return error,
    };
    RuntimeError::Start { id: spec.id.clone(), why }
}

/// Whether the network that the container was to be put into was removed by somebody.
pub(super) fn is_network_gone(error: &EngineError) -> bool {
    let said = error.to_string().to_lowercase();
    said.contains("network") && said.contains("not found")
}

fn is_name_taken(error: &EngineError, said: &str) -> bool {
    (error.is_conflict() || said.contains("is already in use")) && said.contains("name")
}

fn says(said: &str, words: &[&str]) -> bool {
    words.iter().any(|words| said.contains(words))
}

/// The end of what was said, which holds the cause: engines put the name of each layer in front.
fn tail(error: &EngineError) -> String {
    let said = error.to_string();
    let said = said.trim_end_matches(": unknown").trim();
    let parts: Vec<&str> = said.split(": ").collect();
    parts[parts.len().saturating_sub(3)..].join(": ")
}

/// For a call about a container of an instance, which may be gone.
pub(super) fn not_found_or(
    id: &InstanceId,
    operation: &'static str,
) -> impl FnOnce(EngineError) -> RuntimeError {
    let id = id.clone();
    move |error| match error.is_not_found() {
        true => RuntimeError::NotFound { id },
        false => RuntimeError::Engine { operation, source: error },
    }
}
