//! What a Dockerfile says, without building it.
//!
//! `parse` takes its lines apart, `expand` replaces its variables, `facts` follows its stages to what the image
//! will be built on and what it exposes.

mod expand;
mod facts;
mod parse;

pub use facts::DockerfileFacts;
pub(crate) use parse::BadDockerfile;
