//! A build by BuildKit: `POST /build` for the order and the progress, `/session` for files and secrets.
//!
//! The engine takes the files through the session as it does from `docker build`: only those that the Dockerfile
//! uses, and no archive that would have to be unpacked again.

use std::{collections::HashMap, path::Path, sync::Arc};

use autostack_base::tasks::Tasks;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bollard::moby::buildkit::v1::StatusResponse;
use bytes::Bytes;
use prost::Message;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    filesync::Files,
    progress::Progress,
    request::Build,
    run::{Broken, Query},
    script::Script,
    session::Session,
    wire::{self, BuildLine, Connection},
};
use crate::{Engine, error::EngineError};

/// The kinds of BuildKit's lines.
const TRACE: &str = "moby.buildkit.trace";

/// Builds; gives the id of the image where the engine says it.
pub(crate) async fn build(
    engine: &Engine,
    build: &Build<'_>,
    script: &Script,
    labels: &HashMap<String, String>,
    progress: &mut Progress<'_>,
) -> Result<(), Broken> {
    let tasks = Tasks::new();
    let end = CancellationToken::new();
    // Whoever drops the build ends the session, and with it the tasks that send files.
    let _ended = end.clone().drop_guard();
    let session = session(engine, build, script, &tasks);
    let query = query(build, script, labels, &session.id);
    let host = engine.host();
    let order = async {
        let request = wire::post("/build", &query)
            .body(wire::no_body())
            .map_err(|error| wire::unexpected(error.to_string()))?;
        let mut lines = Connection::open(host, &tasks).await?.lines(request).await?;
        while let Some(line) = lines.next().await? {
            take(&line, progress)?;
        }
        Ok(())
    };
    let served = session.serve(host, &tasks, end);
    tokio::pin!(order, served);
    tokio::select! {
        outcome = &mut order => outcome,
        outcome = &mut served => {
            outcome?;
            // The engine hung up first: it has all that it needs, or went away, and the order says which.
            order.await
        }
    }
}

fn session(engine: &Engine, build: &Build<'_>, script: &Script, tasks: &Tasks) -> Session {
    let name = script.file_name();
    let mut definition = vec![(name.clone(), Bytes::from(script.text.clone()))];
    if let Some((path, text)) = &script.ignore_file
        && path.as_path() != Path::new(".dockerignore")
    {
        definition.push((format!("{name}.dockerignore"), Bytes::from(text.clone())));
    }
    definition.sort_by(|(a, _), (b, _)| a.cmp(b));
    Session {
        id: Uuid::now_v7().simple().to_string(),
        shared_key: format!("autostack:{}:{}", engine.mark(), build.app),
        files: Files {
            context: build.context.to_owned(),
            definition: Arc::new(definition),
            tasks: tasks.clone(),
        },
        secrets: build.secrets.iter().map(|(id, secret)| (id.clone(), Arc::clone(secret))).collect(),
    }
}

fn query(build: &Build<'_>, script: &Script, labels: &HashMap<String, String>, session: &str) -> String {
    let mut query = Query::of(build, labels);
    query.add("version", "2");
    query.add("remote", "client-session");
    query.add("session", session);
    query.add("buildid", session);
    query.add("dockerfile", &script.file_name());
    query.text()
}

fn take(line: &BuildLine, progress: &mut Progress<'_>) -> Result<(), Broken> {
    if let Some(broken) = Broken::said(line) {
        return Err(broken);
    }
    if line.id != TRACE {
        return Ok(());
    }
    let Some(encoded) = line.aux.as_ref().and_then(serde_json::Value::as_str) else {
        return Ok(());
    };
    let status = STANDARD
        .decode(encoded)
        .map_err(|error| error.to_string())
        .and_then(|bytes| StatusResponse::decode(bytes.as_slice()).map_err(|error| error.to_string()))
        .map_err(|error| Broken::Engine(wire::unexpected(error)))?;
    progress.take(status);
    Ok(())
}

impl From<EngineError> for Broken {
    fn from(error: EngineError) -> Self {
        match error {
            // What the engine finds wrong with the order itself, it says in place of an answer.
            EngineError::Refused { evidence, .. } | EngineError::NotFound { evidence, .. } => {
                Broken::Said { message: evidence, exit_code: None }
            }
            other => Broken::Engine(other),
        }
    }
}
