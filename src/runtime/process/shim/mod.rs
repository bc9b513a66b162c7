//! The body of `autostack shim`.

use std::{ffi::OsString, process::ExitCode};

/// Runs a shim; `args` is what follows `autostack shim`. Called from `main` before any thread exists.
pub fn shim_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    drop(args.into_iter().next());
    ExitCode::FAILURE
}
