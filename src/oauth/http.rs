//! How providers are reached, and what goes wrong there. Nothing is followed elsewhere, and nobody is waited for without end.

use std::time::Duration;

use oauth2::{HttpRequest, HttpResponse};
use reqwest::{Client, redirect};
use serde::de::DeserializeOwned;

/// How long one answer of a provider may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of one answer.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Why a provider did not say who somebody is. It never holds a code, a token or a secret.
#[derive(Debug, thiserror::Error)]
pub enum OauthError {
    /// It is not reached, or does not answer in time.
    #[error("{place} does not answer")]
    Unreachable {
        /// Its URL without a query.
        place: String,
        /// Why.
        source: reqwest::Error,
    },
    /// It refuses.
    #[error("the provider refuses {what}: {why}")]
    Refused {
        /// What it was asked.
        what: &'static str,
        /// What it says.
        why: String,
    },
    /// It answers something else than was asked.
    #[error("{place} does not answer as a provider does: {why}")]
    Strange {
        /// Its URL without a query.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// A URL of the settings or of the provider is none.
    #[error("a URL of the provider is none")]
    Url(#[source] oauth2::url::ParseError),
    /// This host speaks no TLS.
    #[error("this host cannot reach providers")]
    Client(#[source] reqwest::Error),
}

impl OauthError {
    pub(crate) fn url(error: oauth2::url::ParseError) -> Self {
        Self::Url(error)
    }

    pub(crate) fn refused(what: &'static str, error: &dyn std::error::Error) -> Self {
        Self::Refused { what, why: autostack_base::error_chain(error) }
    }
}

/// A client that follows nothing.
pub(crate) fn client() -> Result<Client, OauthError> {
    // The one provider of TLS in the tree; a second installation changes nothing.
    let _installed_already = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Client::builder()
        .timeout(ANSWER_TIMEOUT)
        .redirect(redirect::Policy::none())
        .user_agent(concat!("autostack/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(OauthError::Client)
}

/// Sends what the library of OAuth asks.
pub(crate) async fn exchange(client: Client, request: HttpRequest) -> Result<HttpResponse, OauthError> {
    let place = place(&request.uri().to_string());
    let unreachable = |source| OauthError::Unreachable { place: place.clone(), source };
    let request = reqwest::Request::try_from(request).map_err(unreachable)?;
    let answer = client.execute(request).await.map_err(unreachable)?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = bytes(answer, &place).await?;
    let mut response = HttpResponse::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// Reads JSON; with an access token where there is one.
pub(crate) async fn read<T: DeserializeOwned>(
    client: &Client,
    url: &str,
    token: Option<&str>,
) -> Result<T, OauthError> {
    let place = place(url);
    let request = client.get(url).header("accept", "application/json");
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    let answer = request.send().await;
    let answer = answer
        .map_err(|source| OauthError::Unreachable { place: place.clone(), source: source.without_url() })?;
    if !answer.status().is_success() {
        return Err(OauthError::Strange { why: format!("status {}", answer.status()), place });
    }
    let body = bytes(answer, &place).await?;
    serde_json::from_slice(&body).map_err(|error| OauthError::Strange { why: error.to_string(), place })
}

async fn bytes(mut answer: reqwest::Response, place: &str) -> Result<Vec<u8>, OauthError> {
    let unreachable = |source| OauthError::Unreachable { place: place.to_owned(), source };
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            let why = format!("more than {ANSWER_BYTES_MAX} bytes");
            return Err(OauthError::Strange { place: place.to_owned(), why });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A URL without what may be a secret.
fn place(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}
