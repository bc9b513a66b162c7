//! How the shim is started.

use std::{ffi::OsString, path::PathBuf};

/// The program that is a shim when it is given an instance's folder after these arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShimCommand {
    /// The program.
    pub program: PathBuf,
    /// What stands before the folder.
    pub args: Vec<OsString>,
}

impl ShimCommand {
    /// The running binary, also when its file has been replaced meanwhile: `autostack shim`.
    pub fn own() -> Self {
        Self { program: PathBuf::from("/proc/self/exe"), args: vec![OsString::from("shim")] }
    }
}
