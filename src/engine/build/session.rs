//! [`Session`]: what BuildKit may ask of us during a build: files and secrets. The engine is the client, on a
//! connection that we opened and turned round.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use autostack_base::tasks::Tasks;
use autostack_domain::{EngineHost, Secret};
use bollard::{
    health::{
        HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
        health_check_response::ServingStatus,
        health_server::{Health, HealthServer},
    },
    moby::{
        buildkit::secrets::v1::{
            GetSecretRequest, GetSecretResponse,
            secrets_server::{Secrets, SecretsServer},
        },
        filesync::packet::file_sync_server::FileSyncServer,
    },
};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::Connected},
};

use super::{
    filesync::Files,
    wire::{self, Connection},
};
use crate::error::EngineError;

/// The methods that are offered; the engine asks for no other.
const METHODS: [&str; 3] = [
    "/moby.filesync.v1.FileSync/DiffCopy",
    "/moby.buildkit.secrets.v1.Secrets/GetSecret",
    "/grpc.health.v1.Health/Check",
];

/// What a session offers.
pub(crate) struct Session {
    /// Names the session in the request for the build.
    pub(crate) id: String,
    /// Names what the files of builds have in common: the engine keeps one copy for each name.
    pub(crate) shared_key: String,
    /// The files.
    pub(crate) files: Files,
    /// The secrets, by id.
    pub(crate) secrets: HashMap<String, Arc<Secret<Vec<u8>>>>,
}

impl Session {
    /// Opens the session and answers until `end`, or until the engine hangs up.
    ///
    /// # Errors
    /// The engine refuses the session, or goes away.
    pub(crate) async fn serve(
        self,
        host: &EngineHost,
        tasks: &Tasks,
        end: CancellationToken,
    ) -> Result<(), EngineError> {
        let connection = Connection::open(host, tasks).await?;
        let mut request = wire::post("/session", "")
            .header("Connection", "Upgrade")
            .header("Upgrade", "h2c")
            .header("X-Docker-Expose-Session-Uuid", &self.id)
            .header("X-Docker-Expose-Session-Name", "autostack")
            .header("X-Docker-Expose-Session-Sharedkey", &self.shared_key);
        for method in METHODS {
            request = request.header("X-Docker-Expose-Session-Grpc-Method", method);
        }
        let request = request.body(wire::no_body()).map_err(|error| wire::unexpected(error.to_string()))?;
        let stream = TokioIo::new(connection.upgrade(request).await?);
        let turned = Turned { stream, end: Box::pin(end.clone().cancelled_owned()) };
        let served = Server::builder()
            .add_service(HealthServer::new(AlwaysWell))
            .add_service(FileSyncServer::new(self.files))
            .add_service(SecretsServer::new(SecretsById(self.secrets)))
            .serve_with_incoming_shutdown(
                // The list of connections must not end: the server would begin to stop with it.
                stream::iter([Ok::<_, Infallible>(turned)]).chain(stream::pending()),
                end.cancelled_owned(),
            );
        served.await.map_err(|error| wire::gone(&error))
    }
}

/// The connection on which the engine is the client. It ends with the session, whatever is still being asked.
struct Turned {
    stream: TokioIo<Upgraded>,
    end: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Connected for Turned {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Turned {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Turned {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Hands out secrets by their id; what was not given does not exist.
struct SecretsById(HashMap<String, Arc<Secret<Vec<u8>>>>);

#[async_trait]
impl Secrets for SecretsById {
    async fn get_secret(
        &self,
        request: Request<GetSecretRequest>,
    ) -> Result<Response<GetSecretResponse>, Status> {
        let id = request.into_inner().id;
        let secret =
            self.0.get(&id).ok_or_else(|| Status::not_found(format!("secret {id} was not given")))?;
        Ok(Response::new(GetSecretResponse { data: secret.expose().clone() }))
    }
}

/// The engine asks every few seconds whether the session is alive; whoever answers is.
struct AlwaysWell;

#[async_trait]
impl Health for AlwaysWell {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(well()))
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        Ok(Response::new(HealthListResponse { statuses: HashMap::from([(String::new(), well())]) }))
    }

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(stream::iter([Ok(well())]).chain(stream::pending()).boxed()))
    }
}

fn well() -> HealthCheckResponse {
    HealthCheckResponse { status: ServingStatus::Serving.into() }
}
