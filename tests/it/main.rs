//! Stories: the real binary, the real `git`, the real `ssh`, plain HTTP. Each story has a world of its own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a story ends where a step of it fails")]

mod world;

/// A first push goes live, a second one replaces it, and the commands that tell about it.
mod first_push;
