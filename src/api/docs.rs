//! The document that describes every path, and pages to read it and try it, which need nothing from elsewhere.

use autostack_domain::limits::IDEMPOTENCY_KEY_CHARS_MAX;
use axum::Router;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        self, Content, Object, ObjectBuilder, RefOr, Type,
        path::{ParameterBuilder, ParameterIn},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::{
    error::{Problem, ProblemBody},
    state::Api,
};

/// What stands at the head of the document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "autostack",
        description = "Everything that can be done over SSH, for dashboards, scripts and CI. Moments are milliseconds since \
                       1970-01-01 00:00 UTC. Every answer that is not 2xx is a `Problem`, whose `code` never changes.",
    ),
    tags(
        (name = "auth", description = "Sign up, log in, log out"),
        (name = "user", description = "The caller: account, password, second factor, sessions, keys"),
        (name = "invitations", description = "Who is to be let in"),
        (name = "apps", description = "Apps"),
        (name = "config", description = "The environment of an app"),
        (name = "domains", description = "Where visitors reach an app"),
        (name = "instances", description = "What of an app runs"),
        (name = "members", description = "Who may use an app"),
        (name = "releases", description = "What was live, and back to it"),
        (name = "deployments", description = "What was deployed, and how it went"),
        (name = "logs", description = "Logs, page by page and live"),
        (name = "overview", description = "Figures, and how busy everything is"),
        (name = "audit", description = "Who changed what"),
        (name = "host", description = "The host itself"),
    ),
    // Named by the answers of `answers`, which hold it without bringing its parts along.
    components(schemas(Problem, ProblemBody)),
    security(("bearer" = [])),
    modifiers(&Bearer),
)]
struct Head;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "An access token (POST /api/auth/login) or an API key (POST /api/user/me/tokens)",
            ))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// The document without its paths.
pub(crate) fn head() -> openapi::OpenApi {
    Head::openapi()
}

/// Says of every request that makes something that it may be sent again under a key.
pub(crate) fn tell_of_keys(document: &mut openapi::OpenApi) {
    let text = "A name of the client's own for this request, a UUID for example. Sent again under the same key within a day, it \
                gets the answer of the first time, with `idempotent-replayed: true`.";
    let key = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .description(Some(text))
        .schema(Some(
            ObjectBuilder::new().schema_type(Type::String).max_length(Some(IDEMPOTENCY_KEY_CHARS_MAX)),
        ))
        .build();
    let posts = document.paths.paths.values_mut().filter_map(|path| path.post.as_mut());
    // Who is not known has no keys.
    for post in posts.filter(|post| post.security.is_none()) {
        post.parameters.get_or_insert_default().push(key.clone().into());
    }
}

/// Says of every path that takes the form of a page that it answers with pages too.
pub(crate) fn tell_of_pages(document: &mut openapi::OpenApi) {
    let posts = document.paths.paths.values_mut().filter_map(|path| path.post.as_mut());
    for post in posts {
        let takes_forms = post.request_body.as_ref().is_some_and(|body| match body {
            RefOr::T(body) => body.content.contains_key("application/x-www-form-urlencoded"),
            RefOr::Ref(_) => false,
        });
        if !takes_forms {
            continue;
        }
        let refusals = post.responses.responses.iter_mut().filter(|(status, _)| status.as_str() >= "4");
        for (_, response) in refusals {
            if let RefOr::T(response) = response {
                let page = Content::new(Some(Object::with_type(Type::String)));
                response.content.insert("text/html".to_owned(), page.into());
            }
        }
    }
}

/// `/api/docs`.
pub(crate) fn pages() -> Router<Api> {
    let config = Config::new(["/api/openapi.json"]).try_it_out_enabled(true).persist_authorization(false);
    SwaggerUi::new("/api/docs").config(config).into()
}
