//! Making a deployment: of what the app's branch holds, of a repository elsewhere, of an image, or of an archive that is
//! sent.

use std::io;

use autostack_domain::{AppName, ImageReference, RemoteUrl};
use autostack_git::RemoteRef;
use autostack_platform::{AfterSync, ArchiveSource, ArchiveWords};
use axum::{Json, body::Body as RawBody, extract::State, http::StatusCode};
use futures_util::{StreamExt, TryStreamExt};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Deployment, accepted};
use crate::{
    answers::{Absences, Conflicts, Refusals},
    background::begin,
    caller::Caller,
    error::ApiError,
    extract::{Asked, Body},
    state::Api,
};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(create)).routes(routes!(upload))
}

/// Something to deploy.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewDeployment {
    /// To which app.
    app: AppName,
    /// A repository to fetch from; without: the app's own.
    #[schema(example = "https://example.com/shop.git")]
    git_url: Option<String>,
    /// A branch, a tag or a commit; without: what `HEAD` of `git_url` is, or the app's deploy branch.
    #[serde(rename = "ref")]
    git_ref: Option<String>,
    /// An image to pull and run, in place of code.
    #[schema(example = "registry.example.com/shop:1.2")]
    image: Option<String>,
}

/// Where an archive goes.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UploadQuery {
    /// To which app.
    app: AppName,
    /// How the archive is packed: `tar`, `tar.gz` or `zip`. Its first bytes say it, too.
    kind: Option<String>,
}

/// What is to be deployed, read.
enum Wanted {
    Branch,
    Ref(RemoteRef),
    Remote(RemoteUrl, RemoteRef),
    Image(ImageReference),
}

impl NewDeployment {
    fn read(&self) -> Result<Wanted, ApiError> {
        let git_ref = self.git_ref.as_deref().map(str::parse).transpose()?;
        Ok(match (&self.image, &self.git_url, git_ref) {
            (Some(image), None, None) => Wanted::Image(image.parse()?),
            (Some(_), ..) => {
                return Err(ApiError::invalid("an image is deployed as it is: leave out git_url and ref"));
            }
            (None, Some(url), git_ref) => Wanted::Remote(url.parse()?, git_ref.unwrap_or_default()),
            (None, None, Some(git_ref)) => Wanted::Ref(git_ref),
            (None, None, None) => Wanted::Branch,
        })
    }
}

/// Deploys what the app's branch holds, a ref of its repository or of one elsewhere, or an image. The answer comes when the
/// deployment is recorded, which for code from elsewhere is after it was fetched; how it goes is asked for by its id.
#[utoipa::path(post, path = "", tag = "deployments",
    responses((status = ACCEPTED, body = Deployment), Refusals, Absences, Conflicts))]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    Body(wanted): Body<NewDeployment>,
) -> Result<(StatusCode, Json<Deployment>), ApiError> {
    let (platform, actor) = (api.platform.clone(), caller.actor.clone());
    let (what, app) = (wanted.read()?, wanted.app);
    let first = begin(&api, "deployment", |mut screen, gone| async move {
        let screen = &mut screen;
        match what {
            Wanted::Branch => platform.rebuild(&actor, &app, screen, &gone).await.map(drop),
            Wanted::Ref(git_ref) => {
                platform.deploy_ref(&actor, &app, &git_ref, screen, &gone).await.map(drop)
            }
            Wanted::Remote(url, git_ref) => {
                let synced = platform.sync(&actor, &app, &url, &git_ref, AfterSync::Deploy, screen, &gone);
                synced.await.map(drop)
            }
            Wanted::Image(image) => platform.deploy_image(&actor, &app, image, screen, &gone).await.map(drop),
        }
    });
    accepted(first.await?, &api, &caller).await
}

/// Deploys an archive of code, sent as the body.
#[utoipa::path(post, path = "/archive", tag = "deployments", params(UploadQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = ACCEPTED, body = Deployment), Refusals, Absences, Conflicts))]
async fn upload(
    State(api): State<Api>,
    caller: Caller,
    Asked(query): Asked<UploadQuery>,
    body: RawBody,
) -> Result<(StatusCode, Json<Deployment>), ApiError> {
    let (platform, actor) = (api.platform.clone(), caller.actor.clone());
    let words = ArchiveWords { kind: query.kind.as_deref().map(str::parse).transpose()?, author: None };
    let source = ArchiveSource::Sent(body.into_data_stream().map_err(io::Error::other).boxed());
    let first = begin(&api, "archive", |mut screen, gone| async move {
        platform.deploy_source_archive(&actor, &query.app, source, words, &mut screen, &gone).await
    });
    accepted(first.await?, &api, &caller).await
}
