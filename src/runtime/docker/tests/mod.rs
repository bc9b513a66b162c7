//! The backend against a real engine.
