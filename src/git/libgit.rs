//! Settings of libgit2 that hold for the whole process, made once before its first use.

use std::sync::LazyLock;

use git2::{ConfigLevel, opts};

/// Bytes of a pack that are mapped at once. libgit2 maps packs whole by default, which would count a pack
/// of 200 MB as memory of the agent.
const MAPPED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of one mapping.
const WINDOW_BYTES: usize = 1024 * 1024;

static CONFIGURED: LazyLock<Result<(), git2::Error>> = LazyLock::new(configure);

/// Makes sure that the settings are in force; called before anything else of libgit2.
pub(crate) fn init() -> Result<(), git2::Error> {
    CONFIGURED.as_ref().copied().map_err(|error| git2::Error::from_str(error.message()))
}

fn configure() -> Result<(), git2::Error> {
    // Each object is read once, and git has hashed all of them when it received them; zlib's own checksum
    // still finds a rotten disk.
    opts::enable_caching(false);
    opts::strict_hash_verification(false);
    // SAFETY: libgit2 wants that nothing else of it runs meanwhile; this runs once, under the lock of
    // `CONFIGURED`, and every user of libgit2 is in this crate and comes by `init` first.
    unsafe {
        opts::set_mwindow_size(WINDOW_BYTES)?;
        opts::set_mwindow_mapped_limit(MAPPED_BYTES_MAX)?;
        // No configuration of the host or of the agent's user has a say in how a tenant's objects are read.
        for level in [ConfigLevel::System, ConfigLevel::Global, ConfigLevel::XDG, ConfigLevel::ProgramData] {
            opts::set_search_path(level, "")?;
        }
    }
    Ok(())
}
