//! Google, by OpenID Connect: <https://openid.net/specs/openid-connect-discovery-1_0.html>. Who somebody is, is asked of the
//! provider itself with the token that it has just given, over its own TLS.

use autostack_base::settings::GoogleSettings;
use reqwest::Client;
use serde::Deserialize;

use crate::{Identity, OauthError, Places, http::read};

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    userinfo_endpoint: String,
}

#[derive(Deserialize)]
struct UserInfo {
    sub: String,
    name: Option<String>,
    email: Option<String>,
    #[serde(default)]
    email_verified: bool,
}

pub(crate) async fn places(web: &Client, settings: &GoogleSettings) -> Result<Places, OauthError> {
    let found = discover(web, settings).await?;
    Ok(Places {
        authorize: found.authorization_endpoint,
        token: found.token_endpoint,
        scopes: &["openid", "email", "profile"],
    })
}

pub(crate) async fn identity(
    web: &Client,
    settings: &GoogleSettings,
    token: &str,
) -> Result<Identity, OauthError> {
    let found = discover(web, settings).await?;
    let user: UserInfo = read(web, &found.userinfo_endpoint, Some(token)).await?;
    let verified_email = user.email.clone().filter(|_| user.email_verified);
    let name = user.name.or(user.email).unwrap_or_else(|| user.sub.clone());
    Ok(Identity { subject: user.sub, name, verified_email })
}

async fn discover(web: &Client, settings: &GoogleSettings) -> Result<Discovery, OauthError> {
    let issuer = settings.issuer.as_str();
    let place = format!("{issuer}/.well-known/openid-configuration");
    let found: Discovery = read(web, &place, None).await?;
    if found.issuer.trim_end_matches('/') != issuer {
        return Err(OauthError::Strange { place, why: format!("it speaks for {}", found.issuer) });
    }
    Ok(found)
}
