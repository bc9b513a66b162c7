//! `autostack check-config`: says what is wrong in a settings file.

use std::{path::Path, process::ExitCode};

use autostack_base::{error_chain, settings};

use crate::terminal;

/// Exits 0 when the file is good, else 2.
pub fn run(file: &Path) -> ExitCode {
    match settings::check(file) {
        Ok(_) => {
            terminal::data(&format!("{} is good.", file.display()));
            ExitCode::SUCCESS
        }
        Err(errors) => {
            errors.iter().for_each(|error| terminal::trouble(&error_chain(error), None));
            ExitCode::from(2)
        }
    }
}
