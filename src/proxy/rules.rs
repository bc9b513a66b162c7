//! What an operator wants to happen before an app is asked: visitors are sent on to another host, read that the app
//! is being worked on, or prove who they are. In this order: who is sent on elsewhere is asked for nothing here.

use autostack_domain::{AppName, Host, Rules, traffic::Redirect};
use http::{HeaderMap, HeaderValue, Response, Uri, header};

use crate::{
    body::ResponseBody, directory::At, head::split_port, http_auth::Verdict, pages::Page, service::Visitor,
};

/// What a request is judged by.
pub(crate) struct Case<'a> {
    pub(crate) app: &'a AppName,
    pub(crate) at: At<'a>,
    /// The host as the client wrote it.
    pub(crate) host: &'a HeaderValue,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
}

/// The answer that stands in the way of a request; none lets it through.
pub(crate) async fn obey(visitor: &Visitor, rules: &Rules, case: Case<'_>) -> Option<Response<ResponseBody>> {
    let accept = case.headers.get(header::ACCEPT);
    let host: Option<Host> = case.at.host.parse().ok();
    if let Some(redirect) = host.and_then(|host| rules.redirect_of(&host)) {
        return Some(sent_on(redirect, &case));
    }
    if rules.maintenance {
        return Some(Page::maintenance().answer(accept));
    }
    if rules.http_auth.is_empty() {
        return None;
    }
    let (proxy, given) = (&visitor.proxy, case.headers.get(header::AUTHORIZATION));
    let client = visitor.client.address();
    match proxy.verifier.verify(case.app, &rules.http_auth, client, given, &proxy.tasks).await {
        Verdict::LetIn => None,
        Verdict::Ask => {
            let mut response = Page::unauthorized().answer(accept);
            // The name of an app needs no quoting.
            let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", case.app);
            if let Ok(challenge) = HeaderValue::from_str(&challenge) {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            }
            Some(response)
        }
        Verdict::ComeLater(seconds) => Some(Page::too_many_attempts(seconds).answer(accept)),
        Verdict::Busy => Some(Page::too_many_attempts(5).answer(accept)),
    }
}

fn sent_on(redirect: &Redirect, case: &Case<'_>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = u16::from(redirect.code).try_into().unwrap_or(http::StatusCode::FOUND);
    let location = location(redirect, case.host, case.uri);
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// The same path and query at the other host; scheme and port are the request's own unless the rule names some.
fn location(redirect: &Redirect, host: &HeaderValue, uri: &Uri) -> String {
    let to = &redirect.to;
    let own_port = || {
        let port =
            split_port(host.as_bytes()).1.and_then(|port| std::str::from_utf8(port).ok()?.parse().ok());
        port.filter(|_| to.scheme.is_none())
    };
    let port: Option<u16> = to.port.or_else(own_port);
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let scheme = to.scheme.as_deref().unwrap_or("http");
    // `OPTIONS *` has no path of its own.
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let path = if path.starts_with('/') { path } else { "/" };
    format!("{scheme}://{}{port}{path}", to.host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_keeps_the_path_and_what_it_does_not_name() {
        let to = |target: &str, host: &str, uri: &str| {
            let redirect = Redirect {
                from: "old.test".parse().unwrap(),
                to: target.parse().unwrap(),
                code: "301".parse().unwrap(),
            };
            location(&redirect, &HeaderValue::from_str(host).unwrap(), &uri.parse().unwrap())
        };
        assert_eq!(to("new.test", "old.test", "/a?b=c"), "http://new.test/a?b=c");
        assert_eq!(to("new.test", "old.test:8080", "/"), "http://new.test:8080/");
        assert_eq!(to("https://new.test", "old.test:8080", "/x"), "https://new.test/x");
        assert_eq!(to("new.test:81", "old.test:8080", "http://old.test/x"), "http://new.test:81/x");
        assert_eq!(to("new.test", "old.test", "//evil.test/x"), "http://new.test//evil.test/x");
        assert_eq!(to("new.test", "old.test", "*"), "http://new.test/");
    }
}
