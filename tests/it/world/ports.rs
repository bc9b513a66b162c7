//! Ports for the instances of one world, so that worlds of tests that run side by side do not meet.

use std::{
    net::{Ipv4Addr, TcpListener},
    ops::RangeInclusive,
};

/// First port of the first slice; below the ports that the kernel gives to connections.
const FIRST: u16 = 21_000;
/// Ports of a slice, its guard included.
const WIDTH: u16 = 40;
/// How many slices there are.
const SLICES: u16 = 200;

/// A slice of ports that is this world's alone as long as it lives: who listens on its first port has it.
pub(crate) struct Slice {
    first: u16,
    _guard: TcpListener,
}

impl Slice {
    /// Takes a free slice.
    pub(crate) fn take() -> Self {
        let take = |number| {
            let first = FIRST + number * WIDTH;
            let guard = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).ok()?;
            Some(Self { first, _guard: guard })
        };
        (0..SLICES).find_map(take).unwrap_or_else(|| panic!("all {SLICES} slices of ports are taken"))
    }

    /// Its ports.
    pub(crate) fn range(&self) -> RangeInclusive<u16> {
        self.first + 1..=self.first + WIDTH - 1
    }

    /// Its ports, as the setting wants them.
    pub(crate) fn setting(&self) -> String {
        format!("{}-{}", self.range().start(), self.range().end())
    }
}
