//! A runtime without processes, for the tests of the rows above: what each command does is scripted as a
//! [`Program`], everything else is the contract. Sockets and logs are real, so that health checks and the
//! proxy can be tried against it.

mod backend;
mod exec;
mod instance;
mod program;

pub use backend::MemoryBackend;
pub use program::{Listens, OnTerm, Program, Step};

#[cfg(test)]
mod tests;
