//! The proxy over real sockets: a visitor who writes raw bytes, apps that do what they are told, and the
//! proxy between them.

mod emulator;
mod files;
mod forwarding;
mod hostile;
mod lambda;
mod patience;
mod retries;
mod rules;
mod stopping;
mod switching;
mod upgrades;
mod world;
