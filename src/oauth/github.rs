//! GitHub: <https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps>.

use autostack_base::settings::GithubSettings;
use reqwest::Client;
use serde::Deserialize;

use crate::{Identity, OauthError, Places, http::read};

#[derive(Deserialize)]
struct User {
    id: u64,
    login: String,
}

#[derive(Deserialize)]
struct Email {
    email: String,
    primary: bool,
    verified: bool,
}

pub(crate) fn places(settings: &GithubSettings) -> Places {
    let url = settings.url.as_str();
    Places {
        authorize: format!("{url}/login/oauth/authorize"),
        token: format!("{url}/login/oauth/access_token"),
        scopes: &["read:user", "user:email"],
    }
}

pub(crate) async fn identity(
    web: &Client,
    settings: &GithubSettings,
    token: &str,
) -> Result<Identity, OauthError> {
    let api = settings.api_url.as_str();
    let user: User = read(web, &format!("{api}/user"), Some(token)).await?;
    let emails: Vec<Email> = read(web, &format!("{api}/user/emails"), Some(token)).await?;
    let verified = emails.into_iter().find(|email| email.primary && email.verified);
    Ok(Identity {
        subject: user.id.to_string(),
        name: user.login,
        verified_email: verified.map(|email| email.email),
    })
}
