//! Real programs that stories talk to and that are not installed: fetched by the first who needs them.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The folder with what `tests/tools NAME` gets.
#[track_caller]
pub(crate) fn tools(name: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools");
    let got = Command::new(script).arg(name).stderr(Stdio::inherit()).output().unwrap();
    assert!(got.status.success(), "tests/tools could not get {name}");
    PathBuf::from(String::from_utf8(got.stdout).unwrap().trim())
}
