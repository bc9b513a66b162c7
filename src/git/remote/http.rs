//! One answer over HTTP. Every redirect is a new connection, checked like the first one.

use std::{
    convert::Infallible,
    fs::File,
    future::pending,
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use autostack_domain::{RemoteHost, RemoteUrl, limits, remote_url::Scheme};
use bytes::Bytes;
use http::{
    HeaderMap, Request, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, LOCATION, USER_AGENT},
};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming as Body, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName},
};

use super::{Access, RemoteError, access::connect};
use crate::source::spoken_bytes;

/// How long a host may take to begin its answer, and between two pieces of it.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How a repository names its list of refs.
const REFS_TYPE: &str = "application/x-git-upload-pack-advertisement";

/// The host's own list of whom it trusts; made once.
static TLS: LazyLock<Result<Arc<ClientConfig>, String>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
});

/// Where an answer came from in the end.
pub(super) struct Found {
    pub(super) url: RemoteUrl,
    pub(super) addresses: Vec<SocketAddr>,
}

/// What is done with the body of an answer.
pub(super) enum Sink<'a> {
    /// It is written, up to so many bytes.
    File(&'a mut tokio::fs::File, u64),
    /// It is what a repository answers with that speaks git's smart protocol; only that is of interest.
    Refs,
}

impl Access {
    /// Writes what a URL answers with into a file.
    ///
    /// # Errors
    /// Whatever keeps it from being there, whole and with the status 200.
    pub async fn download(&self, url: &RemoteUrl, into: File, bytes_max: u64) -> Result<(), RemoteError> {
        let mut file = tokio::fs::File::from_std(into);
        let limit = Duration::from_secs(limits::FETCH_SECONDS_MAX);
        let got = timeout(limit, self.get(url, Sink::File(&mut file, bytes_max))).await;
        got.map_err(|_| RemoteError::TimedOut { seconds: limits::FETCH_SECONDS_MAX })??;
        file.flush().await.map_err(RemoteError::Keep)
    }

    /// Asks, and follows redirects until somebody answers with 200.
    pub(super) async fn get(&self, url: &RemoteUrl, mut sink: Sink<'_>) -> Result<Found, RemoteError> {
        let mut url = url.clone();
        for _ in 0..=limits::REDIRECTS_MAX {
            let addresses = self.resolve(&url).await?;
            let host = url.host().clone();
            let stream = connect(&host, &addresses).await?;
            let location = match url.scheme() {
                Scheme::Http => self.exchange(stream, &url, &mut sink).await?,
                Scheme::Https => {
                    let stream = secured(stream, &host).await?;
                    self.exchange(stream, &url, &mut sink).await?
                }
            };
            let Some(location) = location else { return Ok(Found { url, addresses }) };
            let next = url.join(&location).map_err(|why| RemoteError::redirect(&host, &why))?;
            if url.scheme() == Scheme::Https && next.scheme() == Scheme::Http {
                return Err(RemoteError::Redirect { host, why: "it leads from https to http".to_owned() });
            }
            url = next;
        }
        let why = format!("there are more than {}", limits::REDIRECTS_MAX);
        Err(RemoteError::Redirect { host: url.host().clone(), why })
    }

    /// One request; where to go next, if the answer is a redirect.
    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        url: &RemoteUrl,
        sink: &mut Sink<'_>,
    ) -> Result<Option<String>, RemoteError> {
        let bad = |why: String| RemoteError::BadAnswer { host: url.host().clone(), why };
        let request = self.request(url).map_err(|error| bad(error.to_string()))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| bad(error.to_string()))?;
        let driven = async {
            // An error of the connection is told to whoever reads from it.
            let _ended = connection.await;
            pending::<Infallible>().await
        };
        let answered = async {
            let answer = timeout(SILENCE_MAX, sender.send_request(request)).await;
            let answer = answer.map_err(|_| bad("it says nothing".to_owned()))?;
            take(answer.map_err(|error| bad(error.to_string()))?, url.host(), sink).await
        };
        tokio::select! {
            answered = answered => answered,
            never = driven => match never {},
        }
    }

    fn request(&self, url: &RemoteUrl) -> Result<Request<Empty<Bytes>>, http::Error> {
        let mut request = Request::get(url.path())
            .header(HOST, url.authority())
            .header(USER_AGENT, concat!("autostack/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "*/*");
        if let Some(login) = self.login(url) {
            request = request.header(AUTHORIZATION, login.header.expose());
        }
        request.body(Empty::new())
    }
}

async fn take(
    answer: Response<Body>,
    host: &RemoteHost,
    sink: &mut Sink<'_>,
) -> Result<Option<String>, RemoteError> {
    match answer.status() {
        StatusCode::OK => {}
        status if status.is_redirection() => return location(answer.headers(), host).map(Some),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(RemoteError::Login { host: host.clone() });
        }
        status => return Err(RemoteError::Status { host: host.clone(), status: status.as_u16() }),
    }
    let Sink::File(file, bytes_max) = sink else {
        let is_repository = answer.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == REFS_TYPE);
        let why = || "there is no repository that speaks git's smart protocol".to_owned();
        return if is_repository {
            Ok(None)
        } else {
            Err(RemoteError::BadAnswer { host: host.clone(), why: why() })
        };
    };
    let mut body = answer.into_body();
    let mut left = *bytes_max;
    loop {
        let bad = |why: String| RemoteError::BadAnswer { host: host.clone(), why };
        let frame = timeout(SILENCE_MAX, body.frame())
            .await
            .map_err(|_| bad("it stopped in the middle".to_owned()))?;
        let Some(frame) = frame else { return Ok(None) };
        let Ok(data) = frame.map_err(|error| bad(error.to_string()))?.into_data() else { continue };
        let too_large = || RemoteError::TooLarge { limit: spoken_bytes(*bytes_max) };
        left = left.checked_sub(data.len() as u64).ok_or_else(too_large)?;
        file.write_all(&data).await.map_err(RemoteError::Keep)?;
    }
}

fn location(headers: &HeaderMap, host: &RemoteHost) -> Result<String, RemoteError> {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let why = || RemoteError::Redirect { host: host.clone(), why: "it says no place".to_owned() };
    location.map(str::to_owned).ok_or_else(why)
}

async fn secured(
    stream: tokio::net::TcpStream,
    host: &RemoteHost,
) -> Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>, RemoteError> {
    let bad = |why: String| RemoteError::BadAnswer { host: host.clone(), why };
    let config = TLS.as_ref().map_err(|why| bad(why.clone()))?;
    let name = match host {
        RemoteHost::Name(name) => {
            ServerName::try_from(name.clone()).map_err(|error| bad(error.to_string()))?
        }
        RemoteHost::Address(address) => ServerName::from(*address),
    };
    let secured = timeout(SILENCE_MAX, TlsConnector::from(Arc::clone(config)).connect(name, stream)).await;
    secured.map_err(|_| bad("it says nothing".to_owned()))?.map_err(|error| bad(error.to_string()))
}
