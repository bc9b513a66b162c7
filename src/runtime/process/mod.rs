//! Instances as plain processes.

mod backend;
mod shim;
mod shim_command;

pub use backend::ProcessBackend;
pub use shim::shim_main;
pub use shim_command::ShimCommand;
