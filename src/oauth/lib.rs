//! Row 3: who somebody is at GitHub or Google, by OAuth 2.0: an authorization code with PKCE (RFC 7636).
//!
//! In reading order: [`begin`] makes the address that a browser is sent to; the provider sends it back with a code; [`finish`]
//! turns that into an [`Identity`]. `github` and `google` know where their provider is asked and how it answers; `http` is how
//! all of them are reached.
//!
//! What it does not know: whose browser it is, and who is let in by which identity.

mod github;
mod google;
mod http;

use autostack_base::settings::{ClientSettings, GithubSettings, GoogleSettings};
use autostack_domain::Secret;
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, TokenResponse, TokenUrl, basic::BasicClient,
};

pub use http::OauthError;

/// A provider of identities, as the settings have it.
#[derive(Debug, Clone)]
pub enum Settings {
    /// GitHub, or a GitHub Enterprise server.
    Github(GithubSettings),
    /// Google, or whoever else speaks OpenID Connect.
    Google(GoogleSettings),
}

/// A sign-in that has begun.
#[derive(Debug)]
pub struct Begun {
    /// Where the browser is to go.
    pub url: String,
    /// What comes back with it, once.
    pub state: Secret<String>,
    /// Proves at the end that it is the same sign-in.
    pub verifier: Secret<String>,
}

/// Who somebody is at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Their id there, which never changes.
    pub subject: String,
    /// What they are called there.
    pub name: String,
    /// Their address, where the provider vouches for it.
    pub verified_email: Option<String>,
}

/// Where a provider is asked for what.
struct Places {
    authorize: String,
    token: String,
    scopes: &'static [&'static str],
}

type Client = BasicClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

impl Settings {
    fn client(&self) -> &ClientSettings {
        match self {
            Settings::Github(github) => &github.client,
            Settings::Google(google) => &google.client,
        }
    }
}

/// Begins a sign-in that ends at `callback`.
///
/// # Errors
/// When the provider does not say where it is to begin.
pub async fn begin(settings: &Settings, callback: &str) -> Result<Begun, OauthError> {
    let web = http::client()?;
    let places = places(settings, &web).await?;
    let client = client(settings, &places, callback)?;
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let scopes = places.scopes.iter().map(|scope| Scope::new((*scope).to_owned()));
    let (url, state) =
        client.authorize_url(CsrfToken::new_random).add_scopes(scopes).set_pkce_challenge(challenge).url();
    Ok(Begun {
        url: url.into(),
        state: Secret::new(state.into_secret()),
        verifier: Secret::new(verifier.into_secret()),
    })
}

/// Ends a sign-in with the code that the browser has brought.
///
/// # Errors
/// When the provider refuses the code, or does not say who it is.
pub async fn finish(
    settings: &Settings,
    callback: &str,
    code: &str,
    verifier: &Secret<String>,
) -> Result<Identity, OauthError> {
    let web = http::client()?;
    let places = places(settings, &web).await?;
    let tokens = client(settings, &places, callback)?
        .exchange_code(AuthorizationCode::new(code.to_owned()))
        .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose().clone()))
        .request_async(&|request| http::exchange(web.clone(), request))
        .await
        .map_err(|error| OauthError::refused("the code", &error))?;
    let token = tokens.access_token().secret();
    match settings {
        Settings::Github(github) => github::identity(&web, github, token).await,
        Settings::Google(google) => google::identity(&web, google, token).await,
    }
}

async fn places(settings: &Settings, web: &reqwest::Client) -> Result<Places, OauthError> {
    match settings {
        Settings::Github(github) => Ok(github::places(github)),
        Settings::Google(google) => google::places(web, google).await,
    }
}

fn client(settings: &Settings, places: &Places, callback: &str) -> Result<Client, OauthError> {
    let ClientSettings { id, secret } = settings.client();
    Ok(BasicClient::new(ClientId::new(id.clone()))
        .set_client_secret(ClientSecret::new(secret.expose().clone()))
        // GitHub looks for them nowhere else.
        .set_auth_type(AuthType::RequestBody)
        .set_auth_uri(AuthUrl::new(places.authorize.clone()).map_err(OauthError::url)?)
        .set_token_uri(TokenUrl::new(places.token.clone()).map_err(OauthError::url)?)
        .set_redirect_uri(RedirectUrl::new(callback.to_owned()).map_err(OauthError::url)?))
}
