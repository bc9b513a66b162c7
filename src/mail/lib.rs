//! Row 3: mail, by SMTP to the one server that takes it for everybody.
//!
//! [`Mail`] is what somebody is to read; [`send`] hands it to the server of the settings, and returns when that has taken it.
//! Nothing is queued and nothing tried again here: who sends knows how long a mail is worth anything.

use std::time::Duration;

use autostack_base::settings::{MailSecurity, MailSettings};
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Tls, TlsParameters},
    },
};
use tokio::time::timeout;

/// How long the server may take to be connected to.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take for everything; its library waits for an answer without end.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// What mails come from, as people read it.
const SENDER: &str = "autostack";

/// What somebody is to read.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// Whose address it goes to.
    pub to: String,
    /// One line.
    pub subject: String,
    /// Plain text. It may hold a secret.
    pub text: String,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").field("to", &self.to).field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// Why a mail was not taken.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// An address that no mail can be sent to or from.
    #[error("{address} is no address that mail can go to or come from")]
    Address {
        /// The address.
        address: String,
        /// Why.
        source: lettre::address::AddressError,
    },
    /// The mail itself cannot be written.
    #[error("the mail cannot be written")]
    Message(#[source] lettre::error::Error),
    /// The server is not there, does not speak TLS, or does not take the mail.
    #[error("the mail server {server} has not taken the mail")]
    Server {
        /// Its name and port.
        server: String,
        /// Why.
        source: lettre::transport::smtp::Error,
    },
    /// The server does not answer.
    #[error("the mail server {server} has not taken the mail within {} s", SEND_TIMEOUT.as_secs())]
    Silent {
        /// Its name and port.
        server: String,
    },
}

impl MailError {
    /// Whether the same may work a little later.
    pub fn is_passing(&self) -> bool {
        match self {
            MailError::Address { .. } | MailError::Message(_) => false,
            MailError::Silent { .. } => true,
            MailError::Server { source, .. } => !source.is_permanent(),
        }
    }
}

/// Hands a mail to the server.
///
/// # Errors
/// When the server cannot be reached within 10 s, offers no TLS where it is asked for, refuses, or has not taken the mail
/// after a minute.
pub async fn send(settings: &MailSettings, mail: &Mail) -> Result<(), MailError> {
    let message = Message::builder()
        .from(mailbox(Some(SENDER), &settings.from)?)
        .to(mailbox(None, &mail.to)?)
        .subject(mail.subject.clone())
        .header(ContentType::TEXT_PLAIN)
        .body(mail.text.clone())
        .map_err(MailError::Message)?;
    let server = || format!("{}:{}", settings.host, settings.port);
    let refused = |source| MailError::Server { server: server(), source };
    let transport = transport(settings).map_err(refused)?;
    match timeout(SEND_TIMEOUT, transport.send(message)).await {
        Ok(sent) => sent.map(drop).map_err(refused),
        Err(_elapsed) => Err(MailError::Silent { server: server() }),
    }
}

fn mailbox(name: Option<&str>, address: &str) -> Result<Mailbox, MailError> {
    let parsed =
        address.parse().map_err(|source| MailError::Address { address: address.to_owned(), source })?;
    Ok(Mailbox::new(name.map(str::to_owned), parsed))
}

fn transport(
    settings: &MailSettings,
) -> Result<AsyncSmtpTransport<Tokio1Executor>, lettre::transport::smtp::Error> {
    let tls = match settings.security {
        MailSecurity::None => Tls::None,
        MailSecurity::StartTls => Tls::Required(TlsParameters::new(settings.host.clone())?),
        MailSecurity::Tls => Tls::Wrapper(TlsParameters::new(settings.host.clone())?),
    };
    let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.host)
        .port(settings.port)
        .tls(tls)
        .timeout(Some(CONNECT_TIMEOUT));
    Ok(match &settings.login {
        Some((name, password)) => {
            transport.credentials(Credentials::new(name.clone(), password.expose().clone())).build()
        }
        None => transport.build(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_never_prints_what_it_says() {
        let mail = Mail { to: "ada@example.com".into(), subject: "Hello".into(), text: "canary".into() };
        assert!(!format!("{mail:?}").contains("canary"));
    }

    #[test]
    fn an_address_is_an_address() {
        assert!(mailbox(None, "ada@example.com").is_ok());
        assert!(matches!(mailbox(None, "ada"), Err(MailError::Address { .. })));
    }
}
