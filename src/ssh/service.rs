//! The seam between the protocol and what it is for: this side of it nobody knows of apps.

use std::{future::Future, net::SocketAddr};

use autostack_base::tasks::Shutdown;
use autostack_domain::permission::Actor;

use crate::{environment::Environment, output::Output, overflow::MakeFile, pump::Intake, terminal::Terminal};

/// Keys could not be looked up; the reason is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unavailable;

/// What a server is for: whose a key is, and what a command line does.
pub(crate) trait Service: Send + Sync + 'static {
    /// Who has the key with this fingerprint (`SHA256:…`).
    fn authenticate(
        &self,
        fingerprint: &str,
    ) -> impl Future<Output = Result<Option<Actor>, Unavailable>> + Send;

    /// Returns when the key with this fingerprint is not that of the actor any more.
    fn locked_out(&self, _fingerprint: &str, _actor: &Actor) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Whether a command wants every key of a client's terminal as bytes. For all others, Ctrl-C is the wish that it
    /// ends, and Ctrl-D the end of its input.
    fn takes_keys(&self, command: Option<&str>) -> bool;

    /// For a command that talks to a program: what makes the file into which the client's input overflows.
    fn overflow(&self, command: Option<&str>) -> Option<MakeFile>;

    /// Runs a command to its end and gives the exit code. It looks at [`Call::gone`] itself, so that it can
    /// end its children in order; a panic in it ends the session, not the connection.
    fn run(&self, call: Call) -> impl Future<Output = u8> + Send;
}

/// One command, as it was asked for.
#[derive(Debug)]
pub(crate) struct Call {
    /// Who asks.
    pub(crate) actor: Actor,
    /// From where.
    pub(crate) peer: SocketAddr,
    /// The command line; `None` where a shell was asked for.
    pub(crate) command: Option<String>,
    /// What the client set of what it may set.
    pub(crate) environment: Environment,
    /// What the client sends; dropping it discards the rest.
    pub(crate) input: Intake,
    /// Where answers go.
    pub(crate) output: Output,
    /// The client's terminal, where it has one.
    pub(crate) terminal: Option<Terminal>,
    /// What was asked for beside the command and is not offered, one sentence each.
    pub(crate) refusals: Vec<&'static str>,
    /// Cancelled when the client has gone or asked to stop: the answer reaches nobody.
    pub(crate) gone: Shutdown,
    /// Cancelled when the server is going to stop: what would go on for ever ends.
    pub(crate) stopping: Shutdown,
}
