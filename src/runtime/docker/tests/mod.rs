//! The backend against real engines.

mod adoption;
mod contract;
mod elsewhere;
mod engine_lost;
mod isolation;
mod limits;
mod one_off;
mod output;
mod refusals;
mod world;
