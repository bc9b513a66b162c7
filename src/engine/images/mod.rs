//! Images: what the engine knows of them, and how they come and go.
//!
//! | module | holds |
//! |---|---|
//! | [`facts`] | [`ImageFacts`]: what the engine knows of an image |
//! | [`names`] | how our images are named; tag, inspect, list, remove |
//! | [`pull`], [`progress`] | from a registry, pinned by digest |
//! | [`load`], [`archive`] | from `docker save`, without the names that the archive brings; from a plain tar |
//! | [`files`] | files out of an image that never runs |
//!
//! Invariants: an image of ours is one that carries our label or a name of ours ([`names::our_repository`]). No
//! name that is not ours is ever moved: images are pulled by digest, and names within an archive are dropped.

pub mod archive;
pub mod facts;
pub mod files;
pub mod load;
pub mod names;
mod progress;
pub mod pull;
#[cfg(test)]
mod tests;

pub use facts::{ImageFacts, ImageHealthcheck};
pub use files::ImageFiles;
pub use names::OurImage;
