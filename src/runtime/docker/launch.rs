//! From a spec to a container that runs; undone where it cannot.

use autostack_base::error_chain;
use autostack_domain::InstanceSpec;
use autostack_engine::{
    EngineError,
    bollard::{
        models::ContainerCreateBody,
        query_parameters::{ContainerArchiveInfoOptions, CreateContainerOptions, StartContainerOptions},
    },
};

use super::{
    backend::Inner,
    container::{Container, inspect},
    create::{ImageProgram, Recipe, Talk},
    hijack::{self, Input, Output},
    instance,
    labels::{Purpose, container_name},
    refusal::{is_network_gone, no_shell, refusal},
};
use crate::backend::RuntimeError;

/// Makes and starts the container of a spec, in the network of its app.
///
/// # Errors
/// What stood in the way; nothing is left then, or is removed once the engine is back.
pub(super) async fn launch(
    inner: &Inner,
    spec: &InstanceSpec,
    purpose: Purpose,
    published: Option<u16>,
) -> Result<Container, RuntimeError> {
    let wanted = Wanted { spec, purpose, published, talk: None };
    launch_as(inner, &wanted).await.map(|(container, _nobody_talks)| container)
}

/// The same for a program that somebody talks to, whose streams are taken before it says anything.
///
/// # Errors
/// What stood in the way; nothing is left then, or is removed once the engine is back.
pub(super) async fn launch_attached(
    inner: &Inner,
    spec: &InstanceSpec,
    talk: Talk,
) -> Result<(Container, Streams), RuntimeError> {
    let wanted = Wanted { spec, purpose: Purpose::OneOff, published: None, talk: Some(talk) };
    let (container, streams) = launch_as(inner, &wanted).await?;
    let streams = streams.ok_or(RuntimeError::Interrupted { operation: "attach" })?;
    Ok((container, streams))
}

/// Input and output of a container that somebody talks to.
type Streams = (Input, Output);

/// What a container is to be.
struct Wanted<'a> {
    spec: &'a InstanceSpec,
    purpose: Purpose,
    published: Option<u16>,
    talk: Option<Talk>,
}

async fn launch_as(inner: &Inner, wanted: &Wanted<'_>) -> Result<(Container, Option<Streams>), RuntimeError> {
    match attempt(inner, wanted).await {
        // Somebody removed it between our look at it and its use.
        Err(Trouble::NetworkGone) => {
            inner.networks.forget(&wanted.spec.app).await;
            attempt(inner, wanted).await
        }
        launched => launched,
    }
    .map_err(|trouble| match trouble {
        Trouble::Refused(error) => error,
        Trouble::NetworkGone => {
            let evidence = "it is removed as soon as it is made".to_owned();
            let operation = "keep the app's network";
            RuntimeError::engine("start the container")(EngineError::NotFound { operation, evidence })
        }
    })
}

/// Why an attempt failed.
enum Trouble {
    /// Worth another one.
    NetworkGone,
    /// For good.
    Refused(RuntimeError),
}

async fn attempt(inner: &Inner, wanted: &Wanted<'_>) -> Result<(Container, Option<Streams>), Trouble> {
    let Wanted { spec, purpose, published, talk } = *wanted;
    let about =
        inner.engine.about().await.map_err(|error| sorted(spec, "reach the container engine", error))?;
    let lease = inner.networks.lease(&spec.app).await;
    let lease = lease.map_err(|error| sorted(spec, "make the app's network", error))?;
    let (limits, network) = ((inner.options.limits)(), lease.id().to_owned());
    let recipe = Recipe { spec, purpose, limits, network, published, talk };
    let body = recipe.body(&inner.engine, &about).map_err(Trouble::Refused)?;
    let launched = match create(inner, spec, body).await {
        Ok(container) => start(inner, spec, &container, talk).await,
        Err(trouble @ Trouble::Refused(RuntimeError::AlreadyExists { .. })) => return Err(trouble),
        Err(trouble) => Err(trouble),
    };
    if launched.is_err() {
        undo(inner, spec).await;
    }
    launched
}

fn sorted(spec: &InstanceSpec, operation: &'static str, error: EngineError) -> Trouble {
    match is_network_gone(&error) {
        true => Trouble::NetworkGone,
        false => Trouble::Refused(refusal(spec, operation, error)),
    }
}

async fn create(inner: &Inner, spec: &InstanceSpec, body: ContainerCreateBody) -> Result<String, Trouble> {
    let options = CreateContainerOptions {
        name: Some(container_name(inner.engine.mark(), &spec.id)),
        ..Default::default()
    };
    let made = inner
        .engine
        .call("make the container", async |docker| docker.create_container(Some(options), body).await);
    Ok(made.await.map_err(|error| sorted(spec, "make the container", error))?.id)
}

async fn start(
    inner: &Inner,
    spec: &InstanceSpec,
    container: &str,
    talk: Option<Talk>,
) -> Result<(Container, Option<Streams>), Trouble> {
    let failed = |error| sorted(spec, "start the container", error);
    check_shell(inner, spec, container).await?;
    let streams = match talk {
        Some(talk) => {
            let is_terminal = talk == Talk::Terminal;
            Some(hijack::attach(&inner.engine, container, is_terminal).await.map_err(failed)?)
        }
        None => None,
    };
    let options = None::<StartContainerOptions>;
    let started = inner
        .engine
        .call("start the container", async |docker| docker.start_container(container, options).await);
    started.await.map_err(failed)?;
    Ok((Container::read(&inspect(&inner.engine, container).await.map_err(failed)?), streams))
}

/// The init process would say that there is no shell only in the log, after a start that seemed to have worked.
async fn check_shell(inner: &Inner, spec: &InstanceSpec, container: &str) -> Result<(), Trouble> {
    const SHELL: &str = "/bin/sh";
    let program = ImageProgram::of(spec).map_err(Trouble::Refused)?;
    if program.command.is_none() || inner.has_shell(program.image) {
        return Ok(());
    }
    let options = ContainerArchiveInfoOptions { path: SHELL.to_owned() };
    let looked = inner.engine.call("look for a shell", async |docker| {
        docker.get_container_archive_info(container, Some(options)).await
    });
    match looked.await {
        Ok(_) => {
            inner.remember_shell(program.image);
            Ok(())
        }
        Err(error) if error.is_not_found() => Err(Trouble::Refused(no_shell(spec))),
        Err(error) => Err(sorted(spec, "look for a shell", error)),
    }
}

/// Removes what an attempt has made, now or once the engine is back.
async fn undo(inner: &Inner, spec: &InstanceSpec) {
    let container = container_name(inner.engine.mark(), &spec.id);
    if let Err(error) = instance::remove(&inner.engine, &container).await {
        tracing::warn!(instance = %spec.id, error = error_chain(&error), "a failed start is cleared away later");
        inner.held.doom(&spec.id);
    }
}
