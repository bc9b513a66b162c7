//! Ports for the instances of one world, so that worlds of tests that run side by side do not meet.

use std::{
    fs::{self, File},
    ops::RangeInclusive,
    path::Path,
};

/// First port of the first slice; below the ports that the kernel gives to connections.
const FIRST: u16 = 20_000;
/// Ports of a slice.
const WIDTH: u16 = 40;
/// How many slices there are.
const SLICES: u16 = 200;

/// A slice of ports that is this world's alone as long as it lives.
pub(crate) struct Slice {
    first: u16,
    _lock: File,
}

impl Slice {
    /// Takes a free slice; the lock on its file ends with this process at the latest.
    pub(crate) fn take() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ports");
        fs::create_dir_all(&folder).unwrap();
        for number in 0..SLICES {
            let file = File::options()
                .create(true)
                .write(true)
                .truncate(false)
                .open(folder.join(number.to_string()));
            let lock = file.unwrap();
            if lock.try_lock().is_ok() {
                return Self { first: FIRST + number * WIDTH, _lock: lock };
            }
        }
        panic!("all {SLICES} slices of ports are taken");
    }

    /// Its ports.
    pub(crate) fn range(&self) -> RangeInclusive<u16> {
        self.first..=self.first + WIDTH - 1
    }

    /// Its ports, as the setting wants them.
    pub(crate) fn setting(&self) -> String {
        format!("{}-{}", self.range().start(), self.range().end())
    }
}
