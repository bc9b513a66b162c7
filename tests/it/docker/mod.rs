//! The same push, with a container engine: images are built, containers run, and the engine itself may fail. The engine
//! is real; base images are made on the spot by `tests/images`.

/// `kill -9` of the agent while containers run or images are built.
mod agent_killed;
/// The engine is not there, or goes away in the middle, or may not be used.
mod away;
/// Image builds that must not go live, and what a build may see.
mod builds;
/// What is cleared up, and what is never touched.
mod clean_up;
/// Images that somebody else has built.
mod from_elsewhere;
/// A Dockerfile goes live: ports, process types, release command, redeploys.
mod goes_live;
/// What operators tell the engine beyond what it is always told.
mod options;
/// Every kind of app of the recipes as an image.
mod recipes;
/// Containers that must not go live.
mod rejected;
/// One-offs in containers of their own.
mod run;
