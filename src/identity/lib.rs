//! Row 3: how somebody proves who they are. No I/O but that of the sign-in providers, no store, no clock: moments come in as
//! arguments, what is to be kept goes out as values.
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | [`password`] | passwords: their bounds, hashing and verifying them |
//! | [`opaque`] | random secrets that are kept as digests: API keys, invitations, links in mails, recovery codes |
//! | [`signing`] | the keys that sign tokens, and their rotation |
//! | [`tokens`] | access and refresh tokens: signed claims, verified by one algorithm |
//! | [`totp`] | the second factor |
//!
//! Invariants: a secret is compared in constant time, or by its digest; a token is signed and verified with Ed25519 and nothing
//! else, whatever its header says; nothing secret prints itself.

pub mod opaque;
pub mod password;
pub mod signing;
pub mod tokens;
pub mod totp;
