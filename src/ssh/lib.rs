//! x
mod algorithms;
mod door;
mod environment;
mod handler;
pub mod host_key;
pub mod limits;
mod lobby;
mod login;
mod output;
mod pump;
mod server;
mod service;
mod session;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod testing;
mod wire;
