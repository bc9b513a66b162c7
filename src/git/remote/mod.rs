//! Code that is fetched from elsewhere: archives by HTTP, commits by git.
//!
//! In reading order: `error` (why nothing is fetched), `access` (whom the agent may speak to: the check is made on the
//! address that is connected to, and the address is kept for the whole fetch), `http` (one answer, redirects
//! followed and each of them checked), `fetch` (`git fetch` as a child that is pinned to the checked address).
//!
//! Nothing of a tenant's decides what program runs or which protocol is spoken: https, and http to the hosts that an
//! admin has named (threats C10, C12).

mod access;
mod error;
mod fetch;
mod http;

#[cfg(test)]
mod tests;

pub use self::{
    access::{Access, RemoteLogin},
    error::RemoteError,
    fetch::{Fetched, RemoteRef},
};
