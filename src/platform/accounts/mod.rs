//! Accounts: how somebody comes in without an SSH key, and what they say about themselves.
//!
//! | module | holds |
//! |---|---|
//! | [`identity`] | the keys that sign tokens, and how many passwords are looked at |
//! | [`sign_up`] | accounts made by their owners; invitations |
//! | [`sign_in`] | accounts elsewhere that let somebody in |
//! | [`login`] | a password and a second factor become a session; its tokens |
//! | [`mailed`] | links in mails: an address is proved, a forgotten password replaced |
//! | [`sessions`] | what is open, and its end |
//! | [`api_keys`] | keys for programs |
//! | [`second_factor`] | codes of an authenticator, and recovery codes |
//! | [`profile`] | what somebody is called, and their password |
//!
//! Invariants: a session that has ended and a key that was taken away open nothing from that moment on, also what is open
//! already; a wrong password and an account that is not there cannot be told apart, by words or by time.

pub mod api_keys;
pub mod login;
pub mod mailed;
pub mod profile;
pub mod second_factor;
pub mod sessions;
pub mod sign_in;
pub mod sign_up;

pub(crate) mod identity;

pub use api_keys::{ApiKeyView, NewApiKey};
pub use login::{Login, Proof, Tokens};
pub use profile::AccountView;
pub use second_factor::SecondFactorOffer;
pub use sessions::SessionView;
pub use sign_in::{Arrival, Departure, Return};
pub use sign_up::{InvitationView, NewAccount, NewInvitation};
