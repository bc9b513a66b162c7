//! Whether new releases are images or folders: what the settings say, and whether a container engine answers.

use std::time::Duration;

use autostack_base::settings::{BackendChoice, Settings};
use autostack_engine::{AgentMark, Engine, EngineError, EngineHost, host};
use tokio::time::timeout;

use crate::agent::{AgentError, Layout};

/// How long the engine may take to answer; one that hangs does not keep the agent from its start.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The engine that this agent works with; none where new releases are folders.
///
/// With `auto` an engine counts if it answers now, or if this agent has used one before: then its apps wait for it, and
/// are not silently built another way.
pub(crate) async fn choose(settings: &Settings, layout: &Layout) -> Result<Option<Engine>, AgentError> {
    let mark_file = layout.engine_mark();
    let was_used = mark_file.exists();
    let found = settings.docker.host.clone().or_else(host::find);
    let open = |host: EngineHost| -> Result<Engine, EngineError> {
        Ok(Engine::new(host, AgentMark::load_or_make(&mark_file)?))
    };
    match (settings.runtime.backend, found) {
        (BackendChoice::Process, _) => Ok(None),
        (BackendChoice::Docker, found) => {
            let engine = open(found.unwrap_or_else(host::docker_default))?;
            report(ask(&engine).await.err());
            Ok(Some(engine))
        }
        (BackendChoice::Auto, None) if !was_used => {
            tracing::info!("no container engine on this host: new releases run as processes");
            Ok(None)
        }
        (BackendChoice::Auto, found) => {
            let host = found.unwrap_or_else(host::docker_default);
            // Asked without leaving a mark: an engine that does not answer is not one that was used.
            let nobody = AgentMark::random().map_err(AgentError::Runtime)?;
            match ask(&Engine::new(host.clone(), nobody)).await {
                Err(error) if !was_used => {
                    let why = error.to_string();
                    tracing::warn!(why, next = error.hint(), "new releases run as processes");
                    Ok(None)
                }
                asked => {
                    report(asked.err());
                    Ok(Some(open(host)?))
                }
            }
        }
    }
}

async fn ask(engine: &Engine) -> Result<(), EngineError> {
    let elapsed = |_| EngineError::TimedOut { operation: "say what it is", within: ANSWER_TIMEOUT };
    timeout(ANSWER_TIMEOUT, engine.about()).await.map_err(elapsed)?.map(drop)
}

fn report(trouble: Option<EngineError>) {
    match trouble {
        None => tracing::info!("new releases run in containers"),
        Some(error) => {
            let why = error.to_string();
            tracing::error!(why, next = error.hint(), "the container engine is waited for");
        }
    }
}
