//! What a Dockerfile says, without building it.
//!
//! `parse` takes its lines apart, `expand` replaces its variables, `facts` follows its stages to what the image
//! will be built on and what it exposes, `draft` is the plan of an app that brings one.

mod draft;
mod expand;
mod facts;
mod parse;

pub(crate) use draft::draft_dockerfile;
pub use facts::DockerfileFacts;
