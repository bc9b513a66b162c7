//! Images that were made elsewhere: `git:from-image`, `git:load-image`.

use std::io;

use autostack_domain::{AppName, ImageReference, limits, permission::Action};
use autostack_platform::{Outcome, PlatformError};
use bytes::Bytes;
use futures_util::{StreamExt, stream};

use crate::{
    commands::{
        command::{Command, Needs, Words},
        invocation::Invocation,
        refusal::Refusal,
    },
    pump::Intake,
};

pub(crate) const COMMANDS: &[&Command] = &[&FROM_IMAGE, &LOAD_IMAGE];

const FROM_IMAGE: Command = Command {
    name: "git:from-image",
    arguments: "APP IMAGE",
    summary: "deploy an image from a registry",
    details: &[
        "The image is pinned to the digest that its name stands for now; the same command deploys a newer one.",
        "A registry that asks for a login: registry:login.",
    ],
    options: &[],
    needs: Needs::App(Action::Push),
    words: Words::Mixed,
    run: |invocation| Box::pin(from_image(invocation)),
};

const LOAD_IMAGE: Command = Command {
    name: "git:load-image",
    arguments: "APP IMAGE",
    summary: "deploy an image that is sent over this connection",
    details: &["docker save IMAGE | ssh HOST git:load-image APP IMAGE"],
    options: &[],
    needs: Needs::App(Action::Push),
    words: Words::Mixed,
    run: |invocation| Box::pin(load_image(invocation)),
};

async fn from_image(mut invocation: Invocation) -> Result<(), Refusal> {
    let (app, reference) = app_and_image(&mut invocation)?;
    invocation.end()?;
    let mut screen = invocation.screen();
    let deployed = invocation
        .platform
        .deploy_image(&invocation.actor, &app, reference, &mut screen, &invocation.gone)
        .await;
    end(deployed)
}

async fn load_image(mut invocation: Invocation) -> Result<(), Refusal> {
    let (app, reference) = app_and_image(&mut invocation)?;
    invocation.end()?;
    let mut screen = invocation.screen();
    let bytes = archive(invocation.input).boxed();
    let deployed = invocation
        .platform
        .deploy_archive(&invocation.actor, &app, reference, bytes, &mut screen, &invocation.gone)
        .await;
    end(deployed)
}

fn app_and_image(invocation: &mut Invocation) -> Result<(AppName, ImageReference), Refusal> {
    let app = invocation.app()?;
    Ok((app, invocation.word("the name of an image")?.parse()?))
}

/// What the client sends, as a stream of bytes with an end.
fn archive(input: Intake) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::unfold((input, 0_u64), |(mut input, before)| async move {
        let chunk = Bytes::copy_from_slice(input.next().await?.as_ref());
        let read = before.saturating_add(chunk.len() as u64);
        let piece = if read > limits::IMAGE_ARCHIVE_BYTES_MAX {
            let limit = limits::IMAGE_ARCHIVE_BYTES_MAX >> 30;
            Err(io::Error::other(format!("the archive is larger than {limit} GiB")))
        } else {
            Ok(chunk)
        };
        Some((piece, (input, read)))
    })
}

/// A failure was shown line by line; what is left is the exit code.
fn end(deployed: Result<Outcome, PlatformError>) -> Result<(), Refusal> {
    match deployed? {
        Outcome::Live(_) => Ok(()),
        Outcome::Failed => Err(Refusal::shown()),
    }
}
