//! Whether the host's disk has room for another push.

use std::path::Path;

use crate::error::{ErrorKind, PlatformError};

/// Bytes that stay free for the store and the logs: nothing new is accepted below.
const RESERVE_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes that are free where the agent keeps its data; `None` where that cannot be told.
pub(crate) fn free_bytes(data_dir: &Path) -> Option<u64> {
    let status = nix::sys::statvfs::statvfs(data_dir).ok()?;
    Some(status.blocks_available() * status.fragment_size())
}

/// Bytes of the disk where the agent keeps its data; `None` where that cannot be told.
pub(crate) fn total_bytes(data_dir: &Path) -> Option<u64> {
    let status = nix::sys::statvfs::statvfs(data_dir).ok()?;
    Some(status.blocks() * status.fragment_size())
}

/// Refuses when less than the reserve is free where the agent keeps its data.
pub(crate) fn check_space(data_dir: &Path) -> Result<(), PlatformError> {
    let Some(free) = free_bytes(data_dir) else { return Ok(()) };
    if free >= RESERVE_BYTES {
        return Ok(());
    }
    let (free, reserve) = (free / (1024 * 1024), RESERVE_BYTES / (1024 * 1024));
    let message = format!("the host's disk is full: {free} MiB are free, {reserve} MiB are kept in reserve");
    Err(PlatformError::new(ErrorKind::NoSpace, message).hint("free space on the host, then try again"))
}
