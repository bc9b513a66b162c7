//! What happens to apps whose container engine comes and goes, with scripted runtimes in the place of processes and of
//! the engine; store, logs and proxy are real.

mod engine_away;
mod rolls;
mod world;
