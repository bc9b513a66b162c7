//! [`Tickets`]: what a client shows that can send no header, such as a browser that opens a WebSocket. A ticket stands
//! for its caller once, for half a minute, and is kept nowhere but in memory.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use autostack_domain::{TokenId, account::SecretDigest};
use autostack_identity::opaque::{Kind, Opaque};
use axum::http::StatusCode;
use tokio::time::Instant;

use crate::{caller::Caller, error::ApiError};

/// How long a ticket is good for.
pub(crate) const TICKET_TTL: Duration = Duration::from_secs(30);
/// Tickets at once.
const TICKETS_MAX: usize = 10_000;

/// The tickets that nobody has shown yet. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tickets(Arc<Mutex<HashMap<TokenId, Issued>>>);

#[derive(Debug)]
struct Issued {
    digest: SecretDigest,
    caller: Caller,
    until: Instant,
}

impl Tickets {
    /// A ticket for this caller.
    pub(crate) fn issue(&self, caller: Caller) -> Result<String, ApiError> {
        let id: TokenId = uuid::Uuid::new_v4().to_string().parse()?;
        let none =
            |_| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "the host gives no random numbers");
        let secret = Opaque::new(id.clone()).map_err(none)?;
        let now = Instant::now();
        let mut issued = self.lock();
        issued.retain(|_, ticket| ticket.until > now);
        if issued.len() >= TICKETS_MAX {
            return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "there are too many tickets"));
        }
        issued.insert(id, Issued { digest: secret.digest(), caller, until: now + TICKET_TTL });
        Ok(secret.reveal(Kind::Ticket).expose().clone())
    }

    /// Who shows a ticket, which is worth nothing afterwards.
    pub(crate) fn take(&self, shown: &str) -> Result<Caller, ApiError> {
        let refuse = || ApiError::unauthenticated("the ticket is worth nothing (any more)");
        let secret = Opaque::parse(Kind::Ticket, shown).map_err(|_| refuse())?;
        let mut issued = self.lock();
        let ticket = issued.remove(&secret.id).ok_or_else(refuse)?;
        let is_good = secret.fits(&ticket.digest) && ticket.until > Instant::now();
        if is_good { Ok(ticket.caller) } else { Err(refuse()) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenId, Issued>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
