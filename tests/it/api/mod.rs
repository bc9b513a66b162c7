//! The API: as nobody, as somebody, as a program.

mod accounts;
