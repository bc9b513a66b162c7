//! Row 2: the container engine: how it is reached, what it says when it refuses, what is ours on it, and images.

pub use bollard;
