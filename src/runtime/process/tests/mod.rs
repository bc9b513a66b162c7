//! The process runtime with real processes.
//!
//! [`world`] makes a backend in a folder of its own; the shim is this test binary. [`contract`] is what
//! every backend keeps; [`environment`] what a program finds; [`commands`] those beside an instance; [`tree`] the end of all that descends from
//! it; [`adoption`] what an agent finds when it comes back; [`crash`] an agent killed in the middle;
//! [`output`] lines on their way; [`limits`] what it is held to.

mod adoption;
mod commands;
mod contract;
mod crash;
mod environment;
mod limits;
mod output;
mod tree;
mod world;
